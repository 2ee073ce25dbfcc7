//! A storage type that a program of somebody else brings along is like any other on its command line.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Runs the program in a home of its own and gives what it printed.
#[track_caller]
fn wl(home: &Path, line: &str) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_wl-with-sqlite"))
        .args(["--output", "json"])
        .args(line.split(' '))
        .current_dir(home)
        .env("HOME", home)
        .env_remove("WL_BASE_DIR")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {said}{complained}");
    serde_json::from_str(&said).unwrap()
}

/// A container of a folder and the SQLite file.
fn container(home: &Path, name: &str) {
    fs::create_dir(home.join(name)).unwrap();
    wl(home, &format!("container create {name}"));
    let folder = home.join(name);
    let folder = folder.display();
    wl(
        home,
        &format!("storage create local --container {name} --location {folder}"),
    );
    let file = home.join("tree.sqlite");
    let file = file.display();
    wl(
        home,
        &format!("storage create sqlite --container {name} --path {file}"),
    );
}

/// Syncs it with the SQLite file, and says how often something was created, updated or removed on each side.
#[track_caller]
fn sync(home: &Path, name: &str) -> [[u64; 3]; 2] {
    let report = wl(home, &format!("container sync {name} --one-shot"));
    assert_eq!(report["result"], "synced", "{report:#}");
    assert_eq!(report["target"]["type"], "sqlite", "{report:#}");
    ["source", "target"].map(|side| {
        let changes = &report["changes"][side];
        ["created", "updated", "removed"].map(|what| changes[what].as_u64().unwrap())
    })
}

#[test]
fn two_folders_are_kept_equal_through_a_sqlite_file() {
    let home = TempDir::new().unwrap();
    let home = home.path();
    for name in ["one", "two"] {
        container(home, name);
    }
    let text = |path: &str| fs::read_to_string(home.join(path)).ok();
    fs::create_dir(home.join("one/d")).unwrap();
    fs::write(home.join("one/a"), "a").unwrap();
    fs::write(home.join("one/d/b"), "b".repeat(3 << 20)).unwrap();

    assert_eq!(sync(home, "one"), [[0, 0, 0], [3, 0, 0]]);
    assert_eq!(sync(home, "two"), [[3, 0, 0], [0, 0, 0]]);
    assert_eq!(text("two/d/b"), text("one/d/b"));

    fs::write(home.join("two/a"), "edited").unwrap();
    fs::remove_file(home.join("two/d/b")).unwrap();
    assert_eq!(sync(home, "two"), [[0, 0, 0], [0, 1, 1]]);
    assert_eq!(sync(home, "one"), [[0, 1, 1], [0, 0, 0]]);
    assert_eq!(
        (text("one/a").as_deref(), text("one/d/b")),
        (Some("edited"), None)
    );
    for name in ["one", "two"] {
        assert_eq!(sync(home, name), [[0; 3]; 2], "nothing is left to be done");
    }
}

#[test]
fn the_type_is_listed_and_explained_like_others() {
    let home = TempDir::new().unwrap();
    let types = wl(home.path(), "storage types");
    let types = types["types"].as_array().unwrap();
    let sqlite = types.iter().find(|one| one["type"] == "sqlite").unwrap();
    assert_eq!(sqlite["schema"]["required"], json!(["path"]));
    assert!(types.iter().any(|one| one["type"] == "local"));
}
