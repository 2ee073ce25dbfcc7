//! Storages: types, their options, and what is said about wrong ones.

use std::fs;

use crate::support::Home;

#[test]
fn the_types_of_this_program_are_listed_with_their_schemas() {
    let home = Home::new();
    let text = home.ok("storage types").stdout;
    assert!(
        text.contains("local  ") && !text.contains("memory"),
        "{text}"
    );
    assert!(home.ok("storage types --all").stdout.contains("memory  "));
    let (_, types) = home.json("storage types");
    let types = types["types"].as_array().unwrap();
    let local = types.iter().find(|one| one["type"] == "local").unwrap();
    assert_eq!(local["schema"]["required"][0], "location");
    assert_eq!(local["read-only"], false);
    assert!(!types.iter().any(|one| one["type"] == "memory"));
}

#[test]
fn the_list_says_how_well_a_storage_keeps_versions_once_it_was_probed() {
    let home = Home::new();
    home.ok("container create notes");
    home.ok("storage create local --container notes --location /a");
    home.ok("storage create local --container notes --location /b");
    let state = home.base().join("state");
    fs::create_dir(&state).unwrap();
    let known = r#"{"local /b": {"cas": "recoverable", "probed": 1700000000}}"#;
    fs::write(state.join("grades.json"), known).unwrap();
    let (_, list) = home.json("storage list");
    assert_eq!(list["storages"][0]["cas"], "not probed yet");
    assert_eq!(list["storages"][0].get("cas-probed"), None);
    assert_eq!(list["storages"][1]["cas"], "recoverable");
    assert_eq!(list["storages"][1]["cas-probed"], 1_700_000_000);
    let text = home.ok("storage list").stdout;
    assert!(text.contains("/a  cas: not probed yet\n"), "{text}");
    assert!(text.contains("/b  cas: recoverable\n"), "{text}");
}

#[test]
fn a_type_brings_its_own_options() {
    let home = Home::new();
    let help = home.ok("storage create local --help").stdout;
    for option in [
        "--location <",
        "--container <",
        "--backend-id <",
        "--base-dir <",
    ] {
        assert!(help.contains(option), "{option}: {help}");
    }
    let help = home.ok("storage create --help").stdout;
    assert!(
        help.contains("Types:\n") && help.contains("\n  local "),
        "{help}"
    );
    assert!(!help.contains("\n  memory "), "{help}");
    assert!(
        home.ok("storage create memory --help")
            .stdout
            .contains("--name <NAME>")
    );
}

#[test]
fn a_storage_is_written_as_it_was_described() {
    let home = Home::new();
    home.ok("container create notes");
    home.ok("storage create local --container notes --location here");
    home.ok("storage create local --container notes --location /odd: --read-only");
    home.ok("storage create local --container notes --location /x --backend-id disk --watcher-interval 5");
    let (_, list) = home.json("storage list --container notes");
    let list = list["storages"].as_array().unwrap();
    let ids: Vec<_> = list
        .iter()
        .map(|one| one["backend-id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["local-1", "local-2", "disk"]);
    // A manifest is read from anywhere: a path in it is absolute.
    assert_eq!(list[0]["location"], home.path("here").to_str().unwrap());
    assert_eq!(list[1]["location"], "/odd:");
    assert_eq!(list[1]["read-only"], true);
    assert_eq!(list[2]["watcher-interval"], 5);
    assert!(!home.path("here").exists(), "only the manifest is written");
    home.ok("storage delete local-1 --container notes");
    home.ok("storage create local --container notes --location /y");
    let (_, info) = home.json("container info notes");
    assert_eq!(info["storages"][2]["backend-id"], "local-1");
}

#[test]
fn wrong_storages_are_refused_with_field_and_fix() {
    let home = Home::new();
    home.ok("container create notes");
    home.ok("storage create local --container notes --location /a --backend-id a");
    for (line, words) in [
        (
            "storage create tape --container notes",
            "there is no storage type `tape`; the types are: ",
        ),
        ("storage create local --container notes", "--location"),
        ("storage create local --location /a", "--container"),
        (
            "storage create local --container notes --location=",
            "`location`",
        ),
        (
            "storage create local --container notes --location /a --backend-id a",
            "already",
        ),
        (
            "storage create local --container notes --location /a --backend-id a/b",
            "choose another",
        ),
        (
            "storage create local --container notes --location /a --watcher-interval 0",
            "--watcher-interval",
        ),
        (
            "storage create local --container nothing --location /a",
            "the containers are: notes",
        ),
        (
            "storage create local --container notes --location /a --colour red",
            "--colour",
        ),
        (
            "storage delete b --container notes",
            "it has: a, of type local",
        ),
    ] {
        let done = home.run(line);
        assert_eq!(done.code, 2, "{line}: {done:?}");
        assert!(done.stderr.contains(words), "{line}: {done:?}");
        assert_eq!(done.stdout, "", "{line}");
    }
}

#[test]
fn parameters_broken_by_hand_are_told_when_they_are_used() {
    let home = Home::new();
    home.ok("container create notes");
    home.ok("storage create local --container notes --location /a");
    home.ok("storage create local --container notes --location /b");
    let path = home.base().join("containers/notes.container.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("location: /b", "colour: hush")).unwrap();
    home.ok("container info notes");
    let done = home.run("container sync notes --one-shot");
    assert!(done.code == 1 || done.code == 2, "{done:?}");
    let (code, report) = home.json("container sync notes --one-shot");
    assert!(code == 1 || code == 2);
    assert!(!report["error"]["desc"].to_string().contains("hush"));
}
