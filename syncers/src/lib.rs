//! Syncers: how content moves between two storages. They know `wl-core` only.

mod general;
mod passes;
mod server_copy;

pub use general::General;
pub use server_copy::ServerCopy;
