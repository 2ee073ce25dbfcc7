//! Listings that do not show what is there: from the past, or cut short by a server that does not say so.

use std::sync::Arc;

use wl_backends::memory::{MemoryBackend, MemorySettings};
use wl_core::model::{Direction, Outcome, Side, Sides, SyncPath};
use wl_core::storage::{Area, Row};
use wl_core::sync::Looks;
use wl_core::testing::{Observer, Operation, Recording, Strict, observe};

use crate::world::{World, read};

/// Listings end before this key.
#[derive(Debug)]
struct EndsBefore(&'static str);

impl Observer for EndsBefore {
    fn hides(&self, row: &Row) -> bool {
        *row.key().to_text() >= *self.0
    }
}

async fn agreed() -> World {
    let mut world = World::new();
    let settings = MemorySettings::default().stale_listings(true);
    world.storages = Sides::from_fn(|_| MemoryBackend::private(settings));
    let source = &world.storages.source;
    for folder in ["d", "d/e", "t"] {
        source.make_folder(folder).unwrap();
    }
    for path in ["a", "b", "d/e/f", "t/x", "z"] {
        source.write_file(path, path).unwrap();
    }
    assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
    world
}

/// Nothing that a listing does not show is removed for it, in any direction, on either side, wherever it ends.
#[tokio::test]
async fn what_a_listing_hides_is_not_removed() {
    for direction in [Direction::TwoWay, Direction::OneWay, Direction::Mirror] {
        for lying in Side::BOTH {
            for end in ["b", "d/", "d/e/", "d/e/f", "t/", "z"] {
                let world = agreed().await;
                let before = read(&world.storages.source);
                let over = |side, storage| match side == lying {
                    true => observe(storage, Arc::new(EndsBefore(end)) as _),
                    false => storage,
                };
                let report = world.run_over(World::options(direction), over).await;
                let report = report.unwrap();
                let case = format!("{direction:?} {lying} {end} {report:?}");
                for side in Side::BOTH {
                    assert_eq!(read(&world.storages[side]), before, "{case}");
                }
                assert_eq!(report.changes[lying.other()].removed, 0, "{case}");
                // Where a removal would have followed, the run says that something is wrong.
                if direction == Direction::TwoWay {
                    assert_eq!(report.result, Outcome::Failed, "{case}");
                }
                assert_eq!(
                    world.sync(direction).await.result,
                    Outcome::Synced,
                    "{case}"
                );
            }
        }
    }
}

#[tokio::test]
async fn what_is_gone_is_removed_all_the_same() {
    let world = agreed().await;
    world.storages.source.remove("d").unwrap();
    world.storages.source.remove("z").unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(report.changes.target.removed, 4);
    assert_eq!(read(&world.storages.target), read(&world.storages.source));
}

/// A folder that a listing does not show was not renamed, to itself least of all.
#[tokio::test]
async fn a_folder_that_a_listing_hides_is_not_renamed() {
    for lying in Side::BOTH {
        let world = agreed().await;
        let asked = Recording::new();
        let mut job = world.job(World::options(Direction::TwoWay));
        let storage = Arc::clone(&job.storages[lying]);
        let storage = observe(storage, Arc::new(EndsBefore("d/")));
        job.storages[lying] = Strict::over(asked.over(storage));
        let mut looks = Looks::new(job, "test");
        let folder = SyncPath::new("d").unwrap();
        looks.look(Area::path(folder)).await.unwrap();
        looks.rest().await.unwrap();
        assert_eq!(asked.requests(Operation::Rename), 0, "{lying}");
    }
}

/// A file that became a folder while the listing of the other side hides something of it.
#[tokio::test]
async fn a_change_of_type_waits_for_what_is_hidden() {
    let world = agreed().await;
    let source = &world.storages.source;
    source.remove("d").unwrap();
    source.write_file("d", "file").unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(read(&world.storages.target), read(source));
}
