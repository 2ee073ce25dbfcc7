//! The contract with storage backends.
//!
//! A backend is a promise in prose (the doc comments here) and in code (`crate::testing::conformance`): every promise has a
//! function there that tries to break it, and the declared [`Capabilities`] choose which of them run.

mod backend;
mod capability;
mod condition;
mod error;
mod limits;
mod listing;
mod poll;
mod root;
mod session;
mod spill;
mod trash;
mod watch;

pub use backend::{
    ContentReader, CopySource, Hashed, Noted, ReadRequest, SMALL_FILE, SmallRead, StorageBackend,
};
pub use capability::{Capabilities, CasGrade, ListOrder};
pub use condition::{Expect, Expected};
pub use error::{CONNECT, ErrorKind, IoResultExt, Result, StorageError};
pub use limits::Limits;
pub use listing::{Filter, ListRequest, Listing, NoFilter, Row, Scope};
pub use poll::{Effort, POLL_INTERVAL, PollWatcher, Rhythm};
pub use root::{MachineFolder, RootChange, RootMarker};
pub use session::{
    ContentWriter, CopyFrom, Displaced, Durability, Payload, Published, RemoveRequest,
    RenameRequest, ReplaceRequest, SessionOptions, StageRequest, Staged, StrandedVersion,
    WriteSession,
};
pub use spill::{SortedSpill, SpillSorter};
pub use trash::{TrashId, TrashItem, TrashKeep, TrashState};
pub use watch::{Area, MOST_PLACES, Observation, Parts, StorageWatcher, WatchHealth, WatchRequest};
