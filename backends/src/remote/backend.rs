//! The contract of `wl-core`.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use wl_core::model::SyncPath;
use wl_core::model::{Meta, Timestamp};
use wl_core::storage::*;

use super::{RemoteBackend, session, token, trash};

impl RemoteBackend {
    fn missing<T>(&self, operation: &'static str) -> Result<T> {
        let error = StorageError::new(ErrorKind::Unsupported, operation, "not built yet");
        Err(error.on(&self.0.location))
    }
}

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

    async fn root_marker(&self) -> Result<String> {
        Ok(String::new())
    }

    fn capabilities(&self) -> &Capabilities {
        &self.0.capabilities
    }

    async fn list(&self, _: ListRequest) -> Result<Box<dyn Listing>> {
        self.missing("list")
    }

    async fn stat(&self, path: &SyncPath) -> Result<Option<Meta>> {
        let found = self.0.wire.stat(path).await?;
        let now = Timestamp { secs: 0, nanos: 0 };
        Ok(found.map(|found| token::meta(&found, self.0.wire.facts(), now)))
    }

    async fn hash(&self, _: &SyncPath, _: &CancellationToken) -> Result<Hashed> {
        self.missing("hash")
    }

    async fn read(&self, _: ReadRequest) -> Result<Box<dyn ContentReader>> {
        self.missing("read")
    }

    async fn read_small(&self, requests: Vec<ReadRequest>) -> Vec<Result<SmallRead>> {
        requests.iter().map(|_| self.missing("read")).collect()
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
}
