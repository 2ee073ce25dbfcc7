//! The folders that are open in the merge: what they mean for what is in them. Its size is the depth of the tree.

use super::item::Place;
use super::node::Found;
use crate::model::{Meta, Side, Sides, SyncPath};
use crate::reconcile::{Policy, Verdict};

/// An open folder, or a path whose inside matters.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) path: SyncPath,
    /// Nothing inside is touched or reported: it is unknown or left alone on a side, or part of a conflict.
    pub(super) closed: bool,
    /// What is inside belongs to this change of type.
    pub(super) group: Option<(SyncPath, Side)>,
    /// The side that does not have the folder and did not get it, with the folder on the other.
    pub(super) lacking: Option<(Side, Meta)>,
    /// Another policy inside.
    pub(super) policy: Option<Policy>,
    /// The sides whose listing shows the folder.
    pub(super) listed: Sides<bool>,
    /// Only one side has the folder, and it does not go: nothing in it goes because a killed run may have brought it.
    pub(super) stays: bool,
}

impl Frame {
    pub(super) fn new(path: SyncPath) -> Self {
        Self {
            path,
            closed: false,
            group: None,
            lacking: None,
            policy: None,
            listed: Sides::default(),
            stays: false,
        }
    }

    /// What it means for its inside that this is done with the folder.
    pub(super) fn decided(&mut self, found: &Sides<Found>, verdict: Verdict) {
        let absent = |side: &Side| matches!(found[*side], Found::Absent);
        let goes = matches!(verdict, Verdict::Remove { .. } | Verdict::Retype { .. });
        self.stays = !goes && Side::BOTH.iter().any(absent);
        self.listed = found.as_ref().map(Found::is_folder);
    }
}

/// The open folders, outermost first.
#[derive(Debug, Default)]
pub(super) struct Frames(Vec<Frame>);

impl Frames {
    /// Closes what does not hold `path`.
    pub(super) fn enter(&mut self, path: &SyncPath) {
        while self
            .0
            .last()
            .is_some_and(|frame| !path.is_within(&frame.path))
        {
            self.0.pop();
        }
    }

    pub(super) fn open(&mut self, frame: Frame) {
        self.0.push(frame);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.iter().any(|frame| frame.closed)
    }

    /// Whether the place lies in a folder that stays for all that killed runs are said to have done.
    pub(super) fn stays(&self) -> bool {
        self.0.iter().any(|frame| frame.stays)
    }

    /// Whether a side does not have a folder that the place lies in: what stays in it keeps it.
    pub(super) fn keeps(&self) -> bool {
        let gave_up = |frame: &Frame| frame.lacking.is_some() || frame.group.is_some();
        self.0.iter().any(gave_up)
    }

    pub(super) fn policy(&self) -> Option<Policy> {
        self.0.iter().rev().find_map(|frame| frame.policy)
    }

    /// The change of type that the current place lies in.
    pub(super) fn group(&self) -> Option<&(SyncPath, Side)> {
        self.0.iter().find_map(|frame| frame.group.as_ref())
    }

    /// The change of type that `path` lies in, or is.
    pub(super) fn group_of(&self, path: &SyncPath) -> Option<&(SyncPath, Side)> {
        self.group().filter(|(group, _)| path.is_within(group))
    }

    /// What `path` takes along from here.
    pub(super) fn place(&self, path: &SyncPath) -> Place {
        let listed = match path.parent().filter(|parent| !parent.is_root()) {
            None => Sides::new(true, true),
            Some(parent) => {
                let folder = self.0.last().filter(|frame| frame.path == parent);
                folder.map(|frame| frame.listed).unwrap_or_default()
            }
        };
        Place {
            listed,
            stays: self.stays(),
            group: self.group().map(|(path, _)| path.clone()),
            together: None,
            lacking: self
                .0
                .iter()
                .filter_map(|frame| {
                    let (side, meta) = frame.lacking.as_ref()?;
                    Some((frame.path.clone(), *side, meta.clone()))
                })
                .collect(),
        }
    }

    /// Nothing inside the folder at `path` is touched.
    pub(super) fn close(&mut self, path: &SyncPath) {
        for frame in self.0.iter_mut().filter(|frame| frame.path == *path) {
            frame.closed = true;
        }
    }
}
