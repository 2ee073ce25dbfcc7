//! What somebody chose who ended a conflict: the version that lost is in the trash, as if it had been given up, and may lie beside the other.

use std::collections::BTreeSet;

use wl_core::model::ContentHash;

use crate::judge::{History, is_at_or_around, is_within};
use crate::site::{Shown, Tree};

/// The paths at which somebody chose between contents.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// The end of a conflict is asked for here, just now.
    now: Option<String>,
    at: BTreeSet<String>,
}

impl Ended {
    /// Somebody asks for the end of the conflict at `path`.
    pub fn begins(&mut self, path: &str, trees: &[Tree]) {
        self.now = Some(path.to_owned());
        self.look(trees);
    }

    /// That run is over.
    pub fn is_over(&mut self) {
        self.now = None;
    }

    /// What there is by now. Where all sides have a folder there is nothing to choose but its permission bits.
    pub fn look(&mut self, trees: &[Tree]) {
        let Some(path) = &self.now else { return };
        let folder = |tree: &Tree| tree.get(path) == Some(&Shown::Folder);
        if !trees.iter().all(folder) {
            self.at.insert(path.clone());
        }
    }

    /// Whether what was at `other` may lie at `path` now.
    pub fn may_lie_beside(&self, path: &str, other: &str) -> bool {
        let folder = |path: &str| path.rsplit_once('/').map(|(folder, _)| folder.to_owned());
        self.at.contains(other) && folder(path) == folder(other)
    }

    /// Whether this content may have been the one that lost.
    pub fn lost(&self, known: &History, content: &ContentHash) -> bool {
        let shown = Shown::File(*content);
        let mut there = known.iter().filter(|(_, known)| known.contains(&shown));
        there.any(|(path, _)| self.at.iter().any(|at| is_within(path, at)))
    }

    /// Whether what became of `path` may be what somebody chose.
    pub fn is_about(&self, path: &str) -> bool {
        self.at.iter().any(|at| is_at_or_around(path, at))
    }
}
