//! Watching by fanotify: one mark a file system, however many folders there are. Only root may; it tells of everything that anybody
//! changes on that file system, so it is used only where the watches of inotify do not suffice.
//!
//! To the machine it looks as inotify does: each folder that was looked at has a number, the same for as long as it is not forgotten.
//! An event names its folder by a handle. A handle that has no number is a folder that is none of ours, or not looked at yet: then the look
//! sees what the event told.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::inotify::ReadFlags;
use rustix::io::Errno;
use wl_core::model::SyncPath;

mod group;
mod records;

use super::limits::handles_last;
use super::system::{Reach, System};
use super::words::{Event, Looked, Why};
use crate::local::kernel::Fd;
use crate::local::root::Spot;
use crate::local::sys::Sys;
use group::{Group, Scribe};
use records::{Named, RENAME, Record};

/// The bits that the machine is told.
const TOLD: u32 = ReadFlags::CREATE
    .union(ReadFlags::DELETE)
    .union(ReadFlags::MODIFY)
    .union(ReadFlags::CLOSE_WRITE)
    .union(ReadFlags::ATTRIB)
    .union(ReadFlags::ISDIR)
    .bits();

/// This machine, by fanotify.
#[derive(Debug)]
pub(super) struct Marked {
    reach: Reach,
    group: Group,
    scribe: Scribe,
    readable: Arc<OwnedFd>,
    volumes: Vec<Volume>,
    numbers: HashMap<Arc<[u8]>, i32>,
    folders: HashMap<i32, Folder>,
    root: Option<i32>,
    /// The last number that was given; none is given twice.
    last: i32,
    cookie: u32,
    /// Folders that lead to the one that was looked at last, with their numbers.
    above: Vec<(SyncPath, i32)>,
    /// What is told with the next events.
    pending: Vec<Event>,
    behind: bool,
}

/// A file system that is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Volume {
    id: u64,
    device: u64,
}

/// A folder that has a number.
#[derive(Debug)]
struct Folder {
    key: Arc<[u8]>,
    /// The number of the folder that it is in, and its name there: of a folder itself there are events by its own handle alone.
    place: Option<(i32, Box<str>)>,
}

impl Marked {
    /// Without a mark so far. An error where the system does not allow it.
    pub(super) fn new(spot: Arc<Spot>) -> Result<Self, Why> {
        // Who may not, has the limit of watches, and nothing else to be told of.
        let group = Group::new().map_err(|errno| match errno {
            Errno::PERM => Why::Limit,
            errno => refused(errno),
        })?;
        let readable = group.readable().map_err(refused)?;
        Ok(Self {
            reach: Reach::new(spot),
            group,
            scribe: Scribe::new().map_err(refused)?,
            readable: Arc::new(readable),
            volumes: Vec::new(),
            numbers: HashMap::new(),
            folders: HashMap::new(),
            root: None,
            last: 0,
            cookie: 0,
            above: Vec::new(),
            pending: Vec::new(),
            behind: false,
        })
    }

    /// Readable when there are events.
    pub(super) fn readable(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.readable)
    }

    /// Marks the file system of a folder and gives the folder its number.
    fn watch(&mut self, path: &SyncPath, folder: &Fd) -> Result<i32, Why> {
        if !folder.magic().is_ok_and(handles_last) {
            let reason =
                "fanotify: it is not known to tell folders apart for long on this file system";
            return Err(Why::Refused(reason.to_owned()));
        }
        let identity = self.scribe.identify(folder).map_err(refused)?;
        let volume = Volume {
            id: folder.volume().map_err(refused)?.id,
            device: identity.device,
        };
        if !self.volumes.contains(&volume) {
            self.mark(volume, folder)?;
        }
        let mut key = volume.id.to_ne_bytes().to_vec();
        key.extend(identity.handle);
        let place = self.place(path);
        let wd = match self.numbers.get(&*key) {
            Some(&wd) => wd,
            None => self.number(key.into())?,
        };
        if let Some(folder) = self.folders.get_mut(&wd) {
            folder.place = place;
        }
        if path.is_root() {
            self.group.mark_root(folder).map_err(refused)?;
            self.root = Some(wd);
        }
        self.above.push((path.clone(), wd));
        Ok(wd)
    }

    fn mark(&mut self, volume: Volume, folder: &Fd) -> Result<(), Why> {
        // One with the same device or the same id may just have been unmounted.
        let gone = self.sweep();
        self.pending.extend(gone);
        let shared = |one: &Volume| one.id == volume.id || one.device == volume.device;
        if volume.id == 0 || self.volumes.iter().any(shared) {
            let reason = "fanotify cannot tell its file system from another one";
            return Err(Why::Refused(reason.to_owned()));
        }
        self.group.mark_file_system(folder).map_err(refused)?;
        self.volumes.push(volume);
        Ok(())
    }

    fn number(&mut self, key: Arc<[u8]>) -> Result<i32, Why> {
        let next = self.last.checked_add(1);
        self.last = next.ok_or_else(|| Why::Refused("there are no more numbers".to_owned()))?;
        self.numbers.insert(Arc::clone(&key), self.last);
        self.folders.insert(self.last, Folder { key, place: None });
        Ok(self.last)
    }

    /// The number of the folder that `path` is in, and its name there.
    fn place(&mut self, path: &SyncPath) -> Option<(i32, Box<str>)> {
        let leads = |above: &SyncPath| above != path && path.is_within(above);
        while self.above.last().is_some_and(|(above, _)| !leads(above)) {
            self.above.pop();
        }
        let parent = path.parent()?;
        let known = self.above.last().filter(|(above, _)| *above == parent);
        let wd = match known {
            Some((_, wd)) => *wd,
            None => self.number_at(&parent)?,
        };
        Some((wd, path.name().into()))
    }

    /// The number of the folder at `path`, if it has one.
    fn number_at(&mut self, path: &SyncPath) -> Option<i32> {
        if path.is_root() {
            return self.root;
        }
        let folder = self.reach.folder(path).ok()?;
        let identity = self.scribe.identify(&folder).ok()?;
        let mut key = folder.volume().ok()?.id.to_ne_bytes().to_vec();
        key.extend(identity.handle);
        self.numbers.get(&*key).copied()
    }

    /// Finds the file systems that were unmounted: their marks went with them. Tells of their folders what inotify tells.
    fn sweep(&mut self) -> Vec<Event> {
        let Ok(marked) = self.group.marked() else {
            // Nobody knows; to look at all of it is right in any case.
            return vec![overflow()];
        };
        let (kept, gone): (Vec<Volume>, Vec<Volume>) = self
            .volumes
            .iter()
            .partition(|volume| marked.contains(&volume.device));
        self.volumes = kept;
        let ids: Vec<[u8; 8]> = gone.iter().map(|one| one.id.to_ne_bytes()).collect();
        let is_gone = |key: &[u8]| ids.iter().any(|id| key.starts_with(id));
        let folders = self.folders.iter();
        let mut wds: Vec<i32> = folders
            .filter(|(_, folder)| is_gone(&folder.key))
            .map(|(wd, _)| *wd)
            .collect();
        // Those above first: the others are forgotten with them.
        wds.sort_unstable();
        let mask = ReadFlags::IGNORED | ReadFlags::UNMOUNT;
        wds.retain(|wd| self.release(*wd));
        wds.into_iter()
            .map(|wd| event(wd, mask.bits(), b""))
            .collect()
    }

    /// Takes a number away. `false` if there is none such.
    fn release(&mut self, wd: i32) -> bool {
        self.above.retain(|(_, above)| *above != wd);
        let Some(folder) = self.folders.remove(&wd) else {
            return false;
        };
        self.numbers.remove(&folder.key);
        true
    }

    /// Takes in what was read at once.
    pub(super) fn take(&mut self, bytes: &[u8], events: &mut Vec<Event>) {
        match records::parse(bytes) {
            Some(records) => {
                for record in records {
                    self.told(&record, events);
                }
            }
            // Who knows what that was.
            None => events.push(overflow()),
        }
    }

    fn told(&mut self, record: &Record<'_>, events: &mut Vec<Event>) {
        if record.mask & ReadFlags::QUEUE_OVERFLOW.bits() != 0 {
            return events.push(overflow());
        }
        if record.mask & RENAME != 0 {
            return self.renamed(record, events);
        }
        let Some(at) = record.at else { return };
        let Some(&wd) = self.numbers.get(at.folder) else {
            return;
        };
        let mask = record.mask & TOLD;
        if at.name != b"." {
            // Several changes come as one; the machine tells one that is new from one that was only written to.
            let kinds = mask & !ReadFlags::ISDIR.bits();
            for bit in (0..u32::BITS)
                .map(|bit| 1 << bit)
                .filter(|bit| kinds & bit != 0)
            {
                events.push(event(wd, bit | mask & ReadFlags::ISDIR.bits(), at.name));
            }
            return;
        }
        if self.root == Some(wd) {
            let ends = ReadFlags::MOVE_SELF | ReadFlags::DELETE_SELF;
            events.push(event(wd, record.mask & (TOLD | ends.bits()), b""));
        } else if let Some(folder) = self.folders.get(&wd)
            && let Some((parent, name)) = &folder.place
        {
            events.push(event(*parent, mask, name.as_bytes()));
        }
    }

    /// Both halves, one right after the other, as far as they are ours.
    fn renamed(&mut self, record: &Record<'_>, events: &mut Vec<Event>) {
        self.cookie = self.cookie.wrapping_add(1);
        let is_folder = record.mask & ReadFlags::ISDIR.bits();
        let ends = [
            (record.from, ReadFlags::MOVED_FROM),
            (record.to, ReadFlags::MOVED_TO),
        ];
        for (end, half) in ends {
            let Some(Named { folder, name }) = end else {
                continue;
            };
            if let Some(&wd) = self.numbers.get(folder) {
                let event = event(wd, half.bits() | is_folder, name);
                let cookie = self.cookie;
                events.push(Event { cookie, ..event });
            }
        }
    }
}

impl System for Marked {
    fn look(&mut self, path: &SyncPath) -> Looked {
        let folder = match self.reach.folder(path) {
            Ok(folder) => folder,
            // Who may mark a file system may read all of it, mostly. That it may be read again, no event would tell.
            Err(Looked::Unreadable) => {
                return Looked::Unwatched {
                    why: refused(Errno::ACCESS),
                    folders: Vec::new(),
                };
            }
            Err(looked) => return looked,
        };
        match self.watch(path, &folder) {
            Ok(wd) => Looked::Folder {
                wd,
                folders: self.reach.read(&folder),
            },
            Err(why) => match self.reach.folder(path) {
                // It was removed meanwhile.
                Err(Looked::Nothing) => Looked::Nothing,
                _ => Looked::Unwatched {
                    why,
                    folders: self.reach.read(&folder),
                },
            },
        }
    }

    fn folders(&mut self, path: &SyncPath) -> Vec<Box<str>> {
        self.reach.folders(path)
    }

    fn forget(&mut self, wd: i32) {
        self.release(wd);
    }

    fn events(&mut self, most: usize) -> Vec<Event> {
        let mut events = std::mem::take(&mut self.pending);
        self.behind = false;
        // Most may be of strangers: then few remain of many, and there has to be an end to it all the same.
        for _ in 0..most / 16 {
            if events.len() >= most {
                return events;
            }
            match read(&self.group, &mut self.reach) {
                Ok(bytes) => self.take(&bytes, &mut events),
                Err(Errno::INTR) => {}
                Err(_) => return events,
            }
        }
        self.behind = true;
        events
    }

    fn is_behind(&self) -> bool {
        self.behind || !self.pending.is_empty()
    }

    fn remounted(&mut self) -> Vec<Event> {
        let mut events = std::mem::take(&mut self.pending);
        events.extend(self.sweep());
        events
    }

    fn rest(&mut self) {
        self.reach.rest();
        self.above.clear();
    }
}

fn read(group: &Group, reach: &mut Reach) -> Sys<Vec<u8>> {
    let (bytes, _) = rustix::io::read(group, &mut reach.buffer[..])?;
    Ok(bytes.to_vec())
}

fn event(wd: i32, mask: u32, name: &[u8]) -> Event {
    Event {
        wd,
        mask: ReadFlags::from_bits_retain(mask),
        cookie: 0,
        name: name.to_vec(),
    }
}

fn overflow() -> Event {
    event(-1, ReadFlags::QUEUE_OVERFLOW.bits(), b"")
}

fn refused(errno: Errno) -> Why {
    Why::Refused(format!("fanotify: {}", std::io::Error::from(errno)))
}

/// For tests: what the system sends when its queue is full.
#[cfg(test)]
pub(super) fn queue_is_full() -> Vec<u8> {
    records::tests::overflow()
}
