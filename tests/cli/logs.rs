//! What is logged, where to, and what never.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::support::{Done, Home};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The whole log of the default place. Everything in it must be private.
fn log(home: &Home) -> String {
    let folder = home.base().join("log");
    assert_eq!(mode(&folder), 0o700);
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{path:?}");
        text += &fs::read_to_string(path).unwrap();
    }
    text
}

/// A daemon that listens. Its log is whole when it has ended.
struct Running<'a>(&'a Home, Child);

impl<'a> Running<'a> {
    fn start(home: &'a Home, words: &[&str]) -> Self {
        Self::start_with(home, words, &[])
    }

    fn start_with(home: &'a Home, words: &[&str], env: &[(&str, String)]) -> Self {
        let mut command = home.command();
        command.args(["daemon", "--announce"]).args(words);
        command.envs(env.iter().map(|(name, value)| (name, value)));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = [0; 6];
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"ready\n");
        Self(home, child)
    }

    fn stop(mut self) {
        self.0.ok("stop");
        assert!(self.1.wait().unwrap().success());
    }
}

/// Sends a message as it is, and returns when it is answered, or something is told that has this in it.
fn send_until(home: &Home, message: &[u8], until: &str) {
    let mut stream = UnixStream::connect(home.base().join("run/wl.sock")).unwrap();
    stream.write_all(message).unwrap();
    stream.write_all(b"\n\n").unwrap();
    let (mut heard, mut bytes) = (String::new(), [0; 4096]);
    while !heard.contains(until) {
        let count = stream.read(&mut bytes).unwrap();
        assert!(count > 0, "the daemon hung up: {heard}");
        heard += &String::from_utf8_lossy(&bytes[..count]);
    }
}

/// Sends a message as it is, and returns when it is answered.
fn send(home: &Home, message: &[u8]) {
    send_until(home, message, "\"id\":");
}

fn pair(home: &Home) {
    for side in ["a", "b"] {
        fs::create_dir(home.path(side)).unwrap();
    }
    fs::write(home.path("a/file"), "x").unwrap();
}

/// A continuous job of the daemon between `a` and `b`.
fn start(home: &Home, id: &str, more: &str) -> String {
    format!(
        r#"{{"cmd": "start", "id": 1, "args": {{"container-name": "c", "job-id": "{id}", "continuous": true, "unidirectional": false,
        "source": {{"type": "local", "location": "{}"}}, "target": {{"type": "local", "location": "{}"{more}}}}}}}"#,
        home.path("a").display(),
        home.path("b").display()
    )
}

#[test]
fn an_operator_finds_begin_jobs_states_and_end() {
    let home = Home::new();
    pair(&home);
    fs::write(home.path("b/file"), "y").unwrap();
    let daemon = Running::start(&home, &["--log-level", "debug"]);
    send_until(&home, start(&home, "j1", "").as_bytes(), "conflict left");
    daemon.stop();
    // A record that is damaged is told.
    fs::write(home.base().join("state/jobs.json"), "{").unwrap();
    Running::start(&home, &[]).stop();
    let log = log(&home);
    for part in [
        "the daemon begins version=\"0.1.0\" base_dir=",
        "jobs taken up jobs=0",
        "state job=\"j1\" state=\"RUNNING\" reason=\"starting\"",
        "reason=\"1 conflict left\"",
        "conflict job=\"j1\" path=\"file\" reason=",
        "the daemon has ended",
        "the record of the jobs was damaged",
    ] {
        assert!(log.contains(part), "{part}\n{log}");
    }
    let pass = log.lines().find(|line| line.contains(": pass "));
    let pass = pass.unwrap_or_else(|| panic!("{log}"));
    for part in ["run{job=\"j1\" source=\"local /", "seconds=", "conflicts=1"] {
        assert!(pass.contains(part), "{pass}");
    }
}

/// A job that is not there any more is missed late, and nobody reads the log for it.
#[test]
fn a_record_that_was_put_aside_is_told_until_its_copy_is_taken_away() {
    let home = Home::new();
    home.ok("start");
    home.ok("stop");
    let state = home.base().join("state");
    fs::write(state.join("jobs.json"), "{").unwrap();
    let aside = state.join("jobs.json.damaged");
    for line in ["start", "status", "status --output json"] {
        let done = home.run(line);
        assert_eq!(done.code, 0, "{line}: {done:?}");
        let told = done.stderr.contains(aside.to_str().unwrap());
        assert!(told, "{line}: {done:?}");
    }
    fs::remove_file(&aside).unwrap();
    let done = home.run("status");
    home.ok("stop");
    assert_eq!(done.stderr, "", "{done:?}");
}

#[test]
fn no_secret_is_logged_at_any_level() {
    const CANARY: &str = "hush-canary-7461";
    let home = Home::new();
    pair(&home);
    fs::write(
        home.path("login.json"),
        format!("{{\"password\": \"{CANARY}\"}}"),
    )
    .unwrap();
    let canary_env = [
        ("AWS_SECRET_ACCESS_KEY", CANARY.to_owned()),
        ("http_proxy", format!("http://u:{CANARY}@127.0.0.1:1")),
    ];
    let daemon = Running::start_with(&home, &["--log-level", "trace"], &canary_env);
    for message in [
        start(&home, "j1", &format!(", \"password\": \"{CANARY}\"")),
        start(
            &home,
            "j2",
            &format!(", \"credentials_file\": \"{CANARY}\""),
        ),
        format!("{{\"cmd\": \"{CANARY}\"}}"),
        format!("{{\"cmd\": \"status\", \"args\": {{\"{CANARY}\": 1}}}}"),
        format!("{CANARY} is no JSON"),
        start(&home, "j3", ""),
    ] {
        send(&home, message.as_bytes());
    }
    daemon.stop();
    let log = log(&home);
    assert!(
        log.contains("a request was refused class=\"usage\""),
        "{log}"
    );
    assert!(log.contains("job=\"j3\""), "{log}");
    assert!(!log.contains(CANARY), "{log}");
    let url = format!("http://u:{CANARY}@127.0.0.1:1/");
    for words in [
        ["--log-level", "trace", "sync", "a", "b", "--quiet"],
        ["--log-level", "trace", "sync", "a", &url, "--quiet"],
    ] {
        let mut command = home.command();
        command.args(words).envs(canary_env.clone());
        let done = Done::of(command.output().unwrap());
        assert!(!done.stderr.contains(CANARY), "{done:?}");
    }
}

#[test]
fn one_off_commands_log_only_when_asked_and_to_stderr() {
    let home = Home::new();
    pair(&home);
    assert_eq!(home.ok("sync a b --quiet").stderr, "");
    let done = home.ok("sync a b --quiet --log-level debug");
    assert!(done.stderr.contains(": pass seconds="), "{done:?}");
    assert!(!home.base().join("log").exists());
    let done = home.run("--log-level loud sync a b");
    assert!(
        done.code == 2 && done.stderr.contains("no log level"),
        "{done:?}"
    );
}

#[test]
fn the_log_goes_where_it_is_sent() {
    let home = Home::new();
    Running::start(&home, &["--log-path", "my.log"]).stop();
    let text = fs::read_to_string(home.path("my.log")).unwrap();
    assert!(text.contains("the daemon has ended"), "{text}");
    assert_eq!(mode(&home.path("my.log")), 0o600);
    assert!(!home.base().join("log").exists());
    let done = home.run("start --log-path -");
    assert!(
        done.code == 2 && done.stderr.contains("no stderr"),
        "{done:?}"
    );
    let done = home.run("start --log-path no/such/folder/log");
    assert!(
        done.code == 1 && done.stderr.contains("cannot log to"),
        "{done:?}"
    );
}
