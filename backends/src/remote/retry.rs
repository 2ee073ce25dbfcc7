//! When to try again, as arithmetic: how long to wait, and when to give up.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::store::Again;

/// So often is an operation tried.
const TRIES: u32 = 8;
/// After this time it is not tried again.
const TOTAL: Duration = Duration::from_secs(60);
/// The longest pause of our own choice.
const CAP: Duration = Duration::from_secs(10);
/// The first pause is shorter than this; each may be twice as long as the one before.
const FIRST: Duration = Duration::from_millis(100);

/// How often one operation has failed so far.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    failed: u32,
}

impl Patience {
    /// How long to wait before the next try; `None`: give up. `elapsed` is the time since the first failure, `chance` any number.
    pub(crate) fn pause(
        &mut self,
        again: Again,
        elapsed: Duration,
        chance: u64,
    ) -> Option<Duration> {
        let Again::After(wished) = again else {
            return None;
        };
        self.failed += 1;
        if self.failed >= TRIES {
            return None;
        }
        let most = CAP.min(FIRST * 2_u32.pow((self.failed - 1).min(16)));
        // Anything up to the most: many clients that failed together do not come back together.
        let own = Duration::from_nanos(chance % (most.as_nanos() as u64 + 1));
        let pause = own.max(wished.unwrap_or_default());
        (elapsed + pause <= TOTAL).then_some(pause)
    }
}

/// A number that nobody else has.
pub(crate) fn chance() -> u64 {
    RandomState::new().hash_one(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGAIN: Again = Again::After(None);

    #[test]
    fn pauses_grow_to_the_cap_and_end() {
        let mut patience = Patience::default();
        let mut most = Vec::new();
        while let Some(pause) = {
            let mut worst = Duration::ZERO;
            let failed = patience.failed;
            for chance in (0..5000).map(|n| n * 2_000_003) {
                let mut here = Patience { failed };
                worst = worst.max(
                    here.pause(AGAIN, Duration::ZERO, chance)
                        .unwrap_or_default(),
                );
            }
            patience.pause(AGAIN, Duration::ZERO, 0).map(|_| worst)
        } {
            most.push(pause);
        }
        assert_eq!(most.len() as u32, TRIES - 1);
        assert!(most.iter().all(|pause| *pause <= CAP));
        assert!(most.windows(2).all(|two| two[0] <= two[1]), "{most:?}");
    }

    #[test]
    fn the_storage_s_own_wish_is_kept_unless_it_is_too_long() {
        let wish = |secs| Again::After(Some(Duration::from_secs(secs)));
        let mut patience = Patience::default();
        let pause = patience.pause(wish(30), Duration::ZERO, 7);
        assert_eq!(pause, Some(Duration::from_secs(30)));
        assert_eq!(patience.pause(wish(30), Duration::from_secs(31), 7), None);
        assert_eq!(Patience::default().pause(wish(61), Duration::ZERO, 7), None);
    }

    #[test]
    fn what_would_fail_again_is_not_tried_again() {
        assert_eq!(
            Patience::default().pause(Again::Never, Duration::ZERO, 0),
            None
        );
        assert_ne!(chance(), chance());
    }
}
