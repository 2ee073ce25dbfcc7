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

/// When to look where: at all of it every interval, at places where something changed lately more often. It knows a few places and
/// keeps nothing of the tree.
#[derive(Debug)]
pub struct Rhythm {
    interval: Duration,
    due: Instant,
    soon: Instant,
    said: Option<Instant>,
    active: Vec<(Place, Instant)>,
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
            said: None,
            active: Vec::new(),
        }
    }

    /// How often all of it is looked at.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// A look at all of it begins now.
    pub fn looking(&mut self) {
        self.due = Instant::now() + self.interval;
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
        if let Some(said) = self.said.take() {
            let now = Instant::now();
            self.soon = now + SOON.max((now - said) * SHARE);
        }
        loop {
            let now = Instant::now();
            self.active.retain(|(_, seen)| now - *seen < QUIET);
            if self.due <= now {
                // From now on, not from when it was due: a machine that slept through a hundred intervals looks once.
                self.due = now + self.interval;
                self.said = Some(now);
                return whole.clone();
            }
            if self.soon <= now && !self.active.is_empty() {
                self.said = Some(now);
                return self.places();
            }
            let wake = match self.active.is_empty() {
                true => self.due,
                false => self.due.min(self.soon),
            };
            tokio::time::sleep_until(wake).await;
        }
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

    fn acted(&mut self, area: &Area) {
        if self.adaptive {
            self.rhythm.acted(area, |_| true);
        }
    }

    fn polls(&self) -> bool {
        true
    }

    fn health(&self) -> WatchHealth {
        let interval = self.rhythm.interval();
        WatchHealth {
            mode: format!("poll every {} s", interval.as_secs_f64()),
            worst_delay: interval,
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
        next(&mut watcher).await;
        // The look took ten seconds.
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(next(&mut watcher).await, (50, vec!["a/".to_owned()]));
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
