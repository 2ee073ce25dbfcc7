//! Where to look next, and when: pure, on the clock of whoever asks.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use wl_core::model::{Side, Sides, SyncPath};
use wl_core::storage::{Area, MOST_PLACES};

/// A path that did not come to rest, or failed, is looked at again after this long, then after twice as long, and so on.
const FIRST_REST: Duration = Duration::from_millis(50);
/// But never later than after this long.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// After this long a token of a local file says whether it changed. Later, so that many are looked at together.
const YOUNG: Duration = Duration::from_millis(250);
/// A path that moves on under so many looks is told as one that keeps changing.
const MOST_TRIES: u32 = 6;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Look here.
    Look(Area),
    /// Find out where this side changed.
    Sweep(Side),
    /// Nothing is due.
    Rest,
}

/// Where to look next.
#[derive(Debug)]
pub(super) struct Agenda {
    now: Area,
    /// Sides that may have changed anywhere.
    sweeps: Sides<bool>,
    /// Paths that are let alone for a while, whatever is said of them.
    resting: BTreeMap<SyncPath, Rest>,
    /// Paths that are looked at one time after the other.
    busy: BTreeMap<SyncPath, Busy>,
    /// Paths that changed so lately that they have to be looked at once more.
    young: BTreeMap<SyncPath, Instant>,
    everything: Instant,
    rescan: Duration,
}

/// A path that is looked at so often in a row is let alone for a while: each of its versions would be sent, and kept in the trash.
const MOST_IN_A_ROW: u32 = 5;
/// Looks that are no further apart are in a row.
const ROW: Duration = Duration::from_secs(2);
/// A path that changes all the time is looked at this often.
const LONGEST_PACE: Duration = Duration::from_secs(10);
/// So many paths are watched for that.
const MOST_BUSY: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Busy {
    last: Instant,
    row: u32,
}

impl Busy {
    /// How long it is let alone after a look.
    fn pace(&self) -> Duration {
        match self.row.checked_sub(MOST_IN_A_ROW) {
            None => Duration::ZERO,
            Some(more) => Duration::from_secs(1 << more.min(8)).min(LONGEST_PACE),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Instant,
    tries: u32,
}

impl Agenda {
    /// Everything is due at once, and again every `rescan`.
    pub(super) fn new(rescan: Duration, now: Instant) -> Self {
        Self {
            now: Area::Everything,
            sweeps: Sides::default(),
            resting: BTreeMap::new(),
            busy: BTreeMap::new(),
            young: BTreeMap::new(),
            everything: now + rescan,
            rescan,
        }
    }

    /// Something may have changed here.
    pub(super) fn add(&mut self, area: Area, now: Instant) {
        match area {
            Area::Everything => self.now = Area::Everything,
            Area::Parts(parts) => {
                for path in parts.subtrees() {
                    self.now.add_subtree(path.clone());
                }
                for path in parts.paths() {
                    let busy = self.busy.get(path).map(|busy| busy.last + busy.pace());
                    if self.resting.contains_key(path) {
                        // It is looked at when it has rested.
                    } else if let Some(until) = busy.filter(|until| *until > now) {
                        let rest = Rest { until, tries: 0 };
                        self.resting.insert(path.clone(), rest);
                    } else {
                        self.now.add_path(path.clone());
                    }
                }
            }
        }
    }

    /// Anything may have changed on `side`, and nothing is said of the other.
    pub(super) fn sweep(&mut self, side: Side) {
        self.sweeps[side] = true;
    }

    /// What to do now. What one path needs goes before what all of a side needs.
    pub(super) fn take(&mut self, now: Instant) -> Next {
        let all = self.everything <= now
            || self.now == Area::Everything
            || (self.sweeps.source && self.sweeps.target);
        if all {
            self.now = Area::default();
            self.sweeps = Sides::default();
            self.everything = now + self.rescan;
            return Next::Look(Area::Everything);
        }
        let mut area = std::mem::take(&mut self.now);
        for (path, rest) in &self.resting {
            if rest.until <= now {
                area.add_path(path.clone());
            }
        }
        for (path, due) in &self.young {
            if *due <= now {
                area.add_path(path.clone());
            }
        }
        if !area.is_empty() {
            return Next::Look(area);
        }
        for side in Side::BOTH {
            if std::mem::take(&mut self.sweeps[side]) {
                return Next::Sweep(side);
            }
        }
        Next::Rest
    }

    /// `area` was looked at, and these paths in it have to be looked at again. Whether one of them was so often that it should be told.
    pub(super) fn looked(&mut self, area: &Area, again: &[SyncPath], now: Instant) -> bool {
        self.young.retain(|path, _| !area.holds(path));
        self.pace(area, now);
        let before: BTreeMap<_, _> = match area {
            Area::Everything => std::mem::take(&mut self.resting),
            Area::Parts(_) => self
                .resting
                .extract_if(.., |path, _| area.holds(path))
                .collect(),
        };
        let mut often = false;
        for path in again {
            let tries = before.get(path).map_or(0, |rest| rest.tries) + 1;
            often |= tries >= MOST_TRIES;
            let longer = FIRST_REST * 2_u32.saturating_pow(tries.min(16) - 1);
            let until = now + longer.min(LONGEST_REST);
            self.resting.insert(path.clone(), Rest { until, tries });
        }
        if self.resting.len() > MOST_PLACES {
            // Too many to be told apart: all of them are looked at with everything else.
            self.resting.clear();
            self.everything = self.everything.min(now + LONGEST_REST);
        }
        often
    }

    /// Counts looks that follow each other.
    fn pace(&mut self, area: &Area, now: Instant) {
        let Area::Parts(parts) = area else { return };
        if self.busy.len() + parts.paths().len() > MOST_BUSY {
            self.busy
                .retain(|_, busy| now < busy.last + busy.pace() + ROW);
        }
        for path in parts.paths() {
            if let Some(busy) = self.busy.get_mut(path) {
                let in_row = now < busy.last + busy.pace() + ROW;
                busy.row = if in_row { busy.row + 1 } else { 1 };
                busy.last = now;
            } else if self.busy.len() < MOST_BUSY {
                self.busy.insert(path.clone(), Busy { last: now, row: 1 });
            }
        }
    }

    /// Everything is to be looked at within this time.
    pub(super) fn everything_within(&mut self, time: Duration, now: Instant) {
        self.everything = self.everything.min(now + time);
    }

    /// These paths of what was looked at are too young to be known.
    pub(super) fn confirm(&mut self, young: Vec<SyncPath>, now: Instant) {
        for path in young {
            // With too many the next look at everything finds it out.
            if self.young.len() < MOST_PLACES {
                self.young.insert(path, now + YOUNG);
            }
        }
    }

    /// When something is due by itself.
    pub(super) fn due(&self) -> Instant {
        let rests = self.resting.values().map(|rest| rest.until);
        let rests = rests.chain(self.young.values().copied());
        rests.fold(self.everything, Instant::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn path(text: &str) -> SyncPath {
        SyncPath::new(text).unwrap()
    }

    fn started(now: Instant) -> Agenda {
        let mut agenda = Agenda::new(HOUR, now);
        assert_eq!(agenda.take(now), Next::Look(Area::Everything));
        agenda.looked(&Area::Everything, &[], now);
        agenda
    }

    #[test]
    fn everything_is_due_at_first_and_every_so_often() {
        let now = Instant::now();
        let mut agenda = started(now);
        assert_eq!(agenda.take(now), Next::Rest);
        assert_eq!(agenda.due(), now + HOUR);
        assert_eq!(agenda.take(now + HOUR), Next::Look(Area::Everything));
        assert_eq!(agenda.due(), now + 2 * HOUR);
        agenda.add(Area::Everything, now);
        let later = now + HOUR + HOUR / 2;
        assert_eq!(agenda.take(later), Next::Look(Area::Everything));
        assert_eq!(agenda.due(), later + HOUR, "whoever asked for it");
    }

    #[test]
    fn what_is_said_is_due_at_once() {
        let now = Instant::now();
        let mut agenda = started(now);
        agenda.add(Area::path(path("a")), now);
        agenda.add(Area::subtree(path("b")), now);
        let mut area = Area::path(path("a"));
        area.add_subtree(path("b"));
        assert_eq!(agenda.take(now), Next::Look(area));
        assert_eq!(agenda.take(now), Next::Rest);
    }

    #[test]
    fn a_path_that_does_not_come_to_rest_is_let_alone_longer_and_longer() {
        let now = Instant::now();
        let mut agenda = started(now);
        let busy = Area::path(path("busy"));
        let (mut at, mut rests, mut told) = (now, Vec::new(), Vec::new());
        for _ in 0..20 {
            told.push(agenda.looked(&busy, &[path("busy")], at));
            // Events come all the time.
            agenda.add(busy.clone(), at);
            assert_eq!(agenda.take(at), Next::Rest);
            rests.push(agenda.due() - at);
            at = agenda.due();
            assert_eq!(agenda.take(at), Next::Look(busy.clone()));
        }
        assert_eq!(rests[0], FIRST_REST);
        assert_eq!(rests[1], FIRST_REST * 2);
        assert_eq!(rests[19], LONGEST_REST);
        assert_eq!(
            told.iter().position(|told| *told),
            Some(MOST_TRIES as usize - 1)
        );
        agenda.looked(&busy, &[], at);
        agenda.add(busy.clone(), now);
        assert_eq!(agenda.take(at), Next::Look(busy), "at rest again");
    }

    #[test]
    fn a_path_that_changes_all_the_time_is_looked_at_at_a_pace() {
        let start = Instant::now();
        let mut agenda = started(start);
        let log = Area::path(path("log"));
        let (mut now, mut looks) = (start, Vec::new());
        while now < start + Duration::from_secs(60) {
            agenda.add(log.clone(), now);
            if agenda.take(now) == Next::Look(log.clone()) {
                looks.push((now - start).as_millis());
                agenda.looked(&log, &[], now);
            }
            now += Duration::from_millis(10);
        }
        assert_eq!(looks[..5], [0, 10, 20, 30, 40], "at once at first");
        assert!(looks.len() < 5 + 12, "{looks:?}");
        assert_eq!(looks[5], 1040);
        // Left alone, it is at once again.
        now += LONGEST_PACE + ROW;
        let _ = agenda.take(now);
        agenda.looked(&log, &[], now);
        now += LONGEST_PACE + ROW;
        agenda.looked(&log, &[], now);
        agenda.add(log.clone(), now + Duration::from_millis(1));
        assert_eq!(agenda.take(now), Next::Look(log));
    }

    #[test]
    fn a_young_path_is_looked_at_once_more_and_at_once_if_it_changes() {
        let now = Instant::now();
        let mut agenda = started(now);
        let fresh = Area::path(path("fresh"));
        agenda.confirm(vec![path("fresh")], now);
        assert_eq!(agenda.take(now), Next::Rest);
        assert_eq!(agenda.due(), now + YOUNG);
        agenda.add(fresh.clone(), now);
        assert_eq!(agenda.take(now), Next::Look(fresh.clone()));
        agenda.looked(&fresh, &[], now);
        agenda.confirm(vec![path("fresh")], now);
        assert_eq!(agenda.take(now + YOUNG), Next::Look(fresh.clone()));
        agenda.looked(&fresh, &[], now + YOUNG);
        assert_eq!(agenda.due(), now + HOUR);
    }

    #[test]
    fn a_resting_path_is_looked_at_with_what_holds_it() {
        let now = Instant::now();
        let mut agenda = started(now);
        agenda.looked(&Area::path(path("a/x")), &[path("a/x")], now);
        agenda.add(Area::subtree(path("a")), now);
        let area = Area::subtree(path("a"));
        assert_eq!(agenda.take(now), Next::Look(area.clone()));
        agenda.looked(&area, &[], now);
        assert_eq!(agenda.due(), now + HOUR);
    }

    #[test]
    fn a_side_that_may_have_changed_anywhere_is_swept_and_both_are_everything() {
        let now = Instant::now();
        let mut agenda = started(now);
        agenda.sweep(Side::Target);
        agenda.add(Area::path(path("a")), now);
        assert_eq!(
            agenda.take(now),
            Next::Look(Area::path(path("a"))),
            "what is quick comes first"
        );
        assert_eq!(agenda.take(now), Next::Sweep(Side::Target));
        assert_eq!(agenda.take(now), Next::Rest);
        Side::BOTH.into_iter().for_each(|side| agenda.sweep(side));
        assert_eq!(agenda.take(now), Next::Look(Area::Everything));
        assert_eq!(agenda.take(now), Next::Rest);
        agenda.sweep(Side::Source);
        agenda.add(Area::Everything, now);
        assert_eq!(agenda.take(now), Next::Look(Area::Everything));
        assert_eq!(agenda.take(now), Next::Rest, "it was for that side too");
    }

    #[test]
    fn memory_is_bounded() {
        let now = Instant::now();
        let mut agenda = started(now);
        let many: Vec<_> = (0..=MOST_PLACES).map(|n| path(&n.to_string())).collect();
        agenda.looked(&Area::Everything, &many, now);
        assert!(agenda.resting.is_empty());
        assert_eq!(agenda.due(), now + LONGEST_REST);
        assert_eq!(agenda.take(agenda.due()), Next::Look(Area::Everything));
    }
}
