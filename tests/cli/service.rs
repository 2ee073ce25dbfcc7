//! The daemon under systemd: the unit, and what systemd is told.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Done, Home};

/// A `systemctl` that notes what it is asked, and answers with this exit code; none of its units is active.
fn systemctl(home: &Home, code: u8) -> PathBuf {
    let bin = home.path("bin");
    fs::create_dir_all(&bin).unwrap();
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> {}\ncase $2 in is-active) exit 3;; esac\n[ {code} = 0 ] || echo 'Failed to connect to bus' >&2\nexit {code}\n",
        home.path("asked").display()
    );
    // Written by another process: what is open for writing in this one is so for a moment in every child that another test just starts,
    // and would be "busy" for whoever runs it then.
    let mut writer = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(bin.join("systemctl"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = writer.stdin.take().unwrap();
    stdin.write_all(script.as_bytes()).unwrap();
    drop(stdin);
    assert!(writer.wait().unwrap().success());
    bin
}

fn run(home: &Home, path: &str, words: &[&str]) -> Done {
    let mut command = home.command();
    command.env("PATH", path).args(words);
    Done::of(command.output().unwrap())
}

fn asked(home: &Home) -> Vec<String> {
    let text = fs::read_to_string(home.path("asked")).unwrap_or_default();
    let _ = fs::remove_file(home.path("asked"));
    text.lines().map(str::to_owned).collect()
}

fn system_path(bin: &std::path::Path) -> String {
    format!("{}:/usr/bin:/bin", bin.display())
}

#[test]
fn the_unit_is_written_enabled_and_taken_away() {
    let home = Home::new();
    let path = system_path(&systemctl(&home, 0));
    let unit = home.path(".config/systemd/user/wl.service");
    let words = [
        "-b",
        "a b/%h$X",
        "daemon",
        "install",
        "--metrics",
        "127.0.0.1:1",
        "-l",
        "-",
    ];
    let done = run(&home, &path, &words);
    assert_eq!(done.code, 0, "{done:?}");
    let text = fs::read_to_string(&unit).unwrap();
    let base = home.path("a b/%%h$$X");
    let line = format!(
        "ExecStart=\"{}\" daemon \"--base-dir\" \"{base}\" \"--socket-path\" \"{base}/run/wl.sock\" \"--log-path\" \"-\" \"--metrics\" \"127.0.0.1:1\"",
        env!("CARGO_BIN_EXE_wl"),
        base = base.display()
    );
    assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    for line in [
        "Type=notify",
        "Environment=MALLOC_ARENA_MAX=2",
        "WatchdogSec=120",
        "Restart=on-failure",
        "WantedBy=default.target",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }
    assert_eq!(
        asked(&home),
        [
            "--user daemon-reload",
            "--user enable wl.service",
            "--user restart wl.service"
        ]
    );
    // Again, for a newer program: replaced.
    assert_eq!(run(&home, &path, &["daemon", "install"]).code, 0);
    assert_ne!(fs::read_to_string(&unit).unwrap(), text);
    asked(&home);
    let done = run(&home, &path, &["daemon", "uninstall"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(!unit.exists());
    assert_eq!(
        asked(&home),
        ["--user disable --now wl.service", "--user daemon-reload"]
    );
    let done = run(&home, &path, &["daemon", "uninstall"]);
    assert!(
        done.code == 0 && done.stdout.contains("There is no"),
        "{done:?}"
    );
    assert!(asked(&home).is_empty());
}

#[test]
fn a_daemon_that_was_started_by_hand_is_not_taken_over_unasked() {
    let home = Home::new();
    let path = system_path(&systemctl(&home, 0));
    home.ok("start");
    let done = run(&home, &path, &["daemon", "install"]);
    assert!(
        done.code == 0 && done.stderr.contains("systemctl --user start"),
        "{done:?}"
    );
    let asked = asked(&home);
    assert!(!asked.iter().any(|it| it.contains("restart")), "{asked:?}");
    home.ok("stop");
}

#[test]
fn without_a_session_or_systemd_it_says_what_to_do() {
    let home = Home::new();
    let path = system_path(&systemctl(&home, 1));
    let done = run(&home, &path, &["daemon", "install"]);
    assert_eq!(done.code, 1, "{done:?}");
    for part in [
        "wl.service",
        "Failed to connect to bus",
        "loginctl enable-linger",
    ] {
        assert!(done.stderr.contains(part), "{done:?}");
    }
    let done = run(&home, &path, &["daemon", "uninstall"]);
    assert_eq!(done.code, 0, "{done:?}");
    let done = run(&home, "/nowhere", &["daemon", "install"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stderr.contains("wl start"), "{done:?}");
}

#[test]
fn a_unit_of_a_person_is_left_alone() {
    let home = Home::new();
    let path = system_path(&systemctl(&home, 0));
    let unit = home.path("xdg/systemd/user/wl.service");
    fs::create_dir_all(unit.parent().unwrap()).unwrap();
    fs::write(&unit, "[Service]\n").unwrap();
    for word in ["install", "uninstall"] {
        let mut command = home.command();
        command
            .env("PATH", &path)
            .env("XDG_CONFIG_HOME", home.path("xdg"));
        let done = Done::of(command.args(["daemon", word]).output().unwrap());
        assert!(
            done.code == 1 && done.stderr.contains("move it away"),
            "{done:?}"
        );
    }
    assert_eq!(fs::read_to_string(&unit).unwrap(), "[Service]\n");
    assert!(asked(&home).is_empty());
}

#[test]
fn systemd_finds_no_fault_in_the_unit() {
    let home = Home::new();
    let path = system_path(&systemctl(&home, 0));
    let done = run(&home, &path, &["-b", "a b/%h$X\"'\\", "daemon", "install"]);
    assert_eq!(done.code, 0, "{done:?}");
    let unit = home.path(".config/systemd/user/wl.service");
    let verified = Command::new("systemd-analyze")
        .args(["--user", "--man=no", "verify"])
        .arg(unit)
        .env("XDG_RUNTIME_DIR", home.path(""))
        .output();
    // Where it is not installed there is nothing to ask.
    if let Ok(verified) = verified {
        let said = String::from_utf8_lossy(&verified.stderr);
        assert!(
            verified.status.success() && !said.contains("wl.service"),
            "{said}"
        );
    }
}

#[test]
fn systemd_is_told_of_readiness_life_and_end() {
    let home = Home::new();
    let socket = UnixDatagram::bind(home.path("notify")).unwrap();
    // So that a daemon that says nothing fails the test, and does not hang it.
    socket
        .set_read_timeout(Some(Duration::from_secs(120)))
        .unwrap();
    let mut daemon = home
        .command()
        .args(["daemon"])
        .env("NOTIFY_SOCKET", home.path("notify"))
        .env("WATCHDOG_USEC", "20000")
        // So that who waits for anything has everything wait.
        .env("TOKIO_WORKER_THREADS", "1")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let heard = || {
        let mut bytes = [0; 256];
        // With a limit it ends when the process was stopped for a while and goes on.
        let count = loop {
            match socket.recv(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                received => break received.unwrap(),
            }
        };
        String::from_utf8_lossy(&bytes[..count]).trim().to_owned()
    };
    let first = [heard(), heard(), heard()];
    assert_eq!(first, ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]);
    // Who says that it is alive while systemd does not come to read goes on working all the same.
    let crowd = UnixDatagram::unbound().unwrap();
    crowd.set_nonblocking(true).unwrap();
    while crowd.send_to(b"X=1", home.path("notify")).is_ok() {}
    // At least one of them after the next beat.
    for _ in 0..10 {
        home.ok("status");
    }
    let pid = Pid::from_raw(daemon.id().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    while heard() != "STOPPING=1" {}
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
}

#[test]
fn the_daemons_options_go_behind_install() {
    let home = Home::new();
    let done = home.run("daemon --metrics 127.0.0.1:1 install");
    assert!(done.code == 2 && done.stderr.contains("behind"), "{done:?}");
    let done = home.run("daemon --metrics 0.0.0.0:9464");
    assert!(
        done.code == 1 && done.stderr.contains("loopback"),
        "{done:?}"
    );
}
