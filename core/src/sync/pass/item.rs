//! A path that needs reading or copying, on its way through the pass.

use bytes::Bytes;

use super::node::Node;
use crate::model::Side;
use crate::model::{Meta, Sides, SyncPath};
use crate::reconcile::{Policy, Verdict};
use crate::storage::{Noted, Staged, StorageError};
use crate::sync::Group;

/// What is known about where a path lies, taken along when it leaves the merge.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// The change of type that it lies in.
    pub(super) group: Option<SyncPath>,
    /// What it only makes sense together with.
    pub(super) together: Option<Group>,
    /// Folders above it that one side does not have (any more) and that are made there if the path survives: with the side
    /// that lacks them.
    pub(super) lacking: Vec<(SyncPath, Side, Meta)>,
    /// Whether the listing of a side showed the folder that it lies in.
    pub(super) listed: Sides<bool>,
    /// It lies in a folder that only one side has, and that stays.
    pub(super) stays: bool,
}

/// How far a path has come.
#[derive(Debug)]
pub(super) enum Progressed {
    /// The verdict stands and needs no content, or not any more.
    Decided,
    /// Its new content is staged.
    Staged(Staged),
    /// It may be a move: it is decided when all removals are known.
    MaybeMoved,
    /// Reading or staging failed on this side.
    Failed(Side, StorageError),
    /// It failed so in an earlier look, and it is not yet time to try again.
    Waits(Side, StorageError),
}

/// A path that needs reading or copying.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) node: Node,
    pub(super) policy: Policy,
    pub(super) verdict: Verdict,
    pub(super) place: Place,
    /// Small contents that were read.
    pub(super) contents: Sides<Option<Bytes>>,
    /// What was noted beside contents that were read.
    pub(super) noted: Sides<Noted>,
    pub(super) progressed: Progressed,
    /// The storages copy it among themselves: its content does not pass through here.
    pub(super) travels: bool,
    /// It was looked up already: it is copied, whatever it may be.
    pub(super) not_moved: bool,
    /// Its content passes through here, whatever the storages can do among themselves.
    pub(super) passes: bool,
}

impl Item {
    pub(super) fn new(node: Node, policy: Policy, verdict: Verdict, place: Place) -> Self {
        Self {
            node,
            policy,
            verdict,
            place,
            contents: Sides::default(),
            noted: Sides::default(),
            progressed: Progressed::Decided,
            travels: false,
            not_moved: false,
            passes: false,
        }
    }

    /// Bytes that are to be written for it.
    pub(super) fn transferred(&self) -> u64 {
        match self.verdict {
            Verdict::Update { to, .. } => {
                let from = self.node.found[to.other()].meta();
                from.map_or(0, |meta| meta.size)
            }
            _ => 0,
        }
    }

    /// Bytes that will be read for it.
    pub(super) fn size(&self) -> u64 {
        let size = |side: Side| self.node.found[side].meta().map_or(0, |meta| meta.size);
        match self.verdict {
            Verdict::Read(sides) => Side::BOTH
                .into_iter()
                .filter(|&side| sides[side])
                .map(size)
                .sum(),
            Verdict::Update { to, .. } => size(to.other()),
            _ => 0,
        }
    }
}
