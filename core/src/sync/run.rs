//! A run from lock to report: one pass, and further ones while paths moved on under the first.

mod open;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use tokio::time::Instant;

use super::exclude::filter_now;
use super::guard::{check_source, root_changed, root_markers, written_sides};
use super::opened::{Opened, identities};
use super::pass::{self, Context, Findings, Later, Look, Removals, Tally};
use super::progress::Phase;
use super::rehearsal::Rehearsal;
use super::{SyncError, SyncErrorClass, SyncJob, trash};
use crate::machine;
use crate::model::{
    Conflict, FileId, Outcome, Problem, RunError, RunReport, Side, Sides, SyncPath,
};
use crate::planted::{Bug, planted};
use crate::state::{FolderMove, PairState};
use crate::storage::{Area, Filter, Parts, RootChange, RootMarker, SessionOptions, WriteSession};

pub(super) use open::also;

/// The passes that a look makes at the most while paths change under it, and how long each waits for groups to come to rest.
const RESTS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(200),
    Duration::from_secs(1),
];

/// Runs `job` once on behalf of the syncer named `syncer`.
///
/// `Err`: the run was refused or stopped before it could look at the storages. What stops it later is in the report, beside what was
/// done until then.
///
/// A baseline that turns out to be damaged in the middle of it is set aside, and the run begins again without it.
pub async fn one_shot(job: SyncJob, syncer: &str) -> Result<RunReport, SyncError> {
    everything(job, syncer).await.map(|done| done.report)
}

/// What became of a look at everything.
pub(super) struct Done {
    pub(super) report: RunReport,
    /// What was left out at the end.
    pub(super) filter: Arc<dyn Filter>,
    /// A run that goes on looks at it again.
    pub(super) later: Later,
}

/// The same, with what a run that goes on needs to know.
pub(super) async fn everything(job: SyncJob, syncer: &str) -> Result<Done, SyncError> {
    let ran = attempt(job.clone(), syncer).await;
    let class = match &ran {
        Ok(done) => done
            .report
            .error
            .clone()
            .map(|error| SyncError::from(error).class),
        Err(error) => Some(error.class),
    };
    if class != Some(SyncErrorClass::State) {
        return ran;
    }
    let Some(aside) = PairState::set_aside_if_damaged(&job.state_dir, identities(&job))? else {
        return ran;
    };
    tracing::warn!(aside = %aside.display(), "the pair's baseline is damaged");
    let mut done = attempt(job, syncer).await?;
    done.report.notices.insert(0, damaged_baseline(&aside));
    if let Ok(first) = ran {
        done.report.add_done(&first.report);
    }
    Ok(done)
}

async fn attempt(mut job: SyncJob, syncer: &str) -> Result<Done, SyncError> {
    let started = Instant::now();
    let opened = Opened::open(&job).await?;
    if opened.is_new()? {
        check_source(&job).await?;
    }
    let asked = Arc::clone(&job.options.filter);
    job.options.filter = filter_now(&job).await?;
    let mut run = Run::new(job, opened);
    run.asked = Some(asked);
    run.begin().await?;
    let report = run.carry_out(syncer, started).await;
    Ok(Done {
        report,
        filter: Arc::clone(&run.job.options.filter),
        later: run.later,
    })
}

fn damaged_baseline(aside: &std::path::Path) -> String {
    format!(
        "the pair's baseline was damaged and is kept as {}; this run compared everything anew",
        aside.display()
    )
}

/// A name that no other run has.
pub(super) fn run_name() -> String {
    let since = machine::wall()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!(
        "{:x}-{:x}-{:x}",
        since.as_secs(),
        since.subsec_nanos(),
        machine::process()
    )
}

async fn sessions(job: &SyncJob) -> Result<Sides<Option<Arc<dyn WriteSession>>>, SyncError> {
    let mut sessions = Sides::default();
    let run = run_name();
    for side in written_sides(job) {
        sessions[side] = Some(if job.options.dry_run && !planted(Bug::DryRunWrites) {
            Arc::new(Rehearsal) as Arc<dyn WriteSession>
        } else {
            let options = SessionOptions {
                run: format!("{run}-{side}"),
                durability: job.options.durability,
                trash_keep: job.options.trash_keep,
                cancel: job.cancel.clone(),
            };
            job.storages[side].begin(options).await?
        });
    }
    Ok(sessions)
}

/// What the end of a run came to: what it found is so, whatever failed besides.
#[derive(Debug)]
pub(super) struct Closed {
    /// All that is open, if the end has found more of that.
    pub(super) late: Option<Vec<Conflict>>,
    /// What of it failed first.
    pub(super) failed: Option<SyncError>,
}

/// A run over a pair.
#[derive(Debug)]
pub(super) struct Run {
    job: SyncJob,
    sessions: Sides<Option<Arc<dyn WriteSession>>>,
    begun: bool,
    state: Arc<Mutex<PairState>>,
    total: Tally,
    notices: Vec<String>,
    /// What was behind the roots when the run began.
    markers: Sides<RootMarker>,
    of_others: bool,
    /// What to say of the trash of a full side, once that was found out.
    advice: Sides<Option<String>>,
    /// What the job leaves out besides the rules of the storages; a run that reads those itself has it.
    asked: Option<Arc<dyn Filter>>,
    /// Files that somebody was writing to when it ended; only of a run that goes on.
    later: Later,
    /// What its passes may remove.
    pub(super) removals: Removals,
}

impl Run {
    pub(super) fn new(job: SyncJob, opened: Opened) -> Self {
        let Opened {
            state,
            markers,
            of_others,
        } = opened;
        let notices = state
            .set_aside()
            .map(damaged_baseline)
            .into_iter()
            .collect();
        Self {
            job,
            sessions: Sides::default(),
            begun: false,
            state: Arc::new(Mutex::new(state)),
            total: Tally::default(),
            notices,
            markers,
            of_others,
            advice: Sides::default(),
            asked: None,
            later: Later::default(),
            removals: Removals::All,
        }
    }

    /// Begins to write, if that is not so yet.
    pub(super) async fn begin(&mut self) -> Result<(), SyncError> {
        if self.begun {
            return Ok(());
        }
        self.sessions = sessions(&self.job).await?;
        self.begun = true;
        self.state()
            .set_root_markers(&self.markers, self.of_others)?;
        Ok(())
    }

    pub(super) fn state(&self) -> MutexGuard<'_, PairState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a pass shares.
    pub(super) fn context(&self) -> Result<Context, SyncError> {
        let mut context = Context::new(
            self.job.clone(),
            self.sessions.clone(),
            Arc::clone(&self.state),
        )?;
        context.removals = self.removals;
        Ok(context)
    }

    async fn carry_out(&mut self, syncer: &str, started: Instant) -> RunReport {
        let mut looked = Area::default();
        let mut error = self.passes(&mut looked).await.err();
        if planted(Bug::CancelIsDone) {
            error = error.filter(|error| error.class != SyncErrorClass::Cancelled);
        }
        if let Err(failed) = self.end(&looked).await {
            error = error.or(Some(failed));
        }
        self.job.progress.enter(Phase::Done);
        let found = self.take_found();
        self.report(found, syncer, started, error)
    }

    /// `looked`: where a look came to its end.
    async fn passes(&mut self, looked: &mut Area) -> Result<(), SyncError> {
        let wishes = self.job.options.resolve.iter();
        let wishes: Vec<SyncPath> = wishes.map(|(path, _)| path.clone()).collect();
        if !wishes.is_empty() {
            return self.end_conflicts(wishes, looked).await;
        }
        let result = self.look(|| Look::Everything).await;
        if has_seen_all(&result) {
            *looked = Area::Everything;
        }
        result
    }

    /// Looks at these paths only: what else the pair's next run would do is not this run's to do, whichever way that goes.
    async fn end_conflicts(
        &mut self,
        wishes: Vec<SyncPath>,
        looked: &mut Area,
    ) -> Result<(), SyncError> {
        let mut found = Findings::default();
        let mut done = Parts::default();
        let mut result = Ok(());
        let wished = wishes.clone();
        // What is below comes first: the end of a conflict above may take it along.
        let mut paths = wishes;
        paths.sort();
        paths.dedup();
        while let Some(path) = paths.pop() {
            result = self.look(|| Look::Wish(path.clone())).await;
            let mut here = std::mem::take(&mut self.total.found);
            if wished.contains(&path) && result.is_ok() && !here.met && here.problems.is_empty() {
                let path = path.as_str().to_owned();
                here.problems.push(no_conflict(path, self.job.both()));
            }
            if !self.job.options.dry_run {
                paths.append(&mut here.beside);
            }
            found.add(here);
            if result.is_err() {
                break;
            }
            done.add_subtree(path);
        }
        *looked = Area::Parts(done);
        self.total.found = found;
        result
    }

    /// Passes until nothing moves on under them.
    async fn look(&mut self, look: impl Fn() -> Look) -> Result<(), SyncError> {
        let (mut beside, mut met) = (Vec::new(), false);
        for (pass, rest) in RESTS.into_iter().enumerate() {
            if pass > 0 && self.total.found.restless {
                // What only makes sense together is not read while it changes: it gets some time to come to rest.
                tokio::select! {
                    biased;
                    () = self.job.cancel.cancelled() => {}
                    () = tokio::time::sleep(rest) => {}
                }
            }
            if self.total.found.other_rules {
                self.follow_rules().await?;
            }
            // A pass that breaks off has not found that what the one before found is over.
            let before = std::mem::take(&mut self.total.found.conflicts);
            let passed = self.pass(look()).await;
            if !has_seen_all(&passed) {
                also(&mut self.total.found.conflicts, before);
            }
            passed?;
            beside.append(&mut self.total.found.beside);
            met |= self.total.found.met;
            if self.job.options.dry_run || !self.total.found.calls_for_pass() {
                break;
            }
        }
        self.total.found.beside = beside;
        self.total.found.met = met;
        Ok(())
    }

    /// Leaves out what is to be left out by now: somebody has changed the rules, or the pass itself has brought them.
    async fn follow_rules(&mut self) -> Result<(), SyncError> {
        if let Some(asked) = &self.asked {
            let mut job = self.job.clone();
            job.options.filter = Arc::clone(asked);
            self.job.options.filter = filter_now(&job).await?;
        }
        Ok(())
    }

    /// One pass; what it found replaces what the one before found, what it did is added.
    pub(super) async fn pass(&mut self, look: Look) -> Result<(), SyncError> {
        self.check_roots_again().await?;
        self.look_for_space().await;
        let context = Arc::new(self.context()?.looking(&look));
        let result = pass::run(Arc::clone(&context), look).await;
        let tally = context.take_tally();
        self.total.add(tally);
        self.advise().await;
        result
    }

    /// Where a storage was full, its trash may be what fills it.
    async fn advise(&mut self) {
        let full = std::mem::take(&mut self.total.found.full);
        for problem in &mut self.total.found.problems {
            let on = |side: &Side| self.job.storages[*side].location() == problem.storage;
            let Some(side) = Side::BOTH.into_iter().find(on) else {
                continue;
            };
            if full.contains(&problem.path) {
                if self.advice[side].is_none() {
                    let advice = trash::advice(&*self.job.storages[side]).await;
                    self.advice[side] = Some(advice.unwrap_or_default());
                }
                let advice = self.advice[side].iter();
                advice.for_each(|advice| problem.reason.push_str(advice));
            }
        }
    }

    /// Space may have been made where there was none.
    async fn look_for_space(&self) {
        let Some(patience) = &self.job.patience else {
            return;
        };
        for side in Side::BOTH {
            if patience.wants_space(side)
                && let Some(free) = self.job.storages[side].free_space().await
            {
                patience.has_space(side, free);
            }
        }
    }

    /// A root can be unmounted or replaced between two passes.
    pub(super) async fn check_roots_again(&self) -> Result<(), SyncError> {
        let now = root_markers(&self.job).await?;
        for side in Side::BOTH {
            match now[side].since(&self.markers[side]) {
                RootChange::Same => {}
                change => return Err(root_changed(&self.job, side, change)),
            }
        }
        Ok(())
    }

    /// Carries out the renames of folders, and says which were done. The new folder is walked then: it may have changed since.
    pub(super) async fn follow_moves(
        &mut self,
        moves: Vec<FolderMove>,
        parts: &mut Parts,
    ) -> Result<Vec<(Side, FileId)>, SyncError> {
        let mut done = Vec::new();
        let written: Vec<_> = written_sides(&self.job).collect();
        for moved in moves
            .into_iter()
            .filter(|moved| written.contains(&moved.on))
        {
            self.begin().await?;
            let context = self.context()?;
            context.check_cancelled()?;
            if pass::follow_move(&context, &moved).await? {
                parts.add_path(moved.from);
                parts.add_subtree(moved.to);
                self.total.add(context.take_tally());
                done.push((moved.on, moved.id));
            }
        }
        Ok(done)
    }

    /// What the last pass found.
    pub(super) fn take_found(&mut self) -> Findings {
        std::mem::take(&mut self.total.found)
    }

    /// Ends what was begun, as far as that goes.
    pub(super) async fn close(&mut self) -> Closed {
        self.begun = false;
        let ended = self.end_sessions().await;
        let (late, settled) = match self.settle_late().await {
            Ok(late) => (late, Ok(())),
            Err(failed) => (None, Err(failed)),
        };
        self.sessions = Sides::default();
        let merged = self.state().merge_recent().map_err(SyncError::from);
        Closed {
            late,
            failed: ended.and(settled).and(merged).err(),
        }
    }

    /// `looked`: where a look came to its end.
    async fn end(&mut self, looked: &Area) -> Result<(), SyncError> {
        let ended = self.end_sessions().await;
        let goes_on = self.job.patience.is_some();
        if goes_on {
            self.later = self.total.found.take_for_later();
        }
        self.total.found.close(goes_on);
        let mut conflicts = std::mem::take(&mut self.total.found.conflicts);
        let completed = self.complete(&mut conflicts, looked, true).await;
        self.total.found.conflicts = conflicts;
        let mut state = self.state();
        if self.job.options.dry_run {
            state.end_rehearsal()?;
            return ended.and(completed);
        }
        if !state.is_empty()? {
            state.index()?;
        }
        state.store_conflicts(&self.total.found.conflicts)?;
        let merged = state.merge_recent();
        ended.and(completed).and(merged.map_err(SyncError::from))
    }

    async fn end_sessions(&mut self) -> Result<(), SyncError> {
        let mut result = Ok(());
        for side in Side::BOTH {
            let Some(session) = &self.sessions[side] else {
                continue;
            };
            if let Err(error) = session.finish().await {
                result = Err(error.into());
            }
        }
        result
    }

    /// The report of what was done since the last one.
    pub(super) fn report(
        &mut self,
        found: Findings,
        syncer: &str,
        started: Instant,
        error: Option<SyncError>,
    ) -> RunReport {
        let Tally { changes, bytes, .. } = std::mem::take(&mut self.total);
        let mut report = RunReport {
            result: Outcome::Failed,
            syncer: syncer.to_owned(),
            source: describe(&self.job, Side::Source),
            target: describe(&self.job, Side::Target),
            changes,
            conflicts: found.conflicts,
            problems: found.problems,
            drift: found.drift,
            skipped: found.skipped,
            excluded: found.excluded,
            bytes,
            seconds: started.elapsed().as_secs_f64(),
            notices: std::mem::take(&mut self.notices),
            error: error.map(|error| RunError {
                class: error.class.name(),
                desc: error.desc,
            }),
        };
        report.result = report.judge();
        report
    }
}

/// Whether what a look came to is known of all that it was to see.
pub(super) fn has_seen_all(result: &Result<(), SyncError>) -> bool {
    let broke_off = |error: &SyncError| !error.class.ends_a_whole_look();
    !result.as_ref().is_err_and(broke_off)
}

/// Somebody wants the end of a conflict that there is not.
fn no_conflict(path: String, storage: String) -> Problem {
    Problem {
        path,
        storage,
        operation: "resolve".into(),
        reason: "there is no conflict here, nothing was changed; sync, look which paths are in conflict then, and name one of them".into(),
    }
}

fn describe(job: &SyncJob, side: Side) -> serde_json::Value {
    let storage = &job.storages[side];
    serde_json::json!({ "type": storage.type_name(), "location": storage.location() })
}

impl SyncErrorClass {
    /// The class as in reports.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            _ => format!("{self:?}"),
        }
    }
}
