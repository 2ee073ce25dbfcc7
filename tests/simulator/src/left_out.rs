//! What is to be left out: by the rules of jobs, by the `.wlignore` of each storage, and by size. Rules are plain names here.

use std::collections::{BTreeMap, BTreeSet};

use wl_core::model::ContentHash;

use crate::plan::{DATABASE, Edit, IGNORE, log};
use crate::site::{Shown, Tree};

type Names = BTreeSet<String>;

/// What storages leave out at one moment.
#[derive(Clone, Debug, Default)]
struct Rules {
    names: Names,
    /// The paths where one of them has a file that is too large.
    large: Names,
    /// What belongs together with those.
    beside: Names,
}

impl Rules {
    fn has(&self, path: &str) -> bool {
        self.hides(path) || self.beside.contains(path)
    }

    /// Whether it is not even read.
    fn hides(&self, path: &str) -> bool {
        has_one(path, &self.names) || self.large.contains(path)
    }

    /// Only what `other` leaves out, too, stays.
    fn retain(&mut self, other: &Self) {
        self.names.retain(|name| other.names.contains(name));
        self.large.retain(|path| other.large.contains(path));
        self.beside.retain(|path| other.beside.contains(path));
    }
}

/// The rules.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    /// Those of jobs; they change while nothing runs.
    asked: Names,
    /// What files of rules say, by their content.
    texts: BTreeMap<ContentHash, Names>,
    /// Contents that are too large.
    large: BTreeSet<ContentHash>,
    /// Those of storages that have held since the run began.
    held: Rules,
    /// Those that have held since the run that goes on listed something last: it looks at them before it removes anything.
    listed: Option<Rules>,
}

fn has_one(path: &str, names: &Names) -> bool {
    !names.is_empty() && path.split('/').any(|part| names.contains(part))
}

impl LeftOut {
    /// Whether one of these contents is too large.
    pub fn is_one_large(&self, contents: &[ContentHash]) -> bool {
        contents.iter().any(|content| self.large.contains(content))
    }

    /// Whether a storage's database is left out, with its log, as one of the two is too large.
    pub fn is_database_large(&self, trees: &[Tree]) -> bool {
        !self.of_storages(trees).beside.is_empty()
    }

    /// From now on jobs leave out these.
    pub fn ask(&mut self, names: &[String]) {
        self.asked = names.iter().cloned().collect();
    }

    /// Those of jobs.
    pub fn asked(&self) -> impl Iterator<Item = &str> {
        self.asked.iter().map(String::as_str)
    }

    /// Somebody wrote this, and it is too large.
    pub fn is_large(&mut self, content: ContentHash) {
        self.large.insert(content);
    }

    /// Somebody may have written a file of rules.
    pub fn edited(&mut self, edit: &Edit, trees: &[Tree]) {
        if let Edit::Ignore(names) = edit {
            for (_, content) in edit.files().into_iter().flatten() {
                let hash = ContentHash::of(&content.unwrap_or_default());
                self.texts.insert(hash, names.iter().cloned().collect());
            }
        }
        self.look(trees);
    }

    /// A file of rules may be another one by now.
    pub fn look(&mut self, trees: &[Tree]) {
        let now = self.of_storages(trees);
        self.held.retain(&now);
        if let Some(listed) = &mut self.listed {
            listed.retain(&now);
        }
    }

    fn of_storages(&self, trees: &[Tree]) -> Rules {
        let is_large =
            |shown: &Shown| matches!(shown, Shown::File(hash) if self.large.contains(hash));
        let shown = trees.iter().flatten();
        let large = shown.filter(|(_, shown)| is_large(shown));
        let large: Names = large.map(|(path, _)| path.clone()).collect();
        let mut beside = Names::from([DATABASE.to_owned(), log()]);
        if beside.is_disjoint(&large) {
            beside.clear();
        }
        Rules {
            names: self.names(trees),
            large,
            beside,
        }
    }

    fn names(&self, trees: &[Tree]) -> Names {
        let files = trees.iter().filter_map(|tree| tree.get(IGNORE));
        let rules = files.filter_map(|shown| match shown {
            Shown::File(hash) => self.texts.get(hash),
            _ => None,
        });
        rules.flatten().cloned().collect()
    }

    /// The one run there is begins, or ends.
    pub fn runs(&mut self, runs: bool, trees: &[Tree]) {
        self.held = match runs {
            true => self.of_storages(trees),
            false => Rules::default(),
        };
        self.listed = runs.then(|| self.held.clone());
    }

    /// The run that goes on lists something.
    pub fn lists(&mut self, trees: &[Tree]) {
        if self.listed.is_some() {
            self.listed = Some(self.of_storages(trees));
        }
    }

    /// Whether what runs must not remove the path. Rules are asked for once more before that; how large a file is by then is not.
    pub fn stays(&self, path: &str) -> bool {
        let listed = self.listed.as_ref();
        self.surely(path) || listed.is_some_and(|listed| has_one(path, &listed.names))
    }

    /// Whether what runs must not read the path.
    pub fn hides(&self, path: &str) -> bool {
        has_one(path, &self.asked) || self.held.hides(path)
    }

    /// Whether what runs must not change the path.
    pub fn surely(&self, path: &str) -> bool {
        has_one(path, &self.asked) || self.held.has(path)
    }

    /// What the storages hold that is left out, by the rules of now.
    pub fn of(&self, trees: &[&Tree], all: &[Tree]) -> Vec<String> {
        let mut rules = self.of_storages(all);
        rules.names.extend(self.asked.iter().cloned());
        let paths = trees.iter().flat_map(|tree| tree.keys());
        paths.filter(|path| rules.has(path)).cloned().collect()
    }
}
