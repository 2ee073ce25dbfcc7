//! What all parts of a pass share.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::Look;
use super::gives_up::GivesUp;
use super::item::Item;
use super::node::Node;
use super::tally::Tally;
use crate::model::{Meta, Side, Sides, SyncPath};
use crate::planted::{Bug, planted};
use crate::reconcile::{Announced, Policy};
use crate::state::{LeftAnnounced, PairState};
use crate::storage::{CopySource, Durability, ErrorKind, StorageError, WriteSession};
use crate::sync::Group;
use crate::sync::unrest::{Unrest, age_of_file, age_of_large};
use crate::sync::{SyncError, SyncJob};

/// Which removals a pass carries out. Somebody who removes a tree is seen while he is at it: what is too much as a whole is little
/// in each piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sync) enum Removals {
    /// All of them.
    #[default]
    All,
    /// Those that make so many contents exist nowhere at the most; if there are more all of them wait.
    UpTo(u64),
}

/// What all parts of a pass share.
#[derive(Debug)]
pub(in crate::sync) struct Context {
    pub(in crate::sync) job: SyncJob,
    pub(in crate::sync) policy: Policy,
    /// The sessions that are written through; in a dry run they touch nothing. `None`: this side is never written.
    pub(in crate::sync) sessions: Sides<Option<Arc<dyn WriteSession>>>,
    /// Whether the baseline held anything at the start: without it there are no moves.
    pub(in crate::sync) has_baseline: bool,
    /// Whether an earlier pass left contents that it had read but not agreed on.
    pub(super) has_learnt: bool,
    /// What killed runs announced and did not record.
    announced: Mutex<Arc<LeftAnnounced>>,
    pub(in crate::sync) removals: Removals,
    /// Where contents that were agreed on may be given up in this pass.
    pub(super) gives_up: GivesUp,
    /// By the side that is written to: the other side, if it can copy from there by itself.
    pub(in crate::sync) copies: Sides<Option<CopySource>>,
    state: Arc<Mutex<PairState>>,
    tally: Mutex<Tally>,
    /// Why one of the storages is lost to this pass.
    outage: OnceLock<SyncError>,
    /// Paths that were found and are left to the next run because of it.
    left: AtomicU64,
    /// What rows to come say that is there, and a power cut could still take.
    relied: Mutex<Sides<BTreeSet<SyncPath>>>,
    /// Held while that is made durable: who records rows next waits for what the one before took over.
    settling: tokio::sync::Mutex<()>,
    /// What could not be made durable: nothing is recorded of it.
    unsure: Mutex<BTreeSet<SyncPath>>,
}

/// The storage that `to` can copy from by itself.
fn copies(
    job: &SyncJob,
    sessions: &Sides<Option<Arc<dyn WriteSession>>>,
    to: Side,
) -> Option<CopySource> {
    if !job.server_copy || job.options.checksum || sessions[to].is_none() {
        return None;
    }
    let source = job.storages[to.other()].copy_source()?;
    job.storages[to].copies_from(&source).then_some(source)
}

impl Context {
    pub(in crate::sync) fn new(
        job: SyncJob,
        sessions: Sides<Option<Arc<dyn WriteSession>>>,
        state: Arc<Mutex<PairState>>,
    ) -> Result<Self, SyncError> {
        let has_baseline = !lock(&state).is_empty()? || lock(&state).has_sure_arrivals();
        let has_learnt = !job.options.checksum && lock(&state).has_learnt()?;
        let announced = lock(&state).left_announced();
        let policy = job.options.direction.into();
        Ok(Self {
            removals: Removals::All,
            gives_up: GivesUp::default(),
            copies: Sides::from_fn(|side| copies(&job, &sessions, side)),
            job,
            policy,
            sessions,
            has_baseline,
            has_learnt,
            announced: Mutex::new(announced),
            state,
            tally: Mutex::new(Tally::default()),
            outage: OnceLock::new(),
            left: AtomicU64::new(0),
            relied: Mutex::default(),
            settling: tokio::sync::Mutex::default(),
            unsure: Mutex::default(),
        })
    }

    /// The same, for a pass that looks there.
    pub(in crate::sync) fn looking(mut self, look: &Look) -> Self {
        self.gives_up = GivesUp::new(look.gives_up().cloned());
        self
    }

    /// Whether this pass may give up something that was agreed on: without that there are no moves.
    pub(super) fn may_move(&self) -> bool {
        self.has_baseline && self.gives_up.is_something()
    }

    /// How many places of one content are looked at for one that may be given up; with more of them the first tell nothing.
    pub(super) fn places_of_content(&self) -> u32 {
        if self.gives_up.is_at_places() { 8 } else { 1 }
    }

    /// The baseline; held for short, never across an await.
    pub(in crate::sync) fn state(&self) -> MutexGuard<'_, PairState> {
        lock(&self.state)
    }

    pub(in crate::sync) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether killed runs left anything that they announced and did not record.
    pub(super) fn follows_a_kill(&self) -> bool {
        !lock(&self.announced).is_empty()
    }

    /// Nothing is known any more of what is at and below `path`: neither what was agreed on nor what killed runs were about to do.
    pub(super) fn forget_tree(&self, path: &SyncPath) -> Result<(), SyncError> {
        let mut announced = lock(&self.announced);
        if announced.keys().any(|at| at.is_within(path)) {
            Arc::make_mut(&mut announced).retain(|at, _| !at.is_within(path));
        }
        drop(announced);
        Ok(self.state().forget_tree(path)?)
    }

    /// What killed runs were about to do at `path`.
    pub(super) fn announced_at(&self, path: &SyncPath) -> Vec<Announced> {
        let announced = lock(&self.announced);
        match announced.is_empty() || planted(Bug::NoteIsForgotten) {
            true => Vec::new(),
            false => announced.get(path).cloned().unwrap_or_default(),
        }
    }

    /// What is remembered of this pass. `whole`: it was over everything, and got through.
    pub(super) fn keep_learnt(&self, whole: bool) -> Result<(), SyncError> {
        if whole {
            self.settle_announced();
        }
        Ok(self.state().keep_learnt(whole)?)
    }

    /// What killed runs announced is decided, but for what had trouble, for groups that are too large, and for what was left alone as drift:
    /// nothing was done or recorded there, and the next run has to find the same.
    fn settle_announced(&self) {
        if !self.follows_a_kill() {
            return;
        }
        let mut troubled = Vec::new();
        {
            let found = &self.tally().found;
            let trouble = found.problems.iter().chain(&found.unfinished);
            let trouble = trouble.map(|problem| &problem.path);
            let paths = trouble.chain(found.drift.iter().map(|drift| &drift.path));
            troubled.extend(paths.map(|path| SyncPath::new(&**path).ok()));
            troubled.extend(found.too_large.iter().cloned().map(Some));
        }
        // So much trouble is everywhere, and each is held against each.
        let everywhere = troubled.len() > 100;
        let is_open = |path: &SyncPath| {
            let at = |at: &Option<SyncPath>| {
                at.as_ref()
                    .is_none_or(|at| path == at || path.is_within(at))
            };
            everywhere || troubled.iter().any(at)
        };
        self.state().settle_announced(is_open);
    }

    /// What the pass has done and found; the pass is over.
    pub(in crate::sync) fn take_tally(&self) -> Tally {
        std::mem::take(&mut *self.tally())
    }

    /// The session that writes to `side`.
    pub(super) fn session(&self, side: Side) -> Result<&Arc<dyn WriteSession>, StorageError> {
        self.sessions[side].as_ref().ok_or_else(|| {
            StorageError::new(
                ErrorKind::Unsupported,
                "write",
                "this run goes one way and never writes to this side; keep the source's version, or sync both ways",
            )
            .on(self.job.storages[side].location())
        })
    }

    /// Files an error of one path: one that only says that the path moved on is left for the next pass, others are problems. One that
    /// would meet every other path too ends the pass, and is told once.
    pub(super) fn file_error(&self, side: Side, path: &SyncPath, error: &StorageError) {
        if self.is_outage(side, error) {
            return self.leave(1);
        }
        let mut tally = self.tally();
        match error.kind() {
            // The run says so as a whole.
            ErrorKind::Cancelled => {}
            kind if is_problem(kind) => {
                tally.problem(path, error, self.job.storages[side].location());
            }
            _ => {
                self.job.progress.stir();
                tally.unfinished(path, error, self.job.storages[side].location());
            }
        }
    }

    /// Files an error of a path whose content was on its way: it is not read again at every look.
    pub(super) fn not_transferred(&self, side: Side, item: &Item, error: &StorageError) {
        let path = &item.node.path;
        self.file_error(side, path, error);
        if let Some(patience) = &self.job.patience
            && is_problem(error.kind())
        {
            patience.failed(
                path,
                item.node.versions(),
                (side, error),
                item.transferred(),
            );
        }
    }

    /// Why the path is not tried in this look.
    pub(super) fn waits(&self, node: &Node) -> Option<(Side, StorageError)> {
        let patience = self.job.patience.as_ref()?;
        patience.waits(&node.path, || node.versions())
    }

    /// What is known of paths that are written to, in a run that goes on.
    pub(super) fn unrest(&self) -> Option<&Unrest> {
        Some(&self.job.patience.as_ref()?.unrest)
    }

    /// The side on which the path was written to a moment ago, if it is not read because of that.
    pub(super) fn lets_be(&self, node: &Node) -> Option<Side> {
        let unrest = self.unrest()?;
        // The beginning of a file that is too large must not take the place of a version.
        let limited = self.job.options.exclude.max_size.is_some() && node.base.is_some();
        let age_of = if limited { age_of_file } else { age_of_large };
        let age = |side: &Side| node.found[*side].meta().and_then(age_of);
        let youngest = Side::BOTH
            .into_iter()
            .filter_map(|side| Some((age(&side)?, side)));
        let youngest = youngest.min_by_key(|(age, _)| *age);
        let lets_be = unrest.lets_be(&node.path, youngest.map(|(age, _)| age));
        youngest.map(|(_, side)| side).filter(|_| lets_be)
    }

    /// Whether the group, in which these paths changed, is not read because somebody wrote to it a moment ago.
    pub(super) fn lets_group_be(&self, group: &Group, nodes: &[Node]) -> bool {
        let age = |meta: &Meta| match meta.settled {
            true => age_of_large(meta),
            false => Some(Duration::ZERO),
        };
        let changed = nodes.iter().filter(|node| !node.is_untouched());
        let metas = changed.flat_map(|node| {
            let meta = |&side: &Side| node.found[side].meta();
            Side::BOTH.iter().filter_map(meta)
        });
        let youngest = metas.filter_map(age).min();
        let unrest = self.unrest();
        unrest.is_some_and(|unrest| unrest.lets_be(&group.path, youngest))
    }

    /// Notes that the storage on `side` is lost to this pass, if that is what the error says.
    pub(super) fn is_outage(&self, side: Side, error: &StorageError) -> bool {
        let lost = error.kind().is_of_storage();
        if lost {
            let error = error.repeat().on(self.job.storages[side].location());
            self.outage.get_or_init(|| error.into());
        }
        lost
    }

    /// So many paths more are left to the next run.
    pub(super) fn leave(&self, paths: usize) {
        self.left.fetch_add(paths as u64, Relaxed);
    }

    /// Why the pass ended early, if a storage was lost.
    pub(super) fn outage(&self) -> Option<SyncError> {
        let outage = self.outage.get()?;
        let left = match self.left.load(Relaxed) {
            0 => return Some(outage.clone()),
            1 => "1 path".to_owned(),
            paths => format!("{paths} paths"),
        };
        Some(SyncError {
            class: outage.class,
            desc: format!(
                "{}; what was done until then is recorded, at least {left} and what was not looked at yet are left: run again to carry on",
                outage.desc
            ),
        })
    }

    /// Whether the pass goes on: not if it was told to stop, nor without one of the storages.
    pub(super) fn check_going(&self) -> Result<(), SyncError> {
        self.check_cancelled()?;
        self.outage.get().map_or(Ok(()), |lost| Err(lost.clone()))
    }

    pub(in crate::sync) fn check_cancelled(&self) -> Result<(), SyncError> {
        if self.job.cancel.is_cancelled() {
            return Err(SyncError::new(
                crate::sync::SyncErrorClass::Cancelled,
                "the run was stopped; what was done so far is recorded, the next run carries on",
            ));
        }
        Ok(())
    }
}

/// What is relied on: a row that says that a side holds something must not outlive that, or the next run takes for removed or edited what a
/// power cut took. What we wrote the sessions flush; what others wrote they may never have synced.
impl Context {
    /// Notes that what `side` holds at the path is copied, or taken for agreed on: the next flush makes it durable.
    pub(super) fn rely_on(&self, side: Side, node: &Node) {
        if let Some(meta) = node.found[side].meta()
            && !node.is_recorded_of(side, meta)
        {
            self.rely_on_meta(side, &node.path, meta);
        }
    }

    /// The same, of both sides.
    pub(super) fn rely_on_both(&self, node: &Node) {
        Side::BOTH.iter().for_each(|&side| self.rely_on(side, node));
    }

    /// The same, of a path of which nothing else is known.
    pub(super) fn rely_on_meta(&self, side: Side, path: &SyncPath, meta: &Meta) {
        let options = &self.job.options;
        let lasts = options.durability == Durability::None || options.dry_run;
        if !lasts && self.job.storages[side].may_be_lost(meta) {
            let mut relied = self.relied.lock().unwrap_or_else(PoisonError::into_inner);
            relied[side].insert(path.clone());
        }
    }

    /// Whether something is relied on that is not known to be durable yet.
    pub(super) fn is_unsettled(&self) -> bool {
        let relied = self.relied.lock().unwrap_or_else(PoisonError::into_inner);
        let nothing = relied.source.is_empty() && relied.target.is_empty();
        !nothing || self.settling.try_lock().is_err()
    }

    /// Makes durable what is relied on. Where that fails it is copied all the same, but nothing is recorded of it: the next pass finds it
    /// equal on both sides.
    pub(super) async fn settle(&self) {
        if !self.is_unsettled() {
            return;
        }
        let _turn = self.settling.lock().await;
        let relied = {
            let mut relied = self.relied.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *relied)
        };
        let Sides { source, target } = relied;
        tokio::join!(
            self.settle_on(Side::Source, source),
            self.settle_on(Side::Target, target)
        );
    }

    async fn settle_on(&self, side: Side, paths: BTreeSet<SyncPath>) {
        if paths.is_empty() {
            return;
        }
        let all = paths.iter().cloned().collect();
        let Err(error) = self.job.storages[side].make_durable(all).await else {
            return;
        };
        for path in &paths {
            self.file_error(side, path, &error);
        }
        let mut unsure = self.unsure.lock().unwrap_or_else(PoisonError::into_inner);
        unsure.extend(paths);
    }

    /// Leaves out what is about something that could not be made durable.
    pub(super) fn what_lasts<T>(&self, mut all: Vec<T>, path: impl Fn(&T) -> &SyncPath) -> Vec<T> {
        let unsure = self.unsure.lock().unwrap_or_else(PoisonError::into_inner);
        if !unsure.is_empty() {
            all.retain(|one| !unsure.contains(path(one)));
        }
        all
    }
}

/// Whether a path has trouble, and did not only move on.
fn is_problem(kind: ErrorKind) -> bool {
    !has_moved_on(kind) && kind != ErrorKind::Cancelled && !kind.is_of_storage()
}

/// Whether only something else is there by now.
pub(super) fn has_moved_on(kind: ErrorKind) -> bool {
    use ErrorKind as K;
    [K::Busy, K::Changed, K::NotFound, K::NoParent, K::NotEmpty].contains(&kind)
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change of the state is a transaction: a panic in between leaves it whole.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
