//! Removed and replaced versions.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{ContentHash, Kind, SyncPath};

/// How long the trash keeps a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrashKeep {
    /// Until the end of the next run, for writers that still hold the file open; then it is given up.
    None,
    /// This long, and at least as long as `None` does.
    For(Duration),
}

impl Default for TrashKeep {
    /// Seven days.
    fn default() -> Self {
        TrashKeep::For(Duration::from_secs(7 * 24 * 3600))
    }
}

impl FromStr for TrashKeep {
    type Err = String;

    /// `none`, or a number of seconds, minutes, hours, days or weeks: `30s`, `15m`, `12h`, `7d`, `2w`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(TrashKeep::None);
        }
        let wrong = || format!("`{text}` is no duration; write 30s, 15m, 12h, 7d, 2w or none");
        let unit = text.chars().next_back().ok_or_else(wrong)?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 24 * 3600,
            'w' => 7 * 24 * 3600,
            _ => return Err(wrong()),
        };
        let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
        let seconds = count.checked_mul(seconds).ok_or_else(wrong)?;
        Ok(TrashKeep::For(Duration::from_secs(seconds)))
    }
}

impl fmt::Display for TrashKeep {
    /// As it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrashKeep::None => f.write_str("none"),
            TrashKeep::For(time) => write!(f, "{}s", time.as_secs()),
        }
    }
}

/// Names a version in a storage's trash: `RUN/NUMBER`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TrashId(pub String);

impl fmt::Display for TrashId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a version is in the trash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrashState {
    /// It was replaced by a newer version.
    Replaced,
    /// It was removed.
    Removed,
    /// It is a version that nobody agreed to give up, caught in a race or after a crash. Never expires.
    Rescued,
    /// It was written to after it had been displaced: a version of its own. Never expires.
    Late,
}

impl TrashState {
    /// Whether nobody agreed to give the version up: it never expires and is listed as a conflict.
    pub fn is_claimed(self) -> bool {
        matches!(self, Self::Rescued | Self::Late)
    }
}

/// A version in the trash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrashItem {
    /// Its name.
    pub id: TrashId,
    /// Where it was; `None` if nobody knows any more.
    #[serde(serialize_with = "path_text", skip_deserializing)]
    pub path: Option<SyncPath>,
    /// File or link.
    #[serde(skip)]
    pub kind: Option<Kind>,
    /// Why it is here.
    pub state: TrashState,
    /// Bytes of content.
    pub size: u64,
    /// The content's hash when it was displaced, if it was known.
    pub hash: Option<ContentHash>,
    /// When it came here, in seconds since 1970.
    pub since: i64,
}

fn path_text<S: serde::Serializer>(path: &Option<SyncPath>, s: S) -> Result<S::Ok, S::Error> {
    path.as_ref().map(SyncPath::as_str).serialize(s)
}
