//! A run that dies while it renames a folder after the other side: the next one knows the folder under its new name.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use wl_core::model::{Direction, Outcome, RunReport, Side, Sides, SyncPath};
use wl_core::storage::{Area, ErrorKind, StorageError};
use wl_core::sync::{Looks, SyncJob};
use wl_core::testing::{Call, Observer, Operation, observe};

use crate::world::{World, read};

/// How the calls of one kind end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The process dies before the call is done.
    DiesBefore,
    /// The process dies once it is done.
    DiesAfter,
    /// It is not done.
    Fails,
    /// It is done, and the answer is lost.
    IsLost,
}

/// Ends a call: that of this number, counted from 1.
#[derive(Debug)]
struct Ends {
    operation: Operation,
    end: End,
    number: usize,
    calls: AtomicUsize,
}

impl Ends {
    fn strikes(&self, call: &Call, now: bool) -> wl_core::storage::Result<()> {
        let counted = call.operation == self.operation && now;
        if !counted || self.calls.fetch_add(1, SeqCst) + 1 != self.number {
            return Ok(());
        }
        match self.end {
            End::DiesBefore | End::DiesAfter => panic!("the process dies at {call:?}"),
            End::Fails | End::IsLost => {
                let reason = "as planned";
                Err(StorageError::new(ErrorKind::Other, "test", reason))
            }
        }
    }
}

impl Observer for Ends {
    fn before(&self, call: &Call) -> wl_core::storage::Result<()> {
        let now = matches!(self.end, End::DiesBefore | End::Fails);
        self.strikes(call, now)
    }

    fn after(&self, call: &Call) -> wl_core::storage::Result<()> {
        let now = matches!(self.end, End::DiesAfter | End::IsLost);
        self.strikes(call, now)
    }
}

fn path(text: &str) -> SyncPath {
    SyncPath::new(text).unwrap()
}

fn area(paths: &[&str]) -> Area {
    let mut area = Area::default();
    paths.iter().for_each(|text| area.add_path(path(text)));
    area
}

fn job(world: &World) -> SyncJob {
    world.job(World::options(Direction::TwoWay))
}

/// A pair that agrees on a folder of files.
async fn agreed() -> World {
    let world = World::new();
    for number in 0..30 {
        let path = format!("album/{}/{number}", number % 5);
        let source = &world.storages.source;
        source.write_file(&path, number.to_string()).unwrap();
    }
    assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
    world
}

/// Looks at places of a job whose storages are watched; `None`: it died.
async fn look(world: &World, ends: Ends, paths: &[&str]) -> Option<Looks> {
    let ends = Arc::new(ends);
    let mut job = job(world);
    job.storages = job
        .storages
        .map(|storage| observe(storage, Arc::clone(&ends) as _));
    let area = area(paths);
    let task = tokio::spawn(async move {
        let mut looks = Looks::new(job, "test");
        let looked = looks.look(area).await;
        tracing::debug!(?looked, "ended");
        looks
    });
    let looks = task.await.ok();
    assert!(ends.calls.load(SeqCst) >= ends.number, "it never happened");
    looks
}

fn ends(operation: Operation, end: End, number: usize) -> Ends {
    Ends {
        operation,
        end,
        number,
        calls: AtomicUsize::new(0),
    }
}

/// The folder has its new name on `by`, and the run that gave it to the other side died, before that or after it.
async fn dead(by: Side, end: End) -> World {
    let world = agreed().await;
    assert!(world.storages[by].rename("album", "holiday").unwrap());
    let looks = look(
        &world,
        ends(Operation::Rename, end, 1),
        &["album", "holiday"],
    );
    assert!(looks.await.is_none(), "it lives");
    let renamed = read(&world.storages[by.other()]).contains_key("holiday");
    assert_eq!(renamed, end == End::DiesAfter);
    world
}

/// Edits and deletions below a folder that both have, by both.
fn edit(world: &World, folder: &str) {
    let Sides { source, target } = &world.storages;
    let at = |below: &str| format!("{folder}/{below}");
    source.write_file(&at("0/0"), "edited by source").unwrap();
    assert!(source.remove(&at("1/1")).unwrap());
    assert!(source.remove(&at("4")).unwrap());
    target.write_file(&at("2/2"), "edited by target").unwrap();
    assert!(target.remove(&at("3/3")).unwrap());
    target.write_file(&at("new"), "new by target").unwrap();
}

/// All of [`edit`] arrived, and nothing else happened.
fn check_edited(world: &World, report: &RunReport, folder: &str) {
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(read(&world.storages.source), read(&world.storages.target));
    for side in Side::BOTH {
        let storage = &world.storages[side];
        let file = |below: &str| storage.read_file(&format!("{folder}/{below}"));
        assert_eq!(file("0/0").unwrap(), "edited by source".as_bytes());
        assert_eq!(file("2/2").unwrap(), "edited by target".as_bytes());
        assert_eq!(file("new").unwrap(), "new by target".as_bytes());
        assert_eq!(file("0/5").unwrap(), "5".as_bytes());
        for gone in ["1/1", "3/3", "4/4", "4/9"] {
            assert_eq!(file(gone), None, "{gone} was brought back");
        }
        assert_eq!(read(storage).len(), 1, "one folder");
    }
}

#[tokio::test]
async fn edits_and_deletions_travel_after_a_death_between_the_rename_and_its_record() {
    for by in Side::BOTH {
        let world = dead(by, End::DiesAfter).await;
        edit(&world, "holiday");
        let report = world.sync(Direction::TwoWay).await;
        check_edited(&world, &report, "holiday");
        let report = world.sync(Direction::TwoWay).await;
        assert_eq!(report.changes, Sides::default(), "{report:?}");
    }
}

/// A job that goes on does not look at everything first.
#[tokio::test]
async fn looks_at_places_know_the_new_name_too() {
    let world = dead(Side::Source, End::DiesAfter).await;
    edit(&world, "holiday");
    let mut looks = Looks::new(job(&world), "test");
    let told = ["0/0", "1/1", "4", "2/2", "3/3", "new"].map(|below| format!("holiday/{below}"));
    let told = area(&told.each_ref().map(String::as_str));
    let report = looks.look(told).await.unwrap().report.unwrap();
    check_edited(&world, &report, "holiday");
}

/// The pair is one, whichever of the two is the source.
#[tokio::test]
async fn the_other_way_round_it_is_the_same_pair() {
    let world = dead(Side::Source, End::DiesAfter).await;
    edit(&world, "holiday");
    let mut job = job(&world);
    let Sides { source, target } = job.storages;
    job.storages = Sides::new(target, source);
    let report = wl_core::sync::one_shot(job, "test").await.unwrap();
    check_edited(&world, &report, "holiday");
}

#[tokio::test]
async fn a_dry_run_in_between_says_so_and_settles_nothing() {
    let world = dead(Side::Source, End::DiesAfter).await;
    let mut dry = World::options(Direction::TwoWay);
    dry.dry_run = true;
    for _ in 0..2 {
        let report = world.run(dry.clone()).await.unwrap();
        assert_eq!(report.changes, Sides::default(), "{report:?}");
        assert_eq!(report.conflicts, []);
    }
    // Where the folder is taken back the baseline has to be as it was.
    let target = &world.storages.target;
    assert!(target.rename("holiday", "album").unwrap());
    assert!(world.storages.source.rename("holiday", "album").unwrap());
    edit(&world, "album");
    let report = world.sync(Direction::TwoWay).await;
    check_edited(&world, &report, "album");
}

#[tokio::test]
async fn a_death_before_the_rename_leaves_all_as_it_was() {
    let world = dead(Side::Source, End::DiesBefore).await;
    world
        .storages
        .target
        .write_file("album/0/0", "edited")
        .unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    for side in Side::BOTH {
        let storage = &world.storages[side];
        assert_eq!(storage.read_file("album/0/0").unwrap(), "edited".as_bytes());
        assert_eq!(storage.read_file("holiday/0/0").unwrap(), "0".as_bytes());
        assert_eq!(storage.read_file("album/1/1"), None);
    }
}

#[tokio::test]
async fn after_a_death_before_the_rename_it_is_followed_again() {
    let world = dead(Side::Source, End::DiesBefore).await;
    let mut looks = Looks::new(job(&world), "test");
    let looked = looks.look(area(&["album", "holiday"])).await.unwrap();
    let report = looked.report.unwrap();
    assert_eq!(report.changes.target.renamed, 1, "{report:?}");
    assert_eq!(report.changes.target.total(), 1, "{report:?}");
    edit(&world, "holiday");
    looks.rest().await.unwrap();
    let report = world.sync(Direction::TwoWay).await;
    check_edited(&world, &report, "holiday");
}

/// Where the folder is neither here nor there, nothing is guessed: what is in it is there twice, and nothing is lost.
#[tokio::test]
async fn a_folder_that_was_moved_on_where_it_was_renamed_is_decided_path_by_path() {
    let world = dead(Side::Source, End::DiesAfter).await;
    assert!(world.storages.target.rename("holiday", "trip").unwrap());
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    let (source, target) = (read(&world.storages.source), read(&world.storages.target));
    assert_eq!(source, target);
    assert!(source.contains_key("trip") && !source.contains_key("album"));
    assert_eq!(
        world.storages.source.read_file("trip/4/29").unwrap(),
        "29".as_bytes()
    );
}

/// Another folder at the new place is not ours.
#[tokio::test]
async fn a_folder_that_another_one_took_the_place_of_is_not_taken_for_it() {
    let world = dead(Side::Source, End::DiesAfter).await;
    let target = &world.storages.target;
    assert!(target.rename("holiday", "trip").unwrap());
    target.write_file("holiday/0/0", "another").unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Conflicts, "{report:?}");
    let paths: Vec<_> = report.conflicts.iter().map(|c| &*c.path).collect();
    assert_eq!(paths, ["holiday/0/0"]);
    // Nothing was taken for removed: the rest came.
    assert_eq!(target.read_file("holiday/1/1").unwrap(), "1".as_bytes());
    let source = &world.storages.source;
    assert_eq!(source.read_file("holiday/1/1").unwrap(), "1".as_bytes());
    assert_eq!(source.read_file("trip/0/0").unwrap(), "0".as_bytes());
}

#[tokio::test]
async fn a_folder_that_the_other_side_moved_on_is_followed_once_more() {
    let world = dead(Side::Source, End::DiesAfter).await;
    assert!(world.storages.source.rename("holiday", "trip").unwrap());
    let mut looks = Looks::new(job(&world), "test");
    let looked = looks.look(area(&["holiday", "trip"])).await.unwrap();
    let report = looked.report.unwrap();
    assert_eq!(report.changes.target.renamed, 1, "{report:?}");
    assert_eq!(report.changes.target.total(), 1, "{report:?}");
    assert_eq!(read(&world.storages.source), read(&world.storages.target));
}

/// The rename was done, whatever was said of it.
#[tokio::test]
async fn a_rename_whose_answer_is_lost_was_done() {
    let world = agreed().await;
    assert!(world.storages.source.rename("album", "holiday").unwrap());
    let lost = ends(Operation::Rename, End::IsLost, 1);
    let mut looks = look(&world, lost, &["album", "holiday"]).await.unwrap();
    edit(&world, "holiday");
    looks.rest().await.unwrap();
    let report = world.sync(Direction::TwoWay).await;
    check_edited(&world, &report, "holiday");
}

#[tokio::test]
async fn a_job_that_failed_between_the_two_goes_on_itself() {
    let world = agreed().await;
    assert!(world.storages.source.rename("album", "holiday").unwrap());
    let fails = ends(Operation::Flush, End::Fails, 1);
    let mut looks = look(&world, fails, &["album", "holiday"]).await.unwrap();
    assert!(!looks.is_open(), "a run that failed is not gone on with");
    edit(&world, "holiday");
    let mut told = Area::default();
    told.add_subtree(path("holiday"));
    let report = looks.look(told).await.unwrap().report.unwrap();
    check_edited(&world, &report, "holiday");
}

/// Several in one look: each is recorded before the next begins.
#[tokio::test]
async fn several_renames_of_one_look_are_recorded_one_by_one() {
    let renames = [("album/0", "a"), ("album/1", "b"), ("album/2", "c")];
    for number in 1..=3 {
        let world = agreed().await;
        for (from, to) in renames {
            assert!(world.storages.source.rename(from, to).unwrap());
        }
        let told = ["album/0", "album/1", "album/2", "a", "b", "c"];
        let dies = ends(Operation::Rename, End::DiesAfter, number);
        assert!(look(&world, dies, &told).await.is_none());
        // What is in those that were renamed already was edited and removed since.
        let done = read(&world.storages.target);
        let done: Vec<_> = ["a", "b", "c"]
            .into_iter()
            .filter(|to| done.contains_key(*to))
            .collect();
        assert_eq!(done.len(), number);
        for (at, to) in ["a", "b", "c"].into_iter().enumerate() {
            if done.contains(&to) {
                let target = &world.storages.target;
                target.write_file(&format!("{to}/{at}"), "edited").unwrap();
                assert!(target.remove(&format!("{to}/{}", at + 5)).unwrap());
            }
        }
        let report = world.sync(Direction::TwoWay).await;
        assert_eq!(report.result, Outcome::Synced, "{number}: {report:?}");
        let Sides { source, target } = &world.storages;
        assert_eq!(read(source), read(target));
        for (at, to) in ["a", "b", "c"].into_iter().enumerate() {
            let is_done = done.contains(&to);
            let edited = source.read_file(&format!("{to}/{at}")).unwrap() == "edited".as_bytes();
            let there = source.read_file(&format!("{to}/{}", at + 5)).is_some();
            assert_eq!((edited, there), (is_done, !is_done), "{number}: {to}");
        }
    }
}

/// A folder and one that was in it, in one look.
#[tokio::test]
async fn a_folder_out_of_a_renamed_folder_is_followed() {
    let world = agreed().await;
    let source = &world.storages.source;
    assert!(source.rename("album", "holiday").unwrap());
    assert!(source.rename("holiday/0", "old").unwrap());
    let told = area(&["album", "album/0", "holiday", "holiday/0", "old"]);
    let mut looks = Looks::new(job(&world), "test");
    let report = looks.look(told).await.unwrap().report.unwrap();
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(report.bytes.written, 0, "{report:?}");
    assert_eq!(read(source), read(&world.storages.target));
    looks.rest().await.unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.changes, Sides::default(), "{report:?}");
}
