//! Versions that runs replaced or removed: they come back, go when they should, and a late writer's is kept.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::pair::{Pair, Ran};
use crate::trees::{contents, write};

fn items(pair: &Pair, side: &str) -> Vec<(String, String, String)> {
    let ran = pair.ran(["trash", "list", side, "--output", "json"]);
    let list = ran.report["trash"].as_array().unwrap().clone();
    let text = |item: &Value, field: &str| item[field].as_str().unwrap().to_owned();
    list.iter()
        .map(|item| (text(item, "path"), text(item, "state"), text(item, "id")))
        .collect()
}

fn restore(pair: &Pair, side: &str, id: &str, to: Option<&str>) -> Ran {
    let mut words = vec!["trash", "restore", side, id, "--output", "json"];
    words.extend(to.into_iter().flat_map(|to| ["--to", to]));
    pair.ran(words)
}

/// Replaced on one side, removed on the other, each from the other's change.
fn with_trash(options: &str) -> Pair {
    let pair = Pair::new();
    write(&pair.a, "replaced", "the old one");
    write(&pair.a, "d/removed\n", "gone");
    write(&pair.a, "stays", "stays");
    pair.sync("").synced();
    write(&pair.b, "replaced", "the new one");
    fs::remove_dir_all(pair.b.join("d")).unwrap();
    pair.sync(options).synced();
    pair.assert_equal();
    pair
}

/// Root may write to what is closed, an ordinary user may not.
#[test]
fn an_ordinary_user_runs_on_with_versions_in_the_trash() {
    let Some(pair) = Pair::of_nobody() else {
        return;
    };
    for content in ["1", "2, longer", "3, longer still", "4"] {
        write(&pair.a, "f", content);
        pair.give();
        pair.sync("").synced();
        pair.sync("").synced();
    }
    pair.assert_equal();
    // As an earlier wl left it.
    for run in fs::read_dir(pair.b.join(".wl/trash")).unwrap() {
        let checked = run.unwrap().path().join("checked");
        if checked.exists() {
            fs::set_permissions(&checked, fs::Permissions::from_mode(0o400)).unwrap();
        }
    }
    pair.sync("").synced();
}

#[test]
fn what_was_replaced_and_removed_comes_back() {
    let pair = with_trash("");
    assert!(items(&pair, "b").is_empty());
    let mut found = items(&pair, "a");
    found.sort();
    let [removed, replaced] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!((&*removed.0, &*removed.1), ("d/removed\n", "removed"));
    assert_eq!((&*replaced.0, &*replaced.1), ("replaced", "replaced"));
    assert_eq!(restore(&pair, "a", &removed.2, None).code, 0);
    assert_eq!(restore(&pair, "a", &replaced.2, Some("old")).code, 0);
    pair.sync("").synced();
    pair.assert_equal();
    assert_eq!(fs::read(pair.b.join("d/removed\n")).unwrap(), b"gone");
    assert_eq!(fs::read(pair.b.join("old")).unwrap(), b"the old one");
    assert!(items(&pair, "a").is_empty());
}

#[test]
fn without_a_trash_versions_go_one_run_later() {
    let pair = with_trash("--trash-keep none");
    assert_eq!(
        items(&pair, "a").len(),
        2,
        "for those who still have it open"
    );
    pair.sync("--trash-keep none").synced();
    assert!(items(&pair, "a").is_empty());
    let left = contents(&pair.a.join(".wl"));
    assert!(!left.contains(&b"the old one"[..]) && !left.contains(&b"gone"[..]));
}

/// A program has the old version open while it is replaced, and writes to it afterwards.
#[test]
fn what_a_late_writer_wrote_is_kept_and_listed() {
    for keep in ["", "--trash-keep none"] {
        let pair = Pair::new();
        write(&pair.a, "log", "line one\n");
        write(&pair.a, "removed", "line one\n");
        write(&pair.a, "stays", "x");
        pair.sync("").synced();
        let open = |name: &str| {
            let options = fs::File::options().append(true).open(pair.b.join(name));
            options.unwrap()
        };
        let mut writers = [open("log"), open("removed")];
        write(&pair.a, "log", "all new\n");
        fs::remove_file(pair.a.join("removed")).unwrap();
        pair.sync(&format!("--max-delete 100% {keep}")).synced();
        for (number, writer) in writers.iter_mut().enumerate() {
            writeln!(writer, "late {number}").unwrap();
        }
        let ran = pair.sync(keep);
        assert_eq!(ran.code, 3, "{ran:?}");
        assert_eq!(ran.conflicts(), ["log", "removed"]);
        for _ in 0..2 {
            let ran = pair.sync(keep);
            assert_eq!(
                ran.conflicts().len(),
                2,
                "until they are taken out: {ran:?}"
            );
        }
        let late = items(&pair, "b");
        assert_eq!(late.len(), 2, "{late:?}");
        for (path, state, id) in late {
            assert_eq!(state, "late");
            assert_eq!(
                restore(&pair, "b", &id, Some(&format!("late/{path}"))).code,
                0
            );
        }
        pair.sync(keep).synced();
        assert_eq!(
            fs::read(pair.a.join("late/log")).unwrap(),
            b"line one\nlate 0\n"
        );
        assert_eq!(
            fs::read(pair.a.join("late/removed")).unwrap(),
            b"line one\nlate 1\n"
        );
    }
}
