//! What a person leaves out, end to end: on the command line, in a manifest, in `.wlignore`, and in jobs of the daemon.

use std::fs;

use serde_json::{Value, json};

use crate::schemas;
use crate::support::Home;
use crate::trees::write;

/// The files below a folder, sorted.
fn files(home: &Home, folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![home.path(folder)];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let path = path.strip_prefix(home.path(folder)).unwrap();
            found.push(path.to_str().unwrap().to_owned());
        }
    }
    found.retain(|path| !path.starts_with(".wl/"));
    found.sort();
    found
}

const TREE: [(&str, &str); 6] = [
    ("a.txt", "apple"),
    ("b.o", "object"),
    ("keep.o", "object"),
    ("large", "a large file"),
    ("d/node_modules/p", "package"),
    ("d/c.txt", "cherry"),
];

const FILTERS: &str = "--exclude *.o --include keep.o --exclude-preset node --max-size 10";

fn home() -> Home {
    let home = Home::new();
    write(&home.path("src"), &TREE);
    home
}

/// A home with a container of `src` and `dst` that leaves out the same.
fn with_container() -> Home {
    let home = home();
    fs::create_dir(home.path("dst")).unwrap();
    home.ok(&format!("container create box {FILTERS}"));
    for folder in ["src", "dst"] {
        home.ok(&format!(
            "storage create local --container box --location {} --backend-id {folder} --watcher-interval 1",
            home.path(folder).display()
        ));
    }
    home
}

#[test]
fn what_is_left_out_on_the_command_line_stays_where_it_is() {
    let home = home();
    let (_, report) = home.json(&format!("sync src dst --dry-run {FILTERS}"));
    assert_eq!(report["changes"]["target"]["created"], 4, "{report:#}");
    assert!(!report.to_string().contains("b.o"), "{report:#}");
    assert_eq!(report["excluded"], 3, "{report:#}");
    schemas::check("run-report", &report);
    let done = home.ok(&format!("sync src dst {FILTERS}"));
    assert!(done.stdout.contains("left out: 3 paths"), "{done:?}");
    assert_eq!(files(&home, "dst"), ["a.txt", "d/c.txt", "keep.o"]);
    // A mirror of a source that has nothing of it left.
    write(
        &home.path("dst"),
        &[
            ("d/node_modules/q", "1"),
            ("x.o", "2"),
            ("big", "also a large file"),
        ],
    );
    fs::remove_dir_all(home.path("src/d")).unwrap();
    home.ok(&format!("sync src dst --mirror {FILTERS}"));
    assert_eq!(
        files(&home, "dst"),
        ["a.txt", "big", "d/node_modules/q", "keep.o", "x.o"]
    );
}

#[test]
fn a_look_for_conflicts_leaves_out_the_same() {
    let home = Home::new();
    for (folder, text) in [("src", "1"), ("dst", "2")] {
        write(&home.path(folder), &[("x.o", text), ("y", text)]);
    }
    let scan = "conflicts src dst --force-scan --exclude *.o";
    let (code, found) = home.json(scan);
    assert_eq!(code, 3, "{found:#}");
    let paths: Vec<_> = found["conflicts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["path"])
        .collect();
    assert_eq!(paths, ["y"]);
}

#[test]
fn the_order_of_rules_is_that_of_the_words() {
    let home = home();
    home.ok("sync src dst --include keep.o --exclude *.o --exclude d/ --include=large");
    assert_eq!(files(&home, "dst"), ["a.txt", "large"]);
}

#[test]
fn a_wrong_rule_is_wrong_usage_and_named() {
    let home = home();
    for (line, says) in [
        ("sync src dst --exclude a[", "`a[`"),
        ("sync src dst --include !a", "an include is a `!` already"),
        (
            "sync src dst --exclude-preset make",
            "node, python, rust, vcs-caches",
        ),
        ("sync src dst --max-size 10KB", "10KB"),
        ("container create box --exclude [[:alpha:]]", "[[:alpha:]]"),
    ] {
        let done = home.run(line);
        assert_eq!(done.code, 2, "{line}: {done:?}");
        assert!(done.stderr.contains(says), "{line}: {done:?}");
    }
    assert!(!home.path("dst").exists());
    assert_eq!(home.run("container info box").code, 2, "nothing was made");
}

#[test]
fn a_container_leaves_out_what_its_manifest_says_and_shows_it() {
    let home = with_container();
    let (_, info) = home.json("container info box");
    for (field, value) in [
        ("exclude", json!(["*.o"])),
        ("include", json!(["keep.o"])),
        ("exclude-preset", json!(["node"])),
        ("max-size", json!("10")),
    ] {
        assert_eq!(info[field], value, "{info:#}");
    }
    let text = home.ok("container info box").stdout;
    assert!(
        text.contains("  exclude: *.o\n  include: keep.o\n  max-size: 10\n"),
        "{text}"
    );
    // What the command adds comes behind.
    home.ok("container sync box --one-shot --exclude keep.o --include b.o --max-size 20");
    assert_eq!(files(&home, "dst"), ["a.txt", "b.o", "d/c.txt", "large"]);
    home.ok("container sync box --one-shot");
    assert_eq!(
        files(&home, "dst"),
        ["a.txt", "b.o", "d/c.txt", "keep.o", "large"]
    );
}

#[test]
fn a_wrong_rule_in_a_manifest_is_named_with_where_it_stands() {
    let home = with_container();
    let path = home.base().join("containers/box.container.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("*.o", "a[")).unwrap();
    let done = home.run("container sync box --one-shot");
    assert_eq!(done.code, 2, "{done:?}");
    assert!(done.stderr.contains("`a[` from the manifest"), "{done:?}");
    assert_eq!(files(&home, "dst"), Vec::<String>::new());
}

#[test]
fn a_file_of_rules_that_is_none_refuses_the_run() {
    let home = home();
    write(&home.path("src"), &[(".wlignore", "fine\na[\n")]);
    let (code, report) = home.json("sync src dst");
    schemas::check("run-report", &report);
    assert_eq!(code, 1);
    assert_eq!(report["error"]["class"], "filter");
    let desc = report["error"]["desc"].as_str().unwrap();
    assert!(desc.contains(".wlignore of the source, line 2"), "{desc}");
    write(
        &home.path("src"),
        &[(".wlignore", "*\n!*.txt\n!*/\n!.wlignore\n")],
    );
    home.ok("sync src dst");
    assert_eq!(files(&home, "dst"), [".wlignore", "a.txt", "d/c.txt"]);
}

/// Why the source's path is as it is.
fn why(home: &Home, path: &str) -> String {
    let (_, said) = home.json(&format!("explain box {path}"));
    said["seen"]["source"]["why"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn what_leaves_a_path_out_is_explained() {
    let home = with_container();
    write(&home.path("src"), &[(".wlignore", "c.*\n")]);
    assert_eq!(
        why(&home, "b.o"),
        "it is excluded by `*.o` (from the manifest)"
    );
    assert_eq!(
        why(&home, "d/node_modules/p"),
        "the folder d/node_modules is excluded by `node_modules/` (from the preset node)"
    );
    assert_eq!(
        why(&home, "d/c.txt"),
        "it is excluded by `c.*` (from .wlignore of the source, line 1)"
    );
    assert!(why(&home, "large").contains("--max-size 10"));
    assert_eq!(why(&home, "a.txt"), "");
}

/// Ends the daemon with the test.
struct Daemon<'a>(&'a Home);

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        self.0.run("stop");
    }
}

#[test]
fn a_job_of_the_daemon_keeps_its_rules_over_a_restart() {
    let home = with_container();
    let _daemon = Daemon(&home);
    home.ok("container sync box --exclude a.txt");
    let status = || -> Value { home.json("status box").1["jobs"][0]["filters"].clone() };
    let rules = json!({ "exclude-preset": ["node"], "exclude": ["*.o", "!keep.o", "a.txt"], "max-size": 10 });
    assert_eq!(status(), rules);
    assert_eq!(
        why(&home, "a.txt"),
        "it is excluded by `a.txt` (from the job's options)"
    );
    assert_eq!(
        why(&home, "b.o"),
        "it is excluded by `*.o` (from the manifest)"
    );
    home.ok("stop");
    home.ok("start");
    assert_eq!(status(), rules);
    assert!(!home.path("dst/a.txt").exists());
}
