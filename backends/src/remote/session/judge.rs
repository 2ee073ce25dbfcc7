//! Judging: what is there, compared with what is expected or with what we wrote.

use futures::StreamExt;
use tokio_util::sync::CancellationToken;
use wl_core::model::{ContentHash, Hasher, Kind, SyncPath};
use wl_core::storage::{ErrorKind, Expected, Result, StorageError};

use super::stage::{Content, Waiting};
use super::{Rounds, Shared};
use crate::remote::store::{Fault, Found};
use crate::remote::token;
use crate::remote::wire::Wire;

/// What a look found.
pub(super) enum Look {
    Absent,
    /// The version that is expected.
    Same(Found),
    /// Another.
    Other,
}

/// Whether both are one version, as far as their attributes tell. They may have different paths: one was moved or copied.
pub(super) fn alike(one: &Found, other: &Found) -> bool {
    if (one.kind, one.size) != (other.kind, other.size) || one.link != other.link {
        return false;
    }
    let same_tag = one.tag.is_some() && one.tag == other.tag;
    let same_time = one.modified.is_some() && one.modified == other.modified;
    let same_write = one.operation.is_some() && one.operation == other.operation;
    one.kind == Kind::Link || same_tag || same_write || (one.tag.is_none() && same_time)
}

/// The hash of the file that was found at `path`; `None` if another version is there by now.
pub(in crate::remote) async fn hash_of(
    wire: &Wire,
    path: &SyncPath,
    found: &Found,
    cancel: &CancellationToken,
) -> Result<Option<ContentHash>> {
    let mut rounds = Rounds::default();
    loop {
        match read_through(wire, path, found, cancel).await? {
            Ok(hash) => return Ok(hash),
            Err(fault) => {
                let paused = rounds.pause(fault, cancel).await;
                paused.map_err(|fault| wire.error("hash", path, fault))?;
            }
        }
    }
}

async fn read_through(
    wire: &Wire,
    path: &SyncPath,
    found: &Found,
    cancel: &CancellationToken,
) -> Result<std::result::Result<Option<ContentHash>, Fault>> {
    let mut hasher = Hasher::new();
    let mut left = found.size;
    if left > 0 {
        let mut reading = match wire.read(path, 0..left, found.tag.as_deref()).await {
            Ok(reading) => reading,
            Err(error) if gone(&error) => return Ok(Ok(None)),
            Err(error) => return Err(error),
        };
        while let Some(piece) = reading.pieces.next().await {
            if cancel.is_cancelled() {
                return Err(
                    StorageError::new(ErrorKind::Cancelled, "hash", "told to stop").at(path),
                );
            }
            let piece = match piece {
                Ok(piece) => piece,
                Err(fault) if gone(&fault.error) => return Ok(Ok(None)),
                Err(fault) => return Ok(Err(fault)),
            };
            let Some(rest) = left.checked_sub(piece.len() as u64) else {
                return Ok(Ok(None));
            };
            left = rest;
            hasher.update(&piece);
        }
    }
    // Without a tag only another look tells whether it was one version all the time.
    let steady = found.tag.is_some()
        || wire
            .stat(path)
            .await?
            .is_some_and(|after| token::token(&after) == token::token(found));
    Ok(Ok((left == 0 && steady).then(|| hasher.finish())))
}

fn gone(error: &StorageError) -> bool {
    matches!(error.kind(), ErrorKind::Busy | ErrorKind::NotFound)
}

impl Shared {
    pub(super) async fn hash(&self, path: &SyncPath, found: &Found) -> Result<Option<ContentHash>> {
        hash_of(&self.remote.wire, path, found, &self.options.cancel).await
    }

    /// Looks whether the expected version is there.
    pub(super) async fn look(&self, path: &SyncPath, expected: &Expected) -> Result<Look> {
        let Some(found) = self.remote.wire.stat(path).await? else {
            return Ok(Look::Absent);
        };
        Ok(match self.is_expected(path, &found, expected).await? {
            true => Look::Same(found),
            false => Look::Other,
        })
    }

    /// By kind and token, or by hash where the token says nothing; links by their target.
    pub(super) async fn is_expected(
        &self,
        path: &SyncPath,
        found: &Found,
        expected: &Expected,
    ) -> Result<bool> {
        if found.kind != expected.kind {
            return Ok(false);
        }
        match found.kind {
            Kind::Folder => return Ok(true),
            Kind::Link => return Ok(found.link.is_some() && found.link == expected.link),
            Kind::File => {}
        }
        let token = expected.token.as_ref();
        if token.is_some_and(|token| token::is_same(token, found)) {
            return Ok(true);
        }
        let Some(hash) = expected.hash else {
            return Ok(false);
        };
        Ok(self.hash(path, found).await? == Some(hash))
    }

    /// What is at `path`, if it is what we tried to write there and nobody told us how that ended.
    pub(super) async fn ours(&self, path: &SyncPath, waiting: &Waiting) -> Result<Option<Found>> {
        let Some(found) = self.remote.wire.stat(path).await? else {
            return Ok(None);
        };
        let ours = match (&waiting.content, found.kind) {
            (Content::Link(target), Kind::Link) => found.link.as_ref() == Some(target),
            (Content::Small(_) | Content::Large(_), Kind::File) => {
                // A large file that was carried on has the name that the upload began with.
                let large = matches!(waiting.content, Content::Large(_));
                match (self.facts().notes, &found.operation) {
                    _ if found.size != waiting.size => false,
                    (true, Some(operation)) if *operation == waiting.attributes.operation => true,
                    (true, Some(_)) if !large => false,
                    _ => self.hash(path, &found).await? == Some(waiting.hash),
                }
            }
            // What was copied carries the marks of its source: the next pass finds both equal.
            _ => false,
        };
        Ok(ours.then_some(found))
    }
}
