//! Who can reach the daemon, and how many there can be.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use wl_control::Client;
use wl_daemon::{Daemon, DaemonError, DaemonOptions, socket_path};

use crate::world::World;

/// Where the other user's part of a test finds the socket.
const SOCKET: &str = "WL_TEST_SOCKET_OF_ANOTHER_USER";

fn options(base: &Path, socket: Option<&Path>) -> DaemonOptions {
    DaemonOptions {
        base_dir: base.to_owned(),
        socket: socket.map(Path::to_owned),
        version: "1.2.3".to_owned(),
    }
}

async fn refused(base: &Path, socket: Option<&Path>) -> DaemonError {
    match Daemon::start(options(base, socket)).await {
        Err(error) => error,
        Ok(_) => panic!("it started"),
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o777
}

/// Runs in another process, as another user: what comes of connecting and asking.
#[test]
#[ignore = "a part of `another_user_cannot_connect`"]
fn as_another_user() {
    use std::io::{Read, Write};
    let Some(path) = std::env::var_os(SOCKET) else {
        return;
    };
    let said = match std::os::unix::net::UnixStream::connect(path) {
        Err(error) => format!("{:?}", error.kind()),
        Ok(mut stream) => {
            let mut answer = String::new();
            // It may be closed before anything is written.
            let _ = stream.write_all(b"{\"cmd\":\"version\"}\n\n");
            let _ = stream.read_to_string(&mut answer);
            format!("connected, answer: <{answer}>")
        }
    };
    println!("SAID {said}");
}

/// What another user is told by the socket; `None` where this test may not become one.
fn another_user(program: &Path, socket: &Path) -> Option<String> {
    let out = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(program)
        .args([
            "--exact",
            "socket::as_another_user",
            "--ignored",
            "--nocapture",
        ])
        .env(SOCKET, socket)
        .output()
        .ok()
        .filter(|out| out.status.success())?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let (_, said) = text.split_once("SAID ")?;
    Some(said.lines().next().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_user_cannot_connect() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can become another user");
        return;
    }
    let world = World::new().await;
    let open = TempDir::new().unwrap();
    fs::set_permissions(open.path(), Permissions::from_mode(0o755)).unwrap();
    let program = open.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let socket = world.socket();
    let run = socket.parent().unwrap().to_owned();
    let said = |socket: &Path| {
        let (program, socket) = (program.clone(), socket.to_owned());
        tokio::task::spawn_blocking(move || another_user(&program, &socket))
    };
    let Some(first) = said(&socket).await.unwrap() else {
        eprintln!("SKIPPED: `setpriv` is not there, or may not become another user");
        return;
    };
    assert_eq!(first, "PermissionDenied");
    // The folder is the first wall, the socket's own mode the second, the peer's identity the third.
    for path in [world.dir.path(), &*world.base(), &*run] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    assert_eq!(said(&socket).await.unwrap().unwrap(), "PermissionDenied");
    fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
    assert_eq!(
        said(&socket).await.unwrap().unwrap(),
        "connected, answer: <>"
    );
    world.is_up().await;
}

/// Looks, as fast as it can, for anything at the socket's place that others could use.
fn watch(base: &Path, done: &AtomicBool) -> Vec<String> {
    let mut found = Vec::new();
    let mut look = |path: &Path, meta: &fs::Metadata| {
        let kind = meta.file_type();
        let allowed = match () {
            () if kind.is_socket() && path.parent() == Some(&base.join("run")) => 0o600,
            // Being born, in a folder of its own.
            () if kind.is_socket() => 0o777,
            () if kind.is_dir() => 0o700,
            () => 0o666,
        };
        if meta.mode() & 0o777 & !allowed != 0 {
            found.push(format!("{} {:o}", path.display(), meta.mode()));
        }
    };
    while !done.load(Ordering::Relaxed) {
        for folder in [base.to_owned(), base.join("run")] {
            if let Ok(meta) = fs::symlink_metadata(&folder) {
                look(&folder, &meta);
            }
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if let Ok(meta) = fs::symlink_metadata(entry.path()) {
                    look(&entry.path(), &meta);
                }
            }
        }
    }
    found
}

#[tokio::test]
async fn socket_and_folder_are_private_from_the_first_moment() {
    for _ in 0..25 {
        let dir = TempDir::new().unwrap();
        let base = dir.path().join("base");
        let done = Arc::new(AtomicBool::new(false));
        let watcher = std::thread::spawn({
            let (base, done) = (base.clone(), Arc::clone(&done));
            move || watch(&base, &done)
        });
        let daemon = Daemon::start(options(&base, None)).await.unwrap();
        assert_eq!(mode(&socket_path(&base)), 0o600);
        assert_eq!(mode(&base.join("run")), 0o700);
        assert_eq!(mode(&base), 0o700);
        drop(daemon);
        done.store(true, Ordering::Relaxed);
        assert_eq!(watcher.join().unwrap(), [""; 0]);
    }
}

#[tokio::test]
async fn there_is_one_daemon_a_base_directory_wherever_it_listens() {
    let mut world = World::new().await;
    for socket in [None, Some(world.path("elsewhere"))] {
        let error = refused(&world.base(), socket.as_deref()).await;
        assert!(matches!(error, DaemonError::Runs(..)), "{error}");
        assert!(error.to_string().contains("wl stop"), "{error}");
    }
    assert!(!world.path("elsewhere").exists());
    world.is_up().await;
    // Nobody else holds up a base directory of its own.
    let other = Daemon::start(options(&world.path("other"), None))
        .await
        .unwrap();
    drop(other);
    world.is_up().await;
    world.end().await;
    world.start().await;
    world.is_up().await;
}

#[tokio::test]
async fn a_socket_that_a_dead_daemon_left_is_replaced_and_nothing_else_is() {
    let dir = TempDir::new().unwrap();
    let base = dir.path().join("base");
    drop(Daemon::start(options(&base, None)).await.unwrap());
    let socket = socket_path(&base);
    assert!(socket.exists() && UnixStream::connect(&socket).await.is_err());
    drop(Daemon::start(options(&base, None)).await.unwrap());
    fs::remove_file(&socket).unwrap();
    fs::create_dir(&socket).unwrap();
    fs::write(socket.join("mine"), "1").unwrap();
    let error = refused(&base, None).await;
    assert!(matches!(error, DaemonError::NoSocket(_)), "{error}");
    assert!(socket.join("mine").exists());
}

#[tokio::test]
async fn it_listens_where_it_is_told_to() {
    let dir = TempDir::new().unwrap();
    let (base, socket) = (dir.path().join("base"), dir.path().join("new/s"));
    let daemon = Daemon::start(options(&base, Some(&socket))).await.unwrap();
    assert!(!socket_path(&base).exists());
    assert_eq!(
        (mode(&socket), mode(&dir.path().join("new"))),
        (0o600, 0o700)
    );
    let stop = CancellationToken::new();
    let served = tokio::spawn(daemon.serve(stop.clone()));
    let mut client = Client::connect(&socket).await.unwrap();
    client.ask("version", json!({})).await.unwrap();
    stop.cancel();
    served.await.unwrap();
    assert!(!socket.exists());
    // A folder that is there keeps its mode: others may need it. The socket is private by itself.
    let shared = dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, Permissions::from_mode(0o755)).unwrap();
    let daemon = Daemon::start(options(&base, Some(&shared.join("s"))))
        .await
        .unwrap();
    assert_eq!((mode(&shared), mode(&shared.join("s"))), (0o755, 0o600));
    assert_eq!(
        fs::read_dir(&shared).unwrap().count(),
        1,
        "nothing else is left there"
    );
    drop(daemon);
}

#[tokio::test]
async fn a_path_that_is_too_long_is_told_and_the_longest_works() {
    let dir = TempDir::new().unwrap();
    let base = dir.path().join("base");
    let room = |bytes: usize| bytes - dir.path().as_os_str().len() - "//wl.sock".len();
    let fits = dir.path().join("x".repeat(room(107))).join("wl.sock");
    assert_eq!(fits.as_os_str().len(), 107);
    drop(Daemon::start(options(&base, Some(&fits))).await.unwrap());
    let long = dir.path().join("x".repeat(room(108))).join("wl.sock");
    let error = refused(&base, Some(&long)).await;
    assert!(matches!(error, DaemonError::LongPath(_)), "{error}");
    assert!(error.to_string().contains("--socket-path"), "{error}");
}

#[tokio::test]
async fn who_hears_the_end_can_start_the_next_at_once() {
    let mut world = World::new().await;
    for _ in 0..10 {
        let mut client = world.client().await;
        client.ask("shutdown", json!({})).await.unwrap();
        while client.next_event().await.unwrap().is_some() {}
        assert!(!world.socket().exists());
        let next = Daemon::start(options(&world.base(), None)).await;
        drop(next.expect("the lock is given back"));
        fs::remove_file(world.socket()).unwrap();
        world.ended().await;
        world.start().await;
    }
}
