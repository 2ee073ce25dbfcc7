//! What sees the requests of a history, and stands for its machine.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use wl_core::model::SyncPath;
use wl_core::storage::{Result, Row, StorageError, StorageWatcher};
use wl_core::testing::{Call, Machine, Observer, Operation, When};

use crate::site::Windows;
use crate::stage::Stage;
use crate::watch::Watcher;

/// When the clocks of simulated worlds begin, in seconds since 1970.
const BEGINNING: Duration = Duration::from_secs(1_700_000_000);

/// Sees the requests to one storage.
#[derive(Debug)]
pub(crate) struct Eye {
    pub stage: Arc<Stage>,
    pub site: usize,
}

impl Observer for Eye {
    fn apart(&self, _: Operation, count: usize) -> Option<Vec<usize>> {
        Some(self.stage.lock().order(count))
    }

    fn pause(&self, when: When, call: &Call) -> Option<BoxFuture<'static, ()>> {
        let mut inner = self.stage.lock();
        inner.moment(self.site, when, call);
        inner.dawdle()
    }

    fn watch(&self) -> Option<Box<dyn StorageWatcher>> {
        let events = self.stage.lock().watcher(self.site)?;
        let stage = Arc::clone(&self.stage);
        Some(Box::new(Watcher { stage, events }))
    }

    fn before(&self, call: &Call) -> Result<()> {
        self.stage.lock().before(self.site, call)
    }

    fn after(&self, call: &Call) -> Result<()> {
        self.stage.lock().after(self.site, call)
    }

    fn cut(&self, _: u64, rows: usize) -> Option<(usize, StorageError)> {
        self.stage.lock().cut(self.site, rows)
    }

    fn hides(&self, row: &Row) -> bool {
        matches!(row, Row::Present(_)) && self.stage.lock().hides(self.site)
    }
}

/// The windows of one storage.
#[derive(Debug)]
pub(crate) struct Gate {
    pub stage: Weak<Stage>,
    pub site: usize,
}

impl Windows for Gate {
    fn open(&self, path: &SyncPath) -> BoxFuture<'static, ()> {
        let pause = self.stage.upgrade().and_then(|stage| {
            let mut inner = stage.lock();
            inner.window(self.site, path);
            inner.dawdle()
        });
        pause.unwrap_or_else(|| Box::pin(std::future::ready(())))
    }

    fn shows_old(&self) -> bool {
        let stage = self.stage.upgrade();
        stage.is_some_and(|stage| stage.lock().shows_old(self.site))
    }

    fn strike(&self, what: &dyn fmt::Display) {
        if let Some(stage) = self.stage.upgrade() {
            stage.lock().window(self.site, what);
        }
    }
}

/// The clock and the dice of a history.
#[derive(Debug)]
pub(crate) struct StageMachine(pub Arc<Stage>);

impl Machine for StageMachine {
    fn wall(&self) -> SystemTime {
        let mut inner = self.0.lock();
        let (now, jumped) = inner.wall();
        let set = BEGINNING.as_secs().saturating_add_signed(jumped);
        UNIX_EPOCH + Duration::from_secs(set) + now
    }

    fn dice(&self) -> u64 {
        self.0.lock().dice.below(1 << 53) << 11
    }
}
