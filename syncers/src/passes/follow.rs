//! A continuous run: looks where watchers say so, until it is stopped.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use wl_core::model::{Side, Sides};
use wl_core::storage::{
    Area, POLL_INTERVAL, PollWatcher, StorageWatcher, WatchHealth, WatchRequest,
};
use wl_core::sync::{Looked, Looks, News, SyncError, SyncJob};

use super::agenda::Agenda;
use super::{Findings, note};

/// What is held open between looks is let go of after this long without one.
const QUIET: Duration = Duration::from_secs(2);

type Watchers = Sides<Box<dyn StorageWatcher>>;

/// Looks again and again until the job is stopped (`Ok`) or a look fails as a whole.
pub(super) async fn follow(
    job: &SyncJob,
    name: &'static str,
    last: &Mutex<Findings>,
) -> Result<(), SyncError> {
    // Watched first, then looked at: what changes in between is seen by the one or the other.
    let watchers = Sides::new(
        watch(job, Side::Source).await?,
        watch(job, Side::Target).await?,
    );
    let mut run = Following {
        looks: Looks::new(job.clone(), name),
        agenda: Agenda::new(job.options.rescan, Instant::now()),
        health: watchers.as_ref().map(|watcher| watcher.health()),
        watchers,
        job,
        last,
    };
    job.news.tell(News::Watching(run.health.clone())).await;
    let ended = run.go_on().await;
    // What ended it says more than what letting go says.
    let rested = run.looks.rest().await;
    ended.and(rested)
}

struct Following<'a> {
    job: &'a SyncJob,
    last: &'a Mutex<Findings>,
    looks: Looks,
    agenda: Agenda,
    watchers: Watchers,
    health: Sides<WatchHealth>,
}

impl Following<'_> {
    async fn go_on(&mut self) -> Result<(), SyncError> {
        let mut quiet_since = Instant::now();
        while !self.job.cancel.is_cancelled() {
            let area = self.agenda.take(Instant::now());
            if !area.is_empty() {
                self.look(area).await?;
                quiet_since = Instant::now();
            }
            let rest = quiet_since + QUIET;
            tokio::select! {
                biased;
                () = self.job.cancel.cancelled() => break,
                seen = self.watchers.source.next() => self.agenda.add(seen?.into_area(), Instant::now()),
                seen = self.watchers.target.next() => self.agenda.add(seen?.into_area(), Instant::now()),
                () = sleep_until(self.agenda.due()) => {}
                () = sleep_until(rest), if self.looks.is_open() => self.looks.rest().await?,
            }
            self.tell_health().await;
        }
        Ok(())
    }

    async fn look(&mut self, area: Area) -> Result<(), SyncError> {
        self.job.progress.restart();
        if area == Area::Everything {
            self.job.news.tell(News::Looking).await;
            self.watchers.source.looking();
            self.watchers.target.looking();
        }
        let looked = self.looks.look(area.clone()).await;
        if self.job.cancel.is_cancelled() {
            return Ok(());
        }
        match looked {
            Ok(None) => {
                self.agenda.looked(&area, &[], Instant::now());
                Ok(())
            }
            Ok(Some(looked)) => self.looked(&area, looked).await,
            Err(error) => {
                note(self.last, &Err(error.clone()));
                Err(error)
            }
        }
    }

    async fn looked(&mut self, area: &Area, looked: Looked) -> Result<(), SyncError> {
        let Looked {
            report,
            again,
            moving,
        } = looked;
        let often = self.agenda.looked(area, &again, Instant::now());
        let report = Ok(report);
        note(self.last, &report);
        let report = report?;
        let error = report.error.clone();
        // A path that moved on under the look is looked at again at once: only one that goes on so is worth a word.
        if error.is_some() || !moving || often {
            self.job.news.tell(News::Looked(Box::new(report))).await;
        }
        error.map_or(Ok(()), |error| Err(error.into()))
    }

    async fn tell_health(&mut self) {
        let health = self.watchers.as_ref().map(|watcher| watcher.health());
        if health != self.health {
            self.health = health.clone();
            self.job.news.tell(News::Watching(health)).await;
        }
    }
}

/// A watcher on a side: polling, if the job or the storage says so.
async fn watch(job: &SyncJob, side: Side) -> Result<Box<dyn StorageWatcher>, SyncError> {
    if let Some(interval) = job.poll[side] {
        return Ok(Box::new(PollWatcher::new(interval)));
    }
    let request = WatchRequest {
        filter: Arc::clone(&job.options.filter),
    };
    Ok(match job.storages[side].watcher(request).await? {
        Some(watcher) => watcher,
        None => Box::new(PollWatcher::new(POLL_INTERVAL)),
    })
}
