//! Watching a folder of this machine: one inotify watch a folder; where there are not enough of them and root allows it, one fanotify mark a
//! file system.
//!
//! `machine` says what to watch and what to say (pure), `tree` knows which watch is which folder, `system` are the calls, `fanotify` the others,
//! `words` is what they say to each other, `drive` takes events as they come, `fold` says when to speak, `limits` what the system does not do, `mounts` what is mounted
//! below the root, `setup` puts them together. What cannot be watched is polled.
//! Not the crate `notify`: see decision 15.
//!
//! *Deliberately absent:* any memory of files or of what happened to them.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};
use wl_core::storage::{
    Area, Observation, POLL_INTERVAL, Result, Rhythm, StorageWatcher, WatchHealth, WatchRequest,
};

mod drive;
mod fanotify;
mod fold;
mod limits;
mod machine;
mod mounts;
mod setup;
mod system;
#[cfg(test)]
mod tests;
mod tree;
mod words;

use drive::{Shared, Unwatched, drive};
use fold::Fold;
use limits::Limit;
use setup::{How, Place, SetUp, Walk, by_marks, by_what_suffices, set_up};
use words::Why;

use super::root::Spot;

/// What could not be watched is tried again after this time, at first, ...
const RETRY: Duration = Duration::from_secs(1);
/// ... and after this time at last.
const RETRY_SELDOM: Duration = Duration::from_secs(60);

/// Watches a folder of this machine.
#[derive(Debug)]
pub(super) struct LocalWatcher {
    place: Place,
    state: State,
    fold: Fold,
    rhythm: Rhythm,
    retry: Retry,
    /// Where the watches do not suffice any more, whether fanotify was tried in their place.
    marks: Marks,
    way: Way,
}

#[derive(Debug)]
enum State {
    Watching(Watching),
    /// All of it is polled.
    Polling {
        why: Why,
        /// An attempt to watch again, while it is under way.
        attempt: Option<Attempt>,
    },
}

/// Watches that somebody drives.
#[derive(Debug)]
struct Watching {
    how: How,
    shared: Arc<Shared>,
    driver: JoinHandle<()>,
    /// So many times the system dropped events.
    dropped: u64,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A set-up that runs beside; dropping this stops it.
#[derive(Debug)]
struct Attempt(JoinHandle<std::result::Result<Watching, Why>>);

impl Drop for Attempt {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Attempt {
    fn new(place: &Place, walk: Walk) -> Self {
        let place = place.clone();
        Self(tokio::spawn(async move {
            Ok(start(set_up(place, walk).await?))
        }))
    }

    async fn outcome(&mut self) -> std::result::Result<Watching, Why> {
        match (&mut self.0).await {
            Ok(outcome) => outcome,
            Err(error) => Err(Why::Refused(format!("setting up broke off: {error}"))),
        }
    }
}

/// Fanotify in place of watches that do not suffice.
#[derive(Debug)]
enum Marks {
    Untried,
    Trying(Attempt),
    Refused(Why),
}

impl Marks {
    /// When an attempt has ended.
    async fn outcome(&mut self) -> std::result::Result<Watching, Why> {
        match self {
            Self::Trying(attempt) => attempt.outcome().await,
            Self::Untried | Self::Refused(_) => pending().await,
        }
    }

    /// Why fanotify does not help against the limit, if that is more than that it is not allowed.
    fn told(&self) -> String {
        match self {
            Self::Refused(why) if *why != Why::Limit => format!("; {why}"),
            _ => String::new(),
        }
    }
}

/// When to try again.
#[derive(Debug)]
struct Retry {
    at: Instant,
    wait: Duration,
}

impl Retry {
    fn new() -> Self {
        Self {
            at: Instant::now() + RETRY,
            wait: RETRY,
        }
    }

    fn later(&mut self) {
        self.wait = (self.wait * 2).min(RETRY_SELDOM);
        self.at = Instant::now() + self.wait;
    }
}

/// Whether the path that names the root still leads to it: no event tells that, so it is asked.
#[derive(Debug)]
struct Way {
    due: Instant,
    /// A question that is under way.
    asking: Option<JoinHandle<Result<()>>>,
}

impl Way {
    fn new() -> Self {
        Self {
            due: Instant::now() + POLL_INTERVAL,
            asking: None,
        }
    }

    /// Returns why, once it does not. May be dropped.
    async fn astray(&mut self, spot: &Arc<Spot>) -> String {
        loop {
            if self.asking.is_none() {
                sleep_until(self.due).await;
            }
            let spot = Arc::clone(spot);
            let ask = || spawn_blocking(move || spot.check_way());
            let answer = self.asking.get_or_insert_with(ask).await;
            *self = Self::new();
            if let Ok(Err(error)) = answer {
                return error.reason().to_owned();
            }
        }
    }
}

impl LocalWatcher {
    /// Returns when all there is is watched. Where nothing can be watched it polls.
    pub(super) async fn new(spot: Arc<Spot>, request: WatchRequest) -> Self {
        let place = Place {
            spot,
            filter: request.filter,
            only: None,
        };
        Self::by(place, by_what_suffices).await
    }

    async fn by(place: Place, walk: Walk) -> Self {
        let state = match set_up(place.clone(), walk).await {
            Ok(set_up) => State::Watching(start(set_up)),
            Err(why) => State::Polling { why, attempt: None },
        };
        Self {
            place,
            state,
            fold: Fold::new(),
            rhythm: Rhythm::new(POLL_INTERVAL),
            retry: Retry::new(),
            marks: Marks::Untried,
            way: Way::new(),
        }
    }

    /// What is watched is the root no more: it is polled, and first of all looked at.
    fn lost(&mut self, reason: String) -> Observation {
        self.poll_for(Why::Refused(reason.clone()));
        gap(reason)
    }

    fn poll_for(&mut self, why: Why) {
        self.state = State::Polling { why, attempt: None };
        self.retry = Retry::new();
        self.marks = Marks::Untried;
        self.rhythm.looking();
    }

    /// Waits for an attempt to watch again: begins one when it is time.
    async fn attempt(
        place: &Place,
        retry: &mut Retry,
        attempt: &mut Option<Attempt>,
    ) -> std::result::Result<Watching, Why> {
        if attempt.is_none() {
            sleep_until(retry.at).await;
        }
        let running = attempt.get_or_insert_with(|| Attempt::new(place, by_what_suffices));
        let outcome = running.outcome().await;
        *attempt = None;
        retry.later();
        outcome
    }
}

fn start(set_up: SetUp) -> Watching {
    let SetUp {
        how,
        mut core,
        sources,
    } = set_up;
    let shared = Arc::new(Shared::default());
    core.publish(&shared);
    let driver = tokio::spawn(drive(core, sources, Arc::clone(&shared)));
    Watching {
        how,
        shared,
        driver,
        dropped: 0,
    }
}

impl Watching {
    /// What there is to say, when it is time; `Err`: nothing more comes, and why.
    async fn next(&mut self, fold: &mut Fold) -> std::result::Result<Observation, String> {
        loop {
            if self.shared.lock().is_quiet() {
                let ended = "whoever took the events ended";
                tokio::select! {
                    () = self.shared.arrived.notified() => {}
                    _ = &mut self.driver => return Err(ended.to_owned()),
                }
                continue;
            }
            if let Some(due) = fold.due() {
                sleep_until(due).await;
            }
            let mut news = self.shared.lock();
            if let Some(lost) = news.lost.take() {
                return Err(lost);
            }
            fold.said(Instant::now(), std::mem::take(&mut news.events));
            let area = std::mem::take(&mut news.area);
            if std::mem::take(&mut news.gap) {
                self.dropped += 1;
                let queue = Limit::of_events(self.how).name;
                let reason =
                    format!("the system dropped events: more came than its queue holds ({queue})");
                return Ok(Observation::Gap { area, reason });
            }
            return Ok(match area {
                // To whoever hears it, this is no wish to look now and then.
                Area::Everything => gap("more changed at once than is told apart".to_owned()),
                Area::Parts(_) => Observation::Look { area, cursor: None },
            });
        }
    }

    fn unwatched(&self) -> Unwatched {
        self.shared.lock().unwatched.clone()
    }
}

fn gap(reason: String) -> Observation {
    Observation::Gap {
        area: Area::Everything,
        reason,
    }
}

#[async_trait]
impl StorageWatcher for LocalWatcher {
    async fn next(&mut self) -> Result<Observation> {
        loop {
            match &mut self.state {
                State::Watching(watching) => {
                    let unwatched = watching.unwatched();
                    let polls = !unwatched.area.is_empty();
                    let is_limited = self.place.only.is_none()
                        && watching.how == How::Inotify
                        && unwatched.why == Some(Why::Limit);
                    tokio::select! {
                        said = watching.next(&mut self.fold) => match said {
                            Ok(said) => return Ok(said),
                            Err(reason) => return Ok(self.lost(reason)),
                        },
                        reason = self.way.astray(&self.place.spot) => return Ok(self.lost(reason)),
                        area = self.rhythm.next(&unwatched.area), if polls => {
                            return Ok(Observation::Look { area, cursor: None });
                        }
                        () = sleep_until(self.retry.at), if polls => {
                            self.retry.later();
                            watching.shared.retry.notify_one();
                            if is_limited && !matches!(self.marks, Marks::Trying(_)) {
                                self.marks = Marks::Trying(Attempt::new(&self.place, by_marks));
                            }
                        }
                        marked = self.marks.outcome() => {
                            match marked {
                                Ok(marked) => {
                                    self.marks = Marks::Untried;
                                    self.state = State::Watching(marked);
                                    return Ok(gap("it is watched by fanotify from now on".to_owned()));
                                }
                                // The rest goes on being polled.
                                Err(why) => self.marks = Marks::Refused(why),
                            }
                        }
                    }
                }
                State::Polling { why, attempt } => tokio::select! {
                    outcome = Self::attempt(&self.place, &mut self.retry, attempt) => match outcome {
                        Ok(watching) => {
                            self.state = State::Watching(watching);
                            return Ok(gap("it is watched again".to_owned()));
                        }
                        Err(reason) => *why = reason,
                    },
                    // Looks that take long are seldom.
                    reason = self.way.astray(&self.place.spot) => return Ok(gap(reason)),
                    area = self.rhythm.next(&Area::Everything) => {
                        return Ok(Observation::Look { area, cursor: None });
                    }
                },
            }
        }
    }

    fn looking(&mut self) {
        self.rhythm.looking();
        if let State::Watching(watching) = &self.state {
            watching.shared.check.notify_one();
        }
    }

    fn looked(&mut self, area: &Area, took: Duration, worked: bool) {
        self.rhythm.looked(area, took, worked);
    }

    fn polls(&self) -> bool {
        matches!(self.state, State::Polling { .. })
    }

    fn asks(&self) -> bool {
        match &self.state {
            State::Watching(watching) => !watching.unwatched().area.is_empty(),
            _ => true,
        }
    }

    fn only_asks(&self, area: &Area) -> bool {
        let State::Watching(watching) = &self.state else {
            return true;
        };
        match (watching.unwatched().area, area) {
            (Area::Everything, _) => true,
            (Area::Parts(_), Area::Everything) => false,
            (Area::Parts(polled), Area::Parts(asked)) => {
                let mut asked = asked.subtrees().iter().chain(asked.paths());
                asked.all(|path| polled.holds(path))
            }
        }
    }

    fn acted(&mut self, area: &Area) {
        match &self.state {
            State::Polling { .. } => self.rhythm.acted(area, |_| true),
            State::Watching(watching) => match watching.unwatched().area {
                Area::Everything => self.rhythm.acted(area, |_| true),
                Area::Parts(polled) => self.rhythm.acted(area, |path| {
                    let mut subtrees = polled.subtrees().iter();
                    subtrees.any(|subtree| path.is_within(subtree))
                }),
            },
        }
    }

    fn health(&self) -> WatchHealth {
        let every = self.rhythm.pace();
        let (how, unwatched, dropped) = match &self.state {
            State::Watching(watching) => (
                watching.how,
                watching.unwatched(),
                dropped(watching.how, watching.dropped),
            ),
            State::Polling { why, .. } => {
                return WatchHealth {
                    mode: format!("poll {every} ({})", told(why)),
                    worst_delay: self.rhythm.worst_delay(),
                };
            }
        };
        match &unwatched.why {
            None => WatchHealth {
                mode: format!("{}{dropped}", how.name()),
                worst_delay: fold::LONGEST,
            },
            Some(why) => WatchHealth {
                mode: format!(
                    "{}, {} of {} folders polled {every}: {}{}{dropped}",
                    how.name(),
                    unwatched.folders,
                    unwatched.of,
                    told(why),
                    match why {
                        Why::Limit => self.marks.told(),
                        _ => String::new(),
                    },
                ),
                worst_delay: self.rhythm.worst_delay(),
            },
        }
    }
}

/// How often events were dropped, with what to do about it.
fn dropped(how: How, times: u64) -> String {
    // The limit is read when a watcher is set up.
    let limit = || format!("{}; then start wl anew", Limit::of_events(how).text());
    match times {
        0 => String::new(),
        1 => format!(
            "; once events were dropped, and everything was looked at: {}",
            limit()
        ),
        times => format!(
            "; {times} times events were dropped, and everything was looked at: {}",
            limit()
        ),
    }
}

/// Why something is not watched, with what to do about it.
fn told(why: &Why) -> String {
    match why {
        Why::Limit => Limit::of_watches().text(),
        other => other.to_string(),
    }
}
