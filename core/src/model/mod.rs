//! The words of wl as plain values: no async, no I/O, no clock.

mod entry;
mod hash;
mod mode;
mod path;
pub(crate) mod report;
mod side;
mod time;
mod token;

pub use entry::{Entry, Kind, Meta};
pub use hash::{ContentHash, Hasher, ParseHashError};
pub use mode::Mode;
pub use path::{Key, PathError, SyncPath};
pub use report::{
    ByteCounts, ChangeCounts, Conflict, ConflictSide, Drift, Outcome, Problem, RunError, RunReport,
};
pub use side::{Direction, Side, Sides};
pub use time::Timestamp;
pub use token::{FileId, Token};

/// The one reserved name at a storage's root: staging, trash, probes and markers. Never synced.
pub const RESERVED: &str = ".wl";
