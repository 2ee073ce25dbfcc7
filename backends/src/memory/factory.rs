//! Makes stores from the parameters of a manifest.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use wl_core::plugin::{BackendFactory, BackendPlugin, ConnectContext};
use wl_core::storage::{Capabilities, ErrorKind, Result, StorageBackend, StorageError};

use super::{MemoryBackend, MemorySettings};

const SCHEMA: &str = r#"{
  "type": "object",
  "required": ["name"],
  "additionalProperties": false,
  "properties": {
    "name": {"type": "string", "minLength": 1, "description": "storages of the same name in one process are the same store"},
    "folds_case": {"type": "boolean", "description": "`a` and `A` are the same name; default: false"},
    "empty_folders": {"type": "boolean", "description": "folders that hold nothing are kept; default: true"},
    "modes": {"type": "boolean", "description": "permission bits are kept; default: true"},
    "links": {"type": "boolean", "description": "symbolic links are kept; default: true"},
    "read_only": {"type": "boolean", "description": "nothing may be written; default: false"}
  }
}"#;

struct Factory;

inventory::submit!(BackendPlugin(&Factory));

#[derive(Deserialize)]
struct Params {
    name: String,
    #[serde(flatten)]
    settings: MemorySettings,
}

#[async_trait]
impl BackendFactory for Factory {
    fn type_name(&self) -> &'static str {
        "memory"
    }

    fn summary(&self) -> &'static str {
        "A tree in this process's memory, for tests; it is gone when the process ends"
    }

    fn schema(&self) -> &'static str {
        SCHEMA
    }

    fn at_best(&self) -> Capabilities {
        MemorySettings::default().capabilities()
    }

    async fn connect(&self, params: &Value, _: &ConnectContext) -> Result<Arc<dyn StorageBackend>> {
        let params = Params::deserialize(params).map_err(|_| {
            StorageError::new(
                ErrorKind::Config,
                "connect",
                "the parameters do not fit the schema of storage type `memory`; give at least `name`",
            )
        })?;
        Ok(Arc::new(MemoryBackend::open(
            &params.name,
            params.settings,
        )?))
    }
}
