//! Listings: sorted streams of rows.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::{Result, StorageError};
use crate::model::{Entry, Key, SyncPath};

/// Where to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The whole storage.
    Everything,
    /// The paths named and all below them, sorted, none within another. A path where nothing is gives [`Row::Absent`].
    Subtrees(Vec<SyncPath>),
    /// The paths named and nothing below them, sorted; some may lie within others. A path where nothing is gives [`Row::Absent`].
    Paths(Vec<SyncPath>),
}

impl Scope {
    /// The paths that it names.
    pub fn named(&self) -> &[SyncPath] {
        match self {
            Self::Everything => &[],
            Self::Subtrees(paths) | Self::Paths(paths) => paths,
        }
    }
}

/// Says what is left out of a listing. What is excluded is neither read nor listed nor removed.
pub trait Filter: Send + Sync + fmt::Debug {
    /// Whether `path` is excluded; for a folder: with all below it.
    ///
    /// It says so of the folder alone: whoever asks about a path below asks about the folders above it too. Asked for every entry
    /// and every event, so it must be cheap.
    fn excludes(&self, path: &SyncPath, folder: bool) -> bool;

    /// What leaves `path` out, for people; `None` if nothing does.
    fn reason(&self, path: &SyncPath, folder: bool) -> Option<String> {
        self.excludes(path, folder)
            .then(|| "the job's own filter".to_owned())
    }
}

/// The filter that excludes nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoFilter;

impl Filter for NoFilter {
    fn excludes(&self, _: &SyncPath, _: bool) -> bool {
        false
    }
}

/// What to list, and how.
#[derive(Clone, Debug)]
pub struct ListRequest {
    /// Where to look.
    pub scope: Scope,
    /// What to leave out.
    pub filter: Arc<dyn Filter>,
    /// Rows up to and including this one are not wanted.
    pub start_after: Option<Key>,
    /// A folder for the spill files of sorts that do not fit in memory. The files have no names.
    pub spill_dir: PathBuf,
    /// Looked at for every folder and at least every thousand rows.
    pub cancel: CancellationToken,
}

impl ListRequest {
    /// Everything, unfiltered.
    pub fn everything(spill_dir: impl Into<PathBuf>) -> Self {
        Self {
            scope: Scope::Everything,
            filter: Arc::new(NoFilter),
            start_after: None,
            spill_dir: spill_dir.into(),
            cancel: CancellationToken::new(),
        }
    }
}

/// One row of a listing. Each has a place in the order of [`Key`].
#[derive(Debug)]
pub enum Row {
    /// An entry is there.
    Present(Entry),
    /// Nothing is at this path of a scope.
    Absent(SyncPath),
    /// It could not be found out what is at this path, or (`subtree`) below it. Never a reason to remove anything. For a
    /// subtree the folder itself comes before, as [`Row::Present`]. Its place is that of a file at `path`, or for a
    /// subtree that of the folder.
    Unknown {
        /// The path.
        path: SyncPath,
        /// Whether it is the inside of the folder at `path` that is unknown.
        subtree: bool,
        /// Why.
        error: StorageError,
    },
    /// Something is there and is left out by the filter. It keeps its baseline and its folder.
    Excluded(Key),
    /// A special file (socket, device, pipe): counted, never synced. It keeps its folder. Its place is that of a file.
    Skipped(SyncPath),
    /// In the folder `parent` is a name that is no [`SyncPath`] part (not UTF-8, say), or an entry that cannot be told in
    /// wl's words. It keeps its folder. Its place is directly after its folder's row.
    Unrepresentable {
        /// The folder; the root is the empty path.
        parent: SyncPath,
        /// The name, made readable.
        name: String,
        /// Why, and what to do.
        reason: String,
    },
}

impl Row {
    /// The row's place in the order.
    pub fn key(&self) -> Key {
        match self {
            Row::Present(entry) => entry.key(),
            Row::Absent(path) | Row::Skipped(path) => Key::file(path.clone()),
            Row::Unknown { path, subtree, .. } => Key {
                path: path.clone(),
                folder: *subtree,
            },
            Row::Excluded(key) => key.clone(),
            Row::Unrepresentable { parent, .. } => Key::folder(parent.clone()),
        }
    }
}

/// A running listing.
#[async_trait]
pub trait Listing: Send {
    /// The next rows, in order, at most about a thousand; `None` is the end mark: the listing was complete. After an
    /// error everything behind the last row is unknown.
    async fn next(&mut self) -> Result<Option<Vec<Row>>>;
}
