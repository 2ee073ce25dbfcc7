//! The daemon over its socket, in the test's own process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ends;
mod jobs;
mod metrics;
mod world;
