//! The main job, end to end: two folders are kept equal.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::schemas;
use crate::support::Home;
use crate::trees::{read, write};

const TREE: [(&str, &str); 5] = [
    ("a.txt", "apple"),
    ("folder/b.txt", "banana"),
    ("folder/deep/c.txt", "cherry"),
    ("empty/", ""),
    ("link", "->a.txt"),
];

fn home_with_source() -> Home {
    let home = Home::new();
    write(&home.path("src"), &TREE);
    home
}

/// Two folders that were synced once.
fn synced() -> Home {
    let home = home_with_source();
    let (code, report) = run(&home, "sync src dst");
    assert_eq!(
        (code, &report["result"]),
        (0, &json!("synced")),
        "{report:#}"
    );
    home
}

/// Two folders with a conflict at `a.txt`.
fn in_conflict() -> Home {
    let home = synced();
    write(
        &home.path("src"),
        &[("a.txt", "from the source"), ("new.txt", "new")],
    );
    write(&home.path("dst"), &[("a.txt", "the target's")]);
    home
}

/// A run whose report fits the schema.
fn run(home: &Home, line: &str) -> (i32, Value) {
    let (code, report) = home.json(line);
    schemas::check("run-report", &report);
    (code, report)
}

fn changed(report: &Value) -> u64 {
    let sides = report["changes"].as_object().unwrap().values();
    let counts = sides.flat_map(|side| side.as_object().unwrap().values());
    counts.map(|count| count.as_u64().unwrap()).sum()
}

fn conflict_paths(document: &Value) -> Vec<&str> {
    let conflicts = document["conflicts"].as_array().unwrap();
    conflicts
        .iter()
        .map(|one| one["path"].as_str().unwrap())
        .collect()
}

fn assert_equal(home: &Home) {
    assert_eq!(read(&home.path("src")), read(&home.path("dst")));
}

#[test]
fn the_first_run_makes_the_target_equal() {
    let home = home_with_source();
    let (code, report) = run(&home, "sync src dst");
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(report["result"], "synced");
    assert_eq!(report["source"]["type"], "local");
    assert_eq!(
        report["target"]["location"],
        home.path("dst").to_str().unwrap()
    );
    assert_eq!(report["changes"]["target"]["created"], 7);
    assert_eq!(report["bytes"]["written"], 17);
    assert_equal(&home);
    assert_eq!(read(&home.path("dst")).len(), 7);
    assert!(home.base().join("state").is_dir());
}

#[test]
fn the_second_run_has_nothing_to_do_and_reads_nothing() {
    let home = synced();
    run(&home, "sync src dst");
    let (code, report) = run(&home, "sync src dst");
    assert_eq!(code, 0);
    assert_eq!(changed(&report), 0);
    assert_eq!(report["bytes"]["written"], 0);
}

#[test]
fn the_pair_is_the_same_however_it_is_named() {
    let home = synced();
    let src = home.path("src");
    let (code, report) = run(&home, &format!("sync {}/. ./dst/../dst", src.display()));
    assert_eq!((code, changed(&report)), (0, 0));
    fs::remove_file(home.path("dst/a.txt")).unwrap();
    let (code, _) = run(&home, "sync dst src");
    assert_eq!(code, 0);
    assert!(
        !home.path("src/a.txt").exists(),
        "a removal, not a new file"
    );
}

#[test]
fn changes_travel_both_ways() {
    let home = synced();
    write(&home.path("src"), &[("folder/b.txt", "blueberry")]);
    write(&home.path("dst"), &[("d.txt", "date")]);
    fs::remove_file(home.path("dst/folder/deep/c.txt")).unwrap();
    let (code, report) = run(&home, "sync src dst");
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(report["changes"]["source"]["created"], 1);
    assert_eq!(report["changes"]["source"]["removed"], 1);
    assert_eq!(report["changes"]["target"]["updated"], 1);
    assert_equal(&home);
}

#[test]
fn a_dry_run_counts_what_the_run_does_and_changes_nothing() {
    let home = synced();
    write(
        &home.path("src"),
        &[("folder/b.txt", "blueberry"), ("n/m", "new")],
    );
    write(
        &home.path("dst"),
        &[("d.txt", "date"), ("a.txt", "apricot")],
    );
    fs::remove_file(home.path("src/link")).unwrap();
    fs::rename(
        home.path("dst/folder/deep/c.txt"),
        home.path("dst/moved.txt"),
    )
    .unwrap();
    let before = (read(&home.path("src")), read(&home.path("dst")));
    let (dry_code, dry) = run(&home, "sync src dst --dry-run");
    assert_eq!(before, (read(&home.path("src")), read(&home.path("dst"))));
    let (code, real) = run(&home, "sync src dst");
    assert!(changed(&real) > 0);
    assert_eq!((dry_code, &dry["changes"]), (code, &real["changes"]));
}

#[test]
fn a_dry_run_into_a_missing_folder_leaves_no_trace() {
    let home = home_with_source();
    let before = home.path("").metadata().unwrap().modified().unwrap();
    home.ok("-b /tmp container list");
    let base = tempfile::tempdir().unwrap();
    let line = format!("-b {} sync src dst", base.path().display());
    let (code, dry) = run(&home, &format!("{line} --dry-run"));
    assert_eq!(code, 0, "{dry:#}");
    assert!(!home.path("dst").exists());
    assert!(!home.path("src/.wl").exists());
    assert_eq!(
        home.path("").metadata().unwrap().modified().unwrap(),
        before
    );
    let (_, real) = run(&home, &line);
    assert_eq!(dry["changes"], real["changes"]);
}

#[test]
fn a_conflict_changes_nothing_and_everything_else_goes_on() {
    let home = in_conflict();
    let (dry_code, dry) = run(&home, "sync src dst --dry-run");
    let (code, report) = run(&home, "sync src dst");
    assert_eq!((dry_code, code), (3, 3), "{report:#}");
    assert_eq!(dry["changes"], report["changes"]);
    assert_eq!(report["result"], "conflicts");
    assert_eq!(conflict_paths(&report), ["a.txt"]);
    assert_eq!(report["conflicts"][0]["source"]["size"], 15);
    assert_eq!(report["conflicts"][0]["ancestor"]["kind"], "file");
    assert_eq!(read(&home.path("src"))["a.txt"], "from the source");
    assert_eq!(read(&home.path("dst"))["a.txt"], "the target's");
    assert_eq!(read(&home.path("dst"))["new.txt"], "new");
    // It is still open, and reported, the next time.
    let (code, report) = run(&home, "sync src dst");
    assert_eq!((code, changed(&report)), (3, 0));
}

#[test]
fn open_conflicts_are_listed_as_left_and_as_found_now() {
    let home = in_conflict();
    assert_eq!(home.json("conflicts src dst").0, 0, "no run has seen it");
    let (code, found) = home.json("conflicts src dst --force-scan");
    assert_eq!((code, conflict_paths(&found)), (3, vec!["a.txt"]));
    assert_eq!(run(&home, "sync src dst").0, 3);
    let (code, stored) = home.json("conflicts src dst");
    assert_eq!((code, conflict_paths(&stored)), (3, vec!["a.txt"]));
    // It ends when the sides become equal.
    write(&home.path("dst"), &[("a.txt", "from the source")]);
    assert_eq!(run(&home, "sync src dst").0, 0);
    let (code, stored) = home.json("conflicts src dst");
    assert_eq!((code, conflict_paths(&stored).len()), (0, 0));
}

#[test]
fn a_conflict_ends_with_the_version_that_is_kept() {
    for (keep, content) in [
        ("source", "from the source"),
        ("target", "the target's"),
        ("newer", "the target's"),
    ] {
        let home = in_conflict();
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
        let file = fs::File::options()
            .write(true)
            .open(home.path("dst/a.txt"))
            .unwrap();
        file.set_modified(later).unwrap();
        run(&home, "sync src dst");
        let (code, report) = run(&home, &format!("resolve src dst a.txt --keep {keep}"));
        assert_eq!(code, 0, "{keep}: {report:#}");
        assert_eq!(read(&home.path("src"))["a.txt"], content, "{keep}");
        assert_equal(&home);
        assert_eq!(run(&home, "sync src dst").0, 0, "{keep}");
    }
}

#[test]
fn a_conflict_that_only_hashes_tell_ends_too() {
    let home = Home::new();
    write(&home.path("src"), &[("a", "one")]);
    write(&home.path("dst"), &[("a", "two")]);
    assert_eq!(run(&home, "sync src dst").0, 3);
    let (code, report) = run(&home, "resolve src dst a --keep target");
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(read(&home.path("src"))["a"], "two");
}

#[test]
fn a_conflict_ends_with_both_versions_kept() {
    let home = in_conflict();
    run(&home, "sync src dst");
    let (code, report) = run(&home, "resolve src dst ./a.txt --keep both");
    assert_eq!(code, 0, "{report:#}");
    run(&home, "sync src dst");
    assert_equal(&home);
    let tree = read(&home.path("src"));
    assert_eq!(tree["a.txt"], "from the source");
    assert!(
        tree.values().any(|content| content == "the target's"),
        "{tree:?}"
    );
}

#[test]
fn the_command_that_is_suggested_ends_the_conflict() {
    let home = in_conflict();
    for (side, content) in [("src", "one"), ("dst", "two")] {
        write(&home.path(side), &[("-odd 'name'\n\u{1b}[2J", content)]);
    }
    let done = home.run("sync src dst");
    assert_eq!(done.code, 3, "{done:?}");
    assert!(!done.stdout.contains('\u{1b}'), "{done:?}");
    assert_eq!(done.stderr, "", "nothing is drawn without a terminal");
    let commands = done
        .stdout
        .lines()
        .filter_map(|line| line.trim().strip_prefix("to end it: "));
    let commands: Vec<_> = commands.collect();
    assert_eq!(commands.len(), 2, "{done:?}");
    for command in commands {
        let (command, _) = command.split_once("|target").unwrap();
        let command = command.replacen("wl", env!("CARGO_BIN_EXE_wl"), 1);
        let out = Command::new("bash")
            .args(["-c", &command])
            .current_dir(home.path(""))
            .env("HOME", home.path(""))
            .output()
            .unwrap();
        let code = out.status.code().unwrap();
        assert!(code == 0 || code == 3, "{command}: {out:?}");
    }
    assert_eq!(run(&home, "sync src dst").0, 0);
    assert_equal(&home);
}

/// A conflict at `a`, in a home of its own.
fn conflict_of(kind: &str) -> Home {
    let home = Home::new();
    let at = |side: &str| home.path(side).join("a");
    let agreed = |entry: &str| {
        write(&home.path("src"), &[(entry, "1")]);
        assert_eq!(run(&home, "sync src dst").0, 0);
    };
    let give = |side: &str, mode: u32| {
        fs::set_permissions(at(side), fs::Permissions::from_mode(mode)).unwrap();
    };
    match kind {
        "contents" => {
            write(&home.path("src"), &[("a", "1")]);
            write(&home.path("dst"), &[("a", "two")]);
            let late = SystemTime::now() + Duration::from_secs(9);
            File::open(at("dst")).unwrap().set_modified(late).unwrap();
        }
        "types" => {
            write(&home.path("src"), &[("a", "1")]);
            write(&home.path("dst"), &[("a/b", "2")]);
        }
        "databases" => {
            write(
                &home.path("src"),
                &[("a", "SQLite format 3\0 1"), ("a-wal", "1")],
            );
            write(
                &home.path("dst"),
                &[("a", "SQLite format 3\0 2"), ("a-wal", "2")],
            );
            let late = SystemTime::now() + Duration::from_secs(9);
            File::open(at("dst")).unwrap().set_modified(late).unwrap();
        }
        "links" => {
            write(&home.path("src"), &[("a", "->b")]);
            write(&home.path("dst"), &[("a", "->c")]);
        }
        "permissions of folders" => {
            agreed("a/b");
            give("src", 0o700);
            give("dst", 0o750);
        }
        "permissions of files" => {
            agreed("a");
            give("src", 0o600);
            give("dst", 0o640);
        }
        _ => unreachable!("{kind}"),
    }
    home
}

#[test]
fn each_choice_that_is_suggested_can_be_taken() {
    for kind in [
        "contents",
        "types",
        "databases",
        "links",
        "permissions of folders",
        "permissions of files",
    ] {
        let done = conflict_of(kind).run("sync src dst");
        let (_, offered) = done.stdout.split_once("--keep ").expect(kind);
        let offered: Vec<_> = offered.lines().next().unwrap().split('|').collect();
        for choice in ["source", "target", "both"] {
            let home = conflict_of(kind);
            run(&home, "sync src dst");
            let (code, report) = run(&home, &format!("resolve src dst a --keep {choice}"));
            let is_offered = offered.contains(&choice);
            assert_eq!(code == 0, is_offered, "{kind}, {choice}: {report:#}");
            if is_offered {
                assert_eq!(run(&home, "sync src dst").0, 0, "{kind}, {choice}");
                assert_equal(&home);
            }
        }
        // Of links the times may tell, or not: they were made one after the other.
        if kind != "links" {
            let times_tell = kind == "contents";
            assert_eq!(offered.contains(&"newer"), times_tell, "{kind}");
        }
    }
    let home = conflict_of("contents");
    run(&home, "sync src dst");
    assert_eq!(run(&home, "resolve src dst a --keep newer").0, 0);
    assert_eq!(fs::read_to_string(home.path("src/a")).unwrap(), "two");
}

#[test]
fn one_way_leaves_the_targets_own_changes_alone() {
    let home = synced();
    write(&home.path("src"), &[("new.txt", "new")]);
    write(&home.path("dst"), &[("own.txt", "own")]);
    let (code, report) = run(&home, "sync src dst --unidirectional");
    assert_eq!(
        (code, &report["result"]),
        (0, &json!("synced")),
        "{report:#}"
    );
    assert_eq!(report["drift"][0]["path"], "own.txt");
    assert!(!home.path("src/own.txt").exists());
    assert!(home.path("dst/own.txt").exists());
    assert!(home.path("dst/new.txt").exists());
}

#[test]
fn a_mirror_is_put_back() {
    let home = synced();
    write(
        &home.path("dst"),
        &[("own.txt", "own"), ("a.txt", "changed")],
    );
    let (code, report) = run(&home, "sync src dst --mirror");
    assert_eq!(code, 0, "{report:#}");
    assert_equal(&home);
    let (_, trash) = home.json("trash list dst");
    assert_eq!(trash["trash"].as_array().unwrap().len(), 2, "{trash:#}");
}

#[test]
fn a_name_that_is_no_text_is_a_problem_of_its_own() {
    let home = home_with_source();
    let odd = home.path("src").join(OsStr::from_bytes(b"odd\xff"));
    fs::write(odd, "x").unwrap();
    let (code, report) = run(&home, "sync src dst");
    assert_eq!((code, &report["result"]), (1, &json!("failed")));
    assert_eq!(report["problems"].as_array().unwrap().len(), 1);
    assert_eq!(read(&home.path("dst"))["a.txt"], "apple");
}

#[test]
fn a_run_that_would_do_harm_is_refused_and_changes_nothing() {
    let home = synced();
    let refused = |line: &str, class: &str| {
        let (code, report) = run(&home, line);
        assert_eq!(
            (code, &report["error"]["class"]),
            (1, &json!(class)),
            "{line}"
        );
        assert_eq!(changed(&report), 0);
    };
    refused("sync missing other", "root-unavailable");
    assert!(!home.path("other").exists());
    refused("sync src none/such", "root-unavailable");
    refused("sync src src", "nested");
    refused("sync src src/folder", "nested");
    refused("sync src src/inside", "nested");
    // Many a storage lists nothing at a mistyped address.
    fs::create_dir(home.path("mistyped")).unwrap();
    refused("sync --mirror mistyped src", "root-emptied");
    assert!(!home.path("src/inside").exists());
    for name in ["a.txt", "link"] {
        fs::remove_file(home.path("src").join(name)).unwrap();
    }
    refused("sync src dst --max-delete 0", "delete-budget");
    for name in ["folder", "empty"] {
        fs::remove_dir_all(home.path("src").join(name)).unwrap();
    }
    refused("sync src dst", "root-emptied");
    assert_eq!(read(&home.path("dst")).len(), 7);
    let (code, report) = run(&home, "sync src dst --allow-empty --max-delete 100%");
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(read(&home.path("dst")).len(), 0);
}

fn container(types: &[&str]) -> Home {
    let home = home_with_source();
    home.ok("container create notes");
    for name in types {
        fs::create_dir_all(home.path(name)).unwrap();
        home.ok(&format!(
            "storage create local --container notes --location {name} --backend-id {name}"
        ));
    }
    home
}

#[test]
fn a_container_of_two_folders_needs_no_choice() {
    let home = container(&["src", "dst"]);
    let (code, report) = run(&home, "container sync notes --one-shot");
    assert_eq!(code, 0, "{report:#}");
    assert_equal(&home);
    let (code, found) = home.json("container list-conflicts notes --force-scan");
    assert_eq!((code, conflict_paths(&found).len()), (0, 0));
    // The same pair without set-up has the same memory.
    assert_eq!(changed(&run(&home, "sync src dst").1), 0);
}

#[test]
fn several_targets_are_synced_one_after_another() {
    let home = container(&["src", "one", "two"]);
    assert_eq!(home.run("container sync notes --one-shot").code, 2);
    write(&home.path("two"), &[("a.txt", "avocado")]);
    let line = "container sync notes --one-shot --target-storage one --target-storage two";
    let (code, document) = home.json(line);
    schemas::check("run-reports", &document);
    assert_eq!((code, &document["result"]), (3, &json!("conflicts")));
    assert_eq!(document["runs"][0]["result"], "synced");
    assert_eq!(read(&home.path("src")), read(&home.path("one")));
    let done = home.run(line);
    assert!(
        done.stdout
            .contains("--source-storage src --target-storage two"),
        "{done:?}"
    );
    // No choice is needed to see what is open: all of it is told, target by target.
    let (code, found) = home.json("container list-conflicts notes");
    assert_eq!(code, 3, "{found:#}");
    let by_target = |target: usize| {
        let found = &found["targets"][target];
        (found["target"].clone(), conflict_paths(found))
    };
    assert_eq!(by_target(0), (json!("one"), vec![]));
    assert_eq!(by_target(1), (json!("two"), vec!["a.txt"]));
    let told = home.run("container list-conflicts notes").stdout;
    assert!(
        told.contains("Target one:\nNo open conflicts\nTarget two:\n1 conflict"),
        "{told}"
    );
    let (code, found) = home.json("container list-conflicts notes --target-storage one");
    assert_eq!((code, conflict_paths(&found).len()), (0, 0));
    // What cannot be looked at hides nothing of the rest.
    fs::rename(home.path("one"), home.path("gone")).unwrap();
    let (code, found) = home.json("container list-conflicts notes");
    assert_eq!(code, 1, "{found:#}");
    assert_eq!(found["targets"][1]["conflicts"][0]["path"], "a.txt");
    assert_eq!(found["targets"][0]["problems"][0]["path"], ".");
    fs::rename(home.path("gone"), home.path("one")).unwrap();
    let line = "container resolve notes a.txt --keep target --target-storage two";
    assert_eq!(run(&home, line).0, 0);
    assert_eq!(read(&home.path("src"))["a.txt"], "avocado");
}

#[test]
fn a_read_only_storage_is_never_written_to() {
    let home = home_with_source();
    home.ok("container create notes");
    fs::create_dir(home.path("dst")).unwrap();
    home.ok("storage create local --container notes --location src --read-only");
    home.ok("storage create local --container notes --location dst");
    let (code, report) = run(&home, "container sync notes --one-shot");
    assert_eq!((code, &report["error"]["class"]), (2, &json!("usage")));
    let (code, _) = run(&home, "container sync notes --one-shot --unidirectional");
    assert_eq!(code, 0);
    assert_equal(&home);
    assert!(!home.path("src/.wl").exists());
    for (name, content) in [("src", "changed here"), ("dst", "changed there")] {
        write(&home.path(name), &[("a.txt", content)]);
    }
    home.run("container sync notes --one-shot --unidirectional");
    assert_eq!(home.json("container list-conflicts notes").0, 3);
    let line = "container resolve notes a.txt --keep";
    assert_eq!(home.run(&format!("{line} target")).code, 2);
    assert_eq!(home.run(&format!("{line} source")).code, 0);
    assert_equal(&home);
}

#[test]
fn people_are_told_what_was_done() {
    let home = home_with_source();
    let done = home.ok("sync src dst --dry-run");
    assert!(done.stdout.contains("nothing was changed"), "{done:?}");
    let done = home.ok("sync src dst");
    assert!(done.stdout.starts_with("Synced "), "{done:?}");
    assert!(done.stdout.contains("target: 7 created"), "{done:?}");
    assert_eq!(done.stderr, "");
    let done = home.ok("sync src dst -q");
    assert_eq!((&*done.stdout, &*done.stderr), ("", ""));
}

#[test]
fn the_base_directory_is_never_synced() {
    for base in ["src/.cfg", "dst/folder/cfg"] {
        let home = home_with_source();
        fs::create_dir(home.path("dst")).unwrap();
        let line = format!("-b {base} sync src dst");
        home.ok(&line);
        let (code, report) = run(&home, &line);
        assert_eq!((code, changed(&report)), (0, 0), "{line}: {report:#}");
        let (side, place) = base.split_once('/').unwrap();
        let other = if side == "src" { "dst" } else { "src" };
        assert!(home.path(base).join("state").exists());
        assert!(!home.path(other).join(place).exists());
    }
}

#[test]
fn the_base_directory_is_no_storage() {
    let home = home_with_source();
    let (code, report) = run(&home, "-b src sync src dst");
    assert_eq!((code, &report["error"]["class"]), (2, &json!("usage")));
    assert!(!home.path("src/state").exists());
    assert!(!home.path("dst").exists());
}

#[test]
fn resolving_what_is_no_conflict_is_told() {
    let home = in_conflict();
    home.run("sync src dst");
    let done = home.run("resolve src dst a.tx --keep source");
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stdout.contains("no conflict here"), "{done:?}");
    assert!(
        done.stderr.contains("a.tx was no open conflict"),
        "{done:?}"
    );
    let (_, report) = run(&home, "resolve src dst a.tx --keep source");
    let both = ["src", "dst"].map(|name| home.path(name).display().to_string());
    assert_eq!(report["problems"][0]["storage"], both.join(" and "));
    let done = home.ok("resolve src dst a.txt --keep source");
    assert!(
        done.stdout.starts_with("Ended what was named between "),
        "{done:?}"
    );
    assert_eq!(done.stderr, "");
}

#[test]
fn a_number_below_zero_is_told_as_what_it_is() {
    let home = home_with_source();
    for (line, said) in [
        ("sync src dst --max-delete -5", "`-5` is neither a count"),
        ("sync src dst --trash-keep -7d", "`-7d` is no duration"),
        (
            "storage create local --container x --location y --watcher-interval -1",
            "`-1` is no number of seconds",
        ),
    ] {
        let done = home.run(line);
        assert_eq!(done.code, 2);
        assert!(done.stderr.contains(said), "{done:?}");
    }
}

#[test]
fn ending_a_conflict_touches_nothing_else() {
    for keep in ["source", "target", "both"] {
        let home = synced();
        write(&home.path("src"), &[("a.txt", "apple pie")]);
        write(
            &home.path("dst"),
            &[("a.txt", "apple tart"), ("drift.txt", "the target's own")],
        );
        fs::remove_file(home.path("dst/folder/b.txt")).unwrap();
        assert_eq!(run(&home, "sync --unidirectional src dst").0, 3);
        let line = format!("resolve src dst a.txt --keep {keep}");
        let (code, planned) = run(&home, &format!("{line} --dry-run"));
        assert_eq!(code, 0, "{planned:#}");
        let (code, report) = run(&home, &line);
        assert_eq!(code, 0, "{report:#}");
        assert!(home.path("src/folder/b.txt").exists());
        assert!(!home.path("src/drift.txt").exists());
        let (source, target) = (read(&home.path("src")), read(&home.path("dst")));
        let count = if keep == "both" { 2 } else { 1 };
        for side in [&source, &target] {
            let kept = side.values().filter(|text| text.starts_with("apple "));
            assert_eq!(kept.count(), count, "{keep}: {side:?}");
        }
        if keep != "both" {
            assert_eq!(planned["changes"], report["changes"], "{keep}");
        }
    }
}

#[test]
fn a_refusal_names_the_storage_as_it_is_written() {
    let home = Home::new();
    write(&home.path("Source"), &TREE);
    let done = home.run("sync Source dst --require-cas atomic");
    assert_eq!(done.code, 1);
    let source = home.path("Source");
    assert!(done.stderr.contains(source.to_str().unwrap()), "{done:?}");
}
