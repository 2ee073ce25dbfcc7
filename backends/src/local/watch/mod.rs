//! Watching a folder of this machine: one inotify watch a folder; where there are not enough of them and root allows it, one fanotify mark a
//! file system.
//!
//! `machine` says what to watch and what to say (pure), `tree` knows which watch is which folder, `system` are the calls, `fanotify` the others,
//! `drive` takes events as they come, `fold` says when to speak, `limits` what the system does not do, `mounts` what is mounted
//! below the root. What cannot be watched is polled.
//! Not the crate `notify`: see decision 15.
//!
//! *Deliberately absent:* any memory of files or of what happened to them.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use wl_core::model::SyncPath;
use wl_core::storage::{
    Area, Filter, Observation, POLL_INTERVAL, Result, Rhythm, StorageWatcher, WatchHealth,
    WatchRequest,
};

mod drive;
mod fanotify;
mod fold;
mod limits;
mod machine;
mod mounts;
mod system;
#[cfg(test)]
mod tests;
mod tree;

use drive::{Core, Shared, Sources, Unwatched, drive};
use fanotify::Marked;
use fold::Fold;
use limits::Limit;
use machine::{Looked, Polled, Watches, Why};
use mounts::Mounts;
use system::{Kernel, System};

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
    /// So many times the system dropped events.
    dropped: u64,
}

#[derive(Clone, Debug)]
struct Place {
    spot: Arc<Spot>,
    filter: Arc<dyn Filter>,
    /// For tests: only this. Otherwise inotify, and fanotify where that does not suffice.
    only: Option<How>,
}

/// What tells the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Inotify,
    Fanotify,
}

impl How {
    fn name(self) -> &'static str {
        match self {
            Self::Inotify => "inotify",
            Self::Fanotify => "fanotify",
        }
    }
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

impl LocalWatcher {
    /// Returns when all there is is watched. Where nothing can be watched it polls.
    pub(super) async fn new(spot: Arc<Spot>, request: WatchRequest) -> Self {
        let place = Place {
            spot,
            filter: request.filter,
            only: None,
        };
        Self::at(place).await
    }

    async fn at(place: Place) -> Self {
        let state = match set_up(place.clone()).await {
            Ok(watching) => State::Watching(watching),
            Err(why) => State::Polling { why, attempt: None },
        };
        Self {
            place,
            state,
            fold: Fold::new(),
            rhythm: Rhythm::new(POLL_INTERVAL),
            retry: Retry::new(),
            dropped: 0,
        }
    }

    fn poll_for(&mut self, why: Why) {
        self.state = State::Polling { why, attempt: None };
        self.retry = Retry::new();
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
        let running = attempt.get_or_insert_with(|| Attempt(tokio::spawn(set_up(place.clone()))));
        let outcome = match (&mut running.0).await {
            Ok(outcome) => outcome,
            Err(error) => Err(Why::Refused(format!("setting up broke off: {error}"))),
        };
        *attempt = None;
        retry.later();
        outcome
    }
}

/// Watches all there is below a root.
async fn set_up(place: Place) -> std::result::Result<Watching, Why> {
    let broke_off = |error| Why::Refused(format!("setting up broke off: {error}"));
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    // Before the walk: what is mounted after it is a change.
    let Some(root) = place.spot.place.path() else {
        return Err(Why::Refused("it has no events".to_owned()));
    };
    let mounts = Mounts::new(root);
    let walked = tokio::task::spawn_blocking(move || walk(place, &stop)).await;
    let Walked {
        how,
        core,
        readable,
    } = walked.map_err(|error| broke_off(error.to_string()))??;
    guard.disarm();
    // The new name of this is unsafe, for types that tell another descriptor each time; ours owns one.
    #[allow(deprecated)]
    let events = AsyncFd::with_interest(readable, Interest::READABLE)
        .map_err(|error| broke_off(error.to_string()))?;
    let sources = Sources { events, mounts };
    Ok(start(how, core, sources))
}

fn start(how: How, mut core: Core, sources: Sources) -> Watching {
    let shared = Arc::new(Shared::default());
    core.publish(&shared);
    let driver = tokio::spawn(drive(core, sources, Arc::clone(&shared)));
    Watching {
        how,
        shared,
        driver,
    }
}

/// A system in which nothing is watched so far.
#[derive(Debug)]
struct Fresh {
    how: How,
    system: Box<dyn System>,
    readable: Arc<OwnedFd>,
}

impl Fresh {
    fn new(how: How, spot: Arc<Spot>) -> std::result::Result<Self, Why> {
        let (system, readable): (Box<dyn System>, _) = match how {
            How::Inotify => {
                let kernel = Kernel::new(spot)?;
                let readable = kernel.readable();
                (Box::new(kernel), readable)
            }
            How::Fanotify => {
                let marked = Marked::new(spot)?;
                let readable = marked.readable();
                (Box::new(marked), readable)
            }
        };
        Ok(Self {
            how,
            system,
            readable,
        })
    }
}

/// A system in which all is watched that can be.
#[derive(Debug)]
struct Walked {
    how: How,
    core: Core,
    readable: Arc<OwnedFd>,
}

fn walk(place: Place, stop: &CancellationToken) -> std::result::Result<Walked, Why> {
    let first = place.only.unwrap_or(How::Inotify);
    let first = Fresh::new(first, Arc::clone(&place.spot))?;
    match place.only {
        Some(_) => watch_all(&place, stop, first),
        None => enough(&place, stop, first),
    }
}

/// By `first`; where its limit is reached, by fanotify, if that does for all of the tree.
fn enough(
    place: &Place,
    stop: &CancellationToken,
    first: Fresh,
) -> std::result::Result<Walked, Why> {
    let walked = watch_all(place, stop, first);
    let limited = match &walked {
        Ok(walked) => walked.core.unwatched().why == Some(Why::Limit),
        Err(why) => *why == Why::Limit,
    };
    if limited
        && let Ok(fresh) = Fresh::new(How::Fanotify, Arc::clone(&place.spot))
        && let Ok(other) = watch_all(place, stop, fresh)
        && other.core.watches.polled().values().all(by_any)
    {
        // The watches that were set go back to who else needs them.
        return Ok(other);
    }
    walked
}

/// Whether what is polled would be polled whatever tells the events.
fn by_any(polled: &Polled) -> bool {
    matches!(polled.why, Why::Silent(_) | Why::Twice)
}

fn watch_all(
    place: &Place,
    stop: &CancellationToken,
    fresh: Fresh,
) -> std::result::Result<Walked, Why> {
    let Fresh {
        how,
        mut system,
        readable,
    } = fresh;
    let root = match system.look(&SyncPath::root()) {
        Looked::Folder { wd, .. } => wd,
        Looked::Unwatched { why, .. } => return Err(why),
        Looked::Nothing => return Err(Why::Refused("the root is not there".to_owned())),
        Looked::Unreadable => return Err(Why::Refused("the root cannot be read".to_owned())),
    };
    let mut core = Core::new(Watches::new(root, Arc::clone(&place.filter)), system);
    if !core.set_up(&|| !stop.is_cancelled()) {
        return Err(Why::Refused("told to stop".to_owned()));
    }
    // Who asked looks at everything now; what was seen so far is older than that.
    let said = core.watches.take();
    match said.lost {
        Some(reason) => Err(Why::Refused(reason)),
        None => Ok(Walked {
            how,
            core,
            readable,
        }),
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
            return Ok(match news.gap.take() {
                Some(reason) => Observation::Gap {
                    area,
                    reason: reason.replace("inotify", self.how.name()),
                },
                None => Observation::Look { area, cursor: None },
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
                    let unwatched = watching.unwatched().area;
                    let polls = !unwatched.is_empty();
                    tokio::select! {
                        said = watching.next(&mut self.fold) => match said {
                            Ok(said) => {
                                self.dropped += u64::from(matches!(said, Observation::Gap { .. }));
                                return Ok(said);
                            }
                            Err(reason) => {
                                self.poll_for(Why::Refused(reason.clone()));
                                return Ok(gap(reason));
                            }
                        },
                        area = self.rhythm.next(&unwatched), if polls => {
                            return Ok(Observation::Look { area, cursor: None });
                        }
                        () = sleep_until(self.retry.at), if polls => {
                            self.retry.later();
                            watching.shared.retry.notify_one();
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
        let (how, unwatched) = match &self.state {
            State::Watching(watching) => (watching.how, watching.unwatched()),
            State::Polling { why, .. } => {
                return WatchHealth {
                    mode: format!("poll {every} ({})", told(why)),
                    worst_delay: self.rhythm.worst_delay(),
                };
            }
        };
        match &unwatched.why {
            None => WatchHealth {
                mode: format!("{}{}", how.name(), dropped(how, self.dropped)),
                worst_delay: fold::LONGEST,
            },
            Some(why) => WatchHealth {
                mode: format!(
                    "{}, {} of {} folders polled {every}: {}{}",
                    how.name(),
                    unwatched.folders,
                    unwatched.of,
                    told(why),
                    dropped(how, self.dropped),
                ),
                worst_delay: self.rhythm.worst_delay(),
            },
        }
    }
}

/// How often events were dropped, with what to do about it.
fn dropped(how: How, times: u64) -> String {
    let limit = || Limit::of_events(how).text();
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
