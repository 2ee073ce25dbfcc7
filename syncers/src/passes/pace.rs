//! How often a path is looked at that changes all the time: each of its versions would be sent, and the one that it replaces kept in the
//! trash. Pure, on the clock of whoever asks.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use wl_core::model::SyncPath;
use wl_core::storage::Parts;

/// So many changes in a row go at once, each of them.
const MOST_AT_ONCE: u32 = 5;
/// Changes that are no further apart are in a row; those of large files may be as far apart as they weigh.
const ROW: Duration = Duration::from_secs(2);
/// How long a path is let alone at first; every further change in the row doubles it.
const FIRST_PACE: Duration = Duration::from_secs(1);
/// The longest that a small file is let alone.
const LONGEST_PACE: Duration = Duration::from_secs(10);
/// A large one is let alone a second for each so many bytes.
const BYTES_A_SECOND: u64 = 1 << 20;
/// But no longer than this.
const LONGEST_OF_ALL: Duration = Duration::from_secs(60);
/// So many paths are watched for that.
const MOST_BUSY: usize = 1024;

/// The paths that changed of late, and how often.
#[derive(Debug, Default)]
pub(super) struct Pace(BTreeMap<SyncPath, Busy>);

#[derive(Clone, Copy, Debug)]
struct Busy {
    last: Instant,
    row: u32,
    weight: Duration,
}

impl Busy {
    /// How long it is let alone after a look that carried a change over.
    fn pace(&self) -> Duration {
        match self.row.checked_sub(MOST_AT_ONCE) {
            None => Duration::ZERO,
            Some(more) => (FIRST_PACE * (1 << more.min(8))).min(LONGEST_PACE.max(self.weight)),
        }
    }

    /// A change after this is not in the row any more.
    fn ends(&self) -> Instant {
        self.last + self.pace() + ROW.max(self.weight)
    }
}

impl Pace {
    /// When it is the path's turn again, if it is one that changes all the time.
    pub(super) fn until(&self, path: &SyncPath) -> Option<Instant> {
        self.0.get(path).map(|busy| busy.last + busy.pace())
    }

    /// Something changed at these places and was carried over, so many bytes.
    pub(super) fn carried(&mut self, parts: &Parts, bytes: u64, now: Instant) {
        let places = || parts.paths().iter().chain(parts.subtrees());
        let each = bytes / places().count().max(1) as u64;
        let weight = Duration::from_secs(each / BYTES_A_SECOND).min(LONGEST_OF_ALL);
        self.0.retain(|_, busy| now < busy.ends());
        for path in places() {
            let row = self.0.get(path).map_or(0, |busy| busy.row);
            if row > 0 || self.0.len() < MOST_BUSY {
                let busy = Busy {
                    last: now,
                    row: row.saturating_add(1),
                    weight,
                };
                self.0.insert(path.clone(), busy);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn path(text: &str) -> SyncPath {
        SyncPath::new(text).unwrap()
    }

    fn at(text: &str) -> Parts {
        let mut parts = Parts::default();
        parts.add_path(path(text));
        parts
    }

    /// After how many seconds each change goes of a file of `bytes` that changes every `every`.
    fn sent(bytes: u64, every: Duration, times: usize) -> Vec<u64> {
        let start = Instant::now();
        let (mut pace, mut now, mut sent) = (Pace::default(), start, Vec::new());
        while sent.len() < times {
            if pace.until(&path("log")).is_none_or(|until| until <= now) {
                pace.carried(&at("log"), bytes, now);
                sent.push((now - start).as_secs());
            }
            now += every;
        }
        sent
    }

    #[test]
    fn the_first_changes_go_at_once_and_then_ever_more_seldom() {
        let every = Duration::from_millis(10);
        assert_eq!(
            sent(100, every, 12),
            [0, 0, 0, 0, 0, 1, 3, 7, 15, 25, 35, 45]
        );
    }

    #[test]
    fn a_large_file_goes_more_seldom_but_not_for_ever() {
        let every = Duration::from_millis(10);
        let of_30 = sent(30 * MIB, every, 40);
        assert_eq!(of_30[39] - of_30[38], 30);
        let of_3000 = sent(3000 * MIB, every, 40);
        assert_eq!(of_3000[39] - of_3000[38], 60);
        // Nor does it help to write it a little more seldom than a small one.
        let seldom = sent(3000 * MIB, Duration::from_secs(20), 40);
        assert_eq!(seldom[39] - seldom[38], 60);
        assert_eq!(sent(100, Duration::from_secs(20), 40)[39], 39 * 20);
    }

    #[test]
    fn a_path_that_was_quiet_goes_at_once_again() {
        let now = Instant::now();
        let mut pace = Pace::default();
        for _ in 0..20 {
            pace.carried(&at("log"), 1, now);
        }
        assert_eq!(pace.until(&path("log")), Some(now + LONGEST_PACE));
        assert_eq!(pace.until(&path("other")), None);
        let later = now + LONGEST_PACE + ROW;
        pace.carried(&at("log"), 1, later);
        assert_eq!(pace.until(&path("log")), Some(later));
    }

    #[test]
    fn memory_is_bounded_and_who_is_known_stays_known() {
        let now = Instant::now();
        let mut pace = Pace::default();
        for number in 0..2 * MOST_BUSY {
            pace.carried(&at(&number.to_string()), 1, now);
        }
        assert_eq!(pace.0.len(), MOST_BUSY);
        for _ in 0..10 {
            pace.carried(&at("0"), 1, now);
        }
        assert!(pace.until(&path("0")).unwrap() > now);
        pace.carried(&at("new"), 1, now + LONGEST_OF_ALL * 3);
        assert_eq!(pace.0.len(), 1);
    }
}
