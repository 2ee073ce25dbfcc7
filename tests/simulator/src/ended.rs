//! What somebody chose who ended a conflict: the version that lost is in the trash, as if it had been given up, and may lie beside the other.

use std::collections::BTreeSet;

use wl_core::model::{ContentHash, Sides};
use wl_core::sync::Keep;

use crate::groups::beside;
use crate::judge::{History, is_at_or_around, is_within};
use crate::site::{Modes, Shown, Tree};

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

/// What somebody chose, and what there was then.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub path: String,
    pub keep: Keep,
    pub trees: Vec<Tree>,
    pub modes: Vec<Modes>,
    /// How many edits there were, and how many faults had fired: only if nothing else happened is it known what has to come of it.
    pub world: (usize, u64),
}

fn folder(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(folder, _)| folder)
}

impl Choice {
    /// The run that was to do it says that it did, and this is what there is now. `folders`: both sides keep those by themselves; `bits`:
    /// and permission bits.
    pub fn is_followed(
        &self,
        sites: Sides<usize>,
        (trees, modes): (&[Tree], &[Modes]),
        folders: bool,
        bits: bool,
    ) -> Result<(), String> {
        let both = [sites.source, sites.target];
        let held = both.map(|site| self.trees[site].get(&self.path));
        if held.contains(&None) {
            return Ok(());
        }
        let retyped = held[1] == Some(&Shown::Folder) && held[0] != held[1];
        let chosen = match self.keep {
            Keep::Source => vec![sites.source],
            Keep::Target => vec![sites.target],
            Keep::Newer => both.to_vec(),
            Keep::Both if retyped => vec![sites.target],
            Keep::Both => vec![sites.source],
        };
        let below = held != [Some(&Shown::Folder); 2];
        let part = |tree: &Tree| -> Tree {
            let part = tree.iter().filter(|(path, shown)| {
                let within = match below {
                    true => is_within(path, &self.path),
                    false => **path == self.path,
                };
                within && (folders || **shown != Shown::Folder)
            });
            part.map(|(path, shown)| (path.clone(), shown.clone()))
                .collect()
        };
        let all_hold = |site: &usize| {
            both.map(|at| part(&trees[at])) == [(); 2].map(|()| part(&self.trees[*site]))
        };
        if !chosen.iter().any(all_hold) {
            return Err(self.wrong("and not both sides hold what was chosen"));
        }
        if let (true, [chosen]) = (bits && held[0] == held[1], &chosen[..]) {
            let wanted = self.modes[*chosen].get(&self.path);
            if both.iter().any(|at| modes[*at].get(&self.path) != wanted) {
                return Err(
                    self.wrong("and not both sides have the permission bits that were chosen")
                );
            }
        }
        let lost = both.iter().position(|site| !chosen.contains(site));
        let lost = lost.and_then(|at| held[at]);
        self.is_beside(lost, trees)?;
        for (before, after) in self.trees.iter().zip(trees) {
            self.is_left_alone(before, after, lost, folders)?;
        }
        Ok(())
    }

    fn wrong(&self, why: &str) -> String {
        format!(
            "the conflict at {} was ended with {:?}, {why}",
            self.path, self.keep
        )
    }

    /// Whether a path is one that a version may be put at that was at the path of the conflict.
    fn is_place_beside(&self, path: &str) -> bool {
        folder(path) == folder(&self.path) && path != self.path
    }

    /// Who keeps both has the one that is not at the path any more beside it.
    fn is_beside(&self, lost: Option<&Shown>, trees: &[Tree]) -> Result<(), String> {
        if self.keep != Keep::Both {
            return Ok(());
        }
        let mut all = trees.iter().flatten();
        match all.any(|(path, shown)| self.is_place_beside(path) && Some(shown) == lost) {
            true => Ok(()),
            false => Err(self.wrong("and the other version is not beside it")),
        }
    }

    /// What is not about the path stays.
    fn is_left_alone(
        &self,
        before: &Tree,
        after: &Tree,
        lost: Option<&Shown>,
        folders: bool,
    ) -> Result<(), String> {
        let is_folder = |shown: Option<&Shown>| matches!(shown, None | Some(Shown::Folder));
        for path in before.keys().chain(after.keys()) {
            let (was, is) = (before.get(path), after.get(path));
            let implied = !folders && is_folder(was) && is_folder(is);
            let put = self.keep == Keep::Both && self.is_place_beside(path) && was.is_none();
            let excused = implied
                || is_within(path, &self.path)
                || beside(&self.path) == Some(path)
                || put && is == lost;
            if was != is && !excused {
                return Err(self.wrong(&format!("and {path} was changed")));
            }
        }
        Ok(())
    }
}
