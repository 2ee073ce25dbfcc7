//! The daemon over its socket, in the test's own process.

mod interrupted;
mod jobs;
mod world;
