//! Where to look next, and when: pure, on the clock of whoever asks.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use wl_core::model::{Side, Sides, SyncPath};
use wl_core::planted::{Bug, planted};
use wl_core::storage::{Area, Effort, MOST_PLACES};
use wl_core::sync::{Group, Pending};

use super::pace::Pace;

/// A path that did not come to rest, or failed, is looked at again after this long, then after twice as long, and so on.
const FIRST_REST: Duration = Duration::from_millis(50);
/// One that is being written to, and was not read because of that, costs a look and no more.
const WRITTEN_REST: Duration = Duration::from_millis(500);
/// But never later than after this long.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// After this long a token of a local file says whether it changed. Later, so that many are looked at together.
const YOUNG: Duration = Duration::from_millis(250);
/// A group is looked at when nothing was said of it for this long, or for a tenth of the time that it has been changing, if that is more.
const QUIET_GROUP: Duration = Duration::from_millis(200);
const QUIET_SHARE: u32 = 10;
/// A path that moves on under so many looks is told as one that keeps changing.
const MOST_TRIES: u32 = 6;
/// With more places than this to be looked at at once, the look takes so long that somebody may ask meanwhile.
const FEW: usize = 256;

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

/// When a path is looked at once more, and how often it was for nothing.
#[derive(Debug)]
struct Young {
    due: Instant,
    tries: u32,
}

/// Where to look next.
#[derive(Debug)]
pub(super) struct Agenda {
    now: Area,
    /// What of it was told to have changed, as far as that are few places.
    told: Area,
    /// Sides that may have changed anywhere.
    sweeps: Sides<bool>,
    /// Sides of which changes may have gone untold, since then, until they have been looked at.
    gaps: Sides<Option<Instant>>,
    /// Paths that are let alone for a while, whatever is said of them.
    resting: BTreeMap<SyncPath, Rest>,
    /// How often what changes all the time is looked at.
    pace: Pace,
    /// Paths that changed so lately that they have to be looked at once more.
    young: BTreeMap<SyncPath, Young>,
    /// Those of them that were looked at as their time had come, how often one after the other. A clock that was set back makes them young for long.
    confirmed: BTreeMap<SyncPath, u32>,
    /// Groups of which something was said: they are let alone until they are quiet.
    groups: BTreeMap<SyncPath, Changing>,
    /// More waited than can be told apart: the next look at everything finds it.
    many: bool,
    everything: Instant,
    rescan: Duration,
    effort: Effort,
    /// Before this everything is not looked at by itself, however much asks for it: the last look took too long.
    breath: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Instant,
    /// How often it moved on under a look, or failed; none: it waits for its turn.
    tries: u32,
    /// Somebody is writing to it.
    written: bool,
}

impl Rest {
    /// It changes all the time, and waits for its turn.
    fn turn(until: Instant) -> Self {
        Self {
            until,
            tries: 0,
            written: false,
        }
    }

    /// Whether no report tells of it.
    fn is_untold(&self) -> bool {
        self.tries == 0 || self.written
    }
}

#[derive(Clone, Debug)]
struct Changing {
    group: Group,
    since: Instant,
    until: Instant,
}

impl Changing {
    /// Something was said of it: it is not quiet yet. But it is never let alone for longer than anything else.
    fn stir(&mut self, now: Instant) {
        let quiet = QUIET_GROUP.max((now - self.since) / QUIET_SHARE);
        self.until = (now + quiet).min(self.since + LONGEST_REST);
    }
}

impl Agenda {
    /// Everything is due at once, and again every `rescan`.
    pub(super) fn new(rescan: Duration, now: Instant) -> Self {
        Self {
            now: Area::default(),
            told: Area::default(),
            sweeps: Sides::default(),
            gaps: Sides::default(),
            resting: BTreeMap::new(),
            pace: Pace::default(),
            young: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            groups: BTreeMap::new(),
            many: false,
            everything: now,
            rescan,
            effort: Effort::default(),
            breath: now,
        }
    }

    /// The watcher of `side` said this. `polls`: whose watchers know of no change by themselves and ask for looks every so often.
    pub(super) fn heard(&mut self, side: Side, area: Area, polls: &Sides<bool>, now: Instant) {
        match area {
            // Both ask every so often: one look serves both.
            Area::Everything if polls[side.other()] => self.look_at_all(now),
            Area::Everything => self.sweep(side),
            Area::Parts(_) => self.add(area, now),
        }
    }

    /// Everything is to be looked at, though nothing is known to have changed.
    pub(super) fn look_at_all(&mut self, now: Instant) {
        self.everything = self.everything.min(now);
    }

    /// Something may have changed here.
    pub(super) fn add(&mut self, area: Area, now: Instant) {
        let parts = match area {
            Area::Everything => {
                self.now = Area::Everything;
                return;
            }
            Area::Parts(parts) => parts,
        };
        for path in parts.subtrees() {
            if !self.is_of_group(path, now) {
                self.now.add_subtree(path.clone());
            }
        }
        for path in parts.paths() {
            // What rests is looked at when it has rested.
            if !self.is_of_group(path, now)
                && !self.resting.contains_key(path)
                && !self.waits_for_its_turn(path, now)
            {
                self.now.add_path(path.clone());
            }
        }
        if parts.stands_for_many() {
            self.now.stand_for_many();
        }
        self.keep_small(now);
    }

    /// Whether the path was carried over so often of late that it is let alone for a while.
    fn waits_for_its_turn(&mut self, path: &SyncPath, now: Instant) -> bool {
        let until = self.pace.until(path).filter(|until| *until > now);
        if let Some(until) = until {
            self.resting.insert(path.clone(), Rest::turn(until));
        }
        until.is_some()
    }

    /// Whether the path is part of a group, which then waits until it is quiet.
    fn is_of_group(&mut self, path: &SyncPath, now: Instant) -> bool {
        let group = match Group::by_name(path) {
            Some(group) => group,
            // That it is a database, what lies beside it has told.
            None => match self.groups.get(path) {
                Some(changing) => changing.group.clone(),
                None => return false,
            },
        };
        if self.resting.contains_key(&group.path) {
            return true;
        }
        let changing = self.groups.entry(group.path.clone());
        let changing = changing.or_insert(Changing {
            group,
            since: now,
            until: now,
        });
        let path = changing.group.path.clone();
        changing.stir(now);
        if let Some(turn) = self.pace.until(&path) {
            changing.until = changing.until.max(turn);
        }
        if self.groups.len() > MOST_PLACES {
            // Too many to be told apart.
            self.groups.clear();
            self.many = true;
            self.everything_within(LONGEST_REST, now);
        }
        true
    }

    /// The same, and somebody says that it has.
    pub(super) fn changed(&mut self, area: Area, now: Instant) {
        if let (Area::Parts(parts), Area::Parts(told)) = (&area, &self.told)
            && parts.len() + told.len() <= FEW
        {
            self.told.add(area.clone());
        }
        self.add(area, now);
    }

    /// What the watcher of `side` should have said may be missing: until [`Self::swept`] nobody knows.
    pub(super) fn missed(&mut self, side: Side, now: Instant) {
        self.gaps[side].get_or_insert(now);
    }

    /// All of `side` was looked at, which began at `began`. Whether something may have been missing.
    pub(super) fn swept(&mut self, side: Side, began: Instant) -> bool {
        self.gaps[side].take_if(|since| *since <= began).is_some()
    }

    /// Anything may have changed on `side`, and nothing is said of the other.
    pub(super) fn sweep(&mut self, side: Side) {
        self.sweeps[side] = true;
    }

    /// What to do now. What one path needs goes before what all of a side needs.
    pub(super) fn take(&mut self, now: Instant) -> Next {
        self.told = Area::default();
        let all = self.everything <= now
            || self.now == Area::Everything
            || (self.sweeps.source && self.sweeps.target);
        if all {
            self.now = Area::default();
            self.sweeps = Sides::default();
            self.groups.clear();
            self.everything = now + self.rescan;
            return Next::Look(Area::Everything);
        }
        let mut area = std::mem::take(&mut self.now);
        for (path, rest) in &self.resting {
            if rest.until <= now {
                match Group::by_name(path) {
                    Some(group) if group.path == *path => area.add(group.area()),
                    _ => area.add_path(path.clone()),
                }
            }
        }
        for (path, young) in &self.young {
            if young.due <= now {
                area.add_path(path.clone());
            }
        }
        let groups = self.groups.extract_if(.., |path, changing| {
            changing.until <= now || area.holds(path)
        });
        let groups: Vec<_> = groups.map(|(_, changing)| changing.group.area()).collect();
        groups.into_iter().for_each(|group| area.add(group));
        if area == Area::Everything {
            self.everything = now + self.rescan;
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
        let looked = self.young.extract_if(.., |path, _| area.holds(path));
        let due = looked.filter(|(_, young)| young.due <= now);
        self.confirmed = due.map(|(path, young)| (path, young.tries + 1)).collect();
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
            if !planted(Bug::RestIsForgotten) {
                let rest = Rest {
                    until,
                    tries,
                    written: false,
                };
                self.resting.insert(path.clone(), rest);
            }
        }
        if *area == Area::Everything {
            self.many = false;
        }
        self.keep_small(now);
        often
    }

    /// These of the paths that have to be looked at again are written to by somebody: for as long as that goes on they wait for their time.
    pub(super) fn written(&mut self, paths: &[SyncPath]) {
        for path in paths {
            if let Some(rest) = self.resting.get_mut(path) {
                rest.written = true;
            }
        }
    }

    /// These of the paths that are written to were not even read: that is no try, and what is tried later begins anew.
    pub(super) fn let_be(&mut self, paths: &[SyncPath], now: Instant) {
        for path in paths {
            if let Some(rest) = self.resting.get_mut(path) {
                rest.tries = 0;
                rest.until = now + WRITTEN_REST;
            }
        }
    }

    /// What changed in `area` was carried over: so many bytes.
    pub(super) fn carried(&mut self, area: &Area, bytes: u64, now: Instant) {
        if let Area::Parts(parts) = area {
            self.pace.carried(parts, bytes, now);
        }
    }

    /// Too many to be told apart are looked at with everything else.
    fn keep_small(&mut self, now: Instant) {
        if self.resting.len() > MOST_PLACES {
            self.many |= self.resting.values().any(|rest| rest.is_untold());
            self.resting.clear();
            self.everything_within(LONGEST_REST, now);
        }
    }

    /// Everything is to be looked at within this time, or as soon as can be.
    pub(super) fn everything_within(&mut self, time: Duration, now: Instant) {
        self.everything = self.everything.min((now + time).max(self.breath));
    }

    /// Everything was looked at, and that took so long; `worked`: something was carried over as well.
    pub(super) fn looked_at_all(&mut self, took: Duration, worked: bool, now: Instant) {
        let pause = self.effort.spent(took, worked).min(self.rescan);
        self.breath = now + pause;
        self.everything = self.everything.max(self.breath);
    }

    /// These paths of what was looked at are too young to be known.
    pub(super) fn confirm(&mut self, young: Vec<SyncPath>, now: Instant) {
        for path in young {
            // With too many the next look at everything finds it out.
            if self.young.len() < MOST_PLACES
                && !self.resting.contains_key(&path)
                && !self.waits_for_its_turn(&path, now)
            {
                let tries = self.confirmed.get(&path).copied().unwrap_or(0);
                let longer = YOUNG * 2_u32.saturating_pow(tries.min(16));
                let due = now + longer.min(LONGEST_REST);
                self.young.insert(path, Young { due, tries });
            }
        }
    }

    /// What changed, or may have, and waits for its time or for a look that takes a while. What was tried so often that it is told for itself is
    /// not meant.
    pub(super) fn pending(&self, now: Instant) -> Pending {
        let resting = self.resting.iter();
        let turns = resting.filter(|(_, rest)| rest.is_untold() || rest.tries < MOST_TRIES);
        let turns = turns.map(|(path, rest)| (path, rest.until));
        let groups = self.groups.iter();
        let groups = groups.map(|(path, changing)| (path, changing.until));
        let mut pending = Pending::default();
        for (path, until) in turns.chain(groups) {
            pending.add(path.clone(), until);
        }
        if self.many {
            pending.add_more(MOST_PLACES as u64, self.everything);
        }
        for side in Side::BOTH {
            if let Some(since) = self.gaps[side] {
                pending.add_anywhere(since);
            }
        }
        match &self.now {
            Area::Everything => pending.add_anywhere(now),
            Area::Parts(parts) if parts.stands_for_many() => {
                pending.add_more(MOST_PLACES as u64, now);
            }
            Area::Parts(parts) if parts.len() > FEW => pending.add_more(parts.len() as u64, now),
            Area::Parts(_) => {}
        }
        pending
    }

    /// The same, with the few places that are looked at next: that such a look takes long is not known before.
    pub(super) fn pending_with_few(&self, now: Instant) -> Pending {
        let mut pending = self.pending(now);
        if let (Area::Parts(all), Area::Parts(told)) = (&self.now, &self.told)
            && !all.stands_for_many()
            && all.len() <= FEW
        {
            // What waits for its time was not put where it is looked at next.
            let next = told.subtrees().iter().chain(told.paths());
            next.filter(|path| all.holds(path))
                .for_each(|path| pending.add(path.clone(), now));
        }
        pending
    }

    /// When something is due by itself.
    pub(super) fn due(&self) -> Instant {
        let rests = self.resting.values().map(|rest| rest.until);
        let rests = rests.chain(self.young.values().map(|young| young.due));
        let groups = self.groups.values().map(|group| group.until);
        rests.chain(groups).fold(self.everything, Instant::min)
    }
}

#[cfg(test)]
mod tests;
