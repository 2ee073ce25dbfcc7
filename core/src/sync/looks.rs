//! One look after the other at a pair, as long as a continuous run goes on: at everything, or where watchers say that something may
//! have changed.
//!
//! Between looks that follow each other closely the pair stays open: its lock, its baseline, and what is written through. It is closed when it
//! was quiet for a while ([`Looks::rest`]), so that others may work on the pair and nothing of the storages is held.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::exclude::{filter_now, is_ignore_file};
use super::groups::GROUP;
use super::opened::Opened;
use super::pass::{self, Findings, Ground, Look, Removals, survey};
use super::run::{self, Closed, Run, has_seen_all};
use super::{SyncError, SyncErrorClass, SyncJob};
use crate::model::{Conflict, Drift, Problem, RunReport, Side, SyncPath};
use crate::planted::{Bug, planted};
use crate::reconcile::SMALL_LOSS;
use crate::storage::{Area, Filter, Parts};

/// Looks at one pair.
#[derive(Debug)]
pub struct Looks {
    job: SyncJob,
    syncer: &'static str,
    open: Option<Run>,
    standing: Standing,
    /// What is left out, as of the last look at everything.
    filter: Arc<dyn Filter>,
    waiting: Option<Waiting>,
    /// A group was staged and not published.
    restless: bool,
    /// Removals were given up because other things are to be left out by now.
    other_rules: bool,
}

/// Removals that wait until no more come: then they are judged together.
#[derive(Debug)]
struct Waiting {
    area: Area,
    /// Contents that they would give up.
    lost: u64,
    due: Instant,
    since: Instant,
}

/// Removals that give up more contents than the smallest loss that a budget looks at wait so long for more of them.
const MORE_COME: Duration = Duration::from_millis(300);
/// But no longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What earlier looks found and no later one found otherwise.
#[derive(Debug, Default)]
struct Standing {
    problems: Vec<Problem>,
    drift: Vec<Drift>,
    skipped: u64,
    /// Something may be carried over once what is left out is gone, which no sweep sees: it was never agreed on.
    withheld: bool,
    /// Folders that one side gave up and that the other still has: something in them stays, or their removal was put off, refused or failed.
    stays: BTreeSet<SyncPath>,
}

/// What a look came to.
#[derive(Debug, Default)]
pub struct Looked {
    /// What was done by this look, and all that is open now, wherever that was found. `None`: nothing differs from what is known.
    pub report: Option<RunReport>,
    /// Paths that moved on under the look, or failed: to be looked at again after a while.
    pub again: Vec<SyncPath>,
    /// Those of them that somebody is writing to: no problem, and not told in the report.
    pub written: Vec<SyncPath>,
    /// Those of these that were not even read, as the last write is a moment ago: they are worth a look when that has passed.
    pub let_be: Vec<SyncPath>,
    /// Paths that changed so lately that they may have changed again without its showing: to be looked at once more, a little later.
    pub young: Vec<SyncPath>,
    /// Something is in the way of walks, or more failed than is listed; it may pass without anybody telling.
    pub blocked: bool,
    /// Something that is left out is in the place of something that is not, or keeps its folder. Nobody tells when it goes.
    pub in_the_way: bool,
    /// Some moved on, and it may be that they have come to rest by now.
    pub moving: bool,
}

impl Looks {
    /// Looks for `job`, on behalf of the syncer named `syncer`. Nothing is touched yet.
    pub fn new(job: SyncJob, syncer: &'static str) -> Self {
        Self {
            filter: Arc::clone(&job.options.filter),
            job,
            syncer,
            open: None,
            waiting: None,
            standing: Standing::default(),
            restless: false,
            other_rules: false,
        }
    }

    /// Looks at `area`, and does what is to be done there.
    ///
    /// `Err`: the look was refused or stopped before it could begin. What stops it later is in the report.
    pub async fn look(&mut self, area: Area) -> Result<Looked, SyncError> {
        let parts = match area {
            // With other rules everything may be looked at otherwise.
            Area::Parts(parts) if !is_about_rules(&parts) || !self.has_other_rules().await? => {
                parts
            }
            _ => return self.everything().await,
        };
        let Some(mut run) = self.opened().await? else {
            return self.everything().await;
        };
        run.removals = match &self.waiting {
            Some(_) => Removals::UpTo(0),
            None => Removals::UpTo(SMALL_LOSS),
        };
        let mut looked = self.at(&mut run, &parts).await;
        self.keep_open(run, &mut looked).await;
        self.by_rules_of_now(looked).await
    }

    /// Everything is looked at by other rules than those that a look at places went by.
    async fn by_rules_of_now(
        &mut self,
        looked: Result<Looked, SyncError>,
    ) -> Result<Looked, SyncError> {
        if !std::mem::take(&mut self.other_rules) {
            return looked;
        }
        let before = looked?.report;
        let mut all = self.everything().await?;
        if let (Some(report), Some(before)) = (&mut all.report, before) {
            report.add_done(&before);
        }
        Ok(all)
    }

    /// A run that failed is not gone on with.
    async fn keep_open(&mut self, run: Run, looked: &mut Result<Looked, SyncError>) {
        let failed = match looked {
            Ok(looked) => looked
                .report
                .as_ref()
                .is_some_and(|report| report.error.is_some()),
            Err(_) => true,
        };
        // Nor one that holds what was staged for nothing.
        let restless = std::mem::take(&mut self.restless);
        if !failed && !restless {
            self.open = Some(run);
            return;
        }
        if let Some(conflicts) = close(run).await
            && let Ok(Some(report)) = looked.as_mut().map(|looked| &mut looked.report)
        {
            report.conflicts = conflicts;
            report.result = report.judge();
        }
    }

    /// The run that goes on; `None` if what is known of the pair is worth nothing.
    async fn opened(&mut self) -> Result<Option<Run>, SyncError> {
        if let Some(run) = self.open.take() {
            return Ok(Some(run));
        }
        let opened = match Opened::open(&self.job).await {
            // A look at everything sets aside what is damaged, or fails as this did.
            Err(failed) if failed.class == SyncErrorClass::State => return Ok(None),
            opened => opened?,
        };
        if opened.needs_all()? {
            return Ok(None);
        }
        let mut job = self.job.clone();
        job.options.filter = Arc::clone(&self.filter);
        Ok(Some(Run::new(job, opened)))
    }

    async fn has_other_rules(&self) -> Result<bool, SyncError> {
        Ok(!Arc::ptr_eq(&filter_now(&self.job).await?, &self.filter))
    }

    /// What is left out, as of the last look at everything. Another one than before: watchers have to be set up anew.
    pub fn filter(&self) -> &Arc<dyn Filter> {
        &self.filter
    }

    /// Finds out where `side` holds something else than was agreed on: what a look at everything would find, at half its cost if the
    /// other side tells its changes by itself. Nothing is changed.
    pub async fn sweep(&mut self, side: Side) -> Result<Area, SyncError> {
        if self.standing.withheld || self.has_other_rules().await? {
            return Ok(Area::Everything);
        }
        let Some(run) = self.opened().await? else {
            return Ok(Area::Everything);
        };
        let area = self.swept(&run, side).await;
        if area.is_ok() {
            self.open = Some(run);
        } else {
            close(run).await;
        }
        area
    }

    async fn swept(&self, run: &Run, side: Side) -> Result<Area, SyncError> {
        run.check_roots_again().await?;
        let known = |path: &SyncPath| self.standing.has_trouble_at(path);
        let mut area = pass::sweep(&run.context()?, side, &known).await?;
        // What is open may be over because something is gone that was never agreed on: a sweep does not see that.
        let conflicts = run.conflicts_outside(&Area::default())?.outside;
        let conflicts = conflicts.iter().map(|conflict| &conflict.path);
        let drift = self.standing.drift.iter().map(|drift| &drift.path);
        let open = conflicts
            .chain(drift)
            .filter_map(|path| SyncPath::new(&**path).ok());
        let problems = places(&self.standing.problems);
        open.chain(problems)
            .filter(|path| !path.is_root())
            .for_each(|path| area.add_path(path));
        Ok(area)
    }

    /// When removals that wait are due.
    pub fn due(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|waiting| waiting.due)
    }

    /// How many contents the removals that wait would give up.
    pub fn held_back(&self) -> u64 {
        self.waiting.as_ref().map_or(0, |waiting| waiting.lost)
    }

    /// Carries the removals out that waited, unless there are more of them by now.
    pub async fn look_again(&mut self) -> Result<Looked, SyncError> {
        let Some(waiting) = self.waiting.take() else {
            return Ok(Looked::default());
        };
        let (Area::Parts(parts), Some(mut run)) = (&waiting.area, self.opened().await?) else {
            return self.everything().await;
        };
        run.removals = match waiting.since.elapsed() < LONGEST_WAIT {
            true => Removals::UpTo(waiting.lost),
            false => Removals::All,
        };
        let mut looked = self.at(&mut run, parts).await;
        if let Some(again) = &mut self.waiting {
            again.since = waiting.since;
        }
        self.keep_open(run, &mut looked).await;
        self.by_rules_of_now(looked).await
    }

    /// Removals were found that wait for more of them.
    fn wait(&mut self, parts: &Parts, lost: u64) {
        let now = Instant::now();
        let waiting = self.waiting.get_or_insert_with(|| Waiting {
            area: Area::default(),
            lost: 0,
            due: now,
            since: now,
        });
        // Where it was looked before, the same removals were found again. How many there are is known when all of it is looked at: until
        // then it is better to know of too few, as more than are known of are not carried out.
        waiting.lost = match waiting.area.meets(parts) {
            true => waiting.lost.max(lost),
            false => waiting.lost + lost,
        };
        waiting.area.add(Area::Parts(parts.clone()));
        waiting.due = now + MORE_COME;
    }

    /// Whether something is held open that [`Looks::rest`] lets go of.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether another run would like to work on what is held open.
    pub fn is_wanted(&self) -> bool {
        let open = self.open.as_ref();
        open.is_some_and(|run| run.state().is_wanted())
    }

    /// Ends what was begun: nothing of the storages and of the pair is held any more. What is open now, if the end has found more of that:
    /// a version that somebody wrote to after it had been displaced.
    pub async fn rest(&mut self) -> Result<Option<RunReport>, SyncError> {
        let started = Instant::now();
        let Some(mut run) = self.open.take() else {
            return Ok(None);
        };
        let Closed { late, failed } = run.close().await;
        let Some(conflicts) = late else {
            return failed.map_or(Ok(None), Err);
        };
        let mut found = Findings::default();
        found.conflicts = conflicts;
        self.standing.tell(&mut found);
        Ok(Some(run.report(found, self.syncer, started, failed)))
    }

    async fn everything(&mut self) -> Result<Looked, SyncError> {
        self.rest().await?;
        self.waiting = None;
        let run::Done {
            report,
            filter,
            later,
        } = run::everything(self.job.clone(), self.syncer).await?;
        self.filter = filter;
        self.standing = Standing {
            problems: report.problems.clone(),
            drift: report.drift.clone(),
            skipped: report.skipped,
            withheld: later.withheld,
            stays: later.stays,
        };
        Ok(Looked {
            again: [places(&report.problems), later.written.clone()].concat(),
            written: later.written,
            let_be: later.let_be,
            report: Some(report),
            blocked: self.standing.is_blocked(),
            in_the_way: later.in_the_way,
            ..Looked::default()
        })
    }

    async fn at(&mut self, run: &mut Run, parts: &Parts) -> Result<Looked, SyncError> {
        let started = Instant::now();
        run.check_roots_again().await?;
        let mut parts = self.standing.widen(parts);
        for path in run.conflicts_above(&parts)? {
            parts.add_path(path);
        }
        let mut ground = settled(run, &mut parts).await?;
        let mut covers = ground.covers().clone();
        let mut known = run.conflicts_outside(&covers)?;
        let gone = self.gone_above(&ground, &known.outside);
        if !gone.is_empty() {
            gone.into_iter().for_each(|path| covers.add_subtree(path));
            known = run.conflicts_outside(&covers)?;
        }
        if ground.is_quiet() && !known.some_inside && !self.standing.concerns(&covers) {
            return Ok(Looked {
                young: ground.take_young(),
                ..Looked::default()
            });
        }
        let young = ground.take_young();
        run.begin().await?;
        let (mut found, result) = passes(run, ground, &mut covers).await?;
        self.other_rules = std::mem::take(&mut found.other_rules);
        let waiting = std::mem::take(&mut found.waiting);
        if waiting > 0 {
            self.wait(&parts, waiting);
        }
        // Nobody is told of a state that is known to pass.
        let moving = found.is_unfinished() || waiting > 0;
        self.restless = found.restless;
        let mut later = found.take_for_later();
        found.close(true);
        let again = [places(&found.problems), later.written.clone()].concat();
        self.standing.replace(&covers, &found, &young);
        // A look that broke off has found out nothing of what it did not find.
        let looked = match has_seen_all(&result) {
            true => covers,
            false => Area::default(),
        };
        self.standing.stays.retain(|path| !looked.holds(path));
        self.standing.stays.append(&mut later.stays);
        self.standing.tell(&mut found);
        run.settle(&mut found, &looked).await?;
        let report = run.report(found, self.syncer, started, result.err());
        Ok(Looked {
            report: Some(report),
            again,
            written: later.written,
            let_be: later.let_be,
            young,
            blocked: self.standing.is_blocked(),
            in_the_way: later.in_the_way,
            moving,
        })
    }

    /// Folders that are no more, with something open that was found in them: that is over. Watchers tell of the folder, not of what was in it.
    fn gone_above(&self, ground: &Ground, conflicts: &[Conflict]) -> BTreeSet<SyncPath> {
        let conflicts = conflicts.iter().map(|conflict| &conflict.path);
        let drift = self.standing.drift.iter().map(|drift| &drift.path);
        let problems = self.standing.problems.iter().map(|problem| &problem.path);
        conflicts
            .chain(drift)
            .chain(problems)
            .filter_map(|path| ground.gone_above(&SyncPath::new(&**path).ok()?))
            .collect()
    }
}

/// Ends a run that failed: all that is open, if the end has found more of that.
async fn close(mut run: Run) -> Option<Vec<Conflict>> {
    let Closed { late, failed } = run.close().await;
    if let Some(failed) = failed {
        tracing::debug!(error = %failed, "the end of a run that failed");
    }
    late
}

/// Whether the rules of what is left out may have changed.
fn is_about_rules(parts: &Parts) -> bool {
    parts
        .paths()
        .iter()
        .chain(parts.subtrees())
        .any(is_ignore_file)
}

/// What is at `parts` once the folders that one side renamed there have their new names on the other, too.
async fn settled(run: &mut Run, parts: &mut Parts) -> Result<Ground, SyncError> {
    let mut followed = HashSet::new();
    loop {
        let mut ground = survey(&run.context()?, parts).await?;
        let mut moves = ground.take_moves();
        // Another folder may be in the way of one until that was moved itself. But each is moved once: a storage that shows it now here and now
        // there would be followed for ever.
        moves.retain(|moved| !followed.contains(&(moved.on, moved.id)));
        let done = run.follow_moves(moves, parts).await?;
        if done.is_empty() {
            return Ok(ground);
        }
        followed.extend(done);
    }
}

/// A pass over `ground`, and another where something moved on under it: what they found, what stopped them, and `covers` with where they were.
async fn passes(
    run: &mut Run,
    ground: Ground,
    covers: &mut Area,
) -> Result<(Findings, Result<(), SyncError>), SyncError> {
    let mut result = run.pass(Look::Ground(Box::new(ground))).await;
    let mut found = run.take_found();
    let next = moved_on(&mut found);
    if result.is_ok() && !next.is_empty() {
        // Mostly it was our own change that the pass met, or a version that was put beside.
        let ground = survey(&run.context()?, &next).await?;
        let before = found.conflicts.clone();
        found.forget(ground.covers());
        covers.add(ground.covers().clone());
        result = run.pass(Look::Ground(Box::new(ground))).await;
        found.add(run.take_found());
        if !has_seen_all(&result) {
            run::also(&mut found.conflicts, before);
        }
    }
    Ok((found, result))
}

/// The places that moved on under a pass, those above them that are in the way, and those that it made beside others.
fn moved_on(found: &mut Findings) -> Parts {
    let mut parts = Parts::default();
    let beside = std::mem::take(&mut found.beside);
    // A group gets time to come to rest, and so does what is let be.
    let at_once = |problem: &&Problem| problem.operation != GROUP && !found.lets_be(problem);
    let at_once: Vec<_> = found.unfinished.iter().filter(at_once).cloned().collect();
    let paths = places(&at_once).into_iter().chain(beside);
    let paths = paths.chain(std::mem::take(&mut found.above));
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

/// The first of the folders above `path`, from the top, or it itself, that is in `told`.
fn topmost(told: &BTreeSet<SyncPath>, path: &SyncPath) -> Option<SyncPath> {
    let mut above = path.ancestors().chain(std::iter::once(path.clone()));
    above.find(|it| told.contains(it))
}

impl Standing {
    /// A place where only a walk finds out more is walked.
    fn widen(&self, parts: &Parts) -> Parts {
        let mut parts = parts.clone();
        for problem in self.problems.iter().filter(|problem| is_of_walk(problem)) {
            let Ok(path) = SyncPath::new(&*problem.path) else {
                continue;
            };
            // What is said of a folder may be that it can be read again.
            if let Some(told) = topmost(parts.paths(), &path) {
                parts.add_subtree(told);
            }
        }
        // A folder's drift stands for all that is in it: once something is there again, what is not is told one by one.
        for drift in &self.drift {
            if let Ok(path) = SyncPath::new(&*drift.path)
                && parts.paths().iter().any(|told| told.is_within(&path))
            {
                parts.add_subtree(path);
            }
        }
        // A folder that stayed keeps its row. Where the other side has it again it is the one that was agreed on, and what came with it is
        // not told.
        for path in &self.stays {
            if let Some(told) = topmost(parts.paths(), path) {
                parts.add_subtree(told);
            }
        }
        // What kept it there may be what was told to be gone.
        let kept = parts.paths().iter().filter_map(|told| {
            let mut above = told.ancestors();
            above.find(|above| self.stays.contains(above))
        });
        let kept: BTreeSet<_> = kept.collect();
        kept.into_iter().for_each(|path| parts.add_subtree(path));
        parts
    }

    /// Tells all of it in `found`.
    fn tell(&self, found: &mut Findings) {
        found.problems.clone_from(&self.problems);
        found.drift.clone_from(&self.drift);
        found.skipped = self.skipped;
    }

    /// Whether there is trouble that has no path to be looked at again.
    fn is_blocked(&self) -> bool {
        let is_cut = |problem: &Problem| problem.path == ".";
        let mut problems = self.problems.iter();
        problems.any(|problem| is_of_walk(problem) || is_cut(problem))
    }

    /// Whether a walk found trouble at `path`, and may find it again.
    fn has_trouble_at(&self, path: &SyncPath) -> bool {
        let mut of_walk = self.problems.iter().filter(|problem| is_of_walk(problem));
        of_walk.any(|problem| problem.path == path.as_str())
    }

    fn concerns(&self, area: &Area) -> bool {
        let drifts =
            |drift: &Drift| SyncPath::new(&*drift.path).is_ok_and(|path| area.holds(&path));
        self.problems.iter().any(|problem| is_over(problem, area)) || self.drift.iter().any(drifts)
    }

    /// What was found in `area` takes the place of what was known there; not of what is `young`, which was put off.
    fn replace(&mut self, area: &Area, found: &Findings, young: &[SyncPath]) {
        let is_put_off = |path: &str| young.iter().any(|young| young.as_str() == path);
        let outside = |path: &str| SyncPath::new(path).map_or(true, |path| !area.holds(&path));
        self.problems.retain(|problem| {
            let stays = !is_over(problem, area) || is_put_off(&problem.path);
            stays && !planted(Bug::OpenProblemIsForgotten)
        });
        self.drift
            .retain(|drift| outside(&drift.path) || is_put_off(&drift.path));
        self.problems.extend_from_slice(&found.problems);
        self.drift.extend_from_slice(&found.drift);
        self.withheld |= found.withheld;
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
