//! A run that dies after it published files and before it recorded that: who edits them next makes no conflict.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use wl_core::model::{Direction, Outcome, RunReport, Side, Sides};
use wl_core::storage::{ErrorKind, StorageError};
use wl_core::sync::{SyncJob, SyncOptions, one_shot};
use wl_core::testing::{Call, Observer, Operation, observe};

use crate::world::{World, read};

const FILES: usize = 300;

/// The process dies before the call of this number, counted from 1, or after it.
#[derive(Debug)]
struct Dies {
    operation: Operation,
    number: usize,
    after: bool,
    calls: AtomicUsize,
}

impl Dies {
    fn strikes(&self, call: &Call, after: bool) {
        let counted = call.operation == self.operation && after == self.after;
        if counted && self.calls.fetch_add(1, SeqCst) + 1 >= self.number {
            panic!("the process dies at {call:?}");
        }
    }
}

impl Observer for Dies {
    fn before(&self, call: &Call) -> wl_core::storage::Result<()> {
        self.strikes(call, false);
        Ok(())
    }

    fn after(&self, call: &Call) -> wl_core::storage::Result<()> {
        self.strikes(call, true);
        Ok(())
    }
}

/// A run that dies. Nothing that it does afterwards reaches the storages or the baseline.
async fn dies(job: SyncJob, operation: Operation, number: usize, after: bool) {
    let dies = Arc::new(Dies {
        operation,
        number,
        after,
        calls: AtomicUsize::new(0),
    });
    let mut job = job;
    job.storages = job
        .storages
        .map(|storage| observe(storage, Arc::clone(&dies) as _));
    let run = tokio::spawn(async move { one_shot(job, "test").await });
    let done = run.await;
    let calls = dies.calls.load(SeqCst);
    assert!(calls >= number, "it lives: {calls} of {number}, {done:?}");
}

/// Dies when all is published and nothing is recorded: at the flush before the record. A flush is a call a side that is written to.
async fn dies_unrecorded(world: &World, options: SyncOptions) {
    let sides = match options.direction {
        Direction::TwoWay => 2,
        _ => 1,
    };
    dies(world.job(options), Operation::Flush, sides + 1, false).await;
}

fn two_way() -> SyncOptions {
    World::options(Direction::TwoWay)
}

fn name(number: usize) -> String {
    format!("folder{}/file{number}", number % 7)
}

fn write_all(world: &World, side: Side, what: &str) {
    for number in 0..FILES {
        let content = format!("{what} {number}");
        world.storages[side]
            .write_file(&name(number), content)
            .unwrap();
    }
}

#[track_caller]
fn all_hold(world: &World, what: &str) {
    for side in Side::BOTH {
        for number in 0..FILES {
            let found = world.storages[side].read_file(&name(number)).unwrap();
            assert_eq!(
                found,
                format!("{what} {number}").as_bytes(),
                "{side} {number}"
            );
        }
    }
}

fn note(world: &World) -> PathBuf {
    let dir = world.job(two_way()).state_dir;
    let mut files = std::fs::read_dir(dir).unwrap().map(|it| it.unwrap().path());
    let is_note = |path: &PathBuf| path.extension().is_some_and(|end| end == "db-announced");
    files.find(is_note).unwrap()
}

#[track_caller]
fn is_synced(report: &RunReport) {
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(report.drift, [], "{report:?}");
}

async fn at_rest(world: &World, direction: Direction) {
    let report = world.sync(direction).await;
    assert_eq!(report.changes, Sides::default(), "{report:?}");
    assert_eq!(std::fs::read(note(world)).unwrap(), b"", "it is settled");
}

/// Published to the side that is not `from`, and not recorded: of new files, or of edited ones.
async fn published(from: Side, new: bool) -> World {
    let world = World::new();
    world.storages.source.write_file("always", "there").unwrap();
    if !new {
        write_all(&world, Side::Source, "agreed");
    }
    is_synced(&world.sync(Direction::TwoWay).await);
    write_all(&world, from, "published");
    dies_unrecorded(&world, two_way()).await;
    all_hold(&world, "published");
    world
}

#[tokio::test]
async fn an_edit_of_what_was_published_and_not_recorded_is_no_conflict() {
    for (from, new) in [
        (Side::Source, true),
        (Side::Source, false),
        (Side::Target, true),
        (Side::Target, false),
    ] {
        let world = published(from, new).await;
        write_all(&world, from, "edited");
        is_synced(&world.sync(Direction::TwoWay).await);
        all_hold(&world, "edited");
        at_rest(&world, Direction::TwoWay).await;
    }
}

#[tokio::test]
async fn a_link_that_became_a_file_and_is_edited_next_is_no_conflict() {
    let world = World::new();
    let Sides { source, target } = &world.storages;
    source.make_link("was", "there").unwrap();
    is_synced(&world.sync(Direction::TwoWay).await);
    source.remove("was").unwrap();
    source.write_file("was", "published").unwrap();
    dies_unrecorded(&world, two_way()).await;
    assert_eq!(target.read_file("was").unwrap(), "published");
    source.write_file("was", "edited").unwrap();
    is_synced(&world.sync(Direction::TwoWay).await);
    assert_eq!(target.read_file("was").unwrap(), "edited");
    at_rest(&world, Direction::TwoWay).await;
}

/// Of the same size: then both have to be read to find out.
#[tokio::test]
async fn nor_is_one_that_shows_in_the_content_only() {
    let world = published(Side::Source, true).await;
    write_all(&world, Side::Source, "PUBLISHED");
    is_synced(&world.sync(Direction::TwoWay).await);
    all_hold(&world, "PUBLISHED");
}

#[tokio::test]
async fn what_goes_back_to_what_was_agreed_on_is_an_edit() {
    let world = published(Side::Source, false).await;
    write_all(&world, Side::Source, "agreed");
    is_synced(&world.sync(Direction::TwoWay).await);
    all_hold(&world, "agreed");
}

#[tokio::test]
async fn the_other_sides_own_edit_is_a_conflict_as_ever() {
    for new in [true, false] {
        let world = published(Side::Source, new).await;
        write_all(&world, Side::Source, "edited");
        let own = "the target's own";
        world.storages.target.write_file(&name(3), own).unwrap();
        let before = world.storages.source.read_file(&name(3)).unwrap();
        let report = world.sync(Direction::TwoWay).await;
        let paths: Vec<_> = report.conflicts.iter().map(|it| it.path.clone()).collect();
        assert_eq!(paths, [name(3)]);
        assert_eq!(report.changes.target.updated as usize, FILES - 1);
        let Sides { source, target } = &world.storages;
        assert_eq!(target.read_file(&name(3)).unwrap(), own.as_bytes());
        assert_eq!(source.read_file(&name(3)).unwrap(), before);
    }
}

/// If only the target edits, nobody can tell its version from one that was there before anything was published.
#[tokio::test]
async fn the_other_sides_edit_alone_is_decided_as_without_a_note() {
    let world = published(Side::Source, false).await;
    let own = "the target's own";
    world.storages.target.write_file(&name(3), own).unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.conflicts.len(), 1, "{report:?}");
    for side in Side::BOTH {
        let found = world.storages[side].read_file(&name(3)).unwrap();
        let wanted = ["published 3", own][usize::from(side == Side::Target)];
        assert_eq!(found, wanted.as_bytes());
    }
}

/// A removal needs what is recorded: nothing is lost, and what was removed comes back.
#[tokio::test]
async fn nothing_is_removed_for_a_note() {
    for (new, side) in [
        (true, Side::Source),
        (false, Side::Source),
        (true, Side::Target),
    ] {
        let world = published(Side::Source, new).await;
        assert!(world.storages[side].remove(&name(3)).unwrap());
        is_synced(&world.sync(Direction::TwoWay).await);
        all_hold(&world, "published");
    }
}

#[tokio::test]
async fn one_way_and_mirror_follow_the_source() {
    for direction in [Direction::OneWay, Direction::Mirror] {
        for new in [true, false] {
            let world = World::new();
            world.storages.source.write_file("always", "there").unwrap();
            if !new {
                write_all(&world, Side::Source, "agreed");
            }
            is_synced(&world.sync(direction).await);
            write_all(&world, Side::Source, "published");
            dies_unrecorded(&world, World::options(direction)).await;
            all_hold(&world, "published");
            write_all(&world, Side::Source, "edited");
            is_synced(&world.sync(direction).await);
            all_hold(&world, "edited");
            at_rest(&world, direction).await;
        }
    }
}

/// A later run one way never writes to the source, whatever an earlier one was about to do.
#[tokio::test]
async fn one_way_leaves_what_the_target_went_on_with() {
    let world = published(Side::Target, true).await;
    write_all(&world, Side::Target, "edited");
    let report = world.sync(Direction::OneWay).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!((report.drift.len(), report.conflicts.len()), (FILES, 0));
    assert_eq!(report.changes, Sides::default());
}

#[tokio::test]
async fn the_pair_is_one_whichever_is_the_source() {
    let world = published(Side::Source, true).await;
    write_all(&world, Side::Source, "edited");
    let mut job = world.job(two_way());
    let Sides { source, target } = job.storages;
    job.storages = Sides::new(target, source);
    is_synced(&one_shot(job, "test").await.unwrap());
    all_hold(&world, "edited");
}

#[tokio::test]
async fn a_dry_run_in_between_says_so_and_settles_nothing() {
    let world = published(Side::Source, true).await;
    write_all(&world, Side::Source, "edited");
    let mut dry = two_way();
    dry.dry_run = true;
    for _ in 0..2 {
        let report = world.run(dry.clone()).await.unwrap();
        assert_eq!(report.conflicts, []);
        assert_eq!(report.changes.target.updated as usize, FILES);
    }
    is_synced(&world.sync(Direction::TwoWay).await);
    all_hold(&world, "edited");
}

#[tokio::test]
async fn without_the_note_it_is_a_conflict_and_nothing_is_lost() {
    for note_is in [None, Some("rubbish")] {
        let world = published(Side::Source, true).await;
        match note_is {
            None => std::fs::remove_file(note(&world)).unwrap(),
            Some(text) => std::fs::write(note(&world), text).unwrap(),
        }
        write_all(&world, Side::Source, "edited");
        let report = world.sync(Direction::TwoWay).await;
        assert_eq!(report.conflicts.len(), FILES);
        assert_eq!(report.changes, Sides::default());
    }
}

/// Killed at any moment, again and again, while one side is edited all the time.
#[tokio::test]
async fn however_often_it_dies_only_one_side_was_edited() {
    for (operation, after) in [
        (Operation::Replace, false),
        (Operation::Replace, true),
        (Operation::Flush, false),
        (Operation::Flush, true),
    ] {
        let world = World::new();
        world.storages.source.write_file("always", "there").unwrap();
        is_synced(&world.sync(Direction::TwoWay).await);
        for turn in 0..6 {
            write_all(&world, Side::Source, &format!("turn {turn}"));
            let number = match operation {
                Operation::Replace => 1 + turn * FILES / 6,
                _ => 2 + turn % 2,
            };
            dies(world.job(two_way()), operation, number, after).await;
        }
        write_all(&world, Side::Source, "the last");
        is_synced(&world.sync(Direction::TwoWay).await);
        all_hold(&world, "the last");
        at_rest(&world, Direction::TwoWay).await;
    }
}

#[tokio::test]
async fn a_renamed_file_that_is_edited_next_is_no_conflict() {
    let world = World::new();
    write_all(&world, Side::Source, "agreed");
    is_synced(&world.sync(Direction::TwoWay).await);
    let source = &world.storages.source;
    assert!(source.rename(&name(3), "new").unwrap());
    dies(world.job(two_way()), Operation::Rename, 1, true).await;
    assert!(read(&world.storages.target).contains_key("new"), "renamed");
    source.write_file("new", "edited").unwrap();
    is_synced(&world.sync(Direction::TwoWay).await);
    let target = &world.storages.target;
    assert_eq!(target.read_file("new").unwrap(), "edited".as_bytes());
    assert_eq!(target.read_file(&name(3)), None);
    assert_eq!(read(source), read(target));
}

/// A step of a group is published like any batch.
#[tokio::test]
async fn a_database_that_goes_on_is_no_conflict() {
    let world = World::new();
    let Sides { source, target } = &world.storages;
    source.write_file("x.db", "SQLite format 3\0 one").unwrap();
    source.write_file("always", "there").unwrap();
    is_synced(&world.sync(Direction::TwoWay).await);
    source.write_file("x.db", "SQLite format 3\0 two").unwrap();
    dies(world.job(two_way()), Operation::Replace, 1, true).await;
    let arrived = target.read_file("x.db").unwrap();
    assert_eq!(arrived, "SQLite format 3\0 two".as_bytes());
    source
        .write_file("x.db", "SQLite format 3\0 three")
        .unwrap();
    is_synced(&world.sync(Direction::TwoWay).await);
    assert_eq!(read(source), read(target));
}

/// What could not be decided by the next run is decided by the one after it.
#[derive(Debug)]
struct CannotRead(String);

impl Observer for CannotRead {
    fn before(&self, call: &Call) -> wl_core::storage::Result<()> {
        let reads = [Operation::ReadSmall, Operation::Hash];
        let here = call.path.as_ref().is_some_and(|at| at.as_str() == self.0);
        match here && reads.contains(&call.operation) {
            true => Err(StorageError::new(ErrorKind::Denied, "test", "as planned")),
            false => Ok(()),
        }
    }
}

#[tokio::test]
async fn a_path_with_trouble_is_remembered() {
    let world = published(Side::Source, true).await;
    write_all(&world, Side::Source, "edited");
    let observer: Arc<dyn Observer> = Arc::new(CannotRead(name(3)));
    let around = |_, storage| observe(storage, Arc::clone(&observer));
    let report = world.run_over(two_way(), around).await.unwrap();
    assert_eq!(report.problems.len(), 1, "{report:?}");
    assert_eq!(report.conflicts, []);
    is_synced(&world.sync(Direction::TwoWay).await);
    all_hold(&world, "edited");
    at_rest(&world, Direction::TwoWay).await;
}
