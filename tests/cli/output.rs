//! What goes to stdout and what to stderr.

use std::fs::File;
use std::process::Stdio;

use serde_json::json;

use crate::schemas;
use crate::support::Home;

#[test]
fn json_is_one_document_and_nothing_else() {
    let home = Home::new();
    for line in [
        "container create notes",
        "container list",
        "container info notes",
        "storage list",
        "storage list --container notes",
        "container delete notes",
    ] {
        let done = home.run(&format!("{line} --output=json"));
        assert_eq!(done.code, 0, "{line}: {done:?}");
        assert_eq!(done.stdout.lines().count(), 1, "{line}: {done:?}");
        serde_json::from_str::<serde_json::Value>(&done.stdout).unwrap();
    }
}

#[test]
fn errors_are_json_too() {
    let home = Home::new();
    for (line, class, code) in [
        ("container info notes", "usage", 2),
        ("frobnicate", "usage", 2),
        ("sync", "usage", 2),
        ("events", "no-daemon", 1),
        ("container stop-sync notes", "no-daemon", 1),
        ("trash list", "usage", 2),
    ] {
        let (found, document) = home.json(line);
        assert_eq!(found, code, "{line}");
        assert_eq!(document["error"]["class"], class, "{line}");
        let desc = document["error"]["desc"].as_str().unwrap();
        assert!(!desc.is_empty() && !desc.contains('\n'), "{line}: {desc}");
    }
}

#[test]
fn a_refused_run_prints_a_report() {
    let home = Home::new();
    home.ok("container create notes");
    for (line, class) in [
        ("sync a b --watch --dry-run", "usage"),
        ("container sync notes --one-shot", "usage"),
        ("container sync nothing --one-shot", "usage"),
        ("container resolve nothing a --keep both", "usage"),
    ] {
        let (code, report) = home.json(line);
        assert_eq!(code, 2, "{line}");
        schemas::check("run-report", &report);
        assert_eq!(report["error"]["class"], class, "{line}");
        assert_eq!(report["result"], "failed");
        let none = json!({"created": 0, "updated": 0, "removed": 0, "renamed": 0});
        assert_eq!(report["changes"], json!({"source": none, "target": none}));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let home = Home::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child = home
        .command()
        .args(["completions", "bash"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(0));
    assert_eq!(String::from_utf8(out.stderr).unwrap(), "");
}

#[test]
fn a_full_disk_behind_stdout_is_an_error() {
    let Ok(full) = File::options().write(true).open("/dev/full") else {
        return;
    };
    let home = Home::new();
    let out = home
        .command()
        .args(["completions", "bash"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(1));
    let text = String::from_utf8(out.stderr).unwrap();
    assert!(text.contains("cannot write to stdout"), "{text}");
}

#[test]
fn quiet_leaves_out_the_talk() {
    let home = Home::new();
    let done = home.ok("-q container create notes");
    assert_eq!(done.stderr, "");
    let done = home.ok("container create other");
    assert!(done.stderr.contains("wl storage create"), "{done:?}");
}

#[test]
fn a_missing_subcommand_is_told_in_json_too() {
    let home = Home::new();
    for line in ["container", "storage", "trash"] {
        let (code, document) = home.json(line);
        assert_eq!(code, 2);
        let desc = document["error"]["desc"].as_str().unwrap();
        assert!(desc.starts_with("a subcommand is missing"), "{desc}");
    }
}

#[test]
fn a_terminal_obeys_no_name_in_an_error() {
    let home = Home::new();
    let done = home.wl(["sync", "no\n\x1b[2Jsuch", "b"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains(r"no\n\u{1b}[2Jsuch"), "{done:?}");
    assert_eq!(done.stderr.lines().count(), 1);
}
