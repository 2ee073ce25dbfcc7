//! Storage backends, one folder each. They know `wl-core` only, never each other.

pub mod local;
pub mod memory;
