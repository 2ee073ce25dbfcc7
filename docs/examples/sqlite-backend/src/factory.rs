//! How `wl` makes one from the parameters of a manifest.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use wl_core::plugin::{BackendFactory, BackendPlugin, ConnectContext};
use wl_core::storage::{Capabilities, ErrorKind, Result, StorageBackend, StorageError};

use crate::backend::CAPABILITIES;
use crate::{Draft, SqliteBackend};

struct Factory;

// A crate that is not linked registers nothing: a program says `use wl_example_sqlite as _;`.
inventory::submit!(BackendPlugin(&Factory));

#[async_trait]
impl BackendFactory for Factory {
    fn type_name(&self) -> &'static str {
        "sqlite"
    }

    fn summary(&self) -> &'static str {
        "A tree of files in one SQLite file"
    }

    fn schema(&self) -> &'static str {
        r#"{
  "type": "object",
  "required": ["path"],
  "additionalProperties": false,
  "properties": {
    "path": {"type": "string", "minLength": 1, "description": "the SQLite file; a target that is missing is made"}
  }
}"#
    }

    fn at_best(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn connect(
        &self,
        params: &Value,
        context: &ConnectContext,
    ) -> Result<Arc<dyn StorageBackend>> {
        let path = params["path"].as_str().ok_or_else(|| {
            let reason =
                "the parameters do not fit the schema of storage type `sqlite`; give `path`";
            StorageError::new(ErrorKind::Config, "connect", reason)
        })?;
        let backend = SqliteBackend::open(Path::new(path), context.makes_root, Draft::Mended)?;
        Ok(Arc::new(backend))
    }
}
