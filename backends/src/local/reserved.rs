//! Our own folder `.wl` at the root, its lock, and the folders in it.
//!
//! ```text
//! .wl/lock                 held while a batch is published, while leftovers are tidied up and while the trash is looked through
//! .wl/stage/RUN/lock       held as long as the session lives
//! .wl/stage/RUN/journal    what is about to be published or displaced, durable before it is
//! .wl/stage/RUN/N.part     staged content; after a power cut also what somebody wrote to it when it was published
//! .wl/stage/RUN/N.swap     content that takes part in an exchange: ours before, the displaced version after
//! .wl/trash/RUN/N          a displaced version
//! .wl/trash/RUN/index      where it was and why it is here
//! .wl/trash/RUN/checked    the folder was looked through for late writers
//! ```

use rustix::fs::{Mode as Bits, OFlags};
use rustix::io::Errno;
use wl_core::model::RESERVED;
use wl_core::storage::{ErrorKind, Result, StorageError};

use super::dir::{READ, open_step};
use super::kernel::{Fd, Locked};
use super::root::Root;
use super::sys::{self, Sys};

/// Where runs stage.
pub(super) const STAGE: &str = ".wl/stage";
/// Where displaced versions are.
pub(super) const TRASH: &str = ".wl/trash";

/// Opens `.wl`; `None` if there is none.
pub(super) fn open(root: &Root) -> Result<Option<Fd>> {
    match open_step(&root.fd, RESERVED, READ) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(error("open `.wl`", RESERVED, errno, &root.location)),
    }
}

/// What goes wrong with the folder of ours that is at `place`. That a link or a file is there is no fault of the system's, and nothing that
/// passes by itself.
pub(super) fn error(
    operation: &'static str,
    place: &str,
    errno: Errno,
    location: &str,
) -> StorageError {
    let error = match errno {
        Errno::LOOP | Errno::NOTDIR => StorageError::new(
            ErrorKind::Other,
            operation,
            format!(
                "a link or a file is where wl keeps a folder of its own; move `{place}` away, then run again"
            ),
        ),
        errno => sys::os_error(operation, errno),
    };
    with_way_out(error.on(location), location)
}

/// Says what makes room, where there is none for what has to be done in a folder of ours.
pub(super) fn with_way_out(error: StorageError, location: &str) -> StorageError {
    match error.kind() {
        ErrorKind::Full => error.with_advice(&format!(
            "`wl trash empty {location}` gives up what is in its trash"
        )),
        _ => error,
    }
}

/// Opens `.wl`, which is made if there is none.
pub(super) fn make(root: &Root) -> Result<Fd> {
    match root.fd.make_dir_at(RESERVED, Bits::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(error("make `.wl`", RESERVED, errno, &root.location)),
    }
    match open(root)? {
        Some(folder) => Ok(folder),
        None => Err(error("make `.wl`", RESERVED, Errno::NOENT, &root.location)),
    }
}

/// Opens a folder in ours, which is made if there is none.
pub(super) fn make_in(folder: &Fd, name: &str) -> Sys<Fd> {
    match folder.make_dir_at(name, Bits::RWXU) {
        Ok(()) | Err(Errno::EXIST) => open_step(folder, name, READ),
        Err(errno) => Err(errno),
    }
}

/// Opens a folder in ours; `None` if there is none.
pub(super) fn open_in(folder: &Fd, name: &str) -> Sys<Option<Fd>> {
    match open_step(folder, name, READ) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Waits for the storage's lock; it is let go when the result is dropped.
pub(super) fn lock(wl: &Fd) -> Sys<Locked> {
    open_lock(wl)?.lock(true)
}

/// Takes the lock of a session; `None` if that session lives.
pub(super) fn try_lock(run: &Fd) -> Sys<Option<Locked>> {
    unless_held(open_lock(run)?)
}

fn unless_held(file: Fd) -> Sys<Option<Locked>> {
    match file.lock(false) {
        Ok(lock) => Ok(Some(lock)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn open_lock(folder: &Fd) -> Sys<Fd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW;
    folder.open_at("lock", flags, Bits::RUSR | Bits::WUSR)
}

/// Whether the session `run` lives.
pub(super) fn is_live(wl: &Fd, run: &str) -> Sys<bool> {
    let Some(stage) = open_in(wl, "stage")? else {
        return Ok(false);
    };
    let Some(folder) = open_in(&stage, run)? else {
        return Ok(false);
    };
    // Not made where there is none: there may be no room for it, and who lives has one.
    let flags = OFlags::RDWR | OFlags::NOFOLLOW;
    let lock = match folder.open_at("lock", flags, Bits::empty()) {
        Err(Errno::NOENT) => return Ok(false),
        lock => lock?,
    };
    Ok(unless_held(lock)?.is_none())
}

/// Opens a file of ours for adding lines.
pub(super) fn open_lines(folder: &Fd, name: &str) -> Sys<Fd> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW;
    folder.open_at(name, flags, Bits::RUSR | Bits::WUSR)
}

/// Whether `run` can be the name of a run.
pub(super) fn is_run(run: &str) -> bool {
    !run.is_empty()
        && run.len() <= 128
        && run.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}
