//! A run that dies after it published files, or removed some, and before it recorded that: who goes on with them makes no conflict, and
//! what he removes does not come back.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use wl_core::model::{Direction, Outcome, RunReport, Side, Sides, SyncPath};
use wl_core::storage::{Area, ErrorKind, RootMarker, StorageError};
use wl_core::sync::{DeleteBudget, Looks, SyncJob, SyncOptions, one_shot};
use wl_core::testing::{Call, Observer, Operation, observe};

use crate::moves::area;
use crate::world::{World, read};

const FILES: usize = 300;
/// So many of them are in `folder5`.
const IN_FOLDER_5: usize = 43;

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

/// With the guards that the others do without.
fn guarded() -> SyncOptions {
    SyncOptions::new(Direction::TwoWay)
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
    let note = std::fs::read(note(world)).unwrap();
    assert!(note.is_empty(), "{}", String::from_utf8_lossy(&note));
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

/// Removes a folder with all that is in it, as its user does.
fn remove_tree(world: &World, side: Side, folder: &str) {
    assert!(world.storages[side].remove(folder).unwrap(), "{folder}");
}

#[tokio::test]
async fn what_is_removed_after_a_kill_does_not_come_back() {
    for (from, new) in [
        (Side::Source, true),
        (Side::Source, false),
        (Side::Target, true),
        (Side::Target, false),
    ] {
        let world = published(from, new).await;
        assert!(world.storages[from].remove(&name(3)).unwrap());
        remove_tree(&world, from, "folder5");
        let report = world.sync(Direction::TwoWay).await;
        is_synced(&report);
        let Sides { source, target } = &world.storages;
        assert_eq!(read(source), read(target));
        assert!(!read(source).contains_key("folder5"));
        assert_eq!(source.read_file(&name(3)), None);
        assert!(source.read_file(&name(4)).is_some());
        assert_eq!(report.changes[from].total(), 0, "{report:?}");
        at_rest(&world, Direction::TwoWay).await;
    }
}

/// The side that was published to may never have had it: what is not there says nothing.
#[tokio::test]
async fn what_the_other_side_removed_after_a_kill_comes_back() {
    let world = published(Side::Source, true).await;
    assert!(world.storages.target.remove(&name(3)).unwrap());
    is_synced(&world.sync(Direction::TwoWay).await);
    all_hold(&world, "published");
}

/// It may be content that was there before and nobody else had: only what was announced goes.
#[tokio::test]
async fn what_the_other_side_wrote_stays() {
    let world = published(Side::Source, true).await;
    let Sides { source, target } = &world.storages;
    let own = "the target's own";
    target.write_file(&name(3), own).unwrap();
    target.write_file("folder5/own", own).unwrap();
    assert!(source.remove(&name(3)).unwrap());
    remove_tree(&world, Side::Source, "folder5");
    is_synced(&world.sync(Direction::TwoWay).await);
    for side in [source, target] {
        assert_eq!(side.read_file(&name(3)).unwrap(), own.as_bytes());
        assert_eq!(side.read_file("folder5/own").unwrap(), own.as_bytes());
        assert_eq!(side.read_file(&name(5)), None);
    }
    at_rest(&world, Direction::TwoWay).await;
}

/// Killed before anything was published: what the target has is what it had.
#[tokio::test]
async fn what_was_announced_and_not_published_is_nothing() {
    let world = World::new();
    let Sides { source, target } = &world.storages;
    source.write_file("always", "there").unwrap();
    source.write_file("a", "agreed").unwrap();
    is_synced(&world.sync(Direction::TwoWay).await);
    source.write_file("a", "edited").unwrap();
    source.write_file("b", "new").unwrap();
    dies(world.job(two_way()), Operation::Replace, 1, false).await;
    assert_eq!(target.read_file("a").unwrap(), "agreed".as_bytes());
    target.write_file("b", "the target's own").unwrap();
    for path in ["a", "b"] {
        assert!(source.remove(path).unwrap());
    }
    is_synced(&world.sync(Direction::TwoWay).await);
    assert_eq!(target.read_file("a"), None, "nobody had changed it there");
    assert_eq!(source.read_file("b").unwrap(), "the target's own");
    assert_eq!(read(source), read(target));
    at_rest(&world, Direction::TwoWay).await;
}

/// A storage that may have lost something by itself: what is missing there comes back from the other.
#[tokio::test]
async fn what_a_storage_may_have_lost_comes_back() {
    for start in [Some("another"), None] {
        let world = published(Side::Source, true).await;
        let Sides { source, target } = &world.storages;
        source.set_root_marker(RootMarker {
            start: start.map(str::to_owned),
            ..RootMarker::default()
        });
        assert!(source.remove(&name(3)).unwrap());
        remove_tree(&world, Side::Source, "folder5");
        source.write_file(&name(4), "edited").unwrap();
        is_synced(&world.sync(Direction::TwoWay).await);
        assert_eq!(
            source.read_file(&name(3)).unwrap(),
            b"published 3".as_slice()
        );
        assert_eq!(
            source.read_file(&name(5)).unwrap(),
            b"published 5".as_slice()
        );
        assert_eq!(
            target.read_file(&name(4)).unwrap(),
            "edited",
            "an edit is none"
        );
        assert_eq!(read(source), read(target));
    }
}

/// A run that fails by itself may fail for what made a storage lose something.
#[tokio::test]
async fn what_a_run_that_failed_published_comes_back() {
    let world = World::new();
    world.storages.source.write_file("always", "there").unwrap();
    is_synced(&world.sync(Direction::TwoWay).await);
    write_all(&world, Side::Source, "published");
    let observer: Arc<dyn Observer> = Arc::new(CannotFlush(AtomicUsize::new(0)));
    let around = |_, storage| observe(storage, Arc::clone(&observer));
    let report = world.run_over(two_way(), around).await.unwrap();
    assert!(report.error.is_some(), "{report:?}");
    all_hold(&world, "published");
    assert!(world.storages.source.remove(&name(3)).unwrap());
    is_synced(&world.sync(Direction::TwoWay).await);
    all_hold(&world, "published");
}

/// All flushes fail but those before anything is published.
#[derive(Debug)]
struct CannotFlush(AtomicUsize);

impl Observer for CannotFlush {
    fn before(&self, call: &Call) -> wl_core::storage::Result<()> {
        match call.operation {
            Operation::Flush if self.0.fetch_add(1, SeqCst) >= 2 => {
                let error = StorageError::new(ErrorKind::Unavailable, "flush", "as planned");
                Err(error)
            }
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn a_change_of_type_after_a_kill_is_no_conflict() {
    for from in Side::BOTH {
        let world = published(from, true).await;
        let on = &world.storages[from];
        // A file became a folder, and a folder a file.
        assert!(on.remove(&name(3)).unwrap());
        on.write_file(&format!("{}/inside", name(3)), "new")
            .unwrap();
        remove_tree(&world, from, "folder5");
        on.write_file("folder5", "a file").unwrap();
        is_synced(&world.sync(Direction::TwoWay).await);
        let Sides { source, target } = &world.storages;
        assert_eq!(read(source), read(target));
        assert_eq!(source.read_file("folder5").unwrap(), "a file");
        let inside = source.read_file(&format!("{}/inside", name(3)));
        assert_eq!(inside.unwrap(), "new");
        at_rest(&world, Direction::TwoWay).await;
    }
}

/// Of another content of one size, so that it has to be read before anything inside the folder is decided.
#[tokio::test]
async fn a_change_of_type_where_the_other_side_wrote_is_a_conflict() {
    let world = published(Side::Source, true).await;
    let Sides { source, target } = &world.storages;
    target.write_file(&name(3), "PUBLISHED 3").unwrap();
    assert!(source.remove(&name(3)).unwrap());
    source
        .write_file(&format!("{}/inside", name(3)), "new")
        .unwrap();
    let report = world.sync(Direction::TwoWay).await;
    let paths: Vec<_> = report.conflicts.iter().map(|it| it.path.clone()).collect();
    assert_eq!(paths, [name(3)]);
    assert_eq!(target.read_file(&name(3)).unwrap(), "PUBLISHED 3");
}

/// Removed on both sides and not recorded: who makes it anew, as it was, has not removed it.
#[tokio::test]
async fn what_is_made_anew_after_a_kill_stays() {
    for from in Side::BOTH {
        // Behind the first file, behind the last, and behind the folder.
        for number in [1, IN_FOLDER_5, IN_FOLDER_5 + 1] {
            let world = World::new();
            write_all(&world, from, "agreed");
            is_synced(&world.sync(Direction::TwoWay).await);
            remove_tree(&world, from, "folder5");
            dies(world.job(two_way()), Operation::Remove, number, true).await;
            write_all(&world, from, "agreed");
            is_synced(&world.sync(Direction::TwoWay).await);
            all_hold(&world, "agreed");
            at_rest(&world, Direction::TwoWay).await;
        }
    }
}

/// The name that a file had before.
#[tokio::test]
async fn a_file_that_is_renamed_back_after_a_kill_stays() {
    let world = World::new();
    write_all(&world, Side::Source, "agreed");
    is_synced(&world.sync(Direction::TwoWay).await);
    let Sides { source, target } = &world.storages;
    assert!(source.rename(&name(3), "new").unwrap());
    dies(world.job(two_way()), Operation::Rename, 1, true).await;
    assert!(read(target).contains_key("new"), "renamed");
    assert!(source.rename("new", &name(3)).unwrap());
    is_synced(&world.sync(Direction::TwoWay).await);
    all_hold(&world, "agreed");
    assert_eq!(read(source), read(target));
    assert!(!read(source).contains_key("new"));
    at_rest(&world, Direction::TwoWay).await;
}

/// What was done with the note's help is over: the same content in the same place is somebody's own by then.
#[tokio::test]
async fn a_note_does_not_outlive_what_was_done_with_it() {
    let world = published(Side::Source, true).await;
    let Sides { source, target } = &world.storages;
    assert!(source.remove(&name(3)).unwrap());
    remove_tree(&world, Side::Source, "folder5");
    // The files are removed, and that is recorded; the folder is still there.
    let removal = IN_FOLDER_5 + 2;
    dies(world.job(two_way()), Operation::Remove, removal, false).await;
    assert_eq!(
        target.read_file(&name(3)).unwrap_or_default(),
        b"".as_slice()
    );
    assert!(read(target).contains_key("folder5"));
    let again = "published 3";
    target.write_file(&name(3), again).unwrap();
    is_synced(&world.sync(Direction::TwoWay).await);
    for side in [source, target] {
        assert_eq!(side.read_file(&name(3)).unwrap(), again);
    }
}

/// Guards hold as for what is recorded.
#[tokio::test]
async fn a_root_that_is_emptied_after_a_kill_is_refused() {
    let world = World::new();
    write_all(&world, Side::Source, "published");
    dies_unrecorded(&world, two_way()).await;
    all_hold(&world, "published");
    for folder in 0..7 {
        remove_tree(&world, Side::Source, &format!("folder{folder}"));
    }
    let report = world.run(guarded()).await.unwrap();
    assert_eq!(report.error.unwrap().class, "root-emptied");
    assert_eq!(report.changes, Sides::default());
}

#[tokio::test]
async fn the_delete_budget_holds_after_a_kill() {
    let world = World::new();
    write_all(&world, Side::Source, "published");
    dies_unrecorded(&world, two_way()).await;
    for number in (0..FILES).filter(|number| number % 3 > 0) {
        assert!(world.storages.source.remove(&name(number)).unwrap());
    }
    let report = world.run(guarded()).await.unwrap();
    assert_eq!(report.error.unwrap().class, "delete-budget");
    assert_eq!(report.changes, Sides::default());
    // It is a share of all that both sides hold, not of what was recorded before.
    let world = World::new();
    write_all(&world, Side::Source, "published");
    dies_unrecorded(&world, two_way()).await;
    for number in (0..FILES).filter(|number| number % 10 == 0) {
        assert!(world.storages.source.remove(&name(number)).unwrap());
    }
    let report = world.run(guarded()).await.unwrap();
    is_synced(&report);
    assert_eq!(report.changes.target.removed, 30);
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
    // The next run finds the same.
    for _ in 0..2 {
        let report = world.sync(Direction::OneWay).await;
        assert_eq!(report.result, Outcome::Synced, "{report:?}");
        assert_eq!((report.drift.len(), report.conflicts.len()), (FILES, 0));
        assert_eq!(report.changes, Sides::default());
    }
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

/// What had come of a repository comes back, so nothing of it is lost.
#[tokio::test]
async fn a_repository_that_comes_back_does_not_use_up_the_budget() {
    let world = World::new();
    let Sides { source, target } = &world.storages;
    for name in ["always", "other"] {
        source.write_file(name, name).unwrap();
    }
    is_synced(&world.sync(Direction::TwoWay).await);
    for number in 0..30 {
        let object = format!("r/.git/objects/{number}");
        source.write_file(&object, object.as_bytes()).unwrap();
    }
    dies(world.job(two_way()), Operation::Replace, 20, true).await;
    assert!(target.read_file("r/.git/objects/0").is_some());
    // It may have lost something by itself.
    source.set_root_marker(RootMarker::default());
    for name in ["r", "other"] {
        assert!(source.remove(name).unwrap());
    }
    let mut options = two_way();
    options.max_delete = DeleteBudget::Count(1);
    is_synced(&world.run(options).await.unwrap());
    assert_eq!(target.read_file("other"), None);
    assert!(source.read_file("r/.git/objects/0").is_some());
    assert_eq!(read(source), read(target));
}

/// A log came to the source before the run died, and the target's program has put it into the database since.
#[tokio::test]
async fn one_way_leaves_a_log_that_came_to_the_source() {
    let world = World::new();
    let Sides { source, target } = &world.storages;
    source.write_file("x.db", "SQLite format 3\0 one").unwrap();
    is_synced(&world.sync(Direction::TwoWay).await);
    target.write_file("x.db-wal", "two").unwrap();
    dies(world.job(two_way()), Operation::Replace, 1, true).await;
    assert_eq!(source.read_file("x.db-wal").unwrap(), "two");
    target.write_file("x.db", "SQLite format 3\0 two").unwrap();
    target.remove("x.db-wal").unwrap();
    let sides = world.storages.as_ref().map(read);
    for _ in 0..2 {
        let report = world.sync(Direction::OneWay).await;
        assert_eq!(report.result, Outcome::Synced, "{report:?}");
        assert_eq!(report.changes, Sides::default(), "{report:?}");
        let drift = report.drift.iter().map(|drift| drift.path.as_str());
        assert_eq!(drift.collect::<Vec<_>>(), ["x.db", "x.db-wal"]);
        assert_eq!(world.storages.as_ref().map(read), sides);
    }
    is_synced(&world.sync(Direction::TwoWay).await);
    assert_eq!(read(source), sides.target);
    assert_eq!(read(target), sides.target);
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

/// The storage did it, and its answer was lost: who edits the other side before anybody looks again makes no conflict.
#[tokio::test]
async fn an_edit_after_a_lost_answer_is_no_conflict() {
    let contents = [("2", "3"), ("22", "333")];
    let cases = contents.map(|contents| LOST.map(|kind| (contents, kind)));
    for ((first, second), kind) in cases.into_iter().flatten() {
        let world = World::new();
        let Sides { source, target } = &world.storages;
        source.write_file("f", "1").unwrap();
        assert_eq!(world.run(two_way()).await.unwrap().result, Outcome::Synced);
        source.write_file("f", first).unwrap();
        let mut job = world.job(two_way());
        job.storages.target = observe(
            job.storages.target,
            AnswerIsLost::of(Operation::Replace, kind),
        );
        let report = one_shot(job, "test").await.unwrap();
        // Who is busy is asked once more at once.
        let told = kind != ErrorKind::Busy;
        assert_eq!(report.result == Outcome::Failed, told, "{report:?}");
        assert_eq!(target.read_file("f").unwrap(), first);
        source.write_file("f", second).unwrap();
        let report = world.run(two_way()).await.unwrap();
        assert_eq!(report.result, Outcome::Synced, "{report:?}");
        assert_eq!(target.read_file("f").unwrap(), second);
    }
}

/// The storage removed it, and its answer was lost: who makes it anew, as it was, has not removed it. Nor is it drift of the target.
#[tokio::test]
async fn what_is_made_anew_after_a_lost_answer_stays() {
    let directions = [Direction::TwoWay, Direction::OneWay];
    let cases = directions.map(|direction| LOST.map(|kind| (direction, kind)));
    for (direction, kind) in cases.into_iter().flatten() {
        let world = World::new();
        let Sides { source, target } = &world.storages;
        let make = || {
            source.write_file("f", "1").unwrap();
            source.make_folder("d").unwrap();
            source.write_file("e/f", "2").unwrap();
        };
        make();
        source.write_file("always", "there").unwrap();
        is_synced(&world.sync(direction).await);
        for path in ["f", "d", "e"] {
            source.remove(path).unwrap();
        }
        // Some of these errors end a run: the folders go in the next.
        while read(target).len() > 1 {
            let mut job = world.job(World::options(direction));
            job.storages.target = observe(
                job.storages.target,
                AnswerIsLost::of(Operation::Remove, kind),
            );
            one_shot(job, "test").await.unwrap();
        }
        make();
        is_synced(&world.sync(direction).await);
        assert_eq!(read(source).len(), 4, "{direction:?} {kind:?}");
        assert_eq!(read(source), read(target), "{direction:?} {kind:?}");
        at_rest(&world, direction).await;
    }
}

/// The same of a file that got its old name again: the storage was gone before anything else could be asked.
#[tokio::test]
async fn a_file_that_is_renamed_back_after_a_lost_answer_stays() {
    let world = World::new();
    let Sides { source, target } = &world.storages;
    source.write_file("f", "1").unwrap();
    source.write_file("always", "there").unwrap();
    is_synced(&world.sync(Direction::TwoWay).await);
    assert!(source.rename("f", "new").unwrap());
    let mut job = world.job(two_way());
    job.storages.target = observe(job.storages.target, Arc::new(GoneAfterRename::default()));
    let _ = one_shot(job, "test").await;
    assert!(read(target).contains_key("new"), "renamed");
    assert!(source.rename("new", "f").unwrap());
    is_synced(&world.sync(Direction::TwoWay).await);
    assert_eq!(source.read_file("f").unwrap(), "1");
    assert_eq!(read(source), read(target));
}

/// A storage that renames a file and is gone then.
#[derive(Debug, Default)]
struct GoneAfterRename(AtomicBool);

impl Observer for GoneAfterRename {
    fn before(&self, _: &Call) -> wl_core::storage::Result<()> {
        match self.0.load(SeqCst) {
            true => Err(StorageError::new(ErrorKind::Unavailable, "test", "gone")),
            false => Ok(()),
        }
    }

    fn after(&self, call: &Call) -> wl_core::storage::Result<()> {
        self.0.fetch_or(call.operation == Operation::Rename, SeqCst);
        self.before(call)
    }
}

/// And where the old name was not even asked to be removed, as that waited with many others: with the new name it would have been removed twice.
#[tokio::test]
async fn a_file_that_is_renamed_back_after_a_lost_answer_stays_while_removals_wait() {
    let world = World::new();
    let Sides { source, target } = &world.storages;
    let files: Vec<_> = (0..100).map(|n| format!("f{n}")).collect();
    for path in &files {
        source.write_file(path, path.as_str()).unwrap();
    }
    let mut job = world.job(two_way());
    job.patience = Some(Arc::default());
    let lost = AnswerIsLost::of(Operation::Rename, ErrorKind::Temporary);
    job.storages.target = observe(job.storages.target, lost);
    let mut looks = Looks::new(job, "test");
    looks.look(Area::Everything).await.unwrap();
    let (gone, renamed) = (&files[..30], area(&["f99", "new"]));
    assert!(source.rename("f99", "new").unwrap());
    let mut told = renamed.clone();
    for path in gone {
        source.remove(path).unwrap();
        told.add_path(SyncPath::new(path.as_str()).unwrap());
    }
    looks.look(told).await.unwrap();
    assert_eq!(looks.held_back(), 30);
    assert!(read(target).contains_key("new"), "renamed");
    assert!(source.rename("new", "f99").unwrap());
    looks.look(renamed).await.unwrap();
    while looks.due().is_some() {
        looks.look_again().await.unwrap();
    }
    assert_eq!(source.read_file("f99").unwrap(), "f99");
    assert_eq!(read(source), read(target));
}

/// What an answer that was lost may be called; or what was asked after it was done, to find out what is there now, was refused.
const LOST: [ErrorKind; 4] = [
    ErrorKind::Temporary,
    ErrorKind::Busy,
    ErrorKind::Denied,
    ErrorKind::Credentials,
];

/// Does what it is asked for, and does not say so.
#[derive(Debug)]
struct AnswerIsLost {
    operation: Operation,
    kind: ErrorKind,
}

impl AnswerIsLost {
    fn of(operation: Operation, kind: ErrorKind) -> Arc<dyn Observer> {
        Arc::new(Self { operation, kind })
    }
}

impl Observer for AnswerIsLost {
    fn after(&self, call: &Call) -> wl_core::storage::Result<()> {
        match call.operation == self.operation {
            true => Err(StorageError::new(
                self.kind,
                "test",
                "the connection broke; for the test",
            )),
            false => Ok(()),
        }
    }
}
