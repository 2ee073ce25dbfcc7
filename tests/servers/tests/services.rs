//! The servers of others start and end. Run by hand, where they are installed: `cargo test -p wl-test-servers -- --ignored`.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::net::TcpStream;

use wl_test_servers::process::Process;
use wl_test_servers::services;

/// Drops a server and asserts that nobody answers any more.
fn ends<T>(server: T, url: &str) {
    let behind = url.split("//").nth(1).unwrap();
    let address = behind.split('/').next().unwrap().to_owned();
    assert!(TcpStream::connect(&address).is_ok(), "{address}");
    drop(server);
    assert!(TcpStream::connect(&address).is_err(), "{address}");
}

fn is_running(process: &Process) -> bool {
    std::fs::exists(format!("/proc/{}", process.id())).unwrap()
}

#[test]
#[ignore = "needs `cargo xtask services install`"]
fn s3() {
    for start in [services::seaweedfs, services::rclone_s3] {
        let server = start().unwrap();
        assert!(is_running(server.process()));
        let url = server.endpoint();
        ends(server, &url);
    }
}

#[test]
#[ignore = "needs `cargo xtask services install`"]
fn webdav() {
    for start in [services::apache, services::rclone_webdav] {
        let server = start().unwrap();
        assert_eq!(server.data().read_dir().unwrap().count(), 0);
        let url = server.url();
        ends(server, &url);
    }
}

#[test]
#[ignore = "needs `cargo xtask services install`"]
fn ftp() {
    let server = services::Vsftpd::start().unwrap();
    let url = server.url();
    ends(server, &url);
}

#[test]
#[ignore = "needs `cargo xtask services install`"]
fn azure() {
    let server = services::Azurite::start().unwrap();
    let url = server.endpoint();
    ends(server, &url);
}

#[test]
#[ignore = "needs `cargo xtask services install`"]
fn gcs() {
    let server = services::FakeGcs::start().unwrap();
    let url = server.endpoint();
    ends(server, &url);
}
