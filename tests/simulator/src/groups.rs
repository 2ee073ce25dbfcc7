//! Files that make sense only together: a database with its log, a repository. Nobody is to see a part of one version with a part of another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use wl_core::model::ContentHash;

use crate::plan::{Content, DATABASE, Edit, log, object, reference};
use crate::site::{Shown, Tree};

/// What is meant, too, when a group is told of by what it is called by.
pub(crate) fn beside(path: &str) -> Option<&'static String> {
    static LOG: LazyLock<String> = LazyLock::new(log);
    (path == DATABASE).then_some(&*LOG)
}

/// What programs left at rest.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    databases: BTreeSet<(ContentHash, Option<ContentHash>)>,
    objects: BTreeMap<ContentHash, String>,
}

fn hash(content: &Content) -> ContentHash {
    ContentHash::of(&content.bytes())
}

fn file(tree: &Tree, path: &str) -> Option<ContentHash> {
    match tree.get(path) {
        Some(Shown::File(hash)) => Some(*hash),
        _ => None,
    }
}

impl Groups {
    /// Somebody was at work.
    pub fn edited(&mut self, edit: &Edit) {
        match edit {
            Edit::Transact(database, log) => {
                let pair = (hash(database), log.as_ref().map(hash));
                self.databases.insert(pair);
            }
            Edit::Commit(content) => {
                self.objects.insert(hash(content), object(*content));
            }
            _ => {}
        }
    }

    /// What a storage shows can be used, at any time.
    pub fn are_usable(&self, site: usize, tree: &Tree) -> Result<(), String> {
        let (database, beside) = (file(tree, DATABASE), file(tree, &log()));
        if let (Some(database), Some(beside)) = (database, beside)
            && !self.databases.contains(&(database, Some(beside)))
        {
            return Err(format!(
                "storage {site} shows a database with the log of another one"
            ));
        }
        let named =
            file(tree, &reference()).and_then(|hash| Some((hash, self.objects.get(&hash)?)));
        match named {
            Some((hash, object)) if file(tree, object) != Some(hash) => Err(format!(
                "storage {site} shows a repository whose last object, {object}, is not there"
            )),
            _ => Ok(()),
        }
    }

    /// All is quiet: what a storage shows is as some program left it. `begun`: a run may have broken off in a version of these contents, and
    /// none went on since.
    pub fn are_whole(
        &self,
        site: usize,
        tree: &Tree,
        begun: impl Fn(&[ContentHash; 2]) -> bool,
    ) -> Result<(), String> {
        self.are_usable(site, tree)?;
        let Some(database) = file(tree, DATABASE) else {
            return Ok(());
        };
        let is_half = |of: &(ContentHash, Option<ContentHash>)| {
            let log = of.1.filter(|_| of.0 == database);
            log.is_some_and(|log| begun(&[database, log]))
        };
        let whole = (database, file(tree, &log()));
        match self.databases.contains(&whole) || self.databases.iter().any(is_half) {
            true => Ok(()),
            false => Err(format!(
                "storage {site} shows a half of a database: its log is not there"
            )),
        }
    }
}
