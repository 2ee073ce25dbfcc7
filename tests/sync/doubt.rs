//! What is unknown, left out or cannot be represented: it is never taken for absent, it keeps its folders, and all else goes on.

use std::sync::Arc;

use wl_backends::memory::{MemoryBackend, MemorySettings};
use wl_core::model::{Direction, Outcome, RunReport, Side, Sides, SyncPath};
use wl_core::storage::Filter;

use crate::world::World;

const FILES: [&str; 6] = ["d/a", "d/deep/b", "d/deep/c", "e/f", "other", "z"];

async fn agreed() -> World {
    let world = World::new();
    for path in FILES {
        world.storages.source.write_file(path, path).unwrap();
    }
    assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
    world
}

fn paths(storage: &MemoryBackend) -> Vec<String> {
    storage.snapshot().into_keys().collect()
}

fn has(world: &World, side: Side, path: &str) -> bool {
    paths(&world.storages[side]).iter().any(|key| key == path)
}

fn problems(report: &RunReport) -> Vec<&str> {
    report
        .problems
        .iter()
        .map(|problem| problem.path.as_str())
        .collect()
}

#[tokio::test]
async fn an_unreadable_folder_is_no_empty_folder() {
    for side in Side::BOTH {
        let world = agreed().await;
        world.storages[side].set_unreadable("d/deep", true).unwrap();
        world.storages[side.other()]
            .write_file("d/deep/b", "edited")
            .unwrap();
        world.storages[side.other()]
            .write_file("d/deep/new", "new")
            .unwrap();
        world.storages[side.other()].remove("e/f").unwrap();
        let report = world.sync(Direction::TwoWay).await;
        assert_eq!(problems(&report), ["d/deep"], "{report:?}");
        assert_eq!(report.result, Outcome::Failed);
        assert!(has(&world, side.other(), "d/deep/c"), "taken for removed");
        assert!(!has(&world, side, "e/f"), "the rest goes on");
        assert!(report.conflicts.is_empty(), "{report:?}");
        world.storages[side]
            .set_unreadable("d/deep", false)
            .unwrap();
        assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
        assert_eq!(
            world.storages[side].read_file("d/deep/b").unwrap(),
            "edited".as_bytes()
        );
    }
}

#[tokio::test]
async fn a_removed_folder_stays_around_what_is_unknown_in_it() {
    let world = agreed().await;
    world.storages.source.remove("d").unwrap();
    world
        .storages
        .target
        .set_unreadable("d/deep", true)
        .unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(problems(&report), ["d/deep"], "{report:?}");
    assert!(
        !has(&world, Side::Target, "d/a"),
        "what is known is removed"
    );
    world
        .storages
        .target
        .set_unreadable("d/deep", false)
        .unwrap();
    assert!(
        has(&world, Side::Target, "d/deep/b"),
        "what is unknown stays"
    );
    assert!(!has(&world, Side::Source, "d/"), "and is not brought back");
    assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
    assert!(!has(&world, Side::Target, "d/"), "until it is known");
}

#[tokio::test]
async fn a_change_of_type_waits_for_what_is_unknown() {
    let world = agreed().await;
    world.storages.source.remove("d").unwrap();
    world.storages.source.write_file("d", "now a file").unwrap();
    world
        .storages
        .target
        .set_unreadable("d/deep", true)
        .unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(problems(&report), ["d/deep"], "{report:?}");
    assert!(report.conflicts.is_empty(), "{report:?}");
    assert!(has(&world, Side::Target, "d/a"), "all of it waits");
    world
        .storages
        .target
        .set_unreadable("d/deep", false)
        .unwrap();
    assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
    assert!(has(&world, Side::Target, "d"));
}

#[tokio::test]
async fn a_name_that_cannot_be_synced_keeps_its_folder() {
    let world = agreed().await;
    world
        .storages
        .target
        .add_odd_name("d/deep", "caf\u{fffd}")
        .unwrap();
    world.storages.source.remove("d").unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(problems(&report), ["d/deep/caf\u{fffd}"], "{report:?}");
    assert!(has(&world, Side::Target, "d/deep/"), "the folder stays");
    assert!(
        !has(&world, Side::Target, "d/deep/b"),
        "the rest is removed"
    );
}

#[tokio::test]
async fn a_special_file_is_counted_and_keeps_its_folder() {
    let world = agreed().await;
    world.storages.target.make_special("d/deep/socket").unwrap();
    world.storages.source.remove("d").unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.skipped, 1);
    assert_eq!(report.result, Outcome::Synced, "no failure: {report:?}");
    assert!(has(&world, Side::Target, "d/deep/socket") && !has(&world, Side::Target, "d/a"));
}

#[tokio::test]
async fn a_special_file_in_the_place_of_a_file_removes_nothing() {
    let world = agreed().await;
    world.storages.source.remove("other").unwrap();
    world.storages.source.make_special("other").unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.skipped, 1);
    assert_eq!(problems(&report), ["other"], "not in sync: {report:?}");
    assert!(has(&world, Side::Target, "other"));
}

#[derive(Debug)]
struct Without(&'static str);

impl Filter for Without {
    fn excludes(&self, path: &SyncPath, _: bool) -> bool {
        path.as_str() == self.0
    }
}

#[tokio::test]
async fn a_change_of_the_filter_is_no_removal() {
    for excluded in ["d/deep", "other"] {
        let world = agreed().await;
        let mut options = World::options(Direction::TwoWay);
        options.filter = Arc::new(Without(excluded));
        world.storages.source.write_file("e/f", "edited").unwrap();
        let report = world.run(options.clone()).await.unwrap();
        assert_eq!(report.result, Outcome::Synced, "{report:?}");
        for side in Side::BOTH {
            for path in FILES {
                assert!(has(&world, side, path), "{path} is gone on the {side}");
            }
        }
        world.storages.source.remove(excluded).unwrap();
        assert_eq!(
            world.run(options).await.unwrap().changes,
            Default::default()
        );
        // Without the filter the removal is one.
        assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
        assert!(
            !paths(&world.storages.target)
                .iter()
                .any(|key| key.starts_with(excluded))
        );
    }
}

#[tokio::test]
async fn an_excluded_file_keeps_the_folder_that_the_other_side_removed() {
    let world = agreed().await;
    let mut options = World::options(Direction::TwoWay);
    options.filter = Arc::new(Without("d/deep/b"));
    world.storages.source.remove("d").unwrap();
    let report = world.run(options).await.unwrap();
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert!(has(&world, Side::Target, "d/deep/b"));
    assert!(!has(&world, Side::Target, "d/deep/c") && !has(&world, Side::Target, "d/a"));
}

#[tokio::test]
async fn a_storage_without_empty_folders_says_nothing_by_having_none() {
    let mut world = World::new();
    world.storages.target = MemoryBackend::private(MemorySettings::default().empty_folders(false));
    world.storages.source.make_folder("empty").unwrap();
    world.storages.source.write_file("d/f", "1").unwrap();
    assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
    world.storages.target.remove("d/f").unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert!(has(&world, Side::Source, "empty/"), "no removal");
    assert!(!has(&world, Side::Source, "d/f"), "a removal");
    assert_eq!(
        world.sync(Direction::TwoWay).await.changes,
        Default::default()
    );
}

#[tokio::test]
async fn a_change_of_type_with_folders_in_it_reaches_a_storage_without_empty_folders() {
    for direction in [Direction::TwoWay, Direction::OneWay, Direction::Mirror] {
        let mut world = World::new();
        let settings = MemorySettings::default().empty_folders(false);
        world.storages.target = MemoryBackend::private(settings);
        world.storages.source.write_file("a", "file").unwrap();
        world.storages.source.write_file("b/c/d", "deep").unwrap();
        assert_eq!(world.sync(direction).await.result, Outcome::Synced);
        world.storages.source.remove("a").unwrap();
        world.storages.source.write_file("a/c/d", "deep").unwrap();
        world.storages.source.remove("b").unwrap();
        world.storages.source.write_file("b", "file").unwrap();
        let report = world.sync(direction).await;
        assert_eq!(report.result, Outcome::Synced, "{direction:?} {report:?}");
        assert!(has(&world, Side::Target, "a/c/d") && has(&world, Side::Target, "b"));
        assert_eq!(world.sync(direction).await.changes, Default::default());
        if direction == Direction::TwoWay {
            world.storages.target.remove("a").unwrap();
            world.storages.target.write_file("a", "file").unwrap();
            world.storages.target.remove("b").unwrap();
            world.storages.target.write_file("b/c/d", "deep").unwrap();
            let report = world.sync(direction).await;
            assert_eq!(report.result, Outcome::Synced, "{report:?}");
            assert!(has(&world, Side::Source, "a") && has(&world, Side::Source, "b/c/d"));
        }
    }
}

#[tokio::test]
async fn what_a_storage_cannot_hold_is_a_problem_of_that_path() {
    let mut world = World::new();
    world.storages.target = MemoryBackend::private(MemorySettings::default().links(false));
    world.storages.source.make_link("l", "there").unwrap();
    world.storages.source.write_file("f", "1").unwrap();
    for _ in 0..2 {
        let report = world.sync(Direction::TwoWay).await;
        assert_eq!(problems(&report), ["l"], "{report:?}");
        assert!(has(&world, Side::Target, "f") && has(&world, Side::Source, "l"));
    }
}

#[tokio::test]
async fn a_storage_that_is_gone_stops_the_run() {
    let world = agreed().await;
    world.storages.target.set_available(false);
    let error = world
        .run(World::options(Direction::TwoWay))
        .await
        .unwrap_err();
    assert_eq!(error.class.name(), "root-unavailable", "{error}");
    world.storages.target.set_available(true);
    assert_eq!(
        world.sync(Direction::TwoWay).await.changes,
        Default::default()
    );
}

#[tokio::test]
async fn a_dry_run_makes_a_folder_again_once_however_much_survives_in_it() {
    let world = agreed().await;
    world.storages.source.remove("d").unwrap();
    world
        .storages
        .target
        .write_file("d/deep/b", "edited")
        .unwrap();
    world
        .storages
        .target
        .write_file("d/deep/c", "edited too")
        .unwrap();
    world.storages.target.write_file("d/a", "and this").unwrap();
    let mut rehearsal = World::options(Direction::TwoWay);
    rehearsal.dry_run = true;
    let rehearsed = world.run(rehearsal).await.unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(report.changes.source.created, 5, "{report:?}");
    assert_eq!(rehearsed.changes, report.changes);
}

/// A storage without empty folders holds folders that nobody recorded; a removal of one is a removal all the same.
#[tokio::test]
async fn a_removed_folder_does_not_come_back_from_a_storage_without_folders() {
    for direction in [Direction::TwoWay, Direction::OneWay, Direction::Mirror] {
        let mut world = World::new();
        let without = MemorySettings::default().empty_folders(false);
        world.storages.target = MemoryBackend::private(without);
        world.storages.source.write_file("a/n/m/f", "1").unwrap();
        world.storages.source.write_file("a/keep", "1").unwrap();
        world.sync(direction).await;
        assert!(world.storages.source.remove("a/n").unwrap());
        let report = world.sync(direction).await;
        assert_eq!(report.changes.source.total(), 0, "{direction:?}");
        assert!(report.drift.is_empty(), "{direction:?}: {:?}", report.drift);
        assert_eq!(world.storages.target.read_file("a/n/m/f"), None);
        let paths: Vec<_> = world.storages.source.snapshot().into_keys().collect();
        assert_eq!(paths, ["a/", "a/keep"], "{direction:?}");
        let quiet = world.sync(direction).await;
        assert_eq!(quiet.changes, Sides::default(), "{direction:?}");
        // What was made in it meanwhile keeps it.
        world.storages.source.write_file("b/f", "1").unwrap();
        world.sync(direction).await;
        world.storages.source.remove("b").unwrap();
        world.storages.target.write_file("b/new", "2").unwrap();
        world.sync(direction).await;
        let there = world.storages.target.read_file("b/new").is_some();
        assert_eq!(there, direction != Direction::Mirror, "{direction:?}");
    }
}
