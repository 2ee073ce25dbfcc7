//! One job as its owner holds it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wl_control::{
    JobStatus, MOST_LISTED, PendingStatus, ProgressStatus, Refusal, StorageStatus, Totals,
};
use wl_core::model::{Conflict, Direction, Problem, RunReport, Side, Sides, SyncPath};
use wl_core::storage::WatchHealth;
use wl_core::sync::{Keep, Pending, Phase, Progress, SyncErrorClass};

use super::machine::Machine;
use super::{Figures, StartRequest, StorageRequest};
use crate::JobSpec;
use crate::events::now;

/// A job.
pub(super) struct Slot {
    pub(super) request: StartRequest,
    pub(super) spec: Arc<JobSpec>,
    pub(super) machine: Machine,
    /// The number of its run; what an earlier one tells is too late.
    pub(super) run: u64,
    pub(super) cancel: CancellationToken,
    pub(super) progress: Arc<Progress>,
    /// A look goes on.
    pub(super) looking: bool,
    pub(super) timer: Option<AbortHandle>,
    pub(super) next_try: Option<f64>,
    /// Who waits for it to have stopped and be forgotten.
    pub(super) stops: Vec<oneshot::Sender<Result<Value, Refusal>>>,
    pub(super) stopping: bool,
    /// Who waits for it to have come to rest.
    pub(super) rests: Vec<oneshot::Sender<Result<Value, Refusal>>>,
    /// It is to run again once the conflicts are ended.
    pub(super) relaunch: bool,
    /// Conflicts to end, one after another, before the job runs again.
    pub(super) resolves: VecDeque<Resolve>,
    /// Who waits for the one that is being ended now.
    pub(super) resolving: Option<oneshot::Sender<Result<Value, Refusal>>>,
    pub(super) found: Found,
    pub(super) rate: Rate,
    pub(super) told_progress: Option<ProgressStatus>,
}

/// Conflicts to end.
pub(super) struct Resolve {
    pub(super) paths: Vec<SyncPath>,
    pub(super) keep: Keep,
    pub(super) reply: oneshot::Sender<Result<Value, Refusal>>,
}

/// What was found and done so far.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) names: Option<Sides<Value>>,
    /// The storages as they called themselves when the job reached them first, before a restart too. A path may lead elsewhere later.
    pub(super) begun: Option<Sides<String>>,
    /// The pair of storages as they call themselves, in order: the pair that the job has, unless another job has it.
    pub(super) pair: Option<[String; 2]>,
    /// The job that has the pair, if that is another.
    pub(super) taken_by: Option<String>,
    pub(super) health: Option<Sides<WatchHealth>>,
    /// By path and reason: what is new among them is an event.
    pub(super) conflicts: BTreeMap<String, Conflict>,
    pub(super) problems: Vec<Problem>,
    /// What waits for its time.
    pub(super) pending: Pending,
    pub(super) totals: Totals,
    pub(super) last_look: Option<f64>,
    pub(super) last_agreement: Option<f64>,
}

/// New conflicts and problems of a look.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    pub(super) conflicts: Vec<Conflict>,
    pub(super) problems: Vec<Problem>,
}

impl Found {
    /// Takes in a report. Returns what the one before did not have.
    pub(super) fn take(&mut self, report: &RunReport) -> Fresh {
        self.totals.looks += 1;
        self.totals.source_changes += report.changes.source.total();
        self.totals.target_changes += report.changes.target.total();
        self.totals.bytes_read += report.bytes.read;
        self.totals.bytes_written += report.bytes.written;
        self.last_look = Some(now());
        let nothing_left = report.conflicts.is_empty() && report.problems.is_empty();
        let nothing_left = nothing_left && report.drift.is_empty() && self.pending.paths == 0;
        if report.error.is_some() && !is_refused_by_budget(report) {
            return self.take_more(report);
        }
        if nothing_left && report.error.is_none() {
            self.last_agreement = self.last_look;
        }
        Fresh {
            conflicts: self.take_conflicts(report),
            problems: self.take_problems(report),
        }
    }

    /// Takes in the report of a look that broke off: what it found is so, but nothing is over because it did not find it.
    fn take_more(&mut self, report: &RunReport) -> Fresh {
        let mut fresh = Fresh::default();
        for conflict in &report.conflicts {
            let known = self.conflicts.insert(key(conflict), conflict.clone());
            fresh
                .conflicts
                .extend(known.is_none().then(|| conflict.clone()));
        }
        if !report.problems.is_empty() {
            fresh.problems = self.take_problems(report);
        }
        fresh
    }

    /// Takes in which problems a report has. Returns those that the one before did not have.
    fn take_problems(&mut self, report: &RunReport) -> Vec<Problem> {
        let known = std::mem::replace(&mut self.problems, report.problems.clone());
        let new = report.problems.iter().filter(|it| !known.contains(it));
        new.cloned().collect()
    }
}

/// The delete budget refuses at the end of a look that has seen all it was to see: what is open is all in its report.
fn is_refused_by_budget(report: &RunReport) -> bool {
    let error = report.error.as_ref();
    error.is_some_and(|error| error.class == SyncErrorClass::DeleteBudget.name())
}

/// By path and reason.
fn key(conflict: &Conflict) -> String {
    format!("{}\0{}", conflict.path, conflict.reason)
}

/// What waits for its time, as on the wire.
fn pending(pending: &Pending) -> Option<PendingStatus> {
    let until = pending.until?;
    let left = until.saturating_duration_since(Instant::now());
    Some(PendingStatus {
        count: pending.paths,
        paths: pending
            .first
            .iter()
            .map(|path| path.as_str().to_owned())
            .collect(),
        anywhere: pending.anywhere,
        until: now() + left.as_secs_f64(),
    })
}

impl Found {
    /// Takes in which conflicts a report found open. Returns those that were not.
    pub(super) fn take_conflicts(&mut self, report: &RunReport) -> Vec<Conflict> {
        let was = std::mem::take(&mut self.conflicts);
        let mut fresh = Vec::new();
        for conflict in &report.conflicts {
            let key = key(conflict);
            if !was.contains_key(&key) {
                fresh.push(conflict.clone());
            }
            self.conflicts.insert(key, conflict.clone());
        }
        fresh
    }
}

/// Bytes a second, over the last few seconds.
#[derive(Debug, Default)]
pub(super) struct Rate(VecDeque<(Instant, u64)>);

/// How far back the rate looks.
const RATE_WINDOW: Duration = Duration::from_secs(5);

impl Rate {
    /// Takes in how many bytes were moved until now.
    pub(super) fn sample(&mut self, at: Instant, bytes: u64) {
        if self.0.back().is_some_and(|last| last.1 > bytes) {
            // The next look counts from nothing.
            self.0.clear();
        }
        self.0.push_back((at, bytes));
        while self.0.len() > 2 && at - self.0[0].0 > RATE_WINDOW {
            self.0.pop_front();
        }
    }

    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    fn per_second(&self) -> f64 {
        let (Some(first), Some(last)) = (self.0.front(), self.0.back()) else {
            return 0.0;
        };
        let seconds = (last.0 - first.0).as_secs_f64();
        if seconds > 0.0 {
            (last.1 - first.1) as f64 / seconds
        } else {
            0.0
        }
    }
}

impl Slot {
    pub(super) fn new(request: StartRequest, spec: JobSpec, resting: bool) -> Self {
        Self {
            machine: Machine::new(spec.continuous, resting),
            request,
            spec: Arc::new(spec),
            run: 0,
            cancel: CancellationToken::new(),
            progress: Arc::default(),
            looking: false,
            timer: None,
            next_try: None,
            stops: Vec::new(),
            stopping: false,
            rests: Vec::new(),
            relaunch: false,
            resolves: VecDeque::new(),
            resolving: None,
            found: Found::default(),
            rate: Rate::default(),
            told_progress: None,
        }
    }

    /// Nothing is being done any more.
    pub(super) fn tell_rests(&mut self) {
        let id = &self.request.job_id;
        for reply in self.rests.drain(..) {
            // Whoever asked may be gone.
            let _ = reply.send(Ok(json!(format!("job `{id}` was paused"))));
        }
    }

    /// Forgets that it was to be tried again.
    pub(super) fn no_timer(&mut self) {
        if let Some(timer) = self.timer.take() {
            timer.abort();
            self.next_try = None;
        }
    }

    /// Number and text of its state, as on the wire.
    pub(super) fn state(&self) -> Value {
        let (state, text) = self.machine.state();
        json!([state, text])
    }

    /// How far the look that goes on is.
    pub(super) fn progress(&self) -> Option<ProgressStatus> {
        if !self.looking {
            return None;
        }
        let view = self.progress.view();
        Some(ProgressStatus {
            phase: match view.phase {
                Phase::Comparing => "comparing",
                Phase::Finishing | Phase::Done => "finishing",
            }
            .to_owned(),
            seen: view.seen,
            files_found: view.files_found.max(view.files_done),
            files_done: view.files_done,
            bytes_found: view.bytes_found,
            bytes_done: view.bytes_done,
            bytes_per_second: self.rate.per_second(),
        })
    }

    pub(super) fn status(&self) -> JobStatus {
        let (state, text) = self.machine.state();
        let conflicts = self.found.conflicts.values().take(MOST_LISTED);
        let problems = self.found.problems.iter().take(MOST_LISTED);
        JobStatus {
            job_id: self.request.job_id.clone(),
            container_name: self.request.container_name.clone(),
            state: (state, text.to_owned()),
            continuous: self.spec.continuous,
            direction: match self.spec.options.direction {
                Direction::TwoWay => "two-way",
                Direction::OneWay => "one-way",
                Direction::Mirror => "mirror",
            }
            .to_owned(),
            filters: self.request.options.filters(),
            source: self.storage(Side::Source, &self.request.source),
            target: self.storage(Side::Target, &self.request.target),
            progress: self.progress(),
            pending: pending(&self.found.pending),
            done: self.found.totals,
            last_agreement: self.found.last_agreement,
            last_look: self.found.last_look,
            next_try: self.next_try,
            conflict_count: self.found.conflicts.len() as u64,
            conflicts: conflicts.map(|it| json!(it)).collect(),
            error_count: self.found.problems.len() as u64,
            errors: problems.map(|it| json!(it)).collect(),
            failures: self.machine.failures(),
            panics: self.machine.panics(),
        }
    }

    pub(super) fn figures(&self) -> Figures {
        Figures {
            job_id: self.request.job_id.clone(),
            container_name: self.request.container_name.clone(),
            state: self.machine.state().0,
            last_agreement: self.found.last_agreement,
            last_look: self.found.last_look,
            totals: self.found.totals,
            conflicts: self.found.conflicts.len() as u64,
            problems: self.found.problems.len() as u64,
            failures: self.machine.failures(),
            panics: self.machine.panics(),
        }
    }

    fn storage(&self, side: Side, request: &StorageRequest) -> StorageStatus {
        let described = self.spec.storages[side].describe();
        let named = self
            .found
            .names
            .as_ref()
            .map_or(&described, |names| &names[side]);
        let health = self.found.health.as_ref().map(|health| &health[side]);
        StorageStatus {
            type_name: request.type_name.clone(),
            backend_id: request.backend_id.clone(),
            location: named["location"].as_str().map(str::to_owned),
            watched: health.map(|health| health.mode.clone()),
            worst_delay: health.map(|health| health.worst_delay.as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use wl_core::model::{ByteCounts, Outcome, RunError};

    use super::*;

    fn report(conflicts: &[&str], error: Option<&str>) -> RunReport {
        let conflict = |path: &&str| Conflict {
            path: (*path).to_owned(),
            reason: "both sides changed".to_owned(),
            source: None,
            target: None,
            ancestor: None,
        };
        let problem = |conflict: &Conflict| Problem {
            path: conflict.path.clone(),
            storage: String::new(),
            operation: "read".to_owned(),
            reason: "it cannot be read".to_owned(),
        };
        let conflicts: Vec<_> = conflicts.iter().map(conflict).collect();
        RunReport {
            result: Outcome::Conflicts,
            syncer: "test".to_owned(),
            source: Value::Null,
            target: Value::Null,
            changes: Sides::default(),
            problems: conflicts.iter().map(problem).collect(),
            conflicts,
            drift: Vec::new(),
            skipped: 0,
            excluded: 0,
            bytes: ByteCounts::default(),
            seconds: 0.0,
            notices: Vec::new(),
            error: error.map(|class| RunError {
                class: class.to_owned(),
                desc: String::new(),
            }),
        }
    }

    #[test]
    fn a_look_that_broke_off_ends_no_conflict_and_no_problem() {
        let mut found = Found::default();
        let fresh = found.take(&report(&["a", "b"], None));
        assert_eq!((fresh.conflicts.len(), fresh.problems.len()), (2, 2));
        let fresh = found.take(&report(&[], Some("cancelled")));
        assert_eq!((fresh.conflicts.len(), fresh.problems.len()), (0, 0));
        assert_eq!((found.conflicts.len(), found.problems.len()), (2, 2));
        let fresh = found.take(&report(&["b", "c"], Some("storage")));
        assert_eq!((fresh.conflicts.len(), fresh.problems.len()), (1, 1));
        assert_eq!((found.conflicts.len(), found.problems.len()), (3, 2));
        // They were told: they are no news when they are found again.
        let fresh = found.take(&report(&["a", "b", "c"], None));
        assert_eq!((fresh.conflicts.len(), fresh.problems.len()), (0, 1));
        found.take(&report(&[], None));
        assert_eq!((found.conflicts.len(), found.problems.len()), (0, 0));
    }

    #[test]
    fn a_look_that_the_budget_refused_ends_what_it_did_not_find() {
        let mut found = Found::default();
        found.take(&report(&["a", "b"], None));
        let agreed = found.last_agreement;
        let fresh = found.take(&report(&["b"], Some("delete-budget")));
        assert_eq!((fresh.conflicts.len(), fresh.problems.len()), (0, 0));
        assert_eq!((found.conflicts.len(), found.problems.len()), (1, 1));
        found.take(&report(&[], Some("delete-budget")));
        assert_eq!((found.conflicts.len(), found.problems.len()), (0, 0));
        // Nothing is agreed on while removals are refused.
        assert_eq!(found.last_agreement, agreed);
    }
}
