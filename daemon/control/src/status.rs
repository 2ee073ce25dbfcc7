//! What `status` answers: one of these for each job.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::State;

/// The most conflicts and problems that `status` lists; the counts tell of all.
pub const MOST_LISTED: usize = 20;

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct JobStatus {
    /// Its name.
    pub job_id: String,
    /// The container it belongs to.
    pub container_name: String,
    /// Its state: number and text.
    pub state: (State, String),
    /// Whether it goes on until it is stopped.
    pub continuous: bool,
    /// `two-way`, `one-way` or `mirror`.
    pub direction: String,
    /// What it leaves out, beside what the `.wlignore` of its storages says; missing if nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<FilterStatus>,
    /// The source.
    pub source: StorageStatus,
    /// The target.
    pub target: StorageStatus,
    /// How far the look that goes on is; `null` if none does.
    pub progress: Option<ProgressStatus>,
    /// What changed, or may have, and waits for its time; missing if nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingStatus>,
    /// What was done since the daemon knows the job.
    pub done: Totals,
    /// When both sides were last found equal, without conflict, problem or change left: seconds since 1970.
    pub last_agreement: Option<f64>,
    /// When the last look ended: seconds since 1970.
    pub last_look: Option<f64>,
    /// When it is tried again: seconds since 1970.
    pub next_try: Option<f64>,
    /// How many conflicts are open.
    pub conflict_count: u64,
    /// The first of them, as in reports.
    pub conflicts: Vec<Value>,
    /// How many paths failed.
    pub error_count: u64,
    /// The first of them, as in reports.
    pub errors: Vec<Value>,
    /// How often the job failed in a row.
    pub failures: u32,
    /// How often it panicked.
    pub panics: u32,
}

/// A storage of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StorageStatus {
    /// The type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Its name within the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_id: Option<String>,
    /// Where it is, once it was reached; holds no secret.
    pub location: Option<String>,
    /// How it is watched, for people; `null` if it is not.
    pub watched: Option<String>,
    /// A change is seen after this many seconds at the worst.
    pub worst_delay: Option<f64>,
}

/// What changed, or may have, and waits for its time: paths that change all the time, groups that are not at rest, removals that more may
/// follow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PendingStatus {
    /// How many paths.
    pub count: u64,
    /// The first of them; removals are not among them.
    pub paths: Vec<String>,
    /// Something may have changed anywhere beside them: events were dropped, or what is left out is another.
    #[serde(default)]
    pub anywhere: bool,
    /// When the last of it has its turn, seconds since 1970; later, if it goes on changing.
    pub until: f64,
}

/// What a job leaves out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct FilterStatus {
    /// Ready-made lists.
    pub exclude_preset: Vec<String>,
    /// Lines as in a `.gitignore`, the last of which wins.
    pub exclude: Vec<String>,
    /// Files of more bytes are left out.
    pub max_size: Option<u64>,
}

/// How far a look is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProgressStatus {
    /// `comparing` or `finishing`.
    pub phase: String,
    /// Paths compared.
    pub seen: u64,
    /// Changes found.
    pub files_found: u64,
    /// Changes carried out.
    pub files_done: u64,
    /// Bytes of content to be moved, as far as known.
    pub bytes_found: u64,
    /// Bytes of content moved.
    pub bytes_done: u64,
    /// Bytes a second, over the last seconds.
    pub bytes_per_second: f64,
}

/// What a job did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Totals {
    /// Looks that ended.
    pub looks: u64,
    /// Entries created, updated, removed or renamed on the source.
    pub source_changes: u64,
    /// The same on the target.
    pub target_changes: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
}
