//! WebDAV: Nextcloud, ownCloud, Apache, NAS boxes, `rclone serve webdav` and others.
//!
//! Servers check `If-Match` before they write, not while: two writers can both win. What holds are locks. So a change under a condition
//! locks the name, looks, writes, looks again and unlocks; without locks that hold conditions are not offered.
//!
//! Known limits: a lock keeps out other clients of the server, not somebody who writes to its disk; what such a one writes between our look and our
//! write is replaced, as it is without locks. Servers that write in place (`dav-server`; not Apache) show others a small file half written while it is replaced, with a tag of its
//! own; what they do under that tag is refused. Where `LOCK` makes an empty file (`lock`), others see it for a moment. A folder is only removed if it is empty, but `DELETE` takes what
//! is in it: without locks what appears between the look and the `DELETE` goes with it. Digest logins are not supported.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use wl_core::model::{Kind, Mode, SyncPath};
use wl_core::storage::{ErrorKind, StorageError};

use self::lock::{Locks, no_dav};
use self::write::{Source, to_the_end};
use crate::remote::store::{
    Condition, Conditions, Facts, Fault, Found, List, Outcome, Pages, Put, Reading, Store, Upload,
    UploadRequest,
};
use crate::remote::web::{Client, content};

mod factory;
mod folder;
mod listing;
mod lock;
#[cfg(test)]
mod tests;
mod upload;
mod write;
mod xml;

/// Content that is larger goes to a scratch name first and is then moved: what is broken off half way is not seen.
const DIRECT: usize = 1 << 20;

const FACTS: Facts = Facts {
    flat: false,
    start_after: false,
    conditions: Conditions {
        create: true,
        replace: true,
        remove: true,
    },
    probe: true,
    notes: false,
    mtime_resolution: None,
    // Dates in HTTP have whole seconds.
    clock: 1_000_000_000,
    modes: false,
    links: false,
    copies: true,
    renames: true,
    folds_case: false,
    writable: true,
    parallel: 8,
    range: 8 << 20,
};

/// A folder on a WebDAV server.
#[derive(Debug)]
pub(crate) struct WebDav {
    dav: Arc<Dav>,
    identity: Box<str>,
    server: Box<str>,
}

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Dav {
    client: Client,
    /// Known after the first lock.
    locks: OnceLock<Locks>,
    /// Folders for scratch files that are there.
    folders: Mutex<HashSet<SyncPath>>,
    /// The names of the locks that somebody here uses.
    live: Mutex<HashSet<String>>,
    nonce: u64,
    count: AtomicU64,
}

impl WebDav {
    /// The folder at the client's address.
    pub(crate) fn new(client: Client) -> Self {
        Self {
            identity: format!("webdav|{}", client.identity()).into(),
            // Behaviour differs from one share of a server to the next: the whole address counts.
            server: format!("webdav|{}", client.identity()).into(),
            dav: Arc::new(Dav {
                client,
                locks: OnceLock::new(),
                folders: Mutex::default(),
                live: Mutex::default(),
                nonce: RandomState::new().hash_one(std::process::id()),
                count: AtomicU64::new(0),
            }),
        }
    }
}

impl Dav {
    /// A name for a lock that no other has.
    fn nonce(&self) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        format!("wl-{:016x}-{count}", self.nonce)
    }

    /// Notes that a lock is used, or is no more.
    fn lives(&self, owner: &str, lives: bool) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        match lives {
            true => live.insert(owner.to_owned()),
            false => live.remove(owner),
        };
    }

    /// Whether a lock of this name is one of ours that nobody uses any more.
    fn is_left_over(&self, owner: &str) -> bool {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = owner.trim();
        owner.starts_with(&format!("wl-{:016x}-", self.nonce)) && !live.contains(owner)
    }

    fn knows_folder(&self, folder: &SyncPath) -> bool {
        let folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        folders.contains(folder)
    }

    fn know_folder(&self, folder: SyncPath) {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        // A run uses few; it must not grow without end all the same.
        if folders.len() >= 64 {
            folders.clear();
        }
        folders.insert(folder);
    }

    fn forget_folders(&self) {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        folders.clear();
    }
}

/// A listing of nothing.
#[derive(Debug)]
struct Nothing;

#[async_trait]
impl Pages for Nothing {
    async fn next(&mut self) -> Outcome<Option<Vec<crate::remote::store::Listed>>> {
        Ok(None)
    }
}

#[async_trait]
impl Store for WebDav {
    fn facts(&self) -> &Facts {
        &FACTS
    }

    fn location(&self) -> &str {
        self.dav.client.location()
    }

    fn ahead(&self) -> Option<i64> {
        self.dav.client.ahead()
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn server(&self) -> &str {
        &self.server
    }

    fn refuses(&self, _: &SyncPath) -> Option<String> {
        None
    }

    async fn list(&self, list: List<'_>) -> Outcome<Box<dyn Pages>> {
        let List::Folder(path) = list else {
            return Err(unsupported("list by keys"));
        };
        let reply = self
            .dav
            .client
            .send(self.dav.propfind(path, true, "1"))
            .await?;
        match reply.status().as_u16() {
            207 => {}
            // It is made by the first write.
            404 | 410 if path.is_root() => return Ok(Box::new(Nothing)),
            400 if self.stat(path).await?.is_some() => {
                return Err(
                    StorageError::new(ErrorKind::NotFound, "list", "it is no folder").into(),
                );
            }
            _ => return Err(no_dav(&reply)),
        }
        let base = self.dav.client.url(&SyncPath::root(), true);
        let parts = listing::folder_parts(base.path(), path);
        Ok(Box::new(listing::Folder::new(reply, parts)))
    }

    async fn stat(&self, path: &SyncPath) -> Outcome<Option<Found>> {
        self.dav.look(path, path.is_root()).await
    }

    async fn read(
        &self,
        path: &SyncPath,
        range: Range<u64>,
        tag: Option<&str>,
    ) -> Outcome<Reading> {
        let url = self.dav.client.url(path, false);
        let mut reading = content::read(&self.dav.client, url, range, tag).await?;
        // There are servers that tell a version in PROPFIND only.
        let untold = reading
            .found
            .as_ref()
            .is_none_or(|found| found.tag.is_none());
        if let Some(tag) = tag.filter(|_| untold) {
            let now = self.dav.look(path, false).await?;
            if now.as_ref().and_then(|now| now.tag.as_deref()) != Some(tag) {
                return Err(replaced("it was replaced before it was read"));
            }
            reading.found = now;
        }
        let tag = reading.found.as_ref().and_then(|found| found.tag.clone());
        if let Some(tag) = tag {
            let (dav, path) = (self.dav.clone(), path.clone());
            let look = async move { dav.look(&path, false).await };
            reading.pieces = content::unchanged(reading.pieces, tag, look);
        }
        Ok(reading)
    }

    async fn put(&self, put: Put<'_>) -> Outcome<Found> {
        let (path, condition) = (put.path.clone(), put.condition.clone());
        let (content, mtime) = (put.content, put.attributes.mtime);
        if content.len() <= DIRECT {
            let source = Source::Content(content, mtime);
            return self.dav.publish(path, source, condition).await;
        }
        let (dav, scratch, size) = (self.dav.clone(), put.scratch.clone(), content.len() as u64);
        to_the_end(async move {
            dav.stage(&scratch, content, mtime).await?;
            let source = Source::Scratch(scratch.clone(), size);
            let outcome = dav.publish(path, source, condition).await;
            if outcome.as_ref().is_err_and(|fault| !fault.unclear) {
                dav.discard(&scratch).await;
            }
            outcome
        })
        .await
    }

    async fn upload(&self, request: UploadRequest<'_>) -> Outcome<Box<dyn Upload>> {
        let paths = (request.path.clone(), request.scratch.clone());
        let (mtime, condition) = (request.attributes.mtime, request.condition.clone());
        let upload = self
            .dav
            .stream(paths, request.size, mtime, condition)
            .await?;
        Ok(Box::new(upload))
    }

    async fn put_link(&self, _: &SyncPath, _: &str) -> Outcome<Found> {
        Err(unsupported("symbolic links"))
    }

    async fn remove(&self, path: &SyncPath, condition: &Condition) -> Outcome<()> {
        let (dav, path, condition) = (self.dav.clone(), path.clone(), condition.clone());
        to_the_end(async move { dav.delete(&path, &condition).await }).await
    }

    async fn copy(
        &self,
        from: &SyncPath,
        tag: Option<&str>,
        to: &SyncPath,
        absent: bool,
    ) -> Outcome<Found> {
        let (dav, from, to) = (self.dav.clone(), from.clone(), to.clone());
        let tag = tag.map(Box::from);
        to_the_end(async move { dav.duplicate(&from, tag, &to, absent).await }).await
    }

    async fn rename(
        &self,
        from: &SyncPath,
        condition: &Condition,
        to: &SyncPath,
    ) -> Outcome<Found> {
        let (dav, from, to) = (self.dav.clone(), from.clone(), to.clone());
        let condition = condition.clone();
        to_the_end(async move { dav.relocate(&from, &condition, &to).await }).await
    }

    async fn make_root(&self) -> Outcome<()> {
        self.dav.make_root().await
    }

    async fn make_folder(&self, path: &SyncPath, _: Option<Mode>) -> Outcome<Found> {
        self.dav.make(path).await
    }

    async fn remove_folder(&self, path: &SyncPath) -> Outcome<()> {
        let (dav, path) = (self.dav.clone(), path.clone());
        to_the_end(async move { dav.remove_empty(&path).await }).await
    }

    async fn set_mode(&self, _: &SyncPath, _: Mode) -> Outcome<Found> {
        Err(unsupported("permission bits"))
    }
}

fn replaced(reason: &str) -> Fault {
    StorageError::new(ErrorKind::Busy, "read", reason).into()
}

fn unsupported(what: &str) -> Fault {
    StorageError::new(
        ErrorKind::Unsupported,
        "request",
        format!("WebDAV knows no {what}"),
    )
    .into()
}

/// Whether it is a folder.
fn is_folder(found: Option<&Found>) -> bool {
    found.is_some_and(|found| found.kind == Kind::Folder)
}
