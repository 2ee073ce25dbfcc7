//! What users saved without a sync, as most programs do, and a power cut after a run that has copied it.

use std::time::Duration;

use rustix::io::Errno;
use wl_core::model::{Direction, Outcome, Side, Sides};
use wl_core::storage::Durability;

use super::MODERN;
use super::world::{Kind, World};
use crate::local::model::{Call, Dice, Loss, Node, Op, Rules, When};

/// Longer ago than anything waits for being written back.
const LONG: Duration = Duration::from_secs(61);

const DIRECTIONS: [Direction; 3] = [Direction::TwoWay, Direction::OneWay, Direction::Mirror];

/// A world with a user's files that were synced long ago.
async fn settled(kind: Kind, direction: Direction) -> World {
    let world = World::new(kind);
    for path in ["doc", "keep", "d/keep", "moves"] {
        let content = format!("old {path}");
        let user = world.disks.source.user();
        user.write(path, content.as_bytes()).unwrap();
    }
    world.machine.advance(LONG);
    world.run_in(direction).await.unwrap();
    world.machine.advance(LONG);
    world
}

/// What the calls of a run on the source sync.
async fn syncs_of_source(world: &World) -> Vec<Call> {
    let (calls, report) = world.calls_of_a_run().await;
    assert_eq!(report.unwrap().result, Outcome::Synced);
    let syncs = |op| matches!(op, Op::Sync | Op::SyncData | Op::SyncAll);
    let of_source = calls.into_iter().filter(|call| call.disk == "source");
    of_source.filter(|call| syncs(call.op)).collect()
}

/// Only the other side's copy is durable then: it is the one that must not be removed, nor put back to what was.
#[tokio::test]
async fn what_a_user_saved_without_a_sync_outlives_a_power_cut_after_it_was_copied() {
    for (rules, direction, dice) in [Rules::Loose, Rules::Journal]
        .into_iter()
        .flat_map(|rules| DIRECTIONS.map(|direction| (rules, direction)))
        .flat_map(|(rules, direction)| (0..12).map(move |dice| (rules, direction, dice)))
    {
        let told = format!("{rules:?} {direction:?} {dice}");
        let world = settled(Kind { rules, ..MODERN }, direction).await;
        let user = || world.disks.source.user().hasty();
        user().write("doc", b"hours of work").unwrap();
        user().write_in_place("keep", b"more of it").unwrap();
        user().write("new", b"a new chapter").unwrap();
        user().write("e/f/new", b"another one").unwrap();
        user().link("link", "new").unwrap();
        user().rename("moves", "e/moved").unwrap();
        for side in Side::BOTH {
            let user = world.disks[side].user().hasty();
            user.write("same", b"on both sides").unwrap();
        }
        world.wait();
        let due = world.disks.source.user().tree();
        let report = world.run_in(direction).await.unwrap();
        assert_eq!(report.result, Outcome::Synced, "{told}: {report:?}");
        world.restart(Loss::Power(Dice::new(dice)));
        let report = world.run_in(direction).await.unwrap();
        assert_eq!(report.result, Outcome::Synced, "{told}: {report:?}");
        let trees = world.disks.as_ref().map(|disk| disk.user().tree());
        assert_eq!(trees, Sides::new(due.clone(), due), "{told}");
    }
}

#[tokio::test]
async fn what_was_saved_long_ago_costs_no_sync() {
    let world = settled(MODERN, Direction::TwoWay).await;
    let user = || world.disks.source.user().hasty();
    user().write("new", b"a new chapter").unwrap();
    user().write("d/keep", b"hours of work").unwrap();
    world
        .disks
        .target
        .user()
        .write("new", b"a new chapter")
        .unwrap();
    world.machine.advance(LONG);
    assert!(syncs_of_source(&world).await.is_empty());
}

#[tokio::test]
async fn few_are_synced_one_by_one_and_many_with_their_whole_file_system() {
    for (count, due) in [
        (1, vec![Op::Sync; 2]),
        (3, vec![Op::Sync; 4]),
        (30, vec![Op::SyncAll]),
    ] {
        let world = settled(MODERN, Direction::TwoWay).await;
        for number in 0..count {
            let user = world.disks.source.user().hasty();
            user.write(&format!("d/{number}"), b"a new chapter")
                .unwrap();
        }
        world.wait();
        let syncs = syncs_of_source(&world).await;
        let ops: Vec<_> = syncs.iter().map(|call| call.op).collect();
        assert_eq!(ops, due, "{count} files");
        // What is recorded is durable: to record it once more costs nothing.
        world.wait();
        assert!(syncs_of_source(&world).await.is_empty());
    }
}

#[tokio::test]
async fn without_durability_nothing_is_synced() {
    let kind = Kind {
        durability: Durability::None,
        ..MODERN
    };
    let world = settled(kind, Direction::TwoWay).await;
    let user = world.disks.source.user().hasty();
    user.write("new", b"a new chapter").unwrap();
    world.wait();
    assert!(syncs_of_source(&world).await.is_empty());
}

/// What cannot be made durable where it is deserves a copy all the more, but nothing is recorded of it; where nothing can be, as on a
/// read-only mount, that is no failure.
#[tokio::test]
async fn what_cannot_be_made_durable_is_copied_and_not_recorded() {
    for (errno, fails) in [
        (Errno::IO, true),
        (Errno::ROFS, false),
        (Errno::INVAL, false),
    ] {
        let prepare = async || {
            let world = settled(MODERN, Direction::OneWay).await;
            let user = world.disks.source.user().hasty();
            user.write("new", b"a new chapter").unwrap();
            world.wait();
            world
        };
        let world = prepare().await;
        let syncs = syncs_of_source(&world).await;
        let world = prepare().await;
        world.machine.fail_at(syncs[0].number, When::Before, errno);
        let report = world.run().await.unwrap();
        assert_eq!(world.machine.fired(), 1);
        let told: Vec<_> = report.problems.iter().map(|one| &*one.path).collect();
        let due: &[&str] = if fails { &["new"] } else { &[] };
        assert_eq!(told, due, "{report:?}");
        let tree = world.disks.target.user().tree();
        assert_eq!(tree["new"], Node::File(b"a new chapter".to_vec()));
        let recorded = |world: &World| {
            let state = world.baseline().unwrap();
            let row = state.row_at(&crate::local::tests::kit::p("new")).unwrap();
            row.is_some()
        };
        assert_eq!(recorded(&world), !fails);
        world.wait();
        let report = world.run().await.unwrap();
        assert_eq!(report.result, Outcome::Synced, "{report:?}");
        assert!(recorded(&world));
        let trees: Sides<_> = Sides::from_fn(|side| world.disks[side].user().tree());
        assert_eq!(trees.source, trees.target);
    }
}
