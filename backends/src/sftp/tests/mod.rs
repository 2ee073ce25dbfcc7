//! Against the real `sftp-server` of OpenSSH, spoken to directly.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::StreamExt;
use wl_core::model::{Kind, Mode, SyncPath, Timestamp};
use wl_core::storage::ErrorKind;

use super::dial::{Dial, Program};
use super::store::SftpStore;
use crate::remote::store::*;

mod breaks;
mod conformance;
mod links;
mod operations;
mod races;
mod silence;
mod ssh;

const SERVER: &str = "/usr/lib/openssh/sftp-server";

/// A store on a folder of its own.
struct Place {
    folder: tempfile::TempDir,
    store: SftpStore,
}

fn server() -> Program {
    Program {
        program: SERVER.into(),
        arguments: Vec::new(),
    }
}

async fn store_at(dial: Box<dyn Dial>, folder: &Path) -> SftpStore {
    let folder = folder.to_str().expect("UTF-8");
    let store = SftpStore::open(dial, "test".to_owned(), folder).await;
    store.expect("sftp-server (Debian: openssh-sftp-server)")
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = store_at(Box::new(server()), folder.path()).await;
        Self { folder, store }
    }

    fn on_disk(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    async fn put(&self, at: &str, content: &[u8], condition: Condition) -> Outcome<Found> {
        put(&self.store, at, content, &Attributes::default(), &condition).await
    }

    async fn rows(&self, folder: &str) -> Vec<Listed> {
        let folder = match folder {
            "" => SyncPath::root(),
            folder => path(folder),
        };
        let mut pages = self.store.list(List::Folder(&folder)).await.expect("list");
        let mut rows = Vec::new();
        while let Some(page) = pages.next().await.expect("a page") {
            rows.extend(page);
        }
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows
    }
}

fn path(text: &str) -> SyncPath {
    SyncPath::new(text).expect("a path")
}

fn scratch() -> SyncPath {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    path(&format!("{}/stage/{next}", wl_core::model::RESERVED))
}

async fn put(
    store: &SftpStore,
    at: &str,
    content: &[u8],
    attributes: &Attributes,
    condition: &Condition,
) -> Outcome<Found> {
    let put = Put {
        path: &path(at),
        content: Bytes::copy_from_slice(content),
        attributes,
        condition,
        seen: None,
        scratch: &scratch(),
    };
    store.put(put).await
}

async fn read(store: &SftpStore, at: &str, range: std::ops::Range<u64>) -> Outcome<Vec<u8>> {
    let mut pieces = store.read(&path(at), range, None).await?.pieces;
    let mut content = Vec::new();
    while let Some(piece) = pieces.next().await {
        content.extend_from_slice(&piece?);
    }
    Ok(content)
}

fn kind<T: std::fmt::Debug>(outcome: Outcome<T>) -> ErrorKind {
    outcome.expect_err("a fault").error.kind()
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    next.take(length).collect()
}
