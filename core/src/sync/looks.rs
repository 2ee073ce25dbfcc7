//! One look after the other at a pair, as long as a continuous run goes on: at everything, or where watchers say that something may
//! have changed.
//!
//! Between looks that follow each other closely the pair stays open: its lock, its baseline, and what is written through. It is closed when it
//! was quiet for a while ([`Looks::rest`]), so that others may work on the pair and nothing of the storages is held.

use std::time::Instant;

use super::groups::GROUP;
use super::pass::{Findings, Look, survey};
use super::run::{self, Opened, Run};
use super::{SyncError, SyncJob};
use crate::model::{Drift, Problem, RunReport, SyncPath};
use crate::storage::{Area, Parts};

/// Looks at one pair.
#[derive(Debug)]
pub struct Looks {
    job: SyncJob,
    syncer: &'static str,
    open: Option<Run>,
    standing: Standing,
    /// A group was staged and not published.
    restless: bool,
}

/// What earlier looks found and no later one found otherwise.
#[derive(Debug, Default)]
struct Standing {
    problems: Vec<Problem>,
    drift: Vec<Drift>,
    skipped: u64,
}

/// What a look came to.
#[derive(Debug)]
pub struct Looked {
    /// What was done by this look, and all that is open now, wherever that was found.
    pub report: RunReport,
    /// Paths that moved on under the look, or failed: to be looked at again after a while.
    pub again: Vec<SyncPath>,
    /// Some moved on, and it may be that they have come to rest by now.
    pub moving: bool,
}

impl Looks {
    /// Looks for `job`, on behalf of the syncer named `syncer`. Nothing is touched yet.
    pub fn new(job: SyncJob, syncer: &'static str) -> Self {
        Self {
            job,
            syncer,
            open: None,
            standing: Standing::default(),
            restless: false,
        }
    }

    /// Looks at `area`, and does what is to be done there. `None`: nothing there differs from what is known.
    ///
    /// `Err`: the look was refused or stopped before it could begin. What stops it later is in the report.
    pub async fn look(&mut self, area: Area) -> Result<Option<Looked>, SyncError> {
        let parts = match area {
            Area::Parts(parts) => parts,
            Area::Everything => return self.everything().await.map(Some),
        };
        if self.open.is_none() {
            let opened = Opened::open(&self.job).await?;
            if !opened.needs_all()? {
                self.open = Some(Run::new(self.job.clone(), opened));
            }
        }
        let Some(mut run) = self.open.take() else {
            return self.everything().await.map(Some);
        };
        let looked = self.at(&mut run, &parts).await;
        // A run that failed is not gone on with, nor one that holds what was staged for nothing.
        let restless = std::mem::take(&mut self.restless);
        if !restless
            && matches!(&looked, Ok(looked) if looked.as_ref().is_none_or(|looked| looked.report.error.is_none()))
        {
            self.open = Some(run);
        } else if let Err(failed) = run.close().await {
            tracing::debug!(error = %failed, "the end of a run that failed");
        }
        looked
    }

    /// Whether something is held open that [`Looks::rest`] lets go of.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Ends what was begun: nothing of the storages and of the pair is held any more.
    pub async fn rest(&mut self) -> Result<(), SyncError> {
        match self.open.take() {
            Some(mut run) => run.close().await,
            None => Ok(()),
        }
    }

    async fn everything(&mut self) -> Result<Looked, SyncError> {
        self.rest().await?;
        let report = run::one_shot(self.job.clone(), self.syncer).await?;
        self.standing = Standing {
            problems: report.problems.clone(),
            drift: report.drift.clone(),
            skipped: report.skipped,
        };
        Ok(Looked {
            again: places(&report.problems),
            moving: false,
            report,
        })
    }

    async fn at(&mut self, run: &mut Run, parts: &Parts) -> Result<Option<Looked>, SyncError> {
        let started = Instant::now();
        run.check_roots_again().await?;
        let mut parts = self.standing.widen(parts);
        let mut ground = survey(&run.context()?, &parts).await?;
        // Another folder may be in the way of one until that was moved itself.
        while run.follow_moves(ground.take_moves(), &mut parts).await? {
            ground = survey(&run.context()?, &parts).await?;
        }
        let mut covers = ground.covers().clone();
        let known = run.conflicts_outside(&covers)?;
        if ground.is_quiet() && !known.some_inside && !self.standing.concerns(&covers) {
            return Ok(None);
        }
        run.begin().await?;
        let mut result = run.pass(Look::Ground(ground)).await;
        let mut found = run.take_found();
        let next = moved_on(&mut found);
        if result.is_ok() && !next.is_empty() {
            // Mostly it was our own change that the pass met, or a version that was put beside.
            let ground = survey(&run.context()?, &next).await?;
            found.forget(ground.covers());
            covers.add(ground.covers().clone());
            result = run.pass(Look::Ground(ground)).await;
            found.add(run.take_found());
        }
        let moving = found.is_unfinished();
        self.restless = found.restless;
        found.close();
        let again = places(&found.problems);
        self.standing.replace(&covers, &found);
        found
            .conflicts
            .extend(run.conflicts_outside(&covers)?.outside);
        found.problems.clone_from(&self.standing.problems);
        found.drift.clone_from(&self.standing.drift);
        found.skipped = self.standing.skipped;
        run.settle(&mut found).await?;
        let report = run.report(found, self.syncer, started, result.err());
        Ok(Some(Looked {
            report,
            again,
            moving,
        }))
    }
}

/// The places that moved on under a pass, and those that it made beside others.
fn moved_on(found: &mut Findings) -> Parts {
    let mut parts = Parts::default();
    let beside = std::mem::take(&mut found.beside);
    // A group gets time to come to rest.
    let at_once = |problem: &&Problem| problem.operation != GROUP;
    let at_once: Vec<_> = found.unfinished.iter().filter(at_once).cloned().collect();
    let paths = places(&at_once).into_iter().chain(beside);
    paths.for_each(|path| parts.add_path(path));
    parts
}

/// The paths of problems that may pass by themselves; not the root, which stands for the run as a whole.
fn places(problems: &[Problem]) -> Vec<SyncPath> {
    let problems = problems.iter().filter(|problem| !is_of_walk(problem));
    let paths = problems.filter_map(|problem| SyncPath::new(&*problem.path).ok());
    paths.filter(|path| !path.is_root()).collect()
}

/// Whether only a walk finds the problem, and finds it gone: a folder that cannot be read, a name that cannot be told.
fn is_of_walk(problem: &Problem) -> bool {
    problem.operation == "list"
}

impl Standing {
    /// A place where only a walk finds out more is walked.
    fn widen(&self, parts: &Parts) -> Parts {
        let mut parts = parts.clone();
        for problem in self.problems.iter().filter(|problem| is_of_walk(problem)) {
            if let Ok(path) = SyncPath::new(&*problem.path)
                && parts.paths().contains(&path)
            {
                parts.add_subtree(path);
            }
        }
        parts
    }

    fn concerns(&self, area: &Area) -> bool {
        let drifts =
            |drift: &Drift| SyncPath::new(&*drift.path).is_ok_and(|path| area.holds(&path));
        self.problems.iter().any(|problem| is_over(problem, area)) || self.drift.iter().any(drifts)
    }

    /// What was found in `area` takes the place of what was known there.
    fn replace(&mut self, area: &Area, found: &Findings) {
        let outside = |path: &str| SyncPath::new(path).map_or(true, |path| !area.holds(&path));
        self.problems.retain(|problem| !is_over(problem, area));
        self.drift.retain(|drift| outside(&drift.path));
        self.problems.extend_from_slice(&found.problems);
        self.drift.extend_from_slice(&found.drift);
    }
}

/// Whether a look at `area` that did not find the problem again has found it gone.
fn is_over(problem: &Problem, area: &Area) -> bool {
    let (Ok(path), Area::Parts(parts)) = (SyncPath::new(&*problem.path), area) else {
        return *area == Area::Everything;
    };
    match is_of_walk(problem) {
        true => parts.subtrees().iter().any(|walked| path.is_within(walked)),
        false => parts.holds(&path),
    }
}
