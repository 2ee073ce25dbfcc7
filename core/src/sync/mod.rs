//! The contract with syncers, and the pass that all of them share.

mod error;
mod exclude;
mod guard;
mod news;
mod options;
pub(crate) mod pass;
mod progress;
mod rehearsal;
mod run;
mod syncer;

pub use error::{SyncError, SyncErrorClass};
pub use exclude::{LastFilter, filter_now};
pub use news::{News, NewsSender};
pub use options::{DeleteBudget, Keep, SyncJob, SyncOptions};
pub use pass::{Explanation, Seen, explain};
pub use progress::{Phase, Progress, ProgressView};
pub use run::{one_shot, stored_conflicts};
pub use syncer::{Needs, Syncer, SyncerFlags, SyncerType};
