//! The lock and the socket: one daemon a base directory, and nobody but its user can reach it, from the first moment.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};

use super::DaemonError;

/// What the kernel has room for, without the zero byte at the end.
const LONGEST_PATH: usize = 107;

/// A command that looks whether a daemon runs holds the lock for a moment.
const MOMENT: Duration = Duration::from_millis(50);
/// A program that a daemon was just starting when it died holds the lock until it runs by itself.
const OUTLIVED: Duration = Duration::from_secs(5);
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// How the folder begins in which a socket is made, and how many letters follow.
const NURSERY: &str = ".";
const NURSERY_MARK: usize = 3;

/// The lock of a base directory: whoever holds it is the daemon.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing would not do: a child that is being started at this moment still holds the same open file. If it fails, the end of
        // the process does it.
        let _ = self.0.unlock();
    }
}

impl Lock {
    /// Takes it. Where a daemon runs that is refused at once; what a dead one had started may hold it a little longer than that lived.
    pub(super) fn take(base_dir: &Path) -> Result<Self, DaemonError> {
        Self::take_waiting(base_dir, std::thread::sleep)
    }

    fn take_waiting(base_dir: &Path, mut wait: impl FnMut(Duration)) -> Result<Self, DaemonError> {
        let folder = base_dir.join("run");
        private_folder(&folder)?;
        let path = folder.join("daemon.lock");
        let failed = |source| DaemonError::Io {
            doing: "lock",
            path: path.clone(),
            source,
        };
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            let mut pid = String::new();
            // It may have been written over since the last look. What cannot be read is nobody's.
            let _ = file.rewind().and_then(|()| file.read_to_string(&mut pid));
            let pid = pid.trim();
            let lives = is_process(pid);
            if lives && waited >= MOMENT {
                let by = format!(" (process {pid})");
                return Err(DaemonError::Runs(base_dir.to_owned(), by));
            }
            if waited >= OUTLIVED {
                return Err(DaemonError::Held(path));
            }
            wait(BETWEEN_TRIES);
            waited += BETWEEN_TRIES;
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(Self(file))
    }
}

/// Whether this is the number of a process.
fn is_process(pid: &str) -> bool {
    let pid = pid.parse().ok().and_then(rustix::process::Pid::from_raw);
    // One of somebody else is one, too.
    pid.is_some_and(|pid| {
        !matches!(
            rustix::process::test_kill_process(pid),
            Err(rustix::io::Errno::SRCH)
        )
    })
}

/// Who holds the lock of a base directory.
#[derive(Debug)]
pub enum Holder {
    /// A daemon, wherever it listens: its process.
    Daemon(String),
    /// Something else, or a daemon that has not written its number yet: there is no process of the number in it.
    Stranger(DaemonError),
}

/// Who holds the lock of a base directory; `None`: nobody does.
pub fn lock_holder(base_dir: &Path) -> Option<Holder> {
    let path = base_dir.join("run/daemon.lock");
    let mut file = File::open(&path).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {}
        _ => return None,
    }
    let mut pid = String::new();
    // What cannot be read is nobody's.
    let _ = file.read_to_string(&mut pid);
    let pid = pid.trim();
    Some(match is_process(pid) {
        true => Holder::Daemon(pid.to_owned()),
        false => Holder::Stranger(DaemonError::Held(path)),
    })
}

/// The socket that the daemon listens on.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Listens at `path`, which nobody else can reach at any moment: the socket is made in a folder of its own and moved into place
    /// when it is private. A socket that a dead daemon left is replaced; the lock must be held.
    pub(super) fn bind(path: &Path) -> Result<Self, DaemonError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        match fs::symlink_metadata(path) {
            Ok(meta) if !meta.file_type().is_socket() => {
                return Err(DaemonError::NoSocket(path.to_owned()));
            }
            _ => {}
        }
        if !folder.exists() {
            private_folder(folder)?;
        }
        let failed = |source| DaemonError::Io {
            doing: "listen on",
            path: path.to_owned(),
            source,
        };
        let nursery = tempfile::Builder::new()
            // No longer than the socket's own name: what fits at the end fits here.
            .prefix(NURSERY)
            .rand_bytes(NURSERY_MARK)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(folder)
            .map_err(failed)?;
        let born = nursery.path().join("s");
        let longest = born
            .as_os_str()
            .len()
            .max(path.as_os_str().as_bytes().len());
        if longest > LONGEST_PATH {
            return Err(DaemonError::LongPath(path.to_owned()));
        }
        let listener = UnixListener::bind(&born).map_err(failed)?;
        fs::set_permissions(&born, Permissions::from_mode(0o600)).map_err(failed)?;
        fs::rename(&born, path).map_err(failed)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }

    /// The next connection of the same user. Others are turned away without a word.
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            let peer = stream.peer_cred()?;
            if peer.uid() == rustix::process::geteuid().as_raw() {
                return Ok(stream);
            }
            tracing::warn!(uid = peer.uid(), "a connection of another user was refused");
        }
    }

    /// Takes the socket's file away.
    pub(super) fn remove(&self) {
        // A file that somebody took away already is gone all the same.
        let _ = fs::remove_file(&self.path);
    }
}

/// Takes away the folders in which killed daemons were about to make their sockets. The lock of the base directory must be held.
pub(super) fn sweep(base_dir: &Path) {
    let entries = fs::read_dir(base_dir.join("run")).into_iter().flatten();
    for folder in entries.flatten() {
        let name = folder.file_name();
        let named = name.len() == NURSERY.len() + NURSERY_MARK && name.as_bytes().starts_with(b".");
        let born = folder.path().join("s");
        let is_socket = fs::symlink_metadata(&born).is_ok_and(|meta| meta.file_type().is_socket());
        if named && is_socket {
            // What cannot be taken away harms nothing.
            let _ = fs::remove_file(born);
        }
        if named {
            // Only an empty folder goes.
            let _ = fs::remove_dir(folder.path());
        }
    }
}

/// Makes a folder that only its owner can look into; one that is there is made so.
fn private_folder(path: &Path) -> Result<(), DaemonError> {
    let failed = |source| DaemonError::Io {
        doing: "make",
        path: path.to_owned(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed)?;
    fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn socket_and_folder_are_private_and_a_stale_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("base/run/wl.sock");
        fs::create_dir_all(dir.path().join("base/run")).unwrap();
        fs::set_permissions(path.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
        let _lock = Lock::take(&dir.path().join("base")).unwrap();
        drop(Socket::bind(&path).unwrap());
        assert!(path.exists(), "a daemon that died leaves it");
        let socket = Socket::bind(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        let (accepted, _client) = tokio::join!(socket.accept(), UnixStream::connect(&path));
        accepted.unwrap();
        let names = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(names, 2, "socket and lock, no nursery");
        socket.remove();
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_daemon_left_is_taken_away_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        for folder in [".abc", ".def", ".mine", "abcd", ".ful"] {
            fs::create_dir_all(run.join(folder)).unwrap();
        }
        for at in [".abc/s", "s"] {
            drop(std::os::unix::net::UnixListener::bind(run.join(at)).unwrap());
        }
        fs::write(run.join(".ful/s"), "no socket").unwrap();
        fs::write(run.join(".xyz"), "a file").unwrap();
        sweep(dir.path());
        let names = fs::read_dir(&run).unwrap();
        let mut names: Vec<_> = names.map(|it| it.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".ful", ".mine", ".xyz", "abcd", "s"]);
        sweep(&dir.path().join("nothing"));
    }

    #[test]
    fn only_one_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::take(dir.path()).unwrap();
        let error = Lock::take(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        // As a child that was not yet told to close it.
        let inherited = lock.0.try_clone().unwrap();
        drop(lock);
        Lock::take(dir.path()).unwrap();
        drop(inherited);
    }

    /// A base directory whose daemon died, and what still holds its lock.
    fn outlived() -> (tempfile::TempDir, File) {
        let dir = tempfile::tempdir().unwrap();
        let mut lock = Lock::take(dir.path()).unwrap();
        let mut died = std::process::Command::new("true").spawn().unwrap();
        died.wait().unwrap();
        lock.0.set_len(0).unwrap();
        lock.0.rewind().unwrap();
        writeln!(lock.0, "{}", died.id()).unwrap();
        // The dead do not give it back themselves.
        let held = lock.0.try_clone().unwrap();
        std::mem::forget(lock);
        (dir, held)
    }

    #[test]
    fn a_daemon_waits_for_what_a_dead_one_had_started() {
        let (dir, held) = outlived();
        let (mut waits, mut held) = (0, Some(held));
        let lock = Lock::take_waiting(dir.path(), |_| {
            waits += 1;
            if waits == 300 {
                held.take().unwrap().unlock().unwrap();
            }
        });
        lock.unwrap();
        assert_eq!(waits, 300);
    }

    #[test]
    fn it_does_not_wait_for_ever_and_says_what_is_in_the_way() {
        let (dir, _held) = outlived();
        let mut waited = Duration::ZERO;
        let error = Lock::take_waiting(dir.path(), |time| waited += time).unwrap_err();
        assert_eq!(waited, OUTLIVED);
        let error = error.to_string();
        assert!(
            error.contains("daemon.lock") && error.contains("fuser"),
            "{error}"
        );
    }

    #[test]
    fn where_a_daemon_lives_it_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let _lock = Lock::take(dir.path()).unwrap();
        let mut waited = Duration::ZERO;
        let refused = Lock::take_waiting(dir.path(), |time| waited += time);
        assert!(matches!(refused, Err(DaemonError::Runs(..))));
        assert_eq!(waited, MOMENT);
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone_and_long_paths_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wl.sock");
        fs::write(&path, "mine").unwrap();
        assert!(matches!(Socket::bind(&path), Err(DaemonError::NoSocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        let long = dir.path().join("x".repeat(120));
        assert!(matches!(Socket::bind(&long), Err(DaemonError::LongPath(_))));
    }
}
