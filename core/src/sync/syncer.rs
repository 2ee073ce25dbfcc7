//! The contract with syncers.

use std::fmt;

use async_trait::async_trait;

use super::{SyncError, SyncJob};
use crate::model::{Conflict, Problem, RunReport};

/// What a syncer can do and needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SyncerFlags {
    /// It can run until it is stopped.
    pub continuous: bool,
    /// It can run once.
    pub one_shot: bool,
    /// It can also go one way only.
    pub unidirectional: bool,
    /// Both storages must be reachable as local paths.
    pub requires_mount: bool,
}

/// What a job needs of its syncer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Needs {
    /// Run until stopped.
    pub continuous: bool,
    /// Run once.
    pub one_shot: bool,
    /// Go one way only.
    pub unidirectional: bool,
    /// Whether both storages are reachable as local paths.
    pub both_mounted: bool,
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.continuous {
            "continuously"
        } else {
            "once"
        })?;
        f.write_str(if self.unidirectional {
            ", one way"
        } else {
            ", both ways"
        })
    }
}

/// The declarations of a syncer type; register it with `inventory::submit!(SyncerPlugin::of::<T>())`.
pub trait SyncerType: Syncer + 'static {
    /// Its name.
    const SYNCER_NAME: &'static str;
    /// Storage types it accepts as source; `["*"]`: all.
    const SOURCE_TYPES: &'static [&'static str];
    /// Storage types it accepts as target; `["*"]`: all.
    const TARGET_TYPES: &'static [&'static str];
    /// It can run until it is stopped.
    const CONTINUOUS: bool;
    /// It can run once.
    const ONE_SHOT: bool;
    /// It can also go one way only.
    const UNIDIRECTIONAL: bool;
    /// Both storages must be reachable as local paths.
    const REQUIRES_MOUNT: bool;

    /// A syncer for a job. Nothing is touched yet.
    fn create(job: SyncJob) -> Self;
}

/// Keeps the two storages of one job equal.
#[async_trait]
pub trait Syncer: Send + Sync {
    /// Runs once and reports. `Err` if the run was refused or stopped as a whole; trouble of single paths is in the report.
    async fn one_shot_sync(&self) -> Result<RunReport, SyncError>;

    /// Starts to run until [`stop_sync`](Self::stop_sync). An error if it runs already.
    async fn start_sync(&self) -> Result<(), SyncError>;

    /// Stops; returns when nothing is being done any more. Nothing happens if it does not run.
    async fn stop_sync(&self) -> Result<(), SyncError>;

    /// Whether it runs.
    fn is_running(&self) -> bool;

    /// The problems of the last pass.
    fn iter_errors(&self) -> Box<dyn Iterator<Item = Problem> + Send>;

    /// The open conflicts, as of the last pass.
    fn iter_conflicts(&self) -> Box<dyn Iterator<Item = Conflict> + Send>;
}
