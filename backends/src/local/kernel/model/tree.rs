//! What is on a disk: inodes and names, as programs see them (the cache), and beside it what of that is durable.

use std::collections::{BTreeMap, BTreeSet};

use rustix::io::Errno;
use wl_core::model::Timestamp;

use super::Rules;
use super::durable::{Change, File, NameChange, Slot};
use crate::local::sys::{Stat, Sys};

/// The root's inode number.
pub(super) const ROOT: u64 = 2;
/// The first number for others.
const FIRST: u64 = 11;

const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const LINK: u32 = 0o120_000;
const KIND: u32 = 0o170_000;

/// Attributes of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) mtime: Timestamp,
    pub(super) ctime: Timestamp,
    pub(super) born: u64,
}

/// What an inode holds.
#[derive(Clone, Debug)]
pub(super) enum Content {
    File(File),
    Folder(BTreeMap<String, u64>),
    Link(String),
}

/// A file, folder or link.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    pub(super) content: Content,
    pub(super) attributes: Attributes,
    /// Every value that the attributes had since they were durable; that one first.
    pub(super) past: Vec<Attributes>,
    pub(super) links: u32,
}

/// All of a disk.
#[derive(Debug)]
pub(super) struct State {
    pub(super) rules: Rules,
    pub(super) inodes: BTreeMap<u64, Inode>,
    /// The names that are durable.
    pub(super) names: BTreeMap<Slot, u64>,
    /// Changes of names that are not, in their order.
    pub(super) pending: Vec<NameChange>,
    /// Who holds the lock of an inode.
    pub(super) locks: BTreeMap<u64, u64>,
    /// How many handles an inode has.
    pub(super) open: BTreeMap<u64, usize>,
    pub(super) handles: u64,
    /// What fits on it, in bytes of content.
    pub(super) capacity: Option<u64>,
    /// Content is written to the disk in pieces of this size.
    pub(super) block: usize,
    pub(super) epoch: u64,
    pub(super) number: u64,
    /// There may be inodes without a name.
    unlinked: bool,
    /// No number below this one is free.
    lowest: u64,
    /// For proving that the model can fail: syncs do nothing.
    pub(super) lies: bool,
}

impl State {
    pub(super) fn new(rules: Rules, number: u64, now: Timestamp) -> Self {
        let mut state = Self {
            rules,
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            pending: Vec::new(),
            locks: BTreeMap::new(),
            open: BTreeMap::new(),
            handles: 0,
            capacity: None,
            block: 4096,
            epoch: 0,
            number,
            unlinked: false,
            lowest: FIRST,
            lies: false,
        };
        let mut root = Inode::new(Content::Folder(BTreeMap::new()), 0o755, now);
        root.links = 1;
        state.inodes.insert(ROOT, root);
        state
    }

    pub(super) fn inode(&self, ino: u64) -> Sys<&Inode> {
        self.inodes.get(&ino).ok_or(Errno::STALE)
    }

    pub(super) fn inode_mut(&mut self, ino: u64) -> Sys<&mut Inode> {
        self.inodes.get_mut(&ino).ok_or(Errno::STALE)
    }

    pub(super) fn folder(&self, ino: u64) -> Sys<&BTreeMap<String, u64>> {
        match &self.inode(ino)?.content {
            Content::Folder(entries) => Ok(entries),
            _ => Err(Errno::NOTDIR),
        }
    }

    fn folder_mut(&mut self, ino: u64) -> Sys<&mut BTreeMap<String, u64>> {
        match &mut self.inode_mut(ino)?.content {
            Content::Folder(entries) => Ok(entries),
            _ => Err(Errno::NOTDIR),
        }
    }

    pub(super) fn file(&self, ino: u64) -> Sys<&File> {
        match &self.inode(ino)?.content {
            Content::File(file) => Ok(file),
            Content::Folder(_) => Err(Errno::ISDIR),
            Content::Link(_) => Err(Errno::INVAL),
        }
    }

    /// The entry `name`; `.` and `..` as well.
    pub(super) fn find(&self, folder: u64, name: &str) -> Sys<u64> {
        let entries = self.folder(folder)?;
        match name {
            "." => Ok(folder),
            ".." => Ok(self.above(folder)),
            name => entries.get(name).copied().ok_or(Errno::NOENT),
        }
    }

    fn above(&self, folder: u64) -> u64 {
        let holds = |inode: &Inode| matches!(&inode.content, Content::Folder(e) if e.values().any(|ino| *ino == folder));
        let found = self.inodes.iter().find(|(_, inode)| holds(inode));
        found.map_or(folder, |(ino, _)| *ino)
    }

    pub(super) fn is_folder(&self, ino: u64) -> bool {
        self.folder(ino).is_ok()
    }

    pub(super) fn is_link(&self, ino: u64) -> bool {
        matches!(self.inode(ino), Ok(inode) if matches!(inode.content, Content::Link(_)))
    }

    pub(super) fn stat(&self, ino: u64) -> Sys<Stat> {
        let inode = self.inode(ino)?;
        let size = match &inode.content {
            Content::File(file) => file.now.len(),
            Content::Folder(entries) => entries.len() * 32,
            Content::Link(target) => target.len(),
        };
        Ok(Stat {
            ino,
            size: size as u64,
            mtime: inode.attributes.mtime,
            ctime: inode.attributes.ctime,
            mode: inode.attributes.mode,
            dev: self.number,
            born: inode.attributes.born,
            mount: self.number,
        })
    }

    /// Changes attributes; the ctime with them.
    pub(super) fn touch(
        &mut self,
        ino: u64,
        now: Timestamp,
        change: impl FnOnce(&mut Attributes),
    ) -> Sys<()> {
        let inode = self.inode_mut(ino)?;
        inode.past.push(inode.attributes);
        inode.attributes.ctime = now;
        change(&mut inode.attributes);
        Ok(())
    }

    /// Makes an entry where nothing is.
    pub(super) fn make(
        &mut self,
        folder: u64,
        name: &str,
        content: Content,
        bits: u32,
        now: Timestamp,
    ) -> Sys<u64> {
        self.may_name(folder, name)?;
        if self.capacity.is_some_and(|most| self.used() >= most) {
            return Err(Errno::NOSPC);
        }
        let ino = self.free_number();
        let umask = !0o022;
        self.inodes
            .insert(ino, Inode::new(content, bits & umask, now));
        self.rename_slots(vec![(folder, name.to_owned(), Some(ino))], now)?;
        Ok(ino)
    }

    /// Whether something can be given the name `name`, where nothing is now.
    pub(super) fn may_name(&self, folder: u64, name: &str) -> Sys<()> {
        if name.len() > 255 {
            return Err(Errno::NAMETOOLONG);
        }
        if name.is_empty() || name.contains('/') || matches!(name, "." | "..") {
            return Err(Errno::INVAL);
        }
        if self.inode(folder)?.links == 0 {
            return Err(Errno::NOENT);
        }
        match self.folder(folder)?.contains_key(name) {
            true => Err(Errno::EXIST),
            false => Ok(()),
        }
    }

    /// Sets slots at once, in the cache; the change waits to become durable.
    pub(super) fn rename_slots(
        &mut self,
        slots: Vec<(u64, String, Option<u64>)>,
        now: Timestamp,
    ) -> Sys<()> {
        let mut change = NameChange::default();
        for (folder, name, new) in slots {
            let entries = self.folder_mut(folder)?;
            let old = match new {
                Some(ino) => entries.insert(name.clone(), ino),
                None => entries.remove(&name),
            };
            if let Some(inode) = new.and_then(|ino| self.inodes.get_mut(&ino)) {
                inode.links += 1;
            }
            if let Some(inode) = old.and_then(|ino| self.inodes.get_mut(&ino)) {
                inode.links = inode.links.saturating_sub(1);
                self.unlinked |= inode.links == 0;
            }
            for ino in [old, new].into_iter().flatten() {
                change.of_folder |= self.is_folder(ino);
                self.touch(ino, now, |_| {})?;
            }
            self.touch(folder, now, |attributes| attributes.mtime = now)?;
            change.slots.push(((folder, name), old, new));
        }
        self.pending.push(change);
        Ok(())
    }

    /// Writes what fits; how much that was.
    pub(super) fn write(
        &mut self,
        ino: u64,
        content: &[u8],
        at: u64,
        now: Timestamp,
    ) -> Sys<usize> {
        let size = self.file(ino)?.now.len() as u64;
        let mut content = content;
        if let Some(most) = self.capacity {
            let end = size.max(at) + most.saturating_sub(self.used());
            let room = end.saturating_sub(at).min(content.len() as u64);
            content = &content[..room as usize];
            if content.is_empty() {
                return Err(Errno::NOSPC);
            }
        }
        let write = Change::Write(at as usize, content.to_vec());
        self.change(ino, write, now)?;
        Ok(content.len())
    }

    /// Changes a file's content.
    pub(super) fn change(&mut self, ino: u64, change: Change, now: Timestamp) -> Sys<()> {
        self.file(ino)?;
        self.touch(ino, now, |attributes| attributes.mtime = now)?;
        if let Content::File(file) = &mut self.inode_mut(ino)?.content {
            file.apply(change);
        }
        Ok(())
    }

    /// What files take up.
    pub(super) fn used(&self) -> u64 {
        let alive = self
            .inodes
            .iter()
            .filter(|(ino, inode)| inode.links > 0 || self.open.contains_key(ino));
        alive
            .map(|(_, inode)| match &inode.content {
                Content::File(file) => file.now.len() as u64,
                _ => 0,
            })
            .sum()
    }

    /// The lowest number that is free: file systems give the number of a deleted file to the next one.
    fn free_number(&mut self) -> u64 {
        if self.unlinked {
            self.forget_unneeded();
        }
        while self.inodes.contains_key(&self.lowest) {
            self.lowest += 1;
        }
        self.lowest
    }

    /// Numbers became free otherwise.
    pub(super) fn start_numbers(&mut self) {
        self.lowest = FIRST;
    }

    /// Forgets inodes that have no name and that neither a handle nor a crash could bring back.
    fn forget_unneeded(&mut self) {
        let mut needed: BTreeSet<u64> = self.open.keys().copied().collect();
        needed.insert(ROOT);
        let durable = self.names.iter();
        needed.extend(durable.flat_map(|((folder, _), ino)| [*folder, *ino]));
        for ((folder, _), old, new) in self.pending.iter().flat_map(|change| &change.slots) {
            needed.extend([Some(*folder), *old, *new].into_iter().flatten());
        }
        self.inodes
            .retain(|ino, inode| inode.links > 0 || needed.contains(ino));
        self.unlinked = self.inodes.values().any(|inode| inode.links == 0);
        self.lowest = FIRST;
    }
}

impl Inode {
    fn new(content: Content, bits: u32, now: Timestamp) -> Self {
        let kind = match content {
            Content::File(_) => REGULAR,
            Content::Folder(_) => FOLDER,
            Content::Link(_) => LINK,
        };
        let attributes = Attributes {
            mode: kind | (bits & 0o7777),
            mtime: now,
            ctime: now,
            born: now.secs as u64 * 1_000_000_000 + u64::from(now.nanos),
        };
        Self {
            content,
            attributes,
            past: Vec::new(),
            links: 0,
        }
    }

    /// Sets the permission bits.
    pub(super) fn with_bits(mode: u32, bits: u32) -> u32 {
        (mode & KIND) | (bits & 0o7777)
    }
}
