//! The general syncer as a job that goes on until it is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::{Notify, mpsc};
use wl_backends::memory::MemoryBackend;
use wl_core::model::{Direction, Outcome, RunReport, Sides, SyncPath};
use wl_core::storage::{Area, StorageBackend};
use wl_core::sync::{
    Looks, News, NewsSender, Progress, SyncErrorClass, SyncJob, Syncer, SyncerType,
};
use wl_core::testing::{Call, Observer, Operation, observe};
use wl_syncers::General;

use crate::moves::area;
use crate::world::{World, read};

/// Tells when a session has ended.
#[derive(Debug, Default)]
struct Ended(Notify);

impl Observer for Ended {
    fn after(&self, call: &Call) -> wl_core::storage::Result<()> {
        if call.operation == Operation::Finish {
            self.0.notify_one();
        }
        Ok(())
    }
}

fn job(world: &World, ended: &Arc<Ended>) -> SyncJob {
    SyncJob {
        storages: Sides::new(
            Arc::new(world.storages.source.clone()),
            observe(
                Arc::new(world.storages.target.clone()),
                Arc::clone(ended) as _,
            ),
        ),
        ..world.job(World::options(Direction::TwoWay))
    }
}

#[tokio::test]
async fn it_runs_until_it_is_stopped_and_can_start_again() {
    let world = World::new();
    let ended = Arc::new(Ended::default());
    world.storages.source.write_file("both", "one").unwrap();
    world.storages.target.write_file("both", "two").unwrap();
    world.storages.source.write_file("new", "1").unwrap();
    let syncer = General::create(job(&world, &ended));
    assert!(!syncer.is_running());
    syncer.stop_sync().await.unwrap();

    for round in 0..2 {
        syncer.start_sync().await.unwrap();
        assert!(syncer.is_running());
        let error = syncer.start_sync().await.unwrap_err();
        assert!(error.desc.contains("runs already"), "{error}");
        ended.0.notified().await;
        syncer.stop_sync().await.unwrap();
        assert!(!syncer.is_running(), "round {round}");
        let conflicts: Vec<_> = syncer
            .iter_conflicts()
            .map(|conflict| conflict.path)
            .collect();
        assert_eq!(conflicts, ["both"]);
    }
    assert!(world.storages.target.read_file("new").is_some());
}

#[tokio::test]
async fn a_refused_run_is_one_of_its_errors() {
    let world = World::new();
    world.storages.target.set_available(false);
    let syncer = General::create(job(&world, &Arc::default()));
    let error = syncer.one_shot_sync().await.unwrap_err();
    let errors: Vec<_> = syncer.iter_errors().collect();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].reason, error.desc);
}

/// A job that polls, and what it tells.
fn told(world: &World) -> (SyncJob, mpsc::Receiver<News>) {
    let (tell, news) = mpsc::channel(1);
    let job = SyncJob {
        poll: Sides::from_fn(|_| Some(Duration::from_secs(60))),
        news: NewsSender::to(tell),
        ..world.job(World::options(Direction::TwoWay))
    };
    (job, news)
}

/// The report of the next look.
async fn looked(news: &mut mpsc::Receiver<News>) -> RunReport {
    loop {
        match news.recv().await.unwrap() {
            News::Looked(report) => return *report,
            News::Ended(error) => panic!("ended: {error}"),
            News::Panicked(fault) => panic!("{fault}"),
            News::Watching(_) | News::Looking | News::Pending(_) | News::Silent(_) => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_changes_later_arrives_at_the_next_look() {
    let world = World::new();
    let (job, mut news) = told(&world);
    let progress = Arc::clone(&job.progress);
    let syncer = General::create(job);
    syncer.start_sync().await.unwrap();
    let Some(News::Watching(health)) = news.recv().await else {
        panic!("how it is watched comes first")
    };
    assert_eq!(health.source.worst_delay, Duration::from_secs(60));
    assert_eq!(looked(&mut news).await.changes, Sides::default());
    for name in ["a", "b"] {
        world.storages.source.write_file(name, name).unwrap();
        // Told while the look goes on, once a look.
        progress.found_work().await;
        let report = looked(&mut news).await;
        assert_eq!(report.changes.target.created, 1);
        assert!(world.storages.target.read_file(name).is_some());
    }
    syncer.stop_sync().await.unwrap();
    drop(syncer);
    assert!(news.recv().await.is_none(), "nothing is told after the end");
}

/// One look is for both sides, however their polls came to lie.
#[tokio::test(start_paused = true)]
async fn two_sides_that_poll_are_looked_at_once_an_interval() {
    let world = World::new();
    let (job, mut news) = told(&world);
    let syncer = General::create(job);
    syncer.start_sync().await.unwrap();
    looked(&mut news).await;
    let began = tokio::time::Instant::now();
    for _ in 0..10 {
        looked(&mut news).await;
    }
    assert!(began.elapsed() >= Duration::from_secs(600));
    syncer.stop_sync().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_look_that_fails_as_a_whole_ends_the_run_and_says_why() {
    let world = World::new();
    let (job, mut news) = told(&world);
    let syncer = General::create(job);
    syncer.start_sync().await.unwrap();
    looked(&mut news).await;
    world.storages.target.set_available(false);
    let error = loop {
        match news.recv().await.unwrap() {
            News::Ended(error) => break error,
            News::Looking => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(error.class, SyncErrorClass::RootUnavailable);
    let errors: Vec<_> = syncer.iter_errors().collect();
    assert_eq!(errors[0].reason, error.desc);
    // It can be started again once the storage is back.
    syncer.stop_sync().await.unwrap();
    world.storages.target.set_available(true);
    syncer.start_sync().await.unwrap();
    assert!(syncer.is_running());
    syncer.stop_sync().await.unwrap();
}

/// Somebody wrote to what was displaced, and nothing else changes any more: the end of the session finds it.
#[tokio::test(start_paused = true)]
async fn a_late_version_is_told_when_the_job_comes_to_rest() {
    let world = World::new();
    world.storages.source.write_file("bad", "one").unwrap();
    let (mut job, mut news) = told(&world);
    let refuses = Arc::new(Refuses(Operation::Stage, false.into()));
    job.storages.target = observe(job.storages.target, Arc::clone(&refuses) as _);
    let syncer = General::create(job);
    syncer.start_sync().await.unwrap();
    looked(&mut news).await;
    // What failed is tried again there, and only there.
    refuses.1.store(true, SeqCst);
    world.storages.source.write_file("bad", "two").unwrap();
    while looked(&mut news).await.problems.is_empty() {}
    refuses.1.store(false, SeqCst);
    while looked(&mut news).await.changes.target.updated == 0 {}
    let target = &world.storages.target;
    let thrown = target.trash_list().await.unwrap().remove(0);
    target.write_to_trash(&thrown.id, "late").unwrap();
    let began = tokio::time::Instant::now();
    let report = looked(&mut news).await;
    assert_eq!(report.result, Outcome::Conflicts);
    assert_eq!(report.conflicts.len(), 1, "{report:?}");
    assert!(began.elapsed() < Duration::from_secs(10));
    syncer.stop_sync().await.unwrap();
}

/// A fault in a program: a panic where a session ends.
#[derive(Debug)]
struct Fault;

impl Observer for Fault {
    fn after(&self, call: &Call) -> wl_core::storage::Result<()> {
        assert!(call.operation != Operation::Finish, "boom");
        Ok(())
    }
}

#[tokio::test]
async fn a_panic_ends_the_run_and_is_told() {
    let world = World::new();
    let (mut job, mut news) = told(&world);
    job.storages.target = observe(job.storages.target, Arc::new(Fault));
    let syncer = General::create(job);
    syncer.start_sync().await.unwrap();
    let fault = loop {
        match news.recv().await.unwrap() {
            News::Panicked(fault) => break fault,
            News::Watching(_) | News::Looking | News::Pending(_) | News::Silent(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(fault.contains("boom"), "{fault}");
    let error = syncer.stop_sync().await.unwrap_err();
    assert!(error.desc.contains("boom"), "{error}");
    assert!(!syncer.is_running());
}

/// Fails the files whose names begin with its name, in this operation.
#[derive(Debug)]
struct Refuses(Operation, std::sync::atomic::AtomicBool);

impl Observer for Refuses {
    fn before(&self, call: &Call) -> wl_core::storage::Result<()> {
        let path = call.path.as_ref().map_or("", |path| path.as_str());
        let on = self.1.load(std::sync::atomic::Ordering::SeqCst);
        if on && call.operation == self.0 && path.starts_with("bad") {
            let kind = wl_core::storage::ErrorKind::Full;
            return Err(wl_core::storage::StorageError::new(kind, "stage", "full"));
        }
        Ok(())
    }
}

/// A file of this size that cannot be written is told at every look, and read ever more seldom.
async fn fails_again_and_again(operation: Operation, size: usize) {
    let world = World::new();
    let write = |path: &str, with: u8| {
        let content = vec![with; size];
        world.storages.source.write_file(path, content).unwrap();
        world.storages.source.pass_time(Duration::from_secs(60));
    };
    write("bad", 1);
    write("good", 2);
    let refuses = Arc::new(Refuses(operation, true.into()));
    let (mut job, mut news) = told(&world);
    job.poll = Sides::from_fn(|_| Some(Duration::from_secs(10)));
    job.storages.target = observe(job.storages.target, Arc::clone(&refuses) as _);
    let syncer = General::create(job);
    syncer.start_sync().await.unwrap();
    let mut read = 0;
    for look in 0..180 {
        let report = looked(&mut news).await;
        assert_eq!(report.problems.len(), 1, "{operation:?} {look}");
        assert_eq!(report.problems[0].reason, "full");
        read += report.bytes.read;
    }
    assert!(world.storages.target.read_file("good").is_some());
    let times = read / size as u64;
    assert!(
        (5..=11).contains(&times),
        "{operation:?}: {times} in 30 min"
    );

    // Another version is tried at once, and so is everything when somebody lets the job rest and go on.
    write("bad", 3);
    assert!(looked(&mut news).await.bytes.read >= size as u64);
    assert_eq!(looked(&mut news).await.problems.len(), 1);
    syncer.stop_sync().await.unwrap();
    refuses.1.store(false, std::sync::atomic::Ordering::SeqCst);
    syncer.start_sync().await.unwrap();
    while !looked(&mut news).await.problems.is_empty() {}
    assert!(world.storages.target.read_file("bad").is_some());
    syncer.stop_sync().await.unwrap();
}

/// Somebody goes on writing to a file, whenever it is read.
#[derive(Debug)]
struct Writes(MemoryBackend, AtomicUsize);

/// The times that it is written.
const WRITES: usize = 30;

impl Observer for Writes {
    fn before(&self, call: &Call) -> wl_core::storage::Result<()> {
        let reads = [Operation::Read, Operation::ReadSmall];
        if reads.contains(&call.operation)
            && call
                .path
                .as_ref()
                .is_some_and(|path| path.as_str() == "growing")
            && self.1.load(SeqCst) < WRITES
        {
            let times = self.1.fetch_add(1, SeqCst) + 1;
            self.0.write_file("growing", "x".repeat(times)).unwrap();
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_being_written_to_waits_and_is_no_problem() {
    let world = World::new();
    world.storages.source.write_file("growing", "").unwrap();
    let (mut job, mut news) = told(&world);
    job.poll = Sides::from_fn(|_| Some(Duration::from_secs(3600)));
    let writes = Writes(world.storages.source.clone(), AtomicUsize::new(0));
    let writes = Arc::new(writes);
    job.storages.source = observe(job.storages.source, Arc::clone(&writes) as _);
    let syncer = General::create(job);
    syncer.start_sync().await.unwrap();
    let mut waits = Vec::new();
    loop {
        match news.recv().await.unwrap() {
            News::Pending(pending) => waits = pending.first,
            News::Looked(report) => {
                assert_eq!(report.problems, [], "{report:?}");
                if waits.is_empty() {
                    break;
                }
                assert_eq!(waits, [SyncPath::new("growing").unwrap()]);
            }
            _ => {}
        }
    }
    assert_eq!(writes.1.load(SeqCst), WRITES, "told as done before it was");
    let there = world.storages.target.read_file("growing").unwrap();
    assert_eq!(there.len(), WRITES);
    syncer.stop_sync().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_written_is_not_read_at_every_look() {
    for (operation, size) in [
        (Operation::Stage, 5),
        (Operation::Replace, 5),
        (Operation::WriterFinish, 1 << 20),
        (Operation::Replace, 1 << 20),
    ] {
        fails_again_and_again(operation, size).await;
    }
}

/// What could not be removed is not lost, however often it was tried.
#[tokio::test(start_paused = true)]
async fn a_removal_that_fails_again_and_again_does_not_use_up_the_budget() {
    let world = World::new();
    let refuses = Arc::new(Refuses(Operation::Remove, true.into()));
    world.storages.target.write_file("bad", "1").unwrap();
    let (mut job, mut news) = told(&world);
    job.options.direction = Direction::Mirror;
    job.poll = Sides::from_fn(|_| Some(Duration::from_secs(10)));
    job.storages.target = observe(job.storages.target, Arc::clone(&refuses) as _);
    let syncer = General::create(job);
    syncer.start_sync().await.unwrap();
    for _ in 0..60 {
        assert_eq!(looked(&mut news).await.problems.len(), 1);
    }
    refuses.1.store(false, std::sync::atomic::Ordering::SeqCst);
    while looked(&mut news).await.changes.target.removed == 0 {}
    syncer.stop_sync().await.unwrap();
}

/// What is agreed by then is not waited for.
#[tokio::test(start_paused = true)]
async fn what_waits_is_still_compared() {
    let world = World::new();
    world.storages.source.write_file("bad", "1").unwrap();
    let refuses = Arc::new(Refuses(Operation::Stage, true.into()));
    let (mut job, mut news) = told(&world);
    job.storages.target = observe(job.storages.target, refuses);
    let syncer = General::create(job);
    syncer.start_sync().await.unwrap();
    assert_eq!(looked(&mut news).await.problems.len(), 1);
    world.storages.target.write_file("bad", "1").unwrap();
    assert_eq!(looked(&mut news).await.problems.len(), 0);
    syncer.stop_sync().await.unwrap();
}

/// Notes whether work was told of when a removal, or the rename of a folder, is asked for.
#[derive(Debug)]
struct ToldFirst(Arc<Progress>, AtomicBool);

impl Observer for ToldFirst {
    fn before(&self, call: &Call) -> wl_core::storage::Result<()> {
        if matches!(call.operation, Operation::Remove | Operation::Rename) {
            let told = self.0.found_work().now_or_never().is_some();
            self.1.store(told, Relaxed);
        }
        Ok(())
    }
}

/// What is to be taken away is work before it is done: nobody is told meanwhile that both are in sync.
#[tokio::test(start_paused = true)]
async fn a_removal_is_work_before_it_is_done() {
    let world = World::new();
    for name in ["a", "b"] {
        world.storages.source.write_file(name, name).unwrap();
    }
    let (mut job, mut news) = told(&world);
    let told = Arc::new(ToldFirst(Arc::clone(&job.progress), AtomicBool::default()));
    job.storages.target = observe(job.storages.target, Arc::clone(&told) as _);
    let syncer = General::create(job);
    syncer.start_sync().await.unwrap();
    looked(&mut news).await;
    told.0.found_work().await;
    world.storages.source.remove("a").unwrap();
    assert_eq!(looked(&mut news).await.changes.target.removed, 1);
    assert!(told.1.load(Relaxed));
    syncer.stop_sync().await.unwrap();
}

#[tokio::test]
async fn a_folder_that_is_renamed_is_work_before_it_is() {
    let world = World::new();
    world.storages.source.write_file("d/f", "1").unwrap();
    let mut job = world.job(World::options(Direction::TwoWay));
    let progress = Arc::clone(&job.progress);
    let told = Arc::new(ToldFirst(Arc::clone(&progress), AtomicBool::default()));
    job.storages.target = observe(job.storages.target, Arc::clone(&told) as _);
    let mut looks = Looks::new(job, "test");
    looks.look(Area::Everything).await.unwrap();
    progress.found_work().await;
    progress.restart();
    world.storages.source.rename("d", "e").unwrap();
    let looked = looks.look(area(&["d", "e"])).await.unwrap();
    assert_eq!(looked.report.unwrap().changes.target.renamed, 1);
    assert!(told.1.load(Relaxed));
}

/// Who tells of it may have no other thread than the look, which waits for nothing for as long as it only compares.
#[tokio::test]
async fn work_is_told_of_long_before_all_of_it_was_found() {
    const FILES: u64 = 3000;
    let world = World::new();
    let source = &world.storages.source;
    for number in 0..FILES {
        for folder in ["d", "e"] {
            let path = format!("{folder}/{folder}{number}");
            source.write_file(&path, path.clone()).unwrap();
        }
    }
    let job = world.job(World::options(Direction::TwoWay));
    let progress = Arc::clone(&job.progress);
    let mut looks = Looks::new(job, "test");
    looks.look(Area::Everything).await.unwrap();
    progress.found_work().await;
    progress.restart();
    let told = tokio::spawn(async move {
        progress.found_work().await;
        progress.view().seen
    });
    for (from, to) in [("d", "t"), ("e", "d"), ("t", "e")] {
        assert!(source.rename(from, to).unwrap());
    }
    looks.look(area(&["d", "e", "t"])).await.unwrap();
    let seen = told.await.unwrap();
    assert!(seen < FILES / 4, "told after {seen} paths");
    assert_eq!(read(source), read(&world.storages.target));
}
