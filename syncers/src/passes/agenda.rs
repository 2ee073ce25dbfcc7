//! Where to look next, and when: pure, on the clock of whoever asks.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use wl_core::model::SyncPath;
use wl_core::storage::{Area, MOST_PLACES};
use wl_core::sync::Group;

/// A path that did not come to rest, or failed, is looked at again after this long, then after twice as long, and so on.
const FIRST_REST: Duration = Duration::from_millis(50);
/// But never later than after this long.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// A group is looked at when nothing was said of it for this long, or for a tenth of the time that it has been changing, if that is more.
const QUIET_GROUP: Duration = Duration::from_millis(200);
const QUIET_SHARE: u32 = 10;
/// A path that moves on under so many looks is told as one that keeps changing.
const MOST_TRIES: u32 = 6;

/// Where to look next.
#[derive(Debug)]
pub(super) struct Agenda {
    now: Area,
    /// Paths that are let alone for a while, whatever is said of them.
    resting: BTreeMap<SyncPath, Rest>,
    /// Groups of which something was said: they are let alone until they are quiet.
    groups: BTreeMap<SyncPath, Changing>,
    everything: Instant,
    rescan: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Instant,
    tries: u32,
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
            now: Area::Everything,
            resting: BTreeMap::new(),
            groups: BTreeMap::new(),
            everything: now + rescan,
            rescan,
        }
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
            if !self.is_of_group(path, now) && !self.resting.contains_key(path) {
                self.now.add_path(path.clone());
            }
        }
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
        changing.stir(now);
        if self.groups.len() > MOST_PLACES {
            // Too many to be told apart.
            self.groups.clear();
            self.everything = self.everything.min(now + LONGEST_REST);
        }
        true
    }

    /// Where to look now; nowhere, mostly.
    pub(super) fn take(&mut self, now: Instant) -> Area {
        if self.everything <= now {
            self.now = Area::Everything;
        }
        let mut area = std::mem::take(&mut self.now);
        let mut due = Area::default();
        for (path, rest) in &self.resting {
            if rest.until <= now {
                match Group::by_name(path) {
                    Some(group) if group.path == *path => area.add(group.area()),
                    _ => area.add_path(path.clone()),
                }
            }
        }
        let all = area == Area::Everything;
        for (_, changing) in self.groups.extract_if(.., |path, changing| {
            all || changing.until <= now || area.holds(path)
        }) {
            due.add(changing.group.area());
        }
        area.add(due);
        if area == Area::Everything {
            self.everything = now + self.rescan;
        }
        area
    }

    /// `area` was looked at, and these paths in it have to be looked at again. Whether one of them was so often that it should be told.
    pub(super) fn looked(&mut self, area: &Area, again: &[SyncPath], now: Instant) -> bool {
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

    /// When something is due by itself.
    pub(super) fn due(&self) -> Instant {
        let rests = self.resting.values().map(|rest| rest.until);
        let groups = self.groups.values().map(|group| group.until);
        rests.chain(groups).fold(self.everything, Instant::min)
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
        assert_eq!(agenda.take(now), Area::Everything);
        agenda.looked(&Area::Everything, &[], now);
        agenda
    }

    #[test]
    fn everything_is_due_at_first_and_every_so_often() {
        let now = Instant::now();
        let mut agenda = started(now);
        assert!(agenda.take(now).is_empty());
        assert_eq!(agenda.due(), now + HOUR);
        assert_eq!(agenda.take(now + HOUR), Area::Everything);
        assert_eq!(agenda.due(), now + 2 * HOUR);
        agenda.add(Area::Everything, now);
        let later = now + HOUR + HOUR / 2;
        assert_eq!(agenda.take(later), Area::Everything);
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
        assert_eq!(agenda.take(now), area);
        assert!(agenda.take(now).is_empty());
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
            assert!(agenda.take(at).is_empty());
            rests.push(agenda.due() - at);
            at = agenda.due();
            assert_eq!(agenda.take(at), busy);
        }
        assert_eq!(rests[0], FIRST_REST);
        assert_eq!(rests[1], FIRST_REST * 2);
        assert_eq!(rests[19], LONGEST_REST);
        assert_eq!(
            told.iter().position(|told| *told),
            Some(MOST_TRIES as usize - 1)
        );
        agenda.looked(&busy, &[], at);
        agenda.add(busy.clone(), at);
        assert_eq!(agenda.take(at), busy, "at rest again");
    }

    #[test]
    fn a_resting_path_is_looked_at_with_what_holds_it() {
        let now = Instant::now();
        let mut agenda = started(now);
        agenda.looked(&Area::path(path("a/x")), &[path("a/x")], now);
        agenda.add(Area::subtree(path("a")), now);
        let area = agenda.take(now);
        assert_eq!(area, Area::subtree(path("a")));
        agenda.looked(&area, &[], now);
        assert_eq!(agenda.due(), now + HOUR);
    }

    #[test]
    fn a_group_is_looked_at_whole_when_it_was_quiet() {
        for (said, group) in [
            ("a/.git/index", Area::subtree(path("a/.git"))),
            ("a/.git", Area::subtree(path("a/.git"))),
            (
                "x.db-wal",
                Group::by_name(&path("x.db-wal")).unwrap().area(),
            ),
        ] {
            let now = Instant::now();
            let mut agenda = started(now);
            agenda.add(Area::path(path(said)), now);
            assert!(agenda.take(now).is_empty(), "{said}");
            let later = now + QUIET_GROUP / 2;
            agenda.add(Area::subtree(path(said)), later);
            assert_eq!(agenda.due(), later + QUIET_GROUP, "{said}");
            assert!(agenda.take(now + QUIET_GROUP).is_empty(), "{said}");
            assert_eq!(agenda.take(agenda.due()), group, "{said}");
            assert_eq!(agenda.due(), now + HOUR);
        }
    }

    #[test]
    fn a_database_waits_with_what_lies_beside_it() {
        let now = Instant::now();
        let mut agenda = started(now);
        agenda.add(Area::path(path("x-journal")), now);
        agenda.add(Area::path(path("x")), now);
        assert!(agenda.take(now).is_empty());
        let area = agenda.take(agenda.due());
        assert!(area.holds(&path("x")) && area.holds(&path("x-wal")));
        agenda.add(Area::path(path("x")), now);
        assert_eq!(
            agenda.take(now),
            Area::path(path("x")),
            "a file like others"
        );
    }

    #[test]
    fn a_group_that_keeps_changing_is_looked_at_all_the_same() {
        let start = Instant::now();
        let (mut agenda, mut now, mut quiet) = (started(start), start, Duration::ZERO);
        while agenda.take(now).is_empty() {
            agenda.add(Area::path(path(".git/HEAD")), now);
            quiet = quiet.max(agenda.due() - now);
            now += Duration::from_millis(100);
            assert!(now - start <= LONGEST_REST + QUIET_GROUP);
        }
        assert_eq!(now - start, LONGEST_REST);
        assert!(quiet > 10 * QUIET_GROUP, "{quiet:?}");
    }

    #[test]
    fn a_group_that_did_not_come_to_rest_is_let_alone_and_then_looked_at_whole() {
        let now = Instant::now();
        let mut agenda = started(now);
        let git = Area::subtree(path(".git"));
        agenda.looked(&git, &[path(".git")], now);
        agenda.add(Area::path(path(".git/HEAD")), now);
        assert_eq!(agenda.due(), now + FIRST_REST);
        assert_eq!(agenda.take(agenda.due()), git);
    }

    #[test]
    fn a_group_goes_along_with_what_holds_it() {
        let now = Instant::now();
        let mut agenda = started(now);
        agenda.add(Area::path(path("a/.git/HEAD")), now);
        agenda.add(Area::subtree(path("a")), now);
        assert_eq!(agenda.take(now), Area::subtree(path("a")));
        assert_eq!(agenda.due(), now + HOUR);
    }

    #[test]
    fn memory_is_bounded() {
        let now = Instant::now();
        let mut agenda = started(now);
        let many: Vec<_> = (0..=MOST_PLACES).map(|n| path(&n.to_string())).collect();
        agenda.looked(&Area::Everything, &many, now);
        assert!(agenda.resting.is_empty());
        assert_eq!(agenda.due(), now + LONGEST_REST);
        assert_eq!(agenda.take(agenda.due()), Area::Everything);
    }
}
