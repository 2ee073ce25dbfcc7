//! What is said when something is wrong, and the exit codes.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::{Home, snapshot};

#[test]
fn wrong_usage_is_answered_with_what_to_do() {
    let home = Home::new();
    home.ok("container create notes");
    let text = home.transcript(&[
        "frobnicate",
        "sync",
        "sync a",
        "sync a b --mirror --unidirectional",
        "sync a b --max-delete 101%",
        "sync a b --max-delete some",
        "sync a b --trash-keep forever",
        "sync a b --require-cas strong",
        "sync a b --bwlimit fast",
        "sync a b --bwlimit 0",
        "sync a b --max-requests-per-second 0",
        "sync sftp://host b",
        "sync tape://x b",
        "sync a b --source-option colour=red",
        "sync a b --target-option colour",
        "storage create --from-rclone cloud:x",
        "storage create --container notes",
        "storage create --from-rclone cloud:x local --container notes --location /a",
        "sync a b --watch --dry-run",
        "resolve a b",
        "resolve a b /c --keep source",
        "resolve a b ../c --keep source",
        "resolve a b .wl --keep source",
        "resolve a b c --keep mine",
        "container create",
        "container create .notes",
        "container create -- -notes",
        "container create no/tes",
        "container create notes",
        "container info nothing",
        "container delete nothing",
        "container sync nothing --one-shot",
        "container sync notes",
        "container sync notes --one-shot",
        "container sync notes --one-shot --source-storage x",
        "container sync notes --no-wait",
        "container sync notes --one-shot --no-wait",
        "container stop-sync notes",
        "container list-conflicts nothing",
        "container resolve nothing a --keep both",
        "storage delete x --container notes",
        "storage delete x",
        "trash list",
        "trash list --container notes",
        "trash restore a",
        "trash restore a 1 2 --to x",
        "--output yaml container list",
    ]);
    snapshot("usage-errors.txt", &text);
}

#[test]
fn what_needs_the_daemon_says_so() {
    let home = Home::new();
    let text = home.transcript(&[
        "status",
        "status --watch",
        "stop",
        "events",
        "container stop-sync notes",
        "container pause notes",
        "container resume notes",
    ]);
    snapshot("no-daemon.txt", &text);
}

#[test]
fn an_unknown_container_is_said_when_there_is_none() {
    let home = Home::new();
    let text = home.transcript(&["container info notes", "container delete notes"]);
    snapshot("no-containers.txt", &text);
    assert!(!home.base().exists(), "only looking makes nothing");
}

#[test]
fn a_name_of_a_hundred_characters_is_fine_and_one_more_is_not() {
    let home = Home::new();
    home.ok(&format!("container create {}", "x".repeat(100)));
    let done = home.run(&format!("container create {}", "x".repeat(101)));
    assert_eq!(done.code, 2);
    assert!(done.stderr.contains("100 characters"), "{done:?}");
}

#[test]
fn without_a_home_a_base_directory_is_asked_for() {
    let home = Home::new();
    let out = home
        .command()
        .env_remove("HOME")
        .args(["container", "list"])
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(2));
    let text = String::from_utf8(out.stderr).unwrap();
    assert!(text.contains("--base-dir"), "{text}");
}

/// What lies in a storage is no wrong usage.
#[test]
fn a_link_or_a_file_where_our_own_folder_should_be_fails_the_run_and_says_so() {
    for place in [".wl", ".wl/stage", ".wl/trash"] {
        for is_link in [true, false] {
            let home = Home::new();
            for folder in ["src", "dst", "elsewhere"] {
                fs::create_dir(home.path(folder)).unwrap();
            }
            fs::write(home.path("src/a"), "1").unwrap();
            let at = home.path("dst").join(place);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            match is_link {
                true => symlink(home.path("elsewhere"), &at).unwrap(),
                false => fs::write(&at, "mine").unwrap(),
            }
            for line in ["sync src dst", "trash list dst"] {
                if line != "sync src dst" && place == ".wl/stage" {
                    continue;
                }
                let done = home.run(line);
                assert_eq!(done.code, 1, "{place}: {done:?}");
                let told = format!("{}{}", done.stdout, done.stderr);
                assert!(
                    told.contains(&format!("move `{place}` away")),
                    "{line}: {done:?}"
                );
                assert!(told.contains("dst"), "{done:?}");
            }
            assert_eq!(fs::read_dir(home.path("elsewhere")).unwrap().count(), 0);
            assert_eq!(
                fs::read_to_string(&at).ok().as_deref(),
                (!is_link).then_some("mine")
            );
            // Moved away, all is well.
            fs::remove_file(&at).unwrap();
            home.ok("sync src dst");
            assert_eq!(fs::read_to_string(home.path("dst/a")).unwrap(), "1");
        }
    }
}
