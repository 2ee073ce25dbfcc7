//! Our own folder `.wl` at the root, its lock, and the folders in it.
//!
//! ```text
//! .wl/lock                 held while a batch is published, while leftovers are tidied up and while the trash is looked through
//! .wl/stage/RUN/lock       held as long as the session lives
//! .wl/stage/RUN/journal    what is about to be displaced, durable before it is
//! .wl/stage/RUN/N.part     staged content
//! .wl/stage/RUN/N.swap     content that takes part in an exchange: ours before, the displaced version after
//! .wl/trash/RUN/N          a displaced version
//! .wl/trash/RUN/index      where it was and why it is here
//! .wl/trash/RUN/checked    the folder was looked through for late writers
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, Dir, FlockOperation, Mode as Bits, OFlags};
use rustix::io::Errno;
use wl_core::model::RESERVED;
use wl_core::storage::{ErrorKind, Result, StorageError};

use super::dir::{READ, open_step};
use super::root::Root;
use super::sys::{self, Sys};

/// Opens `.wl`; `None` if there is none.
pub(super) fn open(root: &Root) -> Result<Option<OwnedFd>> {
    match open_step(root.fd.as_fd(), RESERVED, READ) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::LOOP | Errno::NOTDIR) => Err(StorageError::new(
            ErrorKind::Config,
            "open",
            "`.wl` is not a folder, but wl keeps its own things there; move it away",
        )
        .on(&root.location)),
        Err(errno) => Err(sys::os_error("open `.wl`", errno).on(&root.location)),
    }
}

/// Opens `.wl`, which is made if there is none.
pub(super) fn make(root: &Root) -> Result<OwnedFd> {
    match fs::mkdirat(&root.fd, RESERVED, Bits::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(sys::os_error("make `.wl`", errno).on(&root.location)),
    }
    match open(root)? {
        Some(folder) => Ok(folder),
        None => Err(sys::os_error("make `.wl`", Errno::NOENT).on(&root.location)),
    }
}

/// Opens a folder in ours, which is made if there is none.
pub(super) fn make_in(folder: BorrowedFd<'_>, name: &str) -> Sys<OwnedFd> {
    match fs::mkdirat(folder, name, Bits::RWXU) {
        Ok(()) | Err(Errno::EXIST) => open_step(folder, name, READ),
        Err(errno) => Err(errno),
    }
}

/// Opens a folder in ours; `None` if there is none.
pub(super) fn open_in(folder: BorrowedFd<'_>, name: &str) -> Sys<Option<OwnedFd>> {
    match open_step(folder, name, READ) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Waits for the storage's lock; it is let go when the result is dropped.
pub(super) fn lock(wl: BorrowedFd<'_>) -> Sys<OwnedFd> {
    let file = open_lock(wl)?;
    loop {
        match fs::flock(&file, FlockOperation::LockExclusive) {
            Err(Errno::INTR) => {}
            other => return other.map(|()| file),
        }
    }
}

/// Takes the lock of a session; `None` if that session lives.
pub(super) fn try_lock(run: BorrowedFd<'_>) -> Sys<Option<OwnedFd>> {
    let file = open_lock(run)?;
    match fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn open_lock(folder: BorrowedFd<'_>) -> Sys<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    fs::openat(folder, "lock", flags, Bits::RUSR | Bits::WUSR)
}

/// Whether the session `run` lives.
pub(super) fn is_live(wl: BorrowedFd<'_>, run: &str) -> Sys<bool> {
    let Some(stage) = open_in(wl, "stage")? else {
        return Ok(false);
    };
    match open_in(stage.as_fd(), run)? {
        Some(folder) => Ok(try_lock(folder.as_fd())?.is_none()),
        None => Ok(false),
    }
}

/// The names in one of our folders that are text; others are not ours.
pub(super) fn names(folder: &OwnedFd) -> impl Iterator<Item = Sys<String>> {
    let (dir, failed) = match Dir::read_from(folder) {
        Ok(dir) => (Some(dir), None),
        Err(errno) => (None, Some(Err(errno))),
    };
    let entries = dir.into_iter().flatten().filter_map(|entry| match entry {
        Ok(entry) => match entry.file_name().to_str() {
            Ok("." | "..") | Err(_) => None,
            Ok(name) => Some(Ok(name.to_owned())),
        },
        Err(errno) => Some(Err(errno)),
    });
    failed.into_iter().chain(entries)
}

/// Opens a file of ours for adding lines.
pub(super) fn open_lines(folder: BorrowedFd<'_>, name: &str) -> Sys<OwnedFd> {
    let flags =
        OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    fs::openat(folder, name, flags, Bits::RUSR | Bits::WUSR)
}

/// Whether `run` can be the name of a run.
pub(super) fn is_run(run: &str) -> bool {
    !run.is_empty()
        && run.len() <= 128
        && run.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}
