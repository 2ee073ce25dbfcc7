//! Limits that the user set, as arithmetic on a clock that is given.

use std::time::Duration;

/// What an idle bucket may give at once: as much as in this time.
const BURST: Duration = Duration::from_secs(1);

/// So much a second, and after a pause at most [`BURST`] at once. Whoever asks first gets first.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: u64,
    /// What was given is paid for at this time on the clock, in nanoseconds; `BURST` is added so that it is never negative.
    paid: u128,
}

impl Bucket {
    pub(super) fn new(per_second: u64) -> Self {
        Self {
            per_second: per_second.max(1),
            paid: 0,
        }
    }

    /// Gives `amount`, to be used after the time returned. `now` is the time since the bucket was made.
    pub(super) fn take(&mut self, now: Duration, amount: u64) -> Duration {
        let now = now.as_nanos() + BURST.as_nanos();
        let idle = now - BURST.as_nanos();
        let cost = u128::from(amount) * 1_000_000_000 / u128::from(self.per_second);
        self.paid = self.paid.max(idle) + cost;
        let wait = self.paid.saturating_sub(now);
        Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn in_any_time_there_is_no_more_than_the_rate_and_one_burst() {
        for rate in [1_u64, 3, 100, 1 << 20] {
            let mut bucket = Bucket::new(rate);
            let (mut now, mut given) = (Duration::ZERO, 0);
            for amount in (0..400).map(|n| n % (rate / 2 + 2)) {
                now += bucket.take(now, amount);
                given += u128::from(amount);
                let most = u128::from(rate) * (now + BURST).as_nanos() / 1_000_000_000;
                assert!(
                    given <= most + 1,
                    "{given} of {most} after {now:?} at {rate}"
                );
            }
            let least = u128::from(rate) * now.as_nanos() / 1_000_000_000;
            assert!(
                given + 2 >= least,
                "{given} of {least}: slower than it should be"
            );
        }
    }

    #[test]
    fn a_long_pause_saves_up_one_second_only() {
        let mut bucket = Bucket::new(10);
        let later = 3600 * SECOND;
        assert_eq!(bucket.take(later, 10), Duration::ZERO);
        assert_eq!(bucket.take(later, 10), SECOND);
        assert_eq!(bucket.take(later + SECOND, 10), SECOND);
    }

    #[test]
    fn huge_amounts_do_not_overflow() {
        let mut bucket = Bucket::new(1);
        assert!(bucket.take(Duration::ZERO, u64::MAX) > 3600 * SECOND);
        assert!(bucket.take(Duration::ZERO, u64::MAX) > 3600 * SECOND);
    }
}
