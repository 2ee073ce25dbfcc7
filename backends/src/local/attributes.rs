//! Looking at one entry, making folders, setting modes.

use rustix::fs::{Mode as Bits, OFlags};
use rustix::io::Errno;
use wl_core::model::{Kind, Meta, Mode, SyncPath};
use wl_core::storage::{ErrorKind, Expected, Published, Result};

use super::dir::{Folders, is_missing};
use super::kernel::Fd;
use super::meta::{folder_token, meta_at};
use super::root::Root;
use super::session::Session;
use super::sys::{self, At, Sys};

/// What is at `path`; `None` if nothing.
pub(super) fn stat(root: &Root, path: &SyncPath) -> Result<Option<Meta>> {
    root.usable("stat", path)?;
    let found = Folders::new(&root.fd)
        .parent_of(path)
        .and_then(|parent| meta_at(&root.facts, &parent, path.name()));
    match found {
        Ok(Some(meta)) => Ok(Some(meta)),
        Ok(None) => {
            let reason = "a special file, or a link to what is not UTF-8; it is never synced";
            Err(root.refuse(ErrorKind::Unrepresentable, "stat", path, reason))
        }
        Err(errno) if is_missing(errno) => Ok(None),
        Err(errno) => Err(root.error("stat", path, errno)),
    }
}

impl Session {
    pub(super) fn make_folder(&self, path: &SyncPath, mode: Option<Mode>) -> Result<Published> {
        const OP: &str = "make folder";
        self.go_on(OP)?;
        self.root.usable(OP, path)?;
        let refuse = |kind, reason| self.root.refuse(kind, OP, path, reason);
        let missing = "the folder that should hold it is missing; make it first";
        let made = Folders::new(&self.root.fd)
            .parent_of(path)
            .and_then(|parent| {
                let bits = mode.map_or(0o777, |mode| mode.bits() | 0o700);
                parent.make_dir_at(path.name(), Bits::from_raw_mode(bits))?;
                let stat = sys::stat_at(&parent, path.name())?;
                // The system took away what the umask says; without a mode given that is right, but for the owner.
                let wanted = match mode {
                    Some(_) => (stat.mode & 0o7000) | bits,
                    None => (stat.mode & 0o7777) | 0o700,
                };
                let stat = if stat.mode & 0o7777 == wanted {
                    stat
                } else {
                    let folder = open_entry(&parent, path.name())?;
                    change_mode(&folder, wanted)?;
                    sys::stat_fd(&folder)?
                };
                let token = folder_token(&self.root.facts, &stat, &parent, path.name());
                Ok((stat, token))
            });
        match made {
            Ok((stat, token)) => {
                self.dirty().folder_of(path);
                self.flush_if_full()?;
                Ok(Published {
                    token,
                    ..self.as_published(&stat, true)
                })
            }
            Err(Errno::EXIST) => Err(refuse(ErrorKind::Changed, "something is there; look again")),
            Err(errno) if is_missing(errno) => Err(refuse(ErrorKind::NoParent, missing)),
            Err(errno) => Err(self.root.error(OP, path, errno)),
        }
    }

    pub(super) fn set_mode(
        &self,
        path: &SyncPath,
        expected: &Expected,
        mode: Mode,
    ) -> Result<Published> {
        const OP: &str = "set mode";
        self.go_on(OP)?;
        self.root.usable(OP, path)?;
        let failed = |errno| match is_missing(errno) {
            true => {
                let reason = "nothing is there any more";
                self.root.refuse(ErrorKind::NotFound, OP, path, reason)
            }
            false => self.root.error(OP, path, errno),
        };
        if expected.kind == Kind::Link {
            let reason = "links have no mode of their own";
            return Err(self.root.refuse(ErrorKind::Unsupported, OP, path, reason));
        }
        let mut folders = Folders::new(&self.root.fd);
        let parent = folders.parent_of(path).map_err(failed)?;
        let at: At<'_> = (&parent, path.name());
        // Opened before it is looked at: what is looked at is what is changed.
        let entry = open_entry(&parent, path.name()).map_err(failed)?;
        let seen = match self.precheck(at, expected) {
            Ok(seen) => seen,
            Err(miss) => return self.missed(OP, path, miss, ErrorKind::NotFound),
        };
        let opened = sys::stat_fd(&entry).map_err(failed)?;
        let unread = expected.kind == Kind::File && self.verify(at, &seen, expected).is_none();
        if unread || !opened.same_version(&seen.stat) {
            let reason = "something else is there than was expected; look again";
            return Err(self.root.refuse(ErrorKind::Changed, OP, path, reason));
        }
        let keep = opened.mode & 0o7000;
        change_mode(&entry, keep | mode.bits()).map_err(failed)?;
        let now = entry.now();
        let stat = sys::stat_fd(&entry).map_err(failed)?;
        self.dirty().file(path);
        self.flush_if_full()?;
        let untouched = stat.same_version(&seen.stat) && self.root.facts.settled(&stat, now);
        let mut published = self.as_published(&stat, untouched);
        if expected.kind == Kind::Folder {
            published.token = folder_token(&self.root.facts, &stat, &parent, path.name());
        }
        Ok(published)
    }
}

/// A handle on an entry itself, be it a link.
fn open_entry(folder: &Fd, name: &str) -> Sys<Fd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    folder.open_at(name, flags, Bits::empty())
}

/// Changes the mode of what a handle of [`open_entry`] stands for.
fn change_mode(entry: &Fd, bits: u32) -> Sys<()> {
    if sys::stat_fd(entry)?.kind() == Some(Kind::Link) {
        return Err(Errno::LOOP);
    }
    entry.set_bits_by_link(bits)
}
