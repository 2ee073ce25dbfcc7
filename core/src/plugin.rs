//! The registry of plug-ins: what `inventory` collected, sorted by name, duplicates refused.
//!
//! A plug-in crate must be linked, or it registers nothing: one file, `daemon/src/plugins.rs`, names them all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::storage::{self, Capabilities, CasGrade, Limits, StorageBackend};
use crate::sync::{Needs, SyncJob, Syncer, SyncerFlags, SyncerType};

mod params;
mod registry;
mod select;
#[cfg(test)]
mod tests;

pub use params::{ParamsError, Schema, check_params};
pub use registry::{Registry, RegistryError};
pub use select::SelectError;

/// What a storage is connected for, and what it may lean on.
#[derive(Clone, Debug, Default)]
pub struct ConnectContext {
    /// Whether the run may write to the storage. Only then it is tried out what the server does with conditions.
    pub writes: bool,
    /// Whether a root that is missing is made at once, where nothing is lost by that: a target's is, a source's may be mistyped.
    pub makes_root: bool,
    /// The folder in which facts about servers are kept between runs; `None`: nothing is kept.
    pub state_dir: Option<PathBuf>,
    /// Limits that the user set.
    pub limits: Limits,
}

/// How well a storage keeps a version that somebody writes at the same time, as far as that is known without connecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownGrade {
    /// The grade.
    pub cas: CasGrade,
    /// When it was tried out, in seconds since 1970; `None`: it is nothing that has to be remembered.
    pub probed: Option<i64>,
}

/// Makes backends of one type.
#[async_trait]
pub trait BackendFactory: Send + Sync {
    /// The registered name of the type, as in manifests and on the command line.
    fn type_name(&self) -> &'static str;

    /// One line for people: what it is.
    fn summary(&self) -> &'static str;

    /// The JSON schema of the parameters (an object; `description` on every property becomes help text).
    fn schema(&self) -> &'static str;

    /// The most that a storage of this type can do. A connected one may do less: it says so itself.
    fn at_best(&self) -> Capabilities;

    /// The grade of the storage with these parameters, as far as it was found out before; `state_dir` as in [`ConnectContext`]. `None`: nobody
    /// has tried it out, or that was too long ago. The storage is not asked.
    fn known_grade(&self, _params: &Value, _state_dir: &Path) -> Option<KnownGrade> {
        // What cannot be better need not be tried out.
        let cas = self.at_best().cas;
        (cas <= CasGrade::Checked).then_some(KnownGrade { cas, probed: None })
    }

    /// Makes a backend. The parameters have been checked against the schema. Nothing is written, but for a missing
    /// root and scratch objects below the reserved name if [`ConnectContext::writes`].
    async fn connect(
        &self,
        params: &Value,
        context: &ConnectContext,
    ) -> storage::Result<Arc<dyn StorageBackend>>;
}

/// A backend type, submitted with [`inventory::submit!`].
#[derive(Clone, Copy)]
pub struct BackendPlugin(pub &'static dyn BackendFactory);

inventory::collect!(BackendPlugin);

/// A syncer, submitted with [`inventory::submit!`].
#[derive(Clone, Copy, Debug)]
pub struct SyncerPlugin {
    /// Its name.
    pub name: &'static str,
    /// Storage types it accepts as source; `["*"]`: all.
    pub source_types: &'static [&'static str],
    /// Storage types it accepts as target; `["*"]`: all.
    pub target_types: &'static [&'static str],
    /// What it can do and needs.
    pub flags: SyncerFlags,
    /// Makes one for a job.
    pub create: fn(SyncJob) -> Box<dyn Syncer>,
}

impl SyncerPlugin {
    /// The plug-in of syncer type `S`.
    pub const fn of<S: SyncerType>() -> Self {
        Self {
            name: S::SYNCER_NAME,
            source_types: S::SOURCE_TYPES,
            target_types: S::TARGET_TYPES,
            flags: SyncerFlags {
                continuous: S::CONTINUOUS,
                one_shot: S::ONE_SHOT,
                unidirectional: S::UNIDIRECTIONAL,
                requires_mount: S::REQUIRES_MOUNT,
            },
            create: |job| Box::new(S::create(job)),
        }
    }

    /// Whether it can do what a job needs, whatever the types.
    pub(crate) fn can(&self, needs: Needs) -> bool {
        (!needs.continuous || self.flags.continuous)
            && (!needs.one_shot || self.flags.one_shot)
            && (!needs.unidirectional || self.flags.unidirectional)
            && (!self.flags.requires_mount || needs.both_mounted)
    }
}

inventory::collect!(SyncerPlugin);
