//! Carries out what is to be done in a group: all of it or nothing, and in steps after each of which something usable is there.
//!
//! The group is looked at anew, decided, read and staged; then it is looked at once more. If anything in it is not what it was, or somebody is
//! at work in it, nothing of it is published: it is looked at again later. What is staged of a group is held until all of it is, so
//! what a storage keeps of it in memory grows with the group.

use std::collections::HashSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

use super::context::has_moved_on;
use super::gather::Gathered;
use super::item::{Item, Progressed};
use super::merge::{Merge, Remark};
use super::node::{Found, Node};
use super::together_changes::{conflict, give_way};
use super::together_retyped::gives_way;
use super::together_steps::Act;
use super::work::work_on;
use super::{Pass, Stretch, list};
use crate::model::{Conflict, ContentHash, Hasher, Kind, Side, Sides, SyncPath};
use crate::planted::{Bug, planted};
use crate::reconcile::{ModePlan, Policy, Verdict};
use crate::storage::{ErrorKind, ReadRequest, Result as StorageResult, StorageError};
use crate::sync::groups::{GROUP, Group, GroupKind, HOT_JOURNAL, winner};
use crate::sync::{Keep, SyncError};

/// So many paths, of so many bytes, are read and staged as one, and so many of these at once.
const CHUNK_ITEMS: usize = 64;
const CHUNK_BYTES: u64 = 1 << 20;
const CHUNKS_AT_ONCE: usize = 4;

/// What keeps a group from being transferred in this pass.
#[derive(Debug)]
pub(super) enum Stop {
    /// It is told already, or there is nothing to tell.
    Told,
    /// It is not at rest, or could not be looked at: later. What it was like, if that is known.
    Later(StorageError, Option<ContentHash>),
    /// Somebody wrote to it a moment ago: nothing of it was read.
    LetBe,
    /// The run cannot go on.
    Run(SyncError),
}

impl<E: Into<SyncError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Run(error.into())
    }
}

pub(super) fn busy(reason: impl Into<String>) -> Stop {
    let error = StorageError::new(ErrorKind::Busy, GROUP, reason.into());
    Stop::Later(error, None)
}

impl Stop {
    /// Of a group that was like this.
    fn of(self, print: ContentHash) -> Self {
        match self {
            Self::Later(error, _) if error.kind() == ErrorKind::Busy => {
                Self::Later(error, Some(print))
            }
            other => other,
        }
    }
}

/// A group as it was at a look. Its size is that of what differs from the baseline, not that of the group.
struct Seen {
    /// What is not as it was agreed on, and what the group is called by.
    nodes: Vec<Node>,
    /// Folders that stay for names in them that cannot be told.
    stays: Vec<SyncPath>,
    /// Says that somebody is at work.
    lock: Option<SyncPath>,
    /// Another one if anything in the group is another.
    print: ContentHash,
}

/// What is to be done in a group.
#[derive(Debug)]
pub(super) struct Decided {
    /// Paths at which something happens, and those that are told as drift.
    pub(super) items: Vec<Item>,
    /// What is left out and goes only with the rest of the group.
    scratch: Vec<Node>,
    /// Folders in which something stays.
    stays: Vec<SyncPath>,
    /// The side on which the database is to give way to a folder.
    retyped: Option<Side>,
    /// What it was like then.
    print: ContentHash,
}

impl Pass {
    /// Carries out what the merge has noted, a group at a time.
    pub(super) async fn carry_groups(&mut self) -> Result<(), SyncError> {
        // The merge is through: no folder is open any more.
        self.frames.enter(&SyncPath::root());
        for mut gathered in self.groups.take() {
            self.context.check_going()?;
            let carried = match gathered.blocked {
                true => Err(Stop::Told),
                false => self.carry(&mut gathered).await,
            };
            if let Err(stop) = carried {
                self.leave_group(&gathered.group, stop)?;
            }
        }
        Ok(())
    }

    /// Nothing more happens in the group in this pass.
    pub(super) fn leave_group(&self, group: &Group, stop: Stop) -> Result<(), SyncError> {
        let path = &group.path;
        self.context.state().keep_folders(path)?;
        match stop {
            Stop::Told => Ok(()),
            Stop::Run(error) => Err(error),
            Stop::LetBe => {
                let error = StorageError::new(ErrorKind::Busy, GROUP, "it is being written to");
                self.context.tally().let_be(path, &error, "");
                Ok(())
            }
            Stop::Later(error, print) => self.come_back(path, &error, print),
        }
    }

    /// The group is looked at again later. In a run that goes on that is no trouble for as long as somebody is at work in it.
    fn come_back(
        &self,
        group: &SyncPath,
        error: &StorageError,
        print: Option<ContentHash>,
    ) -> Result<(), SyncError> {
        self.context.check_cancelled()?;
        let moves_on = |print| self.context.unrest().map(|it| it.moves_on(group, print));
        let moves_on = print.and_then(moves_on).unwrap_or_default();
        let mut tally = self.context.tally();
        tally.found.restless = true;
        let reason = error.reason().to_owned();
        let error = StorageError::new(error.kind(), GROUP, reason);
        tally.unfinished(group, &error, "");
        if moves_on {
            tally.is_written(group);
        }
        Ok(())
    }

    async fn carry(&mut self, gathered: &mut Gathered) -> Result<(), Stop> {
        let decided = match gathered.decided.take() {
            Some(decided) => decided,
            None => self.decide_group(gathered).await?,
        };
        let print = decided.print;
        let carried = self.carry_decided(gathered, decided).await;
        if let (Ok(()), Some(unrest)) = (&carried, self.context.unrest()) {
            unrest.was_read(&gathered.group.path);
        }
        carried.map_err(|stop| stop.of(print))
    }

    /// Looks at the group and decides what is to be done in it.
    pub(super) async fn decide_group(&mut self, gathered: &Gathered) -> Result<Decided, Stop> {
        let seen = self.look_at(&gathered.group).await?;
        let print = seen.print;
        let decided = self.decide_seen(gathered, seen).await;
        decided.map_err(|stop| stop.of(print))
    }

    async fn decide_seen(&mut self, gathered: &Gathered, seen: Seen) -> Result<Decided, Stop> {
        let group = &gathered.group;
        if self.context.lets_group_be(group, &seen.nodes) {
            return Err(Stop::LetBe);
        }
        let (nodes, mut stays, print) = (seen.nodes, seen.stays, seen.print);
        let is_folder = |node: &Node| Side::BOTH.iter().any(|&side| node.found[side].is_folder());
        let scratch = |node: &&Node| group.is_scratch(&node.path) && !is_folder(node);
        let scratch: Vec<Node> = nodes.iter().filter(scratch).cloned().collect();
        let retyped = gives_way(group, &nodes);
        let mut items = self.decide_all(gathered, nodes, &seen.lock).await?;
        let waits = items.iter().filter(|item| item.verdict == Verdict::Wait);
        stays.extend(waits.map(|item| item.node.path.clone()));
        if items.iter().any(is_to_be_done) {
            self.check_rest(group, &seen.lock).await?;
        }
        items.retain(|item| is_to_be_done(item) || item.verdict == Verdict::Drift);
        Ok(Decided {
            items,
            scratch,
            stays,
            retyped,
            print,
        })
    }

    async fn carry_decided(&mut self, gathered: &Gathered, decided: Decided) -> Result<(), Stop> {
        let group = &gathered.group;
        let retypes = self.retypes(group, decided.retyped)?;
        let (mut items, scratch) = (decided.items, decided.scratch);
        self.tell_drift(&items);
        items.retain(is_to_be_done);
        let Some(to) = items.iter().find_map(written).or(retypes) else {
            return self.keep_scratch(&scratch);
        };
        self.check_judged(&items)?;
        let mut acts = self.plan(group, to, items)?;
        if retypes == Some(to) || acts.iter().any(|act| act.is_removal_of(&group.path)) {
            acts.extend(scratch.iter().filter_map(|node| Act::scratch(node, to)));
        } else {
            self.keep_scratch(&scratch)?;
        }
        acts.retain(|act| {
            let mut stays = decided.stays.iter();
            !stays.any(|path| act.removes_folder_of(path))
        });
        self.stage_all(&mut acts).await?;
        let now = self.look_at(group).await?;
        if now.print != decided.print {
            return Err(busy(
                "it changed while it was read; nothing of it was published",
            ));
        }
        let unsettled = unsettled(&now.nodes, to.other());
        if let Some(path) = acts
            .iter()
            .filter_map(Act::reads)
            .find(|path| unsettled.contains(path))
        {
            // A later write could leave the same token.
            return Err(busy(format!("{path} was written to a moment ago")));
        }
        self.publish_together(gathered, to, acts).await
    }

    /// Looks at all of the group, on both sides and in the baseline.
    async fn look_at(&self, group: &Group) -> Result<Seen, Stop> {
        let listings = list(&self.context, group.scope()).await?;
        let paths = group.paths();
        let baseline = paths.iter().flat_map(Stretch::subtree);
        let baseline = match group.kind {
            GroupKind::Git => baseline.collect(),
            GroupKind::Sqlite => baseline.step_by(2).collect(),
        };
        let mut merge = Merge::new(Arc::clone(&self.context), listings, baseline);
        let (mut nodes, mut stays, mut lock) = (Vec::new(), Vec::new(), None);
        let (mut hidden, mut print) = (None::<SyncPath>, Hasher::new());
        loop {
            let node = merge.next().await?;
            for remark in merge.take_remarks() {
                match remark {
                    Remark::Skipped => {}
                    Remark::Unrepresentable(_, folder, ..) => stays.push(folder),
                    Remark::UnknownInside(side, _, error)
                    | Remark::UnknownAt(side, error)
                    | Remark::CutShort(side, error) => {
                        let lost = self.context.is_outage(side, &error);
                        return Err(if lost {
                            Stop::Told
                        } else {
                            Stop::Later(error, None)
                        });
                    }
                }
            }
            let Some(mut node) = node else { break };
            if node.large && !planted(Bug::GroupWithoutWhatIsLarge) {
                // Without one of its files it is of no use: all of it is left out.
                self.context.tally().found.too_large.extend(group.paths());
                return Err(Stop::Told);
            }
            let below = |above: &SyncPath| node.path.is_within(above);
            if hidden.as_ref().is_some_and(below) {
                continue;
            }
            node.add_to(&mut print);
            if is_lock(group, &node) {
                lock = Some(node.path.clone());
            }
            if node.is_untouched() && node.path != group.path && !group.is_scratch(&node.path) {
                continue;
            }
            self.excuse_missing_folder(&mut node);
            self.imply_agreed_folder(&mut node)?;
            if node.is_closed_to_us() {
                hidden = Some(node.path.clone());
            }
            nodes.push(node);
        }
        let print = print.finish();
        Ok(Seen {
            nodes,
            stays,
            lock,
            print,
        })
    }

    /// Decides at every path; the end of a conflict that somebody wants included.
    async fn decide_all(
        &mut self,
        gathered: &Gathered,
        nodes: Vec<Node>,
        lock: &Option<SyncPath>,
    ) -> Result<Vec<Item>, Stop> {
        let group = &gathered.group;
        let wish = self.wish_for(group);
        let usual = match wish {
            Some(_) => self.context.policy,
            None => gathered.policy,
        };
        let retyped = gives_way(group, &nodes);
        let mut items = self.decide_by(gathered, nodes, usual).await?;
        give_way(&mut items, usual);
        let found = conflict(group, items.iter(), usual);
        match (found, wish) {
            (None, None) => Ok(items),
            // No conflict of this group is there to be ended.
            (None, Some(_)) => Err(Stop::Told),
            (Some(found), None) => {
                if self.retypes(group, retyped)?.is_some() {
                    return Err(self.decide_apart(&found));
                }
                let rest = items
                    .iter()
                    .filter(|item| !group.is_of_work(&item.node.path));
                if conflict(group, rest, usual).is_none() {
                    // That somebody is at work there is all that this side changed.
                    self.check_rest(group, lock).await?;
                }
                self.context.tally().conflict(found);
                Err(Stop::Told)
            }
            (Some(found), Some(keep)) => {
                self.context.tally().found.met = true;
                let Some(side) = winner(keep) else {
                    return Err(self.refuse_keep(group, keep, found));
                };
                if !self.goes_by_rules_of_now().await? {
                    return Err(Stop::Told);
                }
                let nodes = items.into_iter().map(|item| item.node).collect();
                self.decide_by(gathered, nodes, Policy::Master(side)).await
            }
        }
    }

    fn refuse_keep(&self, group: &Group, keep: Keep, conflict: Conflict) -> Stop {
        let why = match keep {
            Keep::Newer => "it cannot be told which side's is newer",
            _ => "two of them cannot be kept beside each other",
        };
        let what = group.what();
        self.refuse_at(
            &group.path,
            &format!("this is {what}: {why}; choose source or target"),
        );
        self.context.tally().conflict(conflict);
        Stop::Told
    }

    async fn decide_by(
        &self,
        gathered: &Gathered,
        nodes: Vec<Node>,
        policy: Policy,
    ) -> Result<Vec<Item>, Stop> {
        let group = &gathered.group;
        let mut items = Vec::with_capacity(nodes.len());
        for mut node in nodes.into_iter().filter(|node| !is_left(group, node)) {
            if gathered.place.stays {
                node.forget_arrivals();
            }
            let verdict = node.decide_in_group(policy);
            let mut place = gathered.place.clone();
            place.listed = Sides::default();
            // Nothing is copied yet: only what decides is read.
            place.together = Some(group.clone());
            items.push(Item::new(node, policy, verdict, place));
        }
        let (unread, mut decided): (Vec<_>, Vec<_>) = items
            .into_iter()
            .partition(|item| matches!(item.verdict, Verdict::Read(_)));
        decided.extend(self.work_on_all(unread).await?);
        decided.sort_by_cached_key(|item| item.node.path.clone());
        for item in &mut decided {
            // What is copied is read for it: not all of a group is held in memory.
            item.contents = Sides::default();
        }
        let unread = |item: &&Item| matches!(item.verdict, Verdict::Read(_));
        match decided.iter().find(unread) {
            Some(item) => Err(busy(format!("{} could not be read", item.node.path))),
            None => Ok(decided),
        }
    }

    /// Reads and stages; a failure is told.
    async fn work_on_all(&self, items: Vec<Item>) -> Result<Vec<Item>, Stop> {
        for item in &items {
            if let Some((side, error)) = self.context.waits(&item.node) {
                self.context.file_error(side, &item.node.path, &error);
                return Err(Stop::Told);
            }
        }
        let context = &self.context;
        let work = chunks(items)
            .into_iter()
            .map(|chunk| work_on(Arc::clone(context), chunk));
        let chunks = futures::stream::iter(work).buffered(CHUNKS_AT_ONCE);
        let done: Vec<Vec<Item>> = chunks.try_collect().await?;
        let done: Vec<Item> = done.into_iter().flatten().collect();
        for item in &done {
            if let Progressed::Failed(side, error) | Progressed::Waits(side, error) =
                &item.progressed
            {
                self.context.check_cancelled()?;
                if has_moved_on(error.kind()) {
                    let reason = error.reason();
                    return Err(busy(format!("{}: {reason}", item.node.path)));
                }
                self.context.not_transferred(*side, item, error);
                self.context.check_going()?;
                return Err(Stop::Told);
            }
        }
        Ok(done)
    }

    async fn stage_all(&self, acts: &mut Vec<Act>) -> Result<(), Stop> {
        let mut items = Vec::new();
        acts.retain_mut(|act| {
            let item = act.take_unstaged();
            let copied = item.is_some();
            items.extend(item);
            !copied
        });
        for (_, item) in &items {
            self.context.job.progress.found(1, item.size());
        }
        let (steps, items): (Vec<u8>, Vec<Item>) = items.into_iter().unzip();
        for (step, item) in steps.into_iter().zip(self.work_on_all(items).await?) {
            let path = item.node.path.clone();
            match Act::staged(step, item) {
                Some(act) => acts.push(act),
                None => return Err(busy(format!("{path} changed while it was read"))),
            }
        }
        Ok(())
    }

    /// Somebody may be at work in it, without anything having changed in between.
    async fn check_rest(&self, group: &Group, lock: &Option<SyncPath>) -> Result<(), Stop> {
        match lock {
            Some(lock) => Err(busy(format!(
                "somebody is at work in it: {lock} is there; remove it if no git runs"
            ))),
            None => self.check_journal(group).await,
        }
    }

    async fn check_journal(&self, group: &Group) -> Result<(), Stop> {
        let Some(path) = group.journal() else {
            return Ok(());
        };
        for side in Side::BOTH {
            let hot = self.is_hot(side, &path).await;
            if hot.map_err(|error| Stop::Later(error, None))? {
                return Err(busy(format!(
                    "a transaction is under way on the {side}, or broke off: {path} is there; end it, or open the database once"
                )));
            }
        }
        Ok(())
    }

    async fn is_hot(&self, side: Side, path: &SyncPath) -> StorageResult<bool> {
        let storage = &self.context.job.storages[side];
        let Some(meta) = storage.stat(path).await? else {
            return Ok(false);
        };
        if meta.kind != Kind::File || meta.size == 0 {
            return Ok(false);
        }
        let path = path.clone();
        let mut reader = storage.read(ReadRequest { path, meta }).await?;
        let first = reader.next().await?;
        Ok(first.is_some_and(|first| first.starts_with(&HOT_JOURNAL)))
    }

    /// Below a folder that the target lacks, every path would say so again.
    fn tell_drift(&self, items: &[Item]) {
        let mut lacking: Option<&SyncPath> = None;
        for item in items.iter().filter(|item| item.verdict == Verdict::Drift) {
            let path = &item.node.path;
            let absent = matches!(item.node.found.target, Found::Absent);
            let above = item.place.lacking.iter();
            let above = above.into_iter().any(|(_, side, _)| *side == Side::Target);
            if absent && (above || lacking.is_some_and(|lacking| path.is_within(lacking))) {
                continue;
            }
            lacking = absent.then_some(path).or(lacking);
            let reason = super::apply::drift_reason(&item.node);
            self.context.tally().drift(path, reason);
        }
    }

    /// What is left out keeps the folder that it is in.
    fn keep_scratch(&self, scratch: &[Node]) -> Result<(), Stop> {
        for node in scratch {
            self.context.state().keep_folders(&node.path)?;
        }
        Ok(())
    }
}

/// Pieces that are worked on as one.
fn chunks(items: Vec<Item>) -> Vec<Vec<Item>> {
    let (mut chunks, mut chunk, mut bytes) = (Vec::new(), Vec::new(), 0);
    for item in items {
        bytes += item.size();
        if chunk.len() >= CHUNK_ITEMS || bytes > CHUNK_BYTES {
            bytes = item.size();
            chunks.push(std::mem::take(&mut chunk));
        }
        chunk.push(item);
    }
    chunks.push(chunk);
    chunks
}

/// Whether what is there is neither transferred nor removed with the group: it is of no use, or not what it seems by its name.
fn is_left(group: &Group, node: &Node) -> bool {
    let is_folder = |&side: &Side| node.found[side].is_folder();
    match group.kind {
        GroupKind::Git => false,
        GroupKind::Sqlite => group.is_scratch(&node.path) || Side::BOTH.iter().any(is_folder),
    }
}

/// A lock that is left out is one all the same.
fn is_lock(group: &Group, node: &Node) -> bool {
    let there = |&side: &Side| !matches!(node.found[side], Found::Absent | Found::Unknown);
    group.is_lock(&node.path) && Side::BOTH.iter().any(there)
}

/// Whether something happens at the path but a note in the baseline, which the merge has made.
fn is_to_be_done(item: &Item) -> bool {
    match item.verdict {
        Verdict::Update { .. } | Verdict::Remove { .. } | Verdict::Retype { .. } => true,
        Verdict::Agreed(plan) => plan != ModePlan::default(),
        _ => false,
    }
}

/// The side that is written.
fn written(item: &Item) -> Option<Side> {
    match item.verdict {
        Verdict::Update { to, .. } => Some(to),
        Verdict::Remove { on } => Some(on),
        Verdict::Retype { from } => Some(from.other()),
        Verdict::Agreed(plan) => Side::BOTH
            .into_iter()
            .find(|&side| plan.set[side].is_some()),
        _ => None,
    }
}

/// The files whose tokens prove nothing yet.
fn unsettled(nodes: &[Node], side: Side) -> HashSet<&SyncPath> {
    let fresh = |node: &&Node| node.found[side].meta().is_some_and(|meta| !meta.settled);
    nodes.iter().filter(fresh).map(|node| &node.path).collect()
}
