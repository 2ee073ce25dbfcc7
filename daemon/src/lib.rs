//! Runs jobs: in the daemon, or once and in the process that asks ([`job`]).

mod events;
mod exclude;
mod folder;
pub mod job;
pub mod jobs;
mod led;
mod log;
mod metrics;
mod plugins;
mod private;
mod rlimit;
mod server;
mod shared;
mod spec;
pub mod types;
mod url;

pub use job::known_grade;
pub use log::{LogError, LogGuard, LogTo, log_failure, start_log};
pub use plugins::registry;
pub use private::{CREDENTIALS_FILE, PrivateError, check_private, secret_parameter};
pub use rlimit::raise_file_limit;
pub use server::{Daemon, DaemonError, DaemonOptions, Holder, lock_holder, socket_path};
pub use spec::{JobSpec, LOCAL, StorageSpec};
pub use url::{UrlError, storage_of_url};
pub use wl_core::storage::Limits;
// The words that whoever starts a job needs; front ends depend on this crate, not on the core.
pub use wl_core::{filter, model, plugin, storage, sync};
