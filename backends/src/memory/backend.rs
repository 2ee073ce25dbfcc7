//! The contract, told to the store.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use wl_core::model::{Meta, SyncPath, Token};
use wl_core::storage::{
    Capabilities, ContentReader, CopySource, ErrorKind, Hashed, ListRequest, Listing,
    MachineFolder, ReadRequest, Result, RootMarker, SessionOptions, SmallRead, StorageBackend,
    StorageError, StorageWatcher, TrashId, TrashItem, WatchRequest, WriteSession,
};

use super::MemoryBackend;
use super::listing::{MemoryListing, check_cancel};
use super::reader::{MemoryReader, content, read_version};
use super::session::MemorySession;

/// All stores of a process can copy from each other.
const REALM: &str = "memory";

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StorageBackend for MemoryBackend {
    fn type_name(&self) -> &'static str {
        "memory"
    }

    fn location(&self) -> &str {
        &self.store.location
    }

    fn identity(&self) -> &str {
        &self.store.location
    }

    async fn root_marker(&self) -> Result<RootMarker> {
        self.store
            .with("look at the root", |state| Ok(state.marker.clone()))
    }

    async fn lies_in(&self) -> Result<Vec<MachineFolder>> {
        self.store
            .with("look at the root", |state| Ok(state.lies_in.clone()))
    }

    async fn exists(&self) -> Result<bool> {
        Ok(true)
    }

    fn capabilities(&self) -> &Capabilities {
        &self.store.capabilities
    }

    async fn list(&self, request: ListRequest) -> Result<Box<dyn Listing>> {
        Ok(Box::new(MemoryListing::start(&self.store, &request)?))
    }

    async fn stat(&self, path: &SyncPath) -> Result<Option<Meta>> {
        self.store.at("stat", path, |state| {
            Ok(state.find(path).map(|(_, node)| state.meta(node)))
        })
    }

    async fn file_token(&self, path: &SyncPath) -> Result<Option<Token>> {
        self.store.at("stat", path, |state| {
            Ok(state.find(path).map(|(_, node)| state.token(node)))
        })
    }

    async fn hash(&self, path: &SyncPath, cancel: &CancellationToken) -> Result<Hashed> {
        self.store.at("hash", path, |state| {
            check_cancel("hash", cancel)?;
            let (_, hash, _) = content(state, "hash", path)?;
            let node = state.find(path).map(|(_, node)| state.meta(node));
            node.map(|meta| Hashed { hash, meta })
                .ok_or_else(|| StorageError::new(ErrorKind::NotFound, "hash", "nothing is there"))
        })
    }

    async fn read(&self, request: ReadRequest) -> Result<Box<dyn ContentReader>> {
        let found = self
            .store
            .at("read", &request.path, |state| read_version(state, &request))?;
        Ok(Box::new(MemoryReader {
            store: Arc::clone(&self.store),
            request,
            rest: found.content,
            given: 0,
        }))
    }

    async fn read_small(&self, requests: Vec<ReadRequest>) -> Vec<Result<SmallRead>> {
        requests
            .iter()
            .map(|request| {
                self.store
                    .at("read", &request.path, |state| read_version(state, request))
            })
            .collect()
    }

    fn copy_source(&self) -> Option<CopySource> {
        Some(CopySource {
            realm: REALM.into(),
            address: self.store.location.as_str().into(),
            identity: self.identity().into(),
        })
    }

    fn copies_from(&self, source: &CopySource) -> bool {
        &*source.realm == REALM
    }

    // What is in memory no sync makes any safer.
    fn may_be_lost(&self, _meta: &Meta) -> bool {
        false
    }

    async fn make_durable(&self, _paths: Vec<SyncPath>) -> Result<()> {
        Ok(())
    }

    async fn begin(&self, options: SessionOptions) -> Result<Arc<dyn WriteSession>> {
        Ok(Arc::new(MemorySession::begin(&self.store, options)?))
    }

    async fn watcher(&self, _request: WatchRequest) -> Result<Option<Box<dyn StorageWatcher>>> {
        Ok(None)
    }

    async fn free_space(&self) -> Option<u64> {
        None
    }

    async fn trash_list(&self) -> Result<Vec<TrashItem>> {
        self.store
            .with("list the trash", |state| Ok(state.trash_items()))
    }

    async fn trash_claimed(&self) -> Result<Vec<TrashItem>> {
        let mut items = self.trash_list().await?;
        items.retain(|item| item.state.is_claimed());
        Ok(items)
    }

    async fn trash_restore(&self, id: &TrashId, to: &SyncPath) -> Result<()> {
        self.store
            .at("restore", to, |state| state.trash_restore(id, to))
    }

    async fn trash_empty(&self, options: SessionOptions) -> Result<()> {
        self.begin(options).await?.finish().await.map(drop)
    }
}
