//! Black-box tests of the built `wl`. `SNAPSHOTS=overwrite cargo test -p wl --test cli` renews the snapshots.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod backends_table;
mod completions;
mod daemon;
mod errors;
mod filters;
mod help;
mod led;
mod logs;
mod manifests;
mod output;
mod rclone;
mod schemas;
mod secrets;
mod service;
mod storages;
mod support;
mod sync;
mod trash;
mod trees;
mod urls;
mod watch;
