//! What runs removed or replaced comes back.

use std::fs;

use crate::support::Home;
use crate::trees::{read, write};

/// A pair whose target has a replaced and a removed version in its trash.
fn with_trash() -> Home {
    let home = Home::new();
    write(
        &home.path("src"),
        &[("a", "old"), ("d/b", "gone"), ("c", "stays")],
    );
    home.ok("sync src dst");
    write(&home.path("src"), &[("a", "new one")]);
    fs::remove_dir_all(home.path("src/d")).unwrap();
    home.ok("sync src dst");
    home
}

fn ids(home: &Home, path: &str) -> Vec<String> {
    let (_, list) = home.json("trash list dst");
    let items = list["trash"].as_array().unwrap().iter();
    items
        .filter(|item| item["path"] == path)
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn removed_and_replaced_versions_are_listed() {
    let home = with_trash();
    let (code, list) = home.json("trash list dst");
    assert_eq!(code, 0);
    let mut found: Vec<_> = list["trash"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            (
                item["path"].as_str().unwrap(),
                item["state"].as_str().unwrap(),
            )
        })
        .collect();
    found.sort_unstable();
    assert_eq!(found, [("a", "replaced"), ("d/b", "removed")]);
    let text = home.ok("trash list dst").stdout;
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(home.ok("trash list src").stderr.contains("empty"));
}

#[test]
fn a_removed_version_comes_back_where_it_was() {
    let home = with_trash();
    let id = &ids(&home, "d/b")[0];
    home.ok(&format!("trash restore dst {id}"));
    assert_eq!(read(&home.path("dst"))["d/b"], "gone");
    home.ok("sync src dst");
    assert_eq!(read(&home.path("src"))["d/b"], "gone");
}

#[test]
fn nothing_is_overwritten_by_what_comes_back() {
    let home = with_trash();
    let id = &ids(&home, "a")[0];
    let done = home.run(&format!("trash restore dst {id}"));
    assert_eq!(done.code, 1, "{done:?}");
    assert_eq!(read(&home.path("dst"))["a"], "new one");
    home.ok(&format!("trash restore dst {id} --to old/a"));
    assert_eq!(read(&home.path("dst"))["old/a"], "old");
}

#[test]
fn a_container_names_the_storage_too() {
    let home = with_trash();
    home.ok("container create notes");
    home.ok("storage create local --container notes --location dst --backend-id disk");
    let id = &ids(&home, "d/b")[0];
    let (_, list) = home.json("trash list --container notes --storage disk");
    assert_eq!(list["trash"].as_array().unwrap().len(), 2);
    home.ok(&format!(
        "trash restore --container notes --storage disk {id}"
    ));
    assert_eq!(read(&home.path("dst"))["d/b"], "gone");
    let done = home.run("trash restore dst no/such");
    assert_eq!(done.code, 2);
    assert!(done.stderr.contains("wl trash list"), "{done:?}");
}
