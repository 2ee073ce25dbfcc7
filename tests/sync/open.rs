//! What is told of open conflicts: none is forgotten by a look that did not come to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use wl_core::model::{Direction, Outcome, SyncPath};
use wl_core::state::MemoryStates;
use wl_core::storage::{Area, ErrorKind, Result, StorageBackend, StorageError};
use wl_core::sync::{DeleteBudget, Keep, Looks, SyncJob, stored_conflicts};
use wl_core::testing::{Call, Observer, observe};

use crate::world::World;

/// From this call on everything fails.
#[derive(Debug)]
struct Cut {
    at: u64,
    calls: AtomicU64,
}

impl Cut {
    fn at(at: u64) -> Arc<Self> {
        let calls = AtomicU64::new(0);
        Arc::new(Self { at, calls })
    }

    fn was_reached(&self) -> bool {
        self.calls.load(SeqCst) >= self.at
    }
}

impl Observer for Cut {
    fn before(&self, _: &Call) -> Result<()> {
        match self.calls.fetch_add(1, SeqCst) + 1 >= self.at {
            true => Err(StorageError::new(
                ErrorKind::Unavailable,
                "connect",
                "the line is cut; mend it",
            )),
            false => Ok(()),
        }
    }
}

fn path(text: &str) -> SyncPath {
    SyncPath::new(text).unwrap()
}

fn open(world: &World) -> Vec<String> {
    let job = world.job(World::options(Direction::TwoWay));
    let open = stored_conflicts(&job).unwrap().into_iter();
    open.map(|conflict| conflict.path).collect()
}

/// Files of which these are in conflict.
async fn in_conflict(paths: &[&str]) -> World {
    let world = World::new();
    for name in paths.iter().chain(&["rest"]) {
        world.storages.source.write_file(name, "agreed").unwrap();
    }
    assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
    for name in paths {
        world.storages.source.write_file(name, "one").unwrap();
        world.storages.target.write_file(name, "two").unwrap();
    }
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Conflicts);
    assert_eq!(open(&world), paths);
    world
}

fn cut_job(world: &World, cut: &Arc<Cut>) -> SyncJob {
    let mut job = world.job(World::options(Direction::TwoWay));
    job.storages.target = observe(job.storages.target, Arc::clone(cut) as _);
    job
}

#[tokio::test]
async fn a_refused_run_forgets_no_conflict() {
    let world = in_conflict(&["a", "z"]).await;
    for name in ["a", "rest", "z"] {
        world.storages.target.remove(name).unwrap();
    }
    let mut options = World::options(Direction::TwoWay);
    options.allow_empty = false;
    options.max_delete = DeleteBudget::Percent(50);
    let report = world.run(options).await.unwrap();
    assert_eq!(report.error.unwrap().class, "root-emptied");
    assert_eq!(open(&world), ["a", "z"]);
    let told: Vec<_> = report.conflicts.iter().map(|it| &*it.path).collect();
    assert_eq!(told, ["a", "z"]);
}

#[tokio::test]
async fn a_run_that_breaks_off_anywhere_forgets_no_conflict() {
    for at in 1.. {
        let world = in_conflict(&["a", "z"]).await;
        world.storages.source.write_file("new", "new").unwrap();
        let cut = Cut::at(at);
        // What it says is told elsewhere.
        let _ = wl_core::sync::one_shot(cut_job(&world, &cut), "test").await;
        assert_eq!(open(&world), ["a", "z"], "cut at {at}");
        if !cut.was_reached() {
            assert!(at > 5, "nothing was cut");
            return;
        }
    }
}

/// Nothing is removed then; but all was looked at, and what is over is over.
#[tokio::test]
async fn what_the_delete_budget_refused_ends_the_conflicts_that_it_did_not_find() {
    for at_places in [false, true] {
        let world = in_conflict(&["a", "z"]).await;
        world.storages.source.write_file("gone", "once").unwrap();
        world.sync(Direction::TwoWay).await;
        world.storages.target.write_file("a", "one").unwrap();
        world.storages.target.remove("gone").unwrap();
        let mut options = World::options(Direction::TwoWay);
        options.max_delete = DeleteBudget::Count(0);
        let report = match at_places {
            false => world.run(options).await.unwrap(),
            true => {
                let mut looks = Looks::new(world.job(options), "test");
                let mut area = Area::path(path("a"));
                area.add_path(path("gone"));
                looks.look(area).await.unwrap().report.unwrap()
            }
        };
        assert_eq!(report.error.unwrap().class, "delete-budget");
        let told: Vec<_> = report.conflicts.iter().map(|it| &*it.path).collect();
        assert_eq!(told, ["z"], "{at_places}");
        assert_eq!(open(&world), ["z"], "{at_places}");
    }
}

#[tokio::test]
async fn a_look_at_places_that_breaks_off_anywhere_forgets_no_conflict() {
    for at in 1.. {
        let world = in_conflict(&["a", "z"]).await;
        world.storages.source.write_file("a", "one more").unwrap();
        world.storages.source.write_file("m", "new").unwrap();
        let cut = Cut::at(at);
        let mut looks = Looks::new(cut_job(&world, &cut), "test");
        let mut area = Area::path(path("z"));
        area.add_path(path("a"));
        area.add_path(path("m"));
        let looked = looks.look(area).await;
        assert_eq!(open(&world), ["a", "z"], "cut at {at}");
        if !cut.was_reached() {
            assert_eq!(looked.unwrap().report.unwrap().conflicts.len(), 2);
            assert!(at > 5, "nothing was cut");
            return;
        }
    }
}

/// One is ended, the other stays; and where that broke off nothing is forgotten that both sides do not agree on.
#[tokio::test]
async fn an_end_of_conflicts_that_breaks_off_anywhere_forgets_no_other() {
    for at in 1.. {
        let world = in_conflict(&["a", "b", "z"]).await;
        let cut = Cut::at(at);
        let mut job = cut_job(&world, &cut);
        job.options.resolve = ["a", "b"].map(|it| (path(it), Keep::Source)).into();
        let _ = wl_core::sync::one_shot(job, "test").await;
        let open = open(&world);
        assert!(open.contains(&"z".to_owned()), "cut at {at}: {open:?}");
        for name in ["a", "b"] {
            let ended = world.storages.target.read_file(name).unwrap() == "one";
            let told = open.contains(&name.to_owned());
            assert!(ended || told, "cut at {at}: {name}");
        }
        if !cut.was_reached() {
            assert_eq!(open, ["z"]);
            return;
        }
    }
}

/// A job whose target's file was replaced, and somebody still writes to what was.
async fn replaced() -> (World, Looks) {
    let world = World::new();
    world.storages.source.write_file("f", "one").unwrap();
    let mut looks = Looks::new(world.job(World::options(Direction::TwoWay)), "test");
    looks.look(Area::Everything).await.unwrap();
    world.storages.source.write_file("f", "two").unwrap();
    looks.look(Area::path(path("f"))).await.unwrap();
    assert_eq!(world.storages.target.read_file("f").unwrap(), "two");
    let thrown = world.storages.target.trash_list().await.unwrap();
    let target = &world.storages.target;
    target.write_to_trash(&thrown[0].id, "late").unwrap();
    (world, looks)
}

#[tokio::test]
async fn a_late_version_that_is_found_when_a_session_ends_is_told() {
    let (world, mut looks) = replaced().await;
    let report = looks.rest().await.unwrap().expect("it is not told");
    assert_eq!(report.result, Outcome::Conflicts);
    assert_eq!(report.conflicts.len(), 1, "{report:?}");
    assert!(report.conflicts[0].is_about_trash());
    assert_eq!(open(&world), ["f"]);
    // Once, and it stays open.
    world.storages.source.write_file("g", "1").unwrap();
    let looked = looks.look(Area::path(path("g"))).await.unwrap();
    assert_eq!(looked.report.unwrap().conflicts.len(), 1);
    assert!(looks.rest().await.unwrap().is_none());
}

/// What fails at the end of a run takes nothing from what the end has found.
#[tokio::test]
async fn a_late_version_is_told_where_recent_contents_cannot_be_merged() {
    let world = World::new();
    let states = MemoryStates::default();
    let mut job = world.job(World::options(Direction::TwoWay));
    job.state_dir = states.dir().to_owned();
    world.storages.source.write_file("f", "one").unwrap();
    let mut looks = Looks::new(job, "test");
    looks.look(Area::Everything).await.unwrap();
    states.refuse_merges().unwrap();
    let mut area = Area::default();
    for (name, content) in [("f", "two"), ("g", "1"), ("h", "2"), ("i", "3")] {
        world.storages.source.write_file(name, content).unwrap();
        area.add_path(path(name));
    }
    let looked = looks.look(area).await.unwrap();
    assert_eq!(looked.report.unwrap().result, Outcome::Synced);
    let target = &world.storages.target;
    let thrown = target.trash_list().await.unwrap();
    target.write_to_trash(&thrown[0].id, "late").unwrap();
    let report = looks.rest().await.unwrap().expect("it is not told");
    assert_eq!(report.conflicts.len(), 1, "{report:?}");
    assert_eq!(report.error.unwrap().class, "state");
}

#[tokio::test]
async fn a_version_that_was_taken_out_of_the_trash_is_no_conflict_any_more() {
    let (world, mut looks) = replaced().await;
    looks.rest().await.unwrap().expect("it is not told");
    let target = &world.storages.target;
    let late = target.trash_claimed().await.unwrap().remove(0).id;
    target.trash_restore(&late, &path("late")).await.unwrap();
    let looked = looks.look(Area::path(path("late"))).await.unwrap();
    let report = looked.report.unwrap();
    assert_eq!(report.conflicts, [], "{report:?}");
    assert_eq!(report.result, Outcome::Synced);
    assert!(open(&world).is_empty());
    looks.rest().await.unwrap();
}

#[tokio::test]
async fn two_conflicts_at_one_path_are_both_told() {
    let (world, mut looks) = replaced().await;
    looks.rest().await.unwrap();
    world.storages.source.write_file("f", "three").unwrap();
    world.storages.target.write_file("f", "four").unwrap();
    let looked = looks.look(Area::path(path("f"))).await.unwrap();
    assert_eq!(looked.report.unwrap().conflicts.len(), 2);
    assert_eq!(open(&world), ["f", "f"]);
    // A look elsewhere knows of both.
    world.storages.source.write_file("g", "1").unwrap();
    let looked = looks.look(Area::path(path("g"))).await.unwrap();
    assert_eq!(looked.report.unwrap().conflicts.len(), 2);
    looks.rest().await.unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.conflicts.len(), 2, "{report:?}");
}
