//! What is held back until every listing has ended.

use super::Pass;
use super::gives_up::Trait;
use super::item::Item;
use super::node::Node;
use crate::model::{ContentHash, Kind, Side};
use crate::planted::{Bug, planted};
use crate::reconcile::Policy;
use crate::state::{Pending, PendingAction};
use crate::sync::SyncError;

impl Pass {
    /// Whether a new file carries the id, size and time of a file that the baseline knows under another path.
    pub(super) fn may_be_moved(&self, node: &Node, to: Side) -> Result<bool, SyncError> {
        Ok(self.known_elsewhere(node, to)?.is_some())
    }

    /// The content of that file, and whether its token says so too: it does where a folder above was renamed, not the file.
    fn known_elsewhere(
        &self,
        node: &Node,
        to: Side,
    ) -> Result<Option<(ContentHash, bool)>, SyncError> {
        let from = to.other();
        if !self.context.may_move() || node.base.is_some() || node.found[to].meta().is_some() {
            return Ok(None);
        }
        let Some(meta) = node.found[from]
            .meta()
            .filter(|meta| meta.kind == Kind::File)
        else {
            return Ok(None);
        };
        let (Some(id), Some(mtime), true) = (meta.file_id, meta.mtime, meta.settled) else {
            return Ok(None);
        };
        let gives_up = &self.context.gives_up;
        let state = self.context.state();
        if !gives_up.may_have(&state, &Trait::Id(from, id))? {
            return Ok(None);
        }
        let rows = state.rows_with_file_id(from, id, meta.size, mtime)?;
        drop(state);
        let known = rows
            .into_iter()
            .filter(|row| row.path != node.path && gives_up.holds(&row.path));
        let known = known.filter_map(|row| {
            let was = &row.sides[from];
            Some((row.hash.filter(|_| was.settled)?, was.token == meta.token))
        });
        // What has no hash of its content cannot be read to be sure of it.
        let known = known.filter(|(hash, proven)| *proven || !hash.is_by_copy());
        Ok(known.max_by_key(|(_, proven)| *proven))
    }

    fn hold_back(
        &mut self,
        item: &Item,
        side: Side,
        mut action: PendingAction,
    ) -> Result<(), SyncError> {
        let hash = match &mut action {
            PendingAction::RemoveFile(expected) => expected.hash,
            PendingAction::Create(meta) => match item.node.hash(side.other()) {
                Some(hash) => Some(hash),
                None => {
                    let known = self.known_elsewhere(&item.node, side)?;
                    // Recorded as it is here, it is read before anybody believes it.
                    meta.settled &= known.is_none_or(|(_, proven)| proven);
                    known.map(|(hash, _)| hash)
                }
            },
            _ => None,
        };
        let pending = Pending {
            id: 0,
            path: item.node.path.clone(),
            side,
            action,
            hash,
            group: item.place.group.clone(),
        };
        self.context.job.progress.stir();
        Ok(self.context.state().add_pending(&[pending])?)
    }

    pub(super) fn hold_back_removal(&mut self, item: &Item, on: Side) -> Result<(), SyncError> {
        let (Some(meta), Some(expected)) = (item.node.found[on].meta(), item.node.expected(on))
        else {
            return Ok(());
        };
        if planted(Bug::RowGoesEarly) {
            self.forget(&item.node);
        }
        let action = match meta.kind {
            Kind::Folder => PendingAction::RemoveFolder(Box::new(meta.clone())),
            _ => PendingAction::RemoveFile(expected),
        };
        self.hold_back(item, on, action)
    }

    pub(super) fn hold_back_creation(&mut self, item: &Item, to: Side) -> Result<(), SyncError> {
        let Some(meta) = item.node.found[to.other()].meta() else {
            return Ok(());
        };
        let meta = Box::new(meta.clone());
        let action = match meta.kind {
            Kind::Folder => PendingAction::CreateFolder(meta),
            _ => PendingAction::Create(meta),
        };
        self.hold_back(item, to, action)
    }

    pub(super) fn hold_back_retype(&mut self, item: &Item, from: Side) -> Result<(), SyncError> {
        if item.policy == Policy::OneWay && from == Side::Target {
            return Ok(());
        }
        let mut item = Item::new(
            item.node.clone(),
            item.policy,
            item.verdict,
            item.place.clone(),
        );
        if item.place.group.is_none() {
            item.place.group = Some(item.node.path.clone());
        }
        self.hold_back_removal(&item, from.other())?;
        self.hold_back_creation(&item, from.other())
    }
}
