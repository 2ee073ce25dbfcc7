//! The local backend in processes of their own: killed again and again, and without root's rights.
//!
//! They are apart from the other tests because a fork copies the locks of all sessions in the process for a moment.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]
#![cfg(target_os = "linux")]

use std::collections::HashSet;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use wl_backends::local::LocalBackend;
use wl_core::model::{ContentHash, SyncPath};
use wl_core::storage::{
    Durability, ErrorKind, Expect, Expected, ListRequest, Payload, RemoveRequest, ReplaceRequest,
    Row, Scope, SessionOptions, StageRequest, StorageBackend, TrashKeep, TrashState, WriteSession,
};

const FOLDER: &str = "WL_TEST_KILLED_IN";
const GRADE: &str = "WL_TEST_KILLED_GRADE";
const FILES: usize = 6;
/// Whether two names can be exchanged, and whether a rename can refuse to replace.
const GRADES: [(bool, bool); 3] = [(true, true), (false, true), (false, false)];

fn p(path: &str) -> SyncPath {
    SyncPath::new(path).unwrap()
}

fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => TempDir::with_prefix_in("wl-test-", memory).unwrap(),
        false => TempDir::with_prefix("wl-test-").unwrap(),
    }
}

fn open(folder: &Path, grade: usize) -> LocalBackend {
    let (exchange, no_replace) = GRADES[grade];
    LocalBackend::open_weakened(folder.to_str().unwrap(), exchange, no_replace).unwrap()
}

fn options(run: &str) -> SessionOptions {
    SessionOptions {
        run: run.to_owned(),
        durability: Durability::Batch,
        trash_keep: TrashKeep::default(),
        cancel: CancellationToken::new(),
    }
}

async fn replacement(
    session: &dyn WriteSession,
    path: &str,
    content: &str,
    expect: Expect,
) -> ReplaceRequest {
    let request = StageRequest {
        path: p(path),
        payload: Payload::Bytes(Bytes::copy_from_slice(content.as_bytes())),
        hash: ContentHash::of(content.as_bytes()),
        mtime: None,
        mode: None,
    };
    ReplaceRequest {
        path: p(path),
        staged: session.stage(vec![request]).await.pop().unwrap().unwrap(),
        expect,
        listed: false,
    }
}

async fn known(backend: &LocalBackend, folder: &Path, path: &str) -> Option<(String, Expected)> {
    let meta = backend.stat(&p(path)).await.unwrap()?;
    let content = std::fs::read_to_string(folder.join(path)).unwrap();
    let hash = ContentHash::of(content.as_bytes());
    Some((content, Expected::of(&meta, Some(hash))))
}

/// The process that is killed; as a test of its own it does nothing.
#[tokio::test]
async fn the_process_that_is_killed() {
    let (Ok(folder), Ok(grade)) = (std::env::var(FOLDER), std::env::var(GRADE)) else {
        return;
    };
    let folder = Path::new(&folder);
    let backend = open(folder, grade.parse().unwrap());
    let run = format!("killed-{}", std::process::id());
    let session = backend.begin(options(&run)).await.unwrap();
    for turn in 0_u64.. {
        let mut requests = Vec::new();
        for file in 0..FILES {
            let name = format!("f{file}");
            let (number, expect) = match known(&backend, folder, &name).await {
                Some((now, expected)) => (now.parse().unwrap(), Expect::Is(expected)),
                None => (0_u64, Expect::Absent),
            };
            let next = (number + 1).to_string();
            requests.push(replacement(&*session, &name, &next, expect).await);
        }
        for result in session.replace(requests).await {
            result.unwrap();
        }
        std::fs::write(folder.join("extra"), b"kept").unwrap();
        let (_, expected) = known(&backend, folder, "extra").await.unwrap();
        let path = p("extra");
        let removed = session.remove(vec![RemoveRequest { path, expected }]).await;
        removed.into_iter().for_each(Result::unwrap);
        if turn == 0 {
            // Nobody may listen.
            let _ = std::io::stderr().write_all(b"1");
        }
    }
}

/// Its stderr tells when each file was written once.
fn spawn(folder: &Path, grade: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_process_that_is_killed"])
        .env(FOLDER, folder)
        .env(GRADE, grade.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_kill_at_any_moment_loses_nothing() {
    for grade in 0..GRADES.len() {
        let dir = folder();
        for round in 0..20_u64 {
            let mut child = spawn(dir.path(), grade);
            let mut told = child.stderr.take().unwrap();
            if round == 0 {
                // However slow the machine is, there is something to be lost.
                told.read_exact(&mut [0]).unwrap();
            }
            // Not to wait for anything: to be killed at another moment each time.
            std::thread::sleep(Duration::from_micros(4_000 + round * 2_311 % 27_000));
            child.kill().unwrap();
            let ended = child.wait().unwrap().code();
            assert_eq!(ended, None, "it ended by itself: something failed in it");
        }
        let backend = open(dir.path(), grade);
        let session = backend.begin(options("last")).await.unwrap();
        let stranded = session.stranded().await;
        assert!(stranded.is_empty(), "nobody else was here: {stranded:?}");
        session.finish().await.unwrap();
        assert!(!dir.path().join(".wl/stage").exists());
        let published = count_versions(&backend, dir.path()).await;
        assert!(published > 0);
        println!("{published} versions, all there");
    }
}

/// Every version of every file but the last is in the trash, under its path.
async fn count_versions(backend: &LocalBackend, folder: &Path) -> u64 {
    let trash = backend.trash_list().await.unwrap();
    let agreed = [TrashState::Replaced, TrashState::Removed];
    assert!(trash.iter().all(|item| agreed.contains(&item.state)));
    let content = |id: &str| std::fs::read_to_string(folder.join(".wl/trash").join(id)).unwrap();
    let mut published = 0;
    for file in 0..FILES {
        let path = p(&format!("f{file}"));
        let now = std::fs::read_to_string(folder.join(path.as_str())).unwrap();
        let last: u64 = now.parse().unwrap();
        let of_path = trash
            .iter()
            .filter(|item| item.path.as_ref() == Some(&path));
        let kept: HashSet<_> = of_path.map(|item| content(&item.id.0)).collect();
        for number in 1..last {
            assert!(
                kept.contains(&number.to_string()),
                "{path}: {number} of {last}"
            );
        }
        published += last;
    }
    published
}

/// Root may read everything, so root runs this test again as nobody.
#[tokio::test]
async fn what_may_not_be_read_is_unknown() {
    if rustix::process::geteuid().is_root() {
        let rerun = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "what_may_not_be_read_is_unknown", "--nocapture"])
            .output();
        match rerun {
            Ok(output) if String::from_utf8_lossy(&output.stdout).contains("1 passed") => {}
            Ok(output) if String::from_utf8_lossy(&output.stdout).contains("1 failed") => {
                panic!("as nobody: {output:?}")
            }
            other => println!("SKIPPED: cannot run as nobody: {other:?}"),
        }
        return;
    }
    let dir = folder();
    let backend = open(dir.path(), 0);
    for name in ["closed", "half", "open"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        std::fs::write(dir.path().join(name).join("x"), b"").unwrap();
    }
    let mode = |path: &str, bits| {
        let bits = std::fs::Permissions::from_mode(bits);
        std::fs::set_permissions(dir.path().join(path), bits).unwrap();
    };
    mode("closed", 0);
    mode("half", 0o400);
    let everything = rows(&backend, ListRequest::everything(dir.path())).await;
    let scope = Scope::Subtrees(vec![p("closed/x"), p("half/x")]);
    let scoped = ListRequest {
        scope,
        ..ListRequest::everything(dir.path())
    };
    let scoped = rows(&backend, scoped).await;
    let session = backend.begin(options("denied")).await.unwrap();
    let request = replacement(&*session, "half/y", "", Expect::Absent).await;
    let made = session.replace(vec![request]).await.pop().unwrap();
    mode("closed", 0o700);
    mode("half", 0o700);
    let due = [
        "closed/",
        "unknown closed/ Denied",
        "half/",
        "unknown half/x Denied",
        "open/",
        "open/x",
    ];
    assert_eq!(everything, due);
    assert_eq!(scoped, ["unknown closed/x Denied", "unknown half/x Denied"]);
    let error = made.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.reason().contains("check the permissions"), "{error}");
}

async fn rows(backend: &LocalBackend, request: ListRequest) -> Vec<String> {
    let mut listing = backend.list(request).await.unwrap();
    let mut texts = Vec::new();
    while let Some(rows) = listing.next().await.unwrap() {
        texts.extend(rows.iter().map(|row| match row {
            Row::Unknown { error, .. } => {
                format!("unknown {} {:?}", row.key().to_text(), error.kind())
            }
            row => row.key().to_text(),
        }));
    }
    texts
}
