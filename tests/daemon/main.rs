//! The daemon over its socket, in the test's own process.

mod arguments;
mod crowd;
mod events;
mod jobs;
mod protocol;
mod raw;
mod relay;
mod schemas;
mod socket;
mod wire;
mod world;
