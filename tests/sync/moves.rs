//! Moves: found by content, done as renames, and never more than a removal and a creation.

use std::sync::{Arc, Mutex};

use wl_backends::memory::MemoryBackend;
use wl_core::model::{Direction, Outcome, Sides, SyncPath, Timestamp};
use wl_core::state::{PairState, RowChange};
use wl_core::storage::Area;
use wl_core::sync::Looks;
use wl_core::testing::{Call, Observer, Operation, observe};

use crate::world::{World, read};

pub async fn agreed(files: &[(&str, &str)]) -> World {
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

const LONG_AGO: Timestamp = Timestamp {
    secs: 1_000_000,
    nanos: 0,
};

/// Writes something else of the same length into a file, which keeps its id and time, as some taggers do.
fn edit_secretly(world: &World, path: &str, content: &str) {
    let source = &world.storages.source;
    let file = source.open_file(path).unwrap();
    source.write_open(file, content).unwrap();
    source.touch(path, LONG_AGO).unwrap();
}

#[tokio::test]
async fn what_was_edited_before_it_was_renamed_is_no_mere_rename() {
    let large = |byte: &str| byte.repeat(3 << 20);
    for (old, new) in [
        ("before".to_owned(), "beyond".to_owned()),
        (large("a"), large("b")),
    ] {
        let world = agreed(&[("m", &old), ("other", "o")]).await;
        world.storages.source.touch("m", LONG_AGO).unwrap();
        world.sync(Direction::TwoWay).await;
        edit_secretly(&world, "m", &new);
        assert!(world.storages.source.rename("m", "n").unwrap());
        let report = world.sync(Direction::TwoWay).await;
        assert_eq!(report.result, Outcome::Synced, "{report:?}");
        assert_eq!(
            world.storages.target.read_file("n").unwrap(),
            new.as_bytes(),
            "told as synced"
        );
        // A rename alone costs one look into the file, and none from then on.
        assert!(world.storages.source.rename("n", "p").unwrap());
        let report = world.sync(Direction::TwoWay).await;
        assert_eq!(report.changes.target.renamed, 1, "{report:?}");
        assert_eq!(
            (report.bytes.read, report.bytes.written),
            (new.len() as u64, 0)
        );
        assert_eq!(world.sync(Direction::TwoWay).await.bytes.read, 0);
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

pub fn area(paths: &[&str]) -> Area {
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

/// Objects whenever a file is not at its path.
#[derive(Debug)]
struct Stays(MemoryBackend, &'static str);

impl Observer for Stays {
    fn after(&self, call: &Call) -> wl_core::storage::Result<()> {
        assert!(self.0.read_file(self.1).is_some(), "{call:?}");
        Ok(())
    }
}

/// A folder that is mounted at a second place, or a snapshot of it, has the id of the one that was agreed on. That one is where it was, and
/// what comes new elsewhere is a copy of it.
#[tokio::test]
async fn a_folder_that_is_at_two_places_is_not_renamed() {
    let world = agreed(&[("album/deep/x", "1"), ("other", "2")]).await;
    let mut job = world.job(World::options(Direction::TwoWay));
    let stays = Stays(world.storages.target.clone(), "album/deep/x");
    job.storages.target = observe(job.storages.target, Arc::new(stays));
    let mut looks = Looks::new(job, "test");
    let source = &world.storages.source;
    source.show_twice("album", "again").unwrap();
    source.write_file("new", "3").unwrap();
    for told in [&["again", "new"][..], &["again", "album"]] {
        let looked = looks.look(area(told)).await.unwrap();
        let results = looked.report.map(|report| report.result);
        assert!(results.is_none_or(|result| result == Outcome::Synced));
        assert_eq!(read(source), read(&world.storages.target), "{told:?}");
    }
    // It goes from the first place: what was there is removed, as all of it is at the second.
    assert!(source.remove("album").unwrap());
    source.show_twice("again", "third").unwrap();
    drop(looks);
    let mut looks = Looks::new(world.job(World::options(Direction::TwoWay)), "test");
    looks.look(area(&["album", "third"])).await.unwrap();
    assert_eq!(read(source), read(&world.storages.target));
}

/// A row that is not true any more (wl made the folder anew, and a listing that was stale hid that) says that it is the one that is renamed.
#[tokio::test]
async fn a_folder_of_which_another_row_speaks_too_is_not_renamed() {
    let world = agreed(&[("album/x", "1"), ("other/y", "2")]).await;
    let mut job = world.job(World::options(Direction::TwoWay));
    let identities = job.storages.as_ref().map(|storage| storage.identity());
    let mut state = PairState::open(&job.state_dir, identities).unwrap();
    let row = |path| state.row_at(&SyncPath::new(path).unwrap()).unwrap();
    let (mut album, other) = (row("album").unwrap(), row("other").unwrap());
    album.sides.source.file_id = other.sides.source.file_id;
    state.apply(&[RowChange::Put(album)]).unwrap();
    drop(state);
    let stays = Stays(world.storages.target.clone(), "album/x");
    job.storages.target = observe(job.storages.target, Arc::new(stays));
    let mut looks = Looks::new(job, "test");
    assert!(world.storages.source.rename("other", "new").unwrap());
    looks.look(area(&["other", "new"])).await.unwrap();
    looks.look(area(&["other", "new"])).await.unwrap();
    assert_eq!(read(&world.storages.source), read(&world.storages.target));
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

/// Where many come at once all that may be given up is looked through once, in place of one look for each.
#[tokio::test]
async fn what_is_given_up_is_moved_by_its_content_among_many_that_are_new() {
    let (world, mut looks, asked) = looking().await;
    let Sides { source, target } = &world.storages;
    for number in 0..900 {
        let path = format!("burst/{number:03}");
        source.write_file(&path, format!("new {number}")).unwrap();
    }
    // One that was named, and ones in a folder that is walked; first, in the middle and last of the new.
    for (from, to) in [("1/1", "000"), ("2/9", "450x"), ("2/16", "zzz")] {
        let content = source.read_file(&format!("album/{from}")).unwrap();
        source.remove(&format!("album/{from}")).unwrap();
        source.write_file(&format!("burst/{to}"), content).unwrap();
    }
    // Its content is where it was.
    source.write_file("burst/copy", "3").unwrap();
    let mut told = area(&["album/1/1", "burst"]);
    told.add_subtree(SyncPath::new("album/2").unwrap());
    let report = looks.look(told).await.unwrap().report.unwrap();
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    assert_eq!(report.changes.target.renamed, 3, "{report:?}");
    assert_eq!(report.changes.target.removed, 0, "{report:?}");
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
