//! Takes events from the system as they come and does what they ask for, whether or not anybody listens.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};
use wl_core::storage::Area;

use super::machine::{Said, Watches};
use super::mounts::Mounts;
use super::system::System;
use super::words::{Step, Why};

/// The second half of a rename comes within this time, or not at all: the system sends them one right after the other.
const HALF: Duration = Duration::from_millis(5);
/// Events that are taken in one right after the other, so often without a pause of this length, are then taken in together after
/// such pauses: to wake up for each of thousands costs the writer and us more than what they bring.
const PAUSE: Duration = Duration::from_millis(1);
const HURRIES: u32 = 16;
/// So many events are taken in, and so many folders looked at, before what is known by then is said.
const EVENTS: usize = 4096;
const STEPS: usize = 256;

/// What was seen and not yet said; it does not grow.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) area: Area,
    /// Events were dropped.
    pub(super) gap: bool,
    pub(super) lost: Option<String>,
    pub(super) events: u64,
    /// What is not watched.
    pub(super) unwatched: Unwatched,
}

impl News {
    pub(super) fn is_quiet(&self) -> bool {
        self.area.is_empty() && !self.gap && self.lost.is_none()
    }
}

/// What is not watched, for people and for polling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unwatched {
    /// The subtrees; empty if all is watched.
    pub(super) area: Area,
    pub(super) folders: u64,
    /// Of so many.
    pub(super) of: u64,
    /// Why the first of them is not.
    pub(super) why: Option<Why>,
}

/// Between who drives and who listens.
#[derive(Debug, Default)]
pub(super) struct Shared {
    news: Mutex<News>,
    pub(super) arrived: Notify,
    /// Asks to look at the root.
    pub(super) check: Notify,
    /// Asks to try again what could not be watched.
    pub(super) retry: Notify,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The watches and the system that they are set in.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) watches: Watches,
    pub(super) system: Box<dyn System>,
    /// Whether there may be more events than were taken.
    more: bool,
    /// What of the watches was told.
    told: Option<u64>,
}

impl Core {
    pub(super) fn new(watches: Watches, system: Box<dyn System>) -> Self {
        Self {
            watches,
            system,
            more: false,
            told: None,
        }
    }

    /// Takes in what waits. Does not block.
    pub(super) fn take_events(&mut self) {
        let events = self.system.events(EVENTS);
        self.more = events.len() >= EVENTS || self.system.is_behind();
        for event in events {
            self.watches.event(&event);
        }
    }

    /// Looks at folders, not too many at a time. May block.
    pub(super) fn work(&mut self) {
        for _ in 0..STEPS {
            match self.watches.step() {
                None => break,
                Some(Step::Forget(wd)) => self.system.forget(wd),
                Some(Step::Look { path, deep }) => {
                    let looked = self.system.look(&path);
                    self.watches.looked(&path, deep, looked);
                }
                Some(Step::Count { path, top }) => {
                    let folders = self.system.folders(&path);
                    self.watches.counted(&top, &path, folders);
                }
            }
        }
        // What it tells because of the work wakes nobody up.
        self.more |= self.system.is_behind();
        self.system.rest();
    }

    /// Watches all there is. `false`: told to stop.
    pub(super) fn set_up(&mut self, go_on: &dyn Fn() -> bool) -> bool {
        while self.watches.is_busy() {
            if !go_on() {
                return false;
            }
            self.take_events();
            self.work();
        }
        true
    }

    pub(super) fn unwatched(&self) -> Unwatched {
        let polled = self.watches.polled();
        let mut unwatched = Unwatched::default();
        for (path, one) in polled {
            unwatched.area.add_subtree(path.clone());
            unwatched.folders += one.folders;
            let limit = one.why == Why::Limit;
            if unwatched.why.is_none() || limit {
                unwatched.why = Some(one.why.clone());
            }
        }
        unwatched.of = unwatched.folders + self.watches.watched() as u64;
        unwatched
    }

    pub(super) fn publish(&mut self, shared: &Shared) {
        let Said {
            area,
            gap,
            lost,
            events,
        } = self.watches.take();
        let changed = self.told != Some(self.watches.version());
        let unwatched = changed.then(|| self.unwatched());
        self.told = Some(self.watches.version());
        let mut news = shared.lock();
        news.events += events;
        if let Some(unwatched) = unwatched {
            news.unwatched = unwatched;
        }
        let quiet = area.is_empty() && !gap && lost.is_none();
        if !quiet {
            news.area.add(area);
            news.gap |= gap;
            news.lost = lost.or(news.lost.take());
            drop(news);
            shared.arrived.notify_one();
        }
    }
}

/// What is waited for.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) events: AsyncFd<Arc<OwnedFd>>,
    pub(super) mounts: Mounts,
}

/// Until it is dropped.
pub(super) async fn drive(mut core: Core, mut sources: Sources, shared: Arc<Shared>) {
    let mut half_since: Option<Instant> = None;
    let mut hurry = Hurry::default();
    loop {
        if core.watches.is_busy() || core.more {
            core.take_events();
            tokio::task::yield_now().await;
        } else {
            hurry.pause().await;
            wait(&mut core, &mut sources, &shared, half_since).await;
        }
        // Before it is said: mostly the work is done in one go, and a folder is then said once.
        if core.watches.is_busy() {
            let worked = spawn_blocking(move || {
                core.work();
                core
            });
            match worked.await {
                Ok(back) => core = back,
                // The runtime ends, or a fault: whoever listens sees that nobody drives.
                Err(_) => return,
            }
        }
        half_since = match core.watches.waits_for_half() {
            false => None,
            true => Some(half_since.unwrap_or_else(Instant::now)),
        };
        if half_since.is_some_and(|since| since + HALF <= Instant::now()) {
            core.watches.age_halves();
            half_since = core.watches.waits_for_half().then(Instant::now);
        }
        core.publish(&shared);
    }
}

/// How fast what is waited for comes.
#[derive(Debug, Default)]
struct Hurry {
    last: Option<Instant>,
    streak: u32,
}

impl Hurry {
    /// Nothing, or a pause while things come without one.
    async fn pause(&mut self) {
        let now = Instant::now();
        let soon = self.last.is_some_and(|last| now - last < 2 * PAUSE);
        self.streak = if soon { self.streak + 1 } else { 0 };
        if self.streak > HURRIES {
            sleep_until(now + PAUSE).await;
        }
        self.last = Some(Instant::now());
    }
}

async fn wait(
    core: &mut Core,
    sources: &mut Sources,
    shared: &Shared,
    half_since: Option<Instant>,
) {
    tokio::select! {
        ready = sources.events.readable() => {
            if let Ok(mut ready) = ready {
                // Cleared first: what comes after the last read makes it ready again.
                ready.clear_ready();
            }
            core.take_events();
        }
        () = sources.mounts.change() => {
            for event in core.system.remounted() {
                core.watches.event(&event);
            }
            for path in sources.mounts.changed() {
                core.watches.mounted(path);
            }
        }
        () = shared.check.notified() => core.watches.check_root(),
        () = shared.retry.notified() => core.watches.retry(),
        () = sleep_until(half_since.unwrap_or_else(Instant::now) + HALF), if half_since.is_some() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_comes_without_a_pause_is_taken_in_together() {
        let mut hurry = Hurry::default();
        let begin = Instant::now();
        for _ in 0..1000 {
            hurry.pause().await;
            tokio::time::advance(2 * PAUSE).await;
        }
        assert_eq!(begin.elapsed(), 1000 * 2 * PAUSE, "single events wait");
        let storm = Instant::now();
        for _ in 0..=HURRIES {
            hurry.pause().await;
        }
        assert_eq!(storm.elapsed(), Duration::ZERO, "the first of many wait");
        hurry.pause().await;
        assert!(storm.elapsed() >= PAUSE, "a storm is taken in one by one");
        // It goes on as long as that does, and ends with it.
        tokio::time::advance(2 * PAUSE).await;
        let after = Instant::now();
        hurry.pause().await;
        assert_eq!(after.elapsed(), Duration::ZERO);
    }
}
