//! A session that touches nothing: what a dry run writes through.

use async_trait::async_trait;
use bytes::Bytes;

use crate::model::{ContentHash, Kind, Mode, SyncPath, Token};
use crate::storage::{
    ContentWriter, CopyFrom, Displaced, Expect, Expected, Payload, Published, RemoveRequest,
    RenameRequest, ReplaceRequest, Result, StageRequest, Staged, StrandedVersion, WriteSession,
};

/// Accepts everything, does nothing.
#[derive(Debug)]
pub(super) struct Rehearsal;

fn published(mode: Option<Mode>) -> Published {
    Published {
        token: Token::new("rehearsed"),
        settled: false,
        file_id: None,
        mode,
        mtime: None,
    }
}

fn staged(kind: Kind, hash: ContentHash, size: u64) -> Staged {
    Staged {
        number: 0,
        kind,
        hash,
        size,
        note: "".into(),
    }
}

#[derive(Debug)]
struct Discard(u64);

#[async_trait]
impl ContentWriter for Discard {
    async fn write(&mut self, piece: Bytes) -> Result<()> {
        self.0 += piece.len() as u64;
        Ok(())
    }

    async fn finish(self: Box<Self>, hash: ContentHash) -> Result<Staged> {
        Ok(staged(Kind::File, hash, self.0))
    }
}

#[async_trait]
impl WriteSession for Rehearsal {
    async fn stage(&self, requests: Vec<StageRequest>) -> Vec<Result<Staged>> {
        requests
            .into_iter()
            .map(|request| {
                Ok(match request.payload {
                    Payload::Bytes(bytes) => staged(Kind::File, request.hash, bytes.len() as u64),
                    Payload::Link(_) => staged(Kind::Link, request.hash, 0),
                })
            })
            .collect()
    }

    async fn stage_large(
        &self,
        _: StageRequest,
        _: u64,
        _: &Expect,
    ) -> Result<Box<dyn ContentWriter>> {
        Ok(Box::new(Discard(0)))
    }

    async fn stage_copy(&self, request: StageRequest, from: CopyFrom) -> Result<Staged> {
        Ok(staged(Kind::File, request.hash, from.meta.size))
    }

    async fn flush(&self) -> Result<()> {
        Ok(())
    }

    async fn replace(&self, requests: Vec<ReplaceRequest>) -> Vec<Result<Published>> {
        requests.iter().map(|_| Ok(published(None))).collect()
    }

    async fn remove(&self, requests: Vec<RemoveRequest>) -> Vec<Result<()>> {
        requests.iter().map(|_| Ok(())).collect()
    }

    async fn rename(&self, requests: Vec<RenameRequest>) -> Vec<Result<Published>> {
        requests.iter().map(|_| Ok(published(None))).collect()
    }

    async fn make_folder(&self, _: &SyncPath, mode: Option<Mode>) -> Result<Published> {
        Ok(published(mode))
    }

    async fn set_mode(&self, _: &SyncPath, _: &Expected, mode: Mode) -> Result<Published> {
        Ok(published(Some(mode)))
    }

    async fn stranded(&self) -> Vec<StrandedVersion> {
        Vec::new()
    }

    async fn finish(&self) -> Result<Displaced> {
        Ok(Displaced::default())
    }
}
