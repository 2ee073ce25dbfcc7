//! Tests of the engine on a store in memory.

mod conformance;
mod probing;
mod session;
mod trouble;
