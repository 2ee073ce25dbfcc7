//! Reading: the version that is meant, checked before and after.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use wl_core::model::{ContentHash, Kind, SyncPath, Token};
use wl_core::planted::{Bug, planted};
use wl_core::storage::{
    ContentReader, ErrorKind, Noted, ReadRequest, Result, SmallRead, StorageError,
};

use super::listing::denied;
use super::state::{Body, State};
use super::store::Store;

/// Small enough that a large file of a test is read in several pieces.
const PIECE: usize = 64 * 1024;

/// The content at `path`, its hash and token.
pub(super) fn content(
    state: &State,
    operation: &'static str,
    path: &SyncPath,
) -> Result<(Bytes, ContentHash, Token)> {
    let Some((_, node)) = state.find(path) else {
        return Err(StorageError::new(
            ErrorKind::NotFound,
            operation,
            "nothing is there",
        ));
    };
    match &node.body {
        _ if node.unreadable => Err(denied(operation)),
        Body::File { content, hash } => Ok((content.clone(), *hash, state.token(node))),
        _ => Err(StorageError::new(
            ErrorKind::Changed,
            operation,
            "what is there is no file",
        )),
    }
}

fn busy() -> StorageError {
    StorageError::new(
        ErrorKind::Busy,
        "read",
        "the file is another version by now; look again later",
    )
}

/// Reads the version that `request` means, whole.
pub(super) fn read_version(state: &State, request: &ReadRequest) -> Result<SmallRead> {
    match content(state, "read", &request.path) {
        Ok((content, hash, token))
            if token == request.meta.token && request.meta.kind == Kind::File =>
        {
            Ok(SmallRead {
                content,
                hash,
                noted: Noted::default(),
            })
        }
        Ok(_) => Err(busy()),
        Err(error) if error.kind() == ErrorKind::Changed => Err(error.with_kind(ErrorKind::Busy)),
        Err(error) => Err(error),
    }
}

/// Gives a version in pieces.
pub(super) struct MemoryReader {
    pub store: Arc<Store>,
    pub request: ReadRequest,
    pub rest: Bytes,
    /// So many bytes were given.
    pub given: usize,
}

impl MemoryReader {
    /// Goes on with what is there now, as one does who reads a file and never looks back.
    fn read_on(&mut self) {
        let now = self.store.lock();
        if let Ok((content, ..)) = content(&now, "read", &self.request.path) {
            self.rest = content.slice(self.given.min(content.len())..);
        }
    }
}

#[async_trait]
impl ContentReader for MemoryReader {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if planted(Bug::ReadIsNotChecked) {
            self.read_on();
        } else if self.rest.is_empty() {
            let check = |state: &mut State| read_version(state, &self.request).map(drop);
            self.store.at("read", &self.request.path, check)?;
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        self.given += piece.len();
        Ok(Some(piece))
    }
}
