//! Makes stores from the parameters of a manifest.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use wl_core::plugin::{BackendFactory, BackendPlugin, ConnectContext};
use wl_core::storage::{Capabilities, ErrorKind, Result, StorageBackend, StorageError};

use super::address::{Address, Params};
use super::store::SftpStore;
use crate::remote::{self, RemoteBackend};

const SCHEMA: &str = r#"{
  "type": "object",
  "required": ["url"],
  "additionalProperties": false,
  "properties": {
    "url": {"type": "string", "pattern": "^sftp://", "description": "sftp://user@host:port/path; `/~/x` is the folder x in the home folder; never with a password"},
    "identity_file": {"type": "string", "minLength": 1, "description": "private key to log in with; default: what ssh's configuration and agent offer"},
    "ssh_config": {"type": "string", "minLength": 1, "description": "configuration file for ssh; default: the user's own"}
  }
}"#;

struct Factory;

inventory::submit!(BackendPlugin(&Factory));

#[async_trait]
impl BackendFactory for Factory {
    fn type_name(&self) -> &'static str {
        "sftp"
    }

    fn summary(&self) -> &'static str {
        "A folder on an SSH server, through the `ssh` program of this machine"
    }

    fn schema(&self) -> &'static str {
        SCHEMA
    }

    fn at_best(&self) -> Capabilities {
        remote::at_best(&super::site::best())
    }

    async fn connect(
        &self,
        params: &Value,
        context: &ConnectContext,
    ) -> Result<Arc<dyn StorageBackend>> {
        let store = open(params).await?;
        let backend = RemoteBackend::connect("sftp", Arc::new(store), context).await?;
        Ok(Arc::new(backend))
    }
}

/// The store that these parameters describe.
pub(super) async fn open(params: &Value) -> Result<SftpStore> {
    let wrong = |reason: &str| StorageError::new(ErrorKind::Config, "connect", reason);
    let params = Params::deserialize(params).map_err(|_| {
        wrong("the parameters do not fit the schema of storage type `sftp`; give at least `url`")
    })?;
    let address = Address::parse(&params.url).map_err(wrong)?;
    let program = address.program(&params);
    SftpStore::open(Box::new(program), address.server(), &address.folder).await
}
