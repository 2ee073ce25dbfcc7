//! The way to a store: limits, retries, and errors that say where.

use std::future::Future;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use wl_core::model::{Meta, RESERVED, SyncPath, Timestamp};
use wl_core::storage::{CONNECT, ErrorKind, Limits, Result, StorageError};

use super::clock::Clock;
use super::limits::Bucket;
use super::retry::Patience;
use super::skew::Skew;
use super::store::{Again, Facts, Fault, Found, Outcome, Reading, Store};
use super::token;

/// So many parts of large files are read ahead by all readers together.
pub(super) const PARTS_AHEAD: usize = 4;

/// A store with limits and retries.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    store: Arc<dyn Store>,
    gate: Arc<Gate>,
}

/// What all users of a store share.
#[derive(Debug)]
struct Gate {
    at_once: Arc<Semaphore>,
    ahead: Arc<Semaphore>,
    clock: Clock,
    requests: Option<Mutex<Bucket>>,
    up: Option<Mutex<Bucket>>,
    down: Option<Mutex<Bucket>>,
    sent: AtomicU64,
    skew: Skew,
    /// Patience ended because there is no way to the storage, and nothing was answered since.
    unreachable: AtomicBool,
}

impl Gate {
    fn new(limits: Limits, parallel: usize, clock: Clock) -> Self {
        let bucket = |rate: Option<u64>| rate.map(|rate| Mutex::new(Bucket::new(rate)));
        let bytes = limits.bytes_per_second.map(u64::from);
        Self {
            at_once: Arc::new(Semaphore::new(parallel.max(1))),
            ahead: Arc::new(Semaphore::new(PARTS_AHEAD)),
            clock,
            requests: bucket(limits.requests_per_second.map(|rate| rate.get().into())),
            up: bucket(bytes),
            down: bucket(bytes),
            sent: AtomicU64::new(0),
            skew: Skew::default(),
            unreachable: AtomicBool::new(false),
        }
    }

    async fn wait(&self, bucket: Option<&Mutex<Bucket>>, amount: u64) {
        let Some(bucket) = bucket.filter(|_| amount > 0) else {
            return;
        };
        let pause = {
            let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
            bucket.take(self.clock.elapsed(), amount)
        };
        if !pause.is_zero() {
            self.clock.sleep(pause).await;
        }
    }
}

impl Wire {
    pub(crate) fn new(store: Arc<dyn Store>, limits: Limits) -> Self {
        Self::on_clock(store, limits, Clock::default())
    }

    fn on_clock(store: Arc<dyn Store>, limits: Limits, clock: Clock) -> Self {
        let gate = Arc::new(Gate::new(limits, store.facts().parallel, clock));
        Self { store, gate }
    }

    /// For tests: no pause takes time.
    #[cfg(test)]
    pub(crate) fn pretending(store: Arc<dyn Store>, limits: Limits) -> Self {
        Self::on_clock(store, limits, Clock::pretended())
    }

    /// The time since it was made.
    #[cfg(test)]
    pub(crate) fn elapsed(&self) -> std::time::Duration {
        self.gate.clock.elapsed()
    }

    pub(crate) fn facts(&self) -> &Facts {
        self.store.facts()
    }

    /// How the server's clock goes.
    pub(super) fn skew(&self) -> &Skew {
        &self.gate.skew
    }

    /// The attributes of what was found, with its token. `asked` is what our clock said before the storage was asked.
    pub(super) fn meta(&self, found: &Found, asked: Timestamp) -> Meta {
        let reached = self.gate.skew.there(asked, self.store.ahead());
        token::meta(found, self.facts(), reached)
    }

    /// The store itself, for what is done once: conditional writes, whose retries go around looking, comparing and writing. Whoever calls it
    /// asks [`Wire::turn`] first.
    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Waits until a request may be sent, and `bytes` of content with it. What is returned is held while the request runs; whoever holds
    /// one does not ask for another.
    pub(crate) async fn turn(&self, bytes: u64) -> Turn {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.gate.at_once).acquire_owned().await.ok();
        self.gate.wait(self.gate.requests.as_ref(), 1).await;
        self.gate.wait(self.gate.up.as_ref(), bytes).await;
        self.gate.sent.fetch_add(1, Ordering::Relaxed);
        Turn { _permit: permit }
    }

    /// Waits until `bytes` of content may be received.
    pub(super) async fn receive(&self, bytes: u64) {
        self.gate.wait(self.gate.down.as_ref(), bytes).await;
    }

    /// How many requests were sent.
    #[cfg(test)]
    pub(super) fn requests(&self) -> u64 {
        self.gate.sent.load(Ordering::Relaxed)
    }

    /// The right to hold one more part of a large file in memory before it is asked for; `None`: not now.
    pub(super) fn part_ahead(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.gate.ahead).try_acquire_owned().ok()
    }

    /// The error with its operation, path and storage. What meets every path says nothing of this one, and what is ours is no path that
    /// people know.
    pub(crate) fn error(
        &self,
        operation: &'static str,
        path: &SyncPath,
        fault: Fault,
    ) -> StorageError {
        let kind = fault.error.kind();
        let operation = if kind.is_of_storage() {
            CONNECT
        } else {
            operation
        };
        let error = StorageError::new(kind, operation, fault.error.reason());
        let error = error.on(self.store.location());
        match path.is_root() || path.as_str().split('/').next() == Some(RESERVED) {
            true => error,
            false => error.at(path),
        }
    }

    /// The error of an operation that was tried until patience ended.
    pub(super) fn given_up(
        &self,
        operation: &'static str,
        path: &SyncPath,
        fault: Fault,
    ) -> StorageError {
        let temporary = fault.again != Again::Never;
        let error = self.error(operation, path, fault);
        // A storage that cannot be reached at all stays one.
        if !temporary || error.kind() == ErrorKind::Unavailable {
            return error;
        }
        error
            .with_kind(ErrorKind::Temporary)
            .with_advice("it was tried again for a while; run again later")
    }

    /// Does an operation that may be done more than once, again and again while trouble is temporary. Each try waits for its turn.
    pub(crate) async fn again<T, F, R>(
        &self,
        operation: &'static str,
        path: &SyncPath,
        mut attempt: F,
    ) -> Result<T>
    where
        F: FnMut() -> R,
        R: Future<Output = Outcome<T>>,
    {
        let took_turn = || {
            let attempt = attempt();
            async {
                let _turn = self.turn(0).await;
                attempt.await
            }
        };
        self.patiently(operation, path, took_turn).await
    }

    /// Patience for one operation.
    pub(super) fn retry(&self) -> Retry<'_> {
        Retry {
            gate: &self.gate,
            patience: Patience::by(&self.gate.clock),
        }
    }

    /// [`Wire::again`] for what asks for its turns itself.
    pub(super) async fn patiently<T, F, R>(
        &self,
        operation: &'static str,
        path: &SyncPath,
        mut attempt: F,
    ) -> Result<T>
    where
        F: FnMut() -> R,
        R: Future<Output = Outcome<T>>,
    {
        let mut retry = self.retry();
        loop {
            match attempt().await {
                Ok(done) => {
                    retry.answered();
                    return Ok(done);
                }
                Err(fault) => retry
                    .after(fault)
                    .await
                    .map_err(|fault| self.given_up(operation, path, fault))?,
            }
        }
    }

    /// What is at `path`; tried again while trouble is temporary.
    pub(crate) async fn stat(&self, path: &SyncPath) -> Result<Option<Found>> {
        self.again("stat", path, || self.store.stat(path)).await
    }

    /// The file or link at `path`; tried again while trouble is temporary.
    pub(crate) async fn file(&self, path: &SyncPath) -> Result<Option<Found>> {
        self.again("stat", path, || self.store.file(path)).await
    }

    /// Starts to read a range; tried again while trouble is temporary. The turn is held until the pieces are dropped.
    pub(crate) async fn read(
        &self,
        path: &SyncPath,
        range: Range<u64>,
        tag: Option<&str>,
    ) -> Result<Reading> {
        let attempt = || async {
            let turn = self.turn(0).await;
            let reading = self.store.read(path, range.clone(), tag).await?;
            Ok((turn, reading))
        };
        let (turn, reading) = self.patiently("read", path, attempt).await?;
        let turn = Arc::new(turn);
        let wire = self.clone();
        let pieces = reading.pieces.then(move |piece| {
            let (wire, turn) = (wire.clone(), Arc::clone(&turn));
            async move {
                let _turn = turn;
                if let Ok(piece) = &piece {
                    wire.receive(piece.len() as u64).await;
                }
                piece
            }
        });
        Ok(Reading {
            found: reading.found,
            pieces: pieces.boxed(),
        })
    }
}

/// The failures of one operation.
pub(super) struct Retry<'a> {
    gate: &'a Gate,
    patience: Patience,
}

impl Retry<'_> {
    /// Waits before the next try, or gives the fault back. Where the storage was out of reach for as long as patience lasts, the next
    /// operation does not wait for it all over again: with many files that would be hours.
    pub(super) async fn after(&mut self, fault: Fault) -> Outcome<()> {
        let unreachable =
            fault.error.kind() == ErrorKind::Unavailable && fault.again != Again::Never;
        if unreachable && self.gate.unreachable.load(Ordering::Relaxed) {
            return Err(fault);
        }
        let waited = self.patience.wait(fault, &CancellationToken::new()).await;
        if unreachable && waited.is_err() {
            self.gate.unreachable.store(true, Ordering::Relaxed);
        }
        waited
    }

    /// The storage can be reached.
    pub(super) fn answered(&self) {
        self.gate.unreachable.store(false, Ordering::Relaxed);
    }
}

/// The right to one request at a time.
#[derive(Debug)]
pub(crate) struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}
