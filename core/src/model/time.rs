//! Points in time as storages report them.

use serde::{Deserialize, Serialize};

/// Seconds and nanoseconds since 1970 (UTC). Compared only with another of the same storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp {
    /// Whole seconds; negative before 1970.
    pub secs: i64,
    /// 0 to 999,999,999, always counted forwards.
    pub nanos: u32,
}
