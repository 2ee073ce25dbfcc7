//! Storages that several jobs read: what is read for one of them serves the others that want it at about the same time.
//!
//! A slow reader never holds up a fast one: what it comes too late for, it reads for itself. What is kept to be shared is bounded.

mod large;
mod small;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use wl_core::model::{Meta, SyncPath, Token};
use wl_core::storage::{
    Capabilities, ContentReader, CopySource, Hashed, ListRequest, Listing, MachineFolder,
    ReadRequest, Result, RootMarker, SessionOptions, SmallRead, StorageBackend, StorageWatcher,
    TrashId, TrashItem, WatchRequest, WriteSession,
};

use large::Larges;
use small::Smalls;

/// The storages that jobs of this process read, by identity.
#[derive(Clone, Debug, Default)]
pub(crate) struct Library(Arc<Mutex<HashMap<Box<str>, Weak<Reads>>>>);

/// What is being read of a storage.
#[derive(Debug, Default)]
struct Reads {
    small: Smalls,
    large: Larges,
}

/// A version of a file: a settled token proves the content.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Version {
    path: SyncPath,
    token: Token,
    size: u64,
}

impl Version {
    /// The version that is meant; `None` if its token proves nothing yet.
    fn of(request: &ReadRequest) -> Option<Self> {
        request.meta.settled.then(|| Self {
            path: request.path.clone(),
            token: request.meta.token.clone(),
            size: request.meta.size,
        })
    }
}

impl Library {
    /// The storage, reading together with the others of the same identity.
    pub(crate) fn share(&self, inner: Arc<dyn StorageBackend>) -> Arc<dyn StorageBackend> {
        let mut all = lock(&self.0);
        all.retain(|_, reads| reads.strong_count() > 0);
        let known = all.get(inner.identity()).and_then(Weak::upgrade);
        let reads = known.unwrap_or_else(|| {
            let reads = Arc::<Reads>::default();
            all.insert(inner.identity().into(), Arc::downgrade(&reads));
            reads
        });
        Arc::new(Shared { inner, reads })
    }
}

/// A storage that reads together with others.
struct Shared {
    inner: Arc<dyn StorageBackend>,
    reads: Arc<Reads>,
}

impl Shared {
    /// Whether anybody else reads here.
    fn is_alone(&self) -> bool {
        Arc::strong_count(&self.reads) == 1
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl StorageBackend for Shared {
    async fn read(&self, request: ReadRequest) -> Result<Box<dyn ContentReader>> {
        match Version::of(&request) {
            Some(version) if !self.is_alone() => {
                self.reads.large.read(&self.inner, version, request).await
            }
            _ => self.inner.read(request).await,
        }
    }

    async fn read_small(&self, requests: Vec<ReadRequest>) -> Vec<Result<SmallRead>> {
        match self.is_alone() {
            true => self.inner.read_small(requests).await,
            false => self.reads.small.read(&*self.inner, requests).await,
        }
    }

    fn type_name(&self) -> &'static str {
        self.inner.type_name()
    }

    fn location(&self) -> &str {
        self.inner.location()
    }

    fn identity(&self) -> &str {
        self.inner.identity()
    }

    async fn root_marker(&self) -> Result<RootMarker> {
        self.inner.root_marker().await
    }

    async fn lies_in(&self) -> Result<Vec<MachineFolder>> {
        self.inner.lies_in().await
    }

    async fn exists(&self) -> Result<bool> {
        self.inner.exists().await
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn list(&self, request: ListRequest) -> Result<Box<dyn Listing>> {
        self.inner.list(request).await
    }

    async fn stat(&self, path: &SyncPath) -> Result<Option<Meta>> {
        self.inner.stat(path).await
    }

    async fn file_token(&self, path: &SyncPath) -> Result<Option<Token>> {
        self.inner.file_token(path).await
    }

    async fn hash(&self, path: &SyncPath, cancel: &CancellationToken) -> Result<Hashed> {
        self.inner.hash(path, cancel).await
    }

    fn may_be_lost(&self, meta: &Meta) -> bool {
        self.inner.may_be_lost(meta)
    }

    async fn make_durable(&self, paths: Vec<SyncPath>) -> Result<()> {
        self.inner.make_durable(paths).await
    }

    fn copy_source(&self) -> Option<CopySource> {
        self.inner.copy_source()
    }

    fn copies_from(&self, source: &CopySource) -> bool {
        self.inner.copies_from(source)
    }

    async fn begin(&self, options: SessionOptions) -> Result<Arc<dyn WriteSession>> {
        self.inner.begin(options).await
    }

    async fn watcher(&self, request: WatchRequest) -> Result<Option<Box<dyn StorageWatcher>>> {
        self.inner.watcher(request).await
    }

    async fn free_space(&self) -> Option<u64> {
        self.inner.free_space().await
    }

    async fn trash_list(&self) -> Result<Vec<TrashItem>> {
        self.inner.trash_list().await
    }

    async fn trash_claimed(&self) -> Result<Vec<TrashItem>> {
        self.inner.trash_claimed().await
    }

    async fn trash_restore(&self, id: &TrashId, to: &SyncPath) -> Result<()> {
        self.inner.trash_restore(id, to).await
    }

    async fn trash_empty(&self, options: SessionOptions) -> Result<()> {
        self.inner.trash_empty(options).await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
