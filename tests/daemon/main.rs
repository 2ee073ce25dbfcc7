//! The daemon over its socket, in the test's own process.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod interrupted;
mod jobs;
mod world;
