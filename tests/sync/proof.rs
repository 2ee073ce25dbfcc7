//! Nothing is removed, and nothing gives way, without proof; what a run says of itself is true.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;
use wl_core::model::{Direction, Mode, Outcome, Side, SyncPath};
use wl_core::storage::Result;
use wl_core::sync::{Keep, SyncOptions};
use wl_core::testing::{Call, Observer, Operation, Recording, observe};

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
        assert_eq!(report.problems[0].path, "d/x", "{report:?}");
        assert_eq!(report.conflicts[0].path, "d", "{report:?}");
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
        let report = world.sync(Direction::TwoWay).await;
        assert_eq!(report.result, Outcome::Conflicts, "{report:?}");
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

#[tokio::test]
async fn a_special_file_in_the_way_is_told() {
    let world = World::new();
    let (source, target) = (&world.storages.source, &world.storages.target);
    source.write_file("x", "x").unwrap();
    source.write_file("y", "y").unwrap();
    target.make_special("x").unwrap();
    target.make_special("only here").unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Failed, "{report:?}");
    assert_eq!(report.problems.len(), 1, "{report:?}");
    assert_eq!(report.problems[0].path, "x");
    assert_eq!(report.skipped, 2);
    assert!(target.read_file("y").is_some());
}

#[tokio::test]
async fn a_folder_is_opened_before_and_closed_after_its_inside() {
    let world = World::new();
    let (source, target) = (&world.storages.source, &world.storages.target);
    source.make_folder("d").unwrap();
    for path in ["d/a", "d/b"] {
        source.write_file(path, path).unwrap();
    }
    world.sync(Direction::TwoWay).await;
    let run = async || {
        let record = Recording::new();
        let options = World::options(Direction::TwoWay);
        let report = world.run_over(options, |side, storage| match side {
            Side::Source => storage,
            Side::Target => record.over(storage),
        });
        assert_eq!(report.await.unwrap().result, Outcome::Synced);
        record
            .changes()
            .into_iter()
            .map(|(op, _)| op)
            .collect::<Vec<_>>()
    };
    source.remove("d/b").unwrap();
    source.chmod("d", Mode::new(0o555)).unwrap();
    assert_eq!(run().await, [Operation::Remove, Operation::SetMode]);
    source.chmod("d", Mode::new(0o755)).unwrap();
    source.write_file("d/c", "c").unwrap();
    assert_eq!(run().await, [Operation::SetMode, Operation::Replace]);
    assert_eq!(run().await, []);
    assert!(target.read_file("d/c").is_some());
}

/// Stops the run at the so-manieth file that is published.
#[derive(Debug)]
struct StopAt(AtomicU64, CancellationToken);

impl Observer for StopAt {
    fn before(&self, call: &Call) -> Result<()> {
        if call.operation == Operation::Replace && self.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.1.cancel();
        }
        Ok(())
    }
}

#[tokio::test]
async fn what_was_published_before_a_run_was_stopped_is_recorded() {
    for at in [1, 2049, 2500] {
        let mut world = World::new();
        let names: Vec<_> = (0..6000).map(|n| format!("f{n:04}")).collect();
        for name in &names {
            world
                .storages
                .source
                .write_file(name, name.as_bytes())
                .unwrap();
        }
        let options = World::options(Direction::TwoWay);
        let stop = Arc::new(StopAt(AtomicU64::new(at), world.cancel.clone()));
        let report = world.run_over(options, |_, storage| observe(storage, stop.clone() as _));
        assert_eq!(report.await.unwrap().result, Outcome::Failed);
        world.cancel = CancellationToken::new();
        let (source, target) = (&world.storages.source, &world.storages.target);
        let published: Vec<_> = names
            .iter()
            .filter(|name| target.read_file(name).is_some())
            .collect();
        assert!(published.len() < names.len());
        for name in &published {
            source.remove(name).unwrap();
        }
        world.sync(Direction::TwoWay).await;
        let back = published
            .iter()
            .filter(|name| source.read_file(name).is_some());
        assert_eq!(
            back.count(),
            0,
            "stopped at {at}, {} published",
            published.len()
        );
    }
}
