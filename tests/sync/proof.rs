//! Nothing is removed, and nothing gives way, without proof; what a run says of itself is true.

use wl_core::model::{Direction, Outcome, SyncPath};
use wl_core::sync::{Keep, SyncOptions};

use crate::world::World;

fn resolving(path: &str, keep: Keep) -> SyncOptions {
    let mut options = World::options(Direction::TwoWay);
    options.resolve = vec![(SyncPath::new(path).unwrap(), keep)];
    options
}

/// A folder that was edited on the source and became a file on the target.
async fn types_in_conflict() -> World {
    let world = World::new();
    let (source, target) = (&world.storages.source, &world.storages.target);
    source.make_folder("d").unwrap();
    for path in ["d/x", "d/y", "o"] {
        source.write_file(path, path).unwrap();
    }
    assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
    source.write_file("d/y", "edited").unwrap();
    target.remove("d").unwrap();
    target.write_file("d", "file").unwrap();
    world
}

#[tokio::test]
async fn a_wish_below_a_conflict_touches_nothing() {
    for keep in [Keep::Source, Keep::Target, Keep::Both, Keep::Newer] {
        let world = types_in_conflict().await;
        let report = world.sync(Direction::TwoWay).await;
        assert_eq!(report.result, Outcome::Conflicts, "{report:?}");
        let report = world.run(resolving("d/x", keep)).await.unwrap();
        assert_eq!(report.result, Outcome::Conflicts, "{report:?}");
        assert!(world.storages.source.read_file("d/x").is_some());
        assert_eq!(
            world.storages.target.read_file("d").unwrap(),
            "file".as_bytes()
        );
    }
}

#[tokio::test]
async fn a_folder_that_wins_a_conflict_wins_whole_even_where_copying_failed() {
    for keep in [Keep::Source, Keep::Both] {
        let world = types_in_conflict().await;
        let source = &world.storages.source;
        source.set_unreadable("d/x", true).unwrap();
        let report = world.run(resolving("d", keep)).await.unwrap();
        assert_eq!(report.result, Outcome::Failed, "{report:?}");
        source.set_unreadable("d/x", false).unwrap();
        let report = world.sync(Direction::TwoWay).await;
        assert_eq!(report.result, Outcome::Synced, "{keep:?} {report:?}");
        for side in [&world.storages.source, &world.storages.target] {
            assert_eq!(side.read_file("d/x").unwrap(), "d/x".as_bytes(), "{keep:?}");
            assert_eq!(side.read_file("d/y").unwrap(), "edited".as_bytes());
        }
    }
}

/// A folder that both agreed on and that became a file on the source.
async fn folder_became_file() -> World {
    let world = World::new();
    let source = &world.storages.source;
    for folder in ["d", "d/sub"] {
        source.make_folder(folder).unwrap();
    }
    for path in ["d/a", "d/sub/s", "d/z", "o"] {
        source.write_file(path, path).unwrap();
    }
    assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
    source.remove("d").unwrap();
    source.write_file("d", "file").unwrap();
    world
}

#[tokio::test]
async fn a_folder_with_something_unknown_inside_does_not_become_a_file() {
    for unknown in ["d", "d/sub", "d/z", "a name"] {
        let world = folder_became_file().await;
        let target = &world.storages.target;
        match unknown {
            "a name" => target.add_odd_name("d/sub", "odd\u{fffd}").unwrap(),
            path => target.set_unreadable(path, true).unwrap(),
        }
        let before = target.snapshot();
        for _ in 0..2 {
            let report = world.sync(Direction::TwoWay).await;
            assert_eq!(report.result, Outcome::Failed, "{unknown}: {report:?}");
            assert_eq!(report.problems.len(), 1, "{unknown}: {report:?}");
            assert_eq!(target.snapshot(), before, "{unknown}");
        }
    }
}

#[tokio::test]
async fn a_file_becomes_a_folder_that_holds_something_special() {
    let world = World::new();
    let (source, target) = (&world.storages.source, &world.storages.target);
    source.write_file("d", "file").unwrap();
    world.sync(Direction::TwoWay).await;
    source.remove("d").unwrap();
    source.make_folder("d").unwrap();
    source.make_special("d/socket").unwrap();
    source.write_file("d/x", "x").unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(target.read_file("d/x").unwrap(), "x".as_bytes());
}
