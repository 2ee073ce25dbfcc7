//! Large files: in parts that are put together at the end, or in one buffer where opendal takes no second piece.

use std::sync::Arc;

use ::opendal::options::{CopyOptions, WriteOptions};
use ::opendal::{Buffer, Error, Operator, Writer};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use wl_core::storage::ErrorKind;

use super::errors::{self, Doing};
#[cfg(feature = "s3")]
use super::s3;
use super::services::{Large, Service};
use super::store::OpendalStore;
use super::{found, names};
use crate::remote::retry::Patience;
use crate::remote::store::{
    Attributes, Condition, Fault, Found, Outcome, Put, Upload, UploadRequest,
};

/// The smallest part: what S3 takes. opendal holds back the part before the one that is being filled, so an upload has two in memory.
const PART_MIN: u64 = 5 * 1024 * 1024;
/// S3 takes 10,000 parts.
const PARTS: u64 = 9000;
/// Parts that are on their way beside those two, for all uploads of a store together: four at once stay near 48 MiB.
pub(super) const SPARE_PARTS: usize = 2;
/// The largest file that goes in one buffer.
pub(super) const BUFFER_MAX: u64 = 256 * 1024 * 1024;
/// Whoever counts on this machine's memory: one such file at a time.
pub(super) const BUFFERS: usize = 1;

/// What large files of one store share.
#[derive(Debug)]
pub(super) struct Budget {
    parts: Arc<Semaphore>,
    buffers: Arc<Semaphore>,
    /// For displaced versions on their way to the trash: the file that displaces one has a buffer and waits.
    kept: Arc<Semaphore>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            parts: Arc::new(Semaphore::new(SPARE_PARTS)),
            buffers: Arc::new(Semaphore::new(BUFFERS)),
            kept: Arc::new(Semaphore::new(BUFFERS)),
        }
    }
}

/// How many bytes each part of a file has.
fn part_size(size: u64) -> u64 {
    size.div_ceil(PARTS).max(PART_MIN)
}

/// Starts a large file.
async fn start(
    operator: &Operator,
    service: &'static Service,
    budget: &Budget,
    key: &str,
    request: &UploadRequest<'_>,
    mut options: WriteOptions,
) -> Outcome<Parts> {
    let (part, spare) = match service.large {
        Large::Parts | Large::Scratch => parts(budget, request.size),
        Large::Buffer => (request.size, Some(buffer(budget, request).await?)),
    };
    // One part at a time: with several on their way, a part that is sent again after a failure made files of other content.
    options.concurrent = 1;
    let writer = operator.writer_options(key, options).await;
    let writer = writer.map_err(|error| errors::fault(&error, Doing::Looking))?;
    Ok(Parts {
        service,
        writer,
        part,
        filled: Filled::default(),
        sent: 0,
        size: request.size,
        attributes: request.attributes.clone(),
        _spare: spare,
    })
}

fn parts(budget: &Budget, size: u64) -> (u64, Option<OwnedSemaphorePermit>) {
    let part = part_size(size);
    let all = u32::try_from(SPARE_PARTS).unwrap_or(1);
    // Parts that are larger than usual do not fit the reckoning.
    let spare = (part == PART_MIN)
        .then(|| Arc::clone(&budget.parts).try_acquire_many_owned(all).ok())
        .flatten();
    (part, spare)
}

async fn buffer(budget: &Budget, request: &UploadRequest<'_>) -> Outcome<OwnedSemaphorePermit> {
    if request.size > BUFFER_MAX {
        let mib = BUFFER_MAX / (1024 * 1024);
        let reason = format!(
            "this storage takes files of at most {mib} MiB through opendal; leave the file out, or use another storage type"
        );
        return Err(errors::refusal(ErrorKind::Unsupported, reason));
    }
    let buffers = match request.path.is_reserved() {
        true => &budget.kept,
        false => &budget.buffers,
    };
    let turn = Arc::clone(buffers).acquire_owned().await;
    turn.map_err(|_| errors::refusal(ErrorKind::Cancelled, "the storage was closed; run again"))
}

/// A part that is being filled; the pieces are not copied.
#[derive(Default)]
struct Filled {
    pieces: Vec<Bytes>,
    bytes: u64,
}

impl Filled {
    fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len() as u64;
        self.pieces.push(piece);
    }
}

impl OpendalStore {
    /// Starts a large file.
    pub(super) async fn begin(&self, request: &UploadRequest<'_>) -> Outcome<Box<dyn Upload>> {
        let key = names::key(request.path)?;
        #[cfg(feature = "s3")]
        if let Some(direct) = &self.direct {
            let notes = found::notes(self.service, request.attributes);
            match s3::wants(request.size) {
                true => return direct.upload(key, request, notes).await,
                false if request.attributes.verify => {
                    return Ok(direct.one_put(key, request, notes));
                }
                false => {}
            }
        }
        if self.service.large == Large::Scratch && *request.condition != Condition::None {
            return self.upload_aside(key, request).await;
        }
        Ok(Box::new(self.in_parts(key, request).await?))
    }

    /// Writes a small file in the way of large ones: in more than one part, where it may have small ones.
    pub(super) async fn put_in_parts(&self, put: Put<'_>) -> Outcome<Found> {
        let request = UploadRequest {
            path: put.path,
            size: put.content.len() as u64,
            attributes: put.attributes,
            condition: put.condition,
            scratch: put.scratch,
        };
        let mut upload = self.begin_in_parts(&request).await?;
        let written = async {
            upload.write(put.content).await?;
            upload.finish().await?;
            upload.commit().await
        };
        let written = written.await;
        if written.is_err() {
            // What stays is not seen by anybody.
            upload.abort().await.ok();
        }
        written
    }

    async fn begin_in_parts(&self, request: &UploadRequest<'_>) -> Outcome<Box<dyn Upload>> {
        let key = names::key(request.path)?;
        #[cfg(feature = "s3")]
        if let Some(direct) = &self.direct {
            let notes = found::notes(self.service, request.attributes);
            return direct.upload(key, request, notes).await;
        }
        if self.service.large == Large::Scratch {
            return self.upload_aside(key, request).await;
        }
        let parts = self.in_parts(key, request).await?;
        Ok(Box::new(Parts { part: 1, ..parts }))
    }

    async fn in_parts(&self, key: &str, request: &UploadRequest<'_>) -> Outcome<Parts> {
        let options = self.writing(request.attributes, request.condition);
        let (operator, service) = (&self.operator, self.service);
        start(operator, service, &self.budget, key, request, options).await
    }

    /// A large file to the scratch path, from where a copy under the condition takes it.
    async fn upload_aside(
        &self,
        key: &str,
        request: &UploadRequest<'_>,
    ) -> Outcome<Box<dyn Upload>> {
        let scratch = names::key(request.scratch)?;
        let options = self.writing(request.attributes, &Condition::None);
        let upload = start(
            &self.operator,
            self.service,
            &self.budget,
            scratch,
            request,
            options,
        );
        let mut copying = self.copying(*request.condition == Condition::Absent);
        if let Condition::Is(tag) = request.condition {
            copying.if_version_match = Some(tag.to_string());
        }
        Ok(Box::new(Aside {
            operator: self.operator.clone(),
            service: self.service,
            upload: Box::new(upload.await?),
            written: None,
            scratch: scratch.to_owned(),
            key: key.to_owned(),
            copying,
        }))
    }
}

/// A large file on its way through opendal's writer.
struct Parts {
    service: &'static Service,
    writer: Writer,
    part: u64,
    filled: Filled,
    /// Bytes that opendal has.
    sent: u64,
    size: u64,
    attributes: Attributes,
    _spare: Option<OwnedSemaphorePermit>,
}

impl Parts {
    /// How much the open part still takes. The last part takes with it what is too little for one of its own: opendal would hold that
    /// back until it closes the file, and forget it if a part before it fails at that moment.
    fn room(&self) -> u64 {
        let left = self.size.saturating_sub(self.sent);
        let whole = match left < 2 * self.part {
            true => left.max(self.part),
            false => self.part,
        };
        whole.saturating_sub(self.filled.bytes).max(1)
    }

    /// Hands the part that was filled to opendal, which sends the one before it. The engine knows nothing of parts, and a file of many
    /// should not fail for one: it is sent again.
    async fn send(&mut self) -> Outcome<()> {
        let filled = std::mem::take(&mut self.filled);
        self.sent += filled.bytes;
        let part = Buffer::from(filled.pieces);
        let mut patience = Patience::default();
        loop {
            match self.writer.write(part.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => again(&mut patience, &error).await?,
            }
        }
    }
}

/// Whether a service refused a part, and not the file.
fn of_part(error: &Error) -> bool {
    let text = error.to_string();
    let of = |operation: &str| text.contains(&format!("service_operation: {operation},"));
    of("UploadPart") || of("PutBlock")
}

async fn again(patience: &mut Patience, error: &Error) -> Outcome<()> {
    let fault = errors::fault(error, Doing::Looking);
    patience.wait(fault, &CancellationToken::new()).await
}

#[async_trait]
impl Upload for Parts {
    async fn write(&mut self, mut piece: Bytes) -> Outcome<()> {
        while !piece.is_empty() {
            let room = self.room();
            if (piece.len() as u64) < room {
                self.filled.push(piece);
                return Ok(());
            }
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            self.filled.push(piece.split_to(room.min(piece.len())));
            self.send().await?;
        }
        Ok(())
    }

    async fn finish(&mut self) -> Outcome<()> {
        if self.filled.bytes == 0 {
            return Ok(());
        }
        self.send().await
    }

    async fn commit(&mut self) -> Outcome<Found> {
        let mut patience = Patience::default();
        let metadata = loop {
            match self.writer.close().await {
                Ok(metadata) => break metadata,
                // Parts that were still on their way: nothing was put together yet.
                Err(error) if of_part(&error) => again(&mut patience, &error).await?,
                Err(error) => return Err(errors::fault(&error, Doing::Changing)),
            }
        };
        if metadata.content_length() != self.size {
            let reason = format!(
                "{} bytes were put together instead of {}; run again",
                metadata.content_length(),
                self.size
            );
            return Err(Fault {
                unclear: true,
                ..errors::refusal(ErrorKind::Other, reason)
            });
        }
        Ok(found::written(
            self.service,
            &metadata,
            self.size,
            &self.attributes,
        ))
    }

    async fn abort(&mut self) -> Outcome<()> {
        let aborted = self.writer.abort().await;
        aborted.map_err(|error| errors::fault(&error, Doing::Looking))
    }
}

/// A large file that goes to the scratch path first: putting parts together takes no condition there, a copy does.
pub(super) struct Aside {
    pub(super) operator: Operator,
    pub(super) service: &'static Service,
    pub(super) upload: Box<dyn Upload>,
    /// The file at the scratch path, when it is whole.
    pub(super) written: Option<Found>,
    pub(super) scratch: String,
    pub(super) key: String,
    pub(super) copying: CopyOptions,
}

#[async_trait]
impl Upload for Aside {
    async fn write(&mut self, piece: Bytes) -> Outcome<()> {
        self.upload.write(piece).await
    }

    async fn finish(&mut self) -> Outcome<()> {
        self.upload.finish().await
    }

    async fn commit(&mut self) -> Outcome<Found> {
        let changing = |error: Error| errors::fault(&error, Doing::Changing);
        let written = match &self.written {
            Some(written) => written.clone(),
            None => {
                let written = self.upload.commit().await?;
                self.written.insert(written).clone()
            }
        };
        let copy = self
            .operator
            .copy_options(&self.scratch, &self.key, self.copying.clone());
        let metadata = copy.await.map_err(changing)?;
        // It is published; what stays at the scratch path is swept up later.
        let _ = self.operator.delete(&self.scratch).await;
        let now = found::found(self.service, &metadata);
        Ok(Found {
            tag: now.tag,
            modified: now.modified,
            ..written
        })
    }

    async fn abort(&mut self) -> Outcome<()> {
        let looking = |error: Error| errors::fault(&error, Doing::Looking);
        if self.written.is_some() {
            return self.operator.delete(&self.scratch).await.map_err(looking);
        }
        self.upload.abort().await
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use wl_core::model::SyncPath;

    use super::*;

    /// The file that displaces a version holds its buffer until that version is kept.
    #[test]
    fn a_displaced_version_waits_for_no_buffer_of_what_displaces_it() {
        let budget = Budget::default();
        let (file, trash) = ["f", ".wl/trash/run/1"]
            .map(|at| SyncPath::new(at).unwrap())
            .into();
        let attributes = Attributes::default();
        let request = |path| UploadRequest {
            path,
            size: BUFFER_MAX,
            attributes: &attributes,
            condition: &Condition::None,
            scratch: path,
        };
        let turn = |path| buffer(&budget, &request(path)).now_or_never();
        let held = turn(&file);
        assert!(held.is_some() && turn(&file).is_none());
        let kept = turn(&trash);
        assert!(kept.is_some() && turn(&trash).is_none());
    }
}
