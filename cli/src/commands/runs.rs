//! What every command that runs passes, or looks at their results, does.

use std::sync::Arc;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use wl_daemon::job::{self, OpenConflicts};
use wl_daemon::jobs::OfContainer;
use wl_daemon::model::{Conflict, Direction, Problem, RunError, RunReport, Sides, SyncPath};
use wl_daemon::sync::{Keep, SyncError, SyncErrorClass, SyncOptions};
use wl_daemon::{JobSpec, Limits, StorageSpec};

use super::Context;
use crate::args::Pair;
use crate::error::{CliError, CliResult, Exit};
use crate::output::human::{self, Aim, NextStep};
use crate::output::{escape, quote};
use crate::runner;

/// A job and the command that ends its conflicts.
pub struct Job {
    /// What to run.
    pub spec: JobSpec,
    /// What to say about conflicts.
    pub next: NextStep,
    /// The storages' names within their container, if they are in one.
    pub ids: Option<Sides<String>>,
    /// How much of what it leaves out its container's manifest says.
    pub of_container: Option<OfContainer>,
}

impl Job {
    /// The job of two storages without set-up.
    pub fn of_pair(context: &Context<'_>, pair: &Pair, options: SyncOptions) -> CliResult<Self> {
        Ok(Self {
            spec: JobSpec {
                storages: pair.specs()?,
                options,
                limits: Limits::default(),
                continuous: false,
                base_dir: context.base_dir()?,
            },
            next: NextStep {
                resolve: format!("{}resolve {}", context.wl(), pair.words()),
                options: pair.options(),
                direction: Direction::TwoWay,
            },
            ids: None,
            of_container: None,
        })
    }
}

/// Runs jobs one after another and prints their reports.
pub async fn run_all(context: &Context<'_>, jobs: CliResult<Vec<Job>>) -> CliResult {
    let jobs = match jobs {
        Ok(jobs) => jobs,
        Err(error) => return refuse(context, error),
    };
    let reports = runner::attended(context.output, async |progress, cancel| {
        let mut reports = Vec::with_capacity(jobs.len());
        for job in &jobs {
            reports.push(job::run_one_shot(&job.spec, progress.clone(), cancel.clone()).await);
        }
        reports
    })
    .await;
    print_reports(context, Aim::Sync, &jobs, &reports)
}

/// Ends conflicts of a job and prints the report.
pub async fn resolve(
    context: &Context<'_>,
    job: CliResult<Job>,
    paths: &[SyncPath],
    keep: Keep,
) -> CliResult {
    let job = match job {
        Ok(job) => job,
        Err(error) => return refuse(context, error),
    };
    // What cannot be looked up is told by the run itself.
    let open =
        job::list_conflicts(&job.spec, false, Arc::default(), CancellationToken::new()).await;
    let open = open.map(|open| open.conflicts).ok();
    let unknown = |path: &&SyncPath| {
        let is_open = |open: &Vec<Conflict>| open.iter().any(|open| open.path == path.as_str());
        !open.as_ref().is_none_or(is_open)
    };
    for path in paths.iter().filter(unknown) {
        context.output.talk(&format!(
            "{} was no open conflict at the last run; `conflicts` and `container list-conflicts` show what is",
            quote(path.as_str())
        ));
    }
    let report = runner::attended(context.output, async |progress, cancel| {
        job::resolve(&job.spec, paths, keep, progress, cancel).await
    })
    .await;
    print_reports(context, Aim::Resolve, &[job], &[report])
}

/// Prints the open conflicts of jobs; those of several by target.
pub async fn list_conflicts(context: &Context<'_>, jobs: Vec<Job>, force_scan: bool) -> CliResult {
    let found = runner::attended(context.output, async |progress, cancel| {
        let mut found = Vec::with_capacity(jobs.len());
        for job in &jobs {
            let (progress, cancel) = (progress.clone(), cancel.clone());
            found.push(job::list_conflicts(&job.spec, force_scan, progress, cancel).await);
        }
        found
    })
    .await;
    let all: Vec<_> = match jobs.len() {
        1 => found.into_iter().collect::<Result<_, _>>()?,
        // One target's trouble hides nothing of the others.
        _ => found
            .into_iter()
            .map(|found| found.unwrap_or_else(|error| not_looked_at(&error)))
            .collect(),
    };
    let each = |(job, found): (&Job, &OpenConflicts)| {
        let OpenConflicts {
            conflicts,
            problems,
        } = found;
        json!({ "target": target_id(job), "conflicts": conflicts, "problems": problems })
    };
    let answer = match &*all {
        [only] => json!({ "conflicts": only.conflicts, "problems": only.problems }),
        _ => json!({ "targets": jobs.iter().zip(&all).map(each).collect::<Vec<_>>() }),
    };
    context.output.print(&answer, || {
        let each = jobs.iter().zip(&all);
        each.map(|(job, found)| tell_conflicts(context, job, found, jobs.len() > 1))
            .collect()
    })?;
    let exit = |found: &OpenConflicts| match (&*found.problems, &*found.conflicts) {
        ([], []) => Exit::Done,
        ([], _) => Exit::Conflicts,
        _ => Exit::Failed,
    };
    Ok(all.iter().map(exit).fold(Exit::Done, Exit::worse))
}

/// The target's name within its container.
fn target_id(job: &Job) -> Option<&str> {
    job.ids.as_ref().map(|ids| &*ids.target)
}

/// What is told of a target whose conflicts could not be looked up.
fn not_looked_at(error: &SyncError) -> OpenConflicts {
    OpenConflicts {
        conflicts: Vec::new(),
        problems: vec![Problem {
            path: ".".to_owned(),
            storage: String::new(),
            operation: "look".to_owned(),
            reason: error.desc.clone(),
        }],
    }
}

fn tell_conflicts(
    context: &Context<'_>,
    job: &Job,
    found: &OpenConflicts,
    with_target: bool,
) -> String {
    let mut text =
        human::conflicts(&found.conflicts, &job.next) + &human::problems(&found.problems);
    if text.is_empty() && context.output.is_quiet() {
        return text;
    }
    if text.is_empty() {
        text = "No open conflicts\n".to_owned();
    }
    match target_id(job).filter(|_| with_target) {
        Some(target) => format!("Target {}:\n{text}", escape(target)),
        None => text,
    }
}

/// The options of a run that is only about conflicts.
pub fn conflict_options(dry_run: bool) -> SyncOptions {
    SyncOptions {
        dry_run,
        ..SyncOptions::new(Direction::TwoWay)
    }
}

/// A storage that is made if it is not there.
pub fn created_if_missing(spec: StorageSpec) -> StorageSpec {
    StorageSpec {
        create_missing: true,
        ..spec
    }
}

/// A run that was refused before its job was known: in JSON a report all the same.
pub fn refuse(context: &Context<'_>, error: CliError) -> CliResult {
    if !context.output.is_json() {
        return Err(error);
    }
    let nothing = Sides::from_fn(|_| json!({}));
    let stand_in = SyncError::new(SyncErrorClass::Usage, "");
    let report = RunReport {
        error: Some(RunError {
            class: error.class(),
            desc: error.to_string(),
        }),
        ..job::refused(nothing, &stand_in)
    };
    context.output.print(&report, String::new)?;
    Ok(error.exit())
}

/// Prints the reports of jobs, and gives the exit code.
pub fn print_reports(
    context: &Context<'_>,
    aim: Aim,
    jobs: &[Job],
    reports: &[RunReport],
) -> CliResult {
    let exit = reports.iter().map(Exit::of).fold(Exit::Done, Exit::worse);
    match reports {
        [report] => context
            .output
            .print(report, || tell(context, aim, &jobs[0], report))?,
        reports => {
            let worst = reports.iter().find(|report| Exit::of(report) == exit);
            let all = json!({ "result": worst.map(|report| report.result), "runs": reports });
            context.output.print(&all, || {
                let each = jobs.iter().zip(reports);
                each.map(|(job, report)| tell(context, aim, job, report))
                    .collect()
            })?;
        }
    }
    Ok(exit)
}

/// The report for people. Why a run was refused or stopped goes to stderr.
fn tell(context: &Context<'_>, aim: Aim, job: &Job, report: &RunReport) -> String {
    if let Some(error) = &report.error {
        context.output.complain(&error.desc);
        let changes = &report.changes;
        if changes.source.total() + changes.target.total() == 0 {
            return String::new();
        }
    }
    let clean = Exit::of(report) == Exit::Done && report.drift.is_empty();
    if context.output.is_quiet() && clean {
        return String::new();
    }
    human::report(report, aim, job.spec.options.dry_run, &job.next)
}
