//! What is said of a path is what the next run does.

use wl_core::model::{Direction, Side, Sides, SyncPath};
use wl_core::sync::{Explanation, SyncOptions, explain};

use crate::world::World;

async fn explained(world: &World, direction: Direction, path: &str) -> Explanation {
    let options: SyncOptions = World::options(direction);
    let path = SyncPath::new(path).unwrap();
    explain(&world.job(options), &path).await.unwrap()
}

/// A world in which each name tells what was done to it since the last run.
async fn edited() -> World {
    let world = World::new();
    let Sides { source, target } = &world.storages;
    for name in [
        "same",
        "source edits",
        "target edits",
        "both edit",
        "source removes",
        "target removes",
        "one edits one removes",
        "both remove",
    ] {
        source.write_file(name, "old").unwrap();
    }
    world.sync(Direction::TwoWay).await;
    source.write_file("source edits", "new").unwrap();
    target.write_file("target edits", "new").unwrap();
    source.write_file("both edit", "one").unwrap();
    target.write_file("both edit", "two").unwrap();
    source.remove("source removes").unwrap();
    target.remove("target removes").unwrap();
    source.write_file("one edits one removes", "new").unwrap();
    target.remove("one edits one removes").unwrap();
    source.remove("both remove").unwrap();
    target.remove("both remove").unwrap();
    source.write_file("source makes", "1").unwrap();
    source.write_file("both make the same", "1").unwrap();
    target.write_file("both make the same", "1").unwrap();
    world
}

#[tokio::test]
async fn every_situation_is_told_with_its_decision() {
    for (path, two_way, one_way, mirror) in [
        ("same", "agreed", "agreed", "agreed"),
        ("source edits", "update", "update", "update"),
        ("target edits", "update", "drift", "update"),
        ("both edit", "conflict", "conflict", "update"),
        ("source removes", "remove", "remove", "remove"),
        ("target removes", "remove", "drift", "update"),
        ("one edits one removes", "update", "update", "update"),
        ("both remove", "forget", "forget", "forget"),
        ("source makes", "update", "update", "update"),
        ("both make the same", "agreed", "agreed", "agreed"),
        ("never there", "nothing", "nothing", "nothing"),
    ] {
        for (direction, decision) in [
            (Direction::TwoWay, two_way),
            (Direction::OneWay, one_way),
            (Direction::Mirror, mirror),
        ] {
            let world = edited().await;
            let said = explained(&world, direction, path).await;
            assert_eq!(said.decision, decision, "{path} {direction:?}");
            // Looking changes nothing, and what was said is what happens.
            assert_eq!(explained(&world, direction, path).await.decision, decision);
            let before =
                [Side::Source, Side::Target].map(|side| world.storages[side].read_file(path));
            world.sync(direction).await;
            let after =
                [Side::Source, Side::Target].map(|side| world.storages[side].read_file(path));
            let changes = before != after;
            assert_eq!(
                changes,
                matches!(decision, "update" | "remove"),
                "{path} {direction:?}"
            );
        }
    }
}

#[tokio::test]
async fn what_each_side_holds_and_how_it_changed_is_told() {
    let world = edited().await;
    let said = explained(&world, Direction::TwoWay, "source edits").await;
    assert_eq!(said.seen.source.changed, Some(true));
    assert_eq!(said.seen.target.changed, Some(false));
    assert!(said.agreed.is_some());
    assert!(said.rule.contains("source"), "{}", said.rule);
    let said = explained(&world, Direction::TwoWay, "source removes").await;
    assert_eq!(said.seen.source.presence, "absent");
    assert_eq!(said.seen.source.changed, Some(true));
    world.sync(Direction::TwoWay).await;
    let said = explained(&world, Direction::TwoWay, "both edit").await;
    assert!(said.conflict.is_some(), "the last run left it open");
    world.storages.target.set_available(false);
    let said = explained(&world, Direction::TwoWay, "both edit").await;
    assert_eq!(
        (&*said.decision, &*said.seen.target.presence),
        ("wait", "unknown")
    );
    assert!(said.seen.target.why.is_some());
}
