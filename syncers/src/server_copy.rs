//! The syncer for storages that can copy by themselves: same server, same credentials. Where two are not such a pair after all, content goes
//! through this process as with the general one.

use async_trait::async_trait;
use wl_core::model::{Conflict, Problem, RunReport};
use wl_core::plugin::SyncerPlugin;
use wl_core::sync::{SyncError, SyncJob, Syncer, SyncerType};

use crate::passes::Passes;

/// Lets the storages copy from each other.
#[derive(Debug)]
pub struct ServerCopy(Passes);

inventory::submit!(SyncerPlugin::of::<ServerCopy>());

impl SyncerType for ServerCopy {
    const SYNCER_NAME: &'static str = "server-copy";
    const SOURCE_TYPES: &'static [&'static str] = &["s3"];
    const TARGET_TYPES: &'static [&'static str] = &["s3"];
    const CONTINUOUS: bool = true;
    const ONE_SHOT: bool = true;
    const UNIDIRECTIONAL: bool = true;
    const REQUIRES_MOUNT: bool = false;

    fn create(job: SyncJob) -> Self {
        let job = SyncJob {
            server_copy: true,
            ..job
        };
        Self(Passes::new(Self::SYNCER_NAME, job))
    }
}

#[async_trait]
impl Syncer for ServerCopy {
    async fn one_shot_sync(&self) -> Result<RunReport, SyncError> {
        self.0.once().await
    }

    async fn start_sync(&self) -> Result<(), SyncError> {
        self.0.start()
    }

    async fn stop_sync(&self) -> Result<(), SyncError> {
        self.0.stop().await
    }

    fn is_running(&self) -> bool {
        self.0.is_running()
    }

    fn iter_errors(&self) -> Box<dyn Iterator<Item = Problem> + Send> {
        Box::new(self.0.errors().into_iter())
    }

    fn iter_conflicts(&self) -> Box<dyn Iterator<Item = Conflict> + Send> {
        Box::new(self.0.conflicts().into_iter())
    }
}
