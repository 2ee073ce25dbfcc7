//! How much work a run does, not only what comes of it.

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
