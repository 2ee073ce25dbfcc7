//! The reading half against a small store that can be told to fail.

mod flat;
mod kit;
mod reading;
mod tree;
mod wire;

pub(super) use kit::READ_ONLY;
