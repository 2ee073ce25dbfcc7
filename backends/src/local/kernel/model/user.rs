//! Whoever else works on a disk.

use std::collections::BTreeMap;

use rustix::io::Errno;
use wl_core::model::Timestamp;

use super::Disk;
use super::durable::{Change, File};
use super::tree::{Content, ROOT, State};
use crate::local::sys::Sys;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// A file and its content.
    File(Vec<u8>),
    /// A folder.
    Folder,
    /// A symbolic link and where it points.
    Link(String),
}

/// Someone who edits files; every edit is durable when it returns, but not the names that a file has from others. Paths are relative to
/// the root.
#[derive(Debug)]
pub struct User<'a> {
    disk: &'a Disk,
    syncs: bool,
}

/// A file that somebody has open for writing, whatever name it has by now.
#[derive(Debug)]
pub struct Held {
    disk: Disk,
    ino: u64,
    epoch: u64,
}

impl<'a> User<'a> {
    pub(super) fn of(disk: &'a Disk) -> Self {
        Self { disk, syncs: true }
    }

    /// The same in programs that sync nothing, as most do: what they save may go with the power until somebody makes it durable.
    pub fn hasty(self) -> Self {
        Self {
            syncs: false,
            ..self
        }
    }

    /// A new file takes the place of what is there, as most editors save. Folders above are made.
    pub fn write(&self, path: &str, content: &[u8]) -> Sys<()> {
        self.edit(|state, now| {
            let (folder, name) = state.reach(path, now)?;
            if state
                .find(folder, &name)
                .is_ok_and(|ino| state.is_folder(ino))
            {
                return Err(Errno::ISDIR);
            }
            let temporary = format!("{name}.new");
            let file = Content::File(File::default());
            let ino = state.make(folder, &temporary, file, 0o666, now)?;
            state.change(ino, Change::Write(0, content.to_vec()), now)?;
            state.harden(ino);
            let slots = vec![(folder, temporary, None), (folder, name, Some(ino))];
            state.rename_slots(slots, now)?;
            state.harden(folder);
            Ok(())
        })
    }

    /// The file that is there is written over, from a size of 0 on.
    pub fn write_in_place(&self, path: &str, content: &[u8]) -> Sys<()> {
        self.edit(|state, now| {
            let ino = state.at(path)?;
            state.change(ino, Change::Size(0), now)?;
            state.change(ino, Change::Write(0, content.to_vec()), now)?;
            state.harden(ino);
            Ok(())
        })
    }

    /// Gives what is there another modification time.
    pub fn touch(&self, path: &str, mtime: Timestamp) -> Sys<()> {
        self.edit(|state, now| {
            let ino = state.at(path)?;
            state.touch(ino, now, |attributes| attributes.mtime = mtime)?;
            state.harden(ino);
            Ok(())
        })
    }

    /// Makes a folder, and those above it.
    pub fn make_dir(&self, path: &str) -> Sys<()> {
        self.edit(|state, now| state.reach(&format!("{path}/x"), now).map(drop))
    }

    /// Makes a symbolic link.
    pub fn link(&self, path: &str, target: &str) -> Sys<()> {
        self.edit(|state, now| {
            let (folder, name) = state.reach(path, now)?;
            let link = Content::Link(target.to_owned());
            state.make(folder, &name, link, 0o777, now)?;
            state.harden(folder);
            Ok(())
        })
    }

    /// Removes what is there, and everything in it.
    pub fn remove(&self, path: &str) -> Sys<()> {
        self.edit(|state, now| state.remove(path, now))
    }

    /// Gives what is at `from` the path `to`, where nothing may be.
    pub fn rename(&self, from: &str, to: &str) -> Sys<()> {
        self.edit(|state, now| {
            if format!("{to}/").starts_with(&format!("{from}/")) {
                return Err(Errno::INVAL);
            }
            let ino = state.at(from)?;
            let (old, name) = state.reach(from, now)?;
            let (folder, new) = state.reach(to, now)?;
            state.may_name(folder, &new)?;
            let slots = vec![(old, name, None), (folder, new, Some(ino))];
            state.rename_slots(slots, now)?;
            state.harden(old);
            state.harden(folder);
            Ok(())
        })
    }

    /// Opens a file to write to it later.
    pub fn hold(&self, path: &str) -> Sys<Held> {
        let mut state = self.disk.state();
        let ino = state.at(path)?;
        *state.open.entry(ino).or_default() += 1;
        Ok(Held {
            disk: self.disk.clone(),
            ino,
            epoch: state.epoch,
        })
    }

    /// What is at each path, but for what is in `.wl`.
    pub fn tree(&self) -> BTreeMap<String, Node> {
        let mut all = self.everything();
        all.retain(|path, _| path != ".wl" && !path.starts_with(".wl/"));
        all
    }

    /// What is at each path.
    pub fn everything(&self) -> BTreeMap<String, Node> {
        let state = self.disk.state();
        let mut all = BTreeMap::new();
        let mut rest = vec![(ROOT, String::new())];
        while let Some((folder, above)) = rest.pop() {
            let entries = state.folder(folder).cloned().unwrap_or_default();
            for (name, ino) in entries {
                let path = format!("{above}{name}");
                let node = match state.inode(ino).map(|inode| &inode.content) {
                    Ok(Content::File(file)) => Node::File(file.now.clone()),
                    Ok(Content::Link(target)) => Node::Link(target.clone()),
                    Ok(Content::Folder(_)) => {
                        rest.push((ino, format!("{path}/")));
                        Node::Folder
                    }
                    Err(_) => continue,
                };
                all.insert(path, node);
            }
        }
        all
    }

    /// The content of the file at a path.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.disk.state();
        let ino = state.at(path).ok()?;
        state.file(ino).ok().map(|file| file.now.clone())
    }

    fn edit<T>(&self, work: impl FnOnce(&mut State, Timestamp) -> Sys<T>) -> Sys<T> {
        let now = self.disk.machine().file_time();
        let mut state = self.disk.state();
        // What a user takes care of is durable even where programs are lied to.
        let lies = std::mem::replace(&mut state.lies, !self.syncs);
        let done = work(&mut state, now);
        state.lies = lies;
        done
    }
}

impl Held {
    /// Writes over what is in the file, and tells what that was.
    pub fn write(&self, content: &[u8]) -> Sys<Vec<u8>> {
        let now = self.disk.machine().file_time();
        let mut state = self.disk.state();
        if state.epoch != self.epoch {
            return Err(Errno::IO);
        }
        let old = state.file(self.ino)?.now.clone();
        state.change(self.ino, Change::Size(0), now)?;
        state.change(self.ino, Change::Write(0, content.to_vec()), now)?;
        state.harden(self.ino);
        Ok(old)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.epoch == self.epoch
            && let Some(count) = state.open.get_mut(&self.ino)
        {
            *count -= 1;
            if *count == 0 {
                state.open.remove(&self.ino);
            }
        }
    }
}

impl State {
    fn at(&self, path: &str) -> Sys<u64> {
        path.split('/')
            .try_fold(ROOT, |at, name| self.find(at, name))
    }

    /// The folder that holds `path`, made if need be and durable then, and the name in it.
    fn reach(&mut self, path: &str, now: Timestamp) -> Sys<(u64, String)> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut at = ROOT;
        for step in above.split('/').filter(|step| !step.is_empty()) {
            at = match self.find(at, step) {
                Err(Errno::NOENT) => {
                    let folder = Content::Folder(BTreeMap::new());
                    let made = self.make(at, step, folder, 0o777, now)?;
                    self.harden(at);
                    made
                }
                found => found?,
            };
        }
        Ok((at, name.to_owned()))
    }

    fn remove(&mut self, path: &str, now: Timestamp) -> Sys<()> {
        let ino = self.at(path)?;
        if let Ok(entries) = self.folder(ino) {
            for name in entries.keys().cloned().collect::<Vec<_>>() {
                self.remove(&format!("{path}/{name}"), now)?;
            }
        }
        let (folder, name) = self.reach(path, now)?;
        self.rename_slots(vec![(folder, name, None)], now)?;
        self.harden(folder);
        Ok(())
    }

    /// By POSIX alone a file's `fsync` says nothing of its names; on ext4, XFS and btrfs it does.
    fn harden(&mut self, ino: u64) {
        self.sync(ino, false);
    }
}
