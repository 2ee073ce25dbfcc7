//! Recorded sequences of events as data: what is there before and after, the events, what is said, what is watched then.

use rustix::fs::inotify::ReadFlags;
use wl_core::model::SyncPath;

use super::fake::{Fake, text};
use crate::local::watch::drive::Core;
use crate::local::watch::words::Event;

struct Row {
    name: &'static str,
    /// The folders and their numbers, which are those of their watches too.
    before: &'static str,
    after: &'static str,
    /// `WATCH MASK NAME COOKIE`, several between `;`.
    events: &'static str,
    /// `paths | subtrees`.
    said: &'static str,
    /// What is said only when no second half of a rename comes.
    late: &'static str,
    /// What is said where the events come so fast that they are all taken in before anything is looked at: a path may be that of before.
    fast: Option<&'static str>,
}

const fn row(
    name: &'static str,
    [before, after]: [&'static str; 2],
    events: &'static str,
    said: &'static str,
) -> Row {
    let late = "|";
    Row {
        name,
        before,
        after,
        events,
        said,
        late,
        fast: None,
    }
}

const TABLE: &[Row] = &[
    row(
        "a file is written",
        ["a=2", "a=2"],
        "2 CREATE f; 2 MODIFY f; 2 CLOSE_WRITE f; 2 ATTRIB f",
        "a/f |",
    ),
    row(
        "two files are written in turn, and one of the same name elsewhere",
        ["a=2 b=3", "a=2 b=3"],
        "2 CREATE f; 2 CREATE g; 2 MODIFY f; 2 MODIFY g; 3 MODIFY g; 3 CLOSE_WRITE g",
        "a/f a/g b/g |",
    ),
    row(
        "a file is written while its folder is renamed",
        ["a=2", "z=2"],
        "2 CREATE f; 1 MOVED_FROM|ISDIR a 5; 1 MOVED_TO|ISDIR z 5; 2 CLOSE_WRITE f",
        "a a/f | z",
    ),
    row("a file is removed", ["a=2", "a=2"], "2 DELETE f", "a/f |"),
    row(
        "an editor saves by rename",
        ["", ""],
        "1 CREATE t; 1 MODIFY t; 1 CLOSE_WRITE t; 1 MOVED_FROM t 5; 1 MOVED_TO f 5",
        "f t |",
    ),
    row(
        "a file changes its folder",
        ["a=2 b=3", "a=2 b=3"],
        "2 MOVED_FROM f 5; 3 MOVED_TO g 5",
        "a/f b/g |",
    ),
    row(
        "the attributes of a folder",
        ["a=2", "a=2"],
        "1 ATTRIB|ISDIR a; 2 ATTRIB|ISDIR",
        "a |",
    ),
    row(
        "a new folder and one in it that made no event",
        ["", "a=2 a/b=3"],
        "1 CREATE|ISDIR a",
        "| a",
    ),
    row(
        "a new folder, events of all levels",
        ["", "a=2 a/b=3"],
        "1 CREATE|ISDIR a; 2 CREATE|ISDIR b; 3 CREATE f",
        "| a",
    ),
    row(
        "a folder is removed",
        ["a=2 a/b=3", ""],
        "3 DELETE_SELF; 3 IGNORED; 2 DELETE|ISDIR b; 2 DELETE_SELF; 2 IGNORED; 1 DELETE|ISDIR a",
        "a a/b |",
    ),
    row(
        "a folder is removed and made again at once",
        ["a=2", "a=3"],
        "2 IGNORED; 1 DELETE|ISDIR a; 1 CREATE|ISDIR a",
        "| a",
    ),
    row(
        "made again, and the end of the old one is told last",
        ["a=2", "a=3"],
        "1 DELETE|ISDIR a; 1 CREATE|ISDIR a; 2 IGNORED",
        "| a",
    ),
    row(
        "a folder is removed and a file has its name",
        ["a=2", ""],
        "2 IGNORED; 1 DELETE|ISDIR a; 1 CREATE a",
        "a |",
    ),
    row(
        "a folder is renamed",
        ["a=2 a/b=3", "z=2 z/b=3"],
        "1 MOVED_FROM|ISDIR a 5; 1 MOVED_TO|ISDIR z 5",
        "a | z",
    ),
    Row {
        fast: Some("a a/b/f | z"),
        ..row(
            "a folder is renamed, then something in it changes",
            ["a=2 a/b=3", "z=2 z/b=3"],
            "1 MOVED_FROM|ISDIR a 5; 1 MOVED_TO|ISDIR z 5; 3 MODIFY f",
            "a | z",
        )
    },
    row(
        "a folder moves into another",
        ["a=2 b=3", "b=3 b/a=2"],
        "1 MOVED_FROM|ISDIR a 5; 3 MOVED_TO|ISDIR a 5",
        "a | b/a",
    ),
    row(
        "a folder moves over an empty one",
        ["a=2 b=3", "b=2"],
        "1 MOVED_FROM|ISDIR a 5; 1 MOVED_TO|ISDIR b 5; 3 IGNORED",
        "a | b",
    ),
    row(
        "a chain of renames",
        ["a=2 b=3", "b=2 c=3"],
        "1 MOVED_FROM|ISDIR b 5; 1 MOVED_TO|ISDIR c 5; 1 MOVED_FROM|ISDIR a 6; 1 MOVED_TO|ISDIR b 6",
        "a | b c",
    ),
    row(
        "there and back",
        ["a=2", "a=2"],
        "1 MOVED_FROM|ISDIR a 5; 1 MOVED_TO|ISDIR b 5; 1 MOVED_FROM|ISDIR b 6; 1 MOVED_TO|ISDIR a 6",
        "| a b",
    ),
    row(
        "two folders are exchanged",
        ["a=2 b=3", "a=3 b=2"],
        "1 MOVED_FROM|ISDIR a 5; 1 MOVED_TO|ISDIR b 5; 1 MOVED_FROM|ISDIR b 6; 1 MOVED_TO|ISDIR a 6",
        "| a b",
    ),
    row(
        "a folder is made in one that is renamed at once",
        ["a=2", "z=2 z/n=3"],
        "2 CREATE|ISDIR n; 1 MOVED_FROM|ISDIR a 5; 1 MOVED_TO|ISDIR z 5",
        "a a/n | z",
    ),
    row(
        "a folder moves in",
        ["", "a=2 a/b=3"],
        "1 MOVED_TO|ISDIR a 5",
        "| a",
    ),
    Row {
        late: "a |",
        ..row(
            "a folder moves out",
            ["a=2 a/b=3", ""],
            "1 MOVED_FROM|ISDIR a 5",
            "|",
        )
    },
    Row {
        late: "f |",
        ..row(
            "a file moves out, and another thing happens",
            ["", ""],
            "1 MOVED_FROM f 5; 1 CREATE g",
            "g |",
        )
    },
    Row {
        fast: Some("a a/b/f |"),
        ..row(
            "moved to a name that is left out",
            ["a=2 a/b=3", "no=2 no/b=3"],
            "1 MOVED_FROM|ISDIR a 5; 1 MOVED_TO|ISDIR no 5; 3 CREATE f",
            "a |",
        )
    },
    row(
        "moved from a name that is left out",
        ["no=2 no/b=3", "a=2 a/b=3"],
        "1 MOVED_FROM|ISDIR no 5; 1 MOVED_TO|ISDIR a 5",
        "| a",
    ),
    row(
        "what is left out says nothing",
        ["", "no=2"],
        "1 CREATE no; 1 CREATE|ISDIR no; 1 MOVED_FROM no 1; 1 MOVED_TO none 1; 1 CREATE|ISDIR .wl",
        "|",
    ),
    row(
        "a folder that could not be read can be",
        ["", "a=2"],
        "1 ATTRIB|ISDIR a",
        "| a",
    ),
    row(
        "a watch dies but the folder is there: something was mounted over it or unmounted",
        ["a=2", "a=9"],
        "2 UNMOUNT; 2 IGNORED",
        "| a",
    ),
    row(
        "events of watches that nobody knows",
        ["", ""],
        "7 CREATE f; 7 IGNORED; 0 MODIFY x",
        "|",
    ),
    row(
        "a name that is no text",
        ["a=2", "a=2"],
        "2 MODIFY \u{1}; 2 CREATE \u{1}",
        "| a",
    ),
    row(
        "too many events",
        ["a=2 g=7 g/h=8", "a=3 b=4 b/c=5"],
        "-1 Q_OVERFLOW",
        "everything",
    ),
];

/// `WATCH MASK NAME COOKIE` as an event.
pub fn event(text: &str) -> Event {
    let mut parts = text.split_whitespace();
    let wd = parts.next().unwrap().parse().unwrap();
    let mask = parts.next().unwrap().split('|').map(flag);
    let mask = mask.fold(ReadFlags::empty(), |all, one| all | one);
    let name = match parts.next() {
        // No text in any encoding of names.
        Some("\u{1}") => vec![0xff],
        name => name.unwrap_or_default().into(),
    };
    let cookie = parts.next().map_or(0, |cookie| cookie.parse().unwrap());
    Event {
        wd,
        mask,
        cookie,
        name,
    }
}

fn flag(name: &str) -> ReadFlags {
    match name {
        "CREATE" => ReadFlags::CREATE,
        "DELETE" => ReadFlags::DELETE,
        "MODIFY" => ReadFlags::MODIFY,
        "CLOSE_WRITE" => ReadFlags::CLOSE_WRITE,
        "ATTRIB" => ReadFlags::ATTRIB,
        "MOVED_FROM" => ReadFlags::MOVED_FROM,
        "MOVED_TO" => ReadFlags::MOVED_TO,
        "MOVE_SELF" => ReadFlags::MOVE_SELF,
        "DELETE_SELF" => ReadFlags::DELETE_SELF,
        "ISDIR" => ReadFlags::ISDIR,
        "IGNORED" => ReadFlags::IGNORED,
        "UNMOUNT" => ReadFlags::UNMOUNT,
        "Q_OVERFLOW" => ReadFlags::QUEUE_OVERFLOW,
        other => panic!("{other}"),
    }
}

/// How the events reach the watcher.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// All at once, then the looks.
    Together,
    /// Each with its looks, which find what is there after the last.
    OneByOne,
}

fn run(row: &Row, pace: Pace) {
    let name = format!("{} ({pace:?})", row.name);
    let fake = Fake::default();
    fake.set(row.before);
    let mut core = fake.core();
    fake.set(row.after);
    for one in row.events.split(';') {
        core.watches.event(&event(one));
        if matches!(pace, Pace::OneByOne) {
            core.set_up(&|| true);
        }
    }
    core.set_up(&|| true);
    let said = core.watches.take();
    let expected = match pace {
        Pace::Together => row.fast.unwrap_or(row.said),
        Pace::OneByOne => row.said,
    };
    assert_eq!(text(&said.area), expected, "{name}");
    assert_eq!(said.gap, row.said == "everything", "{name}");
    assert_eq!(said.lost, None, "{name}");
    core.watches.age_halves();
    core.watches.age_halves();
    core.set_up(&|| true);
    core.work();
    assert_eq!(text(&core.watches.take().area), row.late, "{name}");
    assert_watched(&fake, &core, &name);
}

/// Everything that is wanted is watched, by the right path, and nothing else.
fn assert_watched(fake: &Fake, core: &Core, name: &str) {
    let world = fake.0.lock().unwrap();
    let is_left_out = |path: &SyncPath| path.as_str().contains("no") || path.is_reserved();
    let mut wanted = world.folders.clone();
    wanted.retain(|path, _| !is_left_out(path));
    assert_eq!(core.watches.places(), wanted, "{name}");
    let watched: Vec<i32> = world.watched.iter().copied().collect();
    let mut numbers: Vec<i32> = wanted.values().copied().collect();
    numbers.sort();
    assert_eq!(watched, numbers, "{name}");
}

#[test]
fn recorded_sequences() {
    for row in TABLE {
        run(row, Pace::Together);
        run(row, Pace::OneByOne);
    }
}

/// Looked at when all is over, the middle of such a rename is found nowhere.
#[test]
fn a_folder_and_the_one_in_it_change_places() {
    let events = "2 MOVED_FROM|ISDIR b 5; 1 MOVED_TO|ISDIR t 5; 1 MOVED_FROM|ISDIR a 6; 3 MOVED_TO|ISDIR a 6; \
                  1 MOVED_FROM|ISDIR t 7; 1 MOVED_TO|ISDIR b 7";
    for each in [false, true] {
        let fake = Fake::default();
        let mut core = fake.core_of("a=2 a/b=3");
        fake.set("b=3 b/a=2");
        for one in events.split(';') {
            core.watches.event(&event(one));
            if each {
                core.set_up(&|| true);
            }
        }
        core.set_up(&|| true);
        core.watches.age_halves();
        core.watches.age_halves();
        core.set_up(&|| true);
        let said = text(&core.watches.take().area);
        let places: Vec<&str> = said.split([' ', '|']).collect();
        for place in ["a", "a/b", "b"] {
            assert!(places.contains(&place), "{place} in {said}");
        }
        assert_watched(&fake, &core, "in each other");
    }
}

/// Its second half may come a moment later: meanwhile nothing of the tree is given up.
#[test]
fn half_a_rename_costs_no_watch() {
    let fake = Fake::default();
    let mut core = fake.core_of("a=2 a/b=3");
    fake.set("z=2 z/b=3");
    core.watches.event(&event("1 MOVED_FROM|ISDIR a 5"));
    core.set_up(&|| true);
    core.work();
    assert!(fake.0.lock().unwrap().watched.contains(&3));
    assert_eq!(core.watches.watched(), 3);
    core.watches.event(&event("1 MOVED_TO|ISDIR z 5"));
    core.set_up(&|| true);
    assert_watched(&fake, &core, "renamed");
}

/// The move itself was dropped; until it is found out, events in it are told by the old path.
#[test]
fn a_folder_whose_move_was_dropped_is_said_at_its_new_place() {
    let fake = Fake::default();
    let mut core = fake.core_of("a=2");
    fake.set("z=2");
    core.watches.event(&event("-1 Q_OVERFLOW"));
    assert_eq!(text(&core.watches.take().area), "everything");
    core.watches.event(&event("2 MODIFY f"));
    core.set_up(&|| true);
    assert_eq!(text(&core.watches.take().area), "a/f | z");
    assert_watched(&fake, &core, "dropped move");
}

#[test]
fn the_halves_of_a_rename_are_said_together() {
    let mut core = Fake::default().core_of("");
    core.watches.event(&event("1 MOVED_FROM a 5"));
    assert!(core.watches.take().area.is_empty());
    // Time goes by for another that does not come.
    core.watches.age_halves();
    core.watches.event(&event("1 MOVED_FROM b 6"));
    core.watches.age_halves();
    assert_eq!(text(&core.watches.take().area), "a |");
    core.watches.event(&event("1 MOVED_TO c 6"));
    assert_eq!(text(&core.watches.take().area), "b c |");
    assert!(!core.watches.waits_for_half());
}

/// Of events in a row that name the same only the first is looked into; what was said is said again when more comes.
#[test]
fn what_changes_again_after_it_was_said_is_said_again() {
    let mut core = Fake::default().core_of("a=2");
    for mask in ["CREATE", "MODIFY", "CLOSE_WRITE", "DELETE"] {
        for _ in 0..3 {
            core.watches.event(&event(&format!("2 {mask} f")));
        }
        let said = core.watches.take();
        assert_eq!((text(&said.area).as_str(), said.events), ("a/f |", 3));
    }
}

#[test]
fn whatever_becomes_of_the_root_ends_the_watching() {
    for mask in ["MOVE_SELF", "DELETE_SELF", "UNMOUNT", "IGNORED"] {
        let mut core = Fake::default().core_of("a=2");
        core.watches.event(&event(&format!("1 {mask}")));
        let said = core.watches.take();
        assert!(
            said.lost.is_some_and(|lost| lost.contains("root")),
            "{mask}"
        );
    }
}

#[test]
fn another_folder_at_the_place_of_the_root_is_noticed_when_it_is_looked_at() {
    let fake = Fake::default();
    let mut core = fake.core_of("a=2");
    fake.0.lock().unwrap().folders.insert(SyncPath::root(), 7);
    core.watches.check_root();
    core.set_up(&|| true);
    assert!(core.watches.take().lost.is_some());
}

#[test]
fn a_folder_that_is_mounted_twice_is_watched_once_and_polled_at_its_other_place() {
    let mut core = Fake::default().core_of("a=2 a/b=3 z=3");
    assert_eq!(core.watches.places().len(), 3);
    let polled: Vec<&SyncPath> = core.watches.polled().keys().collect();
    assert_eq!(polled.len(), 1);
    // The root mounted in itself does not lead in circles.
    core = Fake::default().core_of("a=2 a/r=1");
    assert_eq!(core.watches.places().len(), 2);
    assert_eq!(core.watches.polled().keys().next().unwrap().as_str(), "a/r");
}

/// It was away when one looked into it, and is back when one looks at it.
#[test]
fn what_is_below_a_folder_that_was_away_is_found_again() {
    let fake = Fake::default();
    let tree = "a=91 a/b=92 a/b/c=93";
    let mut core = fake.core_of(tree);
    fake.set("");
    core.watches.event(&event("92 CREATE|ISDIR c"));
    core.set_up(&|| true);
    assert_eq!(core.watches.places().len(), 3);
    fake.set(tree);
    for one in ["1 MOVED_FROM|ISDIR a 5", "1 MOVED_TO|ISDIR a 5"] {
        core.watches.event(&event(one));
    }
    core.set_up(&|| true);
    assert_eq!(core.watches.places().len(), 4);
    assert_watched(&fake, &core, "back");
}

#[test]
fn however_often_events_are_dropped_during_a_walk_there_is_one_more() {
    let fake = Fake::default();
    let tree: Vec<String> = (2..400).map(|n| format!("d{n}={n}")).collect();
    let mut core = fake.core_of(&tree.join(" "));
    let before = fake.0.lock().unwrap().looks;
    for _ in 0..20 {
        core.watches.event(&event("-1 Q_OVERFLOW"));
    }
    // Part of the way, and again.
    core.work();
    core.watches.event(&event("-1 Q_OVERFLOW"));
    core.set_up(&|| true);
    assert_eq!(fake.0.lock().unwrap().looks - before, 2 * 399);
    core.watches.event(&event("-1 Q_OVERFLOW"));
    core.set_up(&|| true);
    assert_eq!(fake.0.lock().unwrap().looks - before, 3 * 399);
}

#[test]
fn an_event_costs_no_look_unless_folders_come_or_go() {
    let fake = Fake::default();
    let mut core = fake.core_of("a=2 a/b=3");
    let before = fake.0.lock().unwrap().looks;
    for one in [
        "2 CREATE f",
        "2 MODIFY f",
        "1 ATTRIB|ISDIR a",
        "2 MOVED_FROM f 1",
        "2 MOVED_TO g 1",
        "2 DELETE g",
    ] {
        core.watches.event(&event(one));
    }
    core.set_up(&|| true);
    assert_eq!(fake.0.lock().unwrap().looks, before);
}
