//! What a job is asked to do.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{LastFilter, NewsSender, Patience, Progress};
use crate::filter::Exclusions;
use crate::model::{Direction, Sides, SyncPath};
use crate::storage::{CasGrade, Durability, Filter, NoFilter, StorageBackend, TrashKeep};

/// How often a continuous run looks at everything, unless it is told otherwise.
pub const RESCAN_INTERVAL: Duration = Duration::from_secs(3600);

/// How much content a run may make exist nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteBudget {
    /// At most this many distinct contents.
    Count(u64),
    /// At most this share of the losing side's files; looked at above 20 lost contents.
    Percent(u8),
}

impl Default for DeleteBudget {
    /// Half.
    fn default() -> Self {
        Self::Percent(50)
    }
}

impl FromStr for DeleteBudget {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is neither a count (100) nor a percentage (50%)");
        match text.strip_suffix('%') {
            Some(share) => match share.trim().parse() {
                Ok(share @ 0..=100) => Ok(Self::Percent(share)),
                _ => Err(wrong()),
            },
            None => text.parse().map(Self::Count).map_err(|_| wrong()),
        }
    }
}

impl fmt::Display for DeleteBudget {
    /// As it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(share) => write!(f, "{share}%"),
        }
    }
}

/// Which version of a conflict is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// The source's, whole.
    Source,
    /// The target's, whole.
    Target,
    /// Both: the source's at the path, the target's beside it under a name made from its hash.
    Both,
    /// The one that was changed last; an error where that cannot be told.
    Newer,
}

/// The options of a run.
#[derive(Clone, Debug)]
pub struct SyncOptions {
    /// Which way changes travel.
    pub direction: Direction,
    /// Only compute what would be done.
    pub dry_run: bool,
    /// How much is made durable.
    pub durability: Durability,
    /// How much content may be lost.
    pub max_delete: DeleteBudget,
    /// A root that was emptied is meant to be.
    pub allow_empty: bool,
    /// Another root than at the last run, or another file system under a folder, is meant to be there: what is missing in it was never
    /// removed, and is brought back from the other side.
    pub accept_new_filesystem: bool,
    /// The least compare-and-swap grade that both storages must have.
    pub require_cas: CasGrade,
    /// Hash every file, whatever the tokens say.
    pub checksum: bool,
    /// How long each side keeps replaced and removed versions.
    pub trash_keep: TrashKeep,
    /// What a person wants left out.
    pub exclude: Exclusions,
    /// What is left out besides.
    pub filter: Arc<dyn Filter>,
    /// A continuous run looks at everything at least this often, whatever its watchers say.
    pub rescan: Duration,
    /// Conflicts to end, and how. If not empty the run looks only at these paths.
    pub resolve: Vec<(SyncPath, Keep)>,
}

impl SyncOptions {
    /// The defaults, in this direction.
    pub fn new(direction: Direction) -> Self {
        Self {
            direction,
            dry_run: false,
            durability: Durability::Batch,
            max_delete: DeleteBudget::default(),
            allow_empty: false,
            accept_new_filesystem: false,
            require_cas: CasGrade::None,
            checksum: false,
            trash_keep: TrashKeep::default(),
            exclude: Exclusions::default(),
            filter: Arc::new(NoFilter),
            rescan: RESCAN_INTERVAL,
            resolve: Vec::new(),
        }
    }
}

/// A job: two storages and what is asked.
#[derive(Clone, Debug)]
pub struct SyncJob {
    /// The storages.
    pub storages: Sides<Arc<dyn StorageBackend>>,
    /// What is asked.
    pub options: SyncOptions,
    /// Storages that can copy from each other do so, and the content does not pass here.
    pub server_copy: bool,
    /// The folder of the pair databases, their locks and spill files.
    pub state_dir: PathBuf,
    /// Poll a side this often, whatever else its storage could do (`watcher-interval`). Looked at by continuous runs.
    pub poll: Sides<Option<Duration>>,
    /// What a continuous run remembers of files that could not be transferred; a run that somebody waits for tries everything.
    pub patience: Option<Arc<Patience>>,
    /// What the last run left out, so that the next one need not work it out again.
    pub last_filter: LastFilter,
    /// Where the run tells how far it is.
    pub progress: Arc<Progress>,
    /// Where a continuous run tells what happens; one-shot runs have a report instead.
    pub news: NewsSender,
    /// Stops the run.
    pub cancel: CancellationToken,
}

impl SyncJob {
    /// What a problem of both storages names.
    pub(in crate::sync) fn both(&self) -> String {
        let storages = &self.storages;
        format!(
            "{} and {}",
            storages.source.location(),
            storages.target.location()
        )
    }
}
