//! Shell completions.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::Home;

#[test]
fn bash_can_read_its_completions() {
    let script = Home::new().ok("completions bash").stdout;
    assert!(script.contains("--unidirectional"));
    let mut bash = Command::new("bash")
        .arg("-n")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = bash.stdin.take().unwrap();
    stdin.write_all(script.as_bytes()).unwrap();
    drop(stdin);
    assert!(bash.wait().unwrap().success());
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let done = Home::new().ok(&format!("completions {shell}"));
        assert!(done.stdout.contains("list-conflicts"), "{shell}");
        assert_eq!(done.stderr, "");
    }
}
