//! The continuous job at work: both sides are edited while the built `wl` follows, by hand-like random editors and by real
//! programs, and the daemon is killed in the middle. After a quiet moment both sides are as they must be, and no version is lost.
//!
//! `WL_ROUNDS=20 cargo test -p wl --test live -- --ignored --nocapture soak_live` is the long one; `WL_SEED` repeats one.
//! `WL_LIVE=watch` or `WL_LIVE=poll` says how changes are noticed.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

mod acting;
mod busy;
mod editor;
mod folders;
mod histories;
mod programs;
#[path = "../real/running.rs"]
mod running;
mod world;
