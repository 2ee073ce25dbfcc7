//! What goes with a group counts as lost if it goes, and only then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use wl_backends::memory::MemoryBackend;
use wl_core::model::{Direction, Outcome, RunReport, Side, Sides, SyncPath};
use wl_core::storage::{Area, ErrorKind, Result, StorageError};
use wl_core::sync::{DeleteBudget, Keep, Looks, SyncOptions};
use wl_core::testing::{Call, Observer, Operation, observe};

use crate::world::{World, read};

/// So many files are below `.git/lfs`.
const FILES: usize = 5;

fn budget(most: u64) -> SyncOptions {
    let mut options = World::options(Direction::TwoWay);
    options.max_delete = DeleteBudget::Count(most);
    options
}

fn lfs(number: usize) -> String {
    format!("r/.git/lfs/{number}")
}

/// A repository and two other files that both sides have.
async fn begun() -> World {
    let world = World::new();
    let source = &world.storages.source;
    for name in ["r/.git/HEAD", "r/.git/config", "always", "other"] {
        source.write_file(name, name).unwrap();
    }
    for number in 0..FILES {
        source.write_file(&lfs(number), lfs(number)).unwrap();
    }
    assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
    world
}

fn prune(world: &World) {
    for number in 0..FILES {
        assert!(world.storages.source.remove(&lfs(number)).unwrap());
    }
}

/// Refuses to read a path.
#[derive(Debug)]
struct Unreadable(&'static str);

impl Observer for Unreadable {
    fn before(&self, call: &Call) -> Result<()> {
        let reads = [Operation::Read, Operation::ReadSmall, Operation::Hash];
        let here = call.path.as_ref().is_some_and(|at| at.as_str() == self.0);
        match here && reads.contains(&call.operation) {
            true => Err(StorageError::new(ErrorKind::Denied, "read", "as planned")),
            false => Ok(()),
        }
    }
}

/// What keeps a repository from being transferred keeps nothing else.
#[tokio::test(start_paused = true)]
async fn a_group_that_is_left_does_not_use_up_the_budget() {
    for why in ["conflict", "work", "trouble"] {
        let world = begun().await;
        prune(&world);
        world.storages.source.remove("other").unwrap();
        match why {
            "conflict" => world.storages.target.write_file("r/.git/config", "2"),
            "work" => world.storages.source.write_file("r/.git/index.lock", ""),
            // It has to be read to know whether it was edited.
            _ => world
                .storages
                .source
                .write_file("r/.git/config", "R/.GIT/CONFIG"),
        }
        .unwrap();
        let unreadable = |side, storage| match (side, why) {
            (Side::Source, "trouble") => observe(storage, Arc::new(Unreadable("r/.git/config"))),
            _ => storage,
        };
        let report = world.run_over(budget(1), unreadable).await.unwrap();
        assert!(report.error.is_none(), "{why}: {report:?}");
        let result = match why {
            "conflict" => Outcome::Conflicts,
            _ => Outcome::Failed,
        };
        assert_eq!(report.result, result, "{report:?}");
        assert_eq!(report.changes.target.removed, 1, "{report:?}");
        let target = &world.storages.target;
        assert_eq!(target.read_file("other"), None);
        assert!((0..FILES).all(|number| target.read_file(&lfs(number)).is_some()));
    }
}

/// What is judged is all that goes, with groups and without.
#[tokio::test]
async fn a_group_that_goes_is_judged_with_what_goes_beside_it() {
    let world = begun().await;
    prune(&world);
    world.storages.source.remove("other").unwrap();
    let target = read(&world.storages.target);
    let report = world.run(budget(FILES as u64)).await.unwrap();
    assert_eq!(report.error.unwrap().class, "delete-budget");
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert_eq!(read(&world.storages.target), target);
    let report = world.run(budget(FILES as u64 + 1)).await.unwrap();
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(read(&world.storages.target), read(&world.storages.source));
}

/// More groups than are kept in mind until they are carried out.
#[tokio::test]
async fn a_group_too_large_to_be_kept_in_mind_is_carried_out_all_the_same() {
    let world = World::new();
    let source = &world.storages.source;
    source.write_file("always", "there").unwrap();
    for (repository, files) in [("a", 6_000), ("b", 6_000), ("c", 3)] {
        for number in 0..files {
            let path = format!("{repository}/.git/{number}");
            source.write_file(&path, path.as_bytes()).unwrap();
        }
    }
    world.sync(Direction::TwoWay).await;
    for repository in ["a", "b", "c"] {
        source.remove(repository).unwrap();
    }
    let report = world.run(budget(12_002)).await.unwrap();
    assert_eq!(report.error.unwrap().class, "delete-budget");
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let report = world.run(budget(12_003)).await.unwrap();
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(read(&world.storages.target), read(source));
}

fn goes_on(world: &World, most: u64) -> wl_core::sync::SyncJob {
    let mut job = world.job(budget(most));
    job.patience = Some(Arc::default());
    job
}

async fn look(looks: &mut Looks) -> RunReport {
    let git = SyncPath::new("r/.git").unwrap();
    let looked = looks.look(Area::subtree(git)).await.unwrap();
    looked.report.unwrap()
}

/// A job that goes on finds the same conflict at every look, and gives up nothing by it.
#[tokio::test]
async fn a_conflict_that_is_found_again_and_again_does_not_use_up_the_budget() {
    let world = begun().await;
    let mut looks = Looks::new(goes_on(&world, FILES as u64 + 1), "test");
    looks.look(Area::Everything).await.unwrap();
    prune(&world);
    world
        .storages
        .target
        .write_file("r/.git/config", "2")
        .unwrap();
    for _ in 0..4 {
        let report = look(&mut looks).await;
        assert!(report.error.is_none(), "{report:?}");
        assert_eq!(report.conflicts.len(), 1, "{report:?}");
    }
    // What goes then is judged as if nothing had been.
    world
        .storages
        .target
        .write_file("r/.git/config", "r/.git/config")
        .unwrap();
    let report = look(&mut looks).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(report.changes.target.removed, FILES as u64);
}

/// Writes to a file beside the one that is read.
#[derive(Debug)]
struct Writes(MemoryBackend, AtomicU64);

impl Observer for Writes {
    fn after(&self, call: &Call) -> Result<()> {
        let reads = [Operation::Read, Operation::ReadSmall];
        let config = call.path.as_ref().map(|path| path.as_str()) == Some("r/.git/config");
        let left = self.1.load(SeqCst);
        if config && reads.contains(&call.operation) && left > 0 {
            self.1.store(left - 1, SeqCst);
            let (path, text) = ("r/.git/HEAD", format!("another {left}"));
            self.0.write_file(path, text).unwrap();
        }
        Ok(())
    }
}

/// What was judged, and could not be done as somebody went on, is not lost.
#[tokio::test]
async fn a_group_that_goes_on_while_it_is_read_does_not_use_up_the_budget() {
    const TRIES: u64 = 4;
    let world = begun().await;
    let source = &world.storages.source;
    let mut job = goes_on(&world, FILES as u64 + 1);
    let writes = Arc::new(Writes(source.clone(), TRIES.into()));
    job.storages.source = observe(job.storages.source, Arc::clone(&writes) as _);
    let mut looks = Looks::new(job, "test");
    looks.look(Area::Everything).await.unwrap();
    prune(&world);
    source.write_file("r/.git/config", "2").unwrap();
    for left in (0..TRIES).rev() {
        source.pass_time(std::time::Duration::from_secs(60));
        let report = look(&mut looks).await;
        assert!(report.error.is_none(), "{report:?}");
        assert_eq!(report.changes.target.removed, 0, "{report:?}");
        assert_eq!(writes.1.load(SeqCst), left);
    }
    source.pass_time(std::time::Duration::from_secs(60));
    let report = look(&mut looks).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(report.changes.target.removed, FILES as u64);
}

/// What is not removed gives back what it was counted with, and no more.
#[tokio::test(start_paused = true)]
async fn a_group_of_which_nothing_is_lost_takes_nothing_off_what_was() {
    let world = begun().await;
    let source = &world.storages.source;
    for number in 0..FILES {
        source
            .write_file(&format!("copy {number}"), lfs(number))
            .unwrap();
    }
    let mut job = goes_on(&world, 1);
    let writes = Arc::new(Writes(source.clone(), 100.into()));
    job.storages.source = observe(job.storages.source, Arc::clone(&writes) as _);
    let mut looks = Looks::new(job, "test");
    looks.look(Area::Everything).await.unwrap();
    prune(&world);
    source.write_file("r/.git/config", "2").unwrap();
    source.remove("other").unwrap();
    source.pass_time(std::time::Duration::from_secs(60));
    let looked = looks.look(Area::Everything).await.unwrap();
    let report = looked.report.unwrap();
    assert_eq!(report.changes.target.removed, 1, "{report:?}");
    assert!(writes.1.load(SeqCst) < 100, "the group was judged and left");
    source.remove("always").unwrap();
    let looked = looks.look(Area::Everything).await.unwrap();
    assert_eq!(looked.report.unwrap().error.unwrap().class, "delete-budget");
    assert!(world.storages.target.read_file("always").is_some());
}

/// What is refused for the sake of one side is lost on neither.
#[tokio::test]
async fn a_refusal_gives_back_what_was_counted_on_both_sides() {
    let world = begun().await;
    let Sides { source, target } = &world.storages;
    let mut looks = Looks::new(goes_on(&world, 2), "test");
    looks.look(Area::Everything).await.unwrap();
    target.remove("other").unwrap();
    prune(&world);
    let refused = async |looks: &mut Looks| {
        let report = looks.look(Area::Everything).await.unwrap().report.unwrap();
        assert_eq!(report.error.unwrap().class, "delete-budget");
        assert_eq!(report.changes, Sides::default());
    };
    for _ in 0..3 {
        refused(&mut looks).await;
    }
    for number in 0..FILES {
        source.write_file(&lfs(number), lfs(number)).unwrap();
    }
    source.pass_time(std::time::Duration::from_secs(60));
    let report = looks.look(Area::Everything).await.unwrap().report.unwrap();
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(report.changes.source.removed, 1, "{report:?}");
}

/// Somebody chose the side that goes, and it goes to the trash.
#[tokio::test]
async fn the_end_of_a_conflict_is_not_held_up_by_the_budget() {
    for path in ["r/.git", "folder"] {
        let world = begun().await;
        let Sides { source, target } = &world.storages;
        source.write_file("folder", "a file").unwrap();
        for number in 0..FILES {
            let name = format!("folder/{number}");
            target.write_file(&name, name.as_bytes()).unwrap();
        }
        prune(&world);
        target.write_file("r/.git/config", "2").unwrap();
        source.remove("other").unwrap();
        let mut options = budget(0);
        options.resolve = vec![(SyncPath::new(path).unwrap(), Keep::Source)];
        let report = world.run(options).await.unwrap();
        assert_eq!(report.result, Outcome::Synced, "{report:?}");
        let at = |path: &str| read(target).get(path).cloned();
        match path {
            "r/.git" => assert_eq!(at("r"), read(source).get("r").cloned()),
            _ => assert_eq!(at("folder"), read(source).get("folder").cloned()),
        }
        // What nobody spoke of is judged as ever.
        let report = world.run(budget(0)).await.unwrap();
        assert_eq!(report.error.unwrap().class, "delete-budget");
        assert!(target.read_file("other").is_some());
    }
}

/// It is no change of its own, and no conflict.
#[tokio::test(start_paused = true)]
async fn a_lock_that_was_left_behind_is_named() {
    let hot = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    for side in Side::BOTH {
        for (edited, lock) in [
            ("r/.git/config", "r/.git/index.lock"),
            ("r/x.db", "r/x.db-journal"),
        ] {
            let world = begun().await;
            world.storages.source.write_file("r/x.db", "1").unwrap();
            world.sync(Direction::TwoWay).await;
            world.storages.source.write_file(edited, "2").unwrap();
            world.storages[side].write_file(lock, hot).unwrap();
            let report = world.sync(Direction::TwoWay).await;
            assert_eq!(report.conflicts, [], "{side:?} {lock}");
            assert_eq!(report.problems.len(), 1, "{report:?}");
            let reason = &report.problems[0].reason;
            assert!(reason.contains(lock), "{report:?}");
            world.storages[side].remove(lock).unwrap();
            let report = world.sync(Direction::TwoWay).await;
            assert_eq!(report.result, Outcome::Synced, "{report:?}");
            // With a change of the other side's it is a conflict as ever.
            world.storages.source.write_file(edited, "3").unwrap();
            world.storages.target.write_file(edited, "4").unwrap();
            world.storages[side].write_file(lock, hot).unwrap();
            let report = world.sync(Direction::TwoWay).await;
            assert_eq!(report.conflicts.len(), 1, "{report:?}");
        }
    }
}
