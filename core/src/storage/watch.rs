//! Watchers: where to look, never what happened.

use std::time::Duration;

use async_trait::async_trait;

use super::{Result, Scope};

/// What a watcher says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// Something may have changed here. The cursor, where the source can replay, is stored with the baseline.
    Look {
        /// Where.
        scope: Scope,
        /// From where the source can replay what came after.
        cursor: Option<String>,
    },
    /// Events of this scope may be missing (overflow, restart, "I cannot watch this subtree"): all of it must be looked at.
    Gap {
        /// Where.
        scope: Scope,
        /// Why, for people.
        reason: String,
    },
}

/// How a storage is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchHealth {
    /// For people: `inotify`, `poll every 10 s`, ...
    pub mode: String,
    /// A change is seen after this long at the worst.
    pub worst_delay: Duration,
}

/// Yields where to look. Events that are lost, doubled or out of order cost time, never correctness.
#[async_trait]
pub trait StorageWatcher: Send {
    /// The next observation. Changes made after the watcher was handed out are covered by some observation.
    async fn next(&mut self) -> Result<Observation>;
    /// A look at everything begins now, on both sides, whoever asked for it: one that asks every so often counts from here.
    fn looking(&mut self) {}
    /// How it watches at this moment.
    fn health(&self) -> WatchHealth;
}
