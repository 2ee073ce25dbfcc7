//! The calls of fanotify, and what the system tells of a group in `/proc`.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};
use rustix::fs::CWD;
use rustix::io::Errno;

use crate::local::kernel::Fd;
use crate::local::sys::Sys;

/// Folders are told by their handles, with the name in them (`FAN_REPORT_DFID_NAME`, which nix does not name).
const BY_HANDLE_AND_NAME: InitFlags = InitFlags::from_bits_retain(0x0c00);

/// What is asked to be told of a whole file system. Not who opens or reads.
const WANTED: MaskFlags = MaskFlags::FAN_CREATE
    .union(MaskFlags::FAN_DELETE)
    .union(MaskFlags::FAN_RENAME)
    .union(MaskFlags::FAN_MODIFY)
    .union(MaskFlags::FAN_CLOSE_WRITE)
    .union(MaskFlags::FAN_ATTRIB)
    .union(MaskFlags::FAN_ONDIR);
/// Of the root also what becomes of itself. Of the whole file system that would be every removal twice.
const OF_ROOT: MaskFlags = MaskFlags::FAN_MOVE_SELF
    .union(MaskFlags::FAN_DELETE_SELF)
    .union(MaskFlags::FAN_ONDIR);

/// What is marked, and what is told of it.
#[derive(Debug)]
pub(super) struct Group(Fanotify);

impl Group {
    /// Nothing marked so far. `PERM` without the right to it.
    pub(super) fn new() -> Sys<Self> {
        // With the limit of events that all have: without one a storm would fill the memory.
        init(BY_HANDLE_AND_NAME).map(Self)
    }

    /// Readable when there are events.
    pub(super) fn readable(&self) -> Sys<OwnedFd> {
        let copied = self.0.as_fd().try_clone_to_owned();
        copied.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }

    /// Marks the file system that a folder is on.
    pub(super) fn mark_file_system(&self, of: &Fd) -> Sys<()> {
        mark(&self.0, MarkFlags::FAN_MARK_FILESYSTEM, WANTED, of)
    }

    /// Marks the root.
    pub(super) fn mark_root(&self, root: &Fd) -> Sys<()> {
        mark(&self.0, MarkFlags::FAN_MARK_INODE, OF_ROOT, root)
    }

    /// The devices of the file systems that are marked. The mark of one that is unmounted goes with it.
    pub(super) fn marked(&self) -> Sys<Vec<u64>> {
        let told = told_of(&self.0)?;
        let marks = told.lines().filter(|line| {
            let is_mark = line.starts_with("fanotify sdev:");
            is_mark && field(line, "mask:").is_some()
        });
        Ok(marks.filter_map(device).collect())
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Who a folder is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// The device of its file system, as the system knows it itself.
    pub(super) device: u64,
    /// Its handle as it stands in a record: length, type and bytes.
    pub(super) handle: Vec<u8>,
}

/// Tells the handles of folders: the system shows the handle of what is marked. The call for it needs unsafe code.
#[derive(Debug)]
pub(super) struct Scribe(Fanotify);

impl Scribe {
    pub(super) fn new() -> Sys<Self> {
        init(InitFlags::empty()).map(Self)
    }

    /// Who this folder is; `OPNOTSUPP` where its file system has no handles.
    pub(super) fn identify(&self, folder: &Fd) -> Sys<Identity> {
        // A mark that says what to ignore: there will never be an event for it.
        let ignore = MarkFlags::FAN_MARK_INODE | MarkFlags::FAN_MARK_IGNORED_MASK;
        mark(&self.0, ignore, MaskFlags::FAN_MODIFY, folder)?;
        let told = told_of(&self.0);
        let none = MaskFlags::empty();
        let cleared = self.0.mark(MarkFlags::FAN_MARK_FLUSH, none, CWD, Some("."));
        cleared.map_err(errno)?;
        let told = told?;
        let mut lines = told
            .lines()
            .filter(|line| line.starts_with("fanotify ino:"));
        match (lines.next().and_then(identity), lines.next()) {
            (Some(identity), None) => Ok(identity),
            _ => Err(Errno::OPNOTSUPP),
        }
    }
}

fn init(also: InitFlags) -> Sys<Fanotify> {
    let flags = InitFlags::FAN_CLASS_NOTIF | InitFlags::FAN_CLOEXEC | InitFlags::FAN_NONBLOCK;
    let files = EventFFlags::empty();
    Fanotify::init(flags | also, files).map_err(errno)
}

fn mark(group: &Fanotify, how: MarkFlags, mask: MaskFlags, folder: &Fd) -> Sys<()> {
    let how = how | MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_ONLYDIR;
    // By its number, so that it is this folder and no other that has its name by now.
    let link = folder.magic_link()?;
    group
        .mark(how, mask, CWD, Some(link.as_str()))
        .map_err(errno)
}

fn errno(errno: nix::errno::Errno) -> Errno {
    Errno::from_raw_os_error(errno as i32)
}

fn told_of(group: &Fanotify) -> Sys<String> {
    let file = format!("/proc/self/fdinfo/{}", group.as_fd().as_raw_fd());
    fs::read_to_string(file).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(' ').find_map(|field| field.strip_prefix(name))
}

fn device(line: &str) -> Option<u64> {
    u64::from_str_radix(field(line, "sdev:")?, 16).ok()
}

fn identity(line: &str) -> Option<Identity> {
    let length = u32::from_str_radix(field(line, "fhandle-bytes:")?, 16).ok()?;
    // Shown as the number of 32 bits that it is.
    let kind = u32::from_str_radix(field(line, "fhandle-type:")?, 16).ok()?;
    let digits = field(line, "f_handle:")?;
    if length == 0 || digits.len() != length as usize * 2 {
        return None;
    }
    let mut handle = length.to_ne_bytes().to_vec();
    handle.extend(kind.to_ne_bytes());
    for at in (0..digits.len()).step_by(2) {
        handle.push(u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?);
    }
    let device = device(line)?;
    Some(Identity { device, handle })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_read_as_the_system_shows_it() {
        let line = "fanotify ino:1f sdev:800001 mflags:0 mask:0 ignored_mask:2 fhandle-bytes:8 fhandle-type:81 f_handle:00ff100a01020304";
        let found = identity(line).unwrap();
        assert_eq!(found.device, 0x80_0001);
        assert_eq!(found.handle[..4], 8_u32.to_ne_bytes());
        assert_eq!(found.handle[4..8], 0x81_u32.to_ne_bytes());
        assert_eq!(found.handle[8..], [0, 0xff, 0x10, 0x0a, 1, 2, 3, 4]);
        for (part, other) in [
            ("fhandle-bytes:8", "fhandle-bytes:7"),
            ("fhandle-bytes:8", ""),
            ("f_handle:00", "f_handle:0"),
            ("f_handle:00", "f_handle:xé"),
            ("fhandle-type:81", "fhandle-type:"),
            ("sdev:", "dev:"),
        ] {
            let line = line.replace(part, other);
            assert_eq!(identity(&line), None, "{line}");
        }
    }
}
