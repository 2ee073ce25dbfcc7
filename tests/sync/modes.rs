//! Permission bits are merged as a value of their own.

use wl_backends::memory::{MemoryBackend, MemoryNode, MemorySettings};
use wl_core::model::{Direction, Mode, Outcome};

use crate::world::World;

fn mode(storage: &MemoryBackend, key: &str) -> Option<u32> {
    match &storage.snapshot()[key] {
        MemoryNode::File { mode, .. } | MemoryNode::Folder { mode } => mode.map(Mode::bits),
        _ => None,
    }
}

async fn agreed() -> World {
    let world = World::new();
    world.storages.source.write_file("d/f", "content").unwrap();
    world
        .storages
        .source
        .chmod("d/f", Mode::new(0o640))
        .unwrap();
    world.storages.source.chmod("d", Mode::new(0o750)).unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Synced);
    assert_eq!(mode(&world.storages.target, "d/f"), Some(0o640));
    assert_eq!(mode(&world.storages.target, "d/"), Some(0o750));
    world
}

#[tokio::test]
async fn a_changed_mode_travels_alone() {
    for (key, path) in [("d/f", "d/f"), ("d/", "d")] {
        let world = agreed().await;
        world.storages.target.chmod(path, Mode::new(0o700)).unwrap();
        let report = world.sync(Direction::TwoWay).await;
        assert_eq!(report.result, Outcome::Synced, "{report:?}");
        assert_eq!(mode(&world.storages.source, key), Some(0o700));
        assert_eq!(report.bytes.written, 0);
        assert_eq!(
            world.sync(Direction::TwoWay).await.changes,
            Default::default()
        );
    }
}

#[tokio::test]
async fn content_one_way_and_mode_the_other() {
    let world = agreed().await;
    world.storages.source.write_file("d/f", "edited").unwrap();
    world
        .storages
        .target
        .chmod("d/f", Mode::new(0o600))
        .unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    for side in [&world.storages.source, &world.storages.target] {
        assert_eq!(mode(side, "d/f"), Some(0o600));
        assert_eq!(side.read_file("d/f").unwrap(), "edited".as_bytes());
    }
    assert_eq!(
        world.sync(Direction::TwoWay).await.changes,
        Default::default()
    );
}

#[tokio::test]
async fn two_different_modes_are_a_conflict_and_touch_nothing() {
    let world = agreed().await;
    world
        .storages
        .source
        .chmod("d/f", Mode::new(0o600))
        .unwrap();
    world
        .storages
        .target
        .chmod("d/f", Mode::new(0o644))
        .unwrap();
    for _ in 0..2 {
        let report = world.sync(Direction::TwoWay).await;
        assert_eq!(report.result, Outcome::Conflicts, "{report:?}");
        assert_eq!(mode(&world.storages.source, "d/f"), Some(0o600));
        assert_eq!(mode(&world.storages.target, "d/f"), Some(0o644));
    }
    world
        .storages
        .target
        .chmod("d/f", Mode::new(0o600))
        .unwrap();
    assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
}

#[tokio::test]
async fn modes_without_a_baseline_are_recorded_as_they_are() {
    let world = World::new();
    for (side, bits) in [
        (&world.storages.source, 0o600),
        (&world.storages.target, 0o644),
    ] {
        side.write_file("f", "same").unwrap();
        side.chmod("f", Mode::new(bits)).unwrap();
    }
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(mode(&world.storages.source, "f"), Some(0o600));
    assert_eq!(mode(&world.storages.target, "f"), Some(0o644));
}

#[tokio::test]
async fn a_storage_without_modes_sends_none_back() {
    let mut world = World::new();
    world.storages.target = MemoryBackend::private(MemorySettings::default().modes(false));
    world.storages.source.write_file("f", "one").unwrap();
    world.storages.source.chmod("f", Mode::new(0o600)).unwrap();
    assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
    world.storages.target.write_file("f", "two").unwrap();
    assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
    assert_eq!(mode(&world.storages.source, "f"), Some(0o600));
    assert_eq!(
        world.storages.source.read_file("f").unwrap(),
        "two".as_bytes()
    );
}

#[tokio::test]
async fn one_way_tells_of_the_target_s_mode_beside_new_content() {
    let world = agreed().await;
    world.storages.source.write_file("d/f", "edited").unwrap();
    world
        .storages
        .target
        .chmod("d/f", Mode::new(0o600))
        .unwrap();
    for _ in 0..2 {
        let report = world.sync(Direction::OneWay).await;
        assert_eq!(report.result, Outcome::Synced, "{report:?}");
        assert_eq!(report.drift.len(), 1, "{report:?}");
        let reason = &report.drift[0].reason;
        assert!(reason.contains("permissions"), "{reason}");
        assert_eq!(mode(&world.storages.target, "d/f"), Some(0o600));
        assert_eq!(mode(&world.storages.source, "d/f"), Some(0o640));
    }
    // Made anew, with the same in it.
    let target = &world.storages.target;
    target.remove("d/f").unwrap();
    for (content, told) in [("edited", "permissions"), ("another", "it was changed")] {
        target.write_file("d/f", content).unwrap();
        target.chmod("d/f", Mode::new(0o600)).unwrap();
        let report = world.sync(Direction::OneWay).await;
        let reason = &report.drift[0].reason;
        assert!(reason.contains(told), "{reason}");
    }
}

#[tokio::test]
async fn a_conflict_of_modes_names_both() {
    let world = agreed().await;
    world
        .storages
        .source
        .chmod("d/f", Mode::new(0o600))
        .unwrap();
    world
        .storages
        .target
        .chmod("d/f", Mode::new(0o644))
        .unwrap();
    let report = world.sync(Direction::TwoWay).await;
    let reason = &report.conflicts[0].reason;
    assert!(reason.contains("source 600, target 644"), "{reason}");
}
