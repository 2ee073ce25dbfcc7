//! `wl sync --watch`: the real program, its lines and its signals.

use std::io::{BufRead, BufReader, Lines, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::Home;

/// A `wl sync --watch` that runs.
struct Watch {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(home: &Home, line: &str) -> Self {
        let mut child = home
            .command()
            .args(line.split(' '))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("it ended").unwrap()
    }

    fn json(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Reads on to the event of which this is said.
    fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.json();
            if wanted(&event) {
                return event;
            }
        }
    }

    fn until_state(&mut self, number: u8) -> Value {
        self.until(|event| event["type"] == "state" && event["state"][0] == number)
    }

    fn end(mut self, signal: Signal) -> (i32, String) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
        let code = self
            .child
            .wait()
            .unwrap()
            .code()
            .expect("no signal ends it");
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        (code, said)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It has ended, unless the test failed.
        let _ = self.child.kill();
    }
}

fn home() -> Home {
    let home = Home::new();
    std::fs::create_dir(home.path("a")).unwrap();
    std::fs::write(home.path("a/x"), "1").unwrap();
    home
}

fn read(home: &Home, name: &str) -> String {
    std::fs::read_to_string(home.path(name)).unwrap()
}

#[test]
fn it_goes_on_until_ctrl_c_and_nothing_is_left_of_it() {
    let home = home();
    let mut watch = Watch::start(&home, "--output json sync a b --watch");
    let first = watch.json();
    assert_eq!(first["state"], json!([2, "starting"]));
    let synced = watch.until_state(3);
    assert!(synced["number"].as_u64() > first["number"].as_u64());
    assert_eq!(read(&home, "b/x"), "1");
    home.put("b/y", "2");
    watch.until_state(2);
    watch.until_state(3);
    assert_eq!(read(&home, "a/y"), "2");
    let (code, said) = watch.end(Signal::INT);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Stopping"), "{said}");
    assert!(!home.base().join("state/jobs.json").exists());
    assert!(!home.base().join("run").exists(), "no daemon");
    // Nobody holds the pair any more.
    home.ok("sync a b");
}

#[test]
fn people_get_lines_and_conflicts_are_exit_code_3() {
    let home = home();
    std::fs::create_dir(home.path("b")).unwrap();
    std::fs::write(home.path("b/x"), "2").unwrap();
    let mut watch = Watch::start(&home, "sync a b --watch");
    let mut lines = Vec::new();
    while lines
        .last()
        .is_none_or(|line| line != "sync  RUNNING  1 conflict left")
    {
        lines.push(watch.line());
    }
    let conflict = |line: &String| line.starts_with("sync  conflict  x: ");
    assert!(lines.iter().any(conflict), "{lines:?}");
    assert_eq!(watch.end(Signal::TERM).0, 3);
    assert_eq!(read(&home, "a/x"), "1");
    assert_eq!(read(&home, "b/x"), "2");
}

#[test]
fn a_storage_that_is_not_as_it_was_is_waited_for_and_exit_code_1() {
    let home = home();
    home.ok("sync a b");
    std::fs::remove_file(home.path("a/x")).unwrap();
    let mut watch = Watch::start(&home, "--output json sync a b --watch");
    let error = watch.until(|event| event["type"] == "error");
    assert_eq!(error["problem"]["class"], "root-emptied");
    watch.until_state(6);
    assert_eq!(watch.end(Signal::INT).0, 1);
    assert_eq!(read(&home, "b/x"), "1");
}

#[test]
fn what_cannot_begin_is_told_at_once() {
    let home = home();
    for (line, class, code) in [
        (
            "--output json sync nothing b --watch",
            "root-unavailable",
            1,
        ),
        ("--output json sync a a --watch", "nested", 1),
        (
            "--output json sync a b --watch --require-cas atomic",
            "weak-cas",
            1,
        ),
    ] {
        let done = home.run(line);
        assert_eq!(done.code, code, "{line}: {done:?}");
        let report: Value = serde_json::from_str(done.stdout.lines().last().unwrap()).unwrap();
        assert_eq!(report["error"]["class"], class, "{line}");
        crate::schemas::check("run-report", &report);
    }
    let done = home.run("sync nothing b --watch");
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stderr.contains("make the folder"), "{done:?}");
    assert!(!home.path("b").exists() || read_dir_is_empty(&home, "b"));
}

fn read_dir_is_empty(home: &Home, name: &str) -> bool {
    std::fs::read_dir(home.path(name)).unwrap().next().is_none()
}

#[test]
fn a_target_that_is_taken_away_is_not_made_again() {
    let home = home();
    let mut watch = Watch::start(&home, "--output json sync a b --watch");
    watch.until_state(3);
    // As an unmounted disk: the folder that the program made is gone.
    std::fs::rename(home.path("b"), home.path("c")).unwrap();
    watch.until_state(6);
    assert!(!home.path("b").exists());
    std::fs::rename(home.path("c"), home.path("b")).unwrap();
    watch.until_state(3);
    assert_eq!(watch.end(Signal::INT).0, 0);
}

/// Shows one folder at another one; `None` where this user may not.
#[allow(clippy::print_stderr, reason = "a test that does nothing says so")]
fn bind(from: &Path, at: &Path) -> Option<Bound> {
    let bound = Command::new("mount")
        .arg("--bind")
        .args([from, at])
        .output();
    if bound.is_ok_and(|done| done.status.success()) {
        return Some(Bound(at.to_owned()));
    }
    eprintln!("SKIPPED: a folder cannot be mounted here");
    None
}

struct Bound(PathBuf);

impl Drop for Bound {
    fn drop(&mut self) {
        // Lazily: a look at it may be under way.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_bind_mount_that_goes_away_meanwhile_is_told_and_removes_nothing() {
    let home = home();
    for folder in ["other", "a/sub"] {
        std::fs::create_dir(home.path(folder)).unwrap();
    }
    for number in 0..30 {
        std::fs::write(home.path(&format!("other/{number}")), "1").unwrap();
    }
    let Some(mount) = bind(&home.path("other"), &home.path("a/sub")) else {
        return;
    };
    let mut watch = Watch::start(&home, "--output json sync a b --watch");
    watch.until_state(3);
    let files = || std::fs::read_dir(home.path("b/sub")).unwrap().count();
    assert_eq!(files(), 30);
    drop(mount);
    // Emptied by mistake it would say so as well, and fail here.
    let synced = |event: &Value| event["type"] == "state" && event["state"][0] == 3;
    let told = watch.until(|event| event["type"] == "error" || synced(event) && files() == 0);
    assert!(
        told.to_string().contains("--accept-new-filesystem"),
        "{told}"
    );
    // Without a word from anybody it goes on when the folder is back.
    let _mount = bind(&home.path("other"), &home.path("a/sub")).unwrap();
    watch.until_state(3);
    std::fs::write(home.path("a/sub/new"), "1").unwrap();
    watch.until(|event| synced(event) && files() == 31);
    assert_eq!(watch.end(Signal::INT).0, 0);
}

#[test]
fn another_user_cannot_read_what_it_keeps() {
    let home = home();
    let mut watch = Watch::start(&home, "--output json sync a b --watch");
    watch.until_state(3);
    let mode = home.base().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    watch.end(Signal::INT);
}
