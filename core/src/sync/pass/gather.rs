//! What only makes sense together is not carried out as the merge meets it: only that something is to be done in a group is noted, and what
//! would be removed, so that it is judged with all other removals. [`super::together`] carries it out.

use std::collections::{BTreeMap, BTreeSet};

use super::Pass;
use super::frames::Frame;
use super::ground::LONGEST_NAME;
use super::item::{Item, Place};
use super::merge::Merge;
use super::node::{Found, Node};
use super::together::Decided;
use crate::model::{Kind, Side, Sides, SyncPath};
use crate::reconcile::{ModePlan, Policy, Verdict};
use crate::state::{Pending, PendingAction};
use crate::storage::Expected;
use crate::sync::groups::{Group, GroupKind, database, git_folder, winner};
use crate::sync::{Keep, SyncError};

/// The groups that the merge has met. Its size is the number of those in which something is to be done.
#[derive(Debug, Default)]
pub(super) struct Gatherer {
    /// The `.git` folder that the merge is in.
    inside: Option<SyncPath>,
    /// Databases that something was found beside, and that are still to come.
    awaited: BTreeSet<SyncPath>,
    stirred: BTreeMap<SyncPath, Gathered>,
}

/// A group in which something is to be done.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) group: Group,
    /// By which it is decided.
    pub(super) policy: Policy,
    /// Where it lies.
    pub(super) place: Place,
    /// Something of it is unknown, or could not be read: nothing happens in this pass.
    pub(super) blocked: bool,
    /// A pack of objects comes.
    packed: bool,
    /// What is to be done in it, if that had to be known early.
    pub(super) decided: Option<Decided>,
}

impl Gathered {
    /// What was decided in it. A pack that only goes is no pack that comes.
    pub(super) fn note_packs(&mut self, items: &[Item]) {
        let is_git = self.group.kind == GroupKind::Git;
        self.packed = items.iter().any(|item| {
            let is_pack = is_git && item.node.path.name().ends_with(".pack");
            is_pack && matches!(item.verdict, Verdict::Update { .. })
        });
    }
}

impl Gatherer {
    /// The group that the node is part of. To be asked of every node in turn.
    pub(super) fn of(&mut self, node: &Node, merge: &Merge) -> Option<Group> {
        let path = &node.path;
        if let Some(inside) = &self.inside {
            if path.is_within(inside) {
                return Some(Group::git(inside.clone()));
            }
            self.inside = None;
        }
        if path.name() == ".git" {
            self.inside = is_folder(node).then(|| path.clone());
            return self.inside.clone().map(Group::git);
        }
        if self.awaited.remove(path) {
            return is_no_folder(node).then(|| Group::sqlite(path.clone()));
        }
        // That a folder lies in the database's place may come out between two of its files: what goes for one of them goes for all.
        let goes_on = |it: &SyncPath| self.awaited.contains(it) || merge.is_coming(it);
        let beside = database(path).filter(|it| is_no_folder(node) && goes_on(it));
        let Some(database) = beside else {
            // Where a listing was cut short nobody knows what lies beside: that is looked at anew.
            let hidden = merge.hides_companions_of(node) && is_no_folder(node);
            return hidden.then(|| Group::sqlite(path.clone()));
        };
        if is_anything(node) {
            self.awaited.insert(database.clone());
        }
        Some(Group::sqlite(database))
    }

    fn stir(&mut self, item: &Item, blocked: bool) {
        let Some(group) = &item.place.together else {
            return;
        };
        let place = Place {
            together: None,
            ..item.place.clone()
        };
        let gathered = self.stirred.entry(group.path.clone());
        let gathered = gathered.or_insert_with(|| Gathered {
            group: group.clone(),
            policy: item.policy,
            place,
            blocked,
            packed: false,
            decided: None,
        });
        gathered.blocked |= blocked;
    }

    /// Where git put the objects of repositories into new packs: what it takes away there gives up no content of anybody's.
    pub(super) fn packed(&self) -> impl Iterator<Item = SyncPath> {
        let packed = self.stirred.values().filter(|gathered| gathered.packed);
        packed.filter_map(|gathered| gathered.group.path.join("objects").ok())
    }

    /// Something of the item's group, if it has one, could not be found out.
    pub(super) fn block(&mut self, item: &Item) {
        self.stir(item, true);
    }

    pub(super) fn take(&mut self) -> Vec<Gathered> {
        std::mem::take(&mut self.stirred).into_values().collect()
    }

    /// It is still to be carried out.
    pub(super) fn put_back(&mut self, gathered: Gathered) {
        self.stirred.insert(gathered.group.path.clone(), gathered);
    }
}

/// Whether it is a folder, wherever it is; if it is nowhere, whether it was.
fn is_folder(node: &Node) -> bool {
    let found = Side::BOTH
        .iter()
        .filter_map(|&side| node.found[side].meta());
    let kinds: Vec<Kind> = found.map(|meta| meta.kind).collect();
    match kinds[..] {
        [] => node.kinds().any(|kind| kind == Kind::Folder),
        _ => kinds.iter().all(|&kind| kind == Kind::Folder),
    }
}

/// Whether no side holds a folder there. What was agreed on once may be met too late to tell.
fn is_no_folder(node: &Node) -> bool {
    !Side::BOTH.iter().any(|&side| node.found[side].is_folder())
}

/// Whether something is or was there, or may be.
fn is_anything(node: &Node) -> bool {
    let unknown = |&side: &Side| matches!(node.found[side], Found::Unknown);
    node.large || node.kinds().next().is_some() || Side::BOTH.iter().any(unknown)
}

/// Where to look for a conflict at `path` that somebody wants to end.
pub(super) fn wished(path: &SyncPath) -> Vec<SyncPath> {
    if git_folder(path).is_some() {
        return vec![path.clone()];
    }
    let mut paths = Group::sqlite(database(path).unwrap_or_else(|| path.clone())).paths();
    // A name that leaves no room for a log has none beside it.
    paths.retain(|beside| beside == path || beside.name().len() <= LONGEST_NAME);
    paths
}

/// What a wish for a part of a group is answered with.
fn part_of(group: &SyncPath) -> String {
    format!(
        "it only makes sense together with the rest of {group}, and nothing was changed; end the conflict there: name {group}"
    )
}

impl Pass {
    /// Answers a wish for something in a `.git` folder: it has no conflict of its own.
    pub(super) fn refuse_inside(&self, path: &SyncPath) -> bool {
        let Some(git) = git_folder(path).filter(|git| git != path) else {
            return false;
        };
        self.context.tally().found.met = true;
        self.refuse_at(path, &part_of(&git));
        true
    }

    /// How somebody wants the group's conflict to end.
    pub(super) fn wish_for(&self, group: &Group) -> Option<Keep> {
        let mut wishes = self.context.job.options.resolve.iter();
        let wish = wishes.find(|(path, _)| *path == group.path);
        wish.map(|(_, keep)| *keep)
    }

    pub(super) async fn visit_in_group(
        &mut self,
        node: Node,
        group: Group,
    ) -> Result<(), SyncError> {
        if let Some((_, from)) = self.frames.group() {
            return self.visit_scratch_in_retyped(node, *from);
        }
        if let Some(wish) = &self.wish
            && *wish != group.path
        {
            if *wish == node.path {
                self.context.tally().found.met = true;
                self.refuse_at(&node.path, &part_of(&group.path));
            }
            return Ok(());
        }
        if self.wish.as_ref() == Some(&node.path) {
            self.tell_left_out(&node);
        }
        let usual = self.frames.policy().unwrap_or(self.context.policy);
        let winner = self.wish_for(&group).and_then(winner);
        let policy = winner.map_or(usual, Policy::Master);
        let verdict = node.decide_in_group(policy);
        let mut place = self.frames.place(&node.path);
        self.open_in_group(&node);
        let scratch = group.is_scratch(&node.path);
        place.together = Some(group);
        let item = Item::new(node, policy, verdict, place);
        if scratch {
            return self.leave_scratch(&item);
        }
        if matches!(verdict, Verdict::Read(_)) {
            let done = self.pipeline.push(item).await?;
            return self.absorb(done);
        }
        self.apply(item)
    }

    /// What is of no use without its database goes with the folder that both are in, whoever made it, and does not come with one.
    fn visit_scratch_in_retyped(&mut self, node: Node, from: Side) -> Result<(), SyncError> {
        let policy = self.frames.policy().unwrap_or(self.context.policy);
        let verdict = match node.decide(Policy::Master(from)) {
            Verdict::Update { .. } => {
                self.context.tally().found.skipped += 1;
                Verdict::Nothing
            }
            // The type of the source of a one-way run stays, with all that is in it.
            _ if policy == Policy::OneWay && from == Side::Target => Verdict::Drift,
            verdict => verdict,
        };
        let place = self.frames.place(&node.path);
        self.apply(Item::new(node, policy, verdict, place))
    }

    /// The frame that a folder in a group needs.
    fn open_in_group(&mut self, node: &Node) {
        let mut frame = Frame::new(node.path.clone());
        frame.listed = Sides::from_fn(|side| node.found[side].is_folder());
        frame.closed = node.is_closed_to_us();
        self.frames.open(frame);
    }

    fn leave_scratch(&mut self, item: &Item) -> Result<(), SyncError> {
        if is_anything(&item.node) {
            self.context.tally().found.skipped += 1;
            // It keeps its folder, unless it goes with the rest of the group.
            self.groups.stir(item, false);
        }
        Ok(())
    }

    /// Notes that something is to be done in a group.
    pub(super) fn apply_together(&mut self, item: Item) -> Result<(), SyncError> {
        let unknown = |&side: &Side| matches!(item.node.found[side], Found::Unknown);
        let mut blocked = false;
        match item.verdict {
            Verdict::Nothing => return Ok(()),
            Verdict::Forget => {
                self.forget(&item.node);
                return Ok(());
            }
            Verdict::Agreed(plan) if plan == ModePlan::default() => {
                return self.apply_verdict(item);
            }
            Verdict::Wait if !Side::BOTH.iter().any(unknown) => {
                self.tell_special(&item.node);
                return self.keep(&item.node.path, &item.place);
            }
            Verdict::Wait | Verdict::Read(_) => blocked = true,
            Verdict::Remove { on } => self.judge_together(&item, on, None)?,
            Verdict::Retype { from } => {
                // It goes because of what is there on the other side, not of what is missing.
                let path = Some(item.node.path.clone());
                self.judge_together(&item, from.other(), path)?;
            }
            Verdict::Update { .. } | Verdict::Drift => {
                // It goes if the other side changed the rest of the group; if not it does not count.
                if let Some(on) = item.node.arrived() {
                    self.judge_together(&item, on, None)?;
                }
            }
            Verdict::Agreed(_) | Verdict::Conflict(_) => {}
        }
        self.groups.stir(&item, blocked);
        Ok(())
    }

    /// What goes with a group is judged with all other removals, if it goes indeed: that is known when all of the group is decided.
    fn judge_together(
        &self,
        item: &Item,
        on: Side,
        retyped: Option<SyncPath>,
    ) -> Result<(), SyncError> {
        let Some(meta) = item.node.found[on].meta() else {
            return Ok(());
        };
        let expected = match meta.kind {
            Kind::Folder => Expected::of(meta, None),
            _ => match item.node.expected(on) {
                Some(expected) => expected,
                None => return Ok(()),
            },
        };
        let removal = Pending {
            id: 0,
            path: item.node.path.clone(),
            side: on,
            hash: expected.hash,
            action: PendingAction::RemoveTogether(expected),
            group: retyped,
        };
        Ok(self.context.state().add_pending(&[removal])?)
    }
}
