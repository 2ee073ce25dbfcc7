//! Storage backends, one folder each. They know `wl-core` only, never each other; those of remote storages stand on `remote`.

pub mod local;
pub mod memory;
#[cfg(feature = "_opendal")]
pub mod opendal;
#[allow(dead_code)]
mod remote;
