//! Files that cannot be transferred are not read again at every look of a continuous run: each is tried ever more seldom, until
//! something changes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::unrest::Unrest;
use crate::machine;
use crate::model::{Side, Sides, SyncPath, Token};
use crate::storage::{ErrorKind, StorageError};

/// The first delay before a file that failed is tried again; every further failure doubles it.
const FIRST_DELAY: Duration = Duration::from_secs(10);
/// The longest delay.
const LONGEST_DELAY: Duration = Duration::from_secs(600);
/// So many files are remembered at the most; more are tried at every look.
const MOST: usize = 10_000;

/// What each side holds at a path: another version is another attempt.
pub(super) type Versions = Sides<Option<Token>>;

/// A continuous run's memory of the files that could not be transferred. It ends with the run: one that is begun anew tries
/// everything at once.
#[derive(Debug, Default)]
pub struct Patience {
    failed: Mutex<HashMap<SyncPath, Waiting>>,
    /// And what is written to at this moment.
    pub(super) unrest: Unrest,
}

#[derive(Debug)]
struct Waiting {
    versions: Versions,
    side: Side,
    error: StorageError,
    delay: Duration,
    until: Instant,
    /// What it needs on that side.
    size: u64,
    /// What was free there when it was last looked at.
    free: Option<u64>,
}

impl Patience {
    /// Why the path is not tried in this look, and on which side that was.
    pub(super) fn waits(
        &self,
        path: &SyncPath,
        versions: impl FnOnce() -> Versions,
    ) -> Option<(Side, StorageError)> {
        let all = self.lock();
        let waiting = all.get(path)?;
        let waits = Instant::now() < waiting.until && waiting.versions == versions();
        waits.then(|| (waiting.side, waiting.error.repeat()))
    }

    /// The transfer of these versions failed on `side`; it needs `size` bytes there.
    pub(super) fn failed(
        &self,
        path: &SyncPath,
        versions: Versions,
        (side, error): (Side, &StorageError),
        size: u64,
    ) {
        let now = Instant::now();
        let mut all = self.lock();
        let before = all
            .remove(path)
            .filter(|before| before.versions == versions);
        let (delay, free) = before.map_or((FIRST_DELAY, None), |before| {
            (LONGEST_DELAY.min(2 * before.delay), before.free)
        });
        if all.len() >= MOST {
            // Paths that are gone, or were tried and went well.
            all.retain(|_, waiting| now < waiting.until);
        }
        if all.len() >= MOST {
            return;
        }
        let waiting = Waiting {
            versions,
            side,
            error: error.repeat(),
            delay,
            until: now + jittered(delay),
            size,
            free,
        };
        all.insert(path.clone(), waiting);
    }

    /// Whether files wait for space on `side`.
    pub(super) fn wants_space(&self, side: Side) -> bool {
        self.lock().values().any(|waiting| waiting.lacks(side))
    }

    /// So many bytes are free on `side`: what fits now and had no chance before need not wait.
    pub(super) fn has_space(&self, side: Side, free: u64) {
        let now = Instant::now();
        for waiting in self.lock().values_mut().filter(|it| it.lacks(side)) {
            let before = waiting.free.replace(free);
            let grew = before.is_some_and(|before| before < waiting.size || before <= free / 2);
            if grew && free >= waiting.size {
                waiting.until = now;
                waiting.delay = FIRST_DELAY / 2;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SyncPath, Waiting>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn lacks(&self, side: Side) -> bool {
        self.side == side && self.error.kind() == ErrorKind::Full
    }
}

/// Three quarters to five quarters of it, so that what failed together is not tried together.
fn jittered(delay: Duration) -> Duration {
    let dice = machine::dice() as f64 / u64::MAX as f64;
    delay.mul_f64(0.75 + 0.5 * dice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> SyncPath {
        SyncPath::new("a").unwrap()
    }

    fn versions(token: &str) -> Versions {
        Sides::new(Some(Token::new(token)), None)
    }

    fn fails(patience: &Patience, token: &str, kind: ErrorKind) {
        let error = StorageError::new(kind, "stage", "no");
        patience.failed(&path(), versions(token), (Side::Target, &error), 100);
    }

    fn waits(patience: &Patience, token: &str) -> bool {
        patience.waits(&path(), || versions(token)).is_some()
    }

    /// How long it waits, to a second.
    async fn wait(patience: &Patience, token: &str) -> Duration {
        let began = Instant::now();
        while waits(patience, token) {
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn every_failure_doubles_the_delay_up_to_ten_minutes() {
        let patience = Patience::default();
        assert!(!waits(&patience, "1"));
        for seconds in [10, 20, 40, 80, 160, 320, 600, 600] {
            fails(&patience, "1", ErrorKind::Denied);
            let waited = wait(&patience, "1").await.as_secs_f64() / f64::from(seconds);
            assert!((0.75..=1.35).contains(&waited), "{seconds} s: {waited}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_version_is_tried_at_once_and_begins_anew() {
        let patience = Patience::default();
        for _ in 0..5 {
            fails(&patience, "1", ErrorKind::Denied);
        }
        assert!(waits(&patience, "1"));
        assert!(!waits(&patience, "2"));
        fails(&patience, "2", ErrorKind::Denied);
        assert!(wait(&patience, "2").await <= Duration::from_secs(13));
    }

    #[tokio::test(start_paused = true)]
    async fn what_lacks_space_is_tried_when_there_is_some() {
        for (kind, before, now, tried) in [
            (ErrorKind::Full, 99, 100, true),
            (ErrorKind::Full, 0, 99, false),
            // A quota, say: there was enough before, and it failed all the same.
            (ErrorKind::Full, 1000, 1001, false),
            (ErrorKind::Full, 1000, 2000, true),
            (ErrorKind::Denied, 0, 1000, false),
        ] {
            let patience = Patience::default();
            fails(&patience, "1", kind);
            assert_eq!(patience.wants_space(Side::Target), kind == ErrorKind::Full);
            assert!(!patience.wants_space(Side::Source));
            patience.has_space(Side::Target, before);
            patience.has_space(Side::Source, 1 << 40);
            assert!(waits(&patience, "1"));
            patience.has_space(Side::Target, now);
            assert_eq!(!waits(&patience, "1"), tried, "{kind:?} {before} {now}");
            // Should it fail again, what is free is no news.
            fails(&patience, "1", kind);
            patience.has_space(Side::Target, now);
            assert!(waits(&patience, "1"), "{kind:?} {before} {now}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_does_not_grow_without_end() {
        let patience = Patience::default();
        let error = StorageError::new(ErrorKind::Denied, "stage", "no");
        for number in 0..2 * MOST {
            let path = SyncPath::new(number.to_string()).unwrap();
            patience.failed(&path, versions("1"), (Side::Target, &error), 1);
        }
        assert_eq!(patience.lock().len(), MOST);
        tokio::time::advance(LONGEST_DELAY).await;
        fails(&patience, "1", ErrorKind::Denied);
        assert_eq!(patience.lock().len(), 1);
    }
}
