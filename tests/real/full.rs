//! Full disks: what does not fit is told, nothing is lost, and with room again the next run completes.

use std::fs;

use crate::pair::Pair;
use crate::skip::Mount;
use crate::trees::{contents, is_tidy, read, visible, write};

/// Fills what is left of a file system.
fn fill(at: &std::path::Path) {
    let piece = vec![b'x'; 4096];
    let mut file = fs::File::create(at).unwrap();
    while std::io::Write::write_all(&mut file, &piece).is_ok() {}
}

#[test]
fn what_does_not_fit_is_told_and_comes_when_there_is_room() {
    let pair = Pair::new();
    let Some(mount) = Mount::new(&pair.b, "2m") else {
        return;
    };
    for file in 0..40 {
        write(
            &pair.a,
            &format!("d/f{file}"),
            format!("{file} ").repeat(40_000),
        );
    }
    write(&pair.a, "small", "small");
    for _ in 0..2 {
        let ran = pair.sync("");
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.reasons().contains("space"), "{ran:?}");
        assert!(is_tidy(&pair.b), "parts are left");
        let whole = visible(&pair.a);
        assert!(visible(&pair.b).is_subset(&whole), "torn");
    }
    mount.grow("64m");
    pair.sync("").synced();
    pair.assert_equal();
}

#[test]
fn replacing_on_a_full_disk_keeps_the_old_version() {
    let pair = Pair::new();
    let Some(mount) = Mount::new(&pair.b, "2m") else {
        return;
    };
    for file in 0..4 {
        write(
            &pair.a,
            &format!("f{file}"),
            format!("old {file} ").repeat(30_000),
        );
    }
    pair.sync("").synced();
    for file in 0..4 {
        write(
            &pair.a,
            &format!("f{file}"),
            format!("new {file} ").repeat(30_000),
        );
    }
    let own = "only on the full side".repeat(100);
    write(&pair.b, "own", &own);
    fill(&pair.b.join("fill"));
    let filled = fs::metadata(pair.b.join("fill")).unwrap().len();
    assert!(filled > 4096, "{filled}");
    let before = contents(&pair.b);
    let ran = pair.sync("");
    assert_eq!(ran.code, 1, "{ran:?}");
    let after = contents(&pair.b);
    assert!(
        before.is_subset(&after),
        "nothing is given up on the full side"
    );
    for file in 0..4 {
        let content = fs::read_to_string(pair.b.join(format!("f{file}"))).unwrap();
        let whole = content == format!("old {file} ").repeat(30_000)
            || content == format!("new {file} ").repeat(30_000);
        assert!(whole, "f{file} is torn");
    }
    assert!(pair.a.join("own").exists(), "{ran:?}");
    mount.grow("64m");
    pair.sync("").synced();
    pair.assert_equal();
    assert_eq!(fs::read_to_string(pair.a.join("own")).unwrap(), own);
}

/// The trash is what fills a target whose files change often. Emptying it needs no room.
#[test]
fn a_disk_that_is_full_of_trash_says_how_to_empty_it() {
    let pair = Pair::new();
    let Some(_mount) = Mount::new(&pair.b, "4m") else {
        return;
    };
    let version = |number: u8| vec![number; 1_500_000];
    for number in 1..=2 {
        write(&pair.a, "f", version(number));
        pair.sync("").synced();
    }
    write(&pair.a, "f", version(3));
    let ran = pair.sync("");
    assert_eq!(ran.code, 1, "{ran:?}");
    let empty = format!("trash empty {}", pair.b.display());
    let advice = format!("its trash holds 1 MiB, which `wl {empty}` gives up");
    assert!(ran.reasons().contains(&advice), "{ran:?}");
    fill(&pair.b.join("fill"));
    let words = format!("{empty} --yes --output json");
    let words = words.split(' ');
    let emptied = pair.ran(words);
    assert_eq!(emptied.code, 0, "{emptied:?}");
    fs::remove_file(pair.b.join("fill")).unwrap();
    pair.sync("").synced();
    pair.assert_equal();
}

/// By hand, as a kill leaves it: a version in the middle of an exchange, and content that was being staged.
fn killed(root: &std::path::Path, swap: &str, part: usize) {
    let stage = root.join(".wl/stage/killed");
    fs::create_dir_all(&stage).unwrap();
    for file in ["journal", "lock"] {
        fs::write(stage.join(file), "").unwrap();
    }
    fs::write(stage.join("0.swap"), swap).unwrap();
    if part > 0 {
        fs::write(stage.join("1.part"), vec![b'p'; part]).unwrap();
    }
}

/// What it was about to write is of no use to anybody: that it goes makes the room that the rest needs.
#[test]
fn what_a_killed_run_left_makes_room_for_what_has_to_be_kept() {
    let pair = Pair::new();
    let Some(_mount) = Mount::new(&pair.b, "2m") else {
        return;
    };
    write(&pair.a, "f", "f");
    pair.sync("").synced();
    killed(&pair.b, "somebody's", 500_000);
    fill(&pair.b.join("fill"));
    write(&pair.a, "g", "g");
    let ran = pair.sync("");
    assert_eq!(ran.class(), "none", "{ran:?}");
    assert!(is_tidy(&pair.b), "staging is left");
    assert_eq!(fs::read_to_string(pair.b.join("g")).unwrap(), "g");
    assert!(trash(&pair.b).contains("somebody's"));
}

/// Without any room at all a version of somebody's waits, and the run says so; the trash can be emptied all the same.
#[test]
fn what_a_killed_run_left_on_a_full_disk_waits_until_the_trash_is_emptied() {
    let pair = Pair::new();
    let Some(_mount) = Mount::new(&pair.b, "2m") else {
        return;
    };
    write(&pair.a, "f", vec![1_u8; 500_000]);
    pair.sync("").synced();
    write(&pair.a, "f", vec![2_u8; 500_000]);
    pair.sync("").synced();
    killed(&pair.b, "somebody's", 0);
    fill(&pair.b.join("fill"));
    for _ in 0..2 {
        let ran = pair.sync("");
        assert_eq!(ran.class(), "storage", "{ran:?}");
        let advice = format!("`wl trash empty {}`", pair.b.display());
        assert!(format!("{ran:?}").contains(&advice), "{ran:?}");
        assert!(pair.b.join(".wl/stage/killed/0.swap").exists());
    }
    let empty = format!("trash empty {} --yes --output json", pair.b.display());
    let emptied = pair.ran(empty.split(' '));
    assert_eq!(emptied.code, 0, "{emptied:?}");
    assert_eq!(emptied.report["emptied"]["removed"]["versions"], 1);
    write(&pair.a, "g", "g");
    let ran = pair.sync("");
    assert_eq!(ran.class(), "none", "{ran:?}");
    assert_eq!(fs::read_to_string(pair.b.join("g")).unwrap(), "g");
    assert!(is_tidy(&pair.b), "staging is left");
    assert!(trash(&pair.b).contains("somebody's"));
}

/// All that is in the trash, as one text.
fn trash(root: &std::path::Path) -> String {
    let mut text = String::new();
    for run in fs::read_dir(root.join(".wl/trash")).unwrap() {
        for file in fs::read_dir(run.unwrap().path()).unwrap() {
            text += &String::from_utf8_lossy(&fs::read(file.unwrap().path()).unwrap());
        }
    }
    text
}

/// Removing needs a little room for its notes: without any, it is told, and nothing is lost.
#[test]
fn removing_on_a_disk_without_a_byte_left() {
    let pair = Pair::new();
    let Some(_mount) = Mount::new(&pair.b, "2m") else {
        return;
    };
    for file in 0..20 {
        write(&pair.a, &format!("f{file}"), format!("content {file}"));
    }
    pair.sync("").synced();
    for file in 0..8 {
        fs::remove_file(pair.a.join(format!("f{file}"))).unwrap();
    }
    fill(&pair.b.join("fill"));
    fs::remove_file(pair.a.join("f9")).unwrap();
    let before = contents(&pair.b);
    let ran = pair.sync("--max-delete 100%");
    assert!(before.is_subset(&contents(&pair.b)), "{ran:?}");
    fs::remove_file(pair.b.join("fill")).unwrap();
    let _ = fs::remove_file(pair.a.join("fill"));
    pair.sync("--max-delete 100%").synced();
    pair.assert_equal();
    assert!(is_tidy(&pair.b));
}

#[test]
fn a_full_disk_under_the_state_stops_the_run_and_loses_nothing() {
    let pair = Pair::new();
    let Some(_mount) = Mount::new(&pair.base, "256k") else {
        return;
    };
    for file in 0..3000 {
        write(
            &pair.a,
            &format!("d{}/file with a name {file}", file % 60),
            format!("content {file}"),
        );
    }
    let before = read(&pair.a);
    for _ in 0..2 {
        let ran = pair.sync("");
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(["state", "storage"].contains(&ran.class()), "{ran:?}");
        assert!(
            ran.desc().contains("full") || ran.desc().contains("space"),
            "{}",
            ran.desc()
        );
        assert!(read(&pair.a) == before);
        for root in [&pair.a, &pair.b] {
            assert!(is_tidy(root), "staging is left");
        }
    }
    let elsewhere = pair.at("elsewhere");
    let words = [
        "sync",
        "a",
        "b",
        "--output",
        "json",
        "-b",
        elsewhere.to_str().unwrap(),
    ];
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_wl"))
        .args(words)
        .current_dir(pair.at(""))
        .output();
    crate::pair::ended(out.unwrap()).synced();
    assert!(read(&pair.a) == before && read(&pair.b) == before);
}
