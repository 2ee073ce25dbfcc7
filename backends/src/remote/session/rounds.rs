//! Trying again: what is done twice without harm by itself, all else around a whole look, comparison and change.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wl_core::model::SyncPath;
use wl_core::storage::{ErrorKind, Result, StorageError};

use super::Shared;
use crate::remote::store::{Again, Fault, Outcome};
use crate::remote::wire::Wire;

const MOST: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// How often something was tried.
#[derive(Debug, Default)]
pub(in crate::remote) struct Rounds(u32);

impl Rounds {
    /// Waits until the next try, or gives the fault back if there is none. Another round is worth it though the same request would
    /// fail again if it may have been carried out: the next look tells.
    pub(in crate::remote) async fn pause(
        &mut self,
        fault: Fault,
        cancel: &CancellationToken,
    ) -> Outcome<()> {
        self.0 += 1;
        let asked = match fault.again {
            Again::Never if fault.unclear => Some(Duration::ZERO),
            Again::Never => return Err(fault),
            Again::After(pause) => pause,
        };
        if self.0 >= MOST {
            return Err(fault);
        }
        let pause = asked.map_or_else(|| backoff(self.0), |asked| asked.min(LONGEST_PAUSE));
        tokio::select! {
            () = cancel.cancelled() => {
                let stopped = StorageError::new(ErrorKind::Cancelled, "wait", "told to stop");
                Err(Fault { unclear: fault.unclear, ..Fault::from(stopped) })
            }
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }
}

/// Twice as long each time, and between half and all of it, so that many do not come back at once.
fn backoff(round: u32) -> Duration {
    let full = (FIRST_PAUSE * 2u32.pow(round.saturating_sub(1).min(10))).min(LONGEST_PAUSE);
    let chance = RandomState::new().hash_one(round) % 512;
    full.mul_f64(0.5 + chance as f64 / 1024.0)
}

/// Does a request that does no harm if it is done twice, until it succeeds or fails for good.
pub(in crate::remote) async fn repeat<T, F: Future<Output = Outcome<T>>>(
    wire: &Wire,
    cancel: &CancellationToken,
    bytes: u64,
    request: impl Fn() -> F,
) -> Outcome<T> {
    let mut rounds = Rounds::default();
    loop {
        let turn = wire.turn(bytes).await;
        let done = request().await;
        drop(turn);
        match done {
            Ok(done) => return Ok(done),
            Err(fault) => rounds.pause(fault, cancel).await?,
        }
    }
}

impl Shared {
    /// Does a request that does no harm if it is done twice, until it succeeds or fails for good.
    pub(super) async fn repeat<T, F: Future<Output = Outcome<T>>>(
        &self,
        operation: &'static str,
        path: &SyncPath,
        bytes: u64,
        request: impl Fn() -> F,
    ) -> Result<T> {
        let done = self.repeat_fault(bytes, request).await;
        done.map_err(|fault| self.error(operation, path, fault))
    }

    /// [`repeat`](Self::repeat) with the fault as it is.
    pub(super) async fn repeat_fault<T, F: Future<Output = Outcome<T>>>(
        &self,
        bytes: u64,
        request: impl Fn() -> F,
    ) -> Outcome<T> {
        repeat(&self.remote.wire, &self.options.cancel, bytes, request).await
    }

    /// The error of a fault, and what to do if nobody knows whether the change was made.
    pub(super) fn error(
        &self,
        operation: &'static str,
        path: &SyncPath,
        fault: Fault,
    ) -> StorageError {
        let (again, unclear) = (fault.again, fault.unclear);
        let error = self.remote.wire.error(operation, path, fault);
        match again {
            _ if unclear => error.with_advice("it may have been done; the next run looks again"),
            Again::After(_) => error.with_advice("it was tried several times; run again later"),
            Again::Never => error,
        }
    }
}
