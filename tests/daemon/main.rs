//! The daemon over its socket, in the test's own process.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod arguments;
mod crowd;
mod ends;
mod events;
mod interrupted;
mod jobs;
mod metrics;
mod protocol;
mod raw;
mod relay;
mod roots;
mod schemas;
mod socket;
mod wire;
mod world;
