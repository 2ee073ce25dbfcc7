//! Storages that copy by themselves: nothing is read, and everything comes out as if it had been.

use std::sync::{Arc, Mutex};

use wl_backends::memory::{MemoryBackend, MemorySettings};
use wl_core::model::{Direction, Outcome, Side, Sides};
use wl_core::storage::Result;
use wl_core::testing::{Call, Observer, Operation, observe};

use crate::world::World;

/// Notes the paths whose content is read.
#[derive(Debug, Default)]
struct Reads(Mutex<Vec<String>>);

impl Observer for Reads {
    fn before(&self, call: &Call) -> Result<()> {
        let read = [Operation::ReadSmall, Operation::Read, Operation::Hash];
        if read.contains(&call.operation) {
            let path = call.path.as_ref().map(ToString::to_string);
            self.0.lock().unwrap().push(path.unwrap_or_default());
        }
        Ok(())
    }
}

/// Runs both ways; gives the paths that were read.
async fn sync(world: &World) -> Vec<String> {
    let reads = sync_and_see(world).await;
    let mut paths = [reads.source, reads.target].concat();
    paths.sort();
    paths
}

/// Runs both ways; gives the paths that were read on each side.
async fn sync_and_see(world: &World) -> Sides<Vec<String>> {
    let reads = Sides::from_fn(|_| Arc::new(Reads::default()));
    let seen = reads.clone();
    let over = move |side, storage| observe(storage, Arc::clone(&seen[side]) as _);
    let options = World::options(Direction::TwoWay);
    let report = world.run_over(options, over).await.unwrap();
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    reads.map(|reads| std::mem::take(&mut *reads.0.lock().unwrap()))
}

#[tokio::test]
async fn new_and_edited_files_travel_without_being_read() {
    let world = World::copying();
    let (source, target) = (&world.storages.source, &world.storages.target);
    let large = "x".repeat(600_000);
    source.write_file("small", "1").unwrap();
    source.write_file("d/large", large.as_str()).unwrap();
    target.write_file("back", "2").unwrap();
    assert_eq!(sync(&world).await, [""; 0]);
    assert_eq!(target.read_file("small").unwrap(), "1".as_bytes());
    assert_eq!(target.read_file("d/large").unwrap(), large.as_bytes());
    assert_eq!(source.read_file("back").unwrap(), "2".as_bytes());
    assert_eq!(sync(&world).await, [""; 0]);

    source.write_file("small", "3").unwrap();
    target.write_file("d/large", "4").unwrap();
    assert_eq!(sync(&world).await, [""; 0]);
    assert_eq!(target.read_file("small").unwrap(), "3".as_bytes());
    assert_eq!(source.read_file("d/large").unwrap(), "4".as_bytes());
}

#[tokio::test]
async fn what_both_sides_changed_is_read_before_it_is_called_a_conflict() {
    let world = World::copying();
    let (source, target) = (&world.storages.source, &world.storages.target);
    source.write_file("f", "1").unwrap();
    sync(&world).await;
    source.write_file("f", "same").unwrap();
    target.write_file("f", "same").unwrap();
    assert_eq!(sync(&world).await, ["f", "f"]);
}

#[tokio::test]
async fn a_removal_against_a_touch_of_what_was_never_read_loses_nothing() {
    let world = World::copying();
    let (source, target) = (&world.storages.source, &world.storages.target);
    source.write_file("f", "1").unwrap();
    source.write_file("other", "2").unwrap();
    sync(&world).await;
    source.remove("f").unwrap();
    target.write_file("f", "1").unwrap();
    // What was never read cannot be told from an edit: the edit wins, nothing is lost.
    sync(&world).await;
    assert_eq!(source.read_file("f"), target.read_file("f"));
}

#[tokio::test]
async fn a_run_that_reads_takes_over_from_one_that_copied() {
    let mut world = World::copying();
    world.storages.source.write_file("f", "1").unwrap();
    sync(&world).await;
    world.server_copy = false;
    assert_eq!(sync(&world).await, [""; 0]);
    world.storages.target.write_file("f", "2").unwrap();
    assert_eq!(sync(&world).await, ["f"]);
    assert_eq!(
        world.storages.source.read_file("f").unwrap(),
        "2".as_bytes()
    );
}

/// By a token that the next version may share, another one could be copied than the one that was read.
#[tokio::test]
async fn what_was_written_a_moment_ago_is_not_copied_by_its_token() {
    for (changes_per_token, passes) in [(1, 0), (5, 3)] {
        let mut world = World::copying();
        world.storages.source = MemoryBackend::private(MemorySettings {
            changes_per_token,
            ..MemorySettings::default()
        });
        world.storages.source.write_file("f", "new").unwrap();
        let report = world.sync(Direction::TwoWay).await;
        assert_eq!(report.bytes.written, passes, "{report:?}");
        assert_eq!(world.storages.target.read_file("f").unwrap(), "new");
    }
}

/// A copy whose token was too young to be believed looks like a new version later: it is compared, or each run would copy it back again.
#[tokio::test]
async fn what_was_copied_a_moment_ago_does_not_go_back_and_forth() {
    for (changes_per_token, beside) in (2..6).flat_map(|n| (0..n).map(move |beside| (n, beside))) {
        let mut world = World::copying();
        let coarse = MemorySettings {
            changes_per_token,
            ..MemorySettings::default()
        };
        world.storages = Sides::from_fn(|_| MemoryBackend::private(coarse));
        world.storages.source.write_file("f", "1").unwrap();
        for number in 0..beside {
            let name = format!("beside {number}");
            world.storages.source.write_file(&name, "2").unwrap();
        }
        sync(&world).await;
        for side in Side::BOTH {
            world.storages[side].write_file("later", "3").unwrap();
        }
        for _ in 0..3 {
            let report = world.sync(Direction::TwoWay).await;
            let changed = Side::BOTH.map(|side| report.changes[side].total());
            assert_eq!(changed, [0, 0], "{changes_per_token}, {beside}: {report:?}");
        }
    }
}

/// A file that was synced within the tick of its clock is read again, where it was that young; what the other side holds is known.
#[tokio::test]
async fn what_was_too_young_on_one_side_is_not_read_on_the_other() {
    for copying in [true, false] {
        let mut world = World::copying();
        world.server_copy = copying;
        world.storages.source = MemoryBackend::private(MemorySettings {
            changes_per_token: 5,
            ..MemorySettings::default()
        });
        world.storages.source.write_file("f", "1").unwrap();
        let first = sync_and_see(&world).await;
        assert_eq!([first.source, first.target], [vec!["f".to_owned()], vec![]]);
        let again = sync_and_see(&world).await;
        assert_eq!([again.source, again.target], [vec!["f".to_owned()], vec![]]);
    }
}

#[tokio::test]
async fn a_conflict_shows_no_hash_of_what_was_never_read() {
    let world = World::copying();
    let (source, target) = (&world.storages.source, &world.storages.target);
    source.write_file("f", "1").unwrap();
    sync(&world).await;
    source.write_file("f", "mine!!").unwrap();
    target.write_file("f", "theirs").unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Conflicts);
    let conflict = &report.conflicts[0];
    assert_eq!(conflict.ancestor.as_ref().unwrap().hash, None);
    assert!(conflict.source.as_ref().unwrap().hash.is_some());
}

#[tokio::test]
async fn only_what_passes_through_here_counts_as_written() {
    for copying in [true, false] {
        let mut world = World::copying();
        world.server_copy = copying;
        world.storages.source.write_file("f", "12345").unwrap();
        let large = "x".repeat(600_000);
        world
            .storages
            .target
            .write_file("back", large.as_str())
            .unwrap();
        let report = world.sync(Direction::TwoWay).await;
        let wanted = if copying { 0 } else { 600_005 };
        assert_eq!(report.bytes.written, wanted, "{report:?}");
        // A rename takes nothing through here either.
        world.storages.source.remove("f").unwrap();
        world.storages.source.write_file("moved", "12345").unwrap();
        let report = world.sync(Direction::TwoWay).await;
        assert_eq!(report.result, Outcome::Synced, "{report:?}");
        let renamed = report.changes.target.renamed;
        assert_eq!(report.bytes.written, 0, "{renamed}: {report:?}");
    }
}
