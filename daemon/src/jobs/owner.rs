//! The one task that owns all jobs: whatever changes a job goes through it, one thing after another.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use wl_control::{Class, EventKind, Refusal};
use wl_core::model::RunReport;
use wl_core::sync::Pending;

use super::machine::{Action, Ending, Input, Left, Waits};
use super::record::{Record, Recorded};
use super::slot::Slot;
use super::worker::{self, Teller, Told, Work};
use super::{Ask, Reply, journal};
use crate::events::{Hub, now};
use crate::job::Ties;
use crate::shared::Library;

/// How often progress is told.
const TICK: Duration = Duration::from_secs(1);

/// Owns the jobs.
pub(super) struct Owner {
    pub(super) base_dir: PathBuf,
    record: Option<Record>,
    pub(super) slots: BTreeMap<String, Slot>,
    /// Recorded jobs that make no sense to this program: kept in the record for one that they do.
    unusable: Vec<Recorded>,
    hub: Arc<Hub>,
    /// What several jobs read, they read together.
    library: Library,
    began: Instant,
    /// Where jobs lead was found out and is not recorded yet.
    pub(super) unrecorded: bool,
    /// Every run of every job has its own number.
    runs: u64,
    tell: mpsc::Sender<(u64, Told)>,
    heard: mpsc::Receiver<(u64, Told)>,
    due: mpsc::Sender<String>,
    is_due: mpsc::Receiver<String>,
    /// Who waits for the end of all jobs.
    pub(super) closing: Option<oneshot::Sender<()>>,
}

impl Owner {
    /// An owner of no jobs yet. Without a record nothing survives it.
    pub(super) fn new(base_dir: PathBuf, record: Option<Record>, hub: Arc<Hub>) -> Self {
        let (tell, heard) = mpsc::channel(64);
        let (due, is_due) = mpsc::channel(64);
        Self {
            base_dir,
            record,
            slots: BTreeMap::new(),
            unusable: Vec::new(),
            hub,
            library: Library::default(),
            began: Instant::now(),
            unrecorded: false,
            runs: 0,
            tell,
            heard,
            due,
            is_due,
            closing: None,
        }
    }

    /// Takes up the jobs that were recorded. Returns which make no sense, and why; they stay recorded.
    pub(super) fn take_up(&mut self, recorded: Vec<Recorded>) -> Vec<(String, Refusal)> {
        let mut unusable = Vec::new();
        for job in recorded {
            let id = job.start.job_id.clone();
            match job.start.unchecked_spec(&self.base_dir) {
                Ok(spec) => {
                    let mut slot = Slot::new(job.start, spec, job.paused);
                    slot.found.begun = job.begun;
                    self.slots.insert(id.clone(), slot);
                    if !job.paused {
                        self.launch(&id, Work::Run);
                    }
                }
                Err(refusal) => {
                    unusable.push((id, refusal));
                    self.unusable.push(job);
                }
            }
        }
        unusable
    }

    /// Works until nobody can ask any more and all jobs have ended.
    pub(super) async fn work(mut self, mut asks: mpsc::Receiver<Ask>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut open = true;
        loop {
            let ticking = self.unrecorded || self.slots.values().any(|slot| slot.looking);
            tokio::select! {
                ask = asks.recv(), if open => match ask {
                    Some(ask) => self.answer(ask).await,
                    None => {
                        open = false;
                        self.close(oneshot::channel().0);
                    }
                },
                Some((run, told)) = self.heard.recv() => self.hear(run, told).await,
                Some(id) = self.is_due.recv() => self.input(&id, Input::Due),
                _ = ticks.tick(), if ticking => {
                    self.tick();
                    self.record_begun().await;
                }
            }
            let idle = self.slots.values().all(|slot| slot.run == 0);
            if idle && let Some(closed) = self.closing.take() {
                self.record_begun().await;
                let _ = closed.send(());
                return;
            }
        }
    }

    /// Whether there was one to begin with.
    pub(super) fn next_resolve(&mut self, id: &str) -> bool {
        let Some(slot) = self.slots.get_mut(id) else {
            return false;
        };
        let Some(resolve) = slot.resolves.pop_front() else {
            return false;
        };
        slot.resolving = Some(resolve.reply);
        self.launch(id, Work::Resolve(resolve.paths, resolve.keep));
        true
    }

    pub(super) fn launch(&mut self, id: &str, work: Work) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        if slot.run != 0 {
            // Conflicts are being ended: afterwards, then.
            slot.relaunch = true;
            return;
        }
        if self.closing.is_some() {
            // What is begun now would never be told to end. The job stays recorded.
            return;
        }
        self.runs += 1;
        slot.run = self.runs;
        slot.cancel = CancellationToken::new();
        slot.progress = Arc::default();
        slot.rate.forget();
        slot.next_try = None;
        // A one-shot is one look.
        slot.looking = !slot.spec.continuous || matches!(work, Work::Resolve(..));
        let _within = slot.spec.span(Some(id)).entered();
        worker::start(
            Arc::clone(&slot.spec),
            work,
            Ties {
                progress: Arc::clone(&slot.progress),
                library: self.library.clone(),
                cancel: slot.cancel.clone(),
                ..Ties::default()
            },
            Teller {
                to: self.tell.clone(),
                run: slot.run,
            },
        );
    }

    async fn hear(&mut self, run: u64, told: Told) {
        let found = self.slots.iter().find(|(_, slot)| slot.run == run);
        let Some(id) = found.map(|(id, _)| id.clone()) else {
            return;
        };
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        match told {
            Told::Connected(reached) => self.reached(&id, *reached),
            Told::Watching(health) => slot.found.health = Some(health),
            Told::Looking => {
                slot.looking = true;
                self.input(&id, Input::Looking);
            }
            Told::FoundWork => self.input(&id, Input::FoundWork),
            Told::Looked(report) => {
                slot.looking = false;
                let left = self.take(&id, &report);
                // A look that was cut short says nothing of what is left; why it was is told next.
                if report.error.is_none() {
                    self.input(&id, Input::Looked(left));
                }
            }
            Told::Pending(pending) => {
                let waits = Waits {
                    paths: pending.paths,
                    anywhere: pending.anywhere,
                };
                slot.found.pending = pending;
                self.input(&id, Input::Pending(waits));
            }
            Told::Silent(why) => self.input(&id, Input::Silent(why)),
            Told::Ended(ending, report) => {
                self.ended(&id, ending, report).await;
                self.tell_rests(&id);
            }
        }
    }

    async fn ended(&mut self, id: &str, ending: Ending, report: Option<Box<RunReport>>) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        slot.run = 0;
        slot.looking = false;
        slot.found.health = None;
        slot.found.pending = Pending::default();
        let resolving = slot.resolving.take();
        let was_resolve = resolving.is_some();
        let stopping = slot.stopping;
        match (resolving, &report) {
            (Some(reply), report) => {
                // One that broke off says nothing of what is left.
                if let Some(report) = report.as_ref().filter(|it| it.error.is_none()) {
                    slot.found.take_conflicts(report);
                    let left = report.conflicts.len() as u64;
                    slot.machine.resolved(left);
                }
                reply_with(reply, resolved(&ending, report.as_deref()));
            }
            (None, Some(report)) => {
                self.take(id, report);
            }
            (None, None) => {}
        }
        if stopping {
            return self.forget(id).await;
        }
        if self.closing.is_some() {
            return;
        }
        if was_resolve {
            return self.after_resolve(id);
        }
        let waiting = self
            .slots
            .get(id)
            .is_some_and(|slot| !slot.resolves.is_empty());
        match waiting && ending == Ending::Stopped {
            false => self.input(id, Input::Ended(ending)),
            true => self.input(id, Input::GivesWay),
        }
        if waiting {
            self.next_resolve(id);
        }
    }

    /// Who waits for the job to rest is told when nothing is being done any more, or when somebody else let it go on.
    fn tell_rests(&mut self, id: &str) {
        if let Some(slot) = self.slots.get_mut(id)
            && (slot.run == 0 || !slot.machine.is_resting())
        {
            slot.tell_rests();
        }
    }

    /// Goes on with what was interrupted.
    fn after_resolve(&mut self, id: &str) {
        if self.next_resolve(id) {
            return;
        }
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        // Who was told to rest in between rests.
        let relaunch = std::mem::take(&mut slot.relaunch) && !slot.machine.is_resting();
        if relaunch || (slot.machine.is_running() && !slot.machine.is_halting()) {
            self.input(id, Input::GoesOn);
            self.launch(id, Work::Run);
        } else if slot.machine.is_running() {
            self.input(id, Input::Ended(Ending::Stopped));
        }
    }

    /// Notes a report, and tells what is new in it.
    fn take(&mut self, id: &str, report: &RunReport) -> Left {
        let Some(slot) = self.slots.get_mut(id) else {
            return Left::default();
        };
        let fresh = slot.found.take(report);
        for conflict in &fresh.conflicts {
            self.publish(EventKind::Conflict, id, "conflict", json!(conflict));
        }
        for problem in &fresh.problems {
            self.publish(EventKind::Error, id, "problem", json!(problem));
        }
        worker::left(report)
    }

    /// Takes in what happened to a job, and does what follows.
    pub(super) fn input(&mut self, id: &str, input: Input) {
        let (now_since, dice) = (self.began.elapsed(), dice());
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        if slot.stopping {
            return;
        }
        slot.no_timer();
        let before = slot.state();
        let failed = match &input {
            Input::Ended(Ending::Failed(class, why)) => Some(json!({
                "path": ".", "storage": "", "operation": "sync", "reason": why, "class": class.name()
            })),
            Input::Ended(Ending::Panicked(why)) => Some(json!({
                "path": ".", "storage": "", "operation": "sync", "reason": why, "class": "panic"
            })),
            _ => None,
        };
        match slot.machine.on(input, now_since, dice) {
            Action::Nothing => {}
            Action::Launch => self.launch(id, Work::Run),
            Action::LaunchAfter(delay) => {
                slot.next_try = Some(now() + delay.as_secs_f64());
                slot.timer = Some(wake(&self.due, id, delay));
            }
            Action::Halt => halt(slot),
        }
        let changed = self
            .slots
            .get(id)
            .is_some_and(|slot| slot.state() != before);
        if changed {
            if let Some(problem) = failed {
                self.publish(EventKind::Error, id, "problem", problem);
            }
            self.tell_state(id);
        }
    }

    fn tick(&mut self) {
        let mut told = Vec::new();
        for (id, slot) in &mut self.slots {
            if !slot.looking {
                continue;
            }
            slot.rate
                .sample(Instant::now(), slot.progress.view().bytes_done);
            let progress = slot.progress();
            if progress != slot.told_progress {
                slot.told_progress.clone_from(&progress);
                told.push((id.clone(), json!(progress)));
            }
        }
        for (id, progress) in told {
            self.publish(EventKind::Progress, &id, "progress", progress);
        }
    }

    /// Stops all runs; the jobs stay recorded.
    pub(super) fn close(&mut self, closed: oneshot::Sender<()>) {
        self.closing.get_or_insert(closed);
        for slot in self.slots.values_mut() {
            slot.no_timer();
            halt(slot);
        }
    }

    /// Records where jobs lead: once a second for all that were reached meanwhile. No job waits for it; what is lost with a daemon that is
    /// killed before is found out anew.
    async fn record_begun(&mut self) {
        if std::mem::take(&mut self.unrecorded)
            && let Err(refusal) = self.save().await
        {
            tracing::warn!(
                "where the jobs' folders lead is not remembered: {}",
                refusal.desc
            );
        }
    }

    pub(super) async fn save(&self) -> Result<(), Refusal> {
        let Some(record) = self.record.clone() else {
            return Ok(());
        };
        let lasting = self.slots.values().filter(|slot| slot.spec.continuous);
        let lasting = lasting.map(|slot| Recorded {
            start: slot.request.clone(),
            paused: slot.machine.is_resting(),
            begun: slot.found.begun.clone(),
        });
        let jobs = lasting.chain(self.unusable.iter().cloned()).collect();
        let saved = tokio::task::spawn_blocking(move || record.save(jobs)).await;
        let failed = |why: String| Refusal::new(Class::Failed, why);
        saved
            .map_err(|error| failed(error.to_string()))?
            .map_err(|error| failed(error.to_string()))
    }

    pub(super) fn tell_state(&self, id: &str) {
        if let Some(slot) = self.slots.get(id) {
            self.publish(EventKind::State, id, "state", slot.state());
        }
    }

    pub(super) fn publish(&self, kind: EventKind, id: &str, name: &str, value: Value) {
        journal::log(kind, id, &value);
        let fields = Map::from_iter([(name.to_owned(), value)]);
        self.hub.publish(kind, id, fields);
    }
}

/// Tells a run to stop.
pub(super) fn halt(slot: &mut Slot) {
    slot.cancel.cancel();
}

/// Whoever asked may be gone; then nobody wants the answer.
pub(super) fn reply_with(reply: Reply, answer: Result<Value, Refusal>) {
    let _ = reply.send(answer);
}

/// The answer to `resolve`: the report of the run that ended the conflicts.
fn resolved(ending: &Ending, report: Option<&RunReport>) -> Result<Value, Refusal> {
    match (report, ending) {
        (Some(report), _) => Ok(json!(report)),
        (None, Ending::Failed(class, why)) => Err(Refusal {
            class: class.name(),
            desc: why.clone(),
        }),
        (None, Ending::Panicked(why)) => Err(Refusal::new(
            Class::Failed,
            format!("a fault in wl ended the run ({why}); please report it"),
        )),
        (None, _) => Err(Refusal::new(
            Class::Failed,
            "the run was stopped before it had ended the conflicts; ask again",
        )),
    }
}

/// Anything from 0 to 1, so that jobs that failed together are not tried again together.
fn dice() -> f64 {
    let any = RandomState::new().build_hasher().finish();
    any as f64 / u64::MAX as f64
}

/// Says that a job is due, after a delay.
fn wake(due: &mpsc::Sender<String>, id: &str, delay: Duration) -> AbortHandle {
    let (due, id) = (due.clone(), id.to_owned());
    let timer = tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        let _ = due.send(id).await;
    });
    timer.abort_handle()
}
