//! Tests of the WebDAV store, against `dav-server` in this process, and against the server at `WL_TEST_WEBDAV` if that is given.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use wl_core::model::SyncPath;
use wl_core::storage::ErrorKind;

use self::server::{Locking, Server};
use super::WebDav;
use crate::remote::store::*;
use crate::remote::web::Client;

mod conformance;
mod faults;
mod live;
mod races;
mod server;

/// A store, and the server that it is on if that is ours.
struct Kit {
    store: Arc<WebDav>,
    server: Server,
}

impl Kit {
    async fn new() -> Self {
        Self::with(Locking::Real).await
    }

    async fn with(locking: Locking) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let server = Server::start(locking).await;
        // A real one, for tests that plan no faults.
        let url = match std::env::var("WL_TEST_WEBDAV") {
            Ok(url) if locking == Locking::Real => {
                format!(
                    "{url}/t{}-{}",
                    std::process::id(),
                    COUNT.fetch_add(1, Ordering::Relaxed)
                )
            }
            _ => format!("{}/ro%20ot", server.url),
        };
        let kit = Self {
            store: store(&url),
            server,
        };
        kit.store
            .make_folder(&SyncPath::root(), None)
            .await
            .unwrap();
        kit
    }

    /// A second client of the same folder.
    fn other(&self) -> Arc<WebDav> {
        store(self.store.location())
    }

    async fn put(&self, at: &str, content: &str, condition: Condition) -> Outcome<Found> {
        put(&self.store, at, Bytes::from(content.to_owned()), condition).await
    }

    async fn content(&self, at: &str) -> String {
        content(&self.store, at).await.unwrap()
    }

    /// Nobody holds a lock on this any more.
    async fn assert_unlocked(&self, at: &str) {
        let path = path(at);
        let absent = self.store.stat(&path).await.unwrap().is_none();
        let other = self.other();
        let held = other.dav.lock(&path, false, absent).await.unwrap();
        if held.made {
            other.dav.take_back(&path, &held, absent).await;
        }
        other.dav.release(&held).await;
    }
}

fn store(url: &str) -> Arc<WebDav> {
    Arc::new(WebDav::new(Client::new(url, None).unwrap()))
}

fn path(text: &str) -> SyncPath {
    SyncPath::new(text).unwrap()
}

async fn put(store: &WebDav, at: &str, content: Bytes, condition: Condition) -> Outcome<Found> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let scratch = format!(".wl/stage/t/{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let put = Put {
        path: &path(at),
        content,
        attributes: &Attributes::default(),
        condition: &condition,
        seen: None,
        scratch: &path(&scratch),
    };
    store.put(put).await
}

async fn content(store: &WebDav, at: &str) -> Outcome<String> {
    let size = store.stat(&path(at)).await?.map_or(0, |found| found.size);
    let reading = store.read(&path(at), 0..size, None).await?;
    let pieces: Vec<_> = reading.pieces.collect().await;
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&piece?);
    }
    Ok(String::from_utf8(out).unwrap())
}

async fn names(store: &WebDav, at: &str) -> Outcome<Vec<String>> {
    let mut pages = store.list(List::Folder(&path(at))).await?;
    let mut names = Vec::new();
    while let Some(page) = pages.next().await? {
        names.extend(page.into_iter().map(|row| row.name));
    }
    names.sort();
    Ok(names)
}

fn kind<T: std::fmt::Debug>(outcome: &Outcome<T>) -> Option<ErrorKind> {
    outcome.as_ref().err().map(|fault| fault.error.kind())
}

/// The tag of what is there; a server whose tags are weak for a moment is asked until they are strong.
async fn tag(store: &WebDav, at: &str) -> Box<str> {
    loop {
        if let Some(tag) = store.stat(&path(at)).await.unwrap().unwrap().tag {
            return tag;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
