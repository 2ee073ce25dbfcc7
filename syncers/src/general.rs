//! The syncer for any two storages: content goes through this process.

use wl_core::plugin::SyncerPlugin;

use crate::passes::{Passes, Way};

/// Reads from one storage and writes to the other, whatever they are.
pub type General = Passes<Through>;

inventory::submit!(SyncerPlugin::of::<General>());

/// The way through this process.
#[derive(Debug)]
pub struct Through;

impl Way for Through {
    const NAME: &'static str = "general";
    const TYPES: &'static [&'static str] = &["*"];
    const SERVER_COPY: bool = false;
}
