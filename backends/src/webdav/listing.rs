//! A folder's entries, page by page.

use std::io::{self, BufReader, Read};

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use futures::StreamExt;
use reqwest::Response;
use tokio::sync::mpsc;
use wl_core::model::{Kind, SyncPath, Timestamp};
use wl_core::storage::{ErrorKind, StorageError};

use super::xml::{self, Answer, Resource};
use crate::remote::store::{Again, Fault, Found, Listed, Outcome, Pages};
use crate::remote::web::{answer, content};

/// Entries of a page.
const PAGE: usize = 500;

/// A listing on its way: one task brings the answer's pieces, a thread takes them apart, and both wait if nobody asks.
#[derive(Debug)]
pub(super) struct Folder(mpsc::Receiver<Outcome<Vec<Listed>>>);

impl Folder {
    /// The entries that `reply` tells of.
    pub(super) fn new(reply: Response, base: Vec<String>) -> Self {
        let date = answer::date(reply.headers());
        let (body, pieces) = mpsc::channel(4);
        let (pages, out) = mpsc::channel(2);
        tokio::spawn(async move {
            let mut reply = content::pieces(reply);
            while let Some(piece) = reply.next().await {
                if body.send(piece).await.is_err() {
                    break;
                }
            }
        });
        tokio::task::spawn_blocking(move || {
            if let Err(fault) = take_apart(Pieces::new(pieces), Base::new(base, date), &pages) {
                let _ = pages.blocking_send(Err(fault));
            }
        });
        Self(out)
    }
}

#[async_trait]
impl Pages for Folder {
    async fn next(&mut self) -> Outcome<Option<Vec<Listed>>> {
        self.0.recv().await.transpose()
    }
}

/// The pieces of a body, as something that can be read from a thread.
#[derive(Debug)]
struct Pieces {
    pieces: mpsc::Receiver<Outcome<Bytes>>,
    now: Bytes,
    fault: Option<Fault>,
}

impl Pieces {
    fn new(pieces: mpsc::Receiver<Outcome<Bytes>>) -> Self {
        Self {
            pieces,
            now: Bytes::new(),
            fault: None,
        }
    }
}

impl Read for &mut Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.now.is_empty() {
            match self.pieces.blocking_recv() {
                Some(Ok(piece)) => self.now = piece,
                Some(Err(fault)) => {
                    self.fault = Some(fault);
                    return Err(io::Error::other("the connection broke"));
                }
                None => return Ok(0),
            }
        }
        let size = into.len().min(self.now.len());
        self.now.copy_to_slice(&mut into[..size]);
        Ok(size)
    }
}

fn take_apart(
    mut body: Pieces,
    base: Base,
    pages: &mpsc::Sender<Outcome<Vec<Listed>>>,
) -> Outcome<()> {
    let outcome = rows(&mut body, base, pages);
    // A broken connection says more than the XML that ends in the middle because of it.
    match body.fault.take() {
        Some(fault) if outcome.is_err() => Err(fault),
        _ => outcome,
    }
}

fn rows(
    body: &mut Pieces,
    mut base: Base,
    pages: &mpsc::Sender<Outcome<Vec<Listed>>>,
) -> Outcome<()> {
    let mut answer = Answer::new(BufReader::with_capacity(1 << 16, body));
    let mut page = Vec::new();
    while let Some(resource) = answer.next().map_err(odd)? {
        page.extend(base.row(resource)?);
        if page.len() >= PAGE && pages.blocking_send(Ok(std::mem::take(&mut page))).is_err() {
            return Ok(());
        }
    }
    if !page.is_empty() {
        let _ = pages.blocking_send(Ok(page));
    }
    Ok(())
}

/// An answer that cannot be understood. Another may be better: proxies put pages of their own in the place of answers.
pub(super) fn odd(reason: String) -> Fault {
    Fault {
        error: StorageError::new(ErrorKind::Temporary, "list", reason)
            .with_advice("check that `url` is a WebDAV folder"),
        again: Again::After(None),
        unclear: false,
    }
}

/// Whose entries are told.
#[derive(Debug)]
struct Base {
    parts: Vec<String>,
    first: bool,
    /// When the server answered.
    date: Option<Timestamp>,
}

impl Base {
    fn new(parts: Vec<String>, date: Option<Timestamp>) -> Self {
        Self {
            parts,
            first: true,
            date,
        }
    }

    /// The row of a resource; `None` for the folder itself, and for what is not there.
    fn row(&mut self, resource: Resource) -> Outcome<Option<Listed>> {
        let (mut parts, lossy) = xml::parts(&resource.href);
        let first = std::mem::take(&mut self.first);
        if first && parts != self.parts && !below(&parts, &self.parts) && resource.folder {
            // Behind a proxy the server's own paths can differ from ours; a folder comes first in its own listing.
            self.parts.clone_from(&parts);
        }
        if parts == self.parts {
            check(&resource)?;
            return match resource.folder || !resource.told {
                true => Ok(None),
                false => {
                    Err(StorageError::new(ErrorKind::NotFound, "list", "it is no folder").into())
                }
            };
        }
        if !below(&parts, &self.parts) {
            return Err(odd(format!(
                "the server tells of `{}`, which is not in the folder that was asked for",
                resource.href.escape_debug()
            )));
        }
        let Some(found) = found(&resource, self.date)? else {
            return Ok(None);
        };
        let name = parts.pop().unwrap_or_default();
        Ok(Some(Listed {
            name,
            found,
            lossy,
            special: false,
        }))
    }
}

/// Whether `parts` is directly in `base`.
fn below(parts: &[String], base: &[String]) -> bool {
    parts.len() == base.len() + 1 && parts.starts_with(base)
}

fn check(resource: &Resource) -> Outcome<()> {
    let status = resource
        .status
        .and_then(|code| http::StatusCode::from_u16(code).ok());
    match status {
        Some(status) if !status.is_success() => Err(answer::fault(status, &http::HeaderMap::new())),
        _ => Ok(()),
    }
}

/// What a resource is; `None` if it is not there: gone, or a name that somebody locked and where nothing is yet.
/// What an answer of the server's `date` tells.
pub(super) fn found(resource: &Resource, date: Option<Timestamp>) -> Outcome<Option<Found>> {
    if matches!(resource.status, Some(404 | 410)) {
        return Ok(None);
    }
    // An entry that the server cannot tell about must not look like one that is gone.
    check(resource)?;
    if resource.folder {
        let mut found = answer::plain(Kind::Folder, 0);
        found.modified = resource.modified;
        return Ok(Some(found));
    }
    match resource.size {
        Some(size) => Ok(Some(Found {
            tag: answer::tag(resource.etag.as_deref(), resource.modified, date),
            modified: resource.modified,
            ..answer::plain(Kind::File, size)
        })),
        None if resource.etag.is_none() && resource.modified.is_none() => Ok(None),
        None => {
            let reason = format!(
                "the server does not tell the size of `{}`; it may be no real file: remove it, or leave its folder out",
                resource.href.escape_debug()
            );
            Err(StorageError::new(ErrorKind::Unrepresentable, "list", reason).into())
        }
    }
}

/// The parts of the path of the folder at `path` below `base`.
pub(super) fn folder_parts(base: &str, path: &SyncPath) -> Vec<String> {
    let (mut parts, _) = xml::parts(base);
    if !path.is_root() {
        parts.extend(path.as_str().split('/').map(str::to_owned));
    }
    parts
}
