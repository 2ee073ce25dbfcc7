//! What is written to at this moment, in a continuous run: a large file is not read, nor a group, while the last write is a moment ago. Nearly
//! always that would be in vain. Nor is any new version of a file where size is limited: it may be the beginning of one that is too large, and
//! the end would never follow. But what never rests is tried once in a while: it may be whole between two writes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use tokio::time::Instant;

use crate::machine;
use crate::model::{ContentHash, Kind, Meta, SyncPath, Timestamp};

/// A file of this size is worth waiting for: to read it in vain costs more than a moment.
pub(super) const WORTH_WAITING: u64 = 4 << 20;
/// So long ago is the last write of a large file that is at rest, as far as the wall clock tells; twice as long after each time that it was
/// read in vain, ...
const MOMENT: Duration = Duration::from_millis(500);
/// ... up to this.
const LONGEST_MOMENT: Duration = Duration::from_secs(8);
/// What has been written to for so long is tried all the same, ...
const LONGEST: Duration = Duration::from_secs(30);
/// ... and if that is in vain, so often before it is let be again.
const TRIES: u32 = 16;
/// So many paths are remembered at the most; more are tried at every look.
const MOST: usize = 10_000;

/// What is known of paths that are written to.
#[derive(Debug, Default)]
pub(super) struct Unrest {
    let_be: Mutex<HashMap<SyncPath, LetBe>>,
    /// What groups that could not be transferred were like.
    prints: Mutex<HashMap<SyncPath, ContentHash>>,
}

#[derive(Debug)]
struct LetBe {
    since: Instant,
    /// How often it was tried since that was long enough.
    tries: u32,
    moment: Duration,
}

impl LetBe {
    fn new(since: Instant) -> Self {
        Self {
            since,
            tries: 0,
            moment: MOMENT,
        }
    }

    /// One that nobody asked for in the meantime is gone, or begins anew.
    fn holds(&self, now: Instant) -> bool {
        now - self.since < 2 * LONGEST
    }
}

impl Unrest {
    /// Whether the path, last written to so long ago (`None`: long ago), is let be in this look.
    pub(super) fn lets_be(&self, path: &SyncPath, age: Option<Duration>) -> bool {
        let now = Instant::now();
        let mut all = lock(&self.let_be);
        let known = all.get_mut(path).filter(|one| one.holds(now));
        let moment = known.as_ref().map_or(MOMENT, |one| one.moment);
        let is_young = age.is_some_and(|age| age < moment);
        match known {
            None if !is_young => return false,
            Some(one) if !is_young => {
                (one.since, one.tries) = (now, 0);
                return false;
            }
            Some(one) if now - one.since < LONGEST => return true,
            Some(one) if one.tries < TRIES => {
                one.tries += 1;
                return false;
            }
            Some(one) => (one.since, one.tries) = (now, 0),
            None => return insert(&mut all, path, LetBe::new(now)),
        }
        true
    }

    /// It was written to while it was read.
    pub(super) fn was_read_in_vain(&self, path: &SyncPath) {
        let now = Instant::now();
        let mut all = lock(&self.let_be);
        let known = all.remove(path).filter(|one| one.holds(now));
        let mut one = known.unwrap_or_else(|| LetBe::new(now));
        one.moment = LONGEST_MOMENT.min(2 * one.moment);
        insert(&mut all, path, one);
    }

    /// Whether the group is another than when it was tried last: somebody is at work in it, and has left nothing behind.
    pub(super) fn moves_on(&self, group: &SyncPath, print: ContentHash) -> bool {
        let mut all = lock(&self.prints);
        if all.len() >= MOST && !all.contains_key(group) {
            all.clear();
        }
        let before = all.insert(group.clone(), print);
        before.is_some_and(|before| before != print)
    }

    /// All of it was read.
    pub(super) fn was_read(&self, path: &SyncPath) {
        lock(&self.let_be).remove(path);
        lock(&self.prints).remove(path);
    }
}

/// Remembers it, unless there are too many; returns whether it did.
fn insert(all: &mut HashMap<SyncPath, LetBe>, path: &SyncPath, one: LetBe) -> bool {
    if all.len() >= MOST {
        let now = Instant::now();
        all.retain(|_, one| one.holds(now));
    }
    let has_room = all.len() < MOST;
    if has_room {
        all.insert(path.clone(), one);
    }
    has_room
}

/// How long ago it was written to, if it is so large that it is not read in vain, and that is not long ago.
pub(super) fn age_of_large(meta: &Meta) -> Option<Duration> {
    age_of_file(meta).filter(|_| meta.size >= WORTH_WAITING)
}

/// How long ago the file was written to, if that is not long ago.
pub(super) fn age_of_file(meta: &Meta) -> Option<Duration> {
    let mtime = meta.mtime.filter(|_| meta.kind == Kind::File)?;
    age(mtime, now())
}

fn now() -> Timestamp {
    // Before 1970 nothing is young.
    let since = machine::wall().duration_since(UNIX_EPOCH);
    let since = since.unwrap_or_default();
    Timestamp {
        secs: since.as_secs() as i64,
        nanos: since.subsec_nanos(),
    }
}

/// The clock of another machine may say anything, and a program may set any time: what is not told to be young is taken for old.
fn age(mtime: Timestamp, now: Timestamp) -> Option<Duration> {
    let nanos = |time: Timestamp| i128::from(time.secs) * 1_000_000_000 + i128::from(time.nanos);
    let age = u64::try_from(nanos(now) - nanos(mtime)).ok()?;
    Some(Duration::from_nanos(age)).filter(|age| *age < LONGEST_MOMENT)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const YOUNG: Option<Duration> = Some(Duration::ZERO);

    fn path(text: &str) -> SyncPath {
        SyncPath::new(text).unwrap()
    }

    /// After how many seconds it is tried, if it is looked at every half second.
    async fn tried(unrest: &Unrest) -> u64 {
        let began = Instant::now();
        while unrest.lets_be(&path("a"), YOUNG) {
            tokio::time::advance(Duration::from_millis(500)).await;
        }
        began.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_rests_is_tried_once_in_a_while_and_a_few_times_in_vain() {
        let unrest = Unrest::default();
        for _ in 0..3 {
            assert_eq!(tried(&unrest).await, LONGEST.as_secs());
            for _ in 1..TRIES {
                assert_eq!(tried(&unrest).await, 0);
            }
        }
        tried(&unrest).await;
        unrest.was_read(&path("a"));
        assert_eq!(tried(&unrest).await, LONGEST.as_secs(), "not in vain");
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_to_rest_begins_anew_and_so_does_what_was_forgotten() {
        let unrest = Unrest::default();
        assert!(unrest.lets_be(&path("a"), YOUNG));
        tokio::time::advance(LONGEST).await;
        assert!(!unrest.lets_be(&path("a"), None));
        assert_eq!(tried(&unrest).await, LONGEST.as_secs());
        unrest.was_read(&path("a"));
        assert!(unrest.lets_be(&path("a"), YOUNG));
        tokio::time::advance(2 * LONGEST).await;
        assert_eq!(tried(&unrest).await, LONGEST.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let unrest = Unrest::default();
        for number in 0..MOST + 9 {
            unrest.lets_be(&path(&number.to_string()), YOUNG);
            unrest.moves_on(&path(&number.to_string()), ContentHash::from_bytes([0; 32]));
        }
        assert_eq!(lock(&unrest.let_be).len(), MOST);
        assert!(lock(&unrest.prints).len() <= MOST);
        tokio::time::advance(2 * LONGEST).await;
        assert!(unrest.lets_be(&path("a"), YOUNG));
        assert_eq!(lock(&unrest.let_be).len(), 1);
    }

    #[test]
    fn a_group_moves_on_if_it_is_another_than_at_the_last_try() {
        let unrest = Unrest::default();
        let print = |byte| ContentHash::from_bytes([byte; 32]);
        let told = [1, 1, 2, 2, 1].map(|byte| unrest.moves_on(&path("a"), print(byte)));
        assert_eq!(told, [false, false, true, false, true]);
        unrest.was_read(&path("a"));
        assert!(!unrest.moves_on(&path("a"), print(3)));
    }

    /// Somebody who writes in bursts: what was read in vain has to be quiet for longer.
    #[tokio::test(start_paused = true)]
    async fn what_is_read_in_vain_has_growing_pauses() {
        let unrest = Unrest::default();
        let mut moments = Vec::new();
        for _ in 0..6 {
            let is_let_be =
                |&millis: &u64| unrest.lets_be(&path("a"), Some(Duration::from_millis(millis)));
            let longest = [0, 499, 500, 999, 1999, 3999, 7999]
                .into_iter()
                .rfind(is_let_be);
            moments.push(longest.unwrap());
            assert!(!unrest.lets_be(&path("a"), None));
            unrest.was_read_in_vain(&path("a"));
        }
        assert_eq!(moments, [499, 999, 1999, 3999, 7999, 7999]);
        unrest.was_read(&path("a"));
        assert!(!unrest.lets_be(&path("a"), Some(MOMENT)));
    }

    #[test]
    fn only_what_the_clock_tells_to_be_young_is_young() {
        let at = |secs, nanos| Timestamp { secs, nanos };
        for (mtime, now, millis) in [
            (at(10, 0), at(10, 0), Some(0)),
            (at(9, 600_000_000), at(10, 0), Some(400)),
            (at(2, 0), at(10, 0), None),
            (at(10, 1), at(10, 0), None),
            (at(-1, 999_000_000), at(0, 0), Some(1)),
            (at(i64::MIN, 0), at(i64::MAX, 0), None),
        ] {
            let age = age(mtime, now).map(|age| age.as_millis());
            assert_eq!(age, millis, "{mtime:?} {now:?}");
        }
    }
}
