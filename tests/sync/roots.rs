//! Roots that are another one than at the last run: what is missing in them was never removed.

use std::sync::Arc;

use wl_core::model::{Direction, Outcome, RunReport, Side, Sides, SyncPath, Token};
use wl_core::state::{PairState, RowChange};
use wl_core::storage::{MachineFolder, RootMarker};
use wl_core::sync::{SyncError, SyncOptions, one_shot};
use wl_core::testing::{Call, Observer, Operation, observe};
use wl_test_trees::{Node, Tree};

use crate::world::{World, edit_to, read};

const DIRECTIONS: [Direction; 3] = [Direction::TwoWay, Direction::OneWay, Direction::Mirror];

fn marker(file_system: &str, folder: &str) -> RootMarker {
    RootMarker {
        file_system: file_system.to_owned(),
        folder: (!folder.is_empty()).then(|| folder.to_owned()),
        renumbered: false,
        start: None,
    }
}

fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    for (path, content) in files {
        wl_test_trees::add(&mut tree, path, Node::File((*content).to_owned()));
    }
    tree
}

const AGREED: [(&str, &str); 4] = [("a", "1"), ("d", "4"), ("e", "5"), ("same", "s")];

/// A pair that was in sync, of which `side` is then in another folder, or on another file system.
async fn moved(side: Side, to: RootMarker, holds: &[(&str, &str)]) -> World {
    let world = World::new();
    for storage in [&world.storages.source, &world.storages.target] {
        storage.set_root_marker(marker("fs", "5 born-7"));
    }
    edit_to(&world.storages.source, &tree(&AGREED));
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    world.storages[side].set_root_marker(to);
    edit_to(&world.storages[side], &tree(holds));
    world
}

/// As a user runs it, with nothing allowed.
async fn run(world: &World, direction: Direction) -> Result<RunReport, SyncError> {
    world.run(SyncOptions::new(direction)).await
}

async fn accept(world: &World, direction: Direction) -> RunReport {
    let mut options = SyncOptions::new(direction);
    options.accept_new_filesystem = true;
    world.run(options).await.unwrap()
}

fn class<T: std::fmt::Debug>(result: Result<T, SyncError>) -> String {
    result.unwrap_err().class.name()
}

#[tokio::test]
async fn another_root_is_refused_and_nothing_is_touched_until_the_right_one_is_back() {
    for side in Side::BOTH {
        for to in [marker("fs", "6 born-9"), marker("other", "5 born-7")] {
            for direction in DIRECTIONS {
                let world = moved(side, to.clone(), &[("other", "o")]).await;
                let before = [Side::Source, Side::Target].map(|side| read(&world.storages[side]));
                for _ in 0..2 {
                    let error = run(&world, direction).await.unwrap_err();
                    assert_eq!(error.class.name(), "root-changed", "{error}");
                    for way_out in ["back", "--accept-new-filesystem", &side.to_string()] {
                        let said = error.desc.contains(way_out) || error.desc.contains("mount");
                        assert!(said, "{way_out}: {error}");
                    }
                    let now = [Side::Source, Side::Target].map(|side| read(&world.storages[side]));
                    assert_eq!(now, before);
                }
                world.storages[side].set_root_marker(marker("fs", "5 born-7"));
                edit_to(&world.storages[side], &tree(&AGREED));
                let report = run(&world, direction).await.unwrap();
                assert_eq!(report.result, Outcome::Synced, "{report:?}");
                assert_eq!(report.changes, Default::default(), "{report:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_accepted_root_gets_what_it_lacks_and_nothing_is_removed() {
    let new = [("a", "edited"), ("new", "n"), ("same", "s")];
    for side in Side::BOTH {
        for to in [marker("fs", "6 born-9"), marker("other", "5 born-7")] {
            let world = moved(side, to, &new).await;
            // Removed on the side that is as it was, and still in the other root.
            world.storages[side.other()].remove("e").unwrap();
            let mut options = SyncOptions::new(Direction::TwoWay);
            options.accept_new_filesystem = true;
            options.dry_run = true;
            world.run(options).await.unwrap();
            assert_eq!(class(run(&world, Direction::TwoWay).await), "root-changed");
            let report = accept(&world, Direction::TwoWay).await;
            assert_eq!(report.result, Outcome::Conflicts, "{report:?}");
            assert_eq!(report.conflicts[0].path, "a");
            assert_eq!(
                report.changes.source.removed + report.changes.target.removed,
                0
            );
            let mut both = tree(&[("d", "4"), ("new", "n"), ("same", "s")]);
            for at in Side::BOTH {
                let a = if at == side { "edited" } else { "1" };
                wl_test_trees::add(&mut both, "a", Node::File(a.to_owned()));
                assert_eq!(read(&world.storages[at]), both, "{side} {at}");
            }
            let again = run(&world, Direction::TwoWay).await.unwrap();
            assert_eq!(again.changes, Default::default(), "{again:?}");
            world.storages[side].remove("d").unwrap();
            let removal = run(&world, Direction::TwoWay).await.unwrap();
            assert_eq!(removal.changes[side.other()].removed, 1, "{removal:?}");
        }
    }
}

#[tokio::test]
async fn an_accepted_root_of_a_one_way_run_loses_nothing() {
    for side in Side::BOTH {
        let world = moved(side, marker("fs", "6 born-9"), &[("a", "1"), ("new", "n")]).await;
        let report = accept(&world, Direction::OneWay).await;
        assert_eq!(report.result, Outcome::Synced, "{report:?}");
        let target = read(&world.storages.target);
        for (name, _) in AGREED {
            assert!(target.contains_key(name), "{side}: {name}");
        }
        assert_eq!(report.changes.target.removed, 0);
    }
}

/// What a mirror takes away is decided by its source, whichever that is: only the budget is between them.
#[tokio::test]
async fn a_mirror_of_an_accepted_source_is_told_and_held_to_the_budget() {
    let world = moved(Side::Source, marker("fs", "6 born-9"), &[("a", "1")]).await;
    let error = run(&world, Direction::Mirror).await.unwrap_err();
    assert!(error.desc.contains("--max-delete"), "{error}");
    let mut options = SyncOptions::new(Direction::Mirror);
    options.accept_new_filesystem = true;
    options.max_delete = wl_core::sync::DeleteBudget::Count(2);
    let report = world.run(options).await.unwrap();
    assert_eq!(report.result, Outcome::Failed, "{report:?}");
    assert_eq!(read(&world.storages.target), tree(&AGREED));
}

#[tokio::test]
async fn a_root_made_anew_and_empty_is_an_emptied_one_until_something_is_in_it() {
    for side in Side::BOTH {
        let anew = marker("fs", "6 born-9");
        let world = moved(side, anew, &[]).await;
        assert_eq!(class(run(&world, Direction::TwoWay).await), "root-emptied");
        // The refused run remembers nothing.
        edit_to(&world.storages[side], &tree(&[("other", "o")]));
        assert_eq!(class(run(&world, Direction::TwoWay).await), "root-changed");
        assert_eq!(read(&world.storages[side.other()]), tree(&AGREED));
        edit_to(&world.storages[side], &Tree::new());
        let report = world.sync(Direction::TwoWay).await;
        assert_eq!(report.result, Outcome::Synced, "{report:?}");
        assert!(read(&world.storages[side.other()]).is_empty());
    }
}

#[tokio::test]
async fn an_empty_root_that_is_accepted_as_new_is_filled() {
    for (side, empty_too) in [
        (Side::Source, false),
        (Side::Target, false),
        (Side::Source, true),
    ] {
        let world = moved(side, marker("other", "6"), &[]).await;
        let mut options = SyncOptions::new(Direction::TwoWay);
        options.allow_empty = true;
        assert_eq!(class(world.run(options.clone()).await), "root-changed");
        options.accept_new_filesystem = true;
        options.allow_empty = empty_too;
        let report = world.run(options).await.unwrap();
        assert_eq!(report.result, Outcome::Synced, "{report:?}");
        for side in Side::BOTH {
            assert_eq!(read(&world.storages[side]), tree(&AGREED));
        }
    }
}

#[tokio::test]
async fn what_an_older_wl_remembered_goes_on_and_is_widened() {
    let world = moved(Side::Source, marker("fs", ""), &AGREED).await;
    assert_eq!(
        run(&world, Direction::TwoWay).await.unwrap().result,
        Outcome::Synced
    );
    world
        .storages
        .source
        .set_root_marker(marker("fs", "8 born-8"));
    assert_eq!(
        run(&world, Direction::TwoWay).await.unwrap().result,
        Outcome::Synced
    );
    world
        .storages
        .source
        .set_root_marker(marker("fs", "9 born-8"));
    assert_eq!(class(run(&world, Direction::TwoWay).await), "root-changed");
}

#[tokio::test]
async fn where_nothing_was_agreed_on_another_folder_is_a_beginning() {
    let world = World::new();
    world.storages.source.set_root_marker(marker("fs", "1"));
    world.sync(Direction::TwoWay).await;
    world.storages.source.set_root_marker(marker("fs", "2"));
    edit_to(&world.storages.target, &tree(&AGREED));
    let report = run(&world, Direction::TwoWay).await.unwrap();
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(read(&world.storages.source), tree(&AGREED));
}

#[tokio::test]
async fn a_path_in_another_root_is_explained_by_the_refusal() {
    let world = moved(Side::Source, marker("fs", "6 born-9"), &[("other", "o")]).await;
    let job = world.job(SyncOptions::new(Direction::TwoWay));
    let path = wl_core::model::SyncPath::new("a").unwrap();
    let said = wl_core::sync::explain(&job, &path).await.unwrap();
    assert!(said.next.contains("another folder"), "{said:?}");
    world
        .storages
        .source
        .set_root_marker(marker("fs", "5 born-7"));
    let said = wl_core::sync::explain(&job, &path).await.unwrap();
    assert!(!said.next.contains("another folder"), "{said:?}");
}

/// A mount shows one of them at another path, under which nothing of that is to be seen. Nothing is written.
#[tokio::test]
async fn storages_that_lie_in_each_other_through_a_mount_are_refused() {
    let folder = |inode| MachineFolder { device: 7, inode };
    let folders = |inodes: &[u64]| inodes.iter().copied().map(folder).collect::<Vec<_>>();
    let cases: [(&[u64], &[u64], Option<&str>); 6] = [
        (&[3, 2, 1], &[2, 9, 1], Some("the source memory")),
        (&[2, 9, 1], &[3, 2, 1], Some("the target memory")),
        (&[3, 2, 1], &[3, 9, 1], Some("mounted as")),
        (&[3, 2, 1], &[4, 2, 1], None),
        (&[], &[2, 1], None),
        (&[], &[], None),
    ];
    for (source, target, refused) in cases {
        for direction in DIRECTIONS {
            let world = World::new();
            world.storages.source.write_file("a", "1").unwrap();
            world.storages.source.set_lies_in(folders(source));
            world.storages.target.set_lies_in(folders(target));
            let ran = world.run(World::options(direction)).await;
            match refused {
                Some(said) => {
                    let error = ran.unwrap_err();
                    assert_eq!(error.class.name(), "nested", "{error:?}");
                    assert!(error.desc.contains(said), "{error:?}");
                    assert!(world.storages.target.snapshot().is_empty());
                }
                None => assert_eq!(ran.unwrap().result, Outcome::Synced),
            }
        }
    }
}

/// The process dies when the last file was published, before it is recorded.
#[derive(Debug)]
struct Dies;

impl Observer for Dies {
    fn after(&self, call: &Call) -> wl_core::storage::Result<()> {
        let path = call.path.as_ref().map(SyncPath::name);
        let last = call.operation == Operation::Replace && path == Some("34");
        assert!(!last, "the process dies");
        Ok(())
    }
}

/// Another file system is mounted in the source, with an older state of what a killed run brought to the target: nothing goes because it is
/// missing there, neither what was agreed on nor what that run is known to have brought.
#[tokio::test(start_paused = true)]
async fn a_mounted_file_system_that_is_accepted_takes_nothing_away_after_a_kill() {
    for folder in ["mnt/.git", "mnt"] {
        let world = World::new();
        let Sides { source, target } = &world.storages;
        let object = |n: u32| format!("{folder}/objects/{n}");
        let write = |n: u32| source.write_file(&object(n), n.to_string()).unwrap();
        source.write_file("beside", "b").unwrap();
        source.write_file(&format!("{folder}/HEAD"), "1").unwrap();
        (0..20).for_each(write);
        assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
        (20..35).for_each(write);
        let mut job = world.job(World::options(Direction::TwoWay));
        job.storages = job
            .storages
            .map(|storage| observe(storage, Arc::new(Dies) as _));
        // Where it publishes in a task of its own, that dies, and the run says so.
        let killed = tokio::spawn(async move { one_shot(job, "test").await });
        let ended = killed.await;
        assert!(!ended.is_ok_and(|ended| ended.unwrap().error.is_none()));
        assert!(target.read_file(&object(34)).is_some());

        (20..35).for_each(|n| _ = source.remove(&object(n)).unwrap());
        write(99);
        let job = world.job(World::options(Direction::TwoWay));
        let identities = job.storages.as_ref().map(|storage| storage.identity());
        let mut state = PairState::open(&job.state_dir, identities).unwrap();
        let mnt = SyncPath::new("mnt").unwrap();
        let mut row = state.row_at(&mnt).unwrap().unwrap();
        row.sides.source.token = Token::new("another file system");
        state.apply(&[RowChange::Put(row)]).unwrap();
        drop(state);
        let report = world.sync(Direction::TwoWay).await;
        assert_eq!(report.problems[0].path, "mnt", "{report:?}");

        let before = read(target);
        let mut options = World::options(Direction::TwoWay);
        options.accept_new_filesystem = true;
        options.dry_run = true;
        let planned = world.run(options.clone()).await.unwrap();
        options.dry_run = false;
        let report = world.run(options).await.unwrap();
        assert_eq!(report.changes.target.removed, 0, "{report:?}");
        assert_eq!(planned.changes, report.changes, "{report:?}");
        assert_eq!(planned.result, report.result, "{report:?}");
        for n in 0..35 {
            assert!(target.read_file(&object(n)).is_some(), "{folder} {n}");
        }
        match report.result {
            Outcome::Synced => assert_eq!(read(source), read(target)),
            // Both sides have objects that the other lacks: one repository is not made of two.
            Outcome::Conflicts => assert_eq!(read(target), before),
            Outcome::Failed => panic!("{report:?}"),
        }
    }
}
