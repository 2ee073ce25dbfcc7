//! The storage backend.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{
    Capabilities, ListRequest, Listing, MachineFolder, Result, RootMarker, SessionOptions,
    StorageWatcher, TrashId, TrashItem, WatchRequest, WriteSession,
};
use crate::model::{ContentHash, Meta, Mode, SyncPath, Timestamp, Token};

/// Files up to this many bytes travel whole, many at a time; larger ones are streamed.
pub const SMALL_FILE: u64 = 256 * 1024;

/// Which file to read, and the version that is meant.
#[derive(Clone, Debug)]
pub struct ReadRequest {
    /// The file.
    pub path: SyncPath,
    /// The file as the listing showed it. If something else is found before or after reading, the result is
    /// [`super::ErrorKind::Busy`] (or `NotFound`).
    pub meta: Meta,
}

/// What whoever wrote a file noted beside its content, where the storage keeps such notes but does not tell them in listings
/// (user metadata of an object). It is told with the content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// The modification time of the file that was written.
    pub mtime: Option<Timestamp>,
    /// Its permission bits.
    pub mode: Option<Mode>,
}

/// A small file's content.
#[derive(Clone, Debug)]
pub struct SmallRead {
    /// The content.
    pub content: Bytes,
    /// Its hash.
    pub hash: ContentHash,
    /// What was noted beside it.
    pub noted: Noted,
}

/// A storage from which others of the same server may copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopySource {
    /// Server and credentials: only storages with the same value may copy from each other. Holds no secret.
    pub realm: Box<str>,
    /// Where on the server, as its storages understand it.
    pub address: Box<str>,
    /// The storage's identity.
    pub identity: Box<str>,
}

/// A file's hash, as the storage found it.
#[derive(Clone, Debug)]
pub struct Hashed {
    /// The hash.
    pub hash: ContentHash,
    /// The file's attributes; they were the same before and after reading.
    pub meta: Meta,
}

/// Content that is read in pieces.
#[async_trait]
pub trait ContentReader: Send {
    /// The next piece, 1 byte to 1 MiB; `None` at the end, after it was checked that the file is still the version that was
    /// asked for ([`super::ErrorKind::Busy`] if not).
    async fn next(&mut self) -> Result<Option<Bytes>>;

    /// What was noted beside the content.
    fn noted(&self) -> Noted {
        Noted::default()
    }
}

/// A storage: a tree of files, folders and links under a root.
///
/// Every path is below the root and is never reached through a link. The reserved name [`crate::model::RESERVED`] at the root is
/// not listed and refused as [`super::ErrorKind::Unrepresentable`]. Futures may be dropped at any point without harm to what is
/// published.
#[async_trait]
pub trait StorageBackend: Send + Sync + fmt::Debug {
    /// The type's registered name: `local`, `s3`, ...
    fn type_name(&self) -> &'static str;

    /// Where it is, for people. Holds no secret.
    fn location(&self) -> &str;

    /// What makes it this storage and no other (canonical path; or endpoint, bucket and prefix), with the type's name in
    /// front. The same storage has the same identity however it was named.
    fn identity(&self) -> &str;

    /// What identifies what is behind the root: its file system and the folder itself, asked of the system at every call. A value other
    /// than the one remembered means that something else is mounted there, or that the folder was replaced by another. What may
    /// change by itself has no place in it. Empty where there is no such thing. Where the path that names the storage leads to another one by
    /// now it is refused as [`super::ErrorKind::Elsewhere`].
    async fn root_marker(&self) -> Result<RootMarker>;

    /// The root and the folders above it, the root first, where they are folders of this machine: two storages of which one lies in the other
    /// are known by that, though a mount hides it. Empty where there is no such thing.
    async fn lies_in(&self) -> Result<Vec<MachineFolder>> {
        Ok(Vec::new())
    }

    /// Whether the root is there. A storage that says no lists nothing, and its root comes into being with the first write; one that
    /// cannot be connected without its root always says yes.
    async fn exists(&self) -> Result<bool> {
        Ok(true)
    }

    /// What it can do.
    fn capabilities(&self) -> &Capabilities;

    /// Lists in the order of [`crate::model::Key`]. The root itself is not a row. A root that is not there is
    /// [`super::ErrorKind::Unavailable`].
    async fn list(&self, request: ListRequest) -> Result<Box<dyn Listing>>;

    /// What is at `path`; `None` if nothing.
    async fn stat(&self, path: &SyncPath) -> Result<Option<Meta>>;

    /// The token of the file or link at `path`; `None` if there is none. What it says of a folder means nothing: to look for one may cost
    /// a request of its own.
    async fn file_token(&self, path: &SyncPath) -> Result<Option<Token>> {
        Ok(self.stat(path).await?.map(|meta| meta.token))
    }

    /// The hash of the file at `path`, by the storage's fastest honest way. `Busy` if it changes meanwhile.
    async fn hash(&self, path: &SyncPath, cancel: &CancellationToken) -> Result<Hashed>;

    /// Opens the version of a file that `request` means, at its start.
    async fn read(&self, request: ReadRequest) -> Result<Box<dyn ContentReader>>;

    /// Reads many files of at most [`SMALL_FILE`] bytes at once; the results are in the order of the requests.
    async fn read_small(&self, requests: Vec<ReadRequest>) -> Vec<Result<SmallRead>>;

    /// Whether a power cut could still take what a look showed as `meta`, were it not made durable: whoever wrote it may not have done so.
    /// Told from `meta` alone. A storage that keeps what it acknowledged says no.
    fn may_be_lost(&self, _meta: &Meta) -> bool {
        false
    }

    /// Makes durable what is at these paths now, and their names. What is gone need not last, and where nothing can be made durable
    /// nothing is to be done.
    async fn make_durable(&self, _paths: Vec<SyncPath>) -> Result<()> {
        Ok(())
    }

    /// What another storage needs to copy from this one without the content passing here; `None` if no storage can.
    fn copy_source(&self) -> Option<CopySource> {
        None
    }

    /// Whether [`WriteSession::stage_copy`] can take content from `source`.
    fn copies_from(&self, _source: &CopySource) -> bool {
        false
    }

    /// Starts to write. Leftovers of dead sessions are taken care of first; what they found is in
    /// [`WriteSession::stranded`].
    async fn begin(&self, options: SessionOptions) -> Result<Arc<dyn WriteSession>>;

    /// A watcher on this storage; `None` if it has no events of its own and is polled.
    async fn watcher(&self, _request: WatchRequest) -> Result<Option<Box<dyn StorageWatcher>>> {
        Ok(None)
    }

    /// What is in the trash, oldest first.
    async fn trash_list(&self) -> Result<Vec<TrashItem>>;

    /// Bytes that can still be written, where the storage can tell without much ado. It is a hint: nothing is refused for it.
    async fn free_space(&self) -> Option<u64> {
        None
    }

    /// Those in the trash that nobody agreed to give up ([`super::TrashState::Rescued`] and `Late`): mostly none, in a trash of any
    /// size.
    async fn trash_claimed(&self) -> Result<Vec<TrashItem>>;

    /// Puts a version from the trash back at `to`, where nothing may be ([`super::ErrorKind::Changed`] otherwise). Missing
    /// folders are made.
    async fn trash_restore(&self, id: &TrashId, to: &SyncPath) -> Result<()>;

    /// Gives up what is in the trash for longer than `options.trash_keep`, as the end of a session does: never what a session that goes on
    /// put there, nor what nobody agreed to give up. What could not be removed stays.
    async fn trash_empty(&self, options: SessionOptions) -> Result<()> {
        self.begin(options).await?.finish().await.map(drop)
    }
}
