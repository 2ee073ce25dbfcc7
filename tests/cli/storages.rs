//! Storages: types, their options, and what is said about wrong ones.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

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
    for folder in ["a", "b"] {
        fs::create_dir(home.path(folder)).unwrap();
        let at = home.path(folder);
        let at = at.to_str().unwrap();
        home.ok(&format!(
            "storage create local --container notes --location {at}"
        ));
    }
    let (_, list) = home.json("storage list");
    for row in list["storages"].as_array().unwrap() {
        assert_eq!(row["cas"], "not probed yet");
    }
    fs::write(home.path("a/f"), "1").unwrap();
    home.ok("sync --unidirectional a b");
    let (_, list) = home.json("storage list");
    assert_eq!(
        list["storages"][0]["cas"], "not probed yet",
        "only read from"
    );
    let found = list["storages"][1]["cas"].as_str().unwrap();
    assert!(["recoverable", "checked"].contains(&found));
    let text = home.ok("storage list").stdout;
    assert!(text.contains("/a  cas: not probed yet\n"), "{text}");
    assert!(text.contains(&format!("/b  cas: {found}\n")), "{text}");
}

#[test]
fn the_list_says_what_the_server_of_a_storage_was_found_to_do() {
    let home = Home::new();
    if !home.has_type("s3") {
        return;
    }
    home.ok("container create notes");
    for bucket in ["good", "bad", "new", "old"] {
        home.ok(&format!(
            "storage create s3 --container notes --s3-url s3://{bucket}/p --endpoint-url http://127.0.0.1:9"
        ));
    }
    let found = |replace: bool, probed: u64| {
        json!({
            "create": true, "replace": replace, "remove": true, "copy": true, "copy_in": true, "large": true,
            "verifies": false, "order": "bytes",
            "probed": probed,
        })
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = now.as_secs();
    let known = json!({
        "http://127.0.0.1:9|good": found(true, now),
        "http://127.0.0.1:9|bad": found(false, now),
        "http://127.0.0.1:9|old": found(true, now - 40 * 24 * 3600),
    });
    let state = home.base().join("state");
    fs::create_dir(&state).unwrap();
    fs::write(state.join("servers.json"), known.to_string()).unwrap();
    let (_, list) = home.json("storage list");
    let told = |row: usize| {
        let row = &list["storages"][row];
        (row["cas"].as_str().unwrap(), row["cas-probed"].as_u64())
    };
    assert_eq!(told(0), ("atomic", Some(now)));
    assert_eq!(told(1), ("checked", Some(now)));
    // What no run believes any more is not told either.
    assert_eq!(told(2), ("not probed yet", None));
    assert_eq!(told(3), ("not probed yet", None));
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
