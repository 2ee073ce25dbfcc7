//! The few system calls that the backend is made of, with attributes in our own words.

use std::io;

use rustix::fs::{self, FileType, Mode as Bits, OFlags, RenameFlags, StatxFlags};
use rustix::io::Errno;
use wl_core::model::{ContentHash, FileId, Hasher, Kind, Timestamp};
use wl_core::storage::{ErrorKind, StorageError};

use super::kernel::Fd;

/// What a system call gives.
pub(super) type Sys<T> = Result<T, Errno>;

/// One read or write moves this much at most.
pub(super) const PIECE: usize = 1 << 20;

/// An entry's attributes as the system tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) ino: u64,
    pub(super) size: u64,
    pub(super) mtime: Timestamp,
    pub(super) ctime: Timestamp,
    pub(super) mode: u32,
    pub(super) dev: u64,
    /// When the inode was made, in nanoseconds; 0 where the file system does not tell.
    pub(super) born: u64,
    /// The number of the mount that it was reached through; 0 where the system does not tell (Linux before 5.8).
    pub(super) mount: u64,
}

impl Stat {
    pub(super) fn of(raw: &fs::Statx) -> Self {
        let time = |t: fs::StatxTimestamp| Timestamp {
            secs: t.tv_sec,
            nanos: t.tv_nsec,
        };
        Self {
            ino: raw.stx_ino,
            size: raw.stx_size,
            mtime: time(raw.stx_mtime),
            ctime: time(raw.stx_ctime),
            mode: u32::from(raw.stx_mode),
            dev: (u64::from(raw.stx_dev_major) << 32) | u64::from(raw.stx_dev_minor),
            born: match raw.stx_mask & StatxFlags::BTIME.bits() {
                0 => 0,
                _ => (raw.stx_btime.tv_sec as u64)
                    .wrapping_mul(1_000_000_000)
                    .wrapping_add(u64::from(raw.stx_btime.tv_nsec)),
            },
            mount: match raw.stx_mask & StatxFlags::MNT_ID.bits() {
                0 => 0,
                _ => raw.stx_mnt_id,
            },
        }
    }

    /// What stays the same when it is renamed and never comes again. The inode number alone would: file systems give it to the
    /// next file. `None` where the time of birth is not told.
    ///
    /// The number comes first: files that are made together have numbers close to each other, so an index of ids is written in few places
    /// when thousands come. What is there at one time has ids of its own; that of a number that comes again is another one but in one of
    /// sixteen million cases, and then size and time would have to be the same, too, for a move to be seen.
    pub(super) fn file_id(&self) -> Option<FileId> {
        let mixed = (self.born ^ self.ino.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let id = (self.ino << 24) ^ (mixed >> 40);
        (self.born != 0).then_some(FileId(id))
    }

    /// File, folder or link; `None` for anything else.
    pub(super) fn kind(&self) -> Option<Kind> {
        match FileType::from_raw_mode(self.mode) {
            FileType::RegularFile => Some(Kind::File),
            FileType::Directory => Some(Kind::Folder),
            FileType::Symlink => Some(Kind::Link),
            _ => None,
        }
    }

    /// Whether this is the same version as `earlier`. A rename changes the ctime, so that is not looked at.
    pub(super) fn same_version(&self, earlier: &Self) -> bool {
        self.kind() == earlier.kind() && self.stamp() == earlier.stamp()
    }

    /// What of the attributes survives a rename and changes with the content.
    pub(super) fn stamp(&self) -> Stamp {
        Stamp {
            ino: self.ino,
            size: self.size,
            mtime: self.mtime,
        }
    }
}

/// Inode, size and modification time: what survives our own rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) ino: u64,
    pub(super) size: u64,
    pub(super) mtime: Timestamp,
}

impl Stamp {
    /// As the note of a staged file.
    pub(super) fn to_note(self) -> Box<str> {
        let Timestamp { secs, nanos } = self.mtime;
        format!("{} {} {secs} {nanos}", self.ino, self.size).into()
    }

    /// The inverse of [`Stamp::to_note`].
    pub(super) fn from_note(note: &str) -> Option<Self> {
        let mut parts = note.split(' ');
        Some(Self {
            ino: parts.next()?.parse().ok()?,
            size: parts.next()?.parse().ok()?,
            mtime: Timestamp {
                secs: parts.next()?.parse().ok()?,
                nanos: parts.next()?.parse().ok()?,
            },
        })
    }
}

/// The attributes of `name` in `folder`; a link is not followed.
pub(super) fn stat_at(folder: &Fd, name: &str) -> Sys<Stat> {
    folder.stat_at(name)
}

/// The attributes of an open file.
pub(super) fn stat_fd(fd: &Fd) -> Sys<Stat> {
    fd.stat()
}

/// Where the link `name` points, as bytes.
pub(super) fn read_link(folder: &Fd, name: &str) -> Sys<Vec<u8>> {
    folder.read_link_at(name)
}

/// Opens a file for reading. Neither a link nor a pipe put in its place can lead elsewhere or block.
pub(super) fn open_file(folder: &Fd, name: &str) -> Sys<Fd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    folder.open_at(name, flags, Bits::empty())
}

/// Reads until `buffer` is full or the file ends; how much it was.
pub(super) fn read_full(fd: &Fd, buffer: &mut [u8]) -> Sys<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match fd.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes all of `content`.
pub(super) fn write_all(fd: &Fd, mut content: &[u8]) -> Sys<()> {
    while !content.is_empty() {
        match fd.write(content) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(written) => content = &content[written..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The hash of `name` in `folder` and its attributes, which were the same before and after; `None` if they were not.
/// `go_on` is asked once a MiB.
pub(super) fn hash_at(
    folder: &Fd,
    name: &str,
    go_on: &dyn Fn() -> bool,
) -> Sys<Option<(ContentHash, Stat)>> {
    let file = open_file(folder, name)?;
    let before = stat_fd(&file)?;
    if before.kind() != Some(Kind::File) {
        return Ok(None);
    }
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; PIECE.min(before.size as usize + 1)];
    loop {
        if !go_on() {
            return Err(Errno::CANCELED);
        }
        let read = read_full(&file, &mut buffer)?;
        // After each piece: what changed meanwhile is not read on.
        if stat_fd(&file)? != before {
            return Ok(None);
        }
        if read == 0 {
            return Ok(Some((hasher.finish(), before)));
        }
        hasher.update(&buffer[..read]);
    }
}

/// How renames can be done here: tried, not guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Renames {
    /// Two names can be exchanged.
    pub(super) exchange: bool,
    /// A rename can refuse to replace.
    pub(super) no_replace: bool,
}

impl Renames {
    /// All that a modern file system can.
    pub(super) const ALL: Self = Self {
        exchange: true,
        no_replace: true,
    };

    /// What every file system can.
    pub(super) const NONE: Self = Self {
        exchange: false,
        no_replace: false,
    };

    /// Moves an entry to a name where nothing may be (`EXIST` otherwise). Without the system's help: a second hard link,
    /// then the first is taken away; only for names in our own hands, so that no one can change it in between.
    pub(super) fn move_new(self, from: At<'_>, to: At<'_>) -> Sys<()> {
        if self.no_replace {
            return from.0.rename_at(from.1, to.0, to.1, RenameFlags::NOREPLACE);
        }
        from.0.link_at(from.1, to.0, to.1)?;
        from.0.unlink_at(from.1)
    }
}

/// A name in an open folder.
pub(super) type At<'a> = (&'a Fd, &'a str);

/// Exchanges two names.
pub(super) fn exchange(one: At<'_>, two: At<'_>) -> Sys<()> {
    one.0.rename_at(one.1, two.0, two.1, RenameFlags::EXCHANGE)
}

/// Whether there was no room, on the file system or in somebody's share of it.
pub(super) fn is_full(errno: Errno) -> bool {
    matches!(errno, Errno::NOSPC | Errno::DQUOT)
}

/// A failed system call as a storage error whose reason says what to do.
pub(super) fn os_error(operation: &'static str, errno: Errno) -> StorageError {
    let (kind, hint) = match errno {
        Errno::ACCESS | Errno::PERM => (
            ErrorKind::Denied,
            "; check the permissions of the entry and of the folders above it",
        ),
        Errno::ROFS => (ErrorKind::Denied, "; mount it writable"),
        Errno::NOSPC | Errno::DQUOT => (ErrorKind::Full, "; free some space"),
        Errno::FBIG => (
            ErrorKind::Full,
            "; the file system cannot hold a file this large",
        ),
        Errno::MFILE | Errno::NFILE => (ErrorKind::Other, "; raise `ulimit -n`"),
        Errno::NAMETOOLONG => (ErrorKind::Unrepresentable, "; give it a shorter name"),
        Errno::XDEV => (
            ErrorKind::Unsupported,
            "; another file system is mounted here: sync it as a storage of its own",
        ),
        Errno::LOOP | Errno::NOTDIR => (ErrorKind::NoParent, ""),
        Errno::CANCELED => {
            return StorageError::new(ErrorKind::Cancelled, operation, "told to stop");
        }
        _ => return StorageError::io(operation, errno.into()),
    };
    let plain = io::Error::from(errno);
    let told = io::Error::new(plain.kind(), format!("{plain}{hint}"));
    StorageError::io(operation, told).with_kind(kind)
}
