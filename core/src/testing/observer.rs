//! Who sees the calls to a storage.

use std::fmt;

use futures::future::BoxFuture;

use super::When;
use crate::model::SyncPath;
use crate::storage::{Result, Row, SessionOptions, StorageError, StorageWatcher};

/// What is asked of a storage. One value for each method of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of the methods")]
pub enum Operation {
    RootMarker,
    List,
    ListNext,
    Stat,
    FileToken,
    Hash,
    Read,
    ReadNext,
    ReadSmall,
    Begin,
    Watcher,
    TrashList,
    TrashRestore,
    Stage,
    StageLarge,
    WriterWrite,
    WriterFinish,
    Flush,
    Replace,
    Remove,
    Rename,
    MakeFolder,
    SetMode,
    Finish,
}

/// One request. A call with many requests is many of these.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is asked.
    pub operation: Operation,
    /// Where, if at a path.
    pub path: Option<SyncPath>,
    /// The session's number, in sessions.
    pub session: Option<u64>,
    /// The staged content's number, where there is one.
    pub staged: Option<u64>,
}

/// Sees every call. The defaults do nothing.
pub trait Observer: Send + Sync + fmt::Debug {
    /// The order in which the `count` requests of a call are done, one after the other; `None`: all of them at once.
    fn apart(&self, _: Operation, _count: usize) -> Option<Vec<usize>> {
        None
    }

    /// What a call waits for, before its first request or after its last one.
    fn pause(&self, _: When, _: &Call) -> Option<BoxFuture<'static, ()>> {
        None
    }

    /// Sees one call with all its paths. What it gives is dropped when the call has ended or was given up.
    fn enter(&self, _: Option<u64>, _: Operation, _: &[&SyncPath]) -> Option<Box<dyn Send>> {
        None
    }

    /// A watcher in place of the storage's own.
    fn watch(&self) -> Option<Box<dyn StorageWatcher>> {
        None
    }

    /// Before a request is done; an error is the request's result, and it is not done.
    fn before(&self, _: &Call) -> Result<()> {
        Ok(())
    }

    /// After a request was done well; an error takes the place of its result.
    fn after(&self, _: &Call) -> Result<()> {
        Ok(())
    }

    /// How many of the next `rows` rows of listing number `listing` arrive before it breaks off; `None`: all.
    fn cut(&self, _listing: u64, _rows: usize) -> Option<(usize, StorageError)> {
        None
    }

    /// Whether a listing does not show this row, and does not say so.
    fn hides(&self, _row: &Row) -> bool {
        false
    }

    /// A session with this number has begun.
    fn began(&self, _session: u64, _options: &SessionOptions) {}
}
