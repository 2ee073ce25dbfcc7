//! What the promises are written with.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{Editor, Harness};
use crate::model::{ContentHash, Kind, Meta};
use crate::storage::*;
use crate::testing::{Node, Tree};

pub(super) use crate::testing::tree::path;

static RUN: AtomicU64 = AtomicU64::new(0);

/// A harness in use.
pub(super) struct Kit<'a> {
    pub harness: &'a dyn Harness,
    pub backend: Arc<dyn StorageBackend>,
    pub editor: Arc<dyn Editor>,
    pub caps: Capabilities,
}

pub(super) fn options() -> SessionOptions {
    SessionOptions {
        run: format!("test-{}-{}", std::process::id(), RUN.fetch_add(1, Relaxed)),
        durability: Durability::None,
        trash_keep: TrashKeep::default(),
        cancel: CancellationToken::new(),
    }
}

impl<'a> Kit<'a> {
    pub fn new(harness: &'a dyn Harness) -> Self {
        let backend = harness.backend();
        Self {
            caps: backend.capabilities().clone(),
            editor: harness.editor(),
            backend,
            harness,
        }
    }

    /// For promises about writing: `None` where nothing may be written.
    pub fn writing(harness: &'a dyn Harness) -> Option<Self> {
        Some(Self::new(harness)).filter(|kit| kit.caps.writable)
    }

    /// For promises about conditions: `None` where none is checked.
    pub fn checking(harness: &'a dyn Harness) -> Option<Self> {
        Self::writing(harness).filter(|kit| kit.caps.cas > CasGrade::None)
    }

    /// For races: `None` where a version may be lost in them.
    pub fn racing(harness: &'a dyn Harness) -> Option<Self> {
        Self::writing(harness).filter(|kit| kit.caps.cas >= CasGrade::Recoverable)
    }

    pub async fn pen(&self) -> Pen {
        Pen(self
            .backend
            .begin(options())
            .await
            .expect("a session begins"))
    }

    pub async fn second_pen(&self) -> Pen {
        let second = self.harness.second();
        Pen(second
            .begin(options())
            .await
            .expect("a second session begins"))
    }

    pub async fn stat(&self, at: &str) -> Option<Meta> {
        self.backend.stat(&path(at)).await.expect("stat")
    }

    pub async fn meta(&self, at: &str) -> Meta {
        let found = self.stat(at).await;
        found.unwrap_or_else(|| panic!("nothing is at {at:?}"))
    }

    /// The version at a path, with its hash for files.
    pub async fn known(&self, at: &str) -> Expected {
        let meta = self.meta(at).await;
        let hash = match meta.kind {
            Kind::File => Some(self.hash(at).await),
            _ => None,
        };
        Expected::of(&meta, hash)
    }

    pub async fn hash(&self, at: &str) -> ContentHash {
        let cancel = CancellationToken::new();
        let hashed = self.backend.hash(&path(at), &cancel).await;
        hashed.expect("hash").hash
    }

    /// What an editor sees at a path, as text.
    pub async fn text(&self, at: &str) -> Option<String> {
        let content = self.editor.read(at).await;
        content.map(|content| String::from_utf8_lossy(&content).into_owned())
    }

    pub async fn tree(&self) -> Tree {
        Tree::read(&self.backend).await
    }

    /// Panics if the storage does not hold exactly `before`.
    pub async fn assert_unchanged(&self, before: &Tree) {
        before.assert_is(&self.backend).await;
        for (key, node) in &before.0 {
            if let Node::File(content) = node {
                let seen = self.editor.read(key).await;
                assert_eq!(seen.as_ref(), Some(content), "{key:?} as an editor sees it");
            }
        }
    }

    pub async fn rows(&self, request: ListRequest) -> Result<Vec<Row>> {
        let mut listing = self.backend.list(request).await?;
        let mut rows = Vec::new();
        while let Some(batch) = listing.next().await? {
            assert!(
                batch.len() <= 2000,
                "a batch has about a thousand rows at most"
            );
            rows.extend(batch);
        }
        if self.caps.list_order == ListOrder::Key {
            let keys: Vec<_> = rows.iter().map(Row::key).collect();
            let unsorted = keys.windows(2).find(|pair| pair[0] >= pair[1]);
            assert!(unsorted.is_none(), "out of order or twice: {unsorted:?}");
        } else {
            rows.sort_by_key(Row::key);
        }
        Ok(rows)
    }

    /// The texts of a listing's keys; `?` before absent and `!` before excluded ones.
    pub async fn keys(&self, request: ListRequest) -> Vec<String> {
        let rows = self.rows(request).await.expect("the storage lists");
        rows.iter()
            .map(|row| match row {
                Row::Present(entry) => entry.key().to_text(),
                Row::Absent(path) => format!("?{}", path.as_str()),
                Row::Excluded(key) => format!("!{}", key.to_text()),
                other => panic!("not expected: {other:?}"),
            })
            .collect()
    }

    /// What is in the trash for a path, with its content (it is restored to be read).
    pub async fn trashed(&self, at: &str) -> Vec<(TrashItem, Vec<u8>)> {
        let items = self.backend.trash_list().await.expect("the trash lists");
        let mut found = Vec::new();
        let mine = |item: &TrashItem| item.path.as_ref().is_none_or(|p| p.as_str() == at);
        for item in items.into_iter().filter(mine) {
            let to = format!("restored-{}", RUN.fetch_add(1, Relaxed));
            let restored = self.backend.trash_restore(&item.id, &path(&to)).await;
            restored.expect("a version in the trash is restored");
            let content = self.editor.read(&to).await.unwrap_or_default();
            self.editor.remove(&to).await;
            found.push((item, content));
        }
        found
    }
}

pub(super) fn everything() -> ListRequest {
    ListRequest::everything(std::env::temp_dir())
}

pub(super) fn subtrees(paths: &[&str]) -> ListRequest {
    ListRequest {
        scope: Scope::Subtrees(paths.iter().map(|text| path(text)).collect()),
        ..everything()
    }
}

/// A session, one request at a time.
#[derive(Clone)]
pub(super) struct Pen(pub Arc<dyn WriteSession>);

pub(super) fn file(at: &str, content: &[u8]) -> StageRequest {
    StageRequest {
        path: path(at),
        payload: Payload::Bytes(Bytes::copy_from_slice(content)),
        hash: ContentHash::of(content),
        mtime: None,
        mode: None,
    }
}

pub(super) fn link(at: &str, target: &str) -> StageRequest {
    StageRequest {
        payload: Payload::Link(target.into()),
        hash: ContentHash::from_bytes([0; 32]),
        ..file(at, b"")
    }
}

fn only<T>(mut results: Vec<Result<T>>) -> Result<T> {
    assert_eq!(results.len(), 1, "one request, one result");
    results.remove(0)
}

impl Pen {
    pub async fn stage(&self, request: StageRequest) -> Result<Staged> {
        only(self.0.stage(vec![request]).await)
    }

    pub async fn publish(&self, at: &str, staged: Staged, expect: Expect) -> Result<Published> {
        let path = path(at);
        only(
            self.0
                .replace(vec![ReplaceRequest {
                    path,
                    staged,
                    expect,
                    listed: false,
                }])
                .await,
        )
    }

    /// Stages, flushes and publishes.
    pub async fn write(&self, request: StageRequest, expect: Expect) -> Result<Published> {
        let at = request.path.as_str().to_owned();
        let staged = self.stage(request).await?;
        self.0.flush().await?;
        self.publish(&at, staged, expect).await
    }

    pub async fn put(&self, at: &str, content: &str, expect: Expect) -> Result<Published> {
        self.write(file(at, content.as_bytes()), expect).await
    }

    pub async fn create(&self, at: &str, content: &str) -> Published {
        let made = self.put(at, content, Expect::Absent).await;
        made.unwrap_or_else(|error| panic!("{at:?} is created: {error:?}"))
    }

    pub async fn remove(&self, at: &str, expected: Expected) -> Result<()> {
        let path = path(at);
        only(self.0.remove(vec![RemoveRequest { path, expected }]).await)
    }

    pub async fn rename(&self, from: &str, expected: Expected, to: &str) -> Result<Published> {
        let (from, to) = (path(from), path(to));
        let request = RenameRequest { from, expected, to };
        only(self.0.rename(vec![request]).await)
    }

    pub async fn finish(&self) -> Displaced {
        self.0.finish().await.expect("the session finishes")
    }
}

/// Panics if `result` is not an error of one of `kinds`.
#[track_caller]
pub(super) fn refused<T>(result: Result<T>, kinds: &[ErrorKind]) {
    match result {
        Ok(_) => panic!("it was done; {kinds:?} is due"),
        Err(error) => assert!(kinds.contains(&error.kind()), "{kinds:?} is due: {error:?}"),
    }
}
