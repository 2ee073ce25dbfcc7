//! A pass: both sides and the baseline are merged, decided path by path, and carried out.
//!
//! Creations and edits go to the [`pipeline`] as the merge meets them. Removals, possible moves and what belongs to a change of
//! type are held back in the pair's database until every listing has ended ([`finish`]).

mod agreed;
mod apply;
mod budget;
mod confirm;
mod context;
mod copy;
mod explain;
mod finish;
mod frames;
mod gather;
mod gives_up;
mod ground;
mod hold;
mod item;
mod joined;
mod maybe_moved;
mod merge;
mod mounted;
mod moves;
mod node;
mod pipeline;
mod planted;
mod proof;
mod publish;
mod recall;
mod resolve;
mod sweep;
mod tally;
mod together;
mod together_changes;
mod together_first;
mod together_retyped;
mod together_steps;
mod work;

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;

pub(super) use context::{Context, Removals};
pub use explain::{Explanation, Seen, explain};
pub(super) use ground::{Ground, survey};
pub(super) use moves::{follow as follow_move, is_done as is_move_done};
pub(super) use sweep::sweep;
pub(super) use tally::{Findings, Later, Tally};

use frames::{Frame, Frames};
use gather::Gatherer;
use ground::Stretch;
use item::{Item, Progressed};
use merge::{Merge, Remark};
use node::{Found, Node};
use pipeline::Pipeline;

use super::guard::root_emptied;
use super::progress::Phase;
use super::{Group, SyncError, SyncErrorClass};
use crate::model::{Direction, Kind, Meta, Side, Sides, SyncPath, Token};
use crate::reconcile::{Conflicting, Policy, Verdict};
use crate::state::{BaselineRow, GroupEnd, RowChange, SideRecord};
use crate::storage::{Listing, Parts, Scope, StorageError};

/// Where a pass looks.
#[derive(Debug)]
pub(in crate::sync) enum Look {
    /// Everywhere.
    Everything,
    /// At one path and what is below it: for the conflict there, and for nothing else.
    Wish(SyncPath),
    /// At the places of a survey.
    Ground(Box<Ground>),
}

impl Look {
    /// Where contents that were agreed on may be given up; `None`: anywhere.
    fn gives_up(&self) -> Option<&Parts> {
        match self {
            Self::Everything | Self::Wish(_) => None,
            Self::Ground(ground) => Some(ground.gives_up()),
        }
    }
}

/// Looks, and does what is to be done.
pub(super) async fn run(context: Arc<Context>, look: Look) -> Result<(), SyncError> {
    context.state().clear_pending()?;
    let mut pass = Pass {
        pipeline: Pipeline::new(Arc::clone(&context)),
        frames: Frames::default(),
        groups: Gatherer::default(),
        cut_short: false,
        removes_nothing: false,
        wish: None,
        partial: false,
        emptied: None,
        baseline_files: None,
        judged_as_ever: false,
        brought_back: HashSet::new(),
        context: Arc::clone(&context),
        accepted: None,
    };
    let (listings, baseline) = match look {
        Look::Everything => {
            pass.baseline_files = Some(context.state().count_files()?);
            (list(&context, Scope::Everything).await?, Stretch::all())
        }
        Look::Wish(path) => {
            if pass.refuse_inside(&path) {
                return Ok(());
            }
            // If it is a database, what lies beside it is part of it.
            let paths = gather::wished(&path);
            let baseline = paths.iter().flat_map(Stretch::subtree).collect();
            pass.wish = Some(path);
            (list(&context, Scope::Subtrees(paths)).await?, baseline)
        }
        Look::Ground(mut ground) => {
            pass.partial = true;
            pass.pipeline.hurries = true;
            (ground.list(&context).await?, ground.take_baseline())
        }
    };
    let mut merge = Merge::new(Arc::clone(&context), listings, baseline);
    if pass.wish.is_none() && !pass.partial {
        pass.emptied = refuse_emptied(&context, merge.lists_nothing().await)?;
    }
    let mut result = pass.compare(&mut merge).await;
    if result.is_ok() {
        result = pass.finish().await;
    }
    if result.is_err() {
        // Nothing of this pass may go on behind the caller's back, and what it achieved is recorded.
        pass.pipeline.abandon().await;
    }
    let whole =
        pass.wish.is_none() && !pass.partial && result.is_ok() && pass.context.outage().is_none();
    let kept = pass.context.keep_learnt(whole);
    if result.is_ok() {
        kept?;
    }
    match pass.context.outage() {
        Some(lost) => Err(lost),
        None => result,
    }
}

async fn list(context: &Context, scope: Scope) -> Result<Sides<Box<dyn Listing>>, SyncError> {
    let request = ground::request(context, scope);
    let storages = &context.job.storages;
    let (source, target) = tokio::join!(
        storages.source.list(request.clone()),
        storages.target.list(request)
    );
    Ok(Sides::new(source?, target?))
}

/// A root that held something and lists nothing is more likely an accident than a wish.
fn refuse_emptied(context: &Context, nothing: Sides<bool>) -> Result<Option<Side>, SyncError> {
    if nothing.source == nothing.target {
        return Ok(None);
    }
    if !context.has_baseline {
        return refuse_mirror_of_nothing(context, nothing.source).map(|()| None);
    }
    let side = if nothing.source {
        Side::Source
    } else {
        Side::Target
    };
    if context.job.options.allow_empty {
        return Ok(Some(side));
    }
    Err(root_emptied(&context.job, side))
}

/// Nothing is known of the two yet: a mirror of a mistyped address, which no server need call wrong, would take everything away.
fn refuse_mirror_of_nothing(context: &Context, source_is_empty: bool) -> Result<(), SyncError> {
    let job = &context.job;
    if !source_is_empty || job.options.allow_empty || job.options.direction != Direction::Mirror {
        return Ok(());
    }
    Err(SyncError::new(
        SyncErrorClass::RootEmptied,
        format!(
            "the source {} lists nothing, and a mirror of it would remove all that {} holds: nothing was changed; check the address \
             of the source; if it is empty on purpose, run again with --allow-empty",
            job.storages.source.location(),
            job.storages.target.location()
        ),
    ))
}

struct Pass {
    context: Arc<Context>,
    pipeline: Pipeline,
    frames: Frames,
    groups: Gatherer,
    /// A listing ended in an error: nothing is removed in this pass.
    cut_short: bool,
    /// All removals were dropped; why is told.
    removes_nothing: bool,
    /// The only path that is looked at: for the conflict there, and for nothing else.
    wish: Option<SyncPath>,
    /// Only some places are looked at.
    partial: bool,
    /// The side that lists nothing although the baseline held something, on purpose.
    emptied: Option<Side>,
    /// Files in the baseline when the pass began, if they were counted.
    baseline_files: Option<u64>,
    /// The conflict that somebody ends is about permissions: what is below is decided as ever.
    judged_as_ever: bool,
    /// Folders that were made again because something in them survives: once, however much survives.
    brought_back: HashSet<(SyncPath, Side)>,
    /// The last folder in which another file system was accepted: the baseline of what is in it speaks of files that are elsewhere.
    accepted: Option<SyncPath>,
}

impl Pass {
    async fn compare(&mut self, merge: &mut Merge) -> Result<(), SyncError> {
        self.context.job.progress.enter(Phase::Comparing);
        let mut seen = 0;
        loop {
            let node = self.next(merge).await?;
            for remark in merge.take_remarks() {
                self.note(remark)?;
            }
            self.context.check_going()?;
            let Some(node) = node else { break };
            seen += 1;
            if seen == 256 {
                self.context.job.progress.saw(std::mem::take(&mut seen));
            }
            self.frames.enter(&node.path);
            let group = self.groups.of(&node, merge);
            self.visit(node, group).await?;
            self.pipeline.publish_if_full().await?;
            // Where nothing is waited for nobody else would have a turn on this thread, who tells of the work that was found for one.
            tokio::task::coop::consume_budget().await;
        }
        self.context.job.progress.saw(seen);
        self.settle().await
    }

    /// The next path. While a listing is waited for, what was found before is carried on: a storage that is far away lists slowly.
    async fn next(&mut self, merge: &mut Merge) -> Result<Option<Node>, SyncError> {
        let mut next = pin!(merge.next());
        loop {
            let done = tokio::select! {
                biased;
                node = &mut next => return node,
                done = self.pipeline.meanwhile() => done?,
            };
            self.absorb(done)?;
            self.pipeline.publish_early().await?;
        }
    }

    /// Waits for all chunks that are on their way.
    async fn settle(&mut self) -> Result<(), SyncError> {
        loop {
            let done = self.pipeline.drain().await?;
            if done.is_empty() {
                return Ok(());
            }
            self.absorb(done)?;
            self.pipeline.publish_if_full().await?;
        }
    }

    fn note(&mut self, remark: Remark) -> Result<(), SyncError> {
        if let Remark::UnknownInside(side, _, error)
        | Remark::UnknownAt(side, error)
        | Remark::CutShort(side, error) = &remark
            && self.context.is_outage(*side, error)
        {
            return Ok(());
        }
        let location = |side: Side| self.context.job.storages[side].location();
        match remark {
            // What the storage calls it says nothing of what finds out that it is over: that is a walk.
            Remark::UnknownInside(side, path, error) => {
                let error = error.with_operation("list");
                self.context.tally().problem(&path, &error, location(side));
                self.frames.close(&path);
                self.context.state().keep_folders(&path)?;
                self.keep_type(side, &path)?;
            }
            Remark::UnknownAt(side, error) => {
                let path = error.path().cloned().unwrap_or_else(SyncPath::root);
                self.context.tally().problem(&path, &error, location(side));
            }
            Remark::Unrepresentable(side, parent, name, reason) => {
                let error =
                    StorageError::new(crate::storage::ErrorKind::Unrepresentable, "list", reason);
                let path = parent.join(&name).unwrap_or_else(|_| parent.clone());
                self.context.tally().problem(&path, &error, location(side));
                self.context.state().keep_folders(&parent)?;
                self.keep_type(side, &parent)?;
            }
            Remark::Skipped => self.context.tally().found.skipped += 1,
            Remark::CutShort(side, error) => {
                self.context.check_cancelled()?;
                self.cut_short = true;
                let path = error.path().cloned().unwrap_or_else(SyncPath::root);
                let error = error.with_operation("list");
                self.context.tally().problem(&path, &error, location(side));
            }
        }
        Ok(())
    }

    /// In the folder at `path` on `side` is something that nobody knows: what that side has there does not give way to another type.
    fn keep_type(&self, side: Side, path: &SyncPath) -> Result<(), SyncError> {
        match self.frames.group_of(path) {
            Some((group, from)) if *from != side => {
                Ok(self.context.state().end_group(group, GroupEnd::Wait)?)
            }
            _ => Ok(()),
        }
    }

    async fn visit(&mut self, mut node: Node, group: Option<Group>) -> Result<(), SyncError> {
        let is_accepted = |folder: &SyncPath| node.path.is_within(folder);
        if self.accepted.as_ref().is_some_and(is_accepted) {
            // It was read before it was forgotten.
            node.base = None;
            node.announced.clear();
        }
        if self.frames.stays() {
            node.forget_arrivals();
        }
        let outside = |wish: &SyncPath| group.is_none() && !node.path.is_within(wish);
        if self.wish.as_ref().is_some_and(outside) {
            // It was looked at for the sake of a group that is none.
            return Ok(());
        }
        let asked = self.wish.as_ref() == Some(&node.path) && self.is_wished(&node.path);
        if node.is_untouched() {
            match asked && group.is_none() {
                true => self.close(node.path),
                false => self.open_untouched(&node)?,
            }
            return Ok(());
        }
        if self.frames.is_closed() {
            return Ok(());
        }
        if node.is_left_alone() {
            let kept = self.frames.keeps() || group.is_some() && node.large;
            self.context.tally().left_alone(&node, kept);
        }
        self.check_filesystem(&mut node)?;
        self.excuse_missing_folder(&mut node);
        self.imply_agreed_folder(&mut node)?;
        if node.is_folder_given_up() {
            self.context.tally().found.gave_up(&node.path);
        }
        let is_one = |it: &Group| self.frames.group().is_none() || it.is_scratch(&node.path);
        if let Some(group) = group.filter(is_one) {
            return self.visit_in_group(node, group).await;
        }
        let decided = self.decide_here(&mut node).await?;
        if asked && !decided.is_conflict {
            self.tell_left_out(&node);
            self.close(node.path);
            return Ok(());
        }
        let place = self.frames.place(&node.path);
        self.open_frame(&node, decided.verdict, decided.below)?;
        let mut item = Item::new(node, decided.policy, decided.verdict, place);
        if self.needs_work(&item)? {
            if let Some(side) = self.context.lets_be(&item.node) {
                return self.let_be(side, &item);
            }
            if let Some((side, error)) = self.context.waits(&item.node) {
                item.progressed = Progressed::Waits(side, error);
                return self.apply(item);
            }
            let done = self.pipeline.push(item).await?;
            return self.absorb(done);
        }
        self.apply(item)
    }

    /// There is no conflict at `path`: nothing is decided below it. Only a look at everything knows what the folders above mean for it: they may
    /// be unknown, or in conflict.
    fn close(&mut self, path: SyncPath) {
        let mut frame = Frame::new(path);
        frame.closed = true;
        self.frames.open(frame);
    }

    fn open_untouched(&mut self, node: &Node) -> Result<(), SyncError> {
        if node.found.source.is_folder() {
            if node.is_another_folder() {
                // Remembered, so that a look at places only need not walk it again.
                let row = node.agreed_row();
                self.pipeline.batch.rows.extend(row.map(RowChange::Put));
            }
            let mut frame = Frame::new(node.path.clone());
            frame.listed = Sides::new(true, true);
            self.frames.open(frame);
        }
        Ok(())
    }

    /// Where a storage has no empty folders an absent folder says nothing; but below a file no folder can be.
    fn excuse_missing_folder(&self, node: &mut Node) {
        if self.frames.group_of(&node.path).is_some() {
            return;
        }
        for side in Side::BOTH {
            let capable = self.context.job.storages[side].capabilities().empty_folders;
            if !capable
                && matches!(node.found[side], Found::Absent)
                && node.found[side.other()].is_folder()
            {
                node.found[side] = Found::NoFolder;
            }
        }
    }

    /// A storage without empty folders gets a folder with what is put into it, and the baseline may have no row for it then: what was agreed on
    /// inside says that the folder was. It matters where one side has something else in its place, or removed it.
    fn imply_agreed_folder(&self, node: &mut Node) -> Result<(), SyncError> {
        let capable = |side: &Side| {
            let storage = &self.context.job.storages[*side];
            storage.capabilities().empty_folders
        };
        if node.base.is_some() || Side::BOTH.iter().all(capable) {
            return Ok(());
        }
        let holder = Side::BOTH.into_iter().find(|&side| {
            let other = &node.found[side.other()];
            let replaced = other.meta().is_some_and(|meta| meta.kind != Kind::Folder)
                || self.frames.group_of(&node.path).is_some();
            // Where folders can be empty, one that is not there was removed.
            let removed = matches!(other, Found::Absent) && capable(&side.other());
            node.found[side].is_folder() && !other.is_folder() && (replaced || removed)
        });
        let Some((side, meta)) = holder.and_then(|side| Some((side, node.found[side].meta()?)))
        else {
            return Ok(());
        };
        let path = node.path.as_str();
        let (from, to) = (format!("{path}/"), format!("{path}0"));
        if self
            .context
            .state()
            .rows_in(&from, Some(&to), 1)?
            .is_empty()
        {
            return Ok(());
        }
        let record = SideRecord::of(meta);
        let mut sides = Sides::new(record.clone(), record);
        sides[side.other()].token = Token::new("");
        node.base = Some(BaselineRow {
            path: node.path.clone(),
            kind: Kind::Folder,
            hash: None,
            link: None,
            sides,
        });
        Ok(())
    }

    /// Whether content has to be read or copied for it.
    fn needs_work(&self, item: &Item) -> Result<bool, SyncError> {
        Ok(match item.verdict {
            Verdict::Read(_) => true,
            Verdict::Update { to, .. } => {
                item.place.group.is_none()
                    && !item.node.found[to.other()].is_folder()
                    && !self.may_be_moved(&item.node, to)?
            }
            _ => false,
        })
    }

    /// Opens the frame that the node's inside needs.
    fn open_frame(
        &mut self,
        node: &Node,
        verdict: Verdict,
        policy: Policy,
    ) -> Result<(), SyncError> {
        let holds = Side::BOTH.iter().any(|&side| {
            node.found[side].is_folder()
                || matches!(
                    node.found[side],
                    Found::LeftAlone | Found::Special | Found::Unknown
                )
        });
        let was_folder = node
            .base
            .as_ref()
            .is_some_and(|base| base.kind == Kind::Folder);
        if !holds && !was_folder {
            return Ok(());
        }
        let mut frame = Frame::new(node.path.clone());
        frame.lacking = lacking(node, verdict);
        frame.decided(&node.found, verdict);
        if policy != self.context.policy {
            frame.policy = Some(policy);
        }
        frame.closed = node.is_closed_to_us();
        match verdict {
            Verdict::Conflict(Conflicting::Types) => frame.closed = true,
            Verdict::Retype { from } => frame.group = Some((node.path.clone(), from)),
            Verdict::Read(_) => {
                frame.group = node.retyped().map(|from| (node.path.clone(), from));
            }
            _ => {}
        }
        if let Some((path, from)) = &frame.group
            && self.frames.group().is_none()
        {
            let report = node.conflict(Conflicting::Types);
            self.context.state().add_group(path, *from, &report)?;
        } else {
            frame.group = None;
        }
        self.frames.open(frame);
        Ok(())
    }
}

/// The side that lacks the folder at `node` and does not get it for its own sake, with the folder on the other side.
fn lacking(node: &Node, verdict: Verdict) -> Option<(Side, Meta)> {
    let of = |side: Side| {
        let meta = node.found[side].meta()?;
        Some((side.other(), meta.clone()))
    };
    match verdict {
        Verdict::Remove { on } => of(on).filter(|(_, meta)| meta.kind == Kind::Folder),
        Verdict::Drift => Side::BOTH
            .into_iter()
            .filter(|side| matches!(node.found[side.other()], Found::Absent))
            .find_map(of),
        _ => None,
    }
}
