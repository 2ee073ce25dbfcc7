//! Containers and their manifests on disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::support::{Home, snapshot, source};

#[test]
fn containers_come_and_go() {
    let home = Home::new();
    let text = home.transcript(&[
        "container list",
        "container create notes",
        "container create photos -q",
        "container list",
        "container info notes",
        "container delete notes",
        "container list",
        "storage list",
        "storage list --container photos",
    ]);
    snapshot("containers.txt", &text);
}

#[test]
fn a_new_manifest_has_the_field_names_of_wildland() {
    let home = Home::new();
    home.ok("container create notes");
    let text = fs::read_to_string(home.base().join("containers/notes.container.yaml")).unwrap();
    snapshot("manifest.txt", &text);
}

#[test]
fn everything_below_the_base_directory_is_private() {
    let home = Home::new();
    home.ok("container create notes");
    let mode = |path: &str| {
        let mode = home.base().join(path).metadata().unwrap().permissions();
        mode.mode() & 0o777
    };
    assert_eq!(mode(""), 0o700);
    assert_eq!(mode("containers"), 0o700);
    assert_eq!(mode("containers/notes.container.yaml"), 0o600);
}

#[test]
fn the_base_directory_goes_before_or_after_the_subcommand() {
    let home = Home::new();
    for (name, line) in [
        ("one", "-b b1 container create one"),
        ("two", "container -b b1 create two"),
        ("three", "container create three --base-dir b1"),
        ("four", "container create four --base-dir=b1 --output json"),
    ] {
        home.ok(line);
        let manifest = format!("b1/containers/{name}.container.yaml");
        assert!(home.path(&manifest).is_file(), "{line}");
    }
    let out = home
        .command()
        .env("WL_BASE_DIR", "b1")
        .args(["container", "list"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(out.stdout).unwrap().lines().count(), 4);
    assert!(!home.base().exists());
}

#[test]
fn a_manifest_is_never_overwritten_by_create() {
    let home = Home::new();
    home.ok("container create notes");
    let path = home.base().join("containers/notes.container.yaml");
    fs::write(&path, "mine").unwrap();
    assert_eq!(home.run("container create notes").code, 2);
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn a_storage_is_listed_without_its_secrets_and_taken_out() {
    let home = Home::new();
    home.ok("container create notes");
    let path = home.base().join("containers/notes.container.yaml");
    fs::copy(
        source("schemas/examples/container/accepted/full.yaml"),
        &path,
    )
    .unwrap();
    for line in ["container info notes", "storage list"] {
        for format in ["human", "json"] {
            let done = home.ok(&format!("{line} --output {format}"));
            assert!(done.stdout.contains("stick"), "{done:?}");
            assert!(!done.stdout.contains("hush"), "{done:?}");
        }
    }
    home.ok("storage delete stick --container notes");
    let (_, info) = home.json("container info notes");
    let ids: Vec<_> = info["storages"].as_array().unwrap().iter().collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(ids[0]["backend-id"], "bucket");
}

#[test]
fn a_broken_manifest_is_told_with_file_field_and_fix() {
    let home = Home::new();
    home.ok("container create fine");
    let folder = source("schemas/examples/container/refused");
    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut text = String::new();
    for file in &names {
        let name = file.strip_suffix(".yaml").unwrap();
        let to = format!("containers/{name}.container.yaml");
        fs::copy(folder.join(file), home.base().join(to)).unwrap();
        text += &home.transcript(&[&format!("container info {name}")]);
    }
    assert!(!text.contains("hush"), "{text}");
    snapshot("broken-manifests.txt", &text);
    // The others can still be seen, and a broken one can be thrown away.
    let (code, list) = home.json("container list");
    assert_eq!(code, 1);
    let fine = json!({"name": "fine", "storages": 0});
    assert!(list["containers"].as_array().unwrap().contains(&fine));
    home.ok("storage create local --container fine --location here");
    let (code, list) = home.json("storage list");
    let storages = list["storages"].as_array().unwrap();
    assert_eq!((code, storages.len()), (1, 1), "{list:#}");
    assert_eq!(storages[0]["container"], "fine");
    for file in &names {
        let name = file.strip_suffix(".yaml").unwrap();
        home.ok(&format!("container delete {name}"));
    }
    home.ok("container list");
}
