//! What the tests share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use wl_core::model::{ContentHash, Meta, Mode, SyncPath, Timestamp};
use wl_core::storage::{
    Durability, ErrorKind, Expect, Expected, ListRequest, Payload, Published, RemoveRequest,
    ReplaceRequest, Result, Row, SessionOptions, StageRequest, Staged, StorageBackend, TrashItem,
    TrashKeep, WriteSession,
};

use crate::local::LocalBackend;
use crate::local::sys::Renames;

/// A file system without an exchange; one that also cannot refuse to replace.
pub const WEAK: [Renames; 3] = [
    Renames::ALL,
    Renames {
        exchange: false,
        no_replace: true,
    },
    Renames {
        exchange: false,
        no_replace: false,
    },
];

/// A storage in a folder of its own, in memory where the machine has such a place.
pub struct Lab {
    pub dir: TempDir,
    pub backend: Arc<LocalBackend>,
    limit: Renames,
}

static RUN: AtomicU64 = AtomicU64::new(0);

pub fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        TempDir::with_prefix_in("wl-test-", memory).unwrap()
    } else {
        TempDir::with_prefix("wl-test-").unwrap()
    }
}

pub fn open(dir: &Path, limit: Renames) -> Arc<LocalBackend> {
    Arc::new(LocalBackend::limited(dir.to_str().unwrap(), limit).unwrap())
}

pub fn run_name() -> String {
    format!("run-{}", RUN.fetch_add(1, Ordering::Relaxed))
}

pub fn options(run: &str) -> SessionOptions {
    SessionOptions {
        run: run.to_owned(),
        durability: Durability::Batch,
        trash_keep: TrashKeep::default(),
        cancel: CancellationToken::new(),
    }
}

impl Lab {
    pub fn new() -> Self {
        Self::limited(Renames::ALL)
    }

    pub fn limited(limit: Renames) -> Self {
        let dir = folder();
        let backend = open(dir.path(), limit);
        Self {
            dir,
            backend,
            limit,
        }
    }

    /// Another handle, as another process has it.
    pub fn second(&self) -> Arc<LocalBackend> {
        open(self.dir.path(), self.limit)
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub fn write(&self, path: &str, content: &[u8]) {
        std::fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        std::fs::write(self.at(path), content).unwrap();
    }

    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        std::fs::read(self.at(path)).ok()
    }

    pub async fn begin(&self) -> Arc<dyn WriteSession> {
        self.backend.begin(options(&run_name())).await.unwrap()
    }

    pub async fn meta(&self, path: &str) -> Meta {
        self.backend.stat(&p(path)).await.unwrap().unwrap()
    }

    /// The version at a path as someone knows it who has read it.
    pub async fn expected(&self, path: &str) -> Expected {
        let hash = ContentHash::of(&self.read(path).unwrap());
        Expected::of(&self.meta(path).await, Some(hash))
    }

    pub async fn trash(&self) -> Vec<(TrashItem, Vec<u8>)> {
        let items = self.backend.trash_list().await.unwrap();
        items
            .into_iter()
            .map(|item| {
                let content = self.read(&format!(".wl/trash/{}", item.id)).unwrap();
                (item, content)
            })
            .collect()
    }

    /// Rows as texts.
    pub async fn list(&self, request: ListRequest) -> Vec<String> {
        let mut listing = self.backend.list(request).await.unwrap();
        let mut rows = Vec::new();
        while let Some(batch) = listing.next().await.unwrap() {
            rows.extend(batch);
        }
        rows.iter().map(row_text).collect()
    }

    pub async fn list_all(&self) -> Vec<String> {
        self.list(ListRequest::everything(self.dir.path())).await
    }
}

pub fn row_text(row: &Row) -> String {
    let key = row.key().to_text();
    match row {
        Row::Present(entry) => match &entry.meta.link {
            Some(link) => format!("{key} -> {link}"),
            None => key,
        },
        Row::Absent(_) => format!("absent {key}"),
        Row::Unknown { subtree, error, .. } => {
            format!("unknown {key} {subtree} {:?}", error.kind())
        }
        Row::Excluded(_) => format!("excluded {key}"),
        Row::Skipped(_) => format!("skipped {key}"),
        Row::Unrepresentable { name, .. } => format!("unrepresentable {key} {name}"),
    }
}

pub fn p(path: &str) -> SyncPath {
    SyncPath::new(path).unwrap()
}

pub fn content(path: &str, content: &[u8]) -> StageRequest {
    StageRequest {
        path: p(path),
        payload: Payload::Bytes(Bytes::copy_from_slice(content)),
        hash: ContentHash::of(content),
        mtime: Some(Timestamp {
            secs: 1_000_000_000,
            nanos: 7,
        }),
        mode: Some(Mode::new(0o640)),
    }
}

pub async fn stage(session: &dyn WriteSession, request: StageRequest) -> Result<Staged> {
    session.stage(vec![request]).await.pop().unwrap()
}

pub async fn put(
    session: &dyn WriteSession,
    path: &str,
    bytes: &[u8],
    expect: Expect,
) -> Result<Published> {
    let staged = stage(session, content(path, bytes)).await?;
    let request = ReplaceRequest {
        path: p(path),
        staged,
        expect,
        listed: false,
    };
    session.replace(vec![request]).await.pop().unwrap()
}

pub async fn take(session: &dyn WriteSession, path: &str, expected: Expected) -> Result<()> {
    let request = RemoveRequest {
        path: p(path),
        expected,
    };
    session.remove(vec![request]).await.pop().unwrap()
}

pub fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}
