//! What a run leaves out: what was asked for, and the `.wlignore` of both sides as they are now.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::{SyncError, SyncErrorClass, SyncJob};
use crate::filter::{Excluder, IGNORE_FILE, Rules, of_file};
use crate::model::{Kind, Meta, Side, Sides, SyncPath, Token};
use crate::planted::{Bug, planted};
use crate::storage::{ErrorKind, Filter, ListRequest, ReadRequest, SMALL_FILE, StorageError};

/// How often a file that changes while it is read is read anew.
const MOST_READS: u32 = 3;

const CHANGING: &str = "it keeps changing";

/// The filter of the last look, and the versions of the files that it was made of. Clones share it.
#[derive(Clone, Default)]
pub struct LastFilter(Arc<Mutex<Option<Made>>>);

#[derive(Clone)]
struct Made {
    of: Sides<Version>,
    /// Whether the versions are named for good: a token that says nothing yet names none.
    settled: bool,
    contents: Sides<Option<Bytes>>,
    filter: Arc<dyn Filter>,
}

/// A storage, and the token of its file; empty if it has none.
type Version = (Box<str>, Option<Token>);

impl fmt::Debug for LastFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LastFilter")
    }
}

impl LastFilter {
    /// The last filter, if this holds of it.
    fn find(&self, is_it: impl FnOnce(&Made) -> bool) -> Option<Arc<dyn Filter>> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let made = last.as_ref().filter(|made| is_it(made))?;
        Some(Arc::clone(&made.filter))
    }

    fn keep(&self, made: Made) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
    }
}

/// What `job` leaves out now: its options' rules and those in the `.wlignore` at the root of each side. Both count: a path is left out
/// if either side says so. A side without the file says nothing.
///
/// As long as nothing was changed it is the same `Arc` again for a job and its clones. Another one means that everything has to be looked
/// at, and that watchers have to be set up anew: what was left out until now may not be any longer.
///
/// An error if one of the files cannot be read or holds what is no rule: to sync what a person wanted left out is worse than not to
/// sync.
pub async fn filter_now(job: &SyncJob) -> Result<Arc<dyn Filter>, SyncError> {
    let (source, target) = tokio::join!(token(job, Side::Source), token(job, Side::Target));
    let tokens = Sides::new(source?, target?);
    let mut versions = Sides::from_fn(|side| {
        let storage = Box::from(job.storages[side].identity());
        (storage, tokens[side].clone())
    });
    let known = |made: &Made| made.settled && made.of == versions;
    if let Some(filter) = job.last_filter.find(known) {
        return Ok(filter);
    }
    let mut contents = Sides::<Option<Bytes>>::default();
    let mut settled = true;
    for side in Side::BOTH {
        if versions[side].1.take().is_some()
            && let Some((meta, content)) = content(job, side).await?
        {
            settled &= meta.settled;
            versions[side].1 = Some(meta.token);
            contents[side] = Some(content);
        }
    }
    let filter = match job.last_filter.find(|made| made.contents == contents) {
        Some(filter) => filter,
        None => Arc::new(compile(job, &contents)?),
    };
    job.last_filter.keep(Made {
        of: versions,
        settled,
        contents,
        filter: Arc::clone(&filter),
    });
    Ok(filter)
}

/// Whether what `job` leaves out (as [`filter_now`] said it) is still what is to be left out.
pub(super) async fn rules_hold(job: &SyncJob) -> Result<bool, SyncError> {
    if planted(Bug::RulesAreNotReadAgain) {
        return Ok(true);
    }
    let (source, target) = tokio::join!(token(job, Side::Source), token(job, Side::Target));
    let tokens = Sides::new(source?, target?);
    let same = |made: &Made| {
        Side::BOTH
            .iter()
            .all(|&side| made.of[side].1 == tokens[side])
    };
    let is_ours = |made: &Made| Arc::ptr_eq(&made.filter, &job.options.filter);
    if job
        .last_filter
        .find(|made| made.settled && same(made) && is_ours(made))
        .is_some()
    {
        return Ok(true);
    }
    // A token that is new, or says nothing yet: the same may be there all the same.
    let mut contents = Sides::<Option<Bytes>>::default();
    for side in Side::BOTH {
        if tokens[side].is_some() {
            contents[side] = content(job, side).await?.map(|(_, content)| content);
        }
    }
    let same = |made: &Made| made.contents == contents && is_ours(made);
    Ok(job.last_filter.find(same).is_some())
}

/// What `job` leaves out as far as that can be found out: without the rules of a storage that cannot be reached.
pub(super) async fn filter_as_known(job: &SyncJob) -> Result<Arc<dyn Filter>, SyncError> {
    match filter_now(job).await {
        Err(error) if error.class != SyncErrorClass::Filter => {
            Ok(Arc::new(compile(job, &Sides::default())?))
        }
        result => result,
    }
}

/// Whether `path` is that of the file with rules.
pub(super) fn is_ignore_file(path: &SyncPath) -> bool {
    *path == ignore_file()
}

/// The path of the file with rules.
fn ignore_file() -> SyncPath {
    SyncPath::new(IGNORE_FILE).unwrap_or_else(|_| SyncPath::root())
}

/// The token of a side's file; `None` if it has none.
async fn token(job: &SyncJob, side: Side) -> Result<Option<Token>, SyncError> {
    let storage = &job.storages[side];
    let error = match storage.file_token(&ignore_file()).await {
        Ok(token) => return Ok(token),
        Err(error) => error,
    };
    // A server that refuses whatever it is asked says best in a listing why.
    if error.kind() == ErrorKind::Denied {
        let request = ListRequest {
            cancel: job.cancel.clone(),
            ..ListRequest::everything(&job.state_dir)
        };
        storage.list(request).await?.next().await?;
    }
    Err(unreadable(job, side, error))
}

/// The file's content, and its attributes as they were then; `None` if there is none.
async fn content(job: &SyncJob, side: Side) -> Result<Option<(Meta, Bytes)>, SyncError> {
    let (storage, path) = (&job.storages[side], ignore_file());
    for left in (0..MOST_READS).rev() {
        let found = storage.stat(&path).await;
        let Some(meta) = found.map_err(|error| unreadable(job, side, error))? else {
            return Ok(None);
        };
        check_file(job, side, &meta)?;
        let request = ReadRequest {
            path: path.clone(),
            meta: meta.clone(),
        };
        let read = storage.read_small(vec![request]).await.pop();
        match read.unwrap_or_else(|| Err(StorageError::new(ErrorKind::Busy, "read", CHANGING))) {
            Ok(read) => return Ok(Some((meta, read.content))),
            // It changed between the look and the reading.
            Err(error)
                if left > 0 && matches!(error.kind(), ErrorKind::Busy | ErrorKind::NotFound) => {}
            Err(error) => return Err(unreadable(job, side, error)),
        }
    }
    let error = StorageError::new(ErrorKind::Busy, "read", CHANGING);
    Err(unreadable(job, side, error))
}

/// Refuses what is no file of rules.
fn check_file(job: &SyncJob, side: Side, meta: &Meta) -> Result<(), SyncError> {
    let what = match meta.kind {
        Kind::File if meta.size <= SMALL_FILE => return Ok(()),
        Kind::File => format!("is larger than {} KiB", SMALL_FILE / 1024),
        Kind::Link => "is a link, which is not followed".to_owned(),
        Kind::Folder => "is a folder".to_owned(),
    };
    Err(refused(
        job,
        side,
        &format!("{IGNORE_FILE} {what}; make it a file of rules, or take it away"),
    ))
}

fn compile(job: &SyncJob, contents: &Sides<Option<Bytes>>) -> Result<Excluder, SyncError> {
    let asked = &job.options.exclude;
    let sides = Side::BOTH.into_iter();
    let folds = sides
        .clone()
        .any(|side| job.storages[side].capabilities().folds_case);
    let mut rules = Vec::new();
    let equal = contents.source == contents.target;
    for side in sides {
        // The same rules twice would say nothing more.
        let Some(content) = contents[side]
            .as_ref()
            .filter(|_| !equal || side == Side::Source)
        else {
            continue;
        };
        let lines = of_file(side, content).map_err(|why| refused(job, side, &why))?;
        let of_side = Rules::new(asked.all_rules().chain(lines), folds)
            .map_err(|error| refused(job, side, &error.to_string()))?;
        rules.push(of_side);
    }
    if rules.is_empty() && !asked.is_empty() {
        let alone = Rules::new(asked.all_rules(), folds);
        rules
            .push(alone.map_err(|error| SyncError::new(SyncErrorClass::Usage, error.to_string()))?);
    }
    Ok(Excluder::new(rules, Arc::clone(&job.options.filter)))
}

fn unreadable(job: &SyncJob, side: Side, error: StorageError) -> SyncError {
    let location = job.storages[side].location();
    // What would meet every other path too is no matter of this file.
    let passing = matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Temporary);
    if passing || error.kind().is_of_storage() {
        return error.on(location).into();
    }
    let error = error.at(&ignore_file()).on(location);
    SyncError::new(
        SyncErrorClass::Filter,
        format!(
            "{error}; nothing was synced, as what is to be left out is not known: make {IGNORE_FILE} readable, and run again"
        ),
    )
}

fn refused(job: &SyncJob, side: Side, why: &str) -> SyncError {
    SyncError::new(
        SyncErrorClass::Filter,
        format!(
            "the {side} {}: {why}; nothing was synced, as what is to be left out is not known",
            job.storages[side].location()
        ),
    )
}
