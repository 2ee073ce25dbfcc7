//! What tests do behind the backend's back: an editor's changes, trouble, and looking at everything at once.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use wl_core::model::{FileId, Mode, SyncPath, Timestamp};
use wl_core::storage::{
    ErrorKind, MachineFolder, Result, RootMarker, StorageError, TrashId, TrashState,
};

use super::MemoryBackend;
use super::state::{Body, State};

/// An entry as [`MemoryBackend::snapshot`] shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemoryNode {
    /// A file.
    File {
        /// Its content.
        content: Bytes,
        /// Its permission bits, if they are kept.
        mode: Option<Mode>,
        /// Its modification time.
        mtime: Timestamp,
    },
    /// A folder.
    Folder {
        /// Its permission bits, if they are kept.
        mode: Option<Mode>,
    },
    /// A symbolic link and where it points.
    Link(Box<str>),
    /// A socket, device or pipe.
    Special,
}

fn parse(path: &str) -> Result<SyncPath> {
    SyncPath::new(path)
        .map_err(|error| StorageError::new(ErrorKind::Unrepresentable, "edit", error.to_string()))
}

impl MemoryBackend {
    /// Everything in the tree, by the text of its key (`a/` for a folder).
    pub fn snapshot(&self) -> BTreeMap<String, MemoryNode> {
        let state = self.store.lock();
        let nodes = state.nodes.iter();
        nodes
            .map(|(key, node)| {
                let shown = match &node.body {
                    Body::File { content, .. } => MemoryNode::File {
                        content: content.clone(),
                        mode: node.mode,
                        mtime: node.mtime,
                    },
                    Body::Folder => MemoryNode::Folder { mode: node.mode },
                    Body::Link(target) => MemoryNode::Link(target.clone()),
                    Body::Special => MemoryNode::Special,
                };
                (key.to_text(), shown)
            })
            .collect()
    }

    fn edit<T>(
        &self,
        path: &str,
        work: impl FnOnce(&mut State, &SyncPath) -> Result<T>,
    ) -> Result<T> {
        let path = parse(path)?;
        self.store.at("edit", &path, |state| work(state, &path))
    }

    fn put(&self, path: &str, body: Body) -> Result<()> {
        self.edit(path, |state, path| {
            let place = match state.find(path) {
                Some((key, _)) if key.folder => {
                    return Err(StorageError::new(
                        ErrorKind::Changed,
                        "edit",
                        "a folder is there; remove it first",
                    ));
                }
                Some((key, _)) => key.path.clone(),
                None => state.place("edit", path, true)?,
            };
            let mode = state.find(path).and_then(|(_, node)| node.mode);
            let node = state.node(body, None, mode);
            state.swap(place, node);
            Ok(())
        })
    }

    /// Writes a file as an editor does, whatever is there; missing folders are made.
    pub fn write_file(&self, path: &str, content: impl Into<Vec<u8>>) -> Result<()> {
        self.put(path, Body::file(Bytes::from(content.into())))
    }

    /// Makes a link, whatever is there.
    pub fn make_link(&self, path: &str, target: &str) -> Result<()> {
        self.put(path, Body::Link(target.into()))
    }

    /// Puts a socket, device or pipe there.
    pub fn make_special(&self, path: &str) -> Result<()> {
        self.put(path, Body::Special)
    }

    /// Makes a folder, and those above it. Without effect where empty folders are not kept, or if it is there.
    pub fn make_folder(&self, path: &str) -> Result<()> {
        self.edit(path, |state, path| {
            if state.find(path).is_none() && self.store.settings.empty_folders {
                let place = state.place("edit", path, true)?;
                let node = state.node(Body::Folder, None, None);
                state.insert(place, node);
            }
            Ok(())
        })
    }

    /// Removes what is at `path` and all below it; not into the trash. Whether something was there.
    pub fn remove(&self, path: &str) -> Result<bool> {
        self.edit(path, |state, path| {
            let there = state.find(path).is_some();
            let below: Vec<_> = state.nodes.keys().rev().cloned().collect();
            for key in below.into_iter().filter(|key| key.path.is_within(path)) {
                state.take(&key.path);
            }
            Ok(there)
        })
    }

    /// Renames what is at `from`, with all that is in it: it stays the same entry. False if nothing is there, something is at `to`, or the
    /// folder of `to` is missing.
    pub fn rename(&self, from: &str, to: &str) -> Result<bool> {
        let to = SyncPath::new(to).map_err(|error| {
            StorageError::new(ErrorKind::Unrepresentable, "edit", error.to_string())
        })?;
        self.edit(from, |state, from| {
            let Some((key, _)) = state.find(from) else {
                return Ok(false);
            };
            let folder = key.folder;
            if to.is_within(from) || state.find(&to).is_some() {
                return Ok(false);
            }
            let Ok(place) = state.place("edit", &to, false) else {
                return Ok(false);
            };
            state.move_tree(from, &place);
            if !folder {
                // As on real file systems: what is in a folder does not know of its move.
                let version = state.tick();
                if let Some(node) = state.node_mut(&place) {
                    node.version = version;
                }
            }
            Ok(true)
        })
    }

    /// Shows the folder `from` at `to` too, with all that is in it: the same entries at two places, as where a folder is mounted at a second
    /// one, or as in a snapshot. What is changed at one place from then on is not at the other.
    pub fn show_twice(&self, from: &str, to: &str) -> Result<()> {
        let to = parse(to)?;
        self.edit(from, |state, from| {
            let place = state.place("edit", &to, false)?;
            let shown = state.nodes.iter();
            let shown =
                shown.filter_map(|(key, node)| Some((key.path.moved(from, &place)?, node.clone())));
            for (path, node) in shown.collect::<Vec<_>>() {
                state.insert(path, node);
            }
            Ok(())
        })
    }

    /// A file's content.
    pub fn read_file(&self, path: &str) -> Option<Bytes> {
        let found = self.edit(path, |state, path| {
            Ok(state.find(path).and_then(|(_, node)| match &node.body {
                Body::File { content, .. } => Some(content.clone()),
                _ => None,
            }))
        });
        found.ok().flatten()
    }

    fn change(&self, path: &str, change: impl FnOnce(&mut super::state::Node)) -> Result<()> {
        self.edit(path, |state, path| {
            let version = state.tick();
            let node = state.node_mut(path).ok_or_else(|| {
                StorageError::new(ErrorKind::NotFound, "edit", "nothing is there")
            })?;
            node.version = version;
            change(node);
            Ok(())
        })
    }

    /// Changes a modification time, and with it the token, but not the content.
    pub fn touch(&self, path: &str, mtime: Timestamp) -> Result<()> {
        self.change(path, |node| node.mtime = mtime)
    }

    /// Changes permission bits, where they are kept.
    pub fn chmod(&self, path: &str, mode: Mode) -> Result<()> {
        let kept = self.store.settings.modes;
        self.change(path, |node| {
            if kept && node.mode.is_some() {
                node.mode = Some(mode);
            }
        })
    }

    /// Makes a file or the inside of a folder unreadable, or readable again.
    pub fn set_unreadable(&self, path: &str, unreadable: bool) -> Result<()> {
        self.change(path, |node| node.unreadable = unreadable)
    }

    /// Everything can be read again.
    pub fn make_readable(&self) {
        let mut state = self.store.lock();
        let version = state.tick();
        let nodes = state.nodes.values_mut();
        for node in nodes.filter(|node| node.unreadable) {
            (node.unreadable, node.version) = (false, version);
        }
        let thrown = state.trash.values_mut();
        thrown.for_each(|item| item.node.unreadable = false);
    }

    /// Puts a name that is no path part into a folder (the empty path is the root).
    pub fn add_odd_name(&self, folder: &str, name: &str) -> Result<()> {
        self.edit(folder, |state, path| {
            let names = state.odd_names.entry(path.clone()).or_default();
            names.push(name.to_owned());
            Ok(())
        })
    }

    /// Writes to a version in the trash, as a program does that still holds the file open.
    pub fn write_to_trash(&self, id: &TrashId, content: impl Into<Vec<u8>>) -> Result<()> {
        let body = Body::file(Bytes::from(content.into()));
        self.store.with("edit", |state| {
            let number = state.trash_number(id);
            let item = number.and_then(|number| state.trash.get_mut(&number));
            let item = item.ok_or_else(|| {
                StorageError::new(ErrorKind::NotFound, "edit", "the trash has no such version")
            })?;
            item.node.body = body;
            Ok(())
        })
    }

    /// Which file is at `path`, for [`MemoryBackend::write_open`].
    pub fn open_file(&self, path: &str) -> Option<FileId> {
        let found = self.edit(path, |state, path| {
            let file = state.find(path).filter(|(key, _)| !key.folder);
            Ok(file.map(|(_, node)| node.id))
        });
        found.ok().flatten()
    }

    /// Writes to a file as a program does that holds it open, wherever it is by now: in the tree, or in the trash. Its path, if it
    /// is in the tree. An error: it is nowhere any more.
    pub fn write_open(&self, file: FileId, content: impl Into<Vec<u8>>) -> Result<Option<String>> {
        let body = Body::file(Bytes::from(content.into()));
        self.store.with("edit", |state| {
            let version = state.tick();
            let (mtime, mut open) = (
                Timestamp {
                    secs: state.now(),
                    nanos: 0,
                },
                None,
            );
            for (key, node) in &mut state.nodes {
                if node.id == file {
                    open = Some((Some(key.to_text()), node));
                }
            }
            let mut thrown = state.trash.values_mut().map(|item| &mut item.node);
            let open =
                open.or_else(|| thrown.find(|node| node.id == file).map(|node| (None, node)));
            let (path, node) = open.ok_or_else(|| {
                StorageError::new(ErrorKind::NotFound, "edit", "the file is gone")
            })?;
            (node.body, node.version, node.mtime) = (body, version, mtime);
            Ok(path)
        })
    }

    /// Makes a version in the trash one that nobody agreed to give up, as storages do that find out about a race afterwards.
    pub fn rescue(&self, id: &TrashId) -> Result<()> {
        self.store.with("edit", |state| {
            let number = state.trash_number(id);
            let item = number.and_then(|number| state.trash.get_mut(&number));
            let item = item.ok_or_else(|| {
                StorageError::new(ErrorKind::NotFound, "edit", "the trash has no such version")
            })?;
            item.state = TrashState::Rescued;
            Ok(())
        })
    }

    /// The content of a file in the trash.
    pub fn read_trash(&self, id: &TrashId) -> Option<Bytes> {
        let mut state = self.store.lock();
        let number = state.trash_number(id)?;
        match &state.trash.get_mut(&number)?.node.body {
            Body::File { content, .. } => Some(content.clone()),
            _ => None,
        }
    }

    /// Takes the store away (every call fails), or brings it back.
    pub fn set_available(&self, available: bool) {
        self.store.lock().available = available;
    }

    /// What [`wl_core::storage::StorageBackend::root_marker`] says from now on.
    pub fn set_root_marker(&self, marker: RootMarker) {
        self.store.lock().marker = marker;
    }

    /// What [`wl_core::storage::StorageBackend::lies_in`] says from now on.
    pub fn set_lies_in(&self, folders: Vec<MachineFolder>) {
        self.store.lock().lies_in = folders;
    }

    /// Lets logical time pass. All tokens settle.
    pub fn pass_time(&self, time: Duration) {
        let mut state = self.store.lock();
        state.skipped_seconds += i64::try_from(time.as_secs()).unwrap_or(i64::MAX / 4);
        state.settle();
    }
}
