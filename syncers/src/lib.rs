//! Syncers: how content moves between two storages. They know `wl-core` only.

mod general;

pub use general::General;
