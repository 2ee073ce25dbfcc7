//! Watchers: where to look, never what happened.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Filter, Result};
use crate::model::SyncPath;
use crate::planted::{Bug, planted};

/// So many places are told apart; with more the folders that they lie in are looked at.
pub const MOST_PLACES: usize = 16_384;

/// Where something may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Area {
    /// Anywhere.
    Everything,
    /// At some places.
    Parts(Parts),
}

/// Places where something may have changed. None lies within one of the subtrees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    paths: BTreeSet<SyncPath>,
    subtrees: BTreeSet<SyncPath>,
    stands_for_many: bool,
}

impl Parts {
    /// Something at `path` itself: it came, went, or its content or attributes are others. A folder that came or went means all that
    /// is in it, without being told.
    pub fn add_path(&mut self, path: SyncPath) {
        if !self.is_within_subtree(&path) {
            self.paths.insert(path);
        }
    }

    /// Anything at `path` or below it.
    pub fn add_subtree(&mut self, path: SyncPath) {
        if self.is_within_subtree(&path) {
            return;
        }
        self.paths.retain(|one| !one.is_within(&path));
        self.subtrees.retain(|one| !one.is_within(&path));
        self.subtrees.insert(path);
    }

    /// Whether `path` is one of the places or lies within one of the subtrees.
    pub fn holds(&self, path: &SyncPath) -> bool {
        self.paths.contains(path) || self.is_within_subtree(path)
    }

    fn is_within_subtree(&self, path: &SyncPath) -> bool {
        !self.subtrees.is_empty()
            && (self.subtrees.contains(path)
                || path.ancestors().any(|above| self.subtrees.contains(&above)))
    }

    /// Whether one of the places in `others` is one of these, or lies in one. A folder that is gone takes along what is in it, so a path
    /// counts as all below it here.
    fn reaches(&self, others: &Self) -> bool {
        let is_place = |path: &SyncPath| self.paths.contains(path) || self.subtrees.contains(path);
        let mut others = others.paths.iter().chain(&others.subtrees);
        others.any(|other| is_place(other) || other.ancestors().any(|above| is_place(&above)))
    }

    /// The single paths.
    pub fn paths(&self) -> &BTreeSet<SyncPath> {
        &self.paths
    }

    /// The subtrees; none lies within another.
    pub fn subtrees(&self) -> &BTreeSet<SyncPath> {
        &self.subtrees
    }

    /// Whether more than [`MOST_PLACES`] were told: these are the folders that they lie in.
    pub fn stands_for_many(&self) -> bool {
        self.stands_for_many
    }

    /// How many places there are.
    pub fn len(&self) -> usize {
        self.paths.len() + self.subtrees.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Area {
    /// Nowhere.
    fn default() -> Self {
        Self::Parts(Parts::default())
    }
}

impl Area {
    /// One path.
    pub fn path(path: SyncPath) -> Self {
        let mut area = Self::default();
        area.add_path(path);
        area
    }

    /// One subtree; of the root: everything.
    pub fn subtree(path: SyncPath) -> Self {
        let mut area = Self::default();
        area.add_subtree(path);
        area
    }

    /// See [`Parts::add_path`]. The root itself is no entry: all of it is meant.
    pub fn add_path(&mut self, path: SyncPath) {
        match self {
            Self::Everything => {}
            Self::Parts(_) if path.is_root() => *self = Self::Everything,
            Self::Parts(parts) => {
                parts.add_path(path);
                self.bound();
            }
        }
    }

    /// See [`Parts::add_subtree`].
    pub fn add_subtree(&mut self, path: SyncPath) {
        match self {
            Self::Everything => {}
            Self::Parts(_) if path.is_root() => *self = Self::Everything,
            Self::Parts(parts) => {
                parts.add_subtree(path);
                self.bound();
            }
        }
    }

    /// Both areas.
    pub fn add(&mut self, other: Self) {
        match other {
            Self::Everything => *self = Self::Everything,
            Self::Parts(parts) => {
                parts
                    .subtrees
                    .into_iter()
                    .for_each(|path| self.add_subtree(path));
                parts.paths.into_iter().for_each(|path| self.add_path(path));
                if parts.stands_for_many {
                    self.stand_for_many();
                }
            }
        }
    }

    /// These places are folders that stand for more than is told apart.
    pub fn stand_for_many(&mut self) {
        if let Self::Parts(parts) = self {
            parts.stands_for_many |= !parts.is_empty();
        }
    }

    /// Whether `path` is in it.
    pub fn holds(&self, path: &SyncPath) -> bool {
        match self {
            Self::Everything => true,
            Self::Parts(parts) => parts.holds(path),
        }
    }

    /// Whether a look at the one may see something that a look at the other sees, too.
    pub fn meets(&self, parts: &Parts) -> bool {
        match self {
            Self::Everything => true,
            Self::Parts(own) => own.reaches(parts) || parts.reaches(own),
        }
    }

    /// Whether there is no place in it.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Parts(parts) if parts.is_empty())
    }

    /// Memory does not grow with what happens: too many places become the folders that they lie in, and those everything.
    fn bound(&mut self) {
        let Self::Parts(parts) = self else { return };
        if parts.len() <= MOST_PLACES {
            return;
        }
        let mut folders = Parts {
            stands_for_many: true,
            ..Parts::default()
        };
        for path in parts.subtrees.iter().chain(&parts.paths) {
            folders.add_subtree(path.parent().unwrap_or_else(SyncPath::root));
        }
        *self =
            match folders.len() > MOST_PLACES / 2 || folders.subtrees.contains(&SyncPath::root()) {
                true => Self::Everything,
                false => Self::Parts(folders),
            };
    }
}

/// What a watcher says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// Something may have changed here. The cursor, where the source can replay, is stored with the baseline.
    Look {
        /// Where.
        area: Area,
        /// From where the source can replay what came after.
        cursor: Option<String>,
    },
    /// Events of this area may be missing (overflow, restart, "I cannot watch this subtree"): all of it must be looked at.
    Gap {
        /// Where.
        area: Area,
        /// Why, for people.
        reason: String,
    },
}

impl Observation {
    /// Where to look.
    pub fn into_area(self) -> Area {
        match self {
            Self::Gap { .. } if planted(Bug::GapIsIgnored) => Area::default(),
            Self::Look { area, .. } | Self::Gap { area, .. } => area,
        }
    }
}

/// How a storage is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchHealth {
    /// For people: `inotify`, `poll every 10 s`, ...
    pub mode: String,
    /// A change is seen after this long at the worst.
    pub worst_delay: Duration,
}

/// What to watch, and how.
#[derive(Clone, Debug)]
pub struct WatchRequest {
    /// What is left out: it is not watched, and nothing is said about it.
    pub filter: Arc<dyn Filter>,
}

/// Yields where to look. Events that are lost, doubled or out of order cost time, never correctness.
#[async_trait]
pub trait StorageWatcher: Send {
    /// The next observation. Changes made after the watcher was handed out are covered by some observation. May be dropped at any
    /// point: nothing is lost by it.
    async fn next(&mut self) -> Result<Observation>;
    /// A look at everything on the watched side begins now, whoever asked for it: one that asks every so often counts from here.
    fn looking(&mut self) {}
    /// A look at `area`, whoever asked for it, has ended and took so long; `worked`: it carried something over as well. One that asks every
    /// so often asks less often where looking takes long.
    fn looked(&mut self, _area: &Area, _took: Duration, _worked: bool) {}
    /// The last look found that this changed on the watched side, by other hands than ours. One that has no events looks there more
    /// often for a while.
    fn acted(&mut self, _area: &Area) {}
    /// Whether it only asks for looks every so often: it knows of no change by itself.
    fn polls(&self) -> bool {
        false
    }
    /// Whether it asks for a look every so often, at some places at least.
    fn asks(&self) -> bool {
        self.polls()
    }
    /// Whether it only asks for a look at `area` every so often: that it says so means no change there.
    fn only_asks(&self, _area: &Area) -> bool {
        self.polls()
    }
    /// How it watches at this moment; may be another after each observation.
    fn health(&self) -> WatchHealth;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> SyncPath {
        SyncPath::new(text).unwrap()
    }

    fn parts(area: &Area) -> (Vec<&str>, Vec<&str>) {
        let Area::Parts(parts) = area else {
            panic!("everything")
        };
        (
            parts.paths.iter().map(SyncPath::as_str).collect(),
            parts.subtrees.iter().map(SyncPath::as_str).collect(),
        )
    }

    #[test]
    fn a_subtree_takes_in_what_lies_in_it_whichever_comes_first() {
        let mut area = Area::path(path("a/b/c"));
        area.add_subtree(path("a/b/d"));
        area.add_path(path("a-b"));
        area.add_subtree(path("a/b"));
        area.add_path(path("a/b/x/y"));
        area.add_subtree(path("a/b/z"));
        assert_eq!(parts(&area), (vec!["a-b"], vec!["a/b"]));
        area.add_subtree(path("a"));
        assert_eq!(parts(&area), (vec!["a-b"], vec!["a"]));
    }

    #[test]
    fn the_root_means_everything() {
        assert_eq!(Area::path(SyncPath::root()), Area::Everything);
        assert_eq!(Area::subtree(SyncPath::root()), Area::Everything);
        let mut area = Area::Everything;
        area.add(Area::path(path("a")));
        assert_eq!(area, Area::Everything);
        assert!(Area::default().is_empty());
        assert!(!Area::Everything.is_empty());
    }

    #[test]
    fn too_many_places_become_their_folders_and_those_everything() {
        let mut area = Area::default();
        for number in 0..=MOST_PLACES {
            area.add_path(path(&format!("d/{}/{number}", number % 7)));
        }
        let (paths, subtrees) = parts(&area);
        assert!(paths.is_empty(), "{}", paths.len());
        assert_eq!(subtrees.len(), 7);
        for number in 0..=MOST_PLACES {
            area.add_path(path(&format!("{number}/x")));
        }
        assert_eq!(area, Area::Everything);
    }
}
