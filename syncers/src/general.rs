//! The syncer for any two storages: content goes through this process.

use async_trait::async_trait;
use wl_core::model::{Conflict, Problem, RunReport};
use wl_core::plugin::SyncerPlugin;
use wl_core::sync::{SyncError, SyncJob, Syncer, SyncerType};

use crate::passes::Passes;

/// Reads from one storage and writes to the other, whatever they are.
#[derive(Debug)]
pub struct General(Passes);

inventory::submit!(SyncerPlugin::of::<General>());

impl SyncerType for General {
    const SYNCER_NAME: &'static str = "general";
    const SOURCE_TYPES: &'static [&'static str] = &["*"];
    const TARGET_TYPES: &'static [&'static str] = &["*"];
    const CONTINUOUS: bool = true;
    const ONE_SHOT: bool = true;
    const UNIDIRECTIONAL: bool = true;
    const REQUIRES_MOUNT: bool = false;

    fn create(job: SyncJob) -> Self {
        Self(Passes::new(Self::SYNCER_NAME, job))
    }
}

#[async_trait]
impl Syncer for General {
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
