//! The operations that the backend is made of, and nothing else of the system: what an open file or folder can be asked.
//!
//! All of them go through [`Fd`]. In production that is a file descriptor and each method one system call. Under test it can also be a
//! handle of the model file system in [`model`], which knows what a crash may take and can be stopped before and after every call. An enum
//! and no trait: with one variant it costs nothing, and nothing in the backend becomes generic.
//!
//! Not here: the watcher's inotify, which is not simulated on this level, and the mount table.

mod entries;
mod lock;
#[cfg(any(test, feature = "testing"))]
pub mod model;

use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::buffer::spare_capacity;
use rustix::fs::{
    self, Access, AtFlags, Mode as Bits, OFlags, RenameFlags, ResolveFlags, StatxFlags, Timespec,
    Timestamps, UTIME_OMIT,
};
use rustix::io::Errno;
use wl_core::model::Timestamp;

use super::sys::{Stat, Sys};
pub(super) use entries::buffer;
pub(super) use lock::Locked;

/// An open file or folder.
#[derive(Debug)]
pub(super) enum Fd {
    /// Of this machine.
    Real(OwnedFd),
    /// Of the model file system.
    #[cfg(any(test, feature = "testing"))]
    Model(model::Open),
}

/// Where work that may block is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Runs {
    /// On a thread for such work.
    Elsewhere,
    /// At once: nothing of the model blocks, and the order of its calls has to come again.
    Here,
}

/// A file system's id (0 where it has none) and what whoever is not root can still write to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Volume {
    pub(super) id: u64,
    pub(super) free: u64,
}

/// Where a root is.
#[derive(Debug)]
pub(super) enum Place {
    /// An absolute path of this machine without links in it.
    Real(PathBuf),
    /// The root of a model.
    #[cfg(any(test, feature = "testing"))]
    Model(model::Disk),
}

impl Place {
    /// Opens what is there now.
    pub(super) fn open(&self) -> Sys<Fd> {
        match self {
            Self::Real(path) => Fd::open_root(path),
            #[cfg(any(test, feature = "testing"))]
            Self::Model(disk) => disk.open_root().map(Fd::Model),
        }
    }

    /// The path; `None` for what is not of this machine.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Real(path) => Some(path),
            #[cfg(any(test, feature = "testing"))]
            Self::Model(_) => None,
        }
    }

    /// The clock, for comparing with file times.
    pub(super) fn now(&self) -> Timestamp {
        match self {
            Self::Real(_) => real_time(),
            #[cfg(any(test, feature = "testing"))]
            Self::Model(disk) => disk.machine().now(),
        }
    }

    /// Where work on what is there is done.
    pub(super) fn runs(&self) -> Runs {
        match self {
            Self::Real(_) => Runs::Elsewhere,
            #[cfg(any(test, feature = "testing"))]
            Self::Model(_) => Runs::Here,
        }
    }
}

/// What is asked of every entry, and nothing more.
const WANTED: StatxFlags = StatxFlags::TYPE
    .union(StatxFlags::MODE)
    .union(StatxFlags::INO)
    .union(StatxFlags::SIZE)
    .union(StatxFlags::MTIME)
    .union(StatxFlags::CTIME)
    .union(StatxFlags::BTIME)
    .union(StatxFlags::MNT_ID);

const NO_FOLLOW: AtFlags = AtFlags::SYMLINK_NOFOLLOW.union(AtFlags::NO_AUTOMOUNT);

/// `$real` on a file descriptor, `$model` on a handle of the model.
macro_rules! on {
    ($fd:expr, $real:ident => $do:expr, $model:ident => $model_do:expr) => {
        match $fd {
            Fd::Real($real) => $do,
            #[cfg(any(test, feature = "testing"))]
            Fd::Model($model) => $model_do,
        }
    };
}

/// Opening.
impl Fd {
    /// Opens the folder at an absolute path that has no link in it.
    pub(super) fn open_root(path: &Path) -> Sys<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = match fs::openat2(
            fs::CWD,
            path,
            flags,
            Bits::empty(),
            ResolveFlags::NO_SYMLINKS,
        ) {
            Err(Errno::NOSYS) => fs::open(path, flags | OFlags::NOFOLLOW, Bits::empty()),
            other => other,
        };
        fd.map(Self::Real)
    }

    /// Opens the entry `name` of this folder, or makes a file there.
    pub(super) fn open_at(&self, name: &str, flags: OFlags, bits: Bits) -> Sys<Self> {
        let flags = flags | OFlags::CLOEXEC;
        on!(self,
            fd => fs::openat(fd, name, flags, bits).map(Self::Real),
            open => open.open_at(name, flags, bits).map(Self::Model))
    }

    /// Opens what is at `path` below this folder; a link anywhere in it is an error, as is leaving the folder. `NOSYS` where the system
    /// cannot.
    pub(super) fn open_beneath(&self, path: &str, flags: OFlags) -> Sys<Self> {
        let flags = flags | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        on!(self,
            fd => fs::openat2(fd, path, flags, Bits::empty(), resolve).map(Self::Real),
            open => open.open_beneath(path, flags).map(Self::Model))
    }
}

/// Looking.
impl Fd {
    /// The attributes of what is open.
    pub(super) fn stat(&self) -> Sys<Stat> {
        on!(self,
            fd => Ok(Stat::of(&fs::statx(fd, c"", AtFlags::EMPTY_PATH, WANTED)?)),
            open => open.stat())
    }

    /// The attributes of the entry `name`; a link is not followed.
    pub(super) fn stat_at(&self, name: &str) -> Sys<Stat> {
        on!(self,
            fd => Ok(Stat::of(&fs::statx(fd, name, NO_FOLLOW, WANTED)?)),
            open => open.stat_at(name))
    }

    /// The same, for names as the system gives them.
    pub(super) fn stat_raw(&self, name: &CStr) -> Sys<Stat> {
        on!(self,
            fd => Ok(Stat::of(&fs::statx(fd, name, NO_FOLLOW, WANTED)?)),
            open => open.stat_at(name.to_str().map_err(|_| Errno::NOENT)?))
    }

    /// The number of the mount that this is reached through; `None` where the system does not tell (Linux before 5.8).
    pub(super) fn mount_id(&self) -> Sys<Option<u64>> {
        on!(self,
            fd => {
                let told = fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
                Ok((told.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(told.stx_mnt_id))
            },
            open => open.stat().map(|stat| Some(stat.mount)))
    }

    /// Where the link `name` points, as bytes.
    pub(super) fn read_link_at(&self, name: &str) -> Sys<Vec<u8>> {
        on!(self,
            fd => Ok(fs::readlinkat(fd, name, Vec::new())?.into_bytes()),
            open => open.read_link_at(name))
    }

    /// The number that stands for the kind of file system.
    pub(super) fn magic(&self) -> Sys<i64> {
        on!(self, fd => Ok(fs::fstatfs(fd)?.f_type), open => open.magic())
    }

    /// The file system's id and free space.
    pub(super) fn volume(&self) -> Sys<Volume> {
        on!(self,
            fd => {
                let facts = fs::fstatvfs(fd)?;
                Ok(Volume {
                    id: facts.f_fsid,
                    free: facts.f_bavail.saturating_mul(facts.f_frsize),
                })
            },
            open => open.volume())
    }

    /// Whether this process may make entries in this folder.
    pub(super) fn is_writable(&self) -> bool {
        on!(self,
            fd => fs::accessat(fd, ".", Access::WRITE_OK, AtFlags::empty()).is_ok(),
            open => open.stat().is_ok())
    }

    /// The clock, for comparing with file times.
    pub(super) fn now(&self) -> Timestamp {
        on!(self, _fd => real_time(), open => open.now())
    }

    /// A number that no other process which is alive has.
    pub(super) fn process(&self) -> u64 {
        on!(self,
            _fd => rustix::process::getpid().as_raw_nonzero().get().unsigned_abs().into(),
            _open => 1)
    }

    /// Where work on this is done.
    pub(super) fn runs(&self) -> Runs {
        on!(self, _fd => Runs::Elsewhere, _open => Runs::Here)
    }

    /// A path that leads to exactly this; only for what is of this machine.
    pub(super) fn magic_link(&self) -> Sys<String> {
        on!(self,
            fd => Ok(link_to(fd)),
            _open => Err(Errno::NOSYS))
    }
}

/// Content.
impl Fd {
    /// Reads into `buffer`, possibly less than it holds.
    pub(super) fn read(&self, buffer: &mut [u8]) -> Sys<usize> {
        on!(self, fd => rustix::io::read(fd, buffer), open => open.read(buffer))
    }

    /// Reads into what `content` has allocated beyond its length.
    pub(super) fn read_more(&self, content: &mut Vec<u8>) -> Sys<usize> {
        on!(self,
            fd => rustix::io::read(fd, spare_capacity(content)),
            open => open.read_more(content))
    }

    /// Writes, possibly less than all.
    pub(super) fn write(&self, content: &[u8]) -> Sys<usize> {
        on!(self, fd => rustix::io::write(fd, content), open => open.write(content))
    }

    /// Writes at a place, possibly less than all.
    pub(super) fn write_at(&self, content: &[u8], at: u64) -> Sys<usize> {
        on!(self, fd => rustix::io::pwrite(fd, content, at), open => open.write_at(content, at))
    }

    /// Sets the size.
    pub(super) fn truncate(&self, size: u64) -> Sys<()> {
        on!(self, fd => fs::ftruncate(fd, size), open => open.truncate(size))
    }

    /// Says that it will be read from one end to the other. Only a hint.
    pub(super) fn will_be_read(&self) {
        on!(self,
            fd => {
                let _ = fs::fadvise(fd, 0, None, fs::Advice::Sequential);
            },
            _open => {})
    }
}

/// Names.
impl Fd {
    /// Makes a folder.
    pub(super) fn make_dir_at(&self, name: &str, bits: Bits) -> Sys<()> {
        on!(self, fd => fs::mkdirat(fd, name, bits), open => open.make_dir_at(name, bits))
    }

    /// Makes a symbolic link.
    pub(super) fn symlink_at(&self, target: &str, name: &str) -> Sys<()> {
        on!(self, fd => fs::symlinkat(target, fd, name), open => open.symlink_at(target, name))
    }

    /// Gives the entry `name` another name as well.
    pub(super) fn link_at(&self, name: &str, to: &Self, new: &str) -> Sys<()> {
        match (self, to) {
            (Self::Real(fd), Self::Real(to)) => fs::linkat(fd, name, to, new, AtFlags::empty()),
            #[cfg(any(test, feature = "testing"))]
            (Self::Model(open), Self::Model(to)) => open.link_at(name, to, new),
            #[cfg(any(test, feature = "testing"))]
            _ => Err(Errno::XDEV),
        }
    }

    /// Renames the entry `name`. Without flags, what has the new name is replaced.
    pub(super) fn rename_at(
        &self,
        name: &str,
        to: &Self,
        new: &str,
        flags: RenameFlags,
    ) -> Sys<()> {
        match (self, to) {
            (Self::Real(fd), Self::Real(to)) if flags.is_empty() => fs::renameat(fd, name, to, new),
            (Self::Real(fd), Self::Real(to)) => fs::renameat_with(fd, name, to, new, flags),
            #[cfg(any(test, feature = "testing"))]
            (Self::Model(open), Self::Model(to)) => open.rename_at(name, to, new, flags),
            #[cfg(any(test, feature = "testing"))]
            _ => Err(Errno::XDEV),
        }
    }

    /// Takes a name away from what is no folder.
    pub(super) fn unlink_at(&self, name: &str) -> Sys<()> {
        on!(self,
            fd => fs::unlinkat(fd, name, AtFlags::empty()),
            open => open.unlink_at(name))
    }

    /// Removes an empty folder.
    pub(super) fn remove_dir_at(&self, name: &str) -> Sys<()> {
        on!(self,
            fd => fs::unlinkat(fd, name, AtFlags::REMOVEDIR),
            open => open.remove_dir_at(name))
    }
}

/// Attributes.
impl Fd {
    /// Sets the modification time.
    pub(super) fn set_mtime(&self, mtime: Timestamp) -> Sys<()> {
        on!(self, fd => fs::futimens(fd, &times(mtime)), open => open.set_mtime(mtime))
    }

    /// Sets the modification time of the entry `name`, be it a link.
    pub(super) fn set_mtime_at(&self, name: &str, mtime: Timestamp) -> Sys<()> {
        on!(self,
            fd => fs::utimensat(fd, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW),
            open => open.set_mtime_at(name, mtime))
    }

    /// Sets the permission bits of an open file.
    pub(super) fn set_bits(&self, bits: u32) -> Sys<()> {
        on!(self,
            fd => fs::fchmod(fd, Bits::from_raw_mode(bits)),
            open => open.set_bits(bits))
    }

    /// Sets the permission bits of what a handle stands for that was opened with `PATH`; the link in `/proc` leads to exactly that.
    pub(super) fn set_bits_by_link(&self, bits: u32) -> Sys<()> {
        on!(self,
            fd => fs::chmod(link_to(fd), Bits::from_raw_mode(bits)),
            open => open.set_bits(bits))
    }
}

/// Durability and locks.
impl Fd {
    /// Makes content and attributes durable, or a folder's names.
    pub(super) fn sync(&self) -> Sys<()> {
        on!(self, fd => fs::fsync(fd), open => open.sync())
    }

    /// Makes content durable, and of the attributes what is needed to read it.
    pub(super) fn sync_data(&self) -> Sys<()> {
        on!(self, fd => fs::fdatasync(fd), open => open.sync_data())
    }

    /// Makes all of the file system durable.
    pub(super) fn sync_all(&self) -> Sys<()> {
        on!(self, fd => fs::syncfs(fd), open => open.sync_all())
    }
}

impl io::Read for Fd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(Self::read(self, buffer)?)
    }
}

fn link_to(fd: &OwnedFd) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn real_time() -> Timestamp {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => Timestamp {
            secs: since.as_secs() as i64,
            nanos: since.subsec_nanos(),
        },
        Err(_) => Timestamp { secs: 0, nanos: 0 },
    }
}

fn times(mtime: Timestamp) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime.secs,
            tv_nsec: mtime.nanos.into(),
        },
    }
}
