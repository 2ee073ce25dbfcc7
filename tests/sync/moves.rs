//! Moves: found by content, done as renames, and never more than a removal and a creation.

use std::sync::{Arc, Mutex};

use wl_core::filter::{Origin, Rule};
use wl_core::model::{Direction, Outcome, Side, Sides, SyncPath};
use wl_core::storage::Area;
use wl_core::sync::{Looked, Looks};
use wl_core::testing::{Call, Observer, Operation, observe};

use crate::world::{World, read};

async fn agreed(files: &[(&str, &str)]) -> World {
    let world = World::new();
    for (path, content) in files {
        world
            .storages
            .source
            .write_file(path, content.as_bytes())
            .unwrap();
    }
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Synced);
    world
}

fn move_file(world: &World, from: &str, to: &str) {
    let content = world.storages.source.read_file(from).unwrap();
    world.storages.source.remove(from).unwrap();
    world.storages.source.write_file(to, content).unwrap();
}

#[tokio::test]
async fn a_move_is_one_rename_both_ways_in_the_order() {
    for (from, to) in [("m", "a"), ("m", "z"), ("m", "new/deep/m"), ("d/m", "m")] {
        let world = agreed(&[(from, "content"), ("other", "o")]).await;
        move_file(&world, from, to);
        let report = world.sync(Direction::TwoWay).await;
        assert_eq!(report.result, Outcome::Synced, "{report:?}");
        assert_eq!(
            report.changes.target.renamed, 1,
            "{from} to {to}: {report:?}"
        );
        assert_eq!(report.bytes.written, 0, "{from} to {to}: {report:?}");
        assert_eq!(
            world.storages.target.read_file(to).unwrap(),
            "content".as_bytes()
        );
        assert!(world.storages.target.read_file(from).is_none());
    }
}

#[tokio::test]
async fn a_move_of_what_was_edited_elsewhere_keeps_the_edit() {
    let world = agreed(&[("m", "content"), ("other", "o")]).await;
    move_file(&world, "m", "n");
    world.storages.target.write_file("m", "edited").unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    for side in [&world.storages.source, &world.storages.target] {
        assert_eq!(side.read_file("m").unwrap(), "edited".as_bytes());
        assert_eq!(side.read_file("n").unwrap(), "content".as_bytes());
    }
}

#[tokio::test]
async fn one_removal_serves_one_creation() {
    let world = agreed(&[("m", "content"), ("other", "o")]).await;
    move_file(&world, "m", "n1");
    world.storages.source.write_file("n2", "content").unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.changes.target.renamed, 1, "{report:?}");
    assert_eq!(report.changes.target.created, 1, "{report:?}");
    assert_eq!(
        world.storages.target.read_file("n2").unwrap(),
        "content".as_bytes()
    );
}

#[tokio::test]
async fn a_copy_leaves_the_original() {
    let world = agreed(&[("m", "content"), ("other", "o")]).await;
    world.storages.source.write_file("n", "content").unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.changes.target.renamed, 0, "{report:?}");
    assert!(world.storages.target.read_file("m").is_some());
}

#[tokio::test]
async fn moving_everything_is_no_loss() {
    let names: Vec<_> = (0..50)
        .map(|n| (format!("old/{n}"), format!("content {n}")))
        .collect();
    let files: Vec<_> = names
        .iter()
        .map(|(p, c)| (p.as_str(), c.as_str()))
        .collect();
    let world = agreed(&files).await;
    for (path, _) in &files {
        move_file(&world, path, &path.replace("old", "new"));
    }
    world.storages.source.remove("old").unwrap();
    let report = world
        .run(wl_core::sync::SyncOptions::new(Direction::TwoWay))
        .await
        .unwrap();
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(report.changes.target.renamed, 50, "{report:?}");
}

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

/// What a storage was asked to do.
#[derive(Debug, Default)]
struct Asked(Mutex<Vec<Operation>>);

impl Observer for Asked {
    fn after(&self, call: &Call) -> wl_core::storage::Result<()> {
        self.0.lock().unwrap().push(call.operation);
        Ok(())
    }
}

impl Asked {
    fn count(&self, operation: Operation) -> usize {
        let asked = self.0.lock().unwrap();
        asked.iter().filter(|one| **one == operation).count()
    }
}

/// A pair that agrees on a folder of files, and looks at it.
async fn looking() -> (World, Looks, Arc<Asked>) {
    let world = World::new();
    for number in 0..2000 {
        let path = format!("album/{}/{number}", number % 7);
        world
            .storages
            .source
            .write_file(&path, number.to_string())
            .unwrap();
    }
    let asked = Arc::new(Asked::default());
    let mut job = world.job(World::options(Direction::TwoWay));
    job.storages = job
        .storages
        .map(|storage| observe(storage, Arc::clone(&asked) as _));
    let mut looks = Looks::new(job, "test");
    let looked = looks.look(Area::Everything).await.unwrap();
    assert_eq!(looked.report.unwrap().result, Outcome::Synced);
    asked.0.lock().unwrap().clear();
    (world, looks, asked)
}

fn area(paths: &[&str]) -> Area {
    let mut area = Area::default();
    for path in paths {
        area.add_path(SyncPath::new(*path).unwrap());
    }
    area
}

#[tokio::test]
async fn a_renamed_folder_is_one_rename_however_much_is_in_it() {
    let mut as_subtree = area(&["album"]);
    as_subtree.add_subtree(SyncPath::new("holiday").unwrap());
    for told in [area(&["album", "holiday"]), as_subtree] {
        rename_is_followed(told).await;
    }
}

async fn rename_is_followed(told: Area) {
    let (world, mut looks, asked) = looking().await;
    assert!(world.storages.source.rename("album", "holiday").unwrap());
    let report = looks.look(told).await.unwrap().report.unwrap();
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(report.changes.target.renamed, 1, "{report:?}");
    assert_eq!(report.changes.target.total(), 1, "{report:?}");
    assert_eq!((report.bytes.read, report.bytes.written), (0, 0));
    assert_eq!(asked.count(Operation::Rename), 1);
    assert_eq!(asked.count(Operation::Stage), 0);
    assert_eq!(read(&world.storages.source), read(&world.storages.target));
    let again = looks.look(area(&["album", "holiday"])).await.unwrap();
    assert!(again.report.is_none(), "{again:?}");
    looks.rest().await.unwrap();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.changes, Sides::default());
    assert_eq!(report.bytes.read, 0, "the baseline went along");
}

/// Half of what a watcher tells is enough.
#[tokio::test]
async fn a_renamed_folder_is_followed_from_either_name() {
    for told in ["album", "holiday"] {
        let (world, mut looks, asked) = looking().await;
        assert!(world.storages.source.rename("album", "holiday").unwrap());
        looks.look(area(&[told])).await.unwrap();
        looks.look(area(&["album", "holiday"])).await.unwrap();
        assert_eq!(read(&world.storages.source), read(&world.storages.target));
        if told == "holiday" {
            assert_eq!(asked.count(Operation::Rename), 1);
        }
    }
}

#[tokio::test]
async fn an_edit_where_the_folder_was_stays_there() {
    let (world, mut looks, _) = looking().await;
    assert!(world.storages.source.rename("album", "holiday").unwrap());
    world
        .storages
        .target
        .write_file("album/0/0", "edited")
        .unwrap();
    let looked = looks.look(area(&["album", "holiday"])).await.unwrap();
    let report = looked.report.unwrap();
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    for side in [&world.storages.source, &world.storages.target] {
        assert_eq!(side.read_file("album/0/0").unwrap(), "edited".as_bytes());
        assert_eq!(side.read_file("holiday/0/0").unwrap(), "0".as_bytes());
        assert!(side.read_file("album/1/1").is_none());
    }
}

#[tokio::test]
async fn folders_that_take_each_others_names_are_followed() {
    let (world, mut looks, asked) = looking().await;
    for (from, to) in [
        ("album/0", "old"),
        ("album/1", "album/0"),
        ("album/2", "album/1"),
    ] {
        assert!(world.storages.source.rename(from, to).unwrap());
    }
    let told = area(&["album/0", "old", "album/1", "album/2"]);
    let report = looks.look(told).await.unwrap().report.unwrap();
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(read(&world.storages.source), read(&world.storages.target));
    assert_eq!(report.bytes.written, 0, "{report:?}");
    assert!(asked.count(Operation::Rename) >= 1);
}

/// Where nothing is given up nothing can have been moved: a content that is known elsewhere is read once and copied at once.
#[tokio::test]
async fn a_copy_is_read_once_where_nothing_is_given_up() {
    let (world, mut looks, asked) = looking().await;
    for number in 0..70 {
        let path = format!("copies/{number}");
        let written = world.storages.source.write_file(&path, number.to_string());
        written.unwrap();
    }
    world
        .storages
        .source
        .write_file("album/0/copy", "7")
        .unwrap();
    let told = area(&["copies", "album/0/copy", "album/0/7"]);
    let report = looks.look(told).await.unwrap().report.unwrap();
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(report.changes.target.created, 72, "{report:?}");
    assert_eq!(asked.count(Operation::ReadSmall), 71);
    assert_eq!(asked.count(Operation::Stage), 71);
    // Contents, then names.
    assert_eq!(asked.count(Operation::Flush), 2 * 2);

    // Nor is it where the same folder is walked again, and all that was in it is still there.
    for number in 70..140 {
        let path = format!("copies/{number}");
        let written = world.storages.source.write_file(&path, "7");
        written.unwrap();
    }
    let mut told = Area::default();
    told.add_subtree(SyncPath::new("copies").unwrap());
    asked.0.lock().unwrap().clear();
    let report = looks.look(told).await.unwrap().report.unwrap();
    assert_eq!(report.changes.target.created, 70, "{report:?}");
    assert_eq!(asked.count(Operation::ReadSmall), 70);
    assert_eq!(read(&world.storages.source), read(&world.storages.target));
}

/// What is written anew and removed elsewhere in one look is a rename by its content, whether its place was named or walked, and
/// however many others have that content.
#[tokio::test]
async fn what_is_given_up_in_a_look_at_places_is_moved_by_its_content() {
    let (world, mut looks, asked) = looking().await;
    let Sides { source, target } = &world.storages;
    source.remove("album/1/1").unwrap();
    source.write_file("new", "1").unwrap();
    let told = area(&["album/1/1", "new"]);
    let report = looks.look(told).await.unwrap().report.unwrap();
    assert_eq!(report.changes.target.renamed, 1, "{report:?}");

    source.remove("album/2").unwrap();
    source.write_file("copies/9", "9").unwrap();
    let told = area(&["album/2", "copies"]);
    let report = looks.look(told).await.unwrap().report.unwrap();
    assert_eq!(report.changes.target.renamed, 1, "{report:?}");
    // The others are many, and wait.
    looks.look_again().await.unwrap();
    assert!(target.read_file("copies/9").is_some());

    for number in 0..30 {
        source
            .write_file(&format!("same/{number}"), "same")
            .unwrap();
    }
    looks.look(area(&["same"])).await.unwrap();
    source.remove("same/29").unwrap();
    source.write_file("moved", "same").unwrap();
    let told = area(&["same/29", "moved"]);
    let report = looks.look(told).await.unwrap().report.unwrap();
    assert_eq!(report.changes.target.renamed, 1, "{report:?}");
    assert_eq!(asked.count(Operation::Rename), 3);
    assert_eq!(read(source), read(target));
}

/// Somebody waits for what a look at places carries over: what is staged becomes visible while the rest is staged.
#[tokio::test]
async fn a_large_look_at_places_begins_to_publish_before_all_is_staged() {
    let (world, mut looks, asked) = looking().await;
    for number in 0..1900 {
        let path = format!("burst/{}/{number}", number / 100);
        let written = world
            .storages
            .source
            .write_file(&path, format!("new {number}"));
        written.unwrap();
    }
    let report = looks.look(area(&["burst"])).await.unwrap().report.unwrap();
    assert_eq!(report.changes.target.created, 1900 + 20, "{report:?}");
    // The contents of each of two batches, then names; on both sides.
    assert_eq!(asked.count(Operation::Flush), 3 * 2);
    assert_eq!(read(&world.storages.source), read(&world.storages.target));
}
