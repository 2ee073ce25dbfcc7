//! What is to be left out: by the rules of jobs, and by the `.wlignore` of each storage. Rules are plain names here.

use std::collections::{BTreeMap, BTreeSet};

use wl_core::model::ContentHash;

use crate::plan::{Edit, IGNORE};
use crate::site::{Shown, Tree};

type Names = BTreeSet<String>;

/// The rules.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    /// Those of jobs; they change while nothing runs.
    asked: Names,
    /// What files of rules say, by their content.
    texts: BTreeMap<ContentHash, Names>,
    /// Those of storages that have held since the run began.
    held: Names,
    /// Those that have held since the run that goes on listed something last: it looks at them before it removes anything.
    listed: Option<Names>,
}

fn has_one(path: &str, names: &Names) -> bool {
    !names.is_empty() && path.split('/').any(|part| names.contains(part))
}

impl LeftOut {
    /// From now on jobs leave out these.
    pub fn ask(&mut self, names: &[String]) {
        self.asked = names.iter().cloned().collect();
    }

    /// Those of jobs.
    pub fn asked(&self) -> impl Iterator<Item = &str> {
        self.asked.iter().map(String::as_str)
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
        self.held.retain(|name| now.contains(name));
        if let Some(listed) = &mut self.listed {
            listed.retain(|name| now.contains(name));
        }
    }

    fn of_storages(&self, trees: &[Tree]) -> Names {
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
            false => Names::new(),
        };
        self.listed = runs.then(|| self.held.clone());
    }

    /// The run that goes on lists something.
    pub fn lists(&mut self, trees: &[Tree]) {
        if self.listed.is_some() {
            self.listed = Some(self.of_storages(trees));
        }
    }

    /// Whether what runs must not remove the path.
    pub fn stays(&self, path: &str) -> bool {
        let listed = self.listed.as_ref();
        self.surely(path) || listed.is_some_and(|listed| has_one(path, listed))
    }

    /// Whether what runs must not touch the path, nor read it.
    pub fn surely(&self, path: &str) -> bool {
        has_one(path, &self.asked) || has_one(path, &self.held)
    }

    /// What the storages hold that is left out, by the rules of now.
    pub fn of(&self, trees: &[&Tree], all: &[Tree]) -> Vec<String> {
        let mut rules = self.of_storages(all);
        rules.extend(self.asked.iter().cloned());
        let paths = trees.iter().flat_map(|tree| tree.keys());
        paths
            .filter(|path| has_one(path, &rules))
            .cloned()
            .collect()
    }
}
