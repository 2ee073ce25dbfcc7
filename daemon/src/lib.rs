//! Runs jobs. Until the daemon itself is there, the command line runs them through [`job`] in its own process.

mod events;
mod exclude;
mod folder;
pub mod job;
pub mod jobs;
mod plugins;
mod private;
mod server;
mod shared;
mod spec;
pub mod types;
mod url;

pub use job::known_grade;
pub use plugins::registry;
pub use private::{CREDENTIALS_FILE, PrivateError, check_private, secret_parameter};
pub use server::{Daemon, DaemonError, DaemonOptions, socket_path};
pub use spec::{JobSpec, LOCAL, StorageSpec};
pub use url::{UrlError, storage_of_url};
pub use wl_core::storage::Limits;
// The words that whoever starts a job needs; front ends depend on this crate, not on the core.
pub use wl_core::{model, plugin, storage, sync};
