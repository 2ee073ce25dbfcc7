//! Writing: a session of one run.
//!
//! | room | what is in it |
//! |---|---|
//! | `stage` | small content and links wait in memory |
//! | `large` | large content is sent where nobody sees it |
//! | `commit` | publishing under a condition |
//! | `judge` | what is there, compared with what is expected or was written |
//! | `keep` | displaced versions go to the trash |
//! | `remove`, `rename`, `folders` | the other changes |
//! | `parents` | what is known of the folders above |
//! | `rounds` | trying again |
//! | `leftovers` | what dead sessions left, and what is too old |

mod commit;
mod folders;
mod judge;
mod keep;
mod large;
mod leftovers;
mod parents;
mod remove;
mod rename;
mod rounds;
mod stage;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, StreamExt};
use tokio::sync::OnceCell;
use wl_core::model::{FileId, Mode, SyncPath};
use wl_core::storage::{
    ContentWriter, CopyFrom, Displaced, Durability, ErrorKind, Expect, Expected, Published,
    RemoveRequest, RenameRequest, ReplaceRequest, Result, SessionOptions, StageRequest, Staged,
    StorageError, StrandedVersion, WriteSession,
};

use self::parents::Parents;
use self::stage::Waiting;
use super::store::{Facts, Found, Store};
use super::token::now;
use super::{Remote, names};

pub(super) use self::parents::make_above;
pub(super) use self::rounds::{Rounds, repeat};
pub(super) use self::stage::own_path;

/// Starts a session. Nothing is sent before the first change.
pub(super) async fn begin(
    remote: &Arc<Remote>,
    options: SessionOptions,
) -> Result<Arc<dyn WriteSession>> {
    let shared = shared(remote, options)?;
    Ok(Arc::new(Session(Arc::new(shared))))
}

/// Gives up what is too old.
pub(super) async fn tidy(remote: &Arc<Remote>, options: SessionOptions) -> Result<()> {
    leftovers::tidy(&shared(remote, options)?).await
}

fn shared(remote: &Arc<Remote>, options: SessionOptions) -> Result<Shared> {
    let refuse = |kind, reason| Err(StorageError::new(kind, "begin", reason).on(&remote.location));
    if !remote.capabilities.writable {
        return refuse(
            ErrorKind::Unsupported,
            "the storage is read-only; write to another",
        );
    }
    let sound = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if options.run.is_empty() || !options.run.chars().all(sound) {
        return refuse(
            ErrorKind::Config,
            "a run's name is of letters, digits and `-`; give it another",
        );
    }
    Ok(Shared {
        remote: Arc::clone(remote),
        began: now().secs,
        options,
        staged: Mutex::default(),
        last: AtomicU64::new(0),
        displaced: AtomicU64::new(0),
        stranded: Mutex::default(),
        ended: AtomicBool::new(false),
        opened: OnceCell::new(),
        parents: Parents::default(),
    })
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// "What is there is not what was expected."
pub(super) fn changed(operation: &'static str, path: &SyncPath, reason: &str) -> StorageError {
    StorageError::new(
        ErrorKind::Changed,
        operation,
        format!("{reason}; nothing was changed, look again"),
    )
    .at(path)
}

/// A run that was told to stop waits this long for answers.
const GRACE: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Session(Arc<Shared>);

/// What a session and its writers share.
#[derive(Debug)]
pub(super) struct Shared {
    remote: Arc<Remote>,
    options: SessionOptions,
    /// When it began, in seconds since 1970.
    began: i64,
    staged: Mutex<HashMap<u64, Waiting>>,
    /// Numbers staged content, operations and versions in the trash.
    last: AtomicU64,
    displaced: AtomicU64,
    stranded: Mutex<Vec<StrandedVersion>>,
    ended: AtomicBool,
    /// Set by the first change.
    opened: OnceCell<()>,
    parents: Parents,
}

impl Shared {
    fn store(&self) -> &dyn Store {
        self.remote.wire.store()
    }

    fn facts(&self) -> &Facts {
        self.remote.wire.facts()
    }

    fn number(&self) -> u64 {
        self.last.fetch_add(1, SeqCst) + 1
    }

    /// Whether this may be done at all.
    fn check(&self, operation: &'static str, path: &SyncPath) -> Result<()> {
        self.check_live(operation, path)?;
        names::usable(&self.remote, operation, path)
    }

    fn check_live(&self, operation: &'static str, path: &SyncPath) -> Result<()> {
        let error = if self.options.cancel.is_cancelled() {
            StorageError::new(ErrorKind::Cancelled, operation, "told to stop")
        } else if self.ended.load(SeqCst) {
            let reason = "the session has ended; begin another";
            StorageError::new(ErrorKind::Other, operation, reason)
        } else {
            return Ok(());
        };
        Err(self.named(error, path))
    }

    /// The error with its path and storage.
    fn named(&self, error: StorageError, path: &SyncPath) -> StorageError {
        error.at(path).on(&self.remote.location)
    }

    fn changed(&self, operation: &'static str, path: &SyncPath, reason: &str) -> StorageError {
        changed(operation, path, reason).on(&self.remote.location)
    }

    /// What is told of a version that we made. `alone`: nobody has touched it since.
    fn published(&self, found: &Found, alone: bool) -> Published {
        let facts = self.facts();
        let meta = self.remote.wire.meta(found, now());
        let own_time = facts.mtime_resolution.and(found.modified);
        Published {
            token: meta.token,
            settled: meta.settled && alone,
            file_id: found.file_id,
            mode: found.mode.filter(|_| facts.modes),
            mtime: own_time.or(found.noted.mtime),
        }
    }

    async fn flush(&self) -> Result<()> {
        let flush = || self.store().flush();
        self.repeat("flush", &SyncPath::root(), 0, flush).await
    }

    /// The session's first change: the root has to be there.
    async fn open(&self) -> Result<()> {
        let open = self.opened.get_or_try_init(|| leftovers::open(self));
        open.await.map(|_| ())
    }

    /// Does it, unless the run is told to stop: then only an answer that comes soon is waited for. It is as after a crash: the next run
    /// looks at what was done.
    fn until_stopped<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        path: SyncPath,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T>> {
        let stopped = async {
            self.options.cancel.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        let work = async move {
            tokio::select! {
                biased;
                done = work => done,
                () = stopped => {
                    let reason = "told to stop before the answer came; the next run looks at what was done";
                    let error = StorageError::new(ErrorKind::Cancelled, operation, reason);
                    Err(self.named(error, &path))
                }
            }
        };
        work.boxed()
    }

    /// Does the tasks, some at once; results in order.
    async fn at_once<'a, T: Send + 'a>(&self, tasks: Vec<BoxFuture<'a, T>>) -> Vec<T> {
        let parallel = self.facts().parallel.max(1);
        stream::iter(tasks).buffered(parallel).collect().await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl WriteSession for Session {
    async fn stage(&self, requests: Vec<StageRequest>) -> Vec<Result<Staged>> {
        requests.into_iter().map(|r| self.0.stage(r)).collect()
    }

    async fn stage_large(
        &self,
        request: StageRequest,
        size: u64,
        expect: &Expect,
    ) -> Result<Box<dyn ContentWriter>> {
        large::begin(&self.0, request, size, expect).await
    }

    async fn stage_copy(&self, request: StageRequest, from: CopyFrom) -> Result<Staged> {
        self.0.stage_copy(request, from)
    }

    async fn flush(&self) -> Result<()> {
        let root = SyncPath::root();
        self.0.check_live("flush", &root)?;
        if self.0.opened.get().is_none() || self.0.options.durability == Durability::None {
            return Ok(());
        }
        self.0.flush().await
    }

    async fn replace(&self, requests: Vec<ReplaceRequest>) -> Vec<Result<Published>> {
        let tasks = requests.into_iter().map(|request| {
            let path = request.path.clone();
            self.0
                .until_stopped("replace", path, self.0.replace(request))
        });
        self.0.at_once(tasks.collect()).await
    }

    async fn remove(&self, requests: Vec<RemoveRequest>) -> Vec<Result<()>> {
        let tasks = requests.into_iter().map(|request| {
            let path = request.path.clone();
            self.0.until_stopped("remove", path, self.0.remove(request))
        });
        self.0.at_once(tasks.collect()).await
    }

    async fn rename(&self, requests: Vec<RenameRequest>) -> Vec<Result<Published>> {
        let tasks = requests.into_iter().map(|request| {
            let path = request.from.clone();
            self.0.until_stopped("rename", path, self.0.rename(request))
        });
        self.0.at_once(tasks.collect()).await
    }

    /// Folders of servers have no id by which one could be known again.
    async fn rename_folder(&self, from: &SyncPath, _: FileId, _: &SyncPath) -> Result<()> {
        let reason = "folders are not renamed here; move what is in it";
        let error = StorageError::new(ErrorKind::Unsupported, "rename", reason);
        Err(error.at(from).on(&self.0.remote.location))
    }

    async fn make_folder(&self, path: &SyncPath, mode: Option<Mode>) -> Result<Published> {
        let make = self.0.make_folder(path, mode);
        self.0
            .until_stopped("make folder", path.clone(), make)
            .await
    }

    async fn set_mode(
        &self,
        path: &SyncPath,
        expected: &Expected,
        mode: Mode,
    ) -> Result<Published> {
        let set = self.0.set_mode(path, expected, mode);
        self.0.until_stopped("set mode", path.clone(), set).await
    }

    async fn stranded(&self) -> Vec<StrandedVersion> {
        std::mem::take(&mut *lock(&self.0.stranded))
    }

    async fn finish(&self) -> Result<Displaced> {
        let finish = leftovers::finish(&self.0);
        self.0
            .until_stopped("finish", SyncPath::root(), finish)
            .await?;
        Ok(Displaced {
            versions: self.0.displaced.load(SeqCst),
        })
    }
}
