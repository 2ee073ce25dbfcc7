//! The system calls of watching: setting watches, reading folders, reading events.

use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::FileType;
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;
use wl_core::model::{Kind, SyncPath};
use wl_core::storage::StorageError;

use super::limits::{self, silent};
use super::machine::{Event, Looked, Why};
use crate::local::dir::{self, is_missing, open_folder};
use crate::local::kernel::{self, Fd};
use crate::local::root::{Root, Spot};
use crate::local::sys::Sys;

/// What is asked to be told. Not who opens or reads: a pass does, all the time.
const WANTED: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::EXCL_UNLINK);
/// Of the root also what becomes of itself: nobody watches the folder above.
const OF_ROOT: WatchFlags = WatchFlags::MOVE_SELF.union(WatchFlags::DELETE_SELF);

/// What the watcher needs of a system; tests have others.
pub(super) trait System: Send + fmt::Debug {
    /// Watches the folder at `path`, then reads which folders are in it.
    fn look(&mut self, path: &SyncPath) -> Looked;
    /// The names of the folders in the one at `path`.
    fn folders(&mut self, path: &SyncPath) -> Vec<Box<str>>;
    /// Gives up a watch.
    fn forget(&mut self, wd: i32);
    /// The events that are waiting, up to `most` and some.
    fn events(&mut self, most: usize) -> Vec<Event>;
    /// Whether it stopped before all that wait were taken, though they are fewer than `most`.
    fn is_behind(&self) -> bool {
        false
    }
    /// Something was mounted or unmounted: what no event tells of that.
    fn remounted(&mut self) -> Vec<Event> {
        Vec::new()
    }
    /// The work at hand is done; what is kept open for it can be closed.
    fn rest(&mut self) {}
}

/// How the folders of a tree are reached.
pub(super) struct Reach {
    spot: Arc<Spot>,
    /// Open only while there is work: it would keep a file system from being unmounted.
    root: Option<Root>,
    /// For entries of folders, and for events.
    pub(super) buffer: Vec<MaybeUninit<u8>>,
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reach").field("spot", &self.spot).finish()
    }
}

impl Reach {
    pub(super) fn new(spot: Arc<Spot>) -> Self {
        Self {
            spot,
            root: None,
            buffer: kernel::buffer(16 * 1024),
        }
    }

    /// Opens the folder at `path`, or says what is there instead.
    pub(super) fn folder(&mut self, path: &SyncPath) -> Result<Fd, Looked> {
        if path.is_root() {
            // Opened anew: something else may be there by now. What that is, only the error tells.
            match self.spot.open() {
                Ok(root) => self.root = Some(root),
                Err(error) => return Err(self.without_root(&error)),
            }
        }
        let folder = match self.open(path) {
            Ok(folder) => folder,
            Err(errno) if is_missing(errno) => return Err(Looked::Nothing),
            Err(Errno::ACCESS | Errno::PERM) => return Err(Looked::Unreadable),
            Err(errno) => return Err(refused(&errno)),
        };
        match folder.magic().ok().and_then(silent) {
            Some(name) => Err(Looked::Unwatched {
                why: Why::Silent(name),
                folders: Vec::new(),
            }),
            None => Ok(folder),
        }
    }

    fn without_root(&mut self, error: &StorageError) -> Looked {
        self.root = None;
        Looked::Unwatched {
            why: Why::Refused(error.reason().to_owned()),
            folders: Vec::new(),
        }
    }

    fn open(&mut self, path: &SyncPath) -> Sys<Fd> {
        if self.root.is_none() {
            self.root = Some(self.spot.open().map_err(|_| Errno::NOENT)?);
        }
        let root = self.root.as_ref().ok_or(Errno::NOENT)?;
        open_folder(&root.fd, path.as_str(), dir::READ)
    }

    /// The names of the folders in the one at `path`.
    pub(super) fn folders(&mut self, path: &SyncPath) -> Vec<Box<str>> {
        match self.open(path) {
            Ok(folder) => self.read(&folder),
            Err(_) => Vec::new(),
        }
    }

    /// The names of the folders in an open one.
    pub(super) fn read(&mut self, folder: &Fd) -> Vec<Box<str>> {
        let mut names = Vec::new();
        let mut entries = folder.entries(&mut self.buffer);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(Errno::INTR) => continue,
                // A listing meets the same and reports it.
                Err(_) => break,
            };
            let is_folder = match entry.file_type() {
                FileType::Directory => true,
                FileType::Unknown => folder
                    .stat_raw(entry.file_name())
                    .is_ok_and(|stat| stat.kind() == Some(Kind::Folder)),
                _ => false,
            };
            if is_folder
                && let Ok(name) = entry.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.into());
            }
        }
        names
    }

    pub(super) fn rest(&mut self) {
        self.root = None;
    }
}

/// This machine, by inotify.
#[derive(Debug)]
pub(super) struct Kernel {
    reach: Reach,
    events: Arc<OwnedFd>,
}

impl Kernel {
    /// Without a watch so far.
    pub(super) fn new(spot: Arc<Spot>) -> Result<Self, Why> {
        let flags = CreateFlags::NONBLOCK | CreateFlags::CLOEXEC;
        let events = inotify::init(flags).map_err(limits::no_instance)?;
        Ok(Self {
            reach: Reach::new(spot),
            events: Arc::new(events),
        })
    }

    /// Readable when there are events.
    pub(super) fn readable(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.events)
    }

    fn watch(&mut self, path: &SyncPath, folder: &Fd) -> Sys<i32> {
        let flags = match path.is_root() {
            true => WANTED | OF_ROOT,
            false => WANTED,
        };
        // By its number, so that it is this folder and no other that has its name by now.
        inotify::add_watch(&*self.events, folder.magic_link()?, flags)
    }
}

impl System for Kernel {
    fn look(&mut self, path: &SyncPath) -> Looked {
        let folder = match self.reach.folder(path) {
            Ok(folder) => folder,
            Err(looked) => return looked,
        };
        match self.watch(path, &folder) {
            Ok(wd) => Looked::Folder {
                wd,
                folders: self.reach.read(&folder),
            },
            Err(Errno::NOSPC) => Looked::Unwatched {
                why: Why::Limit,
                folders: self.reach.read(&folder),
            },
            Err(Errno::ACCESS | Errno::PERM) => Looked::Unreadable,
            Err(errno) => refused(&errno),
        }
    }

    fn folders(&mut self, path: &SyncPath) -> Vec<Box<str>> {
        self.reach.folders(path)
    }

    fn forget(&mut self, wd: i32) {
        // It may be gone with its folder.
        let _ = inotify::remove_watch(&*self.events, wd);
    }

    fn events(&mut self, most: usize) -> Vec<Event> {
        let mut events = Vec::new();
        let mut reader = Reader::new(&*self.events, &mut self.reach.buffer);
        while events.len() < most || !reader.is_buffer_empty() {
            match reader.next() {
                Ok(event) => events.push(Event {
                    wd: event.wd(),
                    mask: event.events(),
                    cookie: event.cookie(),
                    name: event
                        .file_name()
                        .map_or(&b""[..], |name| name.to_bytes())
                        .to_vec(),
                }),
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        events
    }

    fn rest(&mut self) {
        self.reach.rest();
    }
}

fn refused(errno: &Errno) -> Looked {
    Looked::Unwatched {
        why: Why::Refused(std::io::Error::from(*errno).to_string()),
        folders: Vec::new(),
    }
}
