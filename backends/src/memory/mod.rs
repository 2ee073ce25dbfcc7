//! The reference backend: a tree in this process, behind one mutex.
//!
//! It keeps every promise of the contract exactly, so that a test that fails on it has found a fault elsewhere. Storages of the
//! same name are the same store for as long as the process lives; nothing is ever on a disk.

mod backend;
mod editor;
mod factory;
mod listing;
mod reader;
mod session;
mod settings;
mod state;
mod store;
mod trash;

pub use editor::MemoryNode;
pub use settings::MemorySettings;

use std::sync::Arc;

use wl_core::storage::Result;

/// A handle to a store in memory. Clones and handles of the same name see the same tree.
#[derive(Clone, Debug)]
pub struct MemoryBackend {
    store: Arc<store::Store>,
}

impl MemoryBackend {
    /// The store `name`, made with the default settings if it is not there.
    pub fn new(name: &str) -> Self {
        Self {
            store: store::named(name),
        }
    }

    /// The store `name`, made with `settings` if it is not there. A store of that name with other settings is refused.
    pub fn open(name: &str, settings: MemorySettings) -> Result<Self> {
        Ok(Self {
            store: store::open(name, settings)?,
        })
    }

    /// A fresh, empty store that nobody else can name.
    pub fn private(settings: MemorySettings) -> Self {
        Self {
            store: store::private(settings),
        }
    }
}
