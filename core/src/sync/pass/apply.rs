//! Hands decided paths to those who carry them out.

use super::Pass;
use super::item::{Item, Place, Progressed};
use super::node::{Found, Node};
use super::publish::{NewFolder, NewModes};
use super::recall::remember;
use crate::model::{Kind, Meta, Mode, Side, Sides, SyncPath};
use crate::planted::{Bug, planted};
use crate::reconcile::{ModePlan, Policy, Verdict};
use crate::state::{BaselineRow, GroupEnd, Pending, PendingAction, RowChange};
use crate::storage::{ErrorKind, StorageError};
use crate::sync::SyncError;

impl Pass {
    pub(super) fn absorb(&mut self, items: Vec<Item>) -> Result<(), SyncError> {
        let mut items = items.into_iter();
        let result = items.try_for_each(|item| self.apply(item));
        self.context.leave(items.len());
        result
    }

    /// Hands a decided path to those who carry it out.
    pub(super) fn apply(&mut self, mut item: Item) -> Result<(), SyncError> {
        remember(&self.context, &item)?;
        self.note_read(&item);
        match std::mem::replace(&mut item.progressed, Progressed::Decided) {
            Progressed::Failed(side, error) => {
                self.context.check_cancelled()?;
                self.context.not_transferred(side, &item, &error);
                self.leave_for_later(&item)
            }
            Progressed::Waits(side, error) => {
                self.context.file_error(side, &item.node.path, &error);
                self.leave_for_later(&item)
            }
            Progressed::Staged(staged) => {
                let Verdict::Update { to, .. } = item.verdict else {
                    return Ok(());
                };
                self.make_lacking(&item, to)?;
                self.pipeline.batch.push_file(item, to, staged);
                Ok(())
            }
            Progressed::MaybeMoved => {
                let Verdict::Update { to, .. } = item.verdict else {
                    return Ok(());
                };
                self.make_lacking(&item, to)?;
                self.hold_back_creation(&item, to)
            }
            Progressed::Decided if item.place.group.is_some() => self.apply_in_group(item),
            Progressed::Decided if item.place.together.is_some() => self.apply_together(item),
            Progressed::Decided => self.apply_verdict(item),
        }
    }

    /// What could be read whole is not tried again before its time, and what was read in vain has to be quiet for longer.
    fn note_read(&self, item: &Item) {
        let Some(unrest) = self.context.unrest() else {
            return;
        };
        let (path, hashes) = (&item.node.path, &item.node.hashes);
        let in_vain = ["read", "hash"];
        match &item.progressed {
            Progressed::Waits(..) => {}
            Progressed::Failed(_, error)
                if error.kind() == ErrorKind::Busy && in_vain.contains(&error.operation()) =>
            {
                unrest.was_read_in_vain(path);
            }
            Progressed::Failed(..) => {}
            _ if hashes.source.is_some() || hashes.target.is_some() => unrest.was_read(path),
            _ => {}
        }
    }

    /// Somebody wrote to it a moment ago, on this side: to read it now would be in vain.
    pub(super) fn let_be(&mut self, side: Side, item: &Item) -> Result<(), SyncError> {
        let error = StorageError::new(ErrorKind::Busy, "read", "it is being written to");
        let location = self.context.job.storages[side].location();
        self.context
            .tally()
            .let_be(&item.node.path, &error, location);
        self.leave_for_later(item)
    }

    /// The path has trouble: what depends on it does not happen in this pass.
    fn leave_for_later(&mut self, item: &Item) -> Result<(), SyncError> {
        self.context.check_going()?;
        self.groups.block(item);
        let group = item.place.group.as_ref().unwrap_or(&item.node.path);
        self.context.state().end_group(group, GroupEnd::Wait)?;
        self.keep(&item.node.path, &item.place)
    }

    pub(super) fn apply_verdict(&mut self, item: Item) -> Result<(), SyncError> {
        let node = &item.node;
        match item.verdict {
            Verdict::Nothing | Verdict::Read(_) => {}
            Verdict::Forget => self.forget(node),
            Verdict::Agreed(plan) => {
                self.keep(&node.path, &item.place)?;
                if plan.set != Sides::default() && is_closing(node, plan) {
                    self.hold_back_folder_mode(node, plan)?;
                } else if plan.set != Sides::default() {
                    self.pipeline.batch.modes.push(NewModes { item, plan });
                } else if let Some(row) = node.agreed_row()
                    && node.base.as_ref() != Some(&row)
                    && !planted(Bug::AgreementIsNotRecorded)
                {
                    self.context.rely_on_both(node);
                    self.pipeline.batch.rows.push(RowChange::Put(row));
                }
            }
            Verdict::Update { to, .. } => {
                self.make_lacking(&item, to)?;
                match node.found[to.other()].meta() {
                    Some(like) if like.kind == Kind::Folder => {
                        let folder = NewFolder {
                            path: node.path.clone(),
                            to,
                            like: like.clone(),
                            was: node.base.as_ref().and_then(BaselineRow::stand_in),
                        };
                        self.pipeline.batch.folders.push(folder);
                    }
                    _ => self.hold_back_creation(&item, to)?,
                }
            }
            Verdict::Remove { on } => self.hold_back_removal(&item, on)?,
            Verdict::Retype { from } => self.hold_back_retype(&item, from)?,
            Verdict::Conflict(what) => {
                self.keep(&node.path, &item.place)?;
                self.context.state().end_group(&node.path, GroupEnd::Told)?;
                self.context.tally().conflict(node.conflict(what));
            }
            Verdict::Drift => self.leave_drift(&item)?,
            Verdict::Wait => {
                self.tell_special(node);
                self.keep(&node.path, &item.place)?;
            }
        }
        Ok(())
    }

    fn leave_drift(&mut self, item: &Item) -> Result<(), SyncError> {
        let node = &item.node;
        self.keep(&node.path, &item.place)?;
        // Below a folder that the target lacks, every path would say so again.
        let mut lacking = item.place.lacking.iter();
        let is_told = lacking.any(|(_, side, _)| *side == Side::Target)
            && matches!(node.found.target, Found::Absent);
        if !is_told {
            self.context.tally().drift(&node.path, drift_reason(node));
        }
        Ok(())
    }

    /// The folder loses bits that its owner needs to change what is in it: they go when it is finished.
    fn hold_back_folder_mode(&mut self, node: &Node, plan: ModePlan) -> Result<(), SyncError> {
        let (Some(mut row), Some(base)) = (node.agreed_row(), &node.base) else {
            return Ok(());
        };
        for side in Side::BOTH {
            row.sides[side].mode = base.sides[side].mode;
            if let (Some(mode), Some(expected)) = (plan.set[side], node.expected(side)) {
                self.context.tally().changes[side].updated += 1;
                self.context.state().add_pending(&[Pending {
                    id: 0,
                    path: node.path.clone(),
                    side,
                    action: PendingAction::FolderMode(expected, mode),
                    hash: None,
                    group: None,
                }])?;
            }
        }
        self.context.rely_on_both(node);
        self.pipeline.batch.rows.push(RowChange::Put(row));
        Ok(())
    }

    /// Inside a change of type: what the other side did not change is held back with it; anything else makes it a conflict.
    fn apply_in_group(&mut self, item: Item) -> Result<(), SyncError> {
        let Some(group) = item.place.group.clone() else {
            return Ok(());
        };
        let Some(from) = self.context.state().group_side(&group)? else {
            return Ok(());
        };
        let other = from.other();
        match item.verdict {
            Verdict::Nothing | Verdict::Read(_) => Ok(()),
            Verdict::Retype { from } => self.hold_back_retype(&item, from),
            Verdict::Remove { on } if on == other => self.hold_back_removal(&item, on),
            Verdict::Update { to, .. } if to == other => match item.node.found[from].meta() {
                Some(_) => self.hold_back_creation(&item, to),
                None => Ok(()),
            },
            Verdict::Wait if matches!(item.node.found[other], Found::Unknown) => {
                Ok(self.context.state().end_group(&group, GroupEnd::Wait)?)
            }
            // One-way: the target's own change of type is left alone, with what lies in it.
            Verdict::Drift | Verdict::Wait
                if from == Side::Target && item.policy == Policy::OneWay =>
            {
                Ok(())
            }
            Verdict::Agreed(_) => Ok(()),
            // Both sides want it gone; so does a run that broke off in the middle of this change of type.
            Verdict::Forget => {
                self.forget(&item.node);
                Ok(())
            }
            // What takes over holds something that is skipped, excluded or unknown: it stays where it is.
            Verdict::Wait if matches!(item.node.found[other], Found::Absent) => Ok(()),
            // What is left out keeps the folder that it is in, as where that is removed. Who wants the end of a conflict hears that it goes on.
            Verdict::Wait
                if matches!(item.node.found[other], Found::LeftAlone)
                    && item.policy == self.context.policy =>
            {
                let path = &item.node.path;
                Ok(self.context.state().keep_in_group(&group, path)?)
            }
            _ if planted(Bug::RetypeForgetsEdits) => Ok(()),
            _ => Ok(self.context.state().end_group(&group, GroupEnd::Conflict)?),
        }
    }

    /// A special file is no failure, unless it keeps out what the other side holds.
    pub(super) fn tell_special(&self, node: &Node) {
        for side in Side::BOTH {
            let special = matches!(node.found[side], Found::Special);
            if special && node.found[side.other()].meta().is_some() {
                let error = StorageError::new(
                    ErrorKind::Unrepresentable,
                    "sync",
                    "a socket, device or pipe is in the place of what the other side holds; move one of them",
                );
                let location = self.context.job.storages[side].location();
                self.context.tally().problem(&node.path, &error, location);
            }
        }
    }

    pub(super) fn forget(&mut self, node: &Node) {
        if let Some(base) = &node.base {
            self.pipeline.batch.rows.push(RowChange::Delete(base.key()));
        }
    }

    /// The path survives: the folders above it are not removed.
    pub(super) fn keep(&mut self, path: &SyncPath, place: &Place) -> Result<(), SyncError> {
        if !place.lacking.is_empty() && !planted(Bug::FolderGoesWithSurvivor) {
            self.context.state().keep_folders(path)?;
        }
        Ok(())
    }

    /// Something is written to `to`: the folders above it are not removed, and are made there where they are lacking.
    pub(super) fn make_lacking(&mut self, item: &Item, to: Side) -> Result<(), SyncError> {
        self.keep(&item.node.path, &item.place)?;
        for (path, side, like) in &item.place.lacking {
            if *side == to && self.brought_back.insert((path.clone(), to)) {
                let folder = NewFolder {
                    path: path.clone(),
                    to,
                    like: like.clone(),
                    was: None,
                };
                self.pipeline.batch.folders.push(folder);
            }
        }
        Ok(())
    }
}

/// Whether a folder gets a mode with which its owner cannot change what is in it.
pub(super) fn is_closing(node: &Node, plan: ModePlan) -> bool {
    let closes = |mode: Mode| mode.bits() & 0o700 != 0o700;
    let sides = Side::BOTH.into_iter();
    node.found.source.is_folder() && sides.filter_map(|side| plan.set[side]).any(closes)
}

/// What the target changed, where all else is equal.
pub(super) const OF_BITS: &str = "its permissions were changed on the target";

/// Whether both hold the same, but for permission bits.
fn differ_in_bits(node: &Node, source: &Meta, target: &Meta) -> bool {
    let same = match (source.kind, target.kind) {
        (Kind::Folder, Kind::Folder) => true,
        (Kind::File, Kind::File) => {
            let hash = node.hash(Side::Source);
            hash.is_some() && hash == node.hash(Side::Target)
        }
        _ => false,
    };
    same && source.mode != target.mode
}

pub(super) fn drift_reason(node: &Node) -> &'static str {
    match (&node.found.source, &node.found.target, &node.base) {
        (Found::There(source), Found::There(target), _) if differ_in_bits(node, source, target) => {
            OF_BITS
        }
        (_, Found::Absent, _) => "it was removed on the target",
        (Found::Absent, _, None) => "it is on the target only",
        (Found::Absent, _, Some(_)) => "it was removed on the source and changed on the target",
        _ => "it was changed on the target",
    }
}
