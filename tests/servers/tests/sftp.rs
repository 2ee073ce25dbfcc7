//! The SSH server, seen by its own client.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use wl_test_servers::sftp::{HOST, SftpServer};

#[test]
fn files_go_in_and_out_and_the_server_ends() {
    let dir = tempfile::tempdir().unwrap();
    let server = SftpServer::start(dir.path()).unwrap();
    let local = dir.path().join("local");
    std::fs::write(&local, "1").unwrap();
    let said = server.run(&format!("put {} remote\nls -1\n", local.display()));
    assert!(said.unwrap().contains("remote"));
    assert_eq!(std::fs::read(dir.path().join("remote")).unwrap(), b"1");
    assert!(server.run("get nothing\n").is_err());
    let address = format!("127.0.0.1:{}", server.port());
    drop(server);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn connections_are_dropped_and_new_ones_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let server = SftpServer::start(dir.path()).unwrap();
    let mut session = Command::new("ssh")
        .arg("-F")
        .arg(server.ssh_config())
        .args(["-s", HOST, "sftp"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    greet(
        session.stdin.as_mut().unwrap(),
        session.stdout.as_mut().unwrap(),
    );
    assert!(server.drop_connections() > 0);
    assert!(!session.wait().unwrap().success());
    server.run("pwd\n").unwrap();
}

#[test]
fn the_protocol_can_be_spoken_without_ssh() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = SftpServer::process(dir.path()).unwrap().spawn().unwrap();
    greet(
        child.stdin.as_mut().unwrap(),
        child.stdout.as_mut().unwrap(),
    );
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

/// `SSH_FXP_INIT` with version 3; the answer is `SSH_FXP_VERSION`.
fn greet(to: &mut impl Write, from: &mut impl Read) {
    to.write_all(&[0, 0, 0, 5, 1, 0, 0, 0, 3]).unwrap();
    to.flush().unwrap();
    let mut answer = [0; 9];
    from.read_exact(&mut answer).unwrap();
    assert_eq!(answer[4..], [2, 0, 0, 0, 3]);
}
