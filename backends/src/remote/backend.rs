//! The contract of `wl-core`.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use wl_core::model::{Meta, SyncPath, Token};
use wl_core::storage::*;

use super::{RemoteBackend, listing, names, read, session, token, trash};

#[async_trait]
impl StorageBackend for RemoteBackend {
    fn type_name(&self) -> &'static str {
        self.0.type_name
    }

    fn location(&self) -> &str {
        &self.0.location
    }

    fn identity(&self) -> &str {
        &self.0.identity
    }

    async fn root_marker(&self) -> Result<RootMarker> {
        Ok(RootMarker::default())
    }

    async fn exists(&self) -> Result<bool> {
        let (wire, root) = (&self.0.wire, SyncPath::root());
        wire.again("stat", &root, || wire.store().exists()).await
    }

    fn capabilities(&self) -> &Capabilities {
        &self.0.capabilities
    }

    async fn list(&self, request: ListRequest) -> Result<Box<dyn Listing>> {
        listing::list(&self.0, request)
    }

    async fn stat(&self, path: &SyncPath) -> Result<Option<Meta>> {
        names::usable(&self.0, "stat", path)?;
        let now = token::now();
        let found = read::look(&self.0, path).await?;
        Ok(found.map(|found| self.0.wire.meta(&found, now)))
    }

    async fn file_token(&self, path: &SyncPath) -> Result<Option<Token>> {
        names::usable(&self.0, "stat", path)?;
        if self.0.wire.facts().links {
            return Ok(self.stat(path).await?.map(|meta| meta.token));
        }
        let now = token::now();
        let found = self.0.wire.file(path).await?;
        Ok(found.map(|found| self.0.wire.meta(&found, now).token))
    }

    async fn hash(&self, path: &SyncPath, cancel: &CancellationToken) -> Result<Hashed> {
        read::hash(&self.0, path, cancel).await
    }

    async fn read(&self, request: ReadRequest) -> Result<Box<dyn ContentReader>> {
        Ok(Box::new(read::open(&self.0, request).await?))
    }

    async fn read_small(&self, requests: Vec<ReadRequest>) -> Vec<Result<SmallRead>> {
        read::read_small(&self.0, requests).await
    }

    fn copy_source(&self) -> Option<CopySource> {
        self.0.wire.store().copy_source()
    }

    fn copies_from(&self, source: &CopySource) -> bool {
        // A copy whose condition is ignored could take somebody's place.
        self.0.copies_in && self.0.wire.store().copies_from(source)
    }

    async fn begin(&self, options: SessionOptions) -> Result<Arc<dyn WriteSession>> {
        session::begin(&self.0, options).await
    }

    async fn trash_list(&self) -> Result<Vec<TrashItem>> {
        trash::list(&self.0).await
    }

    async fn trash_claimed(&self) -> Result<Vec<TrashItem>> {
        trash::claimed(&self.0).await
    }

    async fn trash_restore(&self, id: &TrashId, to: &SyncPath) -> Result<()> {
        trash::restore(&self.0, id, to).await
    }

    async fn trash_empty(&self, options: SessionOptions) -> Result<()> {
        // A session that wrote nothing would spare itself to look.
        session::tidy(&self.0, options).await
    }
}
