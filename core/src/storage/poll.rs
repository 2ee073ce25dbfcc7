//! Polling: for storages that have no events of their own, and wherever `watcher-interval` asks for it.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Area, Observation, Result, StorageWatcher, WatchHealth};

/// How often a storage without events is looked at, unless its parameters say otherwise.
pub const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// Says to look at everything, every so often. It keeps nothing of the tree: looking is a pass.
#[derive(Debug)]
pub struct PollWatcher {
    interval: Duration,
    due: Instant,
}

impl PollWatcher {
    /// Polls every `interval`, for the first time one interval from now.
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            due: Instant::now() + interval,
        }
    }
}

#[async_trait]
impl StorageWatcher for PollWatcher {
    async fn next(&mut self) -> Result<Observation> {
        tokio::time::sleep_until(self.due).await;
        // From now on, not from when it was due: a machine that slept through a hundred intervals looks once.
        self.due = Instant::now() + self.interval;
        Ok(Observation::Look {
            area: Area::Everything,
            cursor: None,
        })
    }

    fn looking(&mut self) {
        self.due = Instant::now() + self.interval;
    }

    fn health(&self) -> WatchHealth {
        WatchHealth {
            mode: format!("poll every {} s", self.interval.as_secs_f64()),
            worst_delay: self.interval,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_due_every_interval_and_once_after_a_long_sleep() {
        let mut watcher = PollWatcher::new(Duration::from_secs(10));
        let start = Instant::now();
        watcher.next().await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 10);
        tokio::time::advance(Duration::from_secs(3600)).await;
        let woken = Instant::now();
        watcher.next().await.unwrap();
        assert_eq!(woken.elapsed().as_secs(), 0);
        watcher.next().await.unwrap();
        assert_eq!(woken.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_dropped_loses_nothing() {
        let mut watcher = PollWatcher::new(Duration::from_secs(10));
        let start = Instant::now();
        let given_up = tokio::time::timeout(Duration::from_secs(7), watcher.next()).await;
        assert!(given_up.is_err());
        watcher.next().await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 10);
    }
}
