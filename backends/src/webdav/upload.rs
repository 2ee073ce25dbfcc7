//! Large files: streamed to a scratch name, checked, and moved into place under a lock.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use http::Method;
use http::header::CONTENT_LENGTH;
use reqwest::Body;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use wl_core::model::{Kind, SyncPath, Timestamp};
use wl_core::storage::{ErrorKind, StorageError};

use super::Dav;
use super::lock::{done, method};
use super::write::{Source, dated, unclear};
use crate::remote::store::{Again, Condition, Fault, Found, Outcome, Upload};
use crate::remote::web::Request;

/// Pieces are cut to this size, and so many wait.
const PIECE: usize = 256 << 10;
const WAITING: usize = 8;

/// A large file on its way.
#[derive(Debug)]
pub(super) struct Streamed {
    dav: Arc<Dav>,
    path: SyncPath,
    scratch: SyncPath,
    size: u64,
    sent: u64,
    condition: Condition,
    pieces: Option<mpsc::Sender<Bytes>>,
    /// The PUT.
    request: Option<Running>,
}

/// A task that ends with its owner.
#[derive(Debug)]
struct Running(JoinHandle<Outcome<()>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Dav {
    /// Begins to send to `scratch`.
    pub(super) async fn stream(
        self: &Arc<Self>,
        (path, scratch): (SyncPath, SyncPath),
        size: u64,
        mtime: Option<Timestamp>,
        condition: Condition,
    ) -> Outcome<Streamed> {
        self.folder_of(&scratch).await?;
        let (pieces, body) = mpsc::channel::<Bytes>(WAITING);
        let body = stream::unfold(body, |mut body| async move {
            let piece = body.recv().await?;
            Some((Ok::<_, std::io::Error>(piece), body))
        });
        let request = Request::new(Method::PUT, self.client.url(&scratch, false))
            .header(CONTENT_LENGTH, size.to_string())
            .body(Body::wrap_stream(body))
            .patient();
        let (dav, request) = (self.clone(), dated(request, mtime));
        let request = tokio::spawn(async move { done(dav.client.send(request).await?).await });
        Ok(Streamed {
            dav: self.clone(),
            path,
            scratch,
            size,
            sent: 0,
            condition,
            pieces: Some(pieces),
            request: Some(Running(request)),
        })
    }

    /// Sends a whole body to `scratch`.
    pub(super) async fn stage(
        &self,
        scratch: &SyncPath,
        content: Bytes,
        mtime: Option<Timestamp>,
    ) -> Outcome<()> {
        self.folder_of(scratch).await?;
        let size = content.len() as u64;
        let request = Request::new(Method::PUT, self.client.url(scratch, false)).body(content);
        let sent = self.client.send(dated(request, mtime).patient()).await;
        let sent = match sent {
            Ok(reply) => done(reply).await,
            Err(fault) => Err(fault),
        };
        self.staged(scratch, size, sent).await
    }

    async fn staged(&self, scratch: &SyncPath, size: u64, sent: Outcome<()>) -> Outcome<()> {
        if let Err(mut fault) = sent {
            // Only scratch was written to: at its path nothing happened.
            fault.unclear = false;
            self.forget_folders();
            if fault.error.kind() == ErrorKind::NoParent {
                fault.error = fault.error.with_kind(ErrorKind::Temporary);
                fault.again = Again::After(None);
            }
            return Err(fault);
        }
        match self.look(scratch, false).await? {
            Some(found) if found.kind == Kind::File && found.size == size => Ok(()),
            _ => Err(Fault {
                unclear: false,
                ..unclear("the server did not keep all that was sent; try again")
            }),
        }
    }

    /// Makes the folders above `scratch`, if they are not there.
    async fn folder_of(&self, scratch: &SyncPath) -> Outcome<()> {
        let Some(folder) = scratch.parent() else {
            return Ok(());
        };
        if self.knows_folder(&folder) {
            return Ok(());
        }
        if self.look(&folder, true).await?.is_none() {
            for folder in scratch.ancestors() {
                let request = Request::new(method("MKCOL"), self.client.url(&folder, true));
                let reply = self.client.send(request).await?;
                // Refused: somebody else made it, or the next look tells.
                drop(reply);
            }
            if self.look(&folder, true).await?.is_none() {
                let reason = format!(
                    "the folder `{folder}` cannot be made; check the account's rights on the server"
                );
                return Err(StorageError::new(ErrorKind::Denied, "upload", reason).into());
            }
        }
        self.know_folder(folder);
        Ok(())
    }
}

#[async_trait]
impl Upload for Streamed {
    async fn write(&mut self, mut piece: Bytes) -> Outcome<()> {
        self.sent += piece.len() as u64;
        if self.sent > self.size {
            let reason = "more content came than was said; it is being written to";
            return Err(StorageError::new(ErrorKind::Busy, "upload", reason).into());
        }
        while !piece.is_empty() {
            let part = piece.split_to(piece.len().min(PIECE));
            let open = match &self.pieces {
                Some(pieces) => pieces.send(part).await.is_ok(),
                None => false,
            };
            if !open {
                return self.ended().await;
            }
        }
        Ok(())
    }

    async fn finish(&mut self) -> Outcome<()> {
        self.pieces = None;
        let Some(mut request) = self.request.take() else {
            return Err(closed());
        };
        if self.sent < self.size {
            let reason = "less content came than was said; it is being written to";
            return Err(StorageError::new(ErrorKind::Busy, "upload", reason).into());
        }
        let sent = (&mut request.0).await.unwrap_or_else(|_| Err(closed()));
        self.dav.staged(&self.scratch, self.size, sent).await
    }

    async fn commit(&mut self) -> Outcome<Found> {
        let source = Source::Scratch(self.scratch.clone(), self.size);
        self.dav
            .publish(self.path.clone(), source, self.condition.clone())
            .await
    }

    async fn abort(&mut self) -> Outcome<()> {
        self.pieces = None;
        self.request = None;
        let request = Request::new(Method::DELETE, self.dav.client.url(&self.scratch, false));
        match done(self.dav.client.send(request).await?).await {
            Err(fault) if fault.error.kind() == ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }
}

impl Streamed {
    /// Why the server takes no more.
    async fn ended(&mut self) -> Outcome<()> {
        self.pieces = None;
        self.dav.forget_folders();
        let Some(mut request) = self.request.take() else {
            return Err(closed());
        };
        match (&mut request.0).await {
            Ok(Err(fault)) => Err(Fault {
                unclear: false,
                ..fault
            }),
            _ => Err(closed()),
        }
    }
}

fn closed() -> Fault {
    Fault {
        unclear: false,
        ..unclear("the server ended the upload before it was whole; try again")
    }
}
