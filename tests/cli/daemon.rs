//! The daemon as a person uses it: commands start it, jobs run in it, it outlives commands and ends when it is told to.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Done, Home};

/// A home with a container `box` of two local folders, whose daemon ends with it.
struct Place(Home);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.run("stop");
    }
}

impl Place {
    fn new() -> Self {
        let home = Home::new();
        home.ok("container create box");
        for folder in ["a", "b"] {
            fs::create_dir(home.path(folder)).unwrap();
            home.ok(&format!(
                "storage create local --container box --location {} --backend-id {folder} --watcher-interval 1",
                home.path(folder).display()
            ));
        }
        Self(home)
    }

    fn write(&self, name: &str, text: &str) {
        self.0.put(name, text);
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.0.path(name)).ok()
    }

    /// What the only job's status says.
    fn job(&self) -> Value {
        let (_, status) = self.0.json("status box");
        status["jobs"][0].clone()
    }
}

/// `wl events` in JSON. The daemon must run.
struct Events {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Events {
    /// From the beginning, as far as the daemon has it.
    fn of(place: &Place) -> Self {
        let mut child = place
            .0
            .command()
            .args(["events", "--since", "0", "--output", "json"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits for a job to come into a state.
    fn state(&mut self, number: u64) -> Value {
        self.until(|event| event["type"] == "state" && event["state"][0] == number)
    }

    fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.lines.next().expect("the daemon ended").unwrap();
            let event: Value = serde_json::from_str(&line).unwrap();
            if wanted(&event) {
                return event;
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // It may have ended with the daemon.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const RUNNING: u64 = 2;
const SYNCED: u64 = 3;
const STOPPED: u64 = 1;

#[test]
fn a_container_is_kept_in_sync_from_one_command_on() {
    let place = Place::new();
    let home = &place.0;
    place.write("a/x", "1");
    let started = home.ok("container sync box");
    assert!(started.stderr.contains("Started the daemon"), "{started:?}");
    assert!(started.stdout.contains("box:a:b"), "{started:?}");
    let mut events = Events::of(&place);
    events.state(SYNCED);
    assert_eq!(place.read("b/x").as_deref(), Some("1"));
    place.write("b/y", "2");
    events.state(RUNNING);
    events.state(SYNCED);
    assert_eq!(place.read("a/y").as_deref(), Some("2"));

    let (code, status) = home.json("status");
    assert_eq!(code, 0, "{status:#}");
    let job = &status["jobs"][0];
    assert_eq!(job["state"][0], SYNCED);
    assert_eq!(job["done"]["source-changes"], 1);
    assert!(job["last-agreement"].is_number());
    assert_eq!(job["source"]["watched"], "poll every 1 s");
    assert!(home.ok("status").stdout.contains("a (/"));

    // What the daemon works with is not taken away.
    for line in [
        "container delete box",
        "storage delete a --container box",
        "container sync box --mirror",
        "container sync box --max-delete 5",
    ] {
        let done = home.run(line);
        assert_ne!(done.code, 0, "{line}: {done:?}");
        assert!(done.stderr.contains("stop"), "{line}: {done:?}");
    }
    // What is done already need not be begun.
    let again = home.ok("container sync box");
    assert!(again.stdout.contains("already"), "{again:?}");
    assert!(again.stdout.contains("SYNCED"), "{again:?}");
    let (code, again) = home.json("container sync box");
    assert_eq!(code, 0, "{again:#}");
    assert_eq!(again["started"], serde_json::json!([]));
    assert_eq!(again["running"][0]["job-id"], "box:a:b");
    // What starts a daemon changes nothing of one that runs, and says so.
    let port = home.ok("start --metrics 127.0.0.1:0");
    assert!(port.stderr.contains("--metrics"), "{port:?}");
    assert!(home.ok("start").stderr.is_empty());
    home.ok("container stop-sync box");
    assert_eq!(home.run("container stop-sync box").code, 2);
    home.ok("container delete box");
    let ended = home.ok("stop");
    assert!(ended.stdout.contains("Stopped the daemon"), "{ended:?}");
    assert!(home.ok("stop").stdout.contains("No daemon runs"));
    assert!(!home.base().join("run/wl.sock").exists());
}

#[test]
fn jobs_go_on_when_the_daemon_is_started_again_and_rest_when_they_are_paused() {
    let place = Place::new();
    let home = &place.0;
    home.ok("container sync box");
    Events::of(&place).state(SYNCED);
    home.ok("stop");
    let status = home.run("status");
    assert_eq!(status.code, 1, "a job waits for the daemon: {status:?}");
    assert!(status.stdout.contains("1 job is waiting"), "{status:?}");
    place.write("a/x", "1");
    let started = home.ok("start");
    assert!(started.stderr.contains("Started the daemon"), "{started:?}");
    assert!(home.ok("start").stdout.contains("runs already"));
    Events::of(&place).until(|event| event["state"][0] == SYNCED);
    assert_eq!(place.read("b/x").as_deref(), Some("1"));
    home.ok("container pause box");
    assert_eq!(place.job()["state"][0], 6);
    home.ok("stop");
    home.ok("start");
    assert_eq!(place.job()["state"][0], 6);
    assert_eq!(
        home.run("status").code,
        1,
        "a job that waits is not in sync"
    );
    home.ok("container resume box");
    Events::of(&place).state(SYNCED);
}

/// Whoever wants it to go on hears that it cannot, and why.
#[test]
fn a_resumed_job_whose_folder_is_away_is_said_to_rest() {
    let place = Place::new();
    let home = &place.0;
    home.ok("container sync box");
    Events::of(&place).state(SYNCED);
    assert!(
        home.ok("container resume box")
            .stdout
            .starts_with("Resumed ")
    );
    home.ok("container pause box");
    fs::rename(home.path("b"), home.path("away")).unwrap();
    let resumed = home.ok("container resume box").stdout;
    assert!(!resumed.contains("Resumed"), "{resumed}");
    for said in ["PAUSED", "No such file", "mount what belongs there"] {
        assert!(resumed.contains(said), "{resumed}");
    }
    fs::rename(home.path("away"), home.path("b")).unwrap();
    let resumed = home.ok("container resume box").stdout;
    assert!(resumed.starts_with("Resumed "), "{resumed}");
}

#[test]
fn conflicts_are_shown_explained_and_ended_while_the_job_goes_on() {
    let place = Place::new();
    let home = &place.0;
    place.write("a/c", "1");
    place.write("b/c", "two");
    home.ok("container sync box");
    let mut events = Events::of(&place);
    let conflict = events.until(|event| event["type"] == "conflict");
    assert_eq!(conflict["conflict"]["path"], "c");
    events.until(|event| event["type"] == "state" && event["state"][1] == "1 conflict left");
    let status = home.run("status");
    assert_eq!(status.code, 3, "{status:?}");
    assert!(
        status.stdout.contains("c: both sides made it"),
        "{status:?}"
    );
    let (code, said) = home.json("explain box c");
    assert_eq!((code, &said["decision"]), (0, &Value::from("conflict")));
    assert_eq!(said["job"]["job-id"], "box:a:b");
    assert_eq!(
        home.json("container list-conflicts box").1["conflicts"][0]["path"],
        "c"
    );
    home.ok("container resolve box c --keep target");
    events.state(SYNCED);
    assert_eq!(place.read("a/c").as_deref(), Some("two"));
    assert!(home.ok("explain box c").stdout.contains("both equal"));
}

/// The removal waits for somebody who means it; what is in conflict no more is not listed meanwhile.
#[test]
fn a_conflict_that_is_over_is_not_listed_while_the_delete_budget_refuses() {
    let place = Place::new();
    let home = &place.0;
    place.write("a/c", "1");
    place.write("b/c", "two");
    place.write("a/gone", "once");
    home.ok("container sync box --max-delete 0");
    let mut events = Events::of(&place);
    events.until(|event| event["type"] == "state" && event["state"][1] == "1 conflict left");
    home.ok("container pause box");
    fs::remove_file(home.path("b/gone")).unwrap();
    place.write("b/c", "1");
    home.ok("container resume box");
    events.until(|event| event["problem"]["class"] == "delete-budget");
    let (_, listed) = home.json("container list-conflicts box");
    assert_eq!(listed["conflicts"], serde_json::json!([]), "{listed:#}");
    let status = home.run("status box").stdout;
    assert!(!status.contains("c: both sides made it"), "{status}");
    assert_eq!(place.read("a/gone").as_deref(), Some("once"));
}

/// It never writes to its source, and says so before it is tried as when it is.
#[test]
fn a_rehearsed_resolve_goes_the_way_of_the_job() {
    let place = Place::new();
    let home = &place.0;
    place.write("a/c", "1");
    place.write("b/c", "two");
    home.ok("container sync box --unidirectional");
    let mut events = Events::of(&place);
    events.until(|event| event["type"] == "state" && event["state"][1] == "1 conflict left");
    for rehearsed in [" --dry-run", ""] {
        let (_, report) = home.json(&format!("container resolve box c --keep target{rehearsed}"));
        assert_eq!(
            report["problems"][0]["path"], "c",
            "{rehearsed}: {report:#}"
        );
        let reason = report["problems"][0]["reason"].as_str().unwrap();
        assert!(reason.contains("keep the source's version"), "{reason}");
        assert_eq!(place.read("a/c").as_deref(), Some("1"));
        assert_eq!(place.read("b/c").as_deref(), Some("two"));
    }
    let (code, report) = home.json("container resolve box c --keep source --dry-run");
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(place.read("b/c").as_deref(), Some("two"));
    home.ok("container resolve box c --keep source");
    assert_eq!(place.read("b/c").as_deref(), Some("1"));
}

/// What lies at a path on the source and on the target, both times in seconds since 1970; `None` is a folder with a file.
const MET: [(&str, [Option<u64>; 2]); 4] = [
    ("source-newer", [Some(2000), Some(1000)]),
    ("target-newer", [Some(1000), Some(2000)]),
    ("source-folder", [None, Some(1000)]),
    ("target-folder", [Some(1000), None]),
];
const CHOICES: [&str; 4] = ["source", "target", "both", "newer"];

/// A conflict of each kind for each choice, at `KIND.CHOICE`.
fn meet(place: &Place) {
    for (kind, sides) in MET {
        for (choice, (folder, time)) in CHOICES
            .map(|choice| {
                ["a", "b"]
                    .into_iter()
                    .zip(sides)
                    .map(move |it| (choice, it))
            })
            .into_iter()
            .flatten()
        {
            let path = format!("{folder}/{kind}.{choice}");
            let Some(seconds) = time else {
                fs::create_dir(place.0.path(&path)).unwrap();
                place.write(&format!("{path}/in"), folder);
                continue;
            };
            place.write(&path, &format!("of {folder}"));
            let file = fs::File::options().write(true).open(place.0.path(&path));
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            file.unwrap().set_modified(time).unwrap();
        }
    }
}

#[test]
fn of_a_job_that_goes_one_way_each_choice_that_is_suggested_can_be_taken() {
    let place = Place::new();
    let home = &place.0;
    meet(&place);
    home.ok("container sync box --unidirectional");
    let mut events = Events::of(&place);
    events.until(|event| event["state"][1] == "16 conflicts left");
    let listed = home.run("container list-conflicts box").stdout;
    for (kind, _) in MET {
        for choice in CHOICES {
            let path = format!("{kind}.{choice}");
            let command = format!("resolve box {path} ");
            let (_, command) = listed.split_once(&command).expect(&listed);
            let (_, offered) = command
                .lines()
                .next()
                .unwrap()
                .split_once("--keep ")
                .unwrap();
            let is_offered = offered.split('|').any(|offered| offered == choice);
            let (_, report) = home.json(&format!("container resolve box {path} --keep {choice}"));
            let is_left = |list: &str| {
                let mut left = report[list].as_array().unwrap().iter();
                left.any(|found| found["path"] == *path)
            };
            let is_over = !is_left("conflicts") && !is_left("problems");
            assert_eq!(is_over, is_offered, "{path}, {offered}: {report:#}");
        }
    }
}

/// Also where the conflicts of several targets are listed at once.
#[test]
fn each_target_is_offered_what_its_job_can_keep() {
    let place = Place::new();
    let home = &place.0;
    fs::create_dir(home.path("c")).unwrap();
    home.ok(&format!(
        "storage create local --container box --location {} --backend-id c --watcher-interval 1",
        home.path("c").display()
    ));
    for folder in ["a", "b", "c"] {
        place.write(&format!("{folder}/x"), folder);
    }
    home.ok("container sync box --target-storage b --unidirectional");
    home.ok("container sync box --target-storage c");
    let mut events = Events::of(&place);
    for _ in 0..2 {
        events.until(|event| event["state"][1] == "1 conflict left");
    }
    let listed = home.run("container list-conflicts box").stdout;
    let offered: Vec<_> = listed
        .lines()
        .filter_map(|line| line.split_once("--keep "))
        .map(|(_, offered)| offered.contains("target"))
        .collect();
    assert_eq!(offered, [false, true], "{listed}");
}

#[test]
fn a_one_shot_can_be_left_to_the_daemon() {
    let place = Place::new();
    let home = &place.0;
    place.write("a/x", "1");
    home.ok("container sync box --one-shot --no-wait");
    let mut events = Events::of(&place);
    events.state(SYNCED);
    assert_eq!(place.read("b/x").as_deref(), Some("1"));
    // The one that has ended makes room for the next.
    place.write("a/c", "1");
    place.write("b/c", "two");
    home.ok("container sync box --one-shot --no-wait");
    events.until(|event| event["state"][0] == STOPPED && event["state"][1] == "1 conflict left");
    // Nothing of it survives the daemon.
    home.ok("stop");
    home.ok("start");
    assert!(place.job().is_null());
}

/// Answers the first request on a socket as a daemon of another version does.
fn stranger(listener: UnixListener) {
    let (mut stream, _) = listener.accept().unwrap();
    // The request is small enough to come as one piece; what it is does not matter.
    let _ = stream.read(&mut [0; 4096]).unwrap();
    let answer = r#"{"result": {"version": "99.0.0", "protocol": 1, "pid": 7}, "id": 1}"#;
    stream
        .write_all(format!("{answer}\n\n").as_bytes())
        .unwrap();
}

/// Does as a daemon that is dying: it holds the lock, accepts, and hangs up without a word, until it is gone.
fn dying(lock: fs::File, listener: UnixListener) {
    for _ in 0..3 {
        drop(listener.accept().unwrap());
    }
    drop(listener);
    drop(lock);
}

#[test]
fn a_daemon_that_is_dying_is_waited_for() {
    let place = Place::new();
    let home = &place.0;
    fs::create_dir_all(home.base().join("run")).unwrap();
    let mut lock = fs::File::create(home.base().join("run/daemon.lock")).unwrap();
    lock.lock().unwrap();
    writeln!(lock, "{}", std::process::id()).unwrap();
    let listener = UnixListener::bind(home.base().join("run/wl.sock")).unwrap();
    let old = std::thread::spawn(move || dying(lock, listener));
    let started = home.ok("start");
    old.join().unwrap();
    assert!(started.stderr.contains("Started the daemon"), "{started:?}");
}

#[test]
fn a_daemon_is_started_right_after_one_was_killed() {
    let place = Place::new();
    let home = &place.0;
    home.ok("start");
    for _ in 0..5 {
        let (_, status) = home.json("status");
        let pid = status["daemon"]["pid"].as_i64().unwrap();
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        let started = home.ok("start");
        assert!(started.stderr.contains("Started the daemon"), "{started:?}");
    }
}

#[test]
fn the_status_of_a_container_that_is_not_there_is_wrong_usage() {
    let place = Place::new();
    for _ in 0..2 {
        let done = place.0.run("status bxo");
        assert_eq!(done.code, 2, "{done:?}");
        assert!(done.stderr.contains("the containers are: box"), "{done:?}");
        assert_eq!(place.0.run("status box").code, 0);
        place.0.ok("start");
    }
}

#[test]
fn a_daemon_of_another_version_is_not_spoken_to() {
    let home = Home::new();
    let listener = UnixListener::bind(home.path("other.sock")).unwrap();
    let daemon = std::thread::spawn(move || stranger(listener));
    let done = home.run("-s other.sock status");
    daemon.join().unwrap();
    assert_eq!(done.code, 1, "{done:?}");
    for words in ["process 7", "is wl 99.0.0", "restart it"] {
        assert!(done.stderr.contains(words), "{done:?}");
    }
}

/// Several log in at once, or a script is run twice.
#[test]
fn each_of_several_that_start_a_daemon_at_once_says_what_became_of_it() {
    let place = Place::new();
    let home = &place.0;
    let start = |_| {
        let mut start = home.command();
        start.arg("start").stdout(Stdio::piped());
        start.stderr(Stdio::piped()).spawn().unwrap()
    };
    let all: Vec<Child> = (0..6).map(start).collect();
    let mut started = 0;
    for one in all {
        let done = Done::of(one.wait_with_output().unwrap());
        assert_eq!(done.code, 0, "{done:?}");
        let starts = done.stderr.contains("Started the daemon");
        started += usize::from(starts);
        let runs = done.stdout == "The daemon runs already\n";
        assert!(starts != runs, "{done:?}");
    }
    assert_eq!(started, 1);
}

/// Who is stopped (SIGSTOP, a debugger) lets nobody in, and more and more wait.
#[test]
fn a_daemon_with_no_room_for_more_who_wait_is_told_to_be_ended() {
    let home = Home::new();
    fs::create_dir_all(home.base().join("run")).unwrap();
    let mut lock = fs::File::create(home.base().join("run/daemon.lock")).unwrap();
    lock.lock().unwrap();
    writeln!(lock, "{}", std::process::id()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let path = home.base().join("run/wl.sock");
    let (_listener, _waiting) = runtime.block_on(async {
        let socket = tokio::net::UnixSocket::new_stream().unwrap();
        socket.bind(&path).unwrap();
        let listener = socket.listen(1).unwrap();
        let mut waiting = Vec::new();
        while let Ok(one) = tokio::net::UnixStream::connect(&path).await {
            waiting.push(one);
        }
        (listener, waiting)
    });
    for line in ["status", "start"] {
        let done = home.run(line);
        assert_eq!(done.code, 1, "{done:?}");
        let kill = format!("`kill -9 {}`", std::process::id());
        for said in ["does not answer", &kill, "wl start"] {
            assert!(done.stderr.contains(said), "{done:?}");
        }
    }
}

#[test]
fn a_lock_that_no_daemon_holds_is_told_as_that() {
    let home = Home::new();
    fs::create_dir_all(home.base().join("run")).unwrap();
    let mut died = std::process::Command::new("true").spawn().unwrap();
    died.wait().unwrap();
    let none: &[&str] = &["status"];
    let all = ["status", "start", "stop", "daemon"];
    for (number, lines) in [(String::new(), none), (died.id().to_string(), &all)] {
        let mut lock = fs::File::create(home.base().join("run/daemon.lock")).unwrap();
        lock.lock().unwrap();
        writeln!(lock, "{number}").unwrap();
        for line in lines {
            let done = home.run(line);
            assert_eq!(done.code, 1, "{line}: {done:?}");
            for said in ["no daemon runs", "daemon.lock", "fuser"] {
                assert!(done.stderr.contains(said), "{line}: {done:?}");
            }
        }
    }
}

#[test]
fn a_second_daemon_and_wrong_places_are_told() {
    let place = Place::new();
    let home = &place.0;
    home.ok("start");
    let second = home.run("daemon");
    assert_eq!(second.code, 1, "{second:?}");
    assert!(
        second.stderr.contains("runs on") && second.stderr.contains("process"),
        "{second:?}"
    );
    let long = "x".repeat(150);
    for (line, words) in [
        (
            format!("-b other -s {long} start"),
            "longer than the system allows",
        ),
        ("-b other -s a start".to_owned(), "is no socket"),
    ] {
        let Done { code, stderr, .. } = home.run(&line);
        assert_eq!(code, 1, "{line}: {stderr}");
        assert!(stderr.contains(words), "{line}: {stderr}");
    }
    // Elsewhere it works.
    home.ok("-b other -s here.sock start");
    assert!(home.path("here.sock").exists());
    assert_eq!(
        home.run("-b elsewhere status").stdout,
        "No daemon runs, so nothing is kept in sync\n"
    );
    // A base directory that cannot be one has no daemon either.
    home.ok("-b here.sock/sub status");
    let start = home.run("-b here.sock/sub start");
    assert_eq!(start.code, 1, "{start:?}");
    assert!(start.stderr.contains("cannot "), "{start:?}");
    for line in ["-b other status", "-b other stop"] {
        let done = home.run(line);
        assert_eq!(done.code, 1, "{line}: {done:?}");
        assert!(done.stderr.contains("does not listen on"), "{done:?}");
    }
    home.ok("-b other -s here.sock stop");
    assert!(!home.path("here.sock").exists());
}

/// The manifest of `box`, edited as a person does it.
fn edit_manifest(place: &Place, edit: impl Fn(String) -> String) {
    let path = place.0.base().join("containers/box.container.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let edited = edit(text.clone());
    assert_ne!(edited, text);
    fs::write(&path, edited).unwrap();
}

/// A job goes on as it was started: what looks at it, and what ends its conflicts, means those storages.
#[test]
fn a_job_whose_manifest_was_edited_says_so_and_is_explained_as_it_runs() {
    let place = Place::new();
    let home = &place.0;
    fs::create_dir(home.path("elsewhere")).unwrap();
    place.write("elsewhere/x", "another x");
    place.write("a/x", "1");
    place.write("b/x", "two");
    home.ok("container sync box");
    let mut events = Events::of(&place);
    events.until(|event| event["state"][1] == "1 conflict left");
    assert!(place.job().get("older-definition").is_none());
    // A rule that is added, and taken back.
    let before = fs::read_to_string(home.base().join("containers/box.container.yaml")).unwrap();
    edit_manifest(&place, |text| text + "exclude:\n- '*.o'\n");
    let job = place.job();
    let older = job["older-definition"].as_str().unwrap_or_default();
    assert!(
        older.contains("what the container leaves out was changed"),
        "{job:#}"
    );
    edit_manifest(&place, |_| before.clone());
    assert!(place.job().get("older-definition").is_none());
    let (from, to) = (home.path("b"), home.path("elsewhere"));
    let (from, to) = (from.to_str().unwrap(), to.to_str().unwrap());
    edit_manifest(&place, |text| text.replace(from, to));
    let told = |words: &[&str]| {
        let job = place.job();
        let older = job["older-definition"].as_str().unwrap_or_default();
        let table = home.run("status").stdout;
        for said in words {
            assert!(older.contains(said), "{said}: {job:#}");
            assert!(table.contains(said), "{said}: {table}");
        }
    };
    told(&[
        "older definition",
        "the storage b was changed",
        "container stop-sync box",
        "container sync box",
    ]);
    let (_, said) = home.json("explain box x");
    assert_eq!(said["decision"], "conflict", "{said:#}");
    assert_eq!(said["seen"]["target"]["entry"]["size"], 3, "{said:#}");
    assert!(said["job"]["older-definition"].is_string(), "{said:#}");
    // One of its storages is gone, and then all of it.
    edit_manifest(&place, |text| {
        text.replace("backend-id: b", "backend-id: c")
    });
    told(&["the storage b is not in the container any more"]);
    fs::remove_file(home.base().join("containers/box.container.yaml")).unwrap();
    told(&["the container has none any more", "stop-sync box"]);
    let (_, said) = home.json("explain box x");
    assert_eq!(said["seen"]["target"]["entry"]["size"], 3, "{said:#}");
    let (_, listed) = home.json("container list-conflicts box");
    assert_eq!(listed["conflicts"][0]["path"], "x", "{listed:#}");
    let (code, report) = home.json("container resolve box x --keep source");
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(place.read("b/x").as_deref(), Some("1"));
    assert_eq!(place.read("elsewhere/x").as_deref(), Some("another x"));
    home.ok("container stop-sync box");
    let gone = home.run("explain box x");
    assert_ne!(gone.code, 0, "{gone:?}");
}

/// What the command left out besides does not hide it.
#[test]
fn what_is_taken_out_of_the_manifest_is_told_too() {
    let place = Place::new();
    let home = &place.0;
    let says = "exclude-preset:\n- rust\nexclude:\n- '*.o'\n- '*.tmp'\nmax-size: 1M\n";
    edit_manifest(&place, |text| text + says);
    home.ok("container sync box --exclude *.log --exclude-preset node");
    let mut events = Events::of(&place);
    events.state(SYNCED);
    assert!(place.job().get("older-definition").is_none());
    let file = home.base().join("containers/box.container.yaml");
    let before = fs::read_to_string(file).unwrap();
    for (was, is) in [
        ("- '*.tmp'\n", ""),
        ("exclude:\n- '*.o'\n- '*.tmp'\n", ""),
        ("exclude-preset:\n- rust\n", ""),
        ("max-size: 1M\n", "max-size: 2M\n"),
        ("max-size: 1M\n", ""),
        (says, ""),
    ] {
        edit_manifest(&place, |text| text.replace(was, is));
        let job = place.job();
        let older = job["older-definition"].as_str().unwrap_or_default();
        assert!(
            older.contains("what the container leaves out was changed"),
            "{was:?}: {job:#}"
        );
        edit_manifest(&place, |_| before.clone());
        assert!(place.job().get("older-definition").is_none(), "{was:?}");
    }
}

#[test]
fn a_job_that_is_started_again_takes_the_new_definition() {
    let place = Place::new();
    let home = &place.0;
    fs::create_dir(home.path("elsewhere")).unwrap();
    home.ok("container sync box");
    let mut events = Events::of(&place);
    events.state(SYNCED);
    let (from, to) = (home.path("b"), home.path("elsewhere"));
    let (from, to) = (from.to_str().unwrap(), to.to_str().unwrap());
    edit_manifest(&place, |text| text.replace(from, to));
    assert!(place.job()["older-definition"].is_string());
    home.ok("container stop-sync box");
    place.write("a/new", "1");
    home.ok("container sync box");
    assert!(place.job().get("older-definition").is_none());
    events.state(SYNCED);
    assert_eq!(place.read("elsewhere/new").as_deref(), Some("1"));
    assert_eq!(place.read("b/new"), None);
}

/// The folder that the first command was given in can be taken away, and unmounted; what was named relative to it is still found.
#[test]
fn the_daemon_stays_in_no_folder() {
    let place = Place::new();
    let home = &place.0;
    let folder = home.path("here");
    fs::create_dir(&folder).unwrap();
    let mut start = home.command();
    start.current_dir(&folder);
    let done = start
        .args(["start", "--log-path", "wl.log", "--socket-path", "../s"])
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let (_, status) = home.json(&format!(
        "status --socket-path {}",
        home.path("s").display()
    ));
    let pid = status["daemon"]["pid"].as_u64().unwrap();
    let stays = fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    assert_eq!(stays, std::path::Path::new("/"));
    assert!(folder.join("wl.log").exists());
    home.ok(&format!("stop --socket-path {}", home.path("s").display()));
}

/// The number of its heaps is bounded, unless somebody's environment says otherwise.
#[test]
#[cfg(target_os = "linux")]
fn a_daemon_that_is_started_keeps_few_heaps() {
    for (own, kept) in [(None, "2"), (Some("7"), "7")] {
        let place = Place::new();
        let mut command = place.0.command();
        command.env_remove("MALLOC_ARENA_MAX").arg("start");
        if let Some(own) = own {
            command.env("MALLOC_ARENA_MAX", own);
        }
        let said = String::from_utf8(command.output().unwrap().stderr).unwrap();
        let digits = said.chars().filter(char::is_ascii_digit);
        let pid: String = digits.collect();
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
        let wanted = format!("MALLOC_ARENA_MAX={kept}");
        let mut set = environment.split(|&byte| byte == 0);
        assert!(set.any(|one| one == wanted.as_bytes()), "{said}");
    }
}
