//! The real `ssh` with a real `sshd`, which ssh starts for itself in place of a network connection.

use std::process::Command;

use serde_json::json;
use wl_core::storage::StorageError;

use super::*;
use crate::sftp::{address::Address, factory};

/// Keys and configurations of a client and a server.
struct Keys(tempfile::TempDir);

impl Keys {
    fn new() -> Self {
        let this = Self(tempfile::tempdir().expect("a folder"));
        for key in ["host", "other-host", "user", "stranger"] {
            let mut make = Command::new("ssh-keygen");
            make.args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(this.at(key));
            assert!(make.status().expect("ssh-keygen").success());
        }
        if rustix::process::getuid().is_root() {
            // Where Debian's start script would have made it.
            let _ = std::fs::create_dir("/run/sshd");
        }
        std::fs::copy(this.at("user.pub"), this.at("authorized")).expect("copied");
        let server = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\nSubsystem sftp {SERVER}\n",
            this.text("host"),
            this.text("authorized"),
        );
        std::fs::write(this.at("sshd_config"), server).expect("written");
        let client = format!(
            "UserKnownHostsFile {}\nGlobalKnownHostsFile /dev/null\nIdentitiesOnly yes\nIdentityAgent none\nHost server\n  ProxyCommand /usr/sbin/sshd -i -f {}\n",
            this.text("known"),
            this.text("sshd_config"),
        );
        std::fs::write(this.at("ssh_config"), client).expect("written");
        this.knows(Some("host"));
        this
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.at(name).to_str().expect("UTF-8").to_owned()
    }

    fn knows(&self, key: Option<&str>) {
        let line = key.map_or_else(String::new, |key| {
            let key = std::fs::read_to_string(self.at(&format!("{key}.pub")));
            format!("server {}", key.expect("a key"))
        });
        std::fs::write(self.at("known"), line).expect("written");
    }

    async fn open(&self, host: &str, key: &str) -> Result<SftpStore, StorageError> {
        let folder = self.text("");
        let params = json!({
            "url": format!("sftp://{host}{folder}"),
            "identity_file": self.text(key),
            "ssh_config": self.text("ssh_config"),
        });
        factory::open(&params).await
    }

    async fn refusal(&self, host: &str, key: &str) -> (ErrorKind, String) {
        let error = self.open(host, key).await.expect_err("a refusal");
        (error.kind(), error.to_string())
    }
}

#[tokio::test]
async fn ssh_leads_to_a_server() {
    let keys = Keys::new();
    let store = keys.open("server", "user").await.expect("connected");
    let (content, attributes) = (noise(1_000_000), Attributes::default());
    let put = put(&store, "a", &content, &attributes, &Condition::Absent).await;
    put.expect("put");
    assert!(read(&store, "a", 0..1_000_000).await.expect("read") == content);
    assert!(store.identity().starts_with("sftp|server|/"));
}

#[tokio::test]
async fn what_ssh_complains_about_is_told_with_what_to_do() {
    let keys = Keys::new();
    let (kind, text) = keys.refusal("server", "stranger").await;
    assert_eq!(kind, ErrorKind::Credentials, "{text}");
    assert!(text.contains("Permission denied (publickey)"), "{text}");
    assert!(text.contains("ssh-add"), "{text}");
    keys.knows(None);
    let (kind, text) = keys.refusal("server", "user").await;
    assert_eq!(kind, ErrorKind::Credentials, "{text}");
    assert!(text.contains("Host key verification failed"), "{text}");
    assert!(text.contains("ssh-keyscan"), "{text}");
    keys.knows(Some("other-host"));
    let (kind, text) = keys.refusal("server", "user").await;
    assert_eq!(kind, ErrorKind::Credentials, "{text}");
    assert!(text.contains("ssh-keygen -R server"), "{text}");
    let (kind, text) = keys.refusal("no-such-host.invalid", "user").await;
    assert_eq!(kind, ErrorKind::Unavailable, "{text}");
    assert!(text.contains("Could not resolve"), "{text}");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = closed.local_addr().expect("an address").port();
    drop(closed);
    let (kind, text) = keys.refusal(&format!("127.0.0.1:{port}"), "user").await;
    assert_eq!(kind, ErrorKind::Unavailable, "{text}");
    assert!(text.contains("check the port"), "{text}");
}

#[tokio::test]
async fn a_missing_program_and_one_that_prints_are_told() {
    let open = async |program: &str, arguments: &[&str]| {
        let program = Program {
            program: program.into(),
            arguments: arguments.iter().map(Into::into).collect(),
        };
        let opened = SftpStore::open(Box::new(program), "test".to_owned(), "/").await;
        opened.expect_err("a refusal").to_string()
    };
    let missing = open("/no/such/ssh", &[]).await;
    assert!(missing.contains("install the OpenSSH client"), "{missing}");
    let chatty = open("echo", &["Welcome to this server"]).await;
    assert!(chatty.contains(".bashrc"), "{chatty}");
    let silent = open("true", &[]).await;
    assert!(silent.contains("closed the connection"), "{silent}");
}

#[tokio::test]
async fn the_program_ends_with_the_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .expect("mkfifo")
            .success()
    );
    // It holds the pipe open as long as it lives, and does not end by itself.
    let script = format!("exec 9>'{}'; {SERVER}; exec sleep 1000", pipe.display());
    let until_it_ends = tokio::task::spawn_blocking(move || std::fs::read(pipe));
    let program = Program {
        program: "sh".into(),
        arguments: vec!["-c".into(), script.into()],
    };
    let store = store_at(Box::new(program), folder.path()).await;
    assert!(!until_it_ends.is_finished());
    drop(store);
    let patience = std::time::Duration::from_secs(120);
    let ended = tokio::time::timeout(patience, until_it_ends).await;
    ended.expect("killed").expect("no panic").expect("read");
}

#[test]
fn urls_are_taken_apart() {
    let parse = |url: &str| Address::parse(url).map(|a| (a.server(), a.folder));
    let fine = |server: &str, folder: &str| Ok((server.to_owned(), folder.to_owned()));
    assert_eq!(
        parse("sftp://me@host:2222/a/b"),
        fine("me@host:2222", "/a/b")
    );
    assert_eq!(parse("sftp://host/~/a%20b"), fine("host", "a b"));
    assert_eq!(parse("sftp://host/~"), fine("host", "."));
    assert_eq!(parse("sftp://host/~other"), fine("host", "/~other"));
    assert_eq!(parse("sftp://[::1]:22/x"), fine("[::1]:22", "/x"));
    assert_eq!(parse("sftp://host/"), fine("host", "/"));
    assert_eq!(parse("sftp://Host.Example/x"), fine("host.example", "/x"));
    for wrong in [
        "host:/x",
        "ssh://host/x",
        "sftp://host",
        "sftp:///x",
        "sftp://-oProxyCommand=x/y",
        "sftp://%2doProxyCommand=x/y",
        "sftp://-x@host/y",
        "sftp://a%20b@host/y",
        "sftp://host/%ff",
        "sftp://host/%00",
        "sftp://host/a?b",
        "sftp://host/a#b",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
    let secret = parse("sftp://me:hunter2@host/x").expect_err("refused");
    assert!(!secret.contains("hunter2") && secret.contains("password"));
}

/// 200 MiB up and down: `cargo test --release -p wl-backends sftp -- --ignored --nocapture bench`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn bench() {
    const PIECE: usize = 4 * 1024 * 1024;
    let (keys, place) = (Keys::new(), Place::new().await);
    let through_ssh = keys.open("server", "user").await.expect("connected");
    let piece = Bytes::from(noise(PIECE));
    for (name, store) in [("sftp-server", &place.store), ("ssh", &through_ssh)] {
        let (target, scratch, attributes) = (path("large"), scratch(), Attributes::default());
        let request = UploadRequest {
            path: &target,
            size: 50 * PIECE as u64,
            attributes: &attributes,
            condition: &Condition::Absent,
            scratch: &scratch,
        };
        let start = std::time::Instant::now();
        let mut upload = store.upload(request).await.expect("begun");
        for _ in 0..50 {
            upload.write(piece.clone()).await.expect("written");
        }
        upload.finish().await.expect("finished");
        upload.commit().await.expect("committed");
        let up = 200.0 / start.elapsed().as_secs_f64();
        let start = std::time::Instant::now();
        for number in 0..50 {
            let range = number * PIECE as u64..(number + 1) * PIECE as u64;
            assert!(read(store, "large", range).await.expect("read") == piece);
        }
        let down = 200.0 / start.elapsed().as_secs_f64();
        let start = std::time::Instant::now();
        for number in 0..500 {
            let name = number.to_string();
            let small = put(store, &name, b"small", &attributes, &Condition::Absent);
            small.await.expect("put");
        }
        let small = 500.0 / start.elapsed().as_secs_f64();
        println!("{name}: up {up:.0} MiB/s, down {down:.0} MiB/s, {small:.0} small files/s");
    }
}
