//! Trying again: what is done twice without harm by itself, all else around a whole look, comparison and change.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use wl_core::model::SyncPath;
use wl_core::storage::{Result, StorageError};

use super::Shared;
use crate::remote::retry::Patience;
use crate::remote::store::{Again, Fault, Outcome};
use crate::remote::wire::Wire;

/// The rounds of looking, comparing and changing.
#[derive(Debug, Default)]
pub(in crate::remote) struct Rounds(Patience);

impl Rounds {
    /// Waits until the next round, or gives the fault back if there is none. Another round is worth it though the same request would
    /// fail again if it may have been carried out: the next look tells.
    pub(in crate::remote) async fn pause(
        &mut self,
        mut fault: Fault,
        cancel: &CancellationToken,
    ) -> Outcome<()> {
        if fault.unclear && fault.again == Again::Never {
            fault.again = Again::After(None);
        }
        self.0.wait(fault, cancel).await
    }
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
