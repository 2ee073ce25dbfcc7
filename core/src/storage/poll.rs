//! Polling: for storages that have no events of their own, and wherever `watcher-interval` asks for it.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Area, Observation, Result, StorageWatcher, WatchHealth};
use crate::model::SyncPath;

/// How often a storage without events is looked at, unless its parameters say otherwise.
pub const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// Where something changed lately is looked at this often; seldomer if the looks themselves take long.
pub const SOON: Duration = Duration::from_secs(2);
/// So many such places are known at most.
const MOST_ACTIVE: usize = 16;
/// Where nothing changed for so long is looked at with everything else.
const QUIET: Duration = Duration::from_secs(300);
/// Looking at the active places may take this share of the time.
const SHARE: u32 = 5;
/// And looking at all of it this one.
const SHARE_OF_ALL: u32 = 4;
/// A look that carried something over took longer for that: after it there is a pause of this length at most, unless looks are known to take
/// long.
const AFTER_WORK: Duration = Duration::from_secs(60);

/// What looks at all of a storage cost, and how long to let it alone after one.
#[derive(Debug, Default)]
pub struct Effort {
    /// What the last look took that carried nothing over.
    last: Option<Duration>,
    usual: Duration,
}

impl Effort {
    /// A look took so long; `worked`: it carried something over. Returns how long to pause.
    pub fn spent(&mut self, took: Duration, worked: bool) -> Duration {
        const PAUSES: u32 = SHARE_OF_ALL - 1;
        if worked {
            return (took * PAUSES).min(AFTER_WORK.max(self.usual * PAUSES));
        }
        // One look may take long because a storage hung, or the machine slept: only two in a row say that looks take long.
        let before = self.last.replace(took).unwrap_or_default();
        self.usual = took.min(before);
        self.usual * PAUSES
    }

    /// What a look takes that carries nothing over.
    fn usual(&self) -> Duration {
        self.usual
    }
}

/// When to look where: at all of it every interval, at places where something changed lately more often. It knows a few places and
/// keeps nothing of the tree.
#[derive(Debug)]
pub struct Rhythm {
    interval: Duration,
    due: Instant,
    soon: Instant,
    asked: Option<Asked>,
    effort: Effort,
    /// About what a look at all of it takes, as it is told: not another number for every look.
    told: Duration,
    active: Vec<(Place, Instant)>,
}

/// What was asked for and not looked at yet.
#[derive(Debug)]
struct Asked {
    area: Area,
    whole: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// A folder and all below it.
    Folder(SyncPath),
    /// An entry directly in the root: the folder of that would be everything.
    Entry(SyncPath),
}

impl Rhythm {
    /// All of it every `interval`, for the first time one interval from now.
    pub fn new(interval: Duration) -> Self {
        let now = Instant::now();
        Self {
            interval,
            due: now + interval,
            soon: now,
            asked: None,
            effort: Effort::default(),
            told: Duration::ZERO,
            active: Vec::new(),
        }
    }

    /// How often all of it is looked at; where that takes long it is let alone in between.
    pub fn interval(&self) -> Duration {
        self.interval.max(self.told * SHARE_OF_ALL)
    }

    /// How often, and if it is less often than it should be, why.
    pub fn pace(&self) -> String {
        let every = format!("every {} s", self.interval().as_secs_f64());
        match self.interval() > self.interval {
            true => format!("{every}, as a look takes up to {} s", self.told.as_secs()),
            false => every,
        }
    }

    /// What changes just behind a look is found at the end of the next one.
    pub fn worst_delay(&self) -> Duration {
        self.interval() + self.told
    }

    /// A look at all of it begins now.
    pub fn looking(&mut self) {
        self.due = Instant::now() + self.interval;
    }

    /// A look at this, whoever asked for it, took so long; `worked`: it carried something over. It counts if it is what was asked for.
    pub fn looked(&mut self, area: &Area, took: Duration, worked: bool) {
        let is_it = |asked: &mut Asked| match &asked.area {
            Area::Everything => *area == Area::Everything,
            Area::Parts(parts) => area.meets(parts),
        };
        match self.asked.take_if(is_it) {
            Some(Asked { whole: true, .. }) => self.looked_at_all(took, worked),
            Some(_) => self.soon = Instant::now() + SOON.max(took * SHARE),
            None => {}
        }
    }

    /// The same, of a look at all of it.
    fn looked_at_all(&mut self, took: Duration, worked: bool) {
        let pause = self.effort.spent(took, worked);
        self.due = self.due.max(Instant::now() + pause);
        let usual = self.effort.usual();
        if !worked && (usual > self.told || usual * 4 < self.told) {
            let seconds = usual.as_secs_f64().ceil() as u64;
            self.told = match usual.as_secs() {
                0 => Duration::ZERO,
                _ => Duration::from_secs(seconds.next_power_of_two()),
            };
        }
    }

    /// Something changed here. What `counts` says no to is not looked at more often for it.
    pub fn acted(&mut self, area: &Area, counts: impl Fn(&SyncPath) -> bool) {
        let Area::Parts(parts) = area else { return };
        let now = Instant::now();
        let places = parts.paths().iter().map(|path| match path.parent() {
            Some(folder) if !folder.is_root() => Place::Folder(folder),
            _ => Place::Entry(path.clone()),
        });
        let subtrees = parts.subtrees().iter().cloned().map(Place::Folder);
        for place in places.chain(subtrees) {
            let (Place::Folder(path) | Place::Entry(path)) = &place;
            if !counts(path) {
                continue;
            }
            self.active.retain(|(known, _)| *known != place);
            self.active.push((place, now));
        }
        // The last ones are the latest.
        let surplus = self.active.len().saturating_sub(MOST_ACTIVE);
        self.active.drain(..surplus);
    }

    /// Where to look next, when it is time: `whole` if it is time for all of it. May be dropped.
    pub async fn next(&mut self, whole: &Area) -> Area {
        loop {
            let now = Instant::now();
            self.active.retain(|(_, seen)| now - *seen < QUIET);
            if self.due <= now {
                // From now on, not from when it was due: a machine that slept through a hundred intervals looks once.
                self.due = now + self.interval;
                return self.ask(whole.clone(), true);
            }
            if self.soon <= now && !self.active.is_empty() {
                return self.ask(self.places(), false);
            }
            let wake = match self.active.is_empty() {
                true => self.due,
                false => self.due.min(self.soon),
            };
            tokio::time::sleep_until(wake).await;
        }
    }

    fn ask(&mut self, area: Area, whole: bool) -> Area {
        self.soon = Instant::now() + SOON;
        // All of it is owed more than its places.
        if whole || !self.asked.as_ref().is_some_and(|asked| asked.whole) {
            let area = area.clone();
            self.asked = Some(Asked { area, whole });
        }
        area
    }

    fn places(&self) -> Area {
        let mut area = Area::default();
        for (place, _) in &self.active {
            match place {
                Place::Folder(path) => area.add_subtree(path.clone()),
                Place::Entry(path) => area.add_path(path.clone()),
            }
        }
        area
    }
}

/// Says to look at everything, every so often. It keeps nothing of the tree: looking is a pass.
#[derive(Debug)]
pub struct PollWatcher {
    rhythm: Rhythm,
    adaptive: bool,
}

impl PollWatcher {
    /// Polls every `interval`, for the first time one interval from now.
    pub fn new(interval: Duration) -> Self {
        Self {
            rhythm: Rhythm::new(interval),
            adaptive: false,
        }
    }

    /// Looks more often where something changed lately, as far as it is told ([`StorageWatcher::acted`]).
    pub fn adaptive(interval: Duration) -> Self {
        Self {
            adaptive: true,
            ..Self::new(interval)
        }
    }
}

#[async_trait]
impl StorageWatcher for PollWatcher {
    async fn next(&mut self) -> Result<Observation> {
        Ok(Observation::Look {
            area: self.rhythm.next(&Area::Everything).await,
            cursor: None,
        })
    }

    fn looking(&mut self) {
        self.rhythm.looking();
    }

    fn looked(&mut self, area: &Area, took: Duration, worked: bool) {
        match area {
            // All of it, whoever asked for that.
            Area::Everything => {
                self.rhythm.asked = None;
                self.rhythm.looked_at_all(took, worked);
            }
            Area::Parts(_) => self.rhythm.looked(area, took, worked),
        }
    }

    fn acted(&mut self, area: &Area) {
        if self.adaptive {
            self.rhythm.acted(area, |_| true);
        }
    }

    fn polls(&self) -> bool {
        true
    }

    fn health(&self) -> WatchHealth {
        WatchHealth {
            mode: format!("poll {}", self.rhythm.pace()),
            worst_delay: self.rhythm.worst_delay(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_due_every_interval_and_once_after_a_long_sleep() {
        let mut watcher = PollWatcher::new(Duration::from_secs(10));
        let start = Instant::now();
        watcher.next().await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 10);
        tokio::time::advance(Duration::from_secs(3600)).await;
        let woken = Instant::now();
        watcher.next().await.unwrap();
        assert_eq!(woken.elapsed().as_secs(), 0);
        watcher.next().await.unwrap();
        assert_eq!(woken.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_dropped_loses_nothing() {
        let mut watcher = PollWatcher::new(Duration::from_secs(10));
        let start = Instant::now();
        let given_up = tokio::time::timeout(Duration::from_secs(7), watcher.next()).await;
        assert!(given_up.is_err());
        watcher.next().await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    fn path(text: &str) -> SyncPath {
        SyncPath::new(text).unwrap()
    }

    /// What an adaptive watcher says next, and after how many seconds.
    async fn next(watcher: &mut PollWatcher) -> (u64, Vec<String>) {
        let start = Instant::now();
        let area = watcher.next().await.unwrap().into_area();
        let said = match &area {
            Area::Everything => vec!["everything".to_owned()],
            Area::Parts(parts) => {
                let subtrees = parts.subtrees().iter().map(|path| format!("{path}/"));
                subtrees
                    .chain(parts.paths().iter().map(|path| path.to_string()))
                    .collect()
            }
        };
        (start.elapsed().as_secs(), said)
    }

    #[tokio::test(start_paused = true)]
    async fn where_something_changed_is_looked_at_more_often() {
        let mut watcher = PollWatcher::adaptive(Duration::from_secs(5));
        watcher.next().await.unwrap();
        let mut acted = Area::path(path("a/b/f"));
        acted.add_path(path("top"));
        watcher.acted(&acted);
        let places = vec!["a/b/".to_owned(), "top".to_owned()];
        assert_eq!(next(&mut watcher).await, (2, places.clone()));
        assert_eq!(next(&mut watcher).await, (2, places));
        assert_eq!(next(&mut watcher).await, (1, vec!["everything".to_owned()]));
    }

    #[tokio::test(start_paused = true)]
    async fn after_some_quiet_minutes_it_is_looked_at_with_everything_else() {
        let mut watcher = PollWatcher::adaptive(Duration::from_secs(3600));
        watcher.acted(&Area::path(path("a/f")));
        let start = Instant::now();
        while next(&mut watcher).await.1 != ["everything"] {
            assert!(start.elapsed() <= QUIET);
        }
        assert_eq!(start.elapsed().as_secs(), 3600);
    }

    #[tokio::test(start_paused = true)]
    async fn looks_that_take_long_are_made_seldomer() {
        let mut watcher = PollWatcher::adaptive(Duration::from_secs(3600));
        watcher.acted(&Area::path(path("a/f")));
        let (_, said) = next(&mut watcher).await;
        // Whoever asked listens on before it looks, as a job does.
        let early = tokio::time::timeout(Duration::ZERO, watcher.next()).await;
        assert!(early.is_err());
        tokio::time::advance(Duration::from_secs(10)).await;
        watcher.looked(&Area::subtree(path("a")), Duration::from_secs(10), false);
        assert_eq!(next(&mut watcher).await, (50, said));
    }

    /// How many seconds go by between a look at all of it and the next, if each takes so long, and how that is told.
    async fn pause(took: u64, worked: bool) -> (u64, String, u64) {
        let mut watcher = PollWatcher::new(Duration::from_secs(10));
        for _ in 0..3 {
            assert_eq!(watcher.next().await.unwrap().into_area(), Area::Everything);
            watcher.looking();
            let early = tokio::time::timeout(Duration::ZERO, watcher.next()).await;
            assert!(early.is_err());
            tokio::time::advance(Duration::from_secs(took)).await;
            watcher.looked(&Area::Everything, Duration::from_secs(took), worked);
        }
        let (pause, _) = next(&mut watcher).await;
        let WatchHealth { mode, worst_delay } = watcher.health();
        (pause, mode, worst_delay.as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn looking_at_all_of_it_takes_a_quarter_of_the_time_at_most_and_that_is_told() {
        let every = "poll every 10 s";
        let slow =
            |period, takes| format!("poll every {period} s, as a look takes up to {takes} s");
        for (took, worked, expected) in [
            (0, false, (10, every.to_owned(), 10)),
            (2, false, (8, every.to_owned(), 12)),
            (3, false, (9, slow(16, 4), 20)),
            (60, false, (180, slow(256, 64), 320)),
            // Most of it may have been the work.
            (3600, true, (60, every.to_owned(), 10)),
            (4, true, (12, every.to_owned(), 10)),
        ] {
            assert_eq!(pause(took, worked).await, expected, "{took} {worked}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_told_is_not_another_number_for_every_look() {
        let mut watcher = PollWatcher::new(Duration::from_secs(10));
        let mut told = Vec::new();
        for took in [20, 31, 9, 33, 17, 7, 100, 100] {
            watcher.looked(&Area::Everything, Duration::from_secs(took), false);
            told.push(watcher.health().worst_delay.as_secs() / 5);
        }
        assert_eq!(told, [2, 32, 32, 32, 32, 8, 8, 128]);
    }

    /// A work that is known to be slow is not taken for fast because something was carried over.
    #[tokio::test(start_paused = true)]
    async fn where_looks_are_known_to_take_long_work_changes_nothing() {
        let mut watcher = PollWatcher::new(Duration::from_secs(10));
        let long = Duration::from_secs(100);
        for (worked, pause) in [(false, 10), (false, 300), (true, 300)] {
            watcher.looked(&Area::Everything, long, worked);
            assert_eq!(next(&mut watcher).await.0, pause);
        }
    }

    /// The storage hung for half an hour, or the machine slept in the middle: that is not what looks take.
    #[tokio::test(start_paused = true)]
    async fn one_look_that_hangs_does_not_put_off_the_next() {
        let mut watcher = PollWatcher::new(Duration::from_secs(10));
        for (took, pause) in [(1671, 10), (1, 10), (1671, 10), (1, 10)] {
            watcher.looking();
            watcher.looked(&Area::Everything, Duration::from_secs(took), false);
            assert_eq!(next(&mut watcher).await.0, pause);
        }
        assert_eq!(watcher.health().worst_delay.as_secs(), 11);
    }

    #[tokio::test(start_paused = true)]
    async fn it_knows_the_places_that_were_active_last_and_no_more() {
        let mut watcher = PollWatcher::adaptive(Duration::from_secs(3600));
        for number in 0..1000 {
            watcher.acted(&Area::path(path(&format!("d{number:04}/f"))));
        }
        let (_, said) = next(&mut watcher).await;
        assert_eq!(said.len(), MOST_ACTIVE);
        assert_eq!((&*said[0], &*said[15]), ("d0984/", "d0999/"));
        // A look that found changes everywhere says nothing of where the next will be.
        let mut fresh = PollWatcher::adaptive(Duration::from_secs(3600));
        fresh.acted(&Area::Everything);
        assert_eq!(next(&mut fresh).await.0, 3600);
    }

    #[tokio::test(start_paused = true)]
    async fn one_with_a_fixed_interval_learns_nothing() {
        let mut watcher = PollWatcher::new(Duration::from_secs(10));
        watcher.acted(&Area::path(path("a/f")));
        assert_eq!(
            next(&mut watcher).await,
            (10, vec!["everything".to_owned()])
        );
    }
}
