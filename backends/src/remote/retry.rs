//! When to try again: how long to wait, and when to give up. The one policy of all that goes over a network.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wl_core::storage::{ErrorKind, StorageError};

use super::clock::Clock;
use super::store::{Again, Fault, Outcome};

/// So often is an operation tried.
const TRIES: u32 = 8;
/// So long after the first failure it is not tried again. A try may take long: a slow line is no trouble.
const TOTAL: Duration = Duration::from_secs(60);
/// The longest pause of our own choice.
const CAP: Duration = Duration::from_secs(10);
/// The first pause is shorter than this; each may be twice as long as the one before.
const FIRST: Duration = Duration::from_millis(100);

/// The failures of one operation so far.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    clock: Clock,
    failed: u32,
    /// When it failed first.
    since: Option<Duration>,
}

impl Patience {
    /// Patience by this clock.
    pub(super) fn by(clock: &Clock) -> Self {
        Self {
            clock: clock.clone(),
            ..Self::default()
        }
    }

    /// Waits before the next try; gives the fault back if there is none. When it is told to stop it stays as unclear as it was what became of
    /// the operation.
    pub(crate) async fn wait(&mut self, fault: Fault, cancel: &CancellationToken) -> Outcome<()> {
        let Some(pause) = self.pause(fault.again) else {
            return Err(fault);
        };
        tokio::select! {
            biased;
            () = cancel.cancelled() => {
                let stopped = StorageError::new(ErrorKind::Cancelled, "wait", "told to stop");
                Err(Fault { unclear: fault.unclear, ..Fault::from(stopped) })
            }
            () = self.clock.sleep(pause) => Ok(()),
        }
    }

    fn pause(&mut self, again: Again) -> Option<Duration> {
        let Again::After(wished) = again else {
            return None;
        };
        self.failed += 1;
        if self.failed >= TRIES {
            return None;
        }
        let now = self.clock.elapsed();
        let elapsed = now.saturating_sub(*self.since.get_or_insert(now));
        let most = CAP.min(FIRST * 2_u32.pow(self.failed - 1));
        // Anything up to the most: many clients that failed together do not come back together.
        let chance = RandomState::new().hash_one(()) % 1024;
        let own = most.mul_f64(chance as f64 / 1023.0);
        let pause = own.max(wished.unwrap_or_default());
        (elapsed + pause <= TOTAL).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails until patience ends. The pauses, and the fault at the end.
    async fn fail(again: impl Fn(usize) -> Again, try_takes: Duration) -> (Vec<Duration>, Fault) {
        let (clock, cancel) = (Clock::pretended(), CancellationToken::new());
        let mut patience = Patience::by(&clock);
        let mut pauses = Vec::new();
        loop {
            clock.sleep(try_takes).await;
            let error = StorageError::new(ErrorKind::Temporary, "", "busy");
            let fault = Fault {
                again: again(pauses.len()),
                ..Fault::from(error)
            };
            let before = clock.elapsed();
            match patience.wait(fault, &cancel).await {
                Ok(()) => pauses.push(clock.elapsed() - before),
                Err(fault) => return (pauses, fault),
            }
        }
    }

    #[tokio::test]
    async fn pauses_grow_by_chance_and_end_by_number_time_and_wish() {
        let asked = |secs| Again::After(Some(Duration::from_secs(secs)));
        let (mut longest, mut rounds) = ([Duration::ZERO; TRIES as usize - 1], Vec::new());
        for _ in 0..200 {
            let (pauses, fault) = fail(|_| Again::After(None), Duration::ZERO).await;
            assert_eq!(pauses.len(), longest.len(), "as often as it is tried");
            assert_eq!(fault.error.kind(), ErrorKind::Temporary);
            for (number, pause) in pauses.iter().enumerate() {
                assert!(*pause <= CAP.min(FIRST * 2_u32.pow(number as u32)));
                longest[number] = longest[number].max(*pause);
            }
            rounds.push(pauses);
        }
        // Of 200 pauses the longest is near the most, and no two clients wait alike.
        for two in longest.windows(2) {
            assert!(two[1] > two[0].mul_f64(1.5), "{longest:?}");
        }
        rounds.dedup();
        assert!(rounds.len() > 150);

        // A storage's own wish is kept, unless it is longer than patience.
        let (pauses, _) = fail(|_| asked(25), Duration::ZERO).await;
        assert_eq!(pauses, [Duration::from_secs(25); 2]);
        assert!(fail(|_| asked(61), Duration::ZERO).await.0.is_empty());
        // The first try may take as long as it wants.
        let (pauses, _) = fail(|_| asked(1), Duration::from_secs(45)).await;
        assert_eq!(pauses, [Duration::from_secs(1); 2]);

        // What would fail again is not tried again, whenever that shows.
        let (pauses, fault) = fail(
            |failed| match failed {
                0 => asked(1),
                _ => Again::Never,
            },
            Duration::ZERO,
        )
        .await;
        assert_eq!((pauses.len(), fault.again), (1, Again::Never));
    }

    #[tokio::test]
    async fn who_is_told_to_stop_does_not_wait_and_knows_as_much_as_before() {
        let cancel = CancellationToken::new();
        let fault = Fault {
            again: Again::After(Some(Duration::from_secs(50))),
            unclear: true,
            ..Fault::from(StorageError::new(ErrorKind::Temporary, "", "busy"))
        };
        let mut patience = Patience::default();
        let told = async { cancel.cancel() };
        let (waited, ()) = tokio::join!(patience.wait(fault, &cancel), told);
        let stopped = waited.unwrap_err();
        assert_eq!(stopped.error.kind(), ErrorKind::Cancelled);
        assert!(stopped.unclear && stopped.again == Again::Never);
        assert!(patience.clock.elapsed() < Duration::from_secs(50));
    }
}
