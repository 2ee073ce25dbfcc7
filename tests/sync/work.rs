//! How much work a run does, not only what comes of it.

use wl_backends::memory::MemoryBackend;
use wl_core::model::{Direction, Outcome};
use wl_core::testing::{Operation, Recording};

use crate::world::World;

const FILES: u64 = 1000;

/// The one thing that is asked for beside the listings: what is to be left out, on each side.
const RULES: [&str; 2] = [".wlignore", ".wlignore"];

async fn first_sync(recording: &std::sync::Arc<Recording>) -> World {
    let world = World::new();
    for n in 0..FILES {
        world
            .storages
            .source
            .write_file(&format!("d{}/f{n}", n % 10), format!("{n}"))
            .unwrap();
    }
    let options = World::options(Direction::TwoWay);
    let report = world
        .run_over(options, |_, storage| recording.over(storage))
        .await
        .unwrap();
    assert_eq!(report.result, Outcome::Synced);
    world
}

#[tokio::test]
async fn small_files_travel_in_batches() {
    let recording = Recording::new();
    first_sync(&recording).await;
    for operation in [Operation::ReadSmall, Operation::Stage, Operation::Replace] {
        assert_eq!(recording.requests(operation) as u64, FILES, "{operation:?}");
        let calls = recording.calls(operation);
        assert!(
            calls <= FILES / 50,
            "{operation:?}: {calls} calls for {FILES} files"
        );
    }
    // Contents, then names, then nothing more.
    assert!(
        recording.calls(Operation::Flush) <= 2 * 4,
        "{}",
        recording.calls(Operation::Flush)
    );
    assert_eq!(
        recording.requests(Operation::Stat) + recording.requests(Operation::Hash),
        0
    );
    assert_eq!(recording.paths(Operation::FileToken), RULES);
}

#[tokio::test]
async fn a_run_with_nothing_to_do_reads_nothing_and_writes_nothing() {
    let world = first_sync(&Recording::new()).await;
    let recording = Recording::new();
    let options = World::options(Direction::TwoWay);
    let report = world
        .run_over(options, |_, storage| recording.over(storage))
        .await
        .unwrap();
    assert_eq!(report.result, Outcome::Synced);
    assert_eq!(recording.changes(), []);
    for operation in [
        Operation::ReadSmall,
        Operation::Read,
        Operation::Hash,
        Operation::Stat,
    ] {
        assert_eq!(recording.requests(operation), 0, "{operation:?}");
    }
    assert_eq!(recording.paths(Operation::FileToken), RULES);
    assert_eq!(report.bytes, Default::default());
}

#[tokio::test]
async fn with_checksum_every_file_is_read_and_nothing_is_written() {
    let world = first_sync(&Recording::new()).await;
    let recording = Recording::new();
    let mut options = World::options(Direction::TwoWay);
    options.checksum = true;
    let report = world
        .run_over(options, |_, storage| recording.over(storage))
        .await
        .unwrap();
    assert_eq!(report.result, Outcome::Synced);
    assert_eq!(recording.requests(Operation::ReadSmall) as u64, 2 * FILES);
    assert_eq!(recording.changes(), []);
}

#[tokio::test]
async fn a_touched_file_is_read_once_and_not_again() {
    let world = first_sync(&Recording::new()).await;
    world.storages.source.write_file("d1/f1", "1").unwrap();
    for reads in [1, 0] {
        let recording = Recording::new();
        let options = World::options(Direction::TwoWay);
        world
            .run_over(options, |_, storage| recording.over(storage))
            .await
            .unwrap();
        assert_eq!(recording.requests(Operation::ReadSmall), reads);
        assert_eq!(recording.changes(), []);
    }
}

#[tokio::test]
async fn without_its_baseline_a_run_adopts_what_is_equal() {
    let world = first_sync(&Recording::new()).await;
    world.forget();
    world.storages.target.write_file("d1/f1", "other").unwrap();
    let recording = Recording::new();
    let options = World::options(Direction::TwoWay);
    let report = world
        .run_over(options, |_, storage| recording.over(storage))
        .await
        .unwrap();
    assert_eq!(report.conflicts.len(), 1, "{report:?}");
    assert_eq!(recording.changes(), [], "nothing is resynced");
}

#[tokio::test]
async fn a_damaged_baseline_is_set_aside_and_told() {
    let world = first_sync(&Recording::new()).await;
    world.damage();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(report.notices.len(), 1, "{report:?}");
    assert!(report.notices[0].contains("damaged"), "{report:?}");
    assert_eq!(report.changes, Default::default());
    assert!(world.sync(Direction::TwoWay).await.notices.is_empty());
}

/// Opening the file does not show all of the damage: some is met in the middle of a run, which then begins again without it.
#[tokio::test]
async fn a_baseline_that_is_damaged_somewhere_is_set_aside_when_that_is_met() {
    let mut met = 0;
    for eighths in 1..8 {
        let world = first_sync(&Recording::new()).await;
        for n in 0..800 {
            let storage = &world.storages.source;
            storage.write_file(&format!("many/{n}"), "").unwrap();
        }
        world.sync(Direction::TwoWay).await;
        world.damage_page(eighths);
        world.storages.source.write_file("d1/new", "new").unwrap();
        let report = world.sync(Direction::TwoWay).await;
        assert_eq!(report.result, Outcome::Synced, "{eighths}/8: {report:?}");
        assert_eq!(report.changes.source, Default::default());
        assert_eq!(report.changes.target.created, 1, "{eighths}/8: {report:?}");
        for notice in &report.notices {
            assert!(notice.contains("damaged"), "{report:?}");
        }
        met += report.notices.len();
        let again = world.sync(Direction::TwoWay).await;
        assert_eq!((again.result, again.notices.len()), (Outcome::Synced, 0));
    }
    assert!(met > 2, "only {met} met");
}

/// What stays undecided is looked at again and again.
#[tokio::test]
async fn what_was_read_of_a_conflict_or_a_drift_is_not_read_again() {
    for (direction, size) in [
        (Direction::TwoWay, 3),
        (Direction::TwoWay, 1 << 20),
        (Direction::OneWay, 1 << 20),
    ] {
        let world = World::new();
        let write = |side: wl_core::model::Side, path: &str, with: u8| {
            let storage = &world.storages[side];
            storage.write_file(path, vec![with; size]).unwrap();
            storage.pass_time(std::time::Duration::from_secs(60));
        };
        use wl_core::model::Side::{Source, Target};
        write(Source, "old", 1);
        world.sync(direction).await;
        for side in [Source, Target] {
            let with = if side == Source { 2 } else { 3 };
            write(side, "old", with);
            write(side, "new", with);
        }
        if direction == Direction::OneWay {
            write(Source, "old", 1);
        }
        let first = world.sync(direction).await;
        assert_eq!(first.conflicts.len() + first.drift.len(), 2, "{first:?}");
        assert!(first.bytes.read > 0);
        for _ in 0..2 {
            let report = world.sync(direction).await;
            assert_eq!(report.bytes.read, 0, "{report:?}");
            assert_eq!(report.conflicts, first.conflicts);
            assert_eq!(report.drift, first.drift);
        }
        // Only the version that is new is read, and the end of it all is found.
        write(Source, "new", 3);
        let report = world.sync(direction).await;
        assert_eq!(report.bytes.read, size as u64, "{report:?}");
        assert_eq!(report.conflicts.len() + report.drift.len(), 1, "{report:?}");
    }
}

/// Nothing of it is carried over, however much of it could be by itself: here the log that only the target has.
#[tokio::test]
async fn what_was_read_of_a_group_in_conflict_is_not_read_again() {
    let world = World::new();
    let (source, target) = (&world.storages.source, &world.storages.target);
    let rests = |storage: &MemoryBackend| storage.pass_time(std::time::Duration::from_secs(60));
    source.write_file("db", vec![1; 512]).unwrap();
    source.write_file("db-wal", "1").unwrap();
    rests(source);
    world.sync(Direction::TwoWay).await;
    source.write_file("db", vec![2; 512]).unwrap();
    assert!(source.remove("db-wal").unwrap());
    target.write_file("db", vec![3; 512]).unwrap();
    target.write_file("db-wal", "3").unwrap();
    [source, target].into_iter().for_each(rests);
    let first = world.sync(Direction::TwoWay).await;
    assert_eq!(first.conflicts.len(), 1, "{first:?}");
    assert!(first.bytes.read > 0);
    for _ in 0..2 {
        let report = world.sync(Direction::TwoWay).await;
        assert_eq!(report.conflicts, first.conflicts);
        assert_eq!(report.bytes.read, 0, "{report:?}");
    }
}

/// Which side a version is on counts by storage, not by role.
#[tokio::test]
async fn what_was_read_is_known_with_the_roles_exchanged_too() {
    let mut world = World::new();
    for (side, with) in [("source", 1), ("target", 2)] {
        let storages = &world.storages;
        let storage = match side {
            "source" => &storages.source,
            _ => &storages.target,
        };
        storage.write_file("a", vec![with; 9]).unwrap();
        storage.pass_time(std::time::Duration::from_secs(60));
    }
    let first = world.sync(Direction::TwoWay).await;
    assert_eq!(first.bytes.read, 18);
    std::mem::swap(&mut world.storages.source, &mut world.storages.target);
    let turned = world.sync(Direction::TwoWay).await;
    assert_eq!(turned.bytes.read, 0);
    assert_eq!(turned.conflicts[0].source, first.conflicts[0].target);
}

#[tokio::test]
async fn with_checksum_a_conflict_is_read_at_every_look() {
    let world = World::new();
    world.storages.source.write_file("a", "one").unwrap();
    world.storages.target.write_file("a", "two").unwrap();
    for side in wl_core::model::Side::BOTH {
        world.storages[side].pass_time(std::time::Duration::from_secs(60));
    }
    for _ in 0..2 {
        let mut options = World::options(Direction::TwoWay);
        options.checksum = true;
        let report = world.run(options).await.unwrap();
        assert_eq!(report.bytes.read, 6);
    }
}
