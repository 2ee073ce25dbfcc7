//! Connects to WebDAV folders by the parameters of a manifest.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use wl_core::plugin::{BackendFactory, BackendPlugin, ConnectContext, KnownGrade};
use wl_core::storage::{Capabilities, ErrorKind, Result, StorageBackend, StorageError};

use super::WebDav;
use crate::remote::store::Store;
use crate::remote::web::{Client, login};
use crate::remote::{self, RemoteBackend};

struct Factory;

inventory::submit!(BackendPlugin(&Factory));

#[derive(Deserialize)]
struct Params {
    url: String,
    credentials: Option<Value>,
    credentials_file: Option<PathBuf>,
}

#[async_trait]
impl BackendFactory for Factory {
    fn type_name(&self) -> &'static str {
        "webdav"
    }

    fn summary(&self) -> &'static str {
        "A folder on a WebDAV server: Nextcloud, ownCloud, Apache, a NAS"
    }

    fn schema(&self) -> &'static str {
        include_str!("schema.json")
    }

    fn at_best(&self) -> Capabilities {
        remote::at_best(&super::FACTS)
    }

    fn known_grade(&self, params: &Value, state_dir: &Path) -> Option<KnownGrade> {
        let store = WebDav::new(client(params).ok()?);
        remote::known_grade(store.facts(), store.server(), state_dir)
    }

    async fn connect(
        &self,
        params: &Value,
        context: &ConnectContext,
    ) -> Result<Arc<dyn StorageBackend>> {
        let store = WebDav::new(client(params)?);
        let backend = RemoteBackend::connect("webdav", Arc::new(store), context).await?;
        Ok(Arc::new(backend))
    }
}

fn client(params: &Value) -> Result<Client> {
    let params = Params::deserialize(params).map_err(|_| {
        let reason =
            "the parameters do not fit the schema of storage type `webdav`; give at least `url`";
        StorageError::new(ErrorKind::Config, "connect", reason)
    })?;
    let login = login::header(
        params.credentials.as_ref(),
        params.credentials_file.as_deref(),
    )?;
    Client::new(&params.url, login)
}
