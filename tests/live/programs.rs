//! Real programs at work on one side while the job runs: git, package managers, editors, rsync.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wl_test_trees::Random;

use crate::acting::{alone, killed};
use crate::running::PATIENCE;
use crate::world::World;

/// How long a program works that works for a while: `WL_LIVE_SECONDS`, or a moment.
fn while_working() -> impl Fn() -> bool {
    let seconds = std::env::var("WL_LIVE_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(1.5);
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    move || Instant::now() < end
}

fn run(program: &str, at: &Path, args: &[&str]) {
    let done = Command::new(program)
        .args(args)
        .current_dir(at)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", at)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {args:?}: {said}");
}

fn git(at: &Path, args: &str) {
    let settings = [
        "user.name=t",
        "user.email=t@t",
        "gc.auto=0",
        "advice.detachedHead=false",
    ];
    let mut all: Vec<&str> = settings
        .iter()
        .flat_map(|setting| ["-c", setting])
        .collect();
    all.extend(args.split(' '));
    run("git", at, &all);
}

/// Two branches with other files in other folders, and some that both have.
fn switch_branches(folder: &Path, _: &Path) {
    git(folder, "init -q -b main .");
    for branch in ["main", "other"] {
        for number in 0..40 {
            let name = match number % 3 {
                0 => format!("shared/f{number}"),
                1 => format!("{branch}/d{}/f{number}", number % 4),
                // A folder on one branch and a file on the other.
                _ if branch == "main" => format!("turns{number}"),
                _ => format!("turns{number}/f"),
            };
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{branch} {number}\n").repeat(number * 5)).unwrap();
        }
        git(folder, "add -A");
        git(folder, "commit -q -m all");
        if branch == "main" {
            git(folder, "checkout -q -b other");
            git(folder, "rm -q -r .");
        }
    }
    let goes_on = while_working();
    while goes_on() {
        git(folder, "checkout -q main");
        git(folder, "checkout -q other");
    }
    git(folder, "fsck --no-progress");
}

/// 3,000 small files in nested folders, made, deleted and made again, as fast as it goes.
fn install(folder: &Path, _: &Path) {
    for turn in 0..2 {
        for number in 0..3000 {
            let package = folder.join(format!("node_modules/p{}/lib/d{}", number / 50, number % 5));
            fs::create_dir_all(&package).unwrap();
            fs::write(
                package.join(format!("f{number}.js")),
                format!("{turn} {number}"),
            )
            .unwrap();
        }
        if turn == 0 {
            fs::remove_dir_all(folder.join("node_modules")).unwrap();
        }
    }
}

fn put(path: &Path, text: &str) {
    let mut file = File::create(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.sync_all().unwrap();
}

/// As editors save: a new file renamed over the old; vim's way with a backup that goes again; emacs' with one that stays.
fn save(folder: &Path, _: &Path) {
    let at = |name: &str| folder.join(name);
    for name in ["renamed", "vim", "emacs"] {
        put(&at(name), "begin");
    }
    let goes_on = while_working();
    for number in 0.. {
        if !goes_on() {
            break;
        }
        let text = format!("saved {number}\n").repeat(1 + number % 700);
        put(&at(".renamed.tmp"), &text);
        fs::rename(at(".renamed.tmp"), at("renamed")).unwrap();
        put(&at("4913"), "");
        fs::remove_file(at("4913")).unwrap();
        fs::rename(at("vim"), at("vim~")).unwrap();
        put(&at("vim"), &text);
        fs::remove_file(at("vim~")).unwrap();
        put(&at("#emacs#"), &text);
        std::os::unix::fs::symlink("me@here.1:2", at(".#emacs")).unwrap();
        fs::rename(at("emacs"), at("emacs~")).unwrap();
        put(&at("emacs"), &text);
        fs::remove_file(at(".#emacs")).unwrap();
        fs::remove_file(at("#emacs#")).unwrap();
    }
    if Path::new("/usr/bin/vim").exists() {
        let words = [
            "-u",
            "NONE",
            "-es",
            "-c",
            "set backup writebackup",
            "-c",
            "normal Goby vim",
            "-c",
            "wq",
        ];
        run("vim", folder, &[&words[..], &["vim"]].concat());
        assert!(fs::read_to_string(at("vim")).unwrap().contains("by vim"));
    }
}

fn append(folder: &Path, _: &Path) {
    let log = folder.join("log");
    let mut file = File::options().create(true).append(true).open(log).unwrap();
    let goes_on = while_working();
    for line in 0_u64.. {
        if !goes_on() {
            break;
        }
        file.write_all(format!("line {line}\n").as_bytes()).unwrap();
        // As a server that has something to say now and then.
        std::thread::sleep(Duration::from_micros(line * 7919 % 3000));
    }
}

fn rsync(folder: &Path, outside: &Path) {
    let source = outside.join("rsynced");
    for turn in 0..5 {
        for number in 0..200 {
            let path = source.join(format!("d{}/f{number}", number % 9));
            if (number + turn) % 5 == 0 {
                let _ = fs::remove_file(path);
            } else if number % 3 == turn % 3 || !path.exists() {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, format!("{turn} {number}\n").repeat(number)).unwrap();
            }
        }
        run(
            "rsync",
            folder,
            &[
                "-a",
                "--delete",
                &format!("{}/", source.display()),
                "there/",
            ],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn git_switches_branches() {
    alone(switch_branches).await;
    killed(1, switch_branches).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_are_installed_removed_and_installed_again() {
    alone(install).await;
    // Nobody but the program edited anything.
    assert_eq!(killed(2, install).await, BTreeSet::new(), "conflicts");
}

/// The daemon dies when some hundreds of many files have come over, and before it is started again all are written anew: nobody edited the
/// other side, so nothing is in conflict.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_daemon_had_carried_over_is_written_anew() {
    let mut world = World::new().await;
    let fill = |folder: &Path, turn: &str| {
        fs::create_dir_all(folder).unwrap();
        for number in 0..3000 {
            fs::write(folder.join(format!("f{number}.js")), turn).unwrap();
        }
    };
    let outside = world.at("outside");
    fill(&outside, "1");
    let [folder, copy] = world.roots.each_ref().map(|root| root.join("work"));
    fs::rename(&outside, &folder).unwrap();
    let come_over = || fs::read_dir(&copy).map_or(0, |copy| copy.count());
    let deadline = Instant::now() + PATIENCE;
    while come_over() < 500 {
        assert!(Instant::now() < deadline, "too few came over");
        tokio::task::yield_now().await;
    }
    world.kill_and(|| fill(&folder, "another"));
    let there = come_over();
    let quiet = world.quiet().await;
    let conflicts = quiet.conflicts.len();
    assert_eq!(conflicts, 0, "{there} had come over");
    quiet.agree();
    assert_eq!(fs::read(copy.join("f7.js")).unwrap(), b"another");
}

#[tokio::test(flavor = "multi_thread")]
async fn editors_save() {
    alone(save).await;
    killed(3, save).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_appended_to() {
    alone(append).await;
    killed(4, append).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rsync_writes_into_the_tree() {
    let is_there = Command::new("rsync").arg("--version").output().is_ok();
    if !is_there {
        eprintln!("SKIPPED: rsync is not installed");
        return;
    }
    alone(rsync).await;
    killed(5, rsync).await;
}

/// Of a file that grows the other side only ever has a beginning that ends with a whole line.
#[tokio::test(flavor = "multi_thread")]
async fn a_growing_file_is_only_seen_as_it_once_was() {
    let mut world = World::new().await;
    let [folder, copy]: [PathBuf; 2] = world.roots.each_ref().map(|root| root.join("log"));
    let grow = move || {
        let folder = folder.parent().unwrap().to_owned();
        let grown = std::thread::spawn(move || append(&folder, &folder));
        let mut seen = 0;
        while !grown.is_finished() {
            if let Ok(found) = fs::read(&copy) {
                assert!(found.last().is_none_or(|last| *last == b'\n'), "torn");
                assert!(found.len() >= seen, "it shrank");
                seen = found.len();
            }
            std::thread::yield_now();
        }
        grown.join().unwrap();
    };
    world.during(&mut Random::new(1), 0, grow).await;
    let quiet = world.quiet().await;
    assert!(quiet.conflicts.is_empty());
    quiet.agree();
}
