//! A run from lock to report: one pass, and further ones while paths moved on under the first.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::exclude::filter_now;
use super::guard::{
    check_pair, check_roots, check_source, root_changed, root_markers, written_sides,
};
use super::pass::{self, Context, Findings, Tally};
use super::progress::Phase;
use super::rehearsal::Rehearsal;
use super::{SyncError, SyncErrorClass, SyncJob};
use crate::model::{Conflict, Outcome, RunError, RunReport, Side, Sides, SyncPath};
use crate::state::PairState;
use crate::storage::{SessionOptions, TrashState, WriteSession};

/// Passes that a one-shot run makes at the most while paths change under it.
const MOST_PASSES: u32 = 3;

/// Runs `job` once on behalf of the syncer named `syncer`.
///
/// `Err`: the run was refused or stopped before it could look at the storages. What stops it later is in the report, beside what was
/// done until then.
pub async fn one_shot(mut job: SyncJob, syncer: &str) -> Result<RunReport, SyncError> {
    let started = Instant::now();
    check_pair(&job)?;
    let markers = root_markers(&job).await?;
    let state = PairState::open(&job.state_dir, identities(&job))?;
    check_roots(&job, &state, &markers)?;
    if state.is_empty()? {
        check_source(&job).await?;
    }
    job.options.filter = filter_now(&job).await?;
    let notices = state
        .set_aside()
        .map(damaged_baseline)
        .into_iter()
        .collect();
    let state = Arc::new(Mutex::new(state));
    let sessions = sessions(&job).await?;
    {
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if job.options.dry_run {
            state.begin_rehearsal()?;
        } else {
            for side in Side::BOTH {
                state.set_root_marker(side, &markers[side])?;
            }
        }
    }
    let run = Run {
        job,
        sessions,
        state,
        total: Tally::default(),
        notices,
        markers,
    };
    Ok(run.carry_out(syncer, started).await)
}

/// The conflicts that the last pass over the pair left open.
pub fn stored_conflicts(job: &SyncJob) -> Result<Vec<Conflict>, SyncError> {
    Ok(match PairState::peek(&job.state_dir, identities(job))? {
        Some(state) => state.conflicts()?,
        None => Vec::new(),
    })
}

fn damaged_baseline(aside: &std::path::Path) -> String {
    format!(
        "the pair's baseline was damaged and is kept as {}; this run compared everything anew",
        aside.display()
    )
}

fn identities(job: &SyncJob) -> Sides<&str> {
    job.storages.as_ref().map(|storage| storage.identity())
}

async fn sessions(job: &SyncJob) -> Result<Sides<Option<Arc<dyn WriteSession>>>, SyncError> {
    let mut sessions = Sides::default();
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let run = format!(
        "{:x}-{:x}-{:x}",
        since.as_secs(),
        since.subsec_nanos(),
        std::process::id()
    );
    for side in written_sides(job) {
        sessions[side] = Some(if job.options.dry_run {
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

struct Run {
    job: SyncJob,
    sessions: Sides<Option<Arc<dyn WriteSession>>>,
    state: Arc<Mutex<PairState>>,
    total: Tally,
    notices: Vec<String>,
    /// What was behind the roots when the run began.
    markers: Sides<String>,
}

impl Run {
    async fn carry_out(mut self, syncer: &str, started: Instant) -> RunReport {
        let mut error = self.passes().await.err();
        if let Err(failed) = self.end().await {
            error = error.or(Some(failed));
        }
        self.job.progress.enter(Phase::Done);
        self.report(syncer, started, error)
    }

    async fn passes(&mut self) -> Result<(), SyncError> {
        let wishes = self.job.options.resolve.iter();
        let wishes: Vec<SyncPath> = wishes.map(|(path, _)| path.clone()).collect();
        if wishes.is_empty() {
            return self.look(None).await;
        }
        self.end_conflicts(wishes).await
    }

    /// Looks at these paths only: what else the pair's next run would do is not this run's to do, whichever way that goes.
    async fn end_conflicts(&mut self, wishes: Vec<SyncPath>) -> Result<(), SyncError> {
        let mut found = Findings::default();
        found.conflicts = self.other_conflicts(&wishes)?;
        let mut paths = wishes;
        while let Some(path) = paths.pop() {
            let result = self.look(Some(path)).await;
            let mut here = std::mem::take(&mut self.total.found);
            if !self.job.options.dry_run {
                paths.append(&mut here.beside);
            }
            found.add(here);
            if result.is_err() {
                self.total.found = found;
                return result;
            }
        }
        self.total.found = found;
        Ok(())
    }

    /// The conflicts that the last run left open elsewhere. Those about the trash are found again at the end.
    fn other_conflicts(&self, wishes: &[SyncPath]) -> Result<Vec<Conflict>, SyncError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut conflicts = state.conflicts()?;
        conflicts.retain(|conflict| {
            let at_a_wish = SyncPath::new(&*conflict.path).is_ok_and(|path| {
                wishes
                    .iter()
                    .any(|wish| path == *wish || path.is_within(wish))
            });
            let about_trash = conflict.source.is_none() && conflict.target.is_none();
            !at_a_wish && !about_trash
        });
        Ok(conflicts)
    }

    /// Passes over everything, or over one path and what is below it, until nothing moves on under them.
    async fn look(&mut self, scope: Option<SyncPath>) -> Result<(), SyncError> {
        let mut beside = Vec::new();
        for _ in 0..MOST_PASSES {
            self.pass(scope.clone()).await?;
            beside.append(&mut self.total.found.beside);
            if self.job.options.dry_run || !self.total.found.is_unfinished() {
                break;
            }
        }
        self.total.found.beside = beside;
        Ok(())
    }

    /// One pass; what it found replaces what the one before found, what it did is added.
    async fn pass(&mut self, scope: Option<SyncPath>) -> Result<(), SyncError> {
        self.check_roots_again().await?;
        let context = Arc::new(Context::new(
            self.job.clone(),
            self.sessions.clone(),
            Arc::clone(&self.state),
        )?);
        let result = pass::run(Arc::clone(&context), scope).await;
        let tally = context.take_tally();
        for side in Side::BOTH {
            let (sum, new) = (&mut self.total.changes[side], &tally.changes[side]);
            sum.created += new.created;
            sum.updated += new.updated;
            sum.removed += new.removed;
            sum.renamed += new.renamed;
        }
        self.total.bytes.read += tally.bytes.read;
        self.total.bytes.written += tally.bytes.written;
        self.total.found = tally.found;
        result
    }

    /// A root can be unmounted between two passes.
    async fn check_roots_again(&self) -> Result<(), SyncError> {
        let now = root_markers(&self.job).await?;
        for side in Side::BOTH {
            if now[side] != self.markers[side] {
                return Err(root_changed(&self.job, side));
            }
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<(), SyncError> {
        let stranded = self.end_sessions().await;
        self.total.found.close();
        self.total.found.conflicts.extend(self.rescued().await?);
        self.total
            .found
            .conflicts
            .sort_by(|a, b| a.path.cmp(&b.path));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.job.options.dry_run {
            state.end_rehearsal()?;
        } else {
            if !state.is_empty()? {
                state.index()?;
            }
            state.store_conflicts(&self.total.found.conflicts)?;
        }
        stranded
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

    /// Versions in the trash that nobody agreed to give up: conflicts until somebody takes them out.
    async fn rescued(&self) -> Result<Vec<Conflict>, SyncError> {
        let mut conflicts = Vec::new();
        for side in Side::BOTH {
            let storage = &self.job.storages[side];
            if !storage.capabilities().trash {
                continue;
            }
            for item in storage.trash_claimed().await? {
                let how = match item.state {
                    TrashState::Rescued => "a version that was caught between two writers",
                    TrashState::Late => "a version that was written to after it had been replaced",
                    TrashState::Replaced | TrashState::Removed => continue,
                };
                conflicts.push(Conflict {
                    path: item.path.as_ref().map_or(".", SyncPath::as_str).to_owned(),
                    reason: format!(
                        "{how} is kept in the trash of {} as {}; take it out with `wl trash restore`",
                        storage.location(),
                        item.id
                    ),
                    source: None,
                    target: None,
                    ancestor: None,
                });
            }
        }
        Ok(conflicts)
    }

    fn report(self, syncer: &str, started: Instant, error: Option<SyncError>) -> RunReport {
        let Tally {
            changes,
            bytes,
            found,
        } = self.total;
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
            notices: self.notices,
            error: error.map(|error| RunError {
                class: error.class.name(),
                desc: error.desc,
            }),
        };
        report.result = report.judge();
        report
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
