//! The daemon over its socket, in the test's own process.

mod jobs;
mod metrics;
mod world;
