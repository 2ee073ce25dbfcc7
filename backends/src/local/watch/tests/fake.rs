//! A system in memory: a tree of folders, each with a number, and what is watched of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use wl_core::model::SyncPath;
use wl_core::storage::{Area, Filter};

use crate::local::tests::kit::p;
use crate::local::watch::drive::Core;
use crate::local::watch::machine::Watches;
use crate::local::watch::system::System;
use crate::local::watch::words::{Event, Looked, Why};

/// What the system holds; the test changes it, the watcher looks at it. The number of a watch is that of its folder.
#[derive(Debug, Default)]
pub struct World {
    pub folders: BTreeMap<SyncPath, i32>,
    pub watched: BTreeSet<i32>,
    pub most: Option<usize>,
    pub silent: BTreeSet<SyncPath>,
    pub refused: BTreeSet<SyncPath>,
    pub looks: usize,
}

#[derive(Clone, Debug, Default)]
pub struct Fake(pub Arc<Mutex<World>>);

/// Names with this are left out.
#[derive(Debug)]
pub struct NoDots;

impl Filter for NoDots {
    fn excludes(&self, path: &SyncPath, _: bool) -> bool {
        path.name().starts_with("no")
    }
}

impl Fake {
    /// `a=2 a/b=3`; the root is there and has the number 1.
    pub fn set(&self, tree: &str) {
        let mut folders = BTreeMap::from([(SyncPath::root(), 1)]);
        for one in tree.split_whitespace() {
            let (path, number) = one.split_once('=').unwrap();
            folders.insert(p(path), number.parse().unwrap());
        }
        let mut world = self.0.lock().unwrap();
        world.folders = folders;
        // The system gives up the watches of folders that are no more.
        let there: BTreeSet<i32> = world.folders.values().copied().collect();
        world
            .watched
            .retain(|number| there.contains(number) || *number >= 90);
    }

    /// All of it watched, as far as that can be.
    pub fn core(&self) -> Core {
        let watches = Watches::new(1, Arc::new(NoDots));
        self.0.lock().unwrap().watched.insert(1);
        let mut core = Core::new(watches, Box::new(self.clone()));
        assert!(core.set_up(&|| true));
        core.watches.take();
        core
    }

    fn names(&self, path: &SyncPath) -> Vec<Box<str>> {
        let world = self.0.lock().unwrap();
        let below = world.folders.keys();
        below
            .filter(|one| one.parent().as_ref() == Some(path))
            .map(|one| one.name().into())
            .collect()
    }
}

impl System for Fake {
    fn look(&mut self, path: &SyncPath) -> Looked {
        let folders = self.names(path);
        let mut world = self.0.lock().unwrap();
        world.looks += 1;
        let Some(&wd) = world.folders.get(path) else {
            return Looked::Nothing;
        };
        if world.silent.contains(path) {
            let why = Why::Silent("nfs");
            let folders = Vec::new();
            return Looked::Unwatched { why, folders };
        }
        if world.refused.contains(path) {
            let why = Why::Refused("for the test".to_owned());
            let folders = Vec::new();
            return Looked::Unwatched { why, folders };
        }
        let full = world.most.is_some_and(|most| world.watched.len() >= most);
        if full && !world.watched.contains(&wd) {
            let why = Why::Limit;
            return Looked::Unwatched { why, folders };
        }
        world.watched.insert(wd);
        Looked::Folder { wd, folders }
    }

    fn folders(&mut self, path: &SyncPath) -> Vec<Box<str>> {
        self.names(path)
    }

    fn forget(&mut self, wd: i32) {
        self.0.lock().unwrap().watched.remove(&wd);
    }

    fn events(&mut self, _: usize) -> Vec<Event> {
        Vec::new()
    }
}

/// `paths | subtrees`, or `everything`.
pub fn text(area: &Area) -> String {
    let Area::Parts(parts) = area else {
        return "everything".to_owned();
    };
    let join = |paths: &BTreeSet<SyncPath>| {
        let all: Vec<&str> = paths.iter().map(SyncPath::as_str).collect();
        all.join(" ")
    };
    format!("{} | {}", join(parts.paths()), join(parts.subtrees()))
        .trim()
        .to_owned()
}

impl Fake {
    /// As [`Fake::core`], of this tree.
    pub fn core_of(&self, tree: &str) -> Core {
        self.set(tree);
        self.core()
    }
}
