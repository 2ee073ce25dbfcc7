//! Writing: stage, make durable, publish under a condition.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{CopySource, ErrorKind, Expect, Expected, Result, StorageError, TrashKeep};
use crate::model::{ContentHash, FileId, Kind, Meta, Mode, SyncPath, Timestamp, Token};

/// How much is made durable before it counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Every file and its folder by itself, before the baseline records it.
    Full,
    /// A batch at a time: contents before names, names before the baseline.
    Batch,
    /// Left to the operating system. After a power cut files may be torn.
    None,
}

/// How a session behaves.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// A name for the run that no other run has: letters, digits and `-`.
    pub run: String,
    /// How much is made durable.
    pub durability: Durability,
    /// How long replaced and removed versions are kept.
    pub trash_keep: TrashKeep,
    /// Looked at once a MiB and for every entry.
    pub cancel: CancellationToken,
}

/// What is written.
#[derive(Clone)]
pub enum Payload {
    /// A small file's whole content.
    Bytes(Bytes),
    /// A symbolic link's target.
    Link(Box<str>),
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Payload::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Payload::Link(target) => write!(f, "link to {target}"),
        }
    }
}

/// Content to stage.
#[derive(Clone, Debug)]
pub struct StageRequest {
    /// Where it will go.
    pub path: SyncPath,
    /// What.
    pub payload: Payload,
    /// The content's hash; the zero hash for links is never looked at.
    pub hash: ContentHash,
    /// The modification time it is to have.
    pub mtime: Option<Timestamp>,
    /// The permission bits it is to have; `None`: the storage's default.
    pub mode: Option<Mode>,
}

/// Staged content: a handle, valid in its session only. Dropping it leaves the content to the session's end.
#[derive(Debug)]
pub struct Staged {
    /// The session's number for it.
    pub number: u64,
    /// File or link.
    pub kind: Kind,
    /// The content's hash; as in the request for links.
    pub hash: ContentHash,
    /// Bytes of content.
    pub size: u64,
    /// The backend's own note, such as the staged file's inode and time.
    pub note: Box<str>,
}

/// A version in another storage of the same server.
#[derive(Clone, Debug)]
pub struct CopyFrom {
    /// The storage.
    pub source: CopySource,
    /// Where in it.
    pub path: SyncPath,
    /// The version.
    pub meta: Meta,
}

/// Publishes staged content.
#[derive(Debug)]
pub struct ReplaceRequest {
    /// Where.
    pub path: SyncPath,
    /// What.
    pub staged: Staged,
    /// What is expected there. A file or link never replaces a folder.
    pub expect: Expect,
    /// The caller has listed the storage since the session began: it showed the folder of the path (or that is the root), nothing at
    /// the path and nothing below it. Where no condition tells a file from a folder of its name, this saves another look.
    pub listed: bool,
}

/// Takes an entry away.
#[derive(Clone, Debug)]
pub struct RemoveRequest {
    /// Where. A folder must be empty ([`super::ErrorKind::NotEmpty`] otherwise; what is in it stays).
    pub path: SyncPath,
    /// What is expected there.
    pub expected: Expected,
}

/// Gives a file or link another path.
#[derive(Clone, Debug)]
pub struct RenameRequest {
    /// From where.
    pub from: SyncPath,
    /// What is expected there.
    pub expected: Expected,
    /// To where; nothing may be there.
    pub to: SyncPath,
}

/// What a storage holds after a change of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The token of exactly what we wrote.
    pub token: Token,
    /// Whether that token may be trusted at the next look. False if somebody may have touched the file since.
    pub settled: bool,
    /// The file's id.
    pub file_id: Option<FileId>,
    /// The permission bits it has.
    pub mode: Option<Mode>,
    /// The modification time it has.
    pub mtime: Option<Timestamp>,
}

/// A version of somebody else's that a session found in its own or a dead session's hands. It is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrandedVersion {
    /// The path that it belongs to; `None` if nobody knows any more.
    pub path: Option<SyncPath>,
    /// Where it is now, for people: `put back at ...`, `in the trash as ...`.
    pub kept: String,
    /// How it came about, for people.
    pub reason: String,
}

/// Counts what a session displaced into the trash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Displaced {
    /// Versions moved to the trash.
    pub versions: u64,
}

/// Content that is staged in pieces.
#[async_trait]
pub trait ContentWriter: Send {
    /// Adds a piece.
    async fn write(&mut self, piece: Bytes) -> Result<()>;
    /// Ends the content. `hash` is that of all pieces, as the caller computed it.
    async fn finish(self: Box<Self>, hash: ContentHash) -> Result<Staged>;
}

/// A run's writes to one storage.
///
/// The life of a change: [`stage`](Self::stage) puts the content where no one sees it; [`flush`](Self::flush) makes staged content and
/// earlier changes durable; [`replace`](Self::replace) publishes under a condition. Conditions are checked with the strength that
/// [`super::Capabilities::cas`] declares. When a condition does not hold the result is [`super::ErrorKind::Changed`] and what was there
/// is there again, or is kept and told in [`stranded`](Self::stranded).
///
/// Results are in the order of the requests; one request's failure does not touch the others. Requests of one call may run
/// in any order, and calls may overlap, as long as no two of them name the same path.
#[async_trait]
pub trait WriteSession: Send + Sync + fmt::Debug {
    /// Stages small files and links.
    async fn stage(&self, requests: Vec<StageRequest>) -> Vec<Result<Staged>>;

    /// Stages a large file of `size` bytes piece by piece. The request's payload and hash are not looked at. `expect` is what
    /// [`replace`](Self::replace) will be told: some storages want the condition when an upload begins.
    async fn stage_large(
        &self,
        request: StageRequest,
        size: u64,
        expect: &Expect,
    ) -> Result<Box<dyn ContentWriter>>;

    /// Stages a copy of what `from` has at `from.path` with `from.meta`'s token; the content never passes here. The request's payload is not
    /// looked at, its hash is [`ContentHash::by_copy`]. If the source has another version by the time it is published,
    /// [`replace`](Self::replace) answers `Busy`. Only where [`super::StorageBackend::copies_from`] says so.
    async fn stage_copy(&self, request: StageRequest, from: CopyFrom) -> Result<Staged> {
        let error = StorageError::new(
            ErrorKind::Unsupported,
            "copy",
            "the storage cannot copy from the other one by itself",
        );
        drop(from);
        Err(error.at(&request.path))
    }

    /// Makes durable what was staged and published so far, as the session's durability asks.
    async fn flush(&self) -> Result<()>;

    /// Publishes. `Expect::Absent` fails with `Changed` if anything is there; `NoParent` if its folder is missing.
    /// The version that is replaced goes to the trash.
    async fn replace(&self, requests: Vec<ReplaceRequest>) -> Vec<Result<Published>>;

    /// Takes away. Files and links go to the trash. An entry that is gone already is `NotFound`.
    async fn remove(&self, requests: Vec<RemoveRequest>) -> Vec<Result<()>>;

    /// Renames files and links; a missing folder is `NoParent`, something at the new path `Changed`.
    async fn rename(&self, requests: Vec<RenameRequest>) -> Vec<Result<Published>>;

    /// Renames a folder with all that is in it, as one step. `Changed` if the folder at `from` is not the one with this id (any more), or
    /// anything is at `to`; `NoParent` if the folder of `to` is missing. A storage that cannot do this says `Unsupported`, and what is
    /// in the folder is renamed or copied instead.
    async fn rename_folder(&self, from: &SyncPath, _id: FileId, _to: &SyncPath) -> Result<()> {
        Err(StorageError::new(
            ErrorKind::Unsupported,
            "rename",
            "folders are not renamed here; move what is in it",
        )
        .at(from))
    }

    /// Makes a folder; its parent must be there. Anything that is there already is `Changed`. It appears with `mode` and in any
    /// case with all rights for its owner, so that it can be filled; [`Published::mode`] tells.
    async fn make_folder(&self, path: &SyncPath, mode: Option<Mode>) -> Result<Published>;

    /// Sets the permission bits of a file or folder that is still as expected.
    async fn set_mode(&self, path: &SyncPath, expected: &Expected, mode: Mode)
    -> Result<Published>;

    /// Somebody else's versions that were found by this session so far, each told once.
    async fn stranded(&self) -> Vec<StrandedVersion>;

    /// Ends the session: a last flush; staged content that was not published is given up; the trash is looked through for
    /// versions that were written to after they were displaced, and for what is too old. Without this call nothing is lost; the next
    /// session tidies up.
    async fn finish(&self) -> Result<Displaced>;
}
