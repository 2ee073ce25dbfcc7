//! Looks at places only: wherever watchers say that something may have changed, the outcome is that of a look at everything.

use std::collections::BTreeSet;

use proptest::prelude::*;
use wl_backends::memory::{MemoryBackend, MemorySettings};
use wl_core::model::{Direction, Outcome, RunReport, Side, Sides, SyncPath};
use wl_core::storage::{Area, ErrorKind, StorageError};
use wl_core::sync::Looks;
use wl_core::testing::{Call, Observer, Operation, Strict, observe};
use wl_test_trees::oracle::expect;
use wl_test_trees::{Node, Tree};

use crate::histories::{Edit, Step, apply, config, history, names};
use crate::world::{World, edit_to, read};

/// The topmost paths that differ, as a watcher tells them: of a folder that came or went, only the folder.
fn differing(path: &str, before: &Tree, after: &Tree, found: &mut BTreeSet<String>) {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for name in names {
        let path = match path {
            "" => name.clone(),
            above => format!("{above}/{name}"),
        };
        match (before.get(name), after.get(name)) {
            (Some(Node::Folder(before)), Some(Node::Folder(after))) => {
                differing(&path, before, after, found);
            }
            (before, after) if before != after => {
                found.insert(path);
            }
            _ => {}
        }
    }
}

/// How it is found out where something changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The paths that changed.
    Paths,
    /// The same, as subtrees.
    Subtrees,
    /// Both sides are swept.
    Swept,
}

struct Watched {
    told: Told,
    world: World,
    direction: Direction,
    looks: Looks,
    base: Tree,
    /// What is said to have changed and was not looked at yet.
    area: Area,
    conflicts: BTreeSet<String>,
}

fn looks(world: &World, direction: Direction) -> Looks {
    let mut job = world.job(World::options(direction));
    job.storages = Sides::from_fn(|side| Strict::over(std::sync::Arc::clone(&job.storages[side])));
    Looks::new(job, "test")
}

impl Watched {
    fn edit(&mut self, side: Side, after: &Tree) {
        let before = read(&self.world.storages[side]);
        let mut found = BTreeSet::new();
        differing("", &before, after, &mut found);
        edit_to(&self.world.storages[side], after);
        for path in found {
            let path = SyncPath::new(path).unwrap();
            match self.told {
                Told::Paths => self.area.add_path(path),
                Told::Subtrees => self.area.add_subtree(path),
                Told::Swept => {}
            }
        }
    }

    /// A real rename, after which it is the same file or folder, if the edit can be one.
    fn rename(&mut self, side: Side, edit: &Edit) -> bool {
        let Edit::Move(from, to) = edit else {
            return false;
        };
        let (from, to) = (names(from).join("/"), names(to).join("/"));
        let renamed = self.world.storages[side].rename(&from, &to).unwrap();
        if renamed {
            for path in [from, to] {
                self.area.add_path(SyncPath::new(path).unwrap());
            }
        }
        renamed
    }

    async fn look(&mut self) {
        let sides = self.world.storages.as_ref().map(read);
        let expected = expect(self.direction, &self.base, &sides.source, &sides.target);
        let mut area = std::mem::take(&mut self.area);
        if self.told == Told::Swept && area != Area::Everything {
            area = Area::default();
            for side in Side::BOTH {
                area.add(self.looks.sweep(side).await.unwrap());
            }
        }
        let case = format!("{area:?}\nbase {:?}\n{sides:?}", self.base);
        let looked = self.looks.look(area).await.unwrap();
        if let Some(report) = looked.report {
            assert!(report.problems.is_empty(), "{report:?}\n{case}");
            assert_eq!(report.error, None, "{case}");
            let conflicts = report.conflicts.into_iter();
            self.conflicts = conflicts.map(|conflict| conflict.path).collect();
        }
        let now = self.world.storages.as_ref().map(read);
        assert_eq!(now.source, expected.source, "source of\n{case}");
        assert_eq!(now.target, expected.target, "target of\n{case}");
        assert_eq!(self.conflicts, expected.conflicts, "conflicts of\n{case}");
        // What was written by the look is told by the watchers, too.
        let mut echo = BTreeSet::new();
        differing("", &sides.source, &now.source, &mut echo);
        differing("", &sides.target, &now.target, &mut echo);
        for path in echo {
            self.area.add_path(SyncPath::new(path).unwrap());
        }
        self.base = expected.base;
    }

    async fn everything(&mut self) {
        self.area = Area::Everything;
        self.look().await;
    }
}

async fn play(direction: Direction, history: Vec<Step>, told: Told) {
    let world = World::new();
    let mut watched = Watched {
        told,
        looks: looks(&world, direction),
        world,
        direction,
        base: Tree::new(),
        area: Area::default(),
        conflicts: BTreeSet::new(),
    };
    // A neighbour that never changes: a look at places needs a baseline.
    for side in Side::BOTH {
        watched.world.storages[side]
            .write_file("~", "neighbour")
            .unwrap();
    }
    watched.everything().await;
    for step in history.into_iter().chain([Step::Sync]) {
        match step {
            Step::Edit(source, edit) => {
                let side = if source { Side::Source } else { Side::Target };
                if watched.rename(side, &edit) {
                    continue;
                }
                let mut tree = read(&watched.world.storages[side]);
                apply(&mut tree, &edit);
                watched.edit(side, &tree);
            }
            Step::Forget => {
                watched.looks.rest().await.unwrap();
                watched.world.forget();
                watched.base = Tree::new();
                watched.everything().await;
            }
            Step::Sync | Step::Filtered => watched.look().await,
        }
    }
    // Nothing was overlooked, and nothing is left to be done.
    watched.look().await;
    watched.looks.rest().await.unwrap();
    let report = watched.world.sync(direction).await;
    assert_eq!(report.changes, Sides::default(), "{report:?}");
    let conflicts = report
        .conflicts
        .iter()
        .map(|conflict| conflict.path.clone());
    assert_eq!(conflicts.collect::<BTreeSet<_>>(), watched.conflicts);
}

pub fn run(direction: Direction, history: Vec<Step>, told: Told) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(play(direction, history, told));
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn two_way(history in history()) {
        run(Direction::TwoWay, history, Told::Paths);
    }

    #[test]
    fn two_way_by_subtrees(history in history()) {
        run(Direction::TwoWay, history, Told::Subtrees);
    }

    #[test]
    fn two_way_by_sweeps(history in history()) {
        run(Direction::TwoWay, history, Told::Swept);
    }

    #[test]
    fn mirror_by_sweeps(history in history()) {
        run(Direction::Mirror, history, Told::Swept);
    }

    #[test]
    fn one_way(history in history()) {
        run(Direction::OneWay, history, Told::Paths);
    }

    #[test]
    fn mirror(history in history()) {
        run(Direction::Mirror, history, Told::Paths);
    }
}

/// Refuses to make anything below a folder.
#[derive(Debug)]
struct Refuses;

impl Observer for Refuses {
    fn before(&self, call: &Call) -> wl_core::storage::Result<()> {
        use Operation as O;
        let makes = [O::MakeFolder, O::Replace, O::Stage].contains(&call.operation);
        let path = call.path.as_ref();
        if makes && path.is_some_and(|path| path.as_str().starts_with("d")) {
            let reason = "as planned";
            return Err(StorageError::new(ErrorKind::Denied, "make folder", reason));
        }
        Ok(())
    }
}

/// A watcher tells that a folder is gone, not what was in it.
#[tokio::test]
async fn what_was_open_in_a_folder_that_is_gone_is_over() {
    let world = World::new();
    world.storages.source.write_file("other", "o").unwrap();
    let mut job = world.job(World::options(Direction::TwoWay));
    job.storages.target = observe(job.storages.target, std::sync::Arc::new(Refuses));
    let mut looks = Looks::new(job, "test");
    looks.look(Area::Everything).await.unwrap();
    for path in ["d/a/f", "d/b/g"] {
        world.storages.source.write_file(path, "content").unwrap();
    }
    let d = SyncPath::new("d").unwrap();
    let looked = looks.look(Area::path(d.clone())).await.unwrap();
    let report = looked.report.unwrap();
    assert!(
        report.problems.iter().any(|problem| problem.path != "d"),
        "{report:?}"
    );
    world.storages.source.remove("d").unwrap();
    let report = looks.look(Area::path(d)).await.unwrap().report.unwrap();
    assert_eq!(report.problems, []);
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
}

/// Where both agreed on the folder it is walked when it is gone: what the target changed in it is over, too.
#[tokio::test]
async fn drift_in_a_folder_that_is_gone_is_over() {
    let world = World::new();
    let Sides { source, target } = &world.storages;
    for path in ["d/a/f", "d/b/g", "other"] {
        source.write_file(path, "content").unwrap();
    }
    let mut looks = looks(&world, Direction::OneWay);
    looks.look(Area::Everything).await.unwrap();
    target.write_file("d/a/f", "edited by target").unwrap();
    let edited = Area::path(SyncPath::new("d/a/f").unwrap());
    let report = looks.look(edited).await.unwrap().report.unwrap();
    assert_eq!(report.drift.len(), 1, "{report:?}");
    source.remove("d").unwrap();
    target.remove("d").unwrap();
    let gone = Area::path(SyncPath::new("d").unwrap());
    let report = looks.look(gone).await.unwrap().report.unwrap();
    assert_eq!((report.drift, report.problems), (vec![], vec![]));
}

/// The target's folder is gone, and comes back for a new file: the others in it are missing as before, and are told by name.
#[tokio::test]
async fn drift_in_a_folder_that_comes_back_is_not_forgotten() {
    let world = World::new();
    let Sides { source, target } = &world.storages;
    source.write_file("d/y", "content").unwrap();
    let mut looks = looks(&world, Direction::OneWay);
    looks.look(Area::Everything).await.unwrap();
    target.remove("d").unwrap();
    let path = |path: &str| Area::path(SyncPath::new(path).unwrap());
    let report = looks.look(path("d")).await.unwrap().report.unwrap();
    let drift = |report: &RunReport| -> Vec<String> {
        let drift = report.drift.iter();
        drift.map(|drift| drift.path.to_string()).collect()
    };
    assert_eq!(drift(&report), ["d"]);
    source.write_file("d/x", "new").unwrap();
    looks.look(path("d/x")).await.unwrap();
    assert_eq!(target.read_file("d/x").unwrap(), "new");
    let report = looks.look(path("d")).await.unwrap().report.unwrap();
    assert_eq!(drift(&report), ["d/y"]);
    assert_eq!(target.read_file("d/y"), None);
}

/// Where folders are only implied nobody looks above a place unasked; and nobody told of the file that is in the folder's place.
#[tokio::test]
async fn a_file_in_the_place_of_an_implied_folder_is_found_by_who_wants_the_folder() {
    let mut world = World::new();
    world.storages.target = MemoryBackend::private(MemorySettings::default().empty_folders(false));
    let mut looks = looks(&world, Direction::TwoWay);
    looks.look(Area::Everything).await.unwrap();
    let Sides { source, target } = &world.storages;
    target.write_file("d", "a file").unwrap();
    source.write_file("d/e/x", "in a folder").unwrap();
    let told = Area::path(SyncPath::new("d/e/x").unwrap());
    let report = looks.look(told).await.unwrap().report.unwrap();
    assert_eq!(report.problems, []);
    let conflicts: Vec<_> = report.conflicts.iter().map(|found| &*found.path).collect();
    assert_eq!(conflicts, ["d"], "{report:?}");
    assert_eq!(target.read_file("d").unwrap(), "a file");
    assert_eq!(source.read_file("d/e/x").unwrap(), "in a folder");
}
