//! How far a run is: counters that anyone may look at while it goes on.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

use tokio::sync::Notify;

/// What a run is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Comparing; transfers run meanwhile.
    Comparing,
    /// All listings have ended; the rest is carried out.
    Finishing,
    /// Done.
    Done,
}

/// The counters of a run.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU8,
    seen: AtomicU64,
    files_found: AtomicU64,
    files_done: AtomicU64,
    bytes_found: AtomicU64,
    bytes_done: AtomicU64,
    /// Something to be done was found.
    stirred: AtomicBool,
    work: Notify,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgressView {
    /// What the run is busy with.
    pub phase: Phase,
    /// Paths compared so far.
    pub seen: u64,
    /// Changes found so far.
    pub files_found: u64,
    /// Changes carried out so far.
    pub files_done: u64,
    /// Bytes of content to be moved, as far as known.
    pub bytes_found: u64,
    /// Bytes of content moved so far.
    pub bytes_done: u64,
}

impl Progress {
    /// The counters now.
    pub fn view(&self) -> ProgressView {
        ProgressView {
            phase: match self.phase.load(Relaxed) {
                0 => Phase::Comparing,
                1 => Phase::Finishing,
                _ => Phase::Done,
            },
            seen: self.seen.load(Relaxed),
            files_found: self.files_found.load(Relaxed),
            files_done: self.files_done.load(Relaxed),
            bytes_found: self.bytes_found.load(Relaxed),
            bytes_done: self.bytes_done.load(Relaxed),
        }
    }

    /// Returns as soon as the run has found a change to carry out that no earlier call has told of.
    pub async fn found_work(&self) {
        self.work.notified().await;
    }

    /// Counts from nothing again: for a job whose next look begins.
    pub fn restart(&self) {
        for counter in [
            &self.seen,
            &self.files_found,
            &self.files_done,
            &self.bytes_found,
            &self.bytes_done,
        ] {
            counter.store(0, Relaxed);
        }
        self.stirred.store(false, Relaxed);
        self.enter(Phase::Comparing);
    }

    /// There is something to be done, whether that is counted or not.
    pub fn stir(&self) {
        if !self.stirred.swap(true, Relaxed) {
            self.work.notify_one();
        }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    pub(crate) fn saw(&self, paths: u64) {
        self.seen.fetch_add(paths, Relaxed);
    }

    pub(crate) fn found(&self, files: u64, bytes: u64) {
        self.files_found.fetch_add(files, Relaxed);
        self.bytes_found.fetch_add(bytes, Relaxed);
        self.stir();
    }

    pub(crate) fn did(&self, files: u64, bytes: u64) {
        self.files_done.fetch_add(files, Relaxed);
        self.bytes_done.fetch_add(bytes, Relaxed);
        self.stir();
    }
}
