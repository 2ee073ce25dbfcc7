//! The contract with syncers, and the pass that all of them share.

mod error;
mod options;
mod progress;
mod syncer;

pub use error::{SyncError, SyncErrorClass};
pub use options::{DeleteBudget, Keep, SyncJob, SyncOptions};
pub use progress::{Phase, Progress, ProgressView};
pub use syncer::{Needs, Syncer, SyncerFlags, SyncerType};
