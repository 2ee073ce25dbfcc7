//! The contract with syncers, and the pass that all of them share.

mod error;
mod exclude;
pub(crate) mod groups;
mod guard;
mod looks;
mod news;
mod opened;
mod options;
pub(crate) mod pass;
mod patience;
mod progress;
mod rehearsal;
mod run;
mod syncer;
mod trash;
mod unrest;

pub use error::{SyncError, SyncErrorClass};
pub use exclude::{LastFilter, filter_now};
pub use groups::{Group, GroupKind};
pub use looks::{Looked, Looks};
pub use news::{Listener, News, NewsSender, Pending};
pub use opened::stored_conflicts;
pub use options::{DeleteBudget, Keep, RESCAN_INTERVAL, SyncJob, SyncOptions};
pub use pass::{Explanation, Seen, explain};
pub use patience::Patience;
pub use progress::{Phase, Progress, ProgressView};
pub use run::one_shot;
pub use syncer::{Needs, Syncer, SyncerFlags, SyncerType};
pub use trash::{Emptied, TrashSum, empty_trash};
