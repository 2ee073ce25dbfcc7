//! What only makes sense together: an editor that writes between any two calls never gets a mix published, and a run that breaks off at any
//! call is carried on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use proptest::prelude::*;
use wl_backends::memory::{MemoryBackend, MemorySettings};
use wl_core::filter::{MaxSize, Origin, Rule};
use wl_core::model::{Direction, Mode, Outcome, RunReport, Side, Sides, SyncPath};
use wl_core::storage::{Area, ErrorKind, Result, StorageError};
use wl_core::sync::{DeleteBudget, Keep, Looks, explain};
use wl_core::testing::{Call, Fault, Faults, Observer, Operation, observe};

use wl_test_trees::{Node, Tree};

use crate::histories::{Edit, Step, apply, config, history, run as play, with_names};
use crate::places;
use crate::world::{World, edit_to, read};

/// A group whose states have numbers: the number is in every file, and which files there are depends on it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Git,
    Sqlite,
}

const KINDS: [Kind; 2] = [Kind::Git, Kind::Sqlite];

type State = BTreeMap<String, String>;

fn state(kind: Kind, number: u64) -> State {
    let mut names = match kind {
        Kind::Git => vec![
            "r/.git/HEAD",
            "r/.git/config",
            "r/.git/index",
            "r/.git/refs/heads/a",
        ],
        Kind::Sqlite => vec!["r/x.db", "r/x.db-wal"],
    };
    match (kind, number % 3) {
        // A branch becomes a folder of branches.
        (Kind::Git, 0) => names.extend(["r/.git/refs/heads/b", "r/.git/objects/0/old"]),
        (Kind::Git, 1) => names.extend(["r/.git/refs/heads/b/c", "r/.git/objects/1/new"]),
        (Kind::Sqlite, 2) => _ = names.pop(),
        _ => {}
    }
    names
        .into_iter()
        .map(|name| (name.to_owned(), number.to_string()))
        .collect()
}

/// The group's files on a side.
fn held(storage: &MemoryBackend) -> State {
    let files = storage
        .snapshot()
        .into_iter()
        .filter_map(|(key, node)| match node {
            wl_backends::memory::MemoryNode::File { content, .. } => {
                Some((key, String::from_utf8_lossy(&content).into_owned()))
            }
            _ => None,
        });
    let scratch = |name: &str| name.ends_with("-shm");
    files
        .filter(|(name, _)| name.starts_with("r/") && !scratch(name))
        .collect()
}

/// The single edits from what is there to a state.
fn edits(from: &State, to: &State) -> Vec<(String, Option<String>)> {
    let gone = from.keys().filter(|name| !to.contains_key(*name));
    let mut edits: Vec<_> = gone.map(|name| (name.clone(), None)).collect();
    edits.extend(
        to.iter()
            .map(|(name, text)| (name.clone(), Some(text.clone()))),
    );
    edits
}

fn edit(storage: &MemoryBackend, (name, text): &(String, Option<String>)) {
    match text {
        // A folder may be in the way of a file.
        Some(text) if storage.write_file(name, text.as_bytes()).is_err() => {
            storage.remove(name).unwrap();
            storage.write_file(name, text.as_bytes()).unwrap();
        }
        Some(_) => {}
        None => _ = storage.remove(name).unwrap(),
    }
}

fn write(storage: &MemoryBackend, kind: Kind, number: u64) {
    let edits = edits(&held(storage), &state(kind, number));
    edits.iter().for_each(|one| edit(storage, one));
}

async fn begun(kind: Kind) -> World {
    let world = World::new();
    for side in Side::BOTH {
        world.storages[side].write_file("beside", "b").unwrap();
    }
    write(&world.storages.source, kind, 1);
    world.sync(Direction::TwoWay).await;
    assert_eq!(held(&world.storages.target), state(kind, 1));
    world
}

/// Counts calls; at one of them something begins.
#[derive(Debug)]
struct At {
    calls: AtomicU64,
    at: u64,
    world: Sides<MemoryBackend>,
    kind: Kind,
    /// Every call from then on fails, as if the run had been killed.
    dies: bool,
    /// It dies after the call was done.
    after: bool,
    /// The source goes on to this state, an edit at every call.
    writes: Option<u64>,
    begun: AtomicBool,
    /// What the target held when something was written to it.
    seen: std::sync::Mutex<Vec<State>>,
}

impl At {
    fn new(world: &World, kind: Kind, at: u64) -> Self {
        Self {
            calls: AtomicU64::new(0),
            at,
            world: world.storages.clone(),
            kind,
            dies: false,
            after: false,
            writes: None,
            begun: AtomicBool::new(false),
            seen: std::sync::Mutex::default(),
        }
    }

    fn step(&self) {
        let Some(number) = self.writes else { return };
        let source = &self.world.source;
        let mut edits = edits(&held(source), &state(self.kind, number));
        let now = held(source);
        edits.retain(|(name, text)| now.get(name) != text.as_ref());
        if let Some(one) = edits.first() {
            edit(source, one);
        }
    }
}

fn dead() -> Result<()> {
    Err(StorageError::new(ErrorKind::Unavailable, "test", "killed"))
}

impl Observer for At {
    fn before(&self, _: &Call) -> Result<()> {
        let call = self.calls.fetch_add(1, SeqCst);
        if call >= self.at {
            self.begun.store(true, SeqCst);
            self.step();
            if self.dies && (call > self.at || !self.after) {
                return dead();
            }
        }
        Ok(())
    }

    fn after(&self, call: &Call) -> Result<()> {
        use Operation as O;
        if matches!(
            call.operation,
            O::Replace | O::Remove | O::MakeFolder | O::Rename
        ) {
            self.seen.lock().unwrap().push(held(&self.world.target));
        }
        match self.dies && self.calls.load(SeqCst) > self.at {
            true => dead(),
            false => Ok(()),
        }
    }
}

async fn run(world: &World, at: &Arc<At>) -> Option<RunReport> {
    let around = |_, storage| observe(storage, at.clone());
    world
        .run_over(World::options(Direction::TwoWay), around)
        .await
        .ok()
}

/// The numbers of the states that what is held comes from.
fn numbers(held: &State) -> BTreeSet<String> {
    held.values().cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn an_editor_between_any_two_calls_never_gets_a_mix_published() {
    for kind in KINDS {
        let mut at = 0;
        loop {
            let world = begun(kind).await;
            write(&world.storages.source, kind, 2);
            world.storages.source.write_file("other", "o").unwrap();
            let mut editor = At::new(&world, kind, at);
            editor.writes = Some(3);
            let editor = Arc::new(editor);
            let report = run(&world, &editor).await.unwrap();
            let case = format!("{kind:?} from call {at}: {report:?}");
            assert!(
                report.conflicts.is_empty() && report.error.is_none(),
                "{case}"
            );
            let target = held(&world.storages.target);
            let whole = [1, 2, 3].map(|number| state(kind, number));
            assert!(whole.contains(&target), "{target:?}\n{case}");
            for seen in editor.seen.lock().unwrap().iter() {
                assert!(numbers(seen).len() <= 2, "{seen:?}\n{case}");
            }
            assert!(world.storages.target.read_file("other").is_some(), "{case}");
            if report.result != Outcome::Synced {
                assert_eq!(report.problems.len(), 1, "{case}");
            }
            let rest = world.sync(Direction::TwoWay).await;
            assert_eq!(rest.result, Outcome::Synced, "{rest:?}\n{case}");
            let source = held(&world.storages.source);
            assert_eq!(held(&world.storages.target), source, "{case}");
            if !editor.begun.load(SeqCst) {
                assert!(at > 20, "{case}");
                break;
            }
            at += 1;
        }
    }
}

/// A run that breaks off at a call, before or after it is done, while it carries this state over.
async fn killed(kind: Kind, number: u64, at: u64, after: bool) -> (World, Arc<At>) {
    let world = begun(kind).await;
    write(&world.storages.source, kind, number);
    let mut killer = At::new(&world, kind, at);
    killer.dies = true;
    killer.after = after;
    let killer = Arc::new(killer);
    run(&world, &killer).await;
    (world, killer)
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_killed_at_any_call_is_carried_on() {
    for (kind, after) in KINDS
        .into_iter()
        .flat_map(|kind| [(kind, false), (kind, true)])
    {
        for number in [2, 3] {
            let mut at = 0;
            loop {
                let (world, killer) = killed(kind, number, at, after).await;
                let case = format!("{kind:?} {number} at call {at}, after: {after}");
                for seen in killer.seen.lock().unwrap().iter() {
                    assert!(numbers(seen).len() <= 2, "{seen:?}\n{case}");
                }
                let rest = world.sync(Direction::TwoWay).await;
                assert_eq!(rest.result, Outcome::Synced, "{rest:?}\n{case}");
                assert_eq!(held(&world.storages.source), state(kind, number), "{case}");
                assert_eq!(held(&world.storages.target), state(kind, number), "{case}");
                if !killer.begun.load(SeqCst) {
                    break;
                }
                at += 1;
            }
        }
    }
}

/// The source goes on after a run broke off: what that run left on the target is no change of the target's. (But for a file that came in the
/// place of a folder that is back by then: docs/groups.md.)
#[tokio::test(start_paused = true)]
async fn who_goes_on_after_a_run_broke_off_makes_no_conflict() {
    for kind in KINDS {
        for (number, then) in [(2, 4), (3, 5), (2, 6)] {
            for after in [false, true] {
                let mut at = 0;
                loop {
                    let (world, killer) = killed(kind, number, at, after).await;
                    write(&world.storages.source, kind, then);
                    let case = format!("{kind:?} {number}, {then} at {at}, after: {after}");
                    let rest = world.sync(Direction::TwoWay).await;
                    assert_eq!(rest.result, Outcome::Synced, "{rest:?}\n{case}");
                    for side in Side::BOTH {
                        assert_eq!(held(&world.storages[side]), state(kind, then), "{case}");
                    }
                    if !killer.begun.load(SeqCst) {
                        break;
                    }
                    at += 1;
                }
            }
        }
    }
}

/// A run broke off, and by the next one a file of the group is too large: what was done until then stays as it is, usable, and is carried on
/// once nothing is too large any more.
#[tokio::test(start_paused = true)]
async fn a_group_that_is_left_out_after_a_run_broke_off_in_it_is_carried_on_later() {
    for (kind, last) in [(Kind::Git, "r/.git/index"), (Kind::Sqlite, "r/x.db-wal")] {
        let mut at = 0;
        loop {
            let (world, killer) = killed(kind, 3, at, true).await;
            let Sides { source, target } = &world.storages;
            let there = held(target);
            write(source, kind, 5);
            source.write_file(last, "5".repeat(100)).unwrap();
            let mut limited = World::options(Direction::TwoWay);
            limited.exclude.max_size = Some(MaxSize(50));
            let case = format!("{kind:?} at {at}");
            let report = world.run(limited).await.unwrap();
            assert_eq!(report.result, Outcome::Synced, "{report:?}\n{case}");
            assert_eq!(held(target), there, "{case}");
            let rest = world.sync(Direction::TwoWay).await;
            assert_eq!(rest.result, Outcome::Synced, "{rest:?}\n{case}");
            assert_eq!(held(target), held(source), "{case}");
            if !killer.begun.load(SeqCst) {
                break;
            }
            at += 1;
        }
    }
}

/// At every moment of a publication what is there points at what is there.
#[tokio::test]
async fn what_is_pointed_at_is_there_first() {
    let world = World::new();
    write(&world.storages.source, Kind::Git, 1);
    let watch = Arc::new(At::new(&world, Kind::Git, u64::MAX));
    run(&world, &watch).await.unwrap();
    let seen = watch.seen.lock().unwrap();
    let order = [
        "r/.git/objects/1/new",
        "r/.git/refs/heads/a",
        "r/.git/index",
        "r/.git/HEAD",
    ];
    let first = |name: &&str| {
        seen.iter()
            .position(|held| held.contains_key(*name))
            .unwrap()
    };
    let found: Vec<_> = order.iter().map(first).collect();
    assert!(found.is_sorted(), "{found:?}");
}

/// No database ever lies beside a log of another time.
#[tokio::test]
async fn a_database_never_meets_a_log_of_another_time() {
    let world = begun(Kind::Sqlite).await;
    write(&world.storages.source, Kind::Sqlite, 3);
    let watch = Arc::new(At::new(&world, Kind::Sqlite, u64::MAX));
    let report = run(&world, &watch).await.unwrap();
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    let seen = watch.seen.lock().unwrap();
    assert!(seen.len() >= 3, "{seen:?}");
    assert!(seen.iter().all(|held| numbers(held).len() == 1), "{seen:?}");
}

fn options(path: &str, keep: Keep) -> wl_core::sync::SyncOptions {
    let mut options = World::options(Direction::TwoWay);
    options.resolve = vec![(SyncPath::new(path).unwrap(), keep)];
    options
}

#[tokio::test]
async fn what_both_sides_changed_is_one_conflict_and_ends_whole() {
    for (kind, path, inside) in [
        (Kind::Git, "r/.git", "r/.git/HEAD"),
        (Kind::Sqlite, "r/x.db", "r/x.db-wal"),
    ] {
        for (keep, kept) in [(Keep::Source, 2), (Keep::Target, 3)] {
            let world = begun(kind).await;
            // Nothing is in conflict by itself.
            world.storages.source.write_file(inside, "2").unwrap();
            let other = match kind {
                Kind::Git => "r/.git/config",
                Kind::Sqlite => "r/x.db",
            };
            world.storages.target.write_file(other, "3").unwrap();
            world.storages.target.write_file("beside", "b2").unwrap();
            let sides = world.storages.as_ref().map(held);
            let report = world.sync(Direction::TwoWay).await;
            assert_eq!(report.conflicts.len(), 1, "{report:?}");
            assert_eq!(report.conflicts[0].path, path);
            assert!(report.problems.is_empty(), "{report:?}");
            assert_eq!(world.storages.as_ref().map(held), sides);
            assert_eq!(world.storages.source.read_file("beside").unwrap(), "b2");
            // Both cannot be had, nor a part.
            for (path, keep) in [
                (path, Keep::Both),
                (path, Keep::Newer),
                (inside, Keep::Source),
            ] {
                let report = world.run(options(path, keep)).await.unwrap();
                assert_eq!(report.result, Outcome::Failed, "{report:?}");
                assert_eq!(report.problems.len(), 1, "{report:?}");
                assert_eq!(world.storages.as_ref().map(held), sides, "{path} {keep:?}");
                assert_eq!(report.conflicts.len(), 1, "{report:?}");
            }
            let report = world.run(options(path, keep)).await.unwrap();
            assert_eq!(report.result, Outcome::Synced, "{report:?}");
            let winner = if kept == 2 {
                &sides.source
            } else {
                &sides.target
            };
            assert_eq!(
                world.storages.as_ref().map(held),
                Sides::new(winner.clone(), winner.clone())
            );
            let report = world.run(options(path, keep)).await.unwrap();
            assert_eq!(report.problems[0].operation, "resolve", "{report:?}");
            let report = world.sync(Direction::TwoWay).await;
            assert_eq!(report.changes, Sides::default(), "{report:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_transferred_while_somebody_is_at_work() {
    let journal = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7, 0, 0];
    for side in Side::BOTH {
        for (kind, lock) in [
            (Kind::Git, "r/.git/index.lock"),
            (Kind::Git, "r/.git/refs/heads/a.lock"),
            (Kind::Sqlite, "r/x.db-journal"),
        ] {
            let world = begun(kind).await;
            write(&world.storages.source, kind, 3);
            world.storages[side].write_file(lock, journal).unwrap();
            let report = world.sync(Direction::TwoWay).await;
            if side == Side::Source {
                assert_eq!(report.result, Outcome::Failed, "{report:?}");
                let problem = &report.problems[0];
                assert!(problem.reason.contains(lock), "{report:?}");
                assert!(problem.reason.contains("kept changing"), "{report:?}");
            } else {
                assert_ne!(report.result, Outcome::Synced, "{report:?}");
            }
            let mut target = held(&world.storages.target);
            target.remove(lock);
            assert_eq!(target, state(kind, 1), "{lock}");
            world.storages[side].remove(lock).unwrap();
            let report = world.sync(Direction::TwoWay).await;
            assert_eq!(report.result, Outcome::Synced, "{report:?}");
            assert_eq!(held(&world.storages.target), state(kind, 3));
        }
    }
}

/// A journal that is kept with its head wiped out says nothing.
#[tokio::test]
async fn a_wiped_journal_holds_nobody_up() {
    let world = begun(Kind::Sqlite).await;
    world.storages.source.write_file("r/x.db", "2").unwrap();
    world
        .storages
        .source
        .write_file("r/x.db-journal", [0; 512])
        .unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(read(&world.storages.target), read(&world.storages.source));
}

#[tokio::test]
async fn the_index_of_a_log_is_left_where_it_is_and_goes_with_its_database() {
    let world = begun(Kind::Sqlite).await;
    let Sides { source, target } = &world.storages;
    source.write_file("r/x.db-shm", "s").unwrap();
    target.write_file("r/x.db-shm", "t").unwrap();
    source.write_file("r/x.db-wal", "2").unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(target.read_file("r/x.db-wal").unwrap(), "2");
    assert_eq!(target.read_file("r/x.db-shm").unwrap(), "t");
    source.remove("r").unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(read(target), read(source));
    // Without a database it is a file like others.
    source.write_file("r/y-shm", "s").unwrap();
    world.sync(Direction::TwoWay).await;
    assert_eq!(target.read_file("r/y-shm").unwrap(), "s");
}

/// Also where the folder that both are in gives way to a file; nor does it come with a folder that takes a file's place.
#[tokio::test]
async fn the_index_of_a_log_goes_with_a_folder_that_becomes_a_file() {
    for (side, at_places) in Side::BOTH
        .map(|side| [(side, false), (side, true)])
        .concat()
    {
        let world = World::new();
        let [one, other] = [side, side.other()].map(|side| &world.storages[side]);
        one.write_file("beside", "b").unwrap();
        one.write_file("app/x.db", "1").unwrap();
        let mut looks = Looks::new(world.job(World::options(Direction::TwoWay)), "test");
        looks.look(Area::Everything).await.unwrap();
        let mut look = async || {
            let area = match at_places {
                true => Area::path(SyncPath::new("app").unwrap()),
                false => Area::Everything,
            };
            let report = looks.look(area).await.unwrap().report.unwrap();
            assert_eq!(report.result, Outcome::Synced, "{side} {report:?}");
        };
        other.write_file("app/x.db-shm", "s").unwrap();
        one.remove("app").unwrap();
        one.write_file("app", "a file").unwrap();
        look().await;
        assert_eq!(other.read_file("app").unwrap(), "a file");
        one.remove("app").unwrap();
        one.write_file("app/x.db", "2").unwrap();
        one.write_file("app/x.db-shm", "s").unwrap();
        look().await;
        assert_eq!(other.read_file("app/x.db").unwrap(), "2");
        assert_eq!(other.read_file("app/x.db-shm"), None);
    }
}

/// A one-way run leaves the source's alone in any case.
#[tokio::test]
async fn the_index_of_a_log_stays_on_the_source_of_a_one_way_run() {
    let world = World::new();
    let Sides { source, target } = &world.storages;
    source.write_file("app/x.db", "1").unwrap();
    source.write_file("y.db", "1").unwrap();
    world.sync(Direction::OneWay).await;
    source.write_file("app/x.db-shm", "s").unwrap();
    source.write_file("y.db-shm", "s").unwrap();
    for name in ["app", "y.db"] {
        target.remove(name).unwrap();
    }
    target.write_file("app", "a file").unwrap();
    target.write_file("y.db/in", "a folder").unwrap();
    let before = read(source);
    world.sync(Direction::OneWay).await;
    assert_eq!(read(source), before);
}

/// What takes a database's place knows nothing of its log.
#[tokio::test]
async fn the_index_of_a_log_goes_with_a_database_that_becomes_a_folder() {
    for (side, direction) in [
        (Side::Source, Direction::TwoWay),
        (Side::Target, Direction::TwoWay),
        (Side::Source, Direction::Mirror),
    ] {
        let world = begun(Kind::Sqlite).await;
        let [one, other] = [side, side.other()].map(|side| &world.storages[side]);
        one.write_file("r/x.db-shm", "s").unwrap();
        other.write_file("r/x.db-shm", "t").unwrap();
        one.remove("r/x.db").unwrap();
        one.remove("r/x.db-wal").unwrap();
        one.write_file("r/x.db/in", "a folder").unwrap();
        for _ in 0..2 {
            let report = world.sync(direction).await;
            assert_eq!(report.result, Outcome::Synced, "{side} {report:?}");
        }
        // By itself it is a file like others.
        assert_eq!(other.read_file("r/x.db-shm").unwrap(), "s");
        assert_eq!(read(one), read(other));
    }
}

#[tokio::test]
async fn what_goes_with_a_group_is_judged_with_all_removals() {
    for (kind, folder) in [(Kind::Git, "r/.git"), (Kind::Git, "r"), (Kind::Sqlite, "r")] {
        let world = begun(kind).await;
        world.storages.source.remove(folder).unwrap();
        let mut options = World::options(Direction::TwoWay);
        options.max_delete = DeleteBudget::Count(0);
        let report = world.run(options).await.unwrap();
        assert_eq!(report.error.unwrap().class, "delete-budget");
        assert_eq!(held(&world.storages.target), state(kind, 1), "{folder}");
        let report = world.sync(Direction::TwoWay).await;
        assert_eq!(report.result, Outcome::Synced, "{report:?}");
        assert_eq!(read(&world.storages.target), read(&world.storages.source));
    }
}

/// A folder that is gone on one side is made again for a new group in it, and kept for one that is in conflict.
#[tokio::test]
async fn a_group_keeps_and_brings_back_the_folders_above_it() {
    let world = World::new();
    world.storages.source.write_file("r/s/x", "1").unwrap();
    world.sync(Direction::TwoWay).await;
    world.storages.source.remove("r").unwrap();
    write(&world.storages.target, Kind::Git, 1);
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(held(&world.storages.source), state(Kind::Git, 1));
    world.storages.source.remove("r").unwrap();
    world
        .storages
        .target
        .write_file("r/.git/HEAD", "2")
        .unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.conflicts[0].path, "r/.git", "{report:?}");
    assert!(!world.storages.source.snapshot().contains_key("r/"));
    assert_eq!(
        held(&world.storages.target).len(),
        state(Kind::Git, 1).len()
    );
}

/// Permission bits are part of a group, what a side may not write is let alone, and a mirror puts back all of it.
#[tokio::test]
async fn modes_drift_and_mirrors_are_as_ever() {
    let world = begun(Kind::Git).await;
    world
        .storages
        .source
        .chmod("r/.git/HEAD", Mode::new(0o600))
        .unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(
        (report.result, report.changes.target.updated),
        (Outcome::Synced, 1)
    );
    world
        .storages
        .target
        .chmod("r/.git/HEAD", Mode::new(0o640))
        .unwrap();
    world
        .storages
        .source
        .write_file("r/.git/index", "2")
        .unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.conflicts.len(), 1, "{report:?}");
    let report = world.sync(Direction::Mirror).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(held(&world.storages.target), held(&world.storages.source));
    world
        .storages
        .target
        .write_file("r/.git/config", "9")
        .unwrap();
    let report = world.sync(Direction::OneWay).await;
    assert_eq!(report.drift.len(), 1, "{report:?}");
    world
        .storages
        .source
        .write_file("r/.git/index", "3")
        .unwrap();
    let report = world.sync(Direction::OneWay).await;
    assert_eq!(report.conflicts.len(), 1, "{report:?}");
    assert_eq!(
        world.storages.target.read_file("r/.git/index").unwrap(),
        "2"
    );
}

/// What the target lacks is told once, however much is in it.
#[tokio::test]
async fn a_group_that_a_one_way_target_lacks_is_one_drift() {
    for folder in ["r/.git", "r"] {
        let world = begun(Kind::Git).await;
        world.storages.target.remove(folder).unwrap();
        let report = world.sync(Direction::OneWay).await;
        let told: Vec<_> = report
            .drift
            .iter()
            .map(|drift| drift.path.as_str())
            .collect();
        assert_eq!(told, [folder]);
        assert!(report.problems.is_empty() && report.conflicts.is_empty());
    }
}

/// What was agreed on of another type is met late in the merge; it is a group all the same.
#[tokio::test]
async fn a_database_where_a_folder_was_is_one() {
    let world = World::new();
    world.storages.source.make_folder("x").unwrap();
    world.sync(Direction::TwoWay).await;
    for side in Side::BOTH {
        world.storages[side].remove("x").unwrap();
        world.storages[side]
            .write_file("x", format!("{side:?}"))
            .unwrap();
    }
    world.storages.source.write_file("x-wal", "w").unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.conflicts.len(), 1, "{report:?}");
    assert_eq!(world.storages.target.read_file("x-wal"), None);
}

/// A wish for one path says nothing of what only looks as if it were beside it.
#[tokio::test]
async fn a_wish_touches_nothing_beside_its_path() {
    let world = World::new();
    for side in Side::BOTH {
        world.storages[side]
            .write_file("a-journal", format!("{side:?}"))
            .unwrap();
    }
    world.storages.source.write_file("a-wal", "w").unwrap();
    let report = world.run(options("a-journal", Keep::Source)).await.unwrap();
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(
        world.storages.target.read_file("a-journal").unwrap(),
        "Source"
    );
    assert_eq!(world.storages.target.read_file("a-wal"), None);
}

/// Something that cannot be read holds up the group that it is in, and nothing else.
#[tokio::test]
async fn what_is_unknown_holds_up_its_group() {
    let world = begun(Kind::Git).await;
    write(&world.storages.source, Kind::Git, 2);
    world.storages.source.write_file("other", "o").unwrap();
    world
        .storages
        .source
        .set_unreadable("r/.git/refs", true)
        .unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Failed, "{report:?}");
    assert_eq!(held(&world.storages.target), state(Kind::Git, 1));
    assert!(world.storages.target.read_file("other").is_some());
    world
        .storages
        .source
        .set_unreadable("r/.git/refs", false)
        .unwrap();
    assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
    assert_eq!(held(&world.storages.target), state(Kind::Git, 2));
}

/// Where a listing breaks off right behind a database nobody knows that a new log lies beside it.
#[tokio::test]
async fn a_listing_that_breaks_off_anywhere_takes_no_database_without_its_log() {
    for (side, rows) in Side::BOTH
        .into_iter()
        .flat_map(|side| (0..6).map(move |rows| (side, rows)))
    {
        let world = begun(Kind::Sqlite).await;
        write(&world.storages.source, Kind::Sqlite, 2);
        world.sync(Direction::TwoWay).await;
        write(&world.storages.source, Kind::Sqlite, 3);
        let cut = Fault::CutListing {
            listing: 1,
            rows,
            kind: ErrorKind::Other,
        };
        let faults = Faults::new([cut]);
        let around = |at, storage| match at == side {
            true => faults.over(storage),
            false => storage,
        };
        let options = World::options(Direction::TwoWay);
        world.run_over(options, around).await.unwrap();
        let there = held(&world.storages.target);
        let whole = [2, 3].map(|number| state(Kind::Sqlite, number));
        assert!(whole.contains(&there), "{cut:?} on the {side}: {there:?}");
        world.sync(Direction::TwoWay).await;
        assert_eq!(held(&world.storages.target), whole[1], "{cut:?}");
    }
}

/// Nor does one go over of which a new log is there that nobody can look at.
#[tokio::test]
async fn a_log_that_cannot_be_looked_at_holds_up_its_database() {
    let world = begun(Kind::Sqlite).await;
    write(&world.storages.source, Kind::Sqlite, 2);
    world.sync(Direction::TwoWay).await;
    write(&world.storages.source, Kind::Sqlite, 3);
    let close = |closed| {
        let source = &world.storages.source;
        source.set_unreadable("r/x.db-wal", closed).unwrap();
    };
    close(true);
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Failed, "{report:?}");
    assert_eq!(held(&world.storages.target), state(Kind::Sqlite, 2));
    close(false);
    world.sync(Direction::TwoWay).await;
    assert_eq!(held(&world.storages.target), state(Kind::Sqlite, 3));
}

/// Neither a lock nor anything else in a repository is left out by rules that do not speak of repositories.
#[tokio::test]
async fn rules_make_no_hole_in_a_repository() {
    let world = begun(Kind::Git).await;
    let mut options = World::options(Direction::TwoWay);
    let preset = wl_core::filter::Preset::VcsCaches;
    options.exclude.presets.push(preset);
    for line in ["build/", "*.pack", "refs"] {
        let rule = Rule::exclude(line, Origin::CommandLine);
        options.exclude.rules.push(rule);
    }
    let new = [
        "r/.git/refs/heads/build/fix",
        "r/.git/objects/pack/1.pack",
        "r/.git/index.lock",
    ];
    for name in new {
        world.storages.source.write_file(name, "1").unwrap();
    }
    let report = world.run(options.clone()).await.unwrap();
    assert!(
        report.problems[0].reason.contains("index.lock"),
        "{report:?}"
    );
    assert_eq!(held(&world.storages.target), state(Kind::Git, 1));
    world.storages.source.remove(new[2]).unwrap();
    let report = world.run(options.clone()).await.unwrap();
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(held(&world.storages.target), held(&world.storages.source));
    // Who names the folder means it.
    let rule = Rule::exclude("**/.git/*.md", Origin::CommandLine);
    options.exclude.rules.push(rule);
    world
        .storages
        .source
        .write_file("r/.git/a.md", "1")
        .unwrap();
    world.run(options).await.unwrap();
    assert_eq!(world.storages.target.read_file("r/.git/a.md"), None);
}

/// `git gc` makes one pack of many objects. A repository that goes with all that is in it is another matter.
#[tokio::test]
async fn objects_that_git_packs_are_no_loss() {
    let world = begun(Kind::Git).await;
    let object = |number: u32| format!("r/.git/objects/{number}/x");
    for number in 0..30 {
        let content = format!("object {number}");
        world
            .storages
            .source
            .write_file(&object(number), content)
            .unwrap();
    }
    world.sync(Direction::TwoWay).await;
    for number in 0..30 {
        world.storages.source.remove(&object(number)).unwrap();
    }
    world
        .storages
        .source
        .write_file("r/.git/objects/pack/1.pack", "all")
        .unwrap();
    let mut options = World::options(Direction::TwoWay);
    options.max_delete = DeleteBudget::Count(0);
    let report = world.run(options.clone()).await.unwrap();
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(held(&world.storages.target), held(&world.storages.source));
    for name in ["r/.git/objects", "r/.git"] {
        world.storages.source.remove(name).unwrap();
        let report = world.run(options.clone()).await.unwrap();
        assert_eq!(report.error.unwrap().class, "delete-budget", "{name}");
    }
}

/// A look at one path of a group is one at all of it; one that does not come to rest is told as what is to be looked at again.
#[tokio::test]
async fn a_look_at_one_path_is_a_look_at_the_group() {
    for (kind, said, group) in [
        (Kind::Git, "r/.git/HEAD", "r/.git"),
        (Kind::Sqlite, "r/x.db", "r/x.db"),
        (Kind::Sqlite, "r/x.db-wal", "r/x.db"),
    ] {
        let world = begun(kind).await;
        let mut looks = Looks::new(world.job(World::options(Direction::TwoWay)), "test");
        let area = || Area::path(SyncPath::new(said).unwrap());
        write(&world.storages.source, kind, 3);
        let looked = looks.look(area()).await.unwrap().report.unwrap();
        assert_eq!(looked.result, Outcome::Synced, "{said} {looked:?}");
        assert_eq!(held(&world.storages.target), state(kind, 3), "{said}");
        write(&world.storages.target, kind, 5);
        write(&world.storages.source, kind, 4);
        let looked = looks.look(area()).await.unwrap().report.unwrap();
        assert_eq!(looked.conflicts[0].path, group, "{said}");
        write(&world.storages.target, kind, 4);
        let looked = looks.look(area()).await.unwrap().report.unwrap();
        assert_eq!(looked.conflicts, [], "{said}");
        if kind == Kind::Git {
            world
                .storages
                .source
                .write_file("r/.git/index.lock", "")
                .unwrap();
            let looked = looks.look(area()).await.unwrap();
            assert!(looked.moving, "{looked:?}");
            assert_eq!(looked.again, [SyncPath::new(group).unwrap()]);
            world.storages.source.remove("r/.git/index.lock").unwrap();
            let looked = looks
                .look(Area::path(SyncPath::new(group).unwrap()))
                .await
                .unwrap();
            assert_eq!(looked.report.unwrap().result, Outcome::Synced);
        }
        looks.rest().await.unwrap();
    }
}

/// Nobody told of the log, and no baseline knows of it: it is looked for beside a file of any size. One that is no database now may have been
/// one that held it back.
#[tokio::test]
async fn a_new_database_takes_along_what_lies_beside_it() {
    for size in [0, 511, 512, 513, 8192] {
        let world = begun(Kind::Sqlite).await;
        let mut looks = Looks::new(world.job(World::options(Direction::TwoWay)), "test");
        let Sides { source, target } = &world.storages;
        source.write_file("new.db", vec![1; size]).unwrap();
        source.write_file("new.db-wal", "log").unwrap();
        let area = Area::path(SyncPath::new("new.db").unwrap());
        let looked = looks.look(area).await.unwrap().report.unwrap();
        assert_eq!(looked.result, Outcome::Synced, "{size} {looked:?}");
        assert_eq!(target.read_file("new.db").unwrap().len(), size);
        assert!(target.read_file("new.db-wal").is_some(), "{size}");
        looks.rest().await.unwrap();
    }
}

/// What is never synced keeps the folders that it is in, and holds up nobody.
#[tokio::test]
async fn what_is_left_alone_keeps_its_folder() {
    let world = begun(Kind::Git).await;
    let Sides { source, target } = &world.storages;
    target.make_special("r/.git/refs/daemon.ipc").unwrap();
    target.add_odd_name("r/.git/objects", "odd").unwrap();
    write(source, Kind::Git, 2);
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(held(target), state(Kind::Git, 2), "{report:?}");
    source.remove("r/.git").unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert!(held(target).is_empty(), "{report:?}");
    assert!(target.snapshot().contains_key("r/.git/refs/"));
    assert!(target.snapshot().contains_key("r/.git/objects/"));
    let told = report
        .problems
        .iter()
        .map(|problem| problem.operation.as_str());
    assert_eq!(told.collect::<Vec<_>>(), ["list"], "{report:?}");
}

/// Storages that keep no empty folders or bits, and whose listings prove nothing.
#[tokio::test]
async fn weaker_storages_get_groups_whole_too() {
    let weak = MemorySettings {
        stale_listings: true,
        ..MemorySettings::default().empty_folders(false).modes(false)
    };
    for (kind, weaker) in KINDS
        .into_iter()
        .flat_map(|kind| Side::BOTH.map(|side| (kind, side)))
    {
        let mut world = World::new();
        world.storages[weaker] = MemoryBackend::private(weak);
        for number in [1, 2, 3, 4] {
            write(&world.storages.source, kind, number);
            let report = world.sync(Direction::TwoWay).await;
            assert_eq!(
                report.result,
                Outcome::Synced,
                "{kind:?} {number} {report:?}"
            );
            assert_eq!(held(&world.storages.target), state(kind, number));
        }
        write(&world.storages.target, kind, 5);
        let report = world.sync(Direction::TwoWay).await;
        assert_eq!(report.result, Outcome::Synced, "{kind:?} {report:?}");
        assert_eq!(held(&world.storages.source), state(kind, 5));
        world.storages.source.remove("r").unwrap();
        let report = world.sync(Direction::TwoWay).await;
        assert_eq!(report.result, Outcome::Synced, "{kind:?} {report:?}");
        assert!(held(&world.storages.target).is_empty());
    }
}

/// Whether the storages copy by themselves or not, what is published was read.
#[tokio::test]
async fn groups_are_not_copied_by_storages() {
    let world = World::copying();
    write(&world.storages.source, Kind::Git, 1);
    world.storages.source.write_file("other", "o").unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(report.bytes.read, state(Kind::Git, 1).len() as u64);
    assert_eq!(held(&world.storages.target), state(Kind::Git, 1));
}

/// A version that another could follow without a trace is not taken for one that is at rest.
#[tokio::test(start_paused = true)]
async fn what_was_written_a_moment_ago_waits() {
    let mut world = World::new();
    let coarse = MemorySettings {
        changes_per_token: 5,
        ..MemorySettings::default()
    };
    world.storages.source = MemoryBackend::private(coarse);
    let source = &world.storages.source;
    write(source, Kind::Git, 1);
    for n in 0..5 {
        source.write_file("other", format!("{n}")).unwrap();
    }
    world.sync(Direction::TwoWay).await;
    assert_eq!(held(&world.storages.target), state(Kind::Git, 1));
    source.write_file("r/.git/HEAD", "2").unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert!(
        report.problems[0].reason.contains("a moment ago"),
        "{report:?}"
    );
    assert_eq!(held(&world.storages.target), state(Kind::Git, 1));
    for n in 0..5 {
        source.write_file("other", format!("{n}!")).unwrap();
    }
    world.sync(Direction::TwoWay).await;
    assert_eq!(world.storages.target.read_file("r/.git/HEAD").unwrap(), "2");
}

/// A log that may have changed without its showing is put off by nobody who takes its database.
#[tokio::test]
async fn a_log_that_is_too_young_to_be_known_goes_with_its_database() {
    for (changes_per_token, between) in (2..7).flat_map(|n| (0..n).map(move |k| (n, k))) {
        let mut world = World::new();
        let coarse = MemorySettings {
            changes_per_token,
            ..MemorySettings::default()
        };
        world.storages.target = MemoryBackend::private(coarse);
        write(&world.storages.source, Kind::Sqlite, 1);
        let mut looks = Looks::new(world.job(World::options(Direction::TwoWay)), "test");
        looks.look(Area::Everything).await.unwrap();
        let edit = |name: &str| world.storages.target.write_file(name, "4").unwrap();
        edit("r/x.db-wal");
        (0..between).for_each(|_| edit("beside"));
        edit("r/x.db");
        let area = Area::path(SyncPath::new("r/x.db").unwrap());
        looks.look(area).await.unwrap();
        let there = held(&world.storages.source);
        let whole = [1, 4].map(|number| state(Kind::Sqlite, number));
        assert!(
            whole.contains(&there),
            "{changes_per_token}, {between}: {there:?}"
        );
    }
}

/// Whoever asks about a path in a group is told of the group.
#[tokio::test]
async fn a_path_is_explained_by_its_group() {
    let world = begun(Kind::Git).await;
    let job = world.job(World::options(Direction::TwoWay));
    let inside = SyncPath::new("r/.git/index").unwrap();
    world
        .storages
        .source
        .write_file("r/.git/index", "2")
        .unwrap();
    let told = explain(&job, &inside).await.unwrap();
    assert!(
        told.next.contains("together with the rest of r/.git"),
        "{told:?}"
    );
    world
        .storages
        .target
        .write_file("r/.git/HEAD", "3")
        .unwrap();
    world.sync(Direction::TwoWay).await;
    let told = explain(&job, &inside).await.unwrap();
    assert_eq!(told.conflict.unwrap().path, "r/.git");
    assert!(told.next.contains("conflict of r/.git"), "{}", told.next);
}

fn at<'a>(tree: &'a Tree, path: &str) -> Option<&'a Node> {
    let (first, rest) = path
        .split_once('/')
        .map_or((path, None), |(a, b)| (a, Some(b)));
    match (tree.get(first)?, rest) {
        (node, None) => Some(node),
        (Node::Folder(inside), Some(rest)) => at(inside, rest),
        _ => None,
    }
}

/// Both sides are edited: a conflict touches nothing of its group, and where there is none both are equal.
async fn edited_by_both(history: Vec<Step>) {
    let world = World::new();
    for step in history.into_iter().chain([Step::Sync]) {
        match step {
            Step::Edit(source, edit) => {
                let side = if source { Side::Source } else { Side::Target };
                let mut tree = read(&world.storages[side]);
                apply(&mut tree, &edit);
                edit_to(&world.storages[side], &tree);
            }
            Step::Forget => world.forget(),
            Step::Sync | Step::Filtered => {
                let before = world.storages.as_ref().map(read);
                let report = world.sync(Direction::TwoWay).await;
                let after = world.storages.as_ref().map(read);
                let case = format!("{before:?}\n{after:?}\n{report:?}");
                assert!(
                    report.problems.is_empty() && report.error.is_none(),
                    "{case}"
                );
                if report.conflicts.is_empty() {
                    assert_eq!(after.source, after.target, "{case}");
                }
                for conflict in &report.conflicts {
                    for end in ["", "-wal", "-journal"] {
                        let path = format!("{}{end}", conflict.path);
                        let folder =
                            |side: Side| matches!(at(&before[side], &path), Some(Node::Folder(_)));
                        let part = conflict.reason.contains("SQLite")
                            && !Side::BOTH.into_iter().any(folder);
                        if end.is_empty() || part {
                            for side in Side::BOTH {
                                let untouched = at(&before[side], &path) == at(&after[side], &path);
                                assert!(untouched, "{path} on the {side}\n{case}");
                            }
                        }
                    }
                }
                let again = world.sync(Direction::TwoWay).await;
                assert_eq!(again.changes, Sides::default(), "{again:?}\n{case}");
                let paths = |report: &RunReport| {
                    let conflicts = report.conflicts.iter();
                    // What lies beside a folder that becomes a database is a part of that from then on.
                    let ends = ["-wal", "-journal"];
                    let of = |path: &str| {
                        ends.iter()
                            .find_map(|end| path.strip_suffix(end).map(str::to_owned))
                    };
                    let paths =
                        conflicts.map(|one| of(&one.path).unwrap_or_else(|| one.path.clone()));
                    paths.collect::<BTreeSet<_>>()
                };
                assert_eq!(paths(&again), paths(&report), "{case}");
            }
        }
    }
}

const NAMES: [&str; 6] = [".git", "x", "x-wal", "x-journal", "HEAD", "refs"];

/// One side alone is edited: groups come and go, change their types, and lose parts; the outcome is that of any other paths.
fn one_sided(history: Vec<Step>) -> Vec<Step> {
    let steps = history
        .into_iter()
        .filter(|step| !matches!(step, Step::Forget));
    let steps = steps.map(|step| match step {
        Step::Edit(_, edit) => Step::Edit(true, edit),
        step => step,
    });
    steps.collect()
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn edits_of_one_side_arrive(history in history()) {
        with_names(NAMES, || play(Direction::TwoWay, one_sided(history.clone())));
        with_names(NAMES, || play(Direction::OneWay, one_sided(history)));
    }

    #[test]
    fn looks_at_places_find_edits_of_one_side(history in history(), told in prop_oneof![
        Just(places::Told::Paths),
        Just(places::Told::Subtrees),
        Just(places::Told::Swept),
    ]) {
        with_names(NAMES, || places::run(Direction::TwoWay, one_sided(history), told));
    }

    #[test]
    fn edits_of_both_sides_meet_in_groups(history in history()) {
        with_names(NAMES, || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(edited_by_both(history));
        });
    }

    #[test]
    fn a_mirror_is_one(history in history()) {
        with_names(NAMES, || play(Direction::Mirror, history));
    }
}

/// A new log on one side and a new journal on the other belong to no database any more.
#[tokio::test]
async fn what_lies_beside_a_database_that_becomes_a_folder_is_decided_path_by_path() {
    let world = World::new();
    let Sides { source, target } = &world.storages;
    source.write_file("x", "1").unwrap();
    let mut looks = Looks::new(world.job(World::options(Direction::TwoWay)), "test");
    looks.look(Area::Everything).await.unwrap();
    source.write_file("x-wal", "w").unwrap();
    target.remove("x").unwrap();
    target.write_file("x/in", "a folder").unwrap();
    target.write_file("x-journal", "j").unwrap();
    let area = Area::path(SyncPath::new("x").unwrap());
    let report = looks.look(area).await.unwrap().report.unwrap();
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(read(source), read(target));
    assert_eq!(source.read_file("x-journal").unwrap(), "j");
    assert_eq!(target.read_file("x-wal").unwrap(), "w");
}

/// That the target holds a folder there is met between the one file beside it and the other.
#[test]
fn what_lies_beside_a_folder_that_becomes_a_file_is_all_of_one_group() {
    let write = |path: &[usize]| Step::Edit(true, Edit::Write(path.to_vec(), "aaa".to_owned()));
    let history = vec![
        write(&[2]),
        write(&[1, 0]),
        Step::Sync,
        Step::Edit(true, Edit::Move(vec![2], vec![3])),
        write(&[1]),
    ];
    with_names(NAMES, || {
        places::run(Direction::TwoWay, history, places::Told::Paths)
    });
}
