//! Large content: sent where nobody sees it, under the condition that it will be published with.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Mutex as AsyncMutex;
use wl_core::model::{ContentHash, Kind};
use wl_core::storage::{
    ContentWriter, ErrorKind, Expect, Result, StageRequest, Staged, StorageError,
};

use super::judge::Look;
use super::stage::{Content, Waiting};
use super::{Shared, lock};
use crate::remote::store::{Attributes, Condition, Upload, UploadRequest};

const WHAT: &str = "stage";

struct Writer {
    session: Arc<Shared>,
    request: StageRequest,
    number: u64,
    attributes: Attributes,
    size: u64,
    written: u64,
    upload: Arc<AsyncMutex<Box<dyn Upload>>>,
}

/// Starts to stage a large file.
pub(super) async fn begin(
    session: &Arc<Shared>,
    request: StageRequest,
    size: u64,
    expect: &Expect,
) -> Result<Box<dyn ContentWriter>> {
    let path = &request.path;
    session.check(WHAT, path)?;
    session.open().await?;
    match expect {
        Expect::Absent => session.check_new(WHAT, path).await?,
        Expect::Is(_) => session.check_above(WHAT, path).await?,
    }
    let condition = session.upload_condition(&request, expect).await?;
    let number = session.number();
    let mut attributes = session.attributes(&request, number, None);
    let own_times = session.facts().mtime_resolution.is_some() && !session.remote.large.replace;
    if let (true, Expect::Is(_)) = (own_times, expect)
        && let Some(was) = session.remote.wire.stat(path).await?
    {
        attributes.mtime = session.own_time(attributes.mtime, size, &was);
    }
    let scratch = session.scratch()?;
    let start = || async {
        let upload = UploadRequest {
            path,
            size,
            attributes: &attributes,
            condition: &condition,
            scratch: &scratch,
        };
        session.store().upload(upload).await
    };
    let upload = session.repeat(WHAT, path, 0, start).await?;
    let upload = Arc::new(AsyncMutex::new(upload));
    // Known from here on, so that it is given up at the end if nobody publishes it.
    let waiting = Waiting {
        content: Content::Large(Arc::clone(&upload)),
        attributes: attributes.clone(),
        hash: ContentHash::from_bytes([0; 32]),
        size,
    };
    lock(&session.staged).insert(number, waiting);
    Ok(Box::new(Writer {
        session: Arc::clone(session),
        request,
        number,
        attributes,
        size,
        written: 0,
        upload,
    }))
}

impl Shared {
    async fn upload_condition(&self, request: &StageRequest, expect: &Expect) -> Result<Condition> {
        let (conditions, path) = (self.remote.large, &request.path);
        let expected = match expect {
            Expect::Absent if conditions.create => return Ok(Condition::Absent),
            Expect::Is(expected) if conditions.replace => expected,
            _ => return Ok(Condition::None),
        };
        if let Some(tag) = self.trusted(expected, true).and_then(|version| version.tag) {
            return Ok(Condition::Is(tag));
        }
        match self.look(path, expected).await? {
            Look::Same(found) => match found.tag {
                Some(tag) => Ok(Condition::Is(tag)),
                None => Err(self.changed(WHAT, path, "the version there has no tag yet")),
            },
            _ => Err(self.changed(WHAT, path, "another version is there")),
        }
    }
}

#[async_trait]
impl ContentWriter for Writer {
    async fn write(&mut self, piece: Bytes) -> Result<()> {
        let (session, path) = (&self.session, &self.request.path);
        session.check_live(WHAT, path)?;
        self.written += piece.len() as u64;
        let _turn = session.remote.wire.turn(piece.len() as u64).await;
        let written = self.upload.lock().await.write(piece).await;
        written.map_err(|fault| session.error(WHAT, path, fault))
    }

    async fn finish(self: Box<Self>, hash: ContentHash) -> Result<Staged> {
        let (session, path) = (&self.session, &self.request.path);
        session.check_live(WHAT, path)?;
        if self.written != self.size {
            let reason = format!(
                "{} bytes came instead of {}: the file changed while it was read; run again",
                self.written, self.size
            );
            return Err(session.named(StorageError::new(ErrorKind::Busy, WHAT, reason), path));
        }
        let turn = session.remote.wire.turn(0).await;
        let finished = self.upload.lock().await.finish().await;
        drop(turn);
        finished.map_err(|fault| session.error(WHAT, path, fault))?;
        let waiting = Waiting {
            content: Content::Large(Arc::clone(&self.upload)),
            attributes: self.attributes.clone(),
            hash,
            size: self.size,
        };
        Ok(session.keep_staged(self.number, Kind::File, waiting))
    }
}
