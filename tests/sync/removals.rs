//! Removals: judged against the budget together, held back where more may come, and never without proof of absence.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use wl_core::filter::{Origin, Rule};
use wl_core::model::{Direction, Outcome, Side, Sides, SyncPath};
use wl_core::storage::Area;
use wl_core::sync::{Looked, Looks};
use wl_core::testing::{Call, Observer, Operation, observe};

use crate::moves::{agreed, area};
use crate::world::{World, read};

#[tokio::test]
async fn removing_more_than_half_stops_before_the_first_removal() {
    let names: Vec<_> = (0..50)
        .map(|n| (format!("f{n}"), format!("content {n}")))
        .collect();
    let files: Vec<_> = names
        .iter()
        .map(|(p, c)| (p.as_str(), c.as_str()))
        .collect();
    let world = agreed(&files).await;
    for (path, _) in files.iter().take(30) {
        world.storages.source.remove(path).unwrap();
    }
    world.storages.source.write_file("new", "new").unwrap();
    let mut options = wl_core::sync::SyncOptions::new(Direction::TwoWay);
    let report = world.run(options.clone()).await.unwrap();
    assert_eq!(report.result, Outcome::Failed);
    assert_eq!(
        report.error.as_ref().unwrap().class,
        "delete-budget",
        "{report:?}"
    );
    assert_eq!(report.changes.target.removed, 0, "{report:?}");
    assert_eq!(
        report.changes.target.created, 1,
        "the rest went on: {report:?}"
    );
    options.max_delete = wl_core::sync::DeleteBudget::Count(30);
    let report = world.run(options).await.unwrap();
    assert_eq!(report.changes.target.removed, 30, "{report:?}");
}

#[tokio::test]
async fn an_emptied_root_stops_the_run() {
    let world = agreed(&[("a", "1"), ("b", "2")]).await;
    world.storages.source.remove("a").unwrap();
    world.storages.source.remove("b").unwrap();
    let mut options = wl_core::sync::SyncOptions::new(Direction::TwoWay);
    let report = world.run(options.clone()).await.unwrap();
    assert_eq!(
        report.error.as_ref().unwrap().class,
        "root-emptied",
        "{report:?}"
    );
    assert!(world.storages.target.read_file("a").is_some());
    options.allow_empty = true;
    let report = world.run(options).await.unwrap();
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert!(world.storages.target.read_file("a").is_none());
}

/// A job that goes on sees a large removal in pieces: they count together, also for the run that comes after a failed one.
#[tokio::test]
async fn many_small_removals_are_one_large() {
    let world = World::new();
    let path = |n: usize| format!("f{n}");
    for n in 0..100 {
        world
            .storages
            .source
            .write_file(&path(n), format!("content {n}"))
            .unwrap();
    }
    let options = wl_core::sync::SyncOptions::new(Direction::TwoWay);
    let mut job = world.job(options.clone());
    job.patience = Some(Arc::default());
    let mut looks = Looks::new(job.clone(), "test");
    looks.look(Area::Everything).await.unwrap();
    let mut pieces = Vec::new();
    for piece in 0..4 {
        let mut gone = Area::default();
        for n in piece * 15..piece * 15 + 15 {
            world.storages.source.remove(&path(n)).unwrap();
            gone.add_path(SyncPath::new(path(n)).unwrap());
        }
        let report = looks.look(gone).await.unwrap().report.unwrap();
        pieces.push((
            report.changes.target.removed,
            report.error.map(|error| error.class),
        ));
    }
    let class = Some("delete-budget".to_owned());
    assert_eq!(
        pieces,
        [(15, None), (15, None), (15, None), (0, class.clone())]
    );
    // The job is started again by the daemon, and looks at everything.
    let mut looks = Looks::new(job, "test");
    let report = looks.look(Area::Everything).await.unwrap().report.unwrap();
    assert_eq!(report.error.map(|error| error.class), class);
    assert!(world.storages.target.read_file(&path(59)).is_some());
    looks.rest().await.unwrap();
    // Somebody means it.
    let mut accepted = options;
    accepted.max_delete = wl_core::sync::DeleteBudget::Percent(100);
    let report = world.run(accepted).await.unwrap();
    assert_eq!(report.changes.target.removed, 15, "{report:?}");
    world.storages.source.remove(&path(60)).unwrap();
    let report = looks.look(area(&["f60"])).await.unwrap().report.unwrap();
    assert_eq!(report.changes.target.removed, 1, "counted anew: {report:?}");
}

/// A hundred files on both sides, and the looks of a job that goes on.
async fn hundred() -> (World, Looks) {
    let world = World::new();
    for n in 0..100 {
        let content = format!("content {n}");
        world
            .storages
            .source
            .write_file(&format!("f{n}"), content)
            .unwrap();
    }
    let mut job = world.job(wl_core::sync::SyncOptions::new(Direction::TwoWay));
    job.patience = Some(Arc::default());
    let mut looks = Looks::new(job, "test");
    looks.look(Area::Everything).await.unwrap();
    (world, looks)
}

/// Removes these files, and the looks are told of it.
async fn remove(world: &World, looks: &mut Looks, numbers: std::ops::Range<usize>) -> Looked {
    let mut gone = Area::default();
    for n in numbers {
        world.storages.source.remove(&format!("f{n}")).unwrap();
        gone.add_path(SyncPath::new(format!("f{n}")).unwrap());
    }
    looks.look(gone).await.unwrap()
}

fn on_target(world: &World) -> usize {
    read(&world.storages.target).len()
}

/// Writes these files, and the looks are told of it.
async fn write(
    world: &World,
    looks: &mut Looks,
    numbers: std::ops::Range<usize>,
    content: &str,
) -> Looked {
    let mut new = Area::default();
    for n in numbers {
        let (path, content) = (format!("f{n}"), format!("{content} {n}"));
        world.storages.source.write_file(&path, content).unwrap();
        new.add_path(SyncPath::new(path).unwrap());
    }
    looks.look(new).await.unwrap()
}

/// As where branches are checked out to and fro: what is back was not lost, and what goes for good still adds up.
#[tokio::test]
async fn what_comes_back_is_not_lost() {
    let (world, mut looks) = hundred().await;
    for turn in 0..10 {
        // More at once would wait for more.
        for piece in [0..20, 20..40] {
            let gone = remove(&world, &mut looks, piece).await.report.unwrap();
            assert_eq!(gone.error, None, "{turn}");
        }
        assert_eq!(on_target(&world), 60);
        let back = write(&world, &mut looks, 0..40, "content").await;
        assert_eq!(back.report.unwrap().error, None, "{turn}");
        assert_eq!(on_target(&world), 100);
    }
    let mut refused = None;
    for piece in 0..10 {
        let gone = remove(&world, &mut looks, piece * 10..piece * 10 + 10).await;
        refused = gone.report.unwrap().error;
        if refused.is_some() {
            break;
        }
    }
    assert_eq!(refused.unwrap().class, "delete-budget");
    assert_eq!(on_target(&world), 50);
}

/// What was there is nowhere any more, whatever is in its place.
#[tokio::test]
async fn what_is_removed_and_made_anew_with_other_content_is_lost() {
    let (world, mut looks) = hundred().await;
    let mut refused = None;
    for turn in 0..10 {
        let gone = remove(&world, &mut looks, 0..20).await;
        refused = gone.report.unwrap().error;
        if refused.is_some() {
            break;
        }
        let other = format!("other {turn}");
        let back = write(&world, &mut looks, 0..20, &other).await;
        assert_eq!(back.report.unwrap().error, None, "{turn}");
    }
    assert_eq!(refused.unwrap().class, "delete-budget");
}

/// Somebody takes a tree away, and is seen while he is at it: nothing goes before it is known how much it is.
#[tokio::test]
async fn large_removals_wait_for_more_of_them_and_are_judged_as_one() {
    let (world, mut looks) = hundred().await;
    for piece in 0..3 {
        let looked = remove(&world, &mut looks, piece * 25..piece * 25 + 25).await;
        assert!(looked.moving, "nobody is told of it yet");
        assert!(looks.due().is_some());
        assert_eq!(on_target(&world), 100);
    }
    // A little more while they wait does not slip through.
    remove(&world, &mut looks, 80..81).await;
    assert_eq!(on_target(&world), 100);
    let report = looks.look_again().await.unwrap().report.unwrap();
    assert_eq!(report.error.unwrap().class, "delete-budget");
    assert_eq!(on_target(&world), 100);
}

/// What goes file by file and then with its folder is seen twice.
#[tokio::test]
async fn removals_that_are_seen_again_while_they_wait_are_the_same_removals() {
    let world = World::new();
    for n in 0..100 {
        let path = format!("d{}/f{n}", n / 50);
        world
            .storages
            .source
            .write_file(&path, path.clone())
            .unwrap();
    }
    let mut job = world.job(wl_core::sync::SyncOptions::new(Direction::TwoWay));
    job.patience = Some(Arc::default());
    let mut looks = Looks::new(job, "test");
    looks.look(Area::Everything).await.unwrap();
    let mut files = Area::default();
    for n in 0..25 {
        let path = format!("d0/f{n}");
        world.storages.source.remove(&path).unwrap();
        files.add_path(SyncPath::new(path).unwrap());
    }
    for _ in 0..2 {
        looks.look(files.clone()).await.unwrap();
        assert_eq!(looks.held_back(), 25);
    }
    world.storages.source.remove("d0").unwrap();
    looks.look(area(&["d0"])).await.unwrap();
    assert_eq!(looks.held_back(), 50);
    // More than anybody knew of are not carried out with them.
    let mut other = area(&["d1/f50"]);
    world.storages.source.remove("d1/f50").unwrap();
    other.add_subtree(SyncPath::new("d1").unwrap());
    looks.look(other).await.unwrap();
    assert_eq!(looks.held_back(), 51);
    for n in 51..60 {
        world.storages.source.remove(&format!("d1/f{n}")).unwrap();
    }
    looks.look_again().await.unwrap();
    let left = || world.storages.target.snapshot().len();
    assert_eq!((looks.held_back(), left()), (60, 102));
    // Half of all files and no more may go.
    let report = looks.look_again().await.unwrap().report.unwrap();
    assert_eq!(report.error.unwrap().class, "delete-budget");
    assert_eq!(left(), 102);
}

/// A storage that is lost before the removal with this number.
#[derive(Debug)]
struct LostBefore(AtomicUsize);

impl Observer for LostBefore {
    fn before(&self, call: &Call) -> wl_core::storage::Result<()> {
        use wl_core::storage::{ErrorKind, StorageError};
        if call.operation != Operation::Remove {
            return Ok(());
        }
        let less = |left: usize| left.checked_sub(1);
        let left = self.0.fetch_update(SeqCst, SeqCst, less);
        left.map(drop)
            .map_err(|_| StorageError::new(ErrorKind::Unavailable, "remove", "no network"))
    }
}

/// Removals that did not happen because the storage was lost meanwhile are not counted once more when it is back.
#[tokio::test]
async fn an_outage_between_removals_does_not_use_up_the_budget() {
    for before in [0, 15, 39] {
        let (world, mut looks) = hundred().await;
        looks.rest().await.unwrap();
        let mut job = world.job(wl_core::sync::SyncOptions::new(Direction::TwoWay));
        job.patience = Some(Arc::default());
        let lost = Arc::new(LostBefore(AtomicUsize::new(before)));
        job.storages.target = observe(job.storages.target, Arc::clone(&lost) as _);
        for n in 0..40 {
            world.storages.source.remove(&format!("f{n}")).unwrap();
        }
        let mut looks = Looks::new(job, "test");
        for _ in 0..3 {
            let report = looks.look(Area::Everything).await.unwrap().report.unwrap();
            assert_eq!(report.error.unwrap().class, "root-unavailable", "{before}");
            lost.0.store(0, SeqCst);
        }
        assert_eq!(on_target(&world), 100 - before);
        lost.0.store(usize::MAX, SeqCst);
        let report = looks.look(Area::Everything).await.unwrap().report.unwrap();
        assert_eq!(report.error, None, "{before}: 40 of 100 may go");
        assert_eq!(on_target(&world), 60);
    }
}

#[tokio::test]
async fn an_emptied_root_is_noticed_before_anything_is_removed() {
    let (world, mut looks) = hundred().await;
    for piece in 0..4 {
        remove(&world, &mut looks, piece * 25..piece * 25 + 25).await;
    }
    let report = looks.look_again().await.unwrap().report.unwrap();
    assert_eq!(report.error.unwrap().class, "root-emptied");
    assert_eq!(on_target(&world), 100);
}

/// Nothing at the top is removed then: what is left out keeps the folder.
#[tokio::test]
async fn an_emptied_root_is_noticed_though_a_folder_stays_for_what_is_left_out() {
    let world = World::new();
    let write = |side: Side, path: &str| {
        world.storages[side].write_file(path, path).unwrap();
    };
    for n in 0..5 {
        write(Side::Source, &format!("d/f{n}"));
    }
    write(Side::Target, "d/x.o");
    let mut options = wl_core::sync::SyncOptions::new(Direction::TwoWay);
    options.exclude.rules = vec![Rule {
        line: "*.o".to_owned(),
        origin: Origin::CommandLine,
    }];
    let mut job = world.job(options);
    job.patience = Some(Arc::default());
    let mut looks = Looks::new(job, "test");
    looks.look(Area::Everything).await.unwrap();
    let mut gone = Area::path(SyncPath::new("d").unwrap());
    for n in 0..5 {
        let path = format!("d/f{n}");
        world.storages.source.remove(&path).unwrap();
        gone.add_path(SyncPath::new(path).unwrap());
    }
    world.storages.source.remove("d").unwrap();
    let report = looks.look(gone).await.unwrap().report.unwrap();
    assert_eq!(report.error.unwrap().class, "root-emptied");
    for n in 0..5 {
        assert!(
            world
                .storages
                .target
                .read_file(&format!("d/f{n}"))
                .is_some()
        );
    }
}

#[tokio::test]
async fn a_removal_that_is_not_too_much_is_carried_out_when_it_has_waited() {
    let (world, mut looks) = hundred().await;
    remove(&world, &mut looks, 0..30).await;
    world.storages.source.write_file("new", "new").unwrap();
    looks.look(area(&["new"])).await.unwrap();
    assert_eq!(on_target(&world), 101, "other things go on");
    let report = looks.look_again().await.unwrap().report.unwrap();
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(on_target(&world), 71);
    assert_eq!(looks.due(), None);
}

/// A removal of this path is refused, once.
#[derive(Debug)]
struct RefusedOnce(&'static str, AtomicUsize);

impl Observer for RefusedOnce {
    fn before(&self, call: &Call) -> wl_core::storage::Result<()> {
        use wl_core::storage::{ErrorKind, StorageError};
        let here = call.path.as_ref().is_some_and(|at| at.as_str() == self.0);
        match here && call.operation == Operation::Remove && self.1.fetch_add(1, SeqCst) == 0 {
            true => Err(StorageError::new(ErrorKind::Denied, "remove", "as planned")),
            false => Ok(()),
        }
    }
}

/// A folder with so many of a hundred files, which can go to where nobody looks. Its first removal is refused.
async fn with_a_folder(files: usize) -> (World, Looks) {
    let world = World::new();
    for n in 0..100 {
        let folder = if n < files { "d" } else { "other" };
        let path = format!("{folder}/f{n}");
        let written = world.storages.source.write_file(&path, path.clone());
        written.unwrap();
    }
    let mut options = wl_core::sync::SyncOptions::new(Direction::TwoWay);
    options.exclude.rules = vec![Rule::exclude("away", Origin::Job)];
    let mut job = world.job(options);
    job.patience = Some(Arc::default());
    let refused = Arc::new(RefusedOnce("d", AtomicUsize::new(0)));
    job.storages.target = observe(job.storages.target, refused);
    let mut looks = Looks::new(job, "test");
    looks.look(Area::Everything).await.unwrap();
    assert!(world.storages.source.rename("d", "away").unwrap());
    (world, looks)
}

/// The folder is back, with something new in it: a watcher tells of the folder.
async fn is_back(world: &World, looks: &mut Looks) {
    let Sides { source, target } = &world.storages;
    source.write_file("away/new", "new").unwrap();
    assert!(source.rename("away", "d").unwrap());
    looks.look(area(&["d"])).await.unwrap();
    looks.look_again().await.unwrap();
    assert_eq!(read(source), read(target));
}

#[tokio::test]
async fn a_folder_that_is_back_while_its_removal_waits_is_looked_into() {
    let (world, mut looks) = with_a_folder(30).await;
    looks.look(area(&["d"])).await.unwrap();
    assert_eq!(looks.held_back(), 30);
    is_back(&world, &mut looks).await;
}

#[tokio::test]
async fn a_folder_that_is_back_after_its_removal_failed_is_looked_into() {
    let (world, mut looks) = with_a_folder(3).await;
    let report = looks.look(area(&["d"])).await.unwrap().report.unwrap();
    assert_eq!(report.problems.len(), 1, "{report:?}");
    is_back(&world, &mut looks).await;
}

#[tokio::test]
async fn a_folder_that_is_back_after_the_budget_refused_its_removal_is_looked_into() {
    let (world, mut looks) = with_a_folder(60).await;
    looks.look(area(&["d"])).await.unwrap();
    let report = looks.look_again().await.unwrap().report.unwrap();
    assert_eq!(report.error.unwrap().class, "delete-budget");
    is_back(&world, &mut looks).await;
}

#[tokio::test]
async fn a_folder_that_is_back_in_the_place_of_a_file_in_conflict_is_looked_into() {
    let (world, mut looks) = with_a_folder(3).await;
    let Sides { source, target } = &world.storages;
    source.write_file("d", "a file").unwrap();
    target.write_file("d/f1", "edited").unwrap();
    let looked = looks.look(area(&["d", "d/f1"])).await.unwrap();
    let conflicts = looked.report.unwrap().conflicts;
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    source.remove("d").unwrap();
    is_back(&world, &mut looks).await;
}
