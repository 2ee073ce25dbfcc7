//! Files on a web server, read only: folders are what its index pages link to.
//!
//! An index page tells names and nothing that can be relied on, so each file is asked for once more.

use std::ops::Range;

use async_trait::async_trait;
use futures::stream::{self, StreamExt};
use http::Method;
use http::header::CONTENT_TYPE;
use wl_core::model::{Kind, Mode, SyncPath};
use wl_core::storage::{ErrorKind, StorageError};

use self::page::Link;
use crate::remote::store::{
    Condition, Conditions, Facts, Fault, Found, List, Listed, Outcome, Pages, Put, Reading, Store,
    Upload, UploadRequest,
};
use crate::remote::web::{Client, Request, answer, content};

mod factory;
mod page;
#[cfg(test)]
mod tests;

/// Longer index pages are refused: about half a million files.
const LONGEST: usize = 64 << 20;
/// Files of a page, and how many of them are asked for at once.
const PAGE: usize = 200;
const AT_ONCE: usize = 8;

const FACTS: Facts = Facts {
    flat: false,
    start_after: false,
    conditions: Conditions {
        create: false,
        replace: false,
        remove: false,
    },
    probe: false,
    notes: false,
    mtime_resolution: None,
    clock: 1_000_000_000,
    modes: false,
    links: false,
    copies: false,
    renames: false,
    folds_case: false,
    writable: false,
    parallel: 8,
    range: 8 << 20,
};

/// A folder on a web server.
#[derive(Debug)]
pub(crate) struct Http {
    client: Client,
    identity: Box<str>,
}

impl Http {
    /// The folder at the client's address.
    pub(crate) fn new(client: Client) -> Self {
        Self {
            identity: format!("http|{}", client.identity()).into(),
            client,
        }
    }
}

/// A listing on its way.
#[derive(Debug)]
struct Index {
    client: Client,
    folder: SyncPath,
    links: std::vec::IntoIter<Link>,
}

#[async_trait]
impl Pages for Index {
    async fn next(&mut self) -> Outcome<Option<Vec<Listed>>> {
        let some: Vec<_> = self.links.by_ref().take(PAGE).collect();
        if some.is_empty() {
            return Ok(None);
        }
        let (client, folder) = (&self.client, &self.folder);
        let rows = stream::iter(some).map(|link| row(client, folder, link));
        let rows: Vec<_> = rows.buffer_unordered(AT_ONCE).collect().await;
        let rows: Outcome<Vec<_>> = rows.into_iter().collect();
        Ok(Some(rows?.into_iter().flatten().collect()))
    }
}

async fn row(client: &Client, folder: &SyncPath, link: Link) -> Outcome<Option<Listed>> {
    let Link {
        name,
        lossy,
        is_folder,
    } = link;
    let found = match folder.join(&name) {
        _ if is_folder => Some(answer::plain(Kind::Folder, 0)),
        Ok(path) if !lossy => head(client, &path).await?,
        // Such a name cannot be asked for again; it is only told.
        _ => Some(answer::plain(Kind::File, 0)),
    };
    Ok(found.map(|found| Listed {
        name,
        found,
        lossy,
        special: false,
    }))
}

/// What a web server tells of a path.
async fn head(client: &Client, path: &SyncPath) -> Outcome<Option<Found>> {
    let request = Request::new(Method::HEAD, client.url(path, path.is_root()));
    let reply = client.send(request).await?;
    let status = reply.status();
    if matches!(status.as_u16(), 404 | 410) {
        return Ok(None);
    }
    if !status.is_success() {
        return Err(answer::fault(status, reply.headers()));
    }
    // Web servers send whoever asks for a folder on to its name with a `/`.
    if reply.url().path().ends_with('/') {
        return Ok(Some(answer::plain(Kind::Folder, 0)));
    }
    match answer::found(status, reply.headers()) {
        Some(found) => Ok(Some(found)),
        None => {
            let reason = format!(
                "the server does not tell the size of `{path}`; it may be a page that is made when it is asked for: leave it out"
            );
            Err(StorageError::new(ErrorKind::Unrepresentable, "stat", reason).into())
        }
    }
}

fn read_only() -> Fault {
    let reason = "storage type `http` is read only; use `webdav` or another type to write";
    StorageError::new(ErrorKind::Unsupported, "write", reason).into()
}

#[async_trait]
impl Store for Http {
    fn facts(&self) -> &Facts {
        &FACTS
    }

    fn location(&self) -> &str {
        self.client.location()
    }

    fn ahead(&self) -> Option<i64> {
        self.client.ahead()
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn server(&self) -> &str {
        &self.identity
    }

    /// Whatever name a listing shows can be asked for.
    fn refuses(&self, _: &SyncPath) -> Option<String> {
        None
    }

    async fn list(&self, list: List<'_>) -> Outcome<Box<dyn Pages>> {
        let List::Folder(path) = list else {
            return Err(read_only());
        };
        let request = Request::new(Method::GET, self.client.url(path, true));
        let reply = self.client.send(request).await?;
        if !reply.status().is_success() {
            return Err(answer::fault(reply.status(), reply.headers()));
        }
        let html = answer::header(reply.headers(), &CONTENT_TYPE);
        if !html.is_some_and(|kind| kind.to_ascii_lowercase().contains("html")) {
            let reason =
                "the server shows no index of this folder; have its directory index switched on";
            return Err(StorageError::new(ErrorKind::Unsupported, "list", reason).into());
        }
        let base = reply.url().clone();
        let length = reply.content_length();
        let body = content::whole(reply, LONGEST).await?;
        if length.is_some_and(|length| length != body.len() as u64) {
            let reason = "the index page was cut short; try again";
            return Err(StorageError::new(ErrorKind::Temporary, "list", reason).into());
        }
        let links = page::links(&base, &String::from_utf8_lossy(&body));
        Ok(Box::new(Index {
            client: self.client.clone(),
            folder: path.clone(),
            links: links.into_iter(),
        }))
    }

    async fn stat(&self, path: &SyncPath) -> Outcome<Option<Found>> {
        head(&self.client, path).await
    }

    async fn read(
        &self,
        path: &SyncPath,
        range: Range<u64>,
        tag: Option<&str>,
    ) -> Outcome<Reading> {
        let url = self.client.url(path, false);
        let mut reading = content::read(&self.client, url, range, tag).await?;
        let now = reading.found.as_ref().and_then(|found| found.tag.clone());
        // Without a tag the engine looks again by itself.
        if let Some(now) = now {
            let (client, path) = (self.client.clone(), path.clone());
            let look = async move { head(&client, &path).await };
            reading.pieces = content::unchanged(reading.pieces, now, look);
        }
        Ok(reading)
    }

    async fn put(&self, _: Put<'_>) -> Outcome<Found> {
        Err(read_only())
    }

    async fn upload(&self, _: UploadRequest<'_>) -> Outcome<Box<dyn Upload>> {
        Err(read_only())
    }

    async fn put_link(&self, _: &SyncPath, _: &str) -> Outcome<Found> {
        Err(read_only())
    }

    async fn remove(&self, _: &SyncPath, _: &Condition) -> Outcome<()> {
        Err(read_only())
    }

    async fn copy(&self, _: &SyncPath, _: Option<&str>, _: &SyncPath, _: bool) -> Outcome<Found> {
        Err(read_only())
    }

    async fn rename(&self, _: &SyncPath, _: &Condition, _: &SyncPath) -> Outcome<Found> {
        Err(read_only())
    }

    async fn make_folder(&self, _: &SyncPath, _: Option<Mode>) -> Outcome<Found> {
        Err(read_only())
    }

    async fn remove_folder(&self, _: &SyncPath) -> Outcome<()> {
        Err(read_only())
    }

    async fn set_mode(&self, _: &SyncPath, _: Mode) -> Outcome<Found> {
        Err(read_only())
    }
}
