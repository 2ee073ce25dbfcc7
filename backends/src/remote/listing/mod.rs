//! Listings: what a store tells, as rows in the order of keys.
//!
//! A task walks ahead of whoever takes the rows, by as much as two batches. It ends with the end mark or with an error, never with
//! silence.

mod children;
mod flat;
mod pager;
mod sorted;
mod tree;

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wl_core::model::{Entry, Key, Kind, Meta, SyncPath};
use wl_core::storage::{ErrorKind, ListRequest, Listing, Result, Row, Scope, StorageError};

use super::{Remote, names, token};

/// A batch ends with this many rows, or bytes of paths.
const ROWS: usize = 1024;
const PATH_BYTES: usize = 1 << 20;
/// So many batches wait to be taken.
const BATCHES: usize = 2;

type Message = Result<Option<Vec<Row>>>;

/// A task that ends with whoever waits for it.
#[derive(Debug)]
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The receiving end of a walk. Dropping it stops the walk.
struct Walking {
    rows: Receiver<Message>,
    ended: bool,
    cancel: CancellationToken,
    location: Box<str>,
    _task: Task<()>,
}

#[async_trait]
impl Listing for Walking {
    async fn next(&mut self) -> Result<Option<Vec<Row>>> {
        if self.ended {
            return Ok(None);
        }
        let message = tokio::select! {
            biased;
            // The walk may have been done before it was told to stop; who stops it wants no end mark.
            () = self.cancel.cancelled() => return Err(told_to_stop(&self.location)),
            message = self.rows.recv() => message,
        };
        let broken =
            || StorageError::new(ErrorKind::Other, "list", "the listing broke off; run again");
        let message = message.unwrap_or_else(|| Err(broken().on(&self.location)));
        self.ended = matches!(message, Ok(None));
        message
    }
}

fn told_to_stop(location: &str) -> StorageError {
    StorageError::new(ErrorKind::Cancelled, "list", "told to stop").on(location)
}

/// Starts to list.
pub(super) fn list(remote: &Arc<Remote>, request: ListRequest) -> Result<Box<dyn Listing>> {
    for path in request.scope.named() {
        if names::is_reserved(remote, path) {
            names::usable(remote, "list", path)?;
        }
    }
    let (sender, rows) = channel(BATCHES);
    let (location, cancel) = (remote.location.clone(), request.cancel.clone());
    let remote = Arc::clone(remote);
    let task = tokio::spawn(async move {
        let last = sender.clone();
        let walk = Walk::new(remote, Arc::new(request), sender);
        let message = match walk.run().await {
            Ok(()) => Ok(None),
            Err(Stop::Dropped) => return,
            Err(Stop::Failed(error)) => Err(error),
        };
        // If nobody listens any more there is nobody to tell.
        let _ = last.send(message).await;
    });
    Ok(Box::new(Walking {
        rows,
        ended: false,
        cancel,
        location,
        _task: Task(task),
    }))
}

/// Why a walk ends early.
#[derive(Debug)]
enum Stop {
    Dropped,
    Failed(StorageError),
}

impl From<StorageError> for Stop {
    fn from(error: StorageError) -> Self {
        Stop::Failed(error)
    }
}

type Step<T = ()> = std::result::Result<T, Stop>;

/// What is at a path of a scope.
#[derive(Debug)]
enum Seen {
    Absent,
    Excluded { folder: bool },
    Unknown(StorageError),
    There(Meta),
}

impl Seen {
    /// The place of its row in the order.
    fn key(&self, path: &SyncPath) -> Key {
        Key {
            path: path.clone(),
            folder: match self {
                Seen::There(meta) => meta.kind == Kind::Folder,
                Seen::Excluded { folder } => *folder,
                Seen::Absent | Seen::Unknown(_) => false,
            },
        }
    }
}

/// A running walk: what it needs to know, and the rows that are not yet handed over.
struct Walk {
    remote: Arc<Remote>,
    request: Arc<ListRequest>,
    sender: Sender<Message>,
    rows: Vec<Row>,
    path_bytes: usize,
    /// Batches that were handed over.
    sent: u64,
}

/// How far a walk is.
#[derive(Clone, Copy, Debug)]
struct Place {
    sent: u64,
    rows: usize,
    path_bytes: usize,
}

impl Walk {
    fn new(remote: Arc<Remote>, request: Arc<ListRequest>, sender: Sender<Message>) -> Self {
        Self {
            remote,
            request,
            sender,
            rows: Vec::new(),
            path_bytes: 0,
            sent: 0,
        }
    }

    fn place(&self) -> Place {
        Place {
            sent: self.sent,
            rows: self.rows.len(),
            path_bytes: self.path_bytes,
        }
    }

    /// Forgets the rows since then; false if some were handed over already.
    fn take_back(&mut self, to: Place) -> bool {
        if self.sent != to.sent {
            return false;
        }
        self.rows.truncate(to.rows);
        self.path_bytes = to.path_bytes;
        true
    }

    async fn run(mut self) -> Step {
        let request = Arc::clone(&self.request);
        let scope = match &request.scope {
            Scope::Paths(paths) => {
                self.alone(paths.clone()).await?;
                return self.send().await;
            }
            Scope::Subtrees(paths) if !paths.iter().any(SyncPath::is_root) => Some(paths.clone()),
            _ => None,
        };
        match (self.remote.wire.facts().flat, scope) {
            (true, None) => flat::everything(&mut self).await?,
            (true, Some(paths)) => flat::subtrees(&mut self, paths).await?,
            (false, None) => tree::everything(&mut self).await?,
            (false, Some(paths)) => tree::subtrees(&mut self, paths).await?,
        }
        self.send().await
    }

    /// What is at each path of a scope, in the order of the paths.
    async fn look_at(&self, paths: Vec<SyncPath>) -> Step<Vec<(SyncPath, Seen)>> {
        self.go_on()?;
        let looks = paths.into_iter().map(|path| async {
            let seen = self.look_at_one(&path).await;
            (path, seen)
        });
        let parallel = self.remote.wire.facts().parallel.max(1);
        let seen = futures::stream::iter(looks).buffered(parallel).collect();
        let seen: Vec<_> = seen.await;
        self.go_on()?;
        Ok(seen)
    }

    /// The rows of these paths and of nothing below them.
    async fn alone(&mut self, paths: Vec<SyncPath>) -> Step {
        let mut seen: Vec<_> = self.look_at(paths).await?;
        seen.sort_by_cached_key(|(path, seen)| seen.key(path));
        for (path, seen) in seen {
            let key = seen.key(&path);
            self.seen(key, seen).await?;
        }
        Ok(())
    }

    async fn seen(&mut self, key: Key, seen: Seen) -> Step {
        match seen {
            Seen::Absent => self.row(Row::Absent(key.path)).await,
            Seen::Excluded { .. } => self.row(Row::Excluded(key)).await,
            Seen::Unknown(error) => self.unknown(key.path, false, error).await,
            Seen::There(meta) => self.present(key.path, meta).await,
        }
    }

    async fn look_at_one(&self, path: &SyncPath) -> Seen {
        let filter = &self.request.filter;
        if path.ancestors().any(|above| filter.excludes(&above, true)) {
            return Seen::Excluded { folder: false };
        }
        if let Err(error) = names::usable(&self.remote, "list", path) {
            return Seen::Unknown(error);
        }
        let now = token::now();
        match self.remote.wire.stat(path).await {
            Err(error) => Seen::Unknown(error),
            Ok(None) => Seen::Absent,
            Ok(Some(found)) => {
                let folder = found.kind == Kind::Folder;
                match filter.excludes(path, folder) {
                    true => Seen::Excluded { folder },
                    false => Seen::There(self.remote.wire.meta(&found, now)),
                }
            }
        }
    }

    async fn present(&mut self, path: SyncPath, meta: Meta) -> Step {
        self.row(Row::Present(Entry { path, meta })).await
    }

    async fn unknown(&mut self, path: SyncPath, subtree: bool, error: StorageError) -> Step {
        self.row(Row::Unknown {
            path,
            subtree,
            error,
        })
        .await
    }

    /// A name that the store would not keep as it is: something is there, but nobody can get at it.
    fn refused(&self, path: &SyncPath, reason: &str) -> StorageError {
        let error = StorageError::new(ErrorKind::Unrepresentable, "list", reason);
        error.at(path).on(&self.remote.location)
    }

    /// Adds a row, unless it is not wanted.
    async fn row(&mut self, row: Row) -> Step {
        if let Some(after) = &self.request.start_after
            && row.key() <= *after
        {
            return Ok(());
        }
        self.any_row(row).await
    }

    /// Adds a row wherever its place is.
    async fn any_row(&mut self, row: Row) -> Step {
        self.path_bytes += match &row {
            Row::Present(entry) => entry.path.as_str().len(),
            Row::Absent(path) | Row::Skipped(path) | Row::Unknown { path, .. } => {
                path.as_str().len()
            }
            Row::Excluded(key) => key.path.as_str().len(),
            Row::Unrepresentable { parent, name, .. } => parent.as_str().len() + name.len(),
        };
        self.rows.push(row);
        if self.rows.len() == ROWS || self.path_bytes >= PATH_BYTES {
            self.send().await?;
        }
        Ok(())
    }

    async fn send(&mut self) -> Step {
        self.go_on()?;
        self.path_bytes = 0;
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        self.sent += 1;
        let sent = self.sender.send(Ok(Some(rows))).await;
        sent.map_err(|_| Stop::Dropped)
    }

    fn go_on(&self) -> Step {
        if self.sender.is_closed() {
            return Err(Stop::Dropped);
        }
        if self.request.cancel.is_cancelled() {
            return Err(Stop::Failed(told_to_stop(&self.remote.location)));
        }
        Ok(())
    }

    /// Whether all rows of the folder at `path`, its own included, are before what is wanted.
    fn is_before_start(&self, path: &SyncPath) -> bool {
        self.request
            .start_after
            .as_ref()
            .is_some_and(|after| !after.path.is_within(path) && Key::folder(path.clone()) <= *after)
    }
}
