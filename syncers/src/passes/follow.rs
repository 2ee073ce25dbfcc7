//! A continuous run: looks where watchers say so, until it is stopped.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::{Instant, sleep_until};
use wl_core::model::{RunReport, Side, Sides};
use wl_core::planted::{Bug, planted};
use wl_core::storage::{
    Area, Filter, Observation, POLL_INTERVAL, PollWatcher, StorageWatcher, WatchHealth,
    WatchRequest,
};
use wl_core::sync::{Looked, Looks, News, Pending, SyncError, SyncJob, filter_now};

use super::agenda::{Agenda, Next};
use super::beside::{Beside, Kept, Watchers, hear};
use super::silence::{Questions, attend};
use super::telling::Telling;
use super::{Findings, note};

/// What is held open between looks is let go of after this long without one.
const QUIET: Duration = Duration::from_secs(2);

/// Where things change all the time it is let go of after this long, and nobody may be kept out by that.
const LONGEST_OPEN: Duration = Duration::from_secs(5);
/// Whoever wanted to work on the pair meanwhile, and was refused, has so long to take it.
const LET_IN: Duration = Duration::from_millis(250);

/// What is in the way of walks is looked for after this long: not everything that takes it away is told.
const BLOCKED: Duration = Duration::from_secs(60);
/// And so is something that is left out, in whose place or folder nothing can be done: watchers do not watch it.
const IN_THE_WAY: Duration = Duration::from_secs(300);

/// Looks again and again until the job is stopped (`Ok`) or a look fails as a whole.
pub(super) async fn follow(
    job: &SyncJob,
    name: &'static str,
    last: &Mutex<Findings>,
) -> Result<(), SyncError> {
    // Watched first, then looked at: what changes in between is seen by the one or the other.
    let filter = filter_now(job).await?;
    let watchers = watch_both(job, &filter).await?;
    let mut run = Following {
        looks: Looks::new(job.clone(), name),
        agenda: Agenda::new(job.options.rescan, Instant::now()),
        health: watchers.as_ref().map(|watcher| watcher.health()),
        watchers,
        kept: Kept::default(),
        filter,
        telling: Telling::default(),
        questions: Questions::default(),
        job,
        last,
    };
    job.news.tell(News::Watching(run.health.clone())).await;
    let ended = run.go_on().await;
    // What ended it says more than what letting go says.
    let (rested, _) = attend(job, &mut run.questions, run.looks.rest()).await;
    ended?;
    let Some(report) = rested? else {
        return Ok(());
    };
    let error = report.error.clone();
    note(last, &Ok(report));
    error.map_or(Ok(()), |error| Err(error.into()))
}

struct Following<'a> {
    job: &'a SyncJob,
    last: &'a Mutex<Findings>,
    looks: Looks,
    agenda: Agenda,
    watchers: Watchers,
    /// What they said beside a look.
    kept: Kept,
    /// What the watchers leave out.
    filter: Arc<dyn Filter>,
    health: Sides<WatchHealth>,
    telling: Telling,
    /// Whether the storages are there.
    questions: Questions,
}

impl Following<'_> {
    async fn go_on(&mut self) -> Result<(), SyncError> {
        let mut quiet_since = Instant::now();
        let mut open_since = None;
        while !self.job.cancel.is_cancelled() {
            // Neither side waits for the other to be quiet.
            self.hear_both().await?;
            self.own_up().await;
            self.let_others_in(&mut open_since).await?;
            if self.looks.due().is_some_and(|due| due <= Instant::now()) {
                self.look_again().await?;
                quiet_since = Instant::now();
                continue;
            }
            let pending = self.waiting_with_few();
            let next = self.agenda.take(Instant::now());
            if next != Next::Rest {
                self.carry_out(next, pending).await?;
                quiet_since = Instant::now();
                continue;
            }
            if self.telling.ends_silence() {
                self.tell().await;
            }
            self.tell_health().await;
            let rest = quiet_since + QUIET;
            let due = self.looks.due().into_iter();
            let due = due.fold(self.agenda.due(), Instant::min);
            tokio::select! {
                biased;
                () = self.job.cancel.cancelled() => break,
                seen = hear(&mut self.watchers.source, &mut self.kept.source) => self.saw(Side::Source, seen?),
                seen = hear(&mut self.watchers.target, &mut self.kept.target) => self.saw(Side::Target, seen?),
                () = sleep_until(due) => {}
                () = sleep_until(rest), if self.looks.is_open() => self.rest().await?,
            }
        }
        Ok(())
    }

    /// Other runs get their turn on the pair, however much there is to do.
    async fn let_others_in(&mut self, open_since: &mut Option<Instant>) -> Result<(), SyncError> {
        if !self.looks.is_open() {
            *open_since = None;
            return Ok(());
        }
        if open_since.get_or_insert_with(Instant::now).elapsed() >= LONGEST_OPEN {
            *open_since = None;
            let wanted = self.looks.is_wanted();
            self.rest().await?;
            if wanted {
                tokio::select! {
                    () = self.job.cancel.cancelled() => {}
                    () = tokio::time::sleep(LET_IN) => {}
                }
            }
        }
        Ok(())
    }

    /// Lets go of what is held open, and tells what its end has found.
    async fn rest(&mut self) -> Result<(), SyncError> {
        let pending = self.waiting_with_few();
        let (looks, beside) = self.apart(pending);
        let report = beside.attend(looks.rest()).await?;
        let looked = Looked {
            report,
            ..Looked::default()
        };
        match looked.report {
            Some(_) => self.looked(&Area::default(), looked).await,
            None => Ok(()),
        }
    }

    /// Takes what both watchers have to say at this moment.
    async fn hear_both(&mut self) -> Result<(), SyncError> {
        for side in Side::BOTH {
            let kept = self.kept[side].take();
            // After a look that never paused the runtime would have anybody wait, whatever there is to hear.
            let heard = unconstrained(async {
                tokio::select! {
                    biased;
                    seen = self.watchers[side].next() => Some(seen),
                    () = std::future::ready(()) => None,
                }
            });
            let heard = heard.await;
            for seen in kept.into_iter().chain(heard) {
                let seen = seen?;
                if !planted(Bug::EventIsDropped) {
                    self.saw(side, seen);
                }
            }
        }
        Ok(())
    }

    /// What waits for its time is work like any other: nobody is told meanwhile that both are in sync.
    async fn own_up(&mut self) {
        // What was told to wait beside a look does so until it was looked at.
        let pending = match self.telling.is_waiting() {
            true => self.waiting_with_few(),
            false => self.waiting(),
        };
        if let Some(pending) = self.telling.waits(pending, Instant::now()) {
            self.job.news.tell(News::Pending(pending)).await;
        }
    }

    /// What waits, as long as no look at it takes long.
    fn waiting(&self) -> Pending {
        self.with_removals(self.agenda.pending(Instant::now()))
    }

    /// What would wait if the next look did.
    fn waiting_with_few(&self) -> Pending {
        self.with_removals(self.agenda.pending_with_few(Instant::now()))
    }

    fn with_removals(&self, mut pending: Pending) -> Pending {
        if let Some(due) = self.looks.due() {
            pending.add_more(self.looks.held_back(), due);
        }
        pending
    }

    /// Removals have waited long enough.
    async fn look_again(&mut self) -> Result<(), SyncError> {
        self.job.progress.restart();
        let pending = self.waiting_with_few();
        let (looks, beside) = self.apart(pending);
        let done = match beside.attend(looks.look_again()).await {
            Ok(looked) => self.looked(&Area::default(), looked).await,
            Err(error) => Err(error),
        };
        self.went(done)
    }

    /// What looks, and what goes on beside it.
    fn apart(&mut self, pending: Pending) -> (&mut Looks, Beside<'_>) {
        let beside = Beside {
            job: self.job,
            watchers: &mut self.watchers,
            kept: &mut self.kept,
            questions: &mut self.questions,
            telling: &mut self.telling,
            pending,
        };
        (&mut self.looks, beside)
    }

    fn saw(&mut self, side: Side, seen: Observation) {
        let now = Instant::now();
        let polls = self.watchers.as_ref().map(|watcher| watcher.polls());
        let is_gap = matches!(seen, Observation::Gap { .. });
        let area = seen.into_area();
        let only_asks = self.watchers[side].only_asks(&area);
        // Smaller ones are looked at next, as any change.
        if is_gap && area == Area::Everything {
            self.agenda.missed(side, now);
        }
        match area {
            Area::Parts(_) if !only_asks || is_gap => self.agenda.changed(area, now),
            area => self.agenda.heard(side, area, &polls, now),
        }
    }

    async fn carry_out(&mut self, next: Next, pending: Pending) -> Result<(), SyncError> {
        self.job.progress.restart();
        let done = match next {
            Next::Rest => Ok(()),
            Next::Look(area) => self.look(area, pending).await,
            Next::Sweep(side) => self.sweep(side, pending).await,
        };
        self.went(done)?;
        match self.job.cancel.is_cancelled() {
            true => Ok(()),
            false => self.follow_rules().await,
        }
    }

    fn went(&self, done: Result<(), SyncError>) -> Result<(), SyncError> {
        match done {
            // What a run that is stopped fails with is no news.
            Err(_) if self.job.cancel.is_cancelled() => Ok(()),
            Err(error) => {
                note(self.last, &Err(error.clone()));
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Other things are left out than before: they are watched, or not watched any more, and looked at once that is so.
    async fn follow_rules(&mut self) -> Result<(), SyncError> {
        if !Arc::ptr_eq(&self.filter, self.looks.filter()) {
            self.filter = Arc::clone(self.looks.filter());
            self.watchers = watch_both(self.job, &self.filter).await?;
            // Everything is looked at by the new rules, whatever the old watchers said.
            self.kept = Kept::default();
            self.agenda.add(Area::Everything, Instant::now());
        }
        Ok(())
    }

    async fn sweep(&mut self, side: Side, pending: Pending) -> Result<(), SyncError> {
        let began = Instant::now();
        self.watchers[side].looking();
        let (looks, beside) = self.apart(pending);
        let area = beside.attend(looks.sweep(side)).await?;
        self.watchers[side].looked(&Area::Everything, began.elapsed(), false);
        self.watchers[side].acted(&area);
        if area == Area::Everything {
            // It could not tell; that is no change, or who polls would be told of one each time.
            self.agenda.look_at_all(Instant::now());
            return Ok(());
        }
        self.agenda.add(area, Instant::now());
        if self.agenda.swept(side, began) {
            // Where nothing was missing no look tells so.
            self.telling.owe_again();
        }
        Ok(())
    }

    async fn look(&mut self, area: Area, pending: Pending) -> Result<(), SyncError> {
        if area == Area::Everything {
            self.job.news.tell(News::Looking).await;
            self.watchers.source.looking();
            self.watchers.target.looking();
        }
        let began = Instant::now();
        let (looks, beside) = self.apart(pending);
        let looked = beside.attend(looks.look(area.clone())).await?;
        let report = looked.report.as_ref();
        let worked = report.is_some_and(did_something);
        let took = began.elapsed();
        for side in Side::BOTH {
            self.watchers[side].looked(&area, took, worked);
        }
        if area == Area::Everything {
            self.agenda.looked_at_all(took, worked, Instant::now());
            for side in Side::BOTH {
                self.agenda.swept(side, began);
            }
        }
        self.looked(&area, looked).await
    }

    async fn looked(&mut self, area: &Area, looked: Looked) -> Result<(), SyncError> {
        let now = Instant::now();
        let often = self.agenda.looked(area, &looked.again, now);
        self.agenda.written(&looked.written);
        self.agenda.let_be(&looked.let_be, now);
        if let Some(report) = &looked.report
            && did_something(report)
        {
            self.agenda.carried(area, report.bytes.written, now);
        }
        self.agenda.confirm(looked.young, now);
        if looked.blocked {
            self.agenda.everything_within(BLOCKED, now);
        }
        if looked.in_the_way {
            self.agenda.everything_within(IN_THE_WAY, now);
        }
        if self.job.cancel.is_cancelled() {
            return Ok(());
        }
        let mut error = None;
        if let Some(report) = looked.report {
            for side in Side::BOTH {
                // What went to the other side came from this one.
                if report.changes[side.other()].total() > 0 {
                    self.watchers[side].acted(area);
                }
            }
            error.clone_from(&report.error);
            let report = Ok(report);
            note(self.last, &report);
            self.telling.owe(report?);
        }
        // A path that moved on under the look is looked at again at once: only one that goes on so is worth a word.
        if error.is_some() || !looked.moving || often {
            // What waits goes first, and what came while it was looked: with it, nobody takes what is told for all there is.
            self.hear_both().await?;
            self.own_up().await;
            self.tell().await;
        }
        error.map_or(Ok(()), |error| Err(error.into()))
    }

    async fn tell(&mut self) {
        if let Some(report) = self.telling.take() {
            self.job.news.tell(News::Looked(report)).await;
        }
    }

    async fn tell_health(&mut self) {
        let health = self.watchers.as_ref().map(|watcher| watcher.health());
        if health != self.health {
            self.health = health.clone();
            self.job.news.tell(News::Watching(health)).await;
        }
    }
}

fn did_something(report: &RunReport) -> bool {
    report.changes.source.total() + report.changes.target.total() > 0
}

async fn watch_both(job: &SyncJob, filter: &Arc<dyn Filter>) -> Result<Watchers, SyncError> {
    Ok(Sides::new(
        watch(job, Side::Source, filter).await?,
        watch(job, Side::Target, filter).await?,
    ))
}

/// A watcher on a side: polling, if the job or the storage says so.
async fn watch(
    job: &SyncJob,
    side: Side,
    filter: &Arc<dyn Filter>,
) -> Result<Box<dyn StorageWatcher>, SyncError> {
    if let Some(interval) = job.poll[side] {
        return Ok(Box::new(PollWatcher::new(interval)));
    }
    let request = WatchRequest {
        filter: Arc::clone(filter),
    };
    Ok(match job.storages[side].watcher(request).await? {
        Some(watcher) => watcher,
        None => Box::new(PollWatcher::adaptive(POLL_INTERVAL)),
    })
}
