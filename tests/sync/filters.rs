//! What is left out is not read, not written and not removed, whatever else happens around it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use tokio::sync::mpsc;
use wl_backends::memory::{MemoryBackend, MemoryNode, MemorySettings};
use wl_core::filter::{MaxSize, Origin, Rule};
use wl_core::model::{Direction, Outcome, RunReport, Side, Sides, SyncPath};
use wl_core::storage::Area;
use wl_core::sync::{
    Keep, Looks, News, NewsSender, SyncError, SyncErrorClass, SyncJob, SyncOptions, Syncer,
    SyncerType, explain, filter_now,
};
use wl_core::testing::{Call, Observer, Operation, Recording, observe};
use wl_syncers::General;

use crate::world::World;

const WAYS: [Direction; 3] = [Direction::TwoWay, Direction::OneWay, Direction::Mirror];

fn without(direction: Direction, lines: &[&str]) -> SyncOptions {
    let mut options = World::options(direction);
    options.exclude.rules = lines
        .iter()
        .map(|line| Rule {
            line: (*line).to_owned(),
            origin: Origin::CommandLine,
        })
        .collect();
    options
}

fn limited(direction: Direction, bytes: u64) -> SyncOptions {
    let mut options = World::options(direction);
    options.exclude.max_size = Some(MaxSize(bytes));
    options
}

/// The texts of all files of a side, by path.
fn files(world: &World, side: Side) -> Vec<(String, String)> {
    let snapshot = world.storages[side].snapshot();
    let text = |node| match node {
        MemoryNode::File { content, .. } => Some(String::from_utf8(content.to_vec()).unwrap()),
        _ => None,
    };
    let files = snapshot
        .into_iter()
        .filter_map(|(path, node)| Some((path, text(node)?)));
    files.collect()
}

fn paths(world: &World, side: Side) -> Vec<String> {
    world.storages[side].snapshot().into_keys().collect()
}

fn write(world: &World, side: Side, files: &[(&str, &str)]) {
    for (path, text) in files {
        world.storages[side].write_file(path, *text).unwrap();
    }
}

async fn synced(world: &World, options: &SyncOptions) -> RunReport {
    let report = world.run(options.clone()).await.unwrap();
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    report
}

/// Why a run is refused.
async fn refused(world: &World, options: SyncOptions) -> SyncError {
    world.run(options).await.unwrap_err()
}

/// Nothing is done, whichever way.
async fn rests(world: &World, options: &SyncOptions) {
    let report = synced(world, options).await;
    assert_eq!(report.changes, Sides::default());
}

#[tokio::test]
async fn what_is_left_out_of_a_first_sync_is_neither_read_nor_made() {
    for direction in WAYS {
        let world = World::new();
        let big = "b".repeat(400_000);
        write(
            &world,
            Side::Source,
            &[
                ("a", "1"),
                ("x.o", "2"),
                ("big.o", &big),
                ("m/node_modules/p/q", "3"),
            ],
        );
        write(
            &world,
            Side::Target,
            &[("y.o", "4"), ("m/node_modules/z", "5")],
        );
        let recording = Recording::new();
        let options = without(direction, &["*.o", "node_modules/"]);
        let report = world
            .run_over(options.clone(), |_, storage| recording.over(storage))
            .await
            .unwrap();
        assert_eq!(report.result, Outcome::Synced, "{report:?}");
        assert_eq!(
            paths(&world, Side::Target),
            ["a", "m/", "m/node_modules/", "m/node_modules/z", "y.o"]
        );
        assert_eq!(paths(&world, Side::Source).len(), 7);
        assert_eq!(report.excluded, 4, "a folder is one: {report:?}");
        for operation in [
            Operation::Read,
            Operation::ReadSmall,
            Operation::Hash,
            Operation::Stat,
        ] {
            let asked = recording.paths(operation);
            let out = |path: &&String| path.ends_with(".o") || path.contains("node_modules");
            assert_eq!(asked.iter().find(out), None, "{operation:?} {direction:?}");
        }
        rests(&world, &options).await;
    }
}

/// A rule, and a limit that says the same of the two files.
fn each_way_to_leave_out(direction: Direction) -> [SyncOptions; 2] {
    [without(direction, &["*.o"]), limited(direction, 5)]
}

async fn with_two_files() -> World {
    let world = World::new();
    write(
        &world,
        Side::Source,
        &[("a", "1"), ("d/x.o", "object"), ("d/y.o", "object")],
    );
    synced(&world, &World::options(Direction::TwoWay)).await;
    world
}

#[tokio::test]
async fn a_rule_that_is_added_removes_nothing_and_holds_edits_back() {
    for direction in WAYS {
        for options in each_way_to_leave_out(direction) {
            let world = with_two_files().await;
            rests(&world, &options).await;
            write(
                &world,
                Side::Source,
                &[("d/x.o", "edited here"), ("a", "2")],
            );
            write(&world, Side::Target, &[("d/y.o", "edited there")]);
            let report = synced(&world, &options).await;
            assert_eq!(report.changes.target.updated, 1);
            world.storages.source.remove("d/y.o").unwrap();
            world.storages.target.remove("d/x.o").unwrap();
            rests(&world, &options).await;
            let (source, target) = (files(&world, Side::Source), files(&world, Side::Target));
            let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
            assert_eq!(source, [file("a", "2"), file("d/x.o", "edited here")]);
            assert_eq!(target, [file("a", "2"), file("d/y.o", "edited there")]);
        }
    }
}

#[tokio::test]
async fn a_rule_that_is_taken_back_leaves_it_to_the_baseline() {
    for options in each_way_to_leave_out(Direction::TwoWay) {
        // Nothing happened meanwhile; one side was edited; both were.
        let world = with_two_files().await;
        rests(&world, &options).await;
        rests(&world, &World::options(Direction::TwoWay)).await;

        write(&world, Side::Source, &[("d/x.o", "edited")]);
        rests(&world, &options).await;
        let report = synced(&world, &World::options(Direction::TwoWay)).await;
        assert_eq!(report.changes.target.updated, 1);
        assert_eq!(files(&world, Side::Source), files(&world, Side::Target));

        write(&world, Side::Source, &[("d/x.o", "one more")]);
        write(&world, Side::Target, &[("d/x.o", "another")]);
        rests(&world, &options).await;
        let report = world.sync(Direction::TwoWay).await;
        assert_eq!(report.result, Outcome::Conflicts);
        assert_eq!(report.conflicts[0].path, "d/x.o");
        assert!(report.conflicts[0].ancestor.is_some());
        // Nobody can end a conflict that is left out; it is no longer told, and nothing is changed.
        let mut resolving = options.clone();
        resolving.resolve = vec![(SyncPath::new("d/x.o").unwrap(), Keep::Source)];
        let report = world.run(resolving).await.unwrap();
        assert_eq!(report.changes, Sides::default());
        assert_eq!(report.result, Outcome::Failed, "{report:?}");
        assert!(report.problems[0].reason.contains("left out"), "{report:?}");
        rests(&world, &options).await;
    }
}

#[tokio::test]
async fn a_folder_that_the_other_side_removed_stays_with_what_is_left_out_in_it() {
    for direction in WAYS {
        for options in each_way_to_leave_out(direction) {
            let world = World::new();
            write(
                &world,
                Side::Source,
                &[("d/e/f", "1"), ("d/e/x.o", "object"), ("d/g/h", "2")],
            );
            synced(&world, &World::options(Direction::TwoWay)).await;
            world.storages.source.remove("d").unwrap();
            synced(&world, &options).await;
            assert_eq!(paths(&world, Side::Target), ["d/", "d/e/", "d/e/x.o"]);
            rests(&world, &options).await;
            assert_eq!(paths(&world, Side::Source), Vec::<String>::new());
        }
    }
}

#[tokio::test]
async fn a_folder_that_is_left_out_and_removed_on_one_side_stays_on_the_other() {
    for removed in Side::BOTH {
        for direction in WAYS {
            let world = World::new();
            write(
                &world,
                Side::Source,
                &[("a", "1"), ("d/e/f", "1"), ("d/g", "2")],
            );
            synced(&world, &World::options(Direction::TwoWay)).await;
            world.storages[removed].remove("d").unwrap();
            let options = without(direction, &["d/"]);
            rests(&world, &options).await;
            let kept = paths(&world, removed.other());
            assert_eq!(kept, ["a", "d/", "d/e/", "d/e/f", "d/g"]);
            assert_eq!(paths(&world, removed), ["a"]);
        }
    }
}

#[tokio::test]
async fn a_mirror_never_removes_what_is_left_out() {
    for options in each_way_to_leave_out(Direction::Mirror) {
        let world = World::new();
        write(&world, Side::Source, &[("a", "1")]);
        write(
            &world,
            Side::Target,
            &[
                ("a", "2"),
                ("x.o", "object"),
                ("d/y.o", "object"),
                ("d/b", "3"),
            ],
        );
        synced(&world, &options).await;
        assert_eq!(paths(&world, Side::Target), ["a", "d/", "d/y.o", "x.o"]);
        assert_eq!(world.storages.target.read_file("a").unwrap().as_ref(), b"1");
        rests(&world, &options).await;
    }
}

#[tokio::test]
async fn a_file_that_crosses_the_limit_waits_on_both_sides_until_it_is_back() {
    for side in Side::BOTH {
        let world = World::new();
        let options = limited(Direction::TwoWay, 4);
        write(&world, side, &[("f", "1234")]);
        synced(&world, &options).await;
        write(&world, side, &[("f", "12345")]);
        let recording = Recording::new();
        let run = world.run_over(options.clone(), |_, storage| recording.over(storage));
        assert_eq!(run.await.unwrap().changes, Sides::default());
        assert_eq!(recording.requests(Operation::ReadSmall), 0);
        // What the other side does at the path waits with it.
        write(&world, side.other(), &[("f", "ab")]);
        rests(&world, &options).await;
        world.storages[side.other()].remove("f").unwrap();
        rests(&world, &options).await;
        write(&world, side, &[("f", "abc")]);
        synced(&world, &options).await;
        assert_eq!(files(&world, side), files(&world, side.other()));
        assert_eq!(
            files(&world, side).len(),
            1,
            "the edit wins over the removal"
        );
    }
}

/// A part of a group is of no use, and may be worse than none: if one file of it is too large, all of it waits.
#[tokio::test]
async fn a_group_with_a_file_that_is_too_large_is_left_out_whole() {
    for (large, small) in [
        ("r/.git/objects/00/large", "r/.git/HEAD"),
        ("db", "db-wal"),
        ("db-wal", "db"),
    ] {
        let world = World::new();
        let options = limited(Direction::TwoWay, 4);
        write(&world, Side::Source, &[(large, "12345"), (small, "1")]);
        let report = synced(&world, &options).await;
        assert_eq!(files(&world, Side::Target), [], "{report:?}");
        assert!(report.excluded > 0, "{report:?}");
        let path = SyncPath::new(small).unwrap();
        let said = explain(&world.job(options.clone()), &path).await.unwrap();
        // The name of a database does not say that it is one.
        assert!(
            small == "db" || said.next.contains("--max-size 4"),
            "{said:?}"
        );
        // Small enough: both. Then it grows, and what else changes in it waits with it.
        write(&world, Side::Source, &[(large, "123")]);
        synced(&world, &options).await;
        let agreed = files(&world, Side::Target);
        assert_eq!(agreed, files(&world, Side::Source));
        write(&world, Side::Source, &[(large, "12345"), (small, "2")]);
        rests(&world, &options).await;
        assert_eq!(files(&world, Side::Target), agreed);
        world.storages.source.remove(small).unwrap();
        rests(&world, &options).await;
        assert_eq!(files(&world, Side::Target), agreed);
        write(&world, Side::Source, &[(large, "1234"), (small, "3")]);
        synced(&world, &options).await;
        assert_eq!(files(&world, Side::Target), files(&world, Side::Source));
    }
}

/// It was never agreed on, so that no sweep of its side can miss it.
#[tokio::test]
async fn what_waited_for_a_file_that_is_too_large_comes_when_a_sweep_finds_that_gone() {
    for large in ["new", "x.db-wal"] {
        let world = World::new();
        let mut job = world.job(limited(Direction::TwoWay, 9));
        job.patience = Some(Arc::default());
        let mut looks = Looks::new(job, "test");
        write(&world, Side::Source, &[("a", "1")]);
        looks.look(Area::Everything).await.unwrap();
        write(&world, Side::Source, &[("new", "1"), ("x.db", "1")]);
        write(&world, Side::Target, &[(large, "too large by far")]);
        looks.look(Area::Everything).await.unwrap();
        let there = paths(&world, Side::Target);
        assert!(there.iter().any(|path| path == large), "{there:?}");
        world.storages.target.remove(large).unwrap();
        let area = looks.sweep(Side::Target).await.unwrap();
        looks.look(area).await.unwrap();
        assert_eq!(files(&world, Side::Target), files(&world, Side::Source));
        // Then nothing is in the way any more, and a sweep costs what it should.
        let area = looks.sweep(Side::Target).await.unwrap();
        assert_eq!(area, Area::default(), "{large}");
    }
}

/// What lies beside a database that is left out is left out with it. When that goes, is no database any more or a folder takes its place,
/// watchers tell of nothing else.
#[tokio::test]
async fn what_lay_beside_a_large_database_comes_when_only_that_is_told_to_have_changed() {
    for becomes in ["nothing", "another name", "a text", "a folder"] {
        for side in Side::BOTH {
            let world = World::new();
            let mut looks = Looks::new(world.job(limited(Direction::TwoWay, 9)), "test");
            let large = "too large by far".repeat(32);
            write(&world, side, &[("a", "1"), ("x", &large), ("x-wal", "1")]);
            looks.look(Area::Everything).await.unwrap();
            assert_eq!(paths(&world, side.other()), ["a"], "{becomes}");
            let storage = &world.storages[side];
            match becomes {
                "another name" => assert!(storage.rename("x", "z").unwrap()),
                "a text" => write(&world, side, &[("x", "text")]),
                _ => assert!(storage.remove("x").unwrap()),
            }
            if becomes == "a folder" {
                storage.make_folder("x").unwrap();
            }
            let told = Area::path(SyncPath::new("x").unwrap());
            looks.look(told).await.unwrap();
            let log = world.storages[side.other()].read_file("x-wal");
            assert_eq!(log.as_deref(), Some(&b"1"[..]), "{becomes}");
            looks.rest().await.unwrap();
        }
    }
}

/// Nobody watches what is left out: that it is in the way no more is found by looks at everything, which come for it.
#[tokio::test]
async fn what_is_left_out_and_in_the_way_is_looked_after() {
    let in_place: &[(Side, &str)] = &[(Side::Source, "build"), (Side::Target, "build/x")];
    let in_folder: &[(Side, &str)] = &[(Side::Target, "d/build/x")];
    for (there, gone) in [(in_place, "build"), (in_folder, "d/build")] {
        let world = World::new();
        let mut job = world.job(without(Direction::TwoWay, &["build/"]));
        job.patience = Some(Arc::default());
        let mut looks = Looks::new(job, "test");
        write(&world, Side::Source, &[("a", "1"), ("d/a", "1")]);
        let looked = looks.look(Area::Everything).await.unwrap();
        assert!(!looked.in_the_way);
        let is_clear = looks.sweep(Side::Target).await.unwrap() == Area::default();
        assert!(is_clear);
        for (side, path) in there {
            write(&world, *side, &[(path, "2")]);
        }
        if gone == "d/build" {
            world.storages.source.remove("d").unwrap();
        }
        let looked = looks.look(Area::Everything).await.unwrap();
        assert!(looked.in_the_way, "{gone}: {looked:?}");
        world.storages.target.remove(gone).unwrap();
        let area = looks.sweep(Side::Target).await.unwrap();
        let looked = looks.look(area).await.unwrap();
        assert!(!looked.in_the_way, "{gone}: {looked:?}");
        assert_eq!(paths(&world, Side::Target), paths(&world, Side::Source));
    }
}

/// Neither a file that is left out nor a folder in its place on the other side is touched, also where folders are only implied.
#[tokio::test]
async fn a_change_of_type_of_which_one_side_is_left_out_waits() {
    for direction in WAYS {
        for empty_folders in [true, false] {
            for (lines, max) in [(&["p", "!p/"][..], None), (&[][..], Some(3))] {
                for side in Side::BOTH {
                    let mut world = World::new();
                    let settings = MemorySettings::default().empty_folders(empty_folders);
                    world.storages[side] = MemoryBackend::private(settings);
                    write(&world, side, &[("a", "1"), ("p", "large")]);
                    write(
                        &world,
                        side.other(),
                        &[("a", "1"), ("p/q", "2"), ("p/r/s", "3")],
                    );
                    let mut options = without(direction, lines);
                    options.exclude.max_size = max.map(MaxSize);
                    let before = Sides::from_fn(|side| files(&world, side));
                    rests(&world, &options).await;
                    rests(&world, &options).await;
                    let after = Sides::from_fn(|side| files(&world, side));
                    assert_eq!(after, before, "{direction:?} {lines:?} on the {side}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_folder_that_takes_a_files_place_leaves_behind_what_is_left_out() {
    for (options, kept) in [
        (without(Direction::TwoWay, &["*.o"]), "p/x.o"),
        (limited(Direction::TwoWay, 5), "p/x.o"),
    ] {
        let world = World::new();
        write(&world, Side::Source, &[("p", "1")]);
        synced(&world, &options).await;
        world.storages.source.remove("p").unwrap();
        write(&world, Side::Source, &[("p/q", "2"), (kept, "object")]);
        synced(&world, &options).await;
        assert_eq!(paths(&world, Side::Target), ["p/", "p/q"]);
        // Back to a file: what is left out keeps its folder, and nobody but the target changed anything.
        world.storages.target.remove("p").unwrap();
        write(&world, Side::Target, &[("p", "3")]);
        synced(&world, &options).await;
        assert_eq!(paths(&world, Side::Source), ["p/", kept]);
        rests(&world, &options).await;
        // What is new beside it is a change.
        write(&world, Side::Source, &[("p/n", "4")]);
        let report = world.run(options.clone()).await.unwrap();
        assert_eq!(report.result, Outcome::Conflicts, "{report:?}");
        let mut ends = options.clone();
        ends.resolve = vec![(SyncPath::new("p").unwrap(), Keep::Target)];
        let report = world.run(ends).await.unwrap();
        assert_eq!(report.result, Outcome::Conflicts, "{report:?}");
        assert_eq!(paths(&world, Side::Source), ["p/", "p/n", kept]);
        world.storages.source.remove("p/n").unwrap();
        rests(&world, &options).await;
        world.storages.source.remove(kept).unwrap();
        synced(&world, &options).await;
        assert_eq!(paths(&world, Side::Source), ["p"]);
    }
}

/// One side alone was changed, at every step: what is left out on the other keeps its folder, and looks go on until it is gone.
#[tokio::test]
async fn a_file_in_the_place_of_a_folder_that_keeps_what_is_left_out_waits() {
    for side in Side::BOTH {
        for direction in [Direction::TwoWay, Direction::Mirror] {
            if (side, direction) == (Side::Target, Direction::Mirror) {
                continue;
            }
            let world = World::new();
            let all = [("a", "1"), ("c/d/e", "2"), ("c/d/x", "3"), ("c/f/x", "4")];
            write(&world, side, &all);
            synced(&world, &World::options(Direction::TwoWay)).await;
            let mut looks = Looks::new(world.job(without(direction, &["e"])), "test");
            looks.look(Area::Everything).await.unwrap();
            world.storages[side].remove("c").unwrap();
            write(&world, side, &[("c", "5")]);
            let area = Area::path(SyncPath::new("c").unwrap());
            let looked = looks.look(area.clone()).await.unwrap();
            assert!(looked.in_the_way, "{side} {looked:?}");
            let report = looked.report.unwrap();
            assert_eq!(report.conflicts, [], "{side} {direction:?}");
            assert_eq!(report.result, Outcome::Synced, "{side} {report:?}");
            assert_eq!(
                paths(&world, side.other()),
                ["a", "c/", "c/d/", "c/d/e"],
                "{direction:?}"
            );
            world.storages[side.other()].remove("c/d/e").unwrap();
            // A watcher may tell that it goes: what is left out for its size is watched.
            let gone = match direction {
                Direction::TwoWay => Area::path(SyncPath::new("c/d/e").unwrap()),
                _ => Area::Everything,
            };
            let looked = looks.look(gone).await.unwrap();
            assert!(!looked.in_the_way, "{side} {looked:?}");
            assert_eq!(files(&world, Side::Source), files(&world, Side::Target));
        }
    }
}

/// The source of a one-way run keeps its folder in any case: that is told as drift, as it is without anything that is left out.
#[tokio::test]
async fn a_targets_own_file_in_the_place_of_a_folder_with_something_left_out_is_drift() {
    let world = World::new();
    write(
        &world,
        Side::Source,
        &[("a", "1"), ("c/e", "2"), ("c/x", "3")],
    );
    synced(&world, &World::options(Direction::OneWay)).await;
    world.storages.target.remove("c").unwrap();
    write(&world, Side::Target, &[("c", "4")]);
    let report = world.run(without(Direction::OneWay, &["e"])).await.unwrap();
    let drift: Vec<_> = report.drift.iter().map(|one| &*one.path).collect();
    assert_eq!((drift, report.conflicts.len()), (vec!["c"], 0));
}

#[tokio::test]
async fn rules_match_without_case_where_a_side_folds_it() {
    let mut world = World::new();
    world.storages.target = MemoryBackend::private(MemorySettings::default().folds_case(true));
    write(
        &world,
        Side::Source,
        &[("Build/x", "1"), ("A.TMP", "2"), ("a", "3")],
    );
    let options = without(Direction::TwoWay, &["build/", "*.tmp"]);
    synced(&world, &options).await;
    assert_eq!(paths(&world, Side::Target), ["a"]);
}

#[tokio::test]
async fn the_file_of_rules_of_either_side_counts_and_is_itself_synced() {
    for side in Side::BOTH {
        let world = World::new();
        write(&world, side, &[(".wlignore", "*.o\n!k.o\n")]);
        for at in Side::BOTH {
            write(&world, at, &[("x.o", &*format!("{at}")), ("k.o", "k")]);
        }
        let options = World::options(Direction::TwoWay);
        synced(&world, &options).await;
        assert_eq!(paths(&world, side.other()), [".wlignore", "k.o", "x.o"]);
        rests(&world, &options).await;
    }
}

#[tokio::test]
async fn the_rules_of_a_file_come_last_and_those_of_both_sides_add_up() {
    let world = World::new();
    // One side takes back what the command leaves out; the other has a word of its own, and leaves it out.
    write(
        &world,
        Side::Source,
        &[
            (".wlignore", "!x.o\n"),
            ("x.o", "1"),
            ("y.o", "2"),
            ("z.o", "3"),
        ],
    );
    let options = without(Direction::OneWay, &["*.o"]);
    synced(&world, &options).await;
    assert_eq!(paths(&world, Side::Target), [".wlignore", "x.o"]);
    write(&world, Side::Source, &[(".wlignore", "!y.o\n!z.o\n")]);
    write(&world, Side::Target, &[(".wlignore", "!z.o\n")]);
    let report = world.run(options).await.unwrap();
    assert_eq!(
        report.conflicts[0].path, ".wlignore",
        "both sides' rules count all the same"
    );
    assert_eq!(paths(&world, Side::Target), [".wlignore", "x.o", "z.o"]);
}

#[tokio::test]
async fn rules_that_cannot_be_read_refuse_the_run() {
    let long = "x\n".repeat(140_000);
    for (content, why) in [
        (&b"fine\n[a\n"[..], "line 2"),
        (b"a\xff", "UTF-8"),
        (b"\xff\xfea\0", "UTF-8"),
        (long.as_bytes(), "larger than 256 KiB"),
    ] {
        for side in Side::BOTH {
            let world = World::new();
            write(&world, Side::Source, &[("a", "1")]);
            world.storages[side]
                .write_file(".wlignore", content)
                .unwrap();
            let error = refused(&world, World::options(Direction::TwoWay)).await;
            assert_eq!(error.class, SyncErrorClass::Filter, "{error}");
            let says = [why, ".wlignore", &*side.to_string(), "nothing was synced"];
            assert!(says.iter().all(|word| error.desc.contains(word)), "{error}");
            assert!(!paths(&world, Side::Target).contains(&"a".to_owned()));
            // Corrected, it goes on.
            world.storages[side].write_file(".wlignore", "b\n").unwrap();
            synced(&world, &World::options(Direction::TwoWay)).await;
        }
    }
    let world = World::new();
    world
        .storages
        .source
        .make_link(".wlignore", "rules")
        .unwrap();
    let error = refused(&world, World::options(Direction::TwoWay)).await;
    assert!(error.desc.contains("is a link"), "{error}");
    world.storages.source.remove(".wlignore").unwrap();
    world.storages.source.make_folder(".wlignore").unwrap();
    let error = refused(&world, World::options(Direction::TwoWay)).await;
    assert!(error.desc.contains("is a folder"), "{error}");
}

#[tokio::test]
async fn a_wrong_rule_of_the_command_is_wrong_usage() {
    let world = World::new();
    let error = refused(&world, without(Direction::TwoWay, &["["])).await;
    assert_eq!(error.class, SyncErrorClass::Usage);
    assert!(error.desc.contains("`[` from the command line"), "{error}");
}

#[tokio::test]
async fn a_side_whose_rules_cannot_be_read_now_is_no_side_without_rules() {
    let world = World::new();
    write(&world, Side::Source, &[("a", "1"), (".wlignore", "a\n")]);
    world
        .storages
        .source
        .set_unreadable(".wlignore", true)
        .unwrap();
    let error = refused(&world, World::options(Direction::TwoWay)).await;
    assert_eq!(error.class, SyncErrorClass::Filter, "{error}");
    assert!(error.desc.contains("make .wlignore readable"), "{error}");
    world
        .storages
        .source
        .set_unreadable(".wlignore", false)
        .unwrap();
    synced(&world, &World::options(Direction::TwoWay)).await;
    assert_eq!(paths(&world, Side::Target), [".wlignore"]);
}

/// A job that polls, and what it tells.
fn polling(world: &World, recording: &Arc<Recording>) -> (SyncJob, mpsc::Receiver<News>) {
    let (tell, news) = mpsc::channel(1);
    let plain = world.job(World::options(Direction::TwoWay));
    let job = SyncJob {
        storages: plain
            .storages
            .clone()
            .map(|storage| recording.over(storage)),
        poll: Sides::from_fn(|_| Some(Duration::from_secs(60))),
        news: NewsSender::to(tell),
        ..plain
    };
    (job, news)
}

/// The report of the next look, or why there is none.
async fn looked(news: &mut mpsc::Receiver<News>) -> Result<RunReport, SyncError> {
    loop {
        match news.recv().await.unwrap() {
            News::Looked(report) => return Ok(*report),
            News::Ended(error) => return Err(error),
            News::Panicked(fault) => panic!("{fault}"),
            News::Watching(_) | News::Looking | News::Pending(_) | News::Silent(_) => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_goes_on_follows_the_file_of_rules() {
    let world = World::new();
    let recording = Recording::new();
    let (job, mut news) = polling(&world, &recording);
    let syncer = General::create(job);
    syncer.start_sync().await.unwrap();
    looked(&mut news).await.unwrap();
    // Made on one side, in one moment with what it is about.
    write(
        &world,
        Side::Target,
        &[(".wlignore", "*.o\n"), ("x.o", "1")],
    );
    let report = looked(&mut news).await.unwrap();
    assert_eq!(report.changes.source.created, 1);
    assert_eq!(paths(&world, Side::Source), [".wlignore"]);
    // Unchanged, it is not read again once its tokens say so.
    world.storages.source.pass_time(Duration::from_secs(60));
    world.storages.target.pass_time(Duration::from_secs(60));
    looked(&mut news).await.unwrap();
    recording.clear();
    looked(&mut news).await.unwrap();
    assert_eq!(recording.requests(Operation::ReadSmall), 0);
    // Edited on the other side: both count until it has arrived.
    write(
        &world,
        Side::Source,
        &[(".wlignore", "*.c\n"), ("y.c", "2")],
    );
    // The look that brings the rules looks again by them.
    let changes = looked(&mut news).await.unwrap().changes;
    assert_eq!((changes.target.updated, changes.source.created), (1, 1));
    assert_eq!(paths(&world, Side::Source), [".wlignore", "x.o", "y.c"]);
    assert_eq!(paths(&world, Side::Target), [".wlignore", "x.o"]);
    // Taken away: what it left out travels, and nothing is removed.
    world.storages.source.remove(".wlignore").unwrap();
    let changes = looked(&mut news).await.unwrap().changes;
    assert_eq!((changes.target.removed, changes.target.created), (1, 1));
    for side in Side::BOTH {
        assert_eq!(paths(&world, side), ["x.o", "y.c"]);
    }
    // Made wrong, it ends the job with the reason.
    write(&world, Side::Source, &[(".wlignore", "[\n"), ("z", "3")]);
    let error = looked(&mut news).await.unwrap_err();
    assert_eq!(error.class, SyncErrorClass::Filter);
    assert!(!paths(&world, Side::Target).contains(&"z".to_owned()));
    syncer.stop_sync().await.unwrap();
}

#[tokio::test]
async fn what_leaves_a_path_out_is_explained() {
    let world = World::new();
    write(
        &world,
        Side::Source,
        &[
            (".wlignore", "# mine\nd/\n"),
            ("d/e/f", "1"),
            ("x.o", "2"),
            ("large", "large"),
        ],
    );
    let mut options = without(Direction::TwoWay, &["*.o"]);
    options.exclude.max_size = Some(MaxSize(3));
    for (path, why) in [
        (
            "d/e/f",
            "the folder d is excluded by `d/` (from .wlignore of the source, line 2)",
        ),
        (
            "d",
            "excluded by `d/` (from .wlignore of the source, line 2)",
        ),
        ("x.o", "excluded by `*.o` (from the command line)"),
        ("large", "excluded: its 5 bytes are more than --max-size 3"),
    ] {
        let job = world.job(options.clone());
        let said = explain(&job, &SyncPath::new(path).unwrap()).await.unwrap();
        let seen = &said.seen.source;
        assert_eq!(seen.presence, "left alone", "{said:?}");
        assert!(seen.why.as_ref().unwrap().contains(why), "{seen:?}");
    }
}

#[tokio::test]
async fn whoever_follows_a_job_can_tell_that_rules_changed() {
    let world = World::new();
    write(&world, Side::Source, &[(".wlignore", "a\n")]);
    let job = world.job(World::options(Direction::TwoWay));
    let first = filter_now(&job).await.unwrap();
    let is_first = async || Arc::ptr_eq(&first, &filter_now(&job.clone()).await.unwrap());
    assert!(is_first().await);
    // Written again as it was, it says the same.
    write(&world, Side::Source, &[(".wlignore", "a\n")]);
    assert!(is_first().await);
    write(&world, Side::Target, &[(".wlignore", "b\n")]);
    assert!(!is_first().await, "the other side has a word too");
    world.storages.target.remove(".wlignore").unwrap();
    let back = filter_now(&job).await.unwrap();
    let path = |text| SyncPath::new(text).unwrap();
    assert!(back.excludes(&path("a"), false) && !back.excludes(&path("b"), false));
    world.storages.source.remove(".wlignore").unwrap();
    let none = filter_now(&job).await.unwrap();
    assert!(!none.excludes(&path("a"), false));
}

/// Somebody who edits the rules of the source while the target is listed.
#[derive(Debug)]
struct Edits {
    of: MemoryBackend,
    armed: AtomicBool,
}

impl Observer for Edits {
    fn before(&self, call: &Call) -> wl_core::storage::Result<()> {
        if call.operation == Operation::List && self.armed.swap(false, SeqCst) {
            self.of.write_file(".wlignore", "*.o\n").unwrap();
        }
        Ok(())
    }
}

#[tokio::test]
async fn rules_that_change_while_a_run_goes_on_count_before_anything_is_removed() {
    for (at_places, moved) in [(false, false), (false, true), (true, false)] {
        let world = World::new();
        let edits = Arc::new(Edits {
            of: world.storages.source.clone(),
            armed: AtomicBool::new(false),
        });
        let mut job = world.job(World::options(Direction::TwoWay));
        job.patience = at_places.then(Arc::default);
        job.storages.target = observe(Arc::clone(&job.storages.target), Arc::clone(&edits) as _);
        let files = [("a", "1"), ("gone", "2"), ("x.o", "3"), ("stays", "4")];
        write(&world, Side::Source, &files);
        let mut looks = Looks::new(job, "test");
        looks.look(Area::Everything).await.unwrap();
        for side in Side::BOTH {
            world.storages[side].pass_time(Duration::from_secs(60));
        }
        world.storages.source.remove("gone").unwrap();
        world.storages.source.remove("x.o").unwrap();
        if moved {
            write(&world, Side::Source, &[("y.c", "3")]);
        }
        edits.armed.store(true, SeqCst);
        let area = match at_places {
            false => Area::Everything,
            true => {
                let mut area = Area::path(SyncPath::new("x.o").unwrap());
                area.add_path(SyncPath::new("gone").unwrap());
                area
            }
        };
        let report = looks.look(area).await.unwrap().report.unwrap();
        assert!(!edits.armed.load(SeqCst));
        assert!(report.problems.is_empty(), "{report:?}");
        let mut wanted = vec![".wlignore", "a", "stays", "x.o"];
        wanted.extend(moved.then_some("y.c"));
        assert_eq!(paths(&world, Side::Target), wanted, "{at_places} {moved}");
        assert_eq!(report.changes.target.removed, 1, "gone");
        looks.rest().await.unwrap();
    }
}

/// What the rules are is found out once for each look, on each side.
#[tokio::test(start_paused = true)]
async fn a_look_asks_for_the_rules_once() {
    let world = World::new();
    let recording = Recording::new();
    let (job, mut news) = polling(&world, &recording);
    let syncer = General::create(job);
    syncer.start_sync().await.unwrap();
    looked(&mut news).await.unwrap();
    recording.clear();
    looked(&mut news).await.unwrap();
    assert_eq!(recording.requests(Operation::FileToken), 2);
    syncer.stop_sync().await.unwrap();
}
