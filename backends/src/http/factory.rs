//! Connects to web servers by the parameters of a manifest.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use wl_core::plugin::{BackendFactory, BackendPlugin, ConnectContext};
use wl_core::storage::{Capabilities, ErrorKind, Result, StorageBackend, StorageError};

use super::Http;
use crate::remote::web::Client;
use crate::remote::{self, RemoteBackend};

const SCHEMA: &str = r#"{
  "type": "object",
  "required": ["url"],
  "additionalProperties": false,
  "properties": {
    "url": {"type": "string", "minLength": 8, "pattern": "^[hH][tT][tT][pP][sS]?://", "description": "address of a folder whose index the server shows, such as https://mirror.example/pub; without a login"}
  }
}"#;

struct Factory;

inventory::submit!(BackendPlugin(&Factory));

#[derive(Deserialize)]
struct Params {
    url: String,
}

#[async_trait]
impl BackendFactory for Factory {
    fn type_name(&self) -> &'static str {
        "http"
    }

    fn summary(&self) -> &'static str {
        "Files on a web server that shows indexes of its folders; read only"
    }

    fn schema(&self) -> &'static str {
        SCHEMA
    }

    fn at_best(&self) -> Capabilities {
        remote::at_best(&super::FACTS)
    }

    async fn connect(
        &self,
        params: &Value,
        context: &ConnectContext,
    ) -> Result<Arc<dyn StorageBackend>> {
        let params = Params::deserialize(params).map_err(|_| {
            let reason = "the parameters do not fit the schema of storage type `http`; give `url`";
            StorageError::new(ErrorKind::Config, "connect", reason)
        })?;
        let store = Http::new(Client::new(&params.url, None)?);
        let backend = RemoteBackend::connect("http", Arc::new(store), context).await?;
        Ok(Arc::new(backend))
    }
}
