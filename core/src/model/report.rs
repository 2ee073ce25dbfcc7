//! What a run says at its end: the JSON report of the design's section 7.

use serde::{Deserialize, Serialize};

use super::{ContentHash, Side, Sides};
use crate::planted::{Bug, planted};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Both sides are equal, but for drift and what was skipped.
    Synced,
    /// Conflicts are left; everything else went on.
    Conflicts,
    /// The run, or some of its paths, failed.
    Failed,
}

/// How many entries changed on a side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeCounts {
    /// Entries that were not there before.
    pub created: u64,
    /// Entries whose content, link or mode was replaced.
    pub updated: u64,
    /// Entries that were taken away.
    pub removed: u64,
    /// Entries that got another path.
    pub renamed: u64,
}

impl ChangeCounts {
    /// All changes together.
    pub fn total(&self) -> u64 {
        self.created + self.updated + self.removed + self.renamed
    }
}

/// One version in a conflict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictSide {
    /// `file`, `folder`, `link`; or `absent`.
    pub kind: String,
    /// Bytes of content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The content's hash, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<ContentHash>,
    /// Where a link points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Time of the last change, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtime: Option<i64>,
}

/// Both sides changed a path, differently. Nothing was changed on either.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The path.
    pub path: String,
    /// What collided, in words.
    pub reason: String,
    /// What the source holds.
    pub source: Option<ConflictSide>,
    /// What the target holds.
    pub target: Option<ConflictSide>,
    /// What both last agreed on; `null` if they never did.
    pub ancestor: Option<ConflictSide>,
}

/// What the reason of a conflict says where several paths make one version.
pub(crate) const TAKEN_WHOLE: &str = "of which one side can only be taken whole";

impl Conflict {
    /// Whether it is about several paths that only make sense together: one side's are kept, or the other's.
    pub fn is_about_group(&self) -> bool {
        self.reason.contains(TAKEN_WHOLE)
    }

    /// Whether it is about a version in a trash that nobody agreed to give up: neither side holds it, and taking it out ends the conflict.
    pub fn is_about_trash(&self) -> bool {
        self.source.is_none() && self.target.is_none()
    }
}

/// A path that could not be read, written or represented.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The path; `.` is the root.
    pub path: String,
    /// The storage, as a person knows it; both if it is about both. Empty if it is about the run.
    pub storage: String,
    /// What was being done.
    pub operation: String,
    /// What happened and what to do.
    pub reason: String,
}

/// In one-way runs: where the target differs and was left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// The path.
    pub path: String,
    /// How it differs.
    pub reason: String,
}

/// Bytes of content that passed through this machine; what storages copy by themselves does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByteCounts {
    /// Read from storages.
    pub read: u64,
    /// Written to storages.
    pub written: u64,
}

/// The report of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// How it ended.
    pub result: Outcome,
    /// The syncer that ran.
    pub syncer: String,
    /// The source storage: `type` and `location`, never a secret.
    pub source: serde_json::Value,
    /// The target storage.
    pub target: serde_json::Value,
    /// What was changed on each side.
    pub changes: Sides<ChangeCounts>,
    /// Every open conflict.
    pub conflicts: Vec<Conflict>,
    /// Every path that failed.
    pub problems: Vec<Problem>,
    /// Differences that a one-way run left alone.
    pub drift: Vec<Drift>,
    /// Files that were passed over: special ones, and what is of use only where it was made (the shared memory of a database).
    pub skipped: u64,
    /// Paths that were left out; a folder with all that is in it is one.
    #[serde(default, skip_serializing_if = "is_none_of_them")]
    pub excluded: u64,
    /// Content moved.
    pub bytes: ByteCounts,
    /// How long it took.
    pub seconds: f64,
    /// What is no failure but should be known: that a damaged baseline was set aside, say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
    /// Why the run was refused or stopped, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
}

fn is_none_of_them(count: &u64) -> bool {
    *count == 0
}

/// Why a run was refused or stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    /// For programs.
    pub class: String,
    /// For people, ending in what to do.
    pub desc: String,
}

impl RunReport {
    /// Adds what an earlier run did.
    pub fn add_done(&mut self, before: &Self) {
        for side in Side::BOTH {
            let (sum, more) = (&mut self.changes[side], &before.changes[side]);
            sum.created += more.created;
            sum.updated += more.updated;
            sum.removed += more.removed;
            sum.renamed += more.renamed;
        }
        self.bytes.read += before.bytes.read;
        self.bytes.written += before.bytes.written;
        self.notices.extend_from_slice(&before.notices);
    }

    /// What was done is told; what was found stands.
    pub fn forget_done(&mut self) {
        self.changes = Sides::default();
        self.bytes = ByteCounts::default();
        self.notices.clear();
    }

    /// The result that the lists stand for: problems win over conflicts.
    pub fn judge(&self) -> Outcome {
        match (
            self.problems.is_empty() && self.error.is_none(),
            self.conflicts.is_empty(),
        ) {
            (false, _) => Outcome::Failed,
            (true, false) if planted(Bug::ConflictsAreSynced) => Outcome::Synced,
            (true, false) => Outcome::Conflicts,
            (true, true) => Outcome::Synced,
        }
    }
}
