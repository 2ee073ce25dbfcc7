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

#[test]
fn the_trash_is_emptied_only_when_that_was_said() {
    let home = with_trash();
    let asked = home.run("trash empty dst");
    assert_eq!(asked.code, 2, "{asked:?}");
    assert!(asked.stderr.contains("2 versions, 7 bytes"), "{asked:?}");
    assert!(asked.stderr.contains("--yes"), "{asked:?}");
    let (code, shown) = home.json("trash empty dst --dry-run");
    assert_eq!(code, 0);
    assert_eq!(shown["dry-run"], true);
    assert_eq!(shown["emptied"]["removed"]["versions"], 2);
    assert_eq!(shown["emptied"]["removed"]["bytes"], 7);
    assert_eq!(
        home.json("trash list dst").1["trash"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let young = home.ok("trash empty dst --older-than 1d --yes").stdout;
    assert_eq!(
        young,
        "Gave up 0 versions, 0 bytes\nKept 2 versions, 7 bytes (younger)\n"
    );
    let done = home.ok("trash empty dst --yes").stdout;
    assert_eq!(done, "Gave up 2 versions, 7 bytes\n");
    assert!(home.ok("trash list dst").stderr.contains("empty"));
    assert_eq!(
        home.ok("trash empty dst").stdout,
        "Gave up 0 versions, 0 bytes\n"
    );
    assert_eq!(read(&home.path("dst"))["a"], "new one");
    home.ok("sync src dst");
}

/// A version that somebody wrote after it was displaced is the only one of its kind.
#[test]
fn what_nobody_agreed_to_give_up_stays_in_the_trash() {
    let home = with_trash();
    let id = &ids(&home, "a")[0];
    write(&home.path("dst/.wl/trash"), &[(id, "written late")]);
    let done = home.run("trash empty dst --yes");
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stdout.starts_with("Gave up 1 version, "), "{done:?}");
    let (_, list) = home.json("trash list dst");
    assert_eq!(list["trash"][0]["state"], "late", "{list}");
    let again = home.ok("trash empty dst --yes").stdout;
    assert!(again.contains("conflicts"), "{again}");
    home.ok(&format!("trash restore dst {id} --to late"));
    assert_eq!(read(&home.path("dst"))["late"], "written late");
}

#[test]
fn a_storage_that_is_only_read_keeps_its_trash() {
    let home = with_trash();
    home.ok("container create notes");
    home.ok("storage create local --container notes --location dst --backend-id disk --read-only");
    let refused = home.run("trash empty --container notes --storage disk --yes");
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("read-only"), "{refused:?}");
    assert_eq!(ids(&home, "a").len(), 1);
}
