//! Staging: small content and links wait in memory, large content is on its way already.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;
use tokio::sync::Mutex as AsyncMutex;
use wl_core::model::{ContentHash, Kind, RESERVED, SyncPath};
use wl_core::storage::{CopyFrom, ErrorKind, Payload, Result, StageRequest, Staged, StorageError};

use super::{Shared, lock};
use crate::remote::store::{Attributes, Upload};
use crate::remote::token;

/// The most that servers copy in one request: 5 GiB.
const COPY_MOST: u64 = 5 << 30;

/// Staged content that was not published yet.
pub(super) struct Waiting {
    pub(super) content: Content,
    pub(super) attributes: Attributes,
    pub(super) hash: ContentHash,
    pub(super) size: u64,
}

/// What is staged.
pub(super) enum Content {
    Small(Bytes),
    Link(Box<str>),
    Large(Arc<AsyncMutex<Box<dyn Upload>>>),
    /// It is copied by the storage itself when it is published.
    Copy(Box<CopyFrom>),
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn stage(&self, request: StageRequest) -> Result<Staged> {
        let path = &request.path;
        self.check("stage", path)?;
        let (hash, size, kind, content) = match &request.payload {
            Payload::Bytes(content) if ContentHash::of(content) != request.hash => {
                let reason = "the content does not have the hash that was given; read it again";
                return Err(self.named(StorageError::new(ErrorKind::Other, "stage", reason), path));
            }
            Payload::Bytes(content) => {
                let size = content.len() as u64;
                let small = Content::Small(content.clone());
                (request.hash, size, Kind::File, small)
            }
            Payload::Link(_) if !self.facts().links => {
                let reason = "the storage keeps no symbolic links; put a file or folder in its place, or move it elsewhere";
                let error = StorageError::new(ErrorKind::Unrepresentable, "stage", reason);
                return Err(self.named(error, path));
            }
            Payload::Link(target) => (request.hash, 0, Kind::Link, Content::Link(target.clone())),
        };
        let number = self.number();
        let attributes = self.attributes(&request, number, Some(hash));
        Ok(self.keep_staged(
            number,
            kind,
            Waiting {
                content,
                attributes,
                hash,
                size,
            },
        ))
    }

    /// Nothing is sent: the storage copies when it is published.
    pub(super) fn stage_copy(&self, request: StageRequest, from: CopyFrom) -> Result<Staged> {
        let path = &request.path;
        self.check("copy", path)?;
        let refuse = |reason| {
            let error = StorageError::new(ErrorKind::Unsupported, "copy", reason);
            Err(self.named(error, path))
        };
        if from.meta.size > COPY_MOST {
            return refuse("a server copies up to 5 GiB at once");
        }
        if token::tag(&from.meta.token).is_none() {
            return refuse("the version to copy has no tag");
        }
        let number = self.number();
        let (attributes, hash) = (self.attributes(&request, number, None), request.hash);
        let size = from.meta.size;
        Ok(self.keep_staged(
            number,
            Kind::File,
            Waiting {
                content: Content::Copy(Box::new(from)),
                attributes,
                hash,
                size,
            },
        ))
    }

    pub(super) fn attributes(
        &self,
        request: &StageRequest,
        number: u64,
        hash: Option<ContentHash>,
    ) -> Attributes {
        Attributes {
            mtime: request.mtime,
            mode: request.mode,
            hash,
            verify: self.remote.verifies,
            operation: format!("{}-{number}", self.options.run).into(),
        }
    }

    pub(super) fn keep_staged(&self, number: u64, kind: Kind, waiting: Waiting) -> Staged {
        let staged = Staged {
            number,
            kind,
            hash: waiting.hash,
            size: waiting.size,
            note: self.options.run.as_str().into(),
        };
        lock(&self.staged).insert(number, waiting);
        staged
    }

    pub(super) fn take_staged(&self, staged: &Staged) -> Result<Waiting> {
        let own = *staged.note == *self.options.run;
        let found = own.then(|| lock(&self.staged).remove(&staged.number));
        found.flatten().ok_or_else(|| {
            StorageError::new(
                ErrorKind::Other,
                "replace",
                "this session has not staged that; stage it again",
            )
        })
    }

    /// A path of our own below the reserved name.
    pub(super) fn scratch(&self) -> Result<SyncPath> {
        let number = self.last.fetch_add(1, SeqCst) + 1;
        own_path(&format!("stage/{}/{number}", self.options.run))
    }
}

/// A path below the reserved name.
pub(in crate::remote) fn own_path(text: &str) -> Result<SyncPath> {
    SyncPath::new(format!("{RESERVED}/{text}")).map_err(|error| {
        let reason = format!("{error}; report this as a fault of wl");
        StorageError::new(ErrorKind::Other, "name", reason)
    })
}
