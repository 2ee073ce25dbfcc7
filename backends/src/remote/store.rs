//! What the engine needs of a remote storage: single operations, nothing clever.
//!
//! A [`Store`] speaks one protocol. It does each operation once: no retries, no limits, no trash, no judgement. What all remote
//! storages have in common is done on top of it, once, by the engine in this folder.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use wl_core::model::{ContentHash, FileId, Kind, Mode, SyncPath, Timestamp};
use wl_core::storage::{CopySource, ErrorKind, Noted, StorageError};

/// A store's result.
pub(crate) type Outcome<T> = std::result::Result<T, Fault>;

/// An operation that failed.
#[derive(Debug)]
pub(crate) struct Fault {
    /// What went wrong. Operation and storage are filled in by the engine.
    pub(crate) error: StorageError,
    /// Whether the same operation may succeed if it is tried again.
    pub(crate) again: Again,
    /// It may have been carried out all the same: the request was sent, and no answer came, or one that does not say.
    pub(crate) unclear: bool,
}

/// Whether to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// It would fail again.
    Never,
    /// The trouble is temporary; the storage asked for this pause, if it said.
    After(Option<Duration>),
}

impl From<StorageError> for Fault {
    /// A clear refusal: nothing was done, and it would fail again.
    fn from(error: StorageError) -> Self {
        Self {
            error,
            again: Again::Never,
            unclear: false,
        }
    }
}

/// What is at a path. A listing tells what it can; `stat`, `read`, `put` and `commit` tell all that is known.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// File, folder or link.
    pub(crate) kind: Kind,
    /// Bytes of content.
    pub(crate) size: u64,
    /// What names this version, and what conditions are made of: an entity tag, a generation. The same from a listing, a stat and a
    /// write. `None`: the storage has no such thing, or (weak tag) it proves nothing yet.
    pub(crate) tag: Option<Box<str>>,
    /// When the storage says that it changed; the file's own time where [`Facts::mtime_resolution`] is given.
    pub(crate) modified: Option<Timestamp>,
    /// Permission bits, where [`Facts::modes`].
    pub(crate) mode: Option<Mode>,
    /// A link's target, where [`Facts::links`].
    pub(crate) link: Option<Box<str>>,
    /// Stays when the storage moves the file.
    pub(crate) file_id: Option<FileId>,
    /// What the writer noted beside it, where [`Facts::notes`]. Not in listings.
    pub(crate) noted: Noted,
    /// [`Attributes::operation`] of the write that made it, where [`Facts::notes`]. Not in listings.
    pub(crate) operation: Option<Box<str>>,
}

/// A row of a listing.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// In a flat listing the key, relative to the store's root, as it is: it may be no path at all (`a//b`, `..`). A zero-byte key
    /// that ends in `/` is a folder; one with content that ends in `/` is told as it is. In a folder's listing the name, without a `/`.
    pub(crate) name: String,
    /// What it is.
    pub(crate) found: Found,
    /// The name was changed on its way here, because it is no UTF-8: it is only good for messages.
    pub(crate) lossy: bool,
    /// Something is there that cannot be synced (a device, a socket, a pipe, a link to what is no UTF-8): it is told as skipped, and `found`
    /// means nothing.
    pub(crate) special: bool,
}

/// What to list.
#[derive(Clone, Copy, Debug)]
pub(crate) enum List<'a> {
    /// Flat stores: all keys that begin with `prefix` and come behind `after`, in the server's own order: the engine finds out which that
    /// is. Both are relative to the store's root. `after` is only given where [`Facts::start_after`].
    Keys {
        /// `""`, or a path and `/`.
        prefix: &'a str,
        /// A key.
        after: Option<&'a str>,
    },
    /// The others: what is directly in this folder, in any order, at most once each. `NotFound` if it is not there.
    Folder(&'a SyncPath),
}

/// A running listing.
#[async_trait]
pub(crate) trait Pages: Send {
    /// The next rows, as many as the storage sends at once; `None` at the end. After a fault the listing is not asked again.
    async fn next(&mut self) -> Outcome<Option<Vec<Listed>>>;
}

/// What must hold for a change to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Nothing: the engine has looked for itself.
    None,
    /// Nothing is there.
    Absent,
    /// The version with this tag is there.
    Is(Box<str>),
}

/// What goes with content.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes {
    /// Modification time of the file.
    pub(crate) mtime: Option<Timestamp>,
    /// Its permission bits.
    pub(crate) mode: Option<Mode>,
    /// Its SHA-256; unknown when a large upload begins.
    pub(crate) hash: Option<ContentHash>,
    /// The storage is to compare the content with its SHA-256 and to keep that, where [`Store::verifies`].
    pub(crate) verify: bool,
    /// Names this write and no other, to be recognised if the reply is lost. Letters, digits and `-`.
    pub(crate) operation: Box<str>,
}

/// A small file to write.
#[derive(Debug)]
pub(crate) struct Put<'a> {
    /// Where. The folder is there.
    pub(crate) path: &'a SyncPath,
    /// The content.
    pub(crate) content: Bytes,
    /// What goes with it.
    pub(crate) attributes: &'a Attributes,
    /// What must hold; only conditions that [`Facts::conditions`] offers.
    pub(crate) condition: &'a Condition,
    /// What the engine saw there, where it has no condition for it. Stores that write elsewhere first look once more before they move it,
    /// which makes the time short in which somebody else's version can be overwritten; another version is `Changed`.
    pub(crate) seen: Option<&'a Found>,
    /// A path below the reserved name that nobody else uses, for stores that write there first and then move. Its folder may
    /// be missing.
    pub(crate) scratch: &'a SyncPath,
}

/// A large file to write.
#[derive(Debug)]
pub(crate) struct UploadRequest<'a> {
    /// Where. The folder is there.
    pub(crate) path: &'a SyncPath,
    /// Bytes of content.
    pub(crate) size: u64,
    /// What goes with it.
    pub(crate) attributes: &'a Attributes,
    /// What will have to hold when it is committed.
    pub(crate) condition: &'a Condition,
    /// As in [`Put::scratch`].
    pub(crate) scratch: &'a SyncPath,
}

/// A large file on its way. Nothing is seen at its path before [`commit`](Upload::commit). Memory is bounded whatever the size.
#[async_trait]
pub(crate) trait Upload: Send + Sync {
    /// Adds a piece.
    async fn write(&mut self, piece: Bytes) -> Outcome<()>;
    /// Sends what is left. No piece comes after.
    async fn finish(&mut self) -> Outcome<()>;
    /// Publishes under the condition that was given at the start. `Changed` if it does not hold. A fault that says `again` may be
    /// followed by another call.
    async fn commit(&mut self) -> Outcome<Found>;
    /// Gives it up.
    async fn abort(&mut self) -> Outcome<()>;
}

/// The content of a range, and what it belongs to.
pub(crate) struct Reading {
    /// The version that is read, if the reply told.
    pub(crate) found: Option<Found>,
    /// Its pieces. The engine counts them: a stream that ends early was cut short.
    pub(crate) pieces: BoxStream<'static, Outcome<Bytes>>,
}

/// A file to copy from another store of the same server.
#[derive(Debug)]
pub(crate) struct CopyIn<'a> {
    /// The other store.
    pub(crate) source: &'a CopySource,
    /// The path there.
    pub(crate) from: &'a SyncPath,
    /// The version that is meant.
    pub(crate) tag: &'a str,
    /// Its size.
    pub(crate) size: u64,
    /// The path here.
    pub(crate) to: &'a SyncPath,
    /// What must hold here.
    pub(crate) condition: &'a Condition,
}

/// Which conditions a protocol offers. The engine tries them out before it believes them, if [`Facts::probe`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    /// A write with [`Condition::Absent`].
    pub(crate) create: bool,
    /// A write with [`Condition::Is`].
    pub(crate) replace: bool,
    /// A removal with [`Condition::Is`].
    pub(crate) remove: bool,
}

/// What a store can do, as plain facts about its protocol; rounded down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// Keys without folders: listings are [`List::Keys`], folders are implied, and exist only with something in them.
    pub(crate) flat: bool,
    /// [`List::Keys`] takes `after`.
    pub(crate) start_after: bool,
    /// The conditions that it offers.
    pub(crate) conditions: Conditions,
    /// Whether a server may ignore conditions: then they are tried out.
    pub(crate) probe: bool,
    /// Keeps [`Attributes`] beside the content and tells them in `stat` and `read`.
    pub(crate) notes: bool,
    /// Sets a file's own modification time, to this many nanoseconds, and tells it in listings.
    pub(crate) mtime_resolution: Option<u64>,
    /// Where there is no tag: how coarse `modified` is, in nanoseconds. A younger version is not settled.
    pub(crate) clock: u64,
    /// Keeps and lists permission bits.
    pub(crate) modes: bool,
    /// Keeps symbolic links.
    pub(crate) links: bool,
    /// [`Store::copy`] works, without the content passing here.
    pub(crate) copies: bool,
    /// [`Store::rename`] works: the content does not travel.
    pub(crate) renames: bool,
    /// `a` and `A` are the same name.
    pub(crate) folds_case: bool,
    /// May be written to at all.
    pub(crate) writable: bool,
    /// Requests that make sense at once.
    pub(crate) parallel: usize,
    /// Bytes that a range of a large file has when it is read; ranges are read in parallel.
    pub(crate) range: u64,
}

/// A remote storage. Paths are below the store's root; those below the reserved name are like any others here.
#[async_trait]
pub(crate) trait Store: Send + Sync + fmt::Debug {
    /// What it can do.
    fn facts(&self) -> &Facts;

    /// Where it is, for people. Holds no secret.
    fn location(&self) -> &str;

    /// What makes it this storage and no other: type, endpoint, bucket, prefix; ends without `/`. What lies below another is
    /// the other's identity, `/`, and more.
    fn identity(&self) -> &str;

    /// The server and the part of it whose behaviour is the same: endpoint and bucket. What was found out by trying is
    /// remembered under this name.
    fn server(&self) -> &str;

    /// Why this name cannot be kept exactly as it is, and what to do; `None` if it can.
    fn refuses(&self, path: &SyncPath) -> Option<String>;

    /// Starts a listing.
    async fn list(&self, list: List<'_>) -> Outcome<Box<dyn Pages>>;

    /// What is at `path`; the root too. For flat stores a folder is there if its marker is, or anything below it.
    async fn stat(&self, path: &SyncPath) -> Outcome<Option<Found>>;

    /// The file or link at `path`. What it says of a folder means nothing.
    async fn file(&self, path: &SyncPath) -> Outcome<Option<Found>> {
        self.stat(path).await
    }

    /// Whether the root is there. Where that cannot be told, a root with nothing in it is not.
    async fn exists(&self) -> Outcome<bool> {
        Ok(self.stat(&SyncPath::root()).await?.is_some())
    }

    /// Reads a range of a file. With a tag: of that version, `Busy` if it is another. `NotFound` if nothing is there.
    async fn read(&self, path: &SyncPath, range: Range<u64>, tag: Option<&str>)
    -> Outcome<Reading>;

    /// Writes a small file. It appears whole or not at all, wherever the storage can do that. `Changed` if the condition does
    /// not hold; without condition it takes the place of a file or link that is there. Missing folders are [`ErrorKind::NoParent`](wl_core::storage::ErrorKind::NoParent),
    /// but for those of `scratch`.
    async fn put(&self, put: Put<'_>) -> Outcome<Found>;

    /// Starts a large file.
    async fn upload(&self, request: UploadRequest<'_>) -> Outcome<Box<dyn Upload>>;

    /// Makes a symbolic link where nothing is.
    async fn put_link(&self, path: &SyncPath, target: &str) -> Outcome<Found>;

    /// Removes a file or a link. `Changed` if the condition does not hold; `NotFound` if the storage tells that nothing was there.
    async fn remove(&self, path: &SyncPath, condition: &Condition) -> Outcome<()>;

    /// Copies a file on the server, with what was noted beside it. With a tag: that version, `Changed` if it is another. Takes
    /// the place of what is at `to` unless `absent`; then `Changed`. Where [`Facts::copies`].
    async fn copy(
        &self,
        from: &SyncPath,
        tag: Option<&str>,
        to: &SyncPath,
        absent: bool,
    ) -> Outcome<Found>;

    /// Moves a file or link without its content. `condition` is that of `from`; something at `to` is `Changed`. Where
    /// [`Facts::renames`]. Missing folders are `NoParent`.
    async fn rename(&self, from: &SyncPath, condition: &Condition, to: &SyncPath)
    -> Outcome<Found>;

    /// Makes the root, if it is missing, where a missing root is taken for an empty one. Called before anything is written.
    async fn make_root(&self) -> Outcome<()> {
        Ok(())
    }

    /// Makes a folder; the one above must be there. `Changed` if anything is there. Never called on flat stores.
    async fn make_folder(&self, path: &SyncPath, mode: Option<Mode>) -> Outcome<Found>;

    /// Removes a folder that is empty, `NotEmpty` otherwise. On a flat store: its marker, if there is one.
    async fn remove_folder(&self, path: &SyncPath) -> Outcome<()>;

    /// Sets permission bits, where [`Facts::modes`].
    async fn set_mode(&self, path: &SyncPath, mode: Mode) -> Outcome<Found>;

    /// What other stores of the same server copy from this one with; `None`: nothing can.
    fn copy_source(&self) -> Option<CopySource> {
        None
    }

    /// Whether large files are written in another way than small ones, so that the server may treat their conditions differently.
    fn writes_large_apart(&self) -> bool {
        false
    }

    /// Writes a small file in the way of large ones, to try that out.
    async fn put_as_large(&self, put: Put<'_>) -> Outcome<Found> {
        self.put(put).await
    }

    /// Whether the storage may compare what it gets with [`Attributes::hash`]. The engine tries that out before it believes it.
    fn verifies(&self) -> bool {
        false
    }

    /// The SHA-256 of the whole file, as the storage itself has verified it and keeps it: never what a writer noted. `None` if it has
    /// none, or the version with this tag is not there any more.
    async fn verified_hash(&self, _path: &SyncPath, _tag: &str) -> Outcome<Option<ContentHash>> {
        Ok(None)
    }

    /// Whether [`Store::copy_in`] works from there.
    fn copies_from(&self, _source: &CopySource) -> bool {
        false
    }

    /// Copies a file from another store of the same server, under the condition on what is here. `Busy` if the source is another
    /// version, `Changed` if the condition does not hold.
    async fn copy_in(&self, copy: CopyIn<'_>) -> Outcome<Found> {
        let error = StorageError::new(
            ErrorKind::Unsupported,
            "copy",
            "the storage cannot copy from the other one by itself",
        );
        Err(error.at(copy.to).into())
    }

    /// Clears away what keeps a new file from `path` although nothing is there: a folder that has emptied and that the server still has. Says
    /// whether there was one. What is there stays. Asked on flat stores, after a refusal.
    async fn clear_emptied(&self, _path: &SyncPath) -> Outcome<bool> {
        Ok(false)
    }

    /// How far the server's clock is ahead of ours at the least, in nanoseconds, where its replies tell that.
    fn ahead(&self) -> Option<i64> {
        None
    }

    /// Makes durable what was written, where the protocol has such a thing.
    async fn flush(&self) -> Outcome<()> {
        Ok(())
    }
}
