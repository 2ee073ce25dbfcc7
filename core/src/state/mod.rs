//! The baseline on disk: per pair of storages and path, what both sides last agreed on.
//!
//! One SQLite file a pair. It is only ever a memory: deleting it at any time loses nothing, the next run adopts what is equal and
//! lists the rest as conflicts.

mod announced;
mod contents;
mod learnt;
mod lock;
mod losses;
#[cfg(feature = "testing")]
mod memory;
mod moves;
mod pair;
mod pending;
mod row;

#[cfg(test)]
mod durability;
#[cfg(test)]
mod readings;
#[cfg(test)]
pub(crate) mod tests;

pub use announced::LeftAnnounced;
pub use contents::KnownFile;
#[cfg(feature = "testing")]
pub use memory::MemoryStates;
pub use moves::FolderMove;
pub use pair::{PairState, Reading, StateError};
pub use pending::{GroupEnd, Pending, PendingAction, PendingStage};
pub use row::{BaselineRow, RowChange, SideRecord};
