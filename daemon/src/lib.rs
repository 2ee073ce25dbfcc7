//! Runs jobs. Until the daemon itself is there, the command line runs them through [`job`] in its own process.

mod exclude;
mod folder;
pub mod job;
mod plugins;
mod spec;

pub use plugins::registry;
pub use spec::{JobSpec, LOCAL, StorageSpec};
// The words that whoever starts a job needs; front ends depend on this crate, not on the core.
pub use wl_core::{model, plugin, storage, sync};
