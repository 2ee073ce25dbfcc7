//! Black-box runs of the built `wl` over real folders, under everything that real folders do: hostile names, racing writers,
//! full disks, roots that go away, and kill -9 at any moment.
//!
//! `WL_SOAK_MINUTES=10 cargo test -p wl --test real -- --ignored soak` runs the long ones.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

mod big;
mod busy;
mod daemon;
mod full;
mod groups;
mod histories;
mod hostile;
mod kill;
mod modes;
mod pair;
mod roots;
mod running;
mod skip;
mod trash;

use wl_test_trees::folders as trees;
