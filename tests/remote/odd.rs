//! Names that one side has and the other cannot hold.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use wl_daemon::model::Outcome;

use crate::trees;
use crate::trouble::Setting;
use crate::world::{BUCKET, problems, set, synced};

/// Keys that are no paths, or stand for two things, and the problem that each must be.
const ODD: [(&str, &str); 9] = [
    ("file", "the file"),
    ("file/inside", "its folder"),
    ("empty//part", "x"),
    ("./dot", "x"),
    ("up/../out", "x"),
    ("full/", "content in a marker"),
    ("back\\slash", "x"),
    ("/root", "x"),
    ("..", "x"),
];

#[test]
fn odd_keys_are_problems_of_their_own() {
    let setting = Setting::filled();
    for (key, content) in ODD {
        setting.put(key, content);
    }
    setting.put("full/inside", "beside the marker");
    setting.put("fine", "fine");
    let mut before = None;
    for round in 0..3 {
        let report = setting.sync();
        assert_eq!(report.result, Outcome::Failed, "{report:#?}");
        for (key, content) in ODD {
            assert_eq!(setting.get(key).as_deref(), Some(content), "{key}");
        }
        let found = problems(&report);
        assert!(found.len() >= 6, "{report:#?}");
        let here = setting.tree();
        assert!(setting.folder.join("fine").exists(), "{report:#?}");
        assert!(setting.folder.join("full/inside").exists(), "{report:#?}");
        assert!(!setting.folder.join("out").exists() && !setting.folder.join("root").exists());
        assert!(!setting.folder.parent().unwrap().join("root").exists());
        let told = (here, found);
        if round > 0 {
            assert_eq!(before.as_ref(), Some(&told), "{report:#?}");
        }
        before = Some(told);
    }
    // Everything else goes on meanwhile, and when they are gone all is well.
    setting.edit_both();
    let report = setting.sync();
    assert_eq!(Some(problems(&report)), before.map(|told| told.1));
    for (key, _) in ODD {
        assert!(setting.server.delete(BUCKET, &format!("p/{key}")));
    }
    let report = setting.sync();
    synced(&report);
    for path in ["d0/f0", "fine", "full/inside", "moved"] {
        assert!(setting.folder.join(path).exists(), "{path}");
        assert!(setting.get(path).is_some(), "{path}");
    }
}

#[test]
fn odd_keys_that_are_names_come_through() {
    let setting = Setting::filled();
    let long = "long".repeat(60);
    let deep = format!("{0}/{0}/{0}", "n".repeat(250));
    let names = [
        "in the middle",
        "cafe\u{301}",
        "caf\u{e9}",
        "100%",
        "a+b&c=d?e#f",
        "%2e%2e",
        "...",
        "\u{1f600}",
        "quote\"'<>&",
        "line\nfeed",
        &long,
        &deep,
    ];
    for (number, name) in names.iter().enumerate() {
        match number % 2 {
            0 => setting.put(name, &format!("there {number}")),
            _ => trees::write(&setting.folder, name, format!("here {number}")),
        }
    }
    let report = setting.sync();
    synced(&report);
    setting.assert_equal();
    for name in names {
        assert!(setting.folder.join(name).exists(), "{name}");
    }
    setting.server.reset_counts();
    synced(&setting.sync());
    // The listing, and whether there is a `.wlignore`.
    assert_eq!(setting.server.counts().len(), 2);
}

#[test]
fn names_that_only_one_side_can_hold() {
    let setting = Setting::filled();
    let too_long_there = "x".repeat(300);
    setting.put(&too_long_there, "no folder takes it");
    let too_long_here = format!("{0}/{0}/{0}/{0}/{0}", "n".repeat(250));
    trees::write(&setting.folder, &too_long_here, "no bucket takes it");
    for name in [" leads", "trails ", "new\rline", "back\\slash", "bell\u{7}"] {
        trees::write(&setting.folder, name, name);
    }
    trees::write(&setting.folder, "fine", "fine");
    let raw = std::ffi::OsStr::from_bytes(b"latin\xe9");
    fs::write(setting.folder.join(raw), "no UTF-8").unwrap();
    let mut before = None;
    for _ in 0..2 {
        let report = setting.sync();
        assert_eq!(report.result, Outcome::Failed, "{report:#?}");
        let found = problems(&report);
        for name in [" leads", "trails ", "back\\slash", &too_long_there] {
            assert!(found.contains(name), "{name}: {report:#?}");
        }
        assert_eq!(found.len(), 8, "{report:#?}");
        assert_eq!(setting.get("fine").as_deref(), Some("fine"));
        for name in [
            " leads",
            "trails ",
            "new\rline",
            "back\\slash",
            &too_long_here,
        ] {
            assert!(setting.folder.join(name).exists(), "{name}");
            assert_eq!(setting.get(name), None, "{name}");
        }
        for name in ["leads", "trails", "back/slash", "backslash"] {
            assert_eq!(setting.get(name), None, "{name}");
        }
        assert!(setting.folder.join(raw).exists());
        assert!(setting.get(&too_long_there).is_some());
        let told = (setting.tree(), found);
        before.get_or_insert_with(|| told.clone());
        assert_eq!(before.as_ref(), Some(&told));
    }
}

#[test]
fn a_link_is_a_problem_and_changes_nothing_else() {
    let setting = Setting::filled();
    let link = |name: &str| {
        std::os::unix::fs::symlink("somewhere", setting.folder.join(name)).unwrap();
    };
    link("link");
    fs::remove_file(setting.folder.join("d0/f0")).unwrap();
    // In the place of a file that both had.
    link("d0/f0");
    setting.put("d0/f3", "edited there");
    for _ in 0..2 {
        let report = setting.sync();
        assert_eq!(problems(&report), set(["d0/f0", "link"]), "{report:#?}");
        assert_eq!(setting.get("d0/f0").as_deref(), Some("content 0"));
        assert_eq!(setting.get("link"), None);
        for name in ["link", "d0/f0"] {
            assert!(setting.folder.join(name).is_symlink(), "{report:#?}");
        }
        let edited = fs::read_to_string(setting.folder.join("d0/f3")).unwrap();
        assert_eq!(edited, "edited there");
    }
    for name in ["link", "d0/f0"] {
        fs::remove_file(setting.folder.join(name)).unwrap();
    }
    synced(&setting.sync());
    assert_eq!(setting.get("d0/f0"), None, "it was removed here at last");
    setting.assert_equal();
}
