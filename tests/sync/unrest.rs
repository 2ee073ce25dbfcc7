//! What is written to while a job goes on: it is let be, it is no problem, and it arrives.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wl_core::filter::MaxSize;
use wl_core::model::{Direction, Outcome, Sides, SyncPath, Timestamp};
use wl_core::storage::Area;
use wl_core::sync::{Looks, SyncJob, one_shot};
use wl_core::testing::{Call, InPlace, Machine, Observer, Operation, observe};

use crate::world::World;

/// What the wall clock says, in seconds.
const NOW: i64 = 1_000;

/// A machine on which it is always the same moment.
#[derive(Debug)]
struct Still;

impl Machine for Still {
    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(NOW as u64)
    }

    fn dice(&self) -> u64 {
        4
    }
}

/// Counts how often content of the source is read.
#[derive(Debug, Default)]
struct Reads(AtomicUsize);

impl Observer for Reads {
    fn before(&self, call: &Call) -> wl_core::storage::Result<()> {
        if [Operation::Read, Operation::ReadSmall, Operation::Hash].contains(&call.operation) {
            self.0.fetch_add(1, SeqCst);
        }
        Ok(())
    }
}

fn path(text: &str) -> SyncPath {
    SyncPath::new(text).unwrap()
}

/// A job that goes on over the world, and its reads.
fn job(world: &World) -> (SyncJob, Arc<Reads>) {
    let reads = Arc::new(Reads::default());
    let source = Arc::new(world.storages.source.clone());
    let job = SyncJob {
        storages: Sides::new(
            observe(source, Arc::clone(&reads) as _),
            Arc::new(world.storages.target.clone()),
        ),
        patience: Some(Arc::default()),
        ..world.job(World::options(Direction::TwoWay))
    };
    (job, reads)
}

/// Writes a file of so many MiB whose last write was a tenth of a second ago, or long ago.
fn write(world: &World, mib: usize, is_young: bool) {
    let source = &world.storages.source;
    source.write_file("big", vec![7; mib << 20]).unwrap();
    let secs = if is_young { NOW - 1 } else { NOW - 60 };
    let nanos = 900_000_000;
    source.touch("big", Timestamp { secs, nanos }).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_large_file_that_is_being_written_is_not_read_and_is_no_problem() {
    let _machine = InPlace::of(Rc::new(Still));
    let world = World::new();
    let (job, reads) = job(&world);
    let mut looks = Looks::new(job, "test");
    looks.look(Area::Everything).await.unwrap();
    for look in 0..20 {
        write(&world, 5, true);
        let area = match look {
            10 => Area::Everything,
            _ => Area::path(path("big")),
        };
        let looked = looks.look(area).await.unwrap();
        let report = looked.report.unwrap();
        assert!(report.problems.is_empty(), "{report:?}");
        assert_eq!(looked.written, [path("big")]);
        assert_eq!(looked.let_be, [path("big")]);
        assert_eq!(looked.again, [path("big")]);
        tokio::time::advance(Duration::from_millis(500)).await;
    }
    assert_eq!(reads.0.load(SeqCst), 0);
    // The moment has passed.
    write(&world, 5, false);
    let looked = looks.look(Area::path(path("big"))).await.unwrap();
    assert!(looked.written.is_empty() && looked.let_be.is_empty());
    assert!(world.storages.target.read_file("big").is_some());
    looks.rest().await.unwrap();
}

/// A small file may be the beginning of one that is too large, of which no more would follow.
#[tokio::test(start_paused = true)]
async fn where_size_is_limited_no_beginning_of_a_file_takes_the_place_of_a_version() {
    let _machine = InPlace::of(Rc::new(Still));
    let world = World::new();
    let (mut job, reads) = job(&world);
    job.options.exclude.max_size = Some(MaxSize(3 << 20));
    write(&world, 2, false);
    let mut looks = Looks::new(job, "test");
    looks.look(Area::Everything).await.unwrap();
    let good = world.storages.target.read_file("big").unwrap();
    reads.0.store(0, SeqCst);
    for mib in [0, 1, 2, 3, 4] {
        write(&world, mib, true);
        let looked = looks.look(Area::path(path("big"))).await.unwrap();
        let is_within = mib <= 3;
        assert_eq!(looked.let_be == [path("big")], is_within, "{mib} MiB");
        assert_eq!(world.storages.target.read_file("big"), Some(good.clone()));
        tokio::time::advance(Duration::from_millis(500)).await;
    }
    assert_eq!(reads.0.load(SeqCst), 0);
    write(&world, 1, false);
    looks.look(Area::path(path("big"))).await.unwrap();
    let target = world.storages.target.read_file("big").unwrap();
    assert_eq!(target.len(), 1 << 20, "it is at rest");
    looks.rest().await.unwrap();
}

/// A log that never rests arrives now and then.
#[tokio::test(start_paused = true)]
async fn what_never_rests_is_read_twice_a_minute() {
    let _machine = InPlace::of(Rc::new(Still));
    let world = World::new();
    let (job, _) = job(&world);
    let mut looks = Looks::new(job, "test");
    looks.look(Area::Everything).await.unwrap();
    let (mut seconds, began) = (Vec::new(), tokio::time::Instant::now());
    for _ in 0..200 {
        write(&world, 5, true);
        let looked = looks.look(Area::path(path("big"))).await.unwrap();
        match looked.let_be.is_empty() {
            true => seconds.push(began.elapsed().as_secs()),
            false => assert_eq!(looked.let_be, [path("big")]),
        }
        tokio::time::advance(Duration::from_millis(500)).await;
    }
    assert_eq!(seconds, [30, 60, 91]);
    assert!(world.storages.target.read_file("big").is_some());
    looks.rest().await.unwrap();
}

#[tokio::test]
async fn what_is_small_and_what_is_asked_for_once_does_not_wait() {
    let _machine = InPlace::of(Rc::new(Still));
    for (mib, goes_on) in [(3, true), (5, false)] {
        let world = World::new();
        let (mut job, _) = job(&world);
        if !goes_on {
            job.patience = None;
        }
        write(&world, mib, true);
        let report = match goes_on {
            true => {
                let mut looks = Looks::new(job, "test");
                let looked = looks.look(Area::Everything).await.unwrap();
                looked.report.unwrap()
            }
            false => one_shot(job, "test").await.unwrap(),
        };
        assert_eq!(report.result, Outcome::Synced, "{report:?}");
        assert_eq!(report.changes.target.created, 1);
    }
}

/// A database in which a transaction is under way at every look is being written to, as long as it is another one each time. What a crash
/// has left behind is told, with what happens and what helps.
#[tokio::test(start_paused = true)]
async fn a_busy_database_is_pending_and_a_journal_that_was_left_is_a_problem() {
    let hot = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7, 0, 0];
    let world = World::new();
    let source = &world.storages.source;
    source.write_file("x.db", "1").unwrap();
    let (job, _) = job(&world);
    let mut looks = Looks::new(job, "test");
    looks.look(Area::Everything).await.unwrap();
    source.write_file("x.db-journal", hot).unwrap();
    let area = || {
        let mut area = Area::path(path("x.db"));
        area.add_path(path("x.db-journal"));
        area
    };
    let mut problems = Vec::new();
    for changes in [true, true, true, false, false, true] {
        if changes {
            let longer = [source.read_file("x.db").unwrap().to_vec(), vec![1]].concat();
            source.write_file("x.db", longer).unwrap();
        }
        let looked = looks.look(area()).await.unwrap();
        let report = looked.report.unwrap();
        assert_eq!(looked.again, [path("x.db")]);
        assert_eq!(looked.written.is_empty(), !report.problems.is_empty());
        for problem in &report.problems {
            assert!(problem.reason.contains("x.db-journal"), "{problem:?}");
            assert!(
                problem.reason.ends_with("it is tried again by itself"),
                "{problem:?}"
            );
        }
        problems.push(!report.problems.is_empty());
    }
    // At first nobody knows.
    assert_eq!(problems, [true, false, false, true, true, false]);
    source.remove("x.db-journal").unwrap();
    let report = looks.look(area()).await.unwrap().report.unwrap();
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    let target = &world.storages.target;
    assert_eq!(target.read_file("x.db"), source.read_file("x.db"));
    looks.rest().await.unwrap();
}
