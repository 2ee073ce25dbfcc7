//! A batch of changes becomes visible: folders, then files, then permission bits; then the baseline may record them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::context::Context;
use super::item::Item;
use super::planted::{as_if_done, as_it_is};
use crate::machine;
use crate::model::{ContentHash, Kind, Meta, Mode, Side, Sides, SyncPath};
use crate::planted::{Bug, planted};
use crate::reconcile::{Announced, Conflicting, ModePlan, Verdict};
use crate::state::{BaselineRow, Pending, PendingAction, RowChange, SideRecord};
use crate::storage::{
    ErrorKind, Expected, Published, ReplaceRequest, Result, Staged, StorageError, WriteSession,
};
use crate::sync::SyncError;

/// Published together: so much is at stake when the power goes, and so many folders are synced at once.
const BATCH_ITEMS: usize = 2048;
const BATCH_BYTES: u64 = 256 << 20;
/// Where staged content waits in memory.
const BATCH_BYTES_IN_MEMORY: u64 = 8 << 20;

/// A folder to make on `to`.
#[derive(Debug)]
pub(super) struct NewFolder {
    pub(super) path: SyncPath,
    pub(super) to: Side,
    /// The folder on the other side.
    pub(super) like: Meta,
    /// What stands for what was agreed on there.
    pub(super) was: Option<ContentHash>,
}

/// Permission bits to set where the content is agreed on.
#[derive(Debug)]
pub(super) struct NewModes {
    pub(super) item: Item,
    pub(super) plan: ModePlan,
}

/// Changes that are published together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) folders: Vec<NewFolder>,
    pub(super) files: Vec<(Item, Side, Staged)>,
    pub(super) modes: Vec<NewModes>,
    /// What is agreed on without any change.
    pub(super) rows: Vec<RowChange>,
    bytes: u64,
}

/// What a published batch leaves to be done: rows for the baseline, once the names are durable.
#[derive(Debug, Default)]
pub(super) struct Aftermath {
    pub(super) rows: Vec<RowChange>,
    /// Announced batches that are recorded with these rows.
    pub(super) announced: usize,
}

impl Batch {
    pub(super) fn push_file(&mut self, item: Item, to: Side, staged: Staged) {
        self.bytes += staged.size;
        self.files.push((item, to, staged));
    }

    /// `in_memory`: whether a side that is written to keeps staged content in memory.
    pub(super) fn is_full(&self, in_memory: bool) -> bool {
        let most = if in_memory {
            BATCH_BYTES_IN_MEMORY
        } else {
            BATCH_BYTES
        };
        self.len() >= BATCH_ITEMS || self.bytes >= most || self.rows.len() >= 4 * BATCH_ITEMS
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0 && self.rows.is_empty()
    }

    /// Notes what it copies from and what it takes for agreed on; rows without a change were noted as they came.
    fn relies_on(&self, context: &Context) {
        for (item, to, _) in &self.files {
            context.rely_on(to.other(), &item.node);
        }
        for folder in &self.folders {
            context.rely_on_meta(folder.to.other(), &folder.path, &folder.like);
        }
        for modes in &self.modes {
            context.rely_on_both(&modes.item.node);
        }
    }

    /// The changes in it.
    pub(super) fn len(&self) -> usize {
        self.files.len() + self.folders.len() + self.modes.len()
    }
}

/// Makes durable what was staged for this batch and published before it, records the earlier batch, publishes this one.
pub(super) async fn publish(
    context: Arc<Context>,
    batch: Batch,
    before: Aftermath,
) -> Result<Aftermath, SyncError> {
    batch.relies_on(&context);
    match !batch.files.is_empty() || !before.rows.is_empty() {
        true => flush(&context).await?,
        // Nothing of ours has to be made durable yet.
        false => context.settle().await,
    }
    let mut rows = before.rows;
    let mut after = Aftermath::default();
    rows.extend(batch.rows);
    if planted(Bug::RecordedBeforePublished) {
        rows.extend(batch.files.iter().filter_map(|(item, ..)| as_if_done(item)));
    }
    let announced = announcements(&batch.folders, &batch.files);
    after.announced = commit_and_announce(&context, rows, before.announced, announced).await?;
    // A folder may have to be opened up before anything can be put into it.
    let of_folder = |modes: &NewModes| modes.item.node.found.source.is_folder();
    let (of_folders, of_files): (Vec<_>, Vec<_>) = batch.modes.into_iter().partition(of_folder);
    for modes in of_folders {
        set_modes(&context, modes, &mut after).await;
    }
    for folder in batch.folders {
        make_folder(&context, folder, &mut after).await?;
    }
    let mut sides = Sides::<Vec<(Item, Staged)>>::default();
    for (item, to, staged) in batch.files {
        sides[to].push((item, staged));
    }
    for side in Side::BOTH {
        replace(&context, side, std::mem::take(&mut sides[side]), &mut after).await;
    }
    for modes in of_files {
        set_modes(&context, modes, &mut after).await;
    }
    Ok(after)
}

/// Makes everything durable that was staged or published so far, and what the rows to come rely on.
pub(super) async fn flush(context: &Context) -> Result<(), SyncError> {
    if !context.is_unsettled() {
        return flush_sessions(context).await;
    }
    let (flushed, ()) = tokio::join!(flush_sessions(context), context.settle());
    flushed
}

async fn flush_sessions(context: &Context) -> Result<(), SyncError> {
    for session in Side::BOTH
        .into_iter()
        .filter_map(|side| context.sessions[side].as_ref())
    {
        session.flush().await?;
    }
    Ok(())
}

/// Folders that are about to be made and files that are about to be published, as they are announced.
pub(super) fn announcements(
    folders: &[NewFolder],
    files: &[(Item, Side, Staged)],
) -> Vec<(SyncPath, Announced)> {
    let of_folder = |folder: &NewFolder| {
        // One on another file system may go away with that: a row remembers which, a note does not.
        let own = folder.like.token.as_str().is_empty();
        let done = own.then(|| arrived(folder.to, &folder.like, None, folder.was))??;
        Some((folder.path.clone(), done))
    };
    let of_file = |(item, to, staged): &(Item, Side, Staged)| of_file(item, *to, staged);
    let folders = folders.iter().filter_map(of_folder);
    folders.chain(files.iter().filter_map(of_file)).collect()
}

fn of_file(item: &Item, to: Side, staged: &Staged) -> Option<(SyncPath, Announced)> {
    let was = item.node.base.as_ref().and_then(BaselineRow::stand_in);
    let meta = item.node.found[to.other()].meta()?;
    let done = Announced {
        size: staged.size,
        ..arrived(to, meta, Some(staged.hash), was)?
    };
    Some((item.node.path.clone(), done))
}

/// That it was announced is not over for what failed at these paths.
pub(super) fn leave_unclear(
    context: &Context,
    mut announced: Vec<(SyncPath, Announced)>,
    failed: &BTreeSet<SyncPath>,
) {
    announced.retain(|(path, _)| failed.contains(path));
    if !announced.is_empty() {
        context.state().leave_announced(announced);
    }
}

/// Whether it may be gone all the same: what is asked for once more, and is not there, went the first time.
pub(super) fn may_be_gone(error: &StorageError) -> bool {
    may_be_done(error) || error.kind() == ErrorKind::NotFound
}

/// Whether it may be done all the same. By these only was it refused before anything was done; any other may be what became of the
/// answer, or of what was asked after it.
fn may_be_done(error: &StorageError) -> bool {
    use ErrorKind as K;
    let refused = match error.kind() {
        K::NotFound | K::Changed | K::NoParent | K::NotEmpty => true,
        K::Full | K::Unrepresentable | K::Unsupported | K::Config => true,
        K::Busy | K::Denied | K::Credentials | K::Cancelled => false,
        K::Unavailable | K::Elsewhere | K::Temporary | K::Other => false,
    };
    !refused
}

/// `to` gets what the other side holds. `None`: it could not be known again.
fn arrived(
    to: Side,
    like: &Meta,
    hash: Option<ContentHash>,
    was: Option<ContentHash>,
) -> Option<Announced> {
    let hash = hash.filter(|hash| !hash.is_by_copy());
    Some(Announced {
        to,
        hash: Some(Announced::content(
            like.kind,
            hash.as_ref(),
            like.link.as_deref(),
        )?),
        size: like.size,
        mode: like.mode,
        was,
        sure: true,
    })
}

/// Removals, as they are announced. Of what was not agreed on there is nothing to be said.
pub(super) fn removals<'p>(
    context: &Context,
    to: Side,
    paths: impl Iterator<Item = &'p SyncPath>,
) -> Result<Vec<(SyncPath, Announced)>, SyncError> {
    let state = context.state();
    let _reading = state.reading()?;
    let mut all = Vec::new();
    for path in paths {
        if let Some(row) = state.row_at(path)? {
            let gone = Announced {
                to,
                hash: None,
                size: 0,
                mode: None,
                was: row.stand_in(),
                sure: true,
            };
            all.push((path.clone(), gone));
        }
    }
    Ok(all)
}

/// Renames of files, as they are announced: where they arrive, and where they go from.
pub(super) fn renames(
    context: &Context,
    to: Side,
    moves: &[(Pending, Pending)],
) -> Result<Vec<(SyncPath, Announced)>, SyncError> {
    let of_move = |(creation, _): &(Pending, Pending)| match &creation.action {
        PendingAction::Create(meta) => Some((
            creation.path.clone(),
            arrived(to, meta, creation.hash, None)?,
        )),
        _ => None,
    };
    let mut all = removals(context, to, moves.iter().map(|(_, removal)| &removal.path))?;
    all.extend(moves.iter().filter_map(of_move));
    Ok(all)
}

/// Records rows in the baseline; they are durable when this returns.
pub(super) async fn commit(context: &Arc<Context>, rows: Vec<RowChange>) -> Result<(), SyncError> {
    commit_and_announce(context, rows, 0, Vec::new())
        .await
        .map(|_| ())
}

/// The same; with that so many announced batches are over, and the next one is announced. How many that are: one or none.
pub(super) async fn commit_and_announce(
    context: &Arc<Context>,
    rows: Vec<RowChange>,
    over: usize,
    next: Vec<(SyncPath, Announced)>,
) -> Result<usize, SyncError> {
    let rows = context.what_lasts(rows, RowChange::path);
    let next = context.what_lasts(next, |(path, _)| path);
    let announced = usize::from(!next.is_empty());
    let of_context = Arc::clone(context);
    let waits = !rows.is_empty();
    let work = move || {
        let mut state = of_context.state();
        state.apply(&rows)?;
        state.end_announced(over);
        state.end_announced_of(&rows);
        if !next.is_empty() {
            state.announce(&next);
        }
        Ok::<_, SyncError>(announced)
    };
    if !waits {
        // No disk has to be waited for.
        return work();
    }
    match machine::blocking(work).await {
        Ok(result) => result,
        Err(panic) => Err(SyncError::new(
            crate::sync::SyncErrorClass::State,
            format!("recording the baseline failed: {panic}; report this as a bug"),
        )),
    }
}

fn record(meta: &Meta, published: &Published) -> SideRecord {
    SideRecord {
        token: published.token.clone(),
        settled: published.settled,
        file_id: published.file_id,
        size: meta.size,
        mtime: published.mtime,
        mode: published.mode,
    }
}

pub(super) async fn make_folder(
    context: &Context,
    folder: NewFolder,
    after: &mut Aftermath,
) -> Result<(), SyncError> {
    let NewFolder { path, to, like, .. } = folder;
    if !context.job.storages[to].capabilities().empty_folders {
        // It comes with what is put into it.
        return Ok(());
    }
    let made = match context.session(to) {
        Ok(session) => session.make_folder(&path, like.mode).await,
        Err(error) => Err(error),
    };
    let made = match made {
        Ok(made) => made,
        // It was made for the sake of something in it before its own turn came.
        Err(error) if error.kind() == ErrorKind::Changed && is_folder(context, to, &path).await => {
            return Ok(());
        }
        Err(error) => {
            context.file_error(to, &path, &error);
            return Ok(());
        }
    };
    context.tally().changes[to].created += 1;
    context.job.progress.did(1, 0);
    let mut of_like = SideRecord::of(&like);
    if let (Some(wanted), Some(has)) = (like.mode, made.mode)
        && wanted != has
    {
        // Until the right mode is set the baseline says what was achieved, so that a crash in between loses nothing.
        of_like.mode = Some(has);
        let expected = Expected {
            kind: Kind::Folder,
            token: Some(made.token.clone()),
            hash: None,
            link: None,
        };
        context.state().add_pending(&[Pending {
            id: 0,
            path: path.clone(),
            side: to,
            action: PendingAction::FolderMode(expected, wanted),
            hash: None,
            group: None,
        }])?;
    }
    let mut sides = Sides::new(of_like.clone(), of_like);
    sides[to] = record(&Meta { size: 0, ..like }, &made);
    after.rows.push(RowChange::Put(BaselineRow {
        path,
        kind: Kind::Folder,
        hash: None,
        link: None,
        sides,
    }));
    Ok(())
}

async fn is_folder(context: &Context, side: Side, path: &SyncPath) -> bool {
    matches!(context.job.storages[side].stat(path).await, Ok(Some(meta)) if meta.kind == Kind::Folder)
}

pub(super) async fn replace(
    context: &Arc<Context>,
    side: Side,
    files: Vec<(Item, Staged)>,
    after: &mut Aftermath,
) {
    if files.is_empty() {
        return;
    }
    let session = match context.session(side) {
        Ok(session) => Arc::clone(session),
        Err(error) => {
            for (item, _) in files {
                context.file_error(side, &item.node.path, &error);
            }
            return;
        }
    };
    let announced: Vec<_> = files
        .iter()
        .map(|(item, staged)| of_file(item, side, staged))
        .collect();
    let mut items = Vec::with_capacity(files.len());
    let mut requests = Vec::with_capacity(files.len());
    for (item, staged) in files {
        requests.push(ReplaceRequest {
            path: item.node.path.clone(),
            expect: match planted(Bug::ReplaceIsBlind) {
                true => as_it_is(context, side, &item).await,
                false => item.node.expect(side),
            },
            staged,
            listed: item.place.listed[side],
        });
        items.push(item);
    }
    let results = in_halves(session, requests).await;
    let mut unclear = Vec::new();
    for ((item, announced), result) in items.into_iter().zip(announced).zip(results) {
        match result {
            Ok(published) => replaced(context, side, item, &published, after).await,
            Err(_) if planted(Bug::FailedWriteIsDone) => after.rows.extend(as_if_done(&item)),
            Err(error) => {
                unclear.extend(announced.filter(|_| may_be_done(&error)));
                context.not_transferred(side, &item, &error);
            }
        }
    }
    if !unclear.is_empty() {
        context.state().leave_announced(unclear);
    }
}

/// Two halves at once: one waits for the disk while the other computes.
async fn in_halves(
    session: Arc<dyn WriteSession>,
    mut requests: Vec<ReplaceRequest>,
) -> Vec<Result<Published>> {
    let rest = requests.split_off(requests.len() / 2);
    let (mut first, second) = tokio::join!(session.replace(requests), session.replace(rest));
    first.extend(second);
    first
}

async fn replaced(
    context: &Context,
    to: Side,
    item: Item,
    published: &Published,
    after: &mut Aftermath,
) {
    let from = to.other();
    let node = &item.node;
    let (Some(meta), Verdict::Update { modes, .. }) = (node.found[from].meta(), item.verdict)
    else {
        return;
    };
    {
        let mut tally = context.tally();
        if node.found[to].meta().is_some() {
            tally.changes[to].updated += 1;
            tally.rules_may_have_changed(&node.path, context.job.options.dry_run);
        } else {
            tally.changes[to].created += 1;
        }
        if !item.travels {
            tally.bytes.written += meta.size;
        }
        if modes.conflict {
            tally.conflict(node.conflict(Conflicting::Modes));
        }
        if modes.drift {
            tally.drift(&node.path, super::apply::OF_BITS);
        }
    }
    let streamed = meta.size > crate::storage::SMALL_FILE;
    context
        .job
        .progress
        .did(1, if streamed { 0 } else { meta.size });
    let mut sides = Sides::new(SideRecord::of(meta), SideRecord::of(meta));
    sides[to] = record(meta, published);
    if let Some(base) = &node.base
        && (modes.conflict || modes.drift || modes.set[from].is_some())
    {
        // The bits are not agreed on yet: they stay as they were agreed on before.
        sides.source.mode = base.sides.source.mode;
        sides.target.mode = base.sides.target.mode;
    }
    let mut row = BaselineRow {
        path: node.path.clone(),
        kind: meta.kind,
        hash: if meta.kind == Kind::File {
            node.hash(from)
        } else {
            None
        },
        link: meta.link.clone(),
        sides,
    };
    if let (Some(mode), false) = (modes.set[from], modes.conflict)
        && let Some(set) = set_mode(context, from, &item, mode).await
    {
        row.sides[from] = record(meta, &set);
        row.sides[to].mode = published.mode;
    }
    after.rows.push(RowChange::Put(row));
}

/// Sets the permission bits on `side`; errors are filed.
async fn set_mode(context: &Context, side: Side, item: &Item, mode: Mode) -> Option<Published> {
    let path = &item.node.path;
    let expected = item.node.expected(side)?;
    let result = match context.session(side) {
        Ok(session) => session.set_mode(path, &expected, mode).await,
        Err(error) => Err(error),
    };
    result
        .map_err(|error| context.file_error(side, path, &error))
        .ok()
}

pub(super) async fn set_modes(context: &Context, modes: NewModes, after: &mut Aftermath) {
    let NewModes { item, plan } = modes;
    let Some(mut row) = item.node.agreed_row() else {
        return;
    };
    for side in Side::BOTH {
        let Some(mode) = plan.set[side] else { continue };
        let Some(published) = set_mode(context, side, &item, mode).await else {
            return;
        };
        let Some(meta) = item.node.found[side].meta() else {
            return;
        };
        row.sides[side] = record(meta, &published);
        context.tally().changes[side].updated += 1;
        context.job.progress.did(1, 0);
    }
    after.rows.push(RowChange::Put(row));
}

/// Sets the modes of folders that are filled now.
pub(super) async fn finish_folder(
    context: &Context,
    path: &SyncPath,
    side: Side,
    expected: &Expected,
    mode: Mode,
) -> Option<RowChange> {
    let session = context.session(side).ok()?;
    let published = match session.set_mode(path, expected, mode).await {
        Ok(published) => published,
        Err(error) => {
            context.file_error(side, path, &error);
            return None;
        }
    };
    let mut row = context.state().row_at(path).ok()??;
    row.sides[side].mode = published.mode;
    row.sides[side].token = published.token;
    row.sides[side.other()].mode = Some(mode);
    Some(RowChange::Put(row))
}

/// The error of a step that panicked or was aborted.
pub(super) fn broken(error: &tokio::task::JoinError) -> StorageError {
    StorageError::new(
        ErrorKind::Other,
        "sync",
        format!("a step of the run failed ({error}); report this as a bug"),
    )
}
