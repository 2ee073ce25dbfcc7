//! The syncer for storages that can copy by themselves: same server, same credentials. Where two are not such a pair after all, content goes
//! through this process as with the general one.

use wl_core::plugin::SyncerPlugin;

use crate::passes::{Passes, Way};

/// Lets the storages copy from each other.
pub type ServerCopy = Passes<Aside>;

inventory::submit!(SyncerPlugin::of::<ServerCopy>());

/// The way past this process.
#[derive(Debug)]
pub struct Aside;

impl Way for Aside {
    const NAME: &'static str = "server-copy";
    const TYPES: &'static [&'static str] = &["s3"];
    const SERVER_COPY: bool = true;
}
