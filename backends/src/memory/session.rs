//! Sessions: staged content belongs to the session and is gone with it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use wl_core::model::{ContentHash, FileId, Kind, Mode, SyncPath};
use wl_core::planted::{Bug, planted};
use wl_core::storage::{
    ContentWriter, CopyFrom, Displaced, ErrorKind, Expect, Expected, Payload, Published,
    ReadRequest, RemoveRequest, RenameRequest, ReplaceRequest, Result, SessionOptions,
    StageRequest, Staged, StorageError, StrandedVersion, TrashState, WriteSession,
};

use super::listing::check_cancel;
use super::reader::read_version;
use super::state::{Body, Node, State, changed};
use super::store::{Store, lock};

#[derive(Debug)]
pub(super) struct MemorySession {
    shared: Arc<Shared>,
}

/// What a session and its writers share.
#[derive(Debug)]
struct Shared {
    store: Arc<Store>,
    number: u64,
    options: SessionOptions,
    staged: Mutex<HashMap<u64, (StageRequest, Body)>>,
    last_staged: AtomicU64,
    displaced: AtomicU64,
    stranded: Mutex<Vec<StrandedVersion>>,
    finished: AtomicBool,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.store.lock().live_sessions.remove(&self.number);
    }
}

impl MemorySession {
    pub fn begin(store: &Arc<Store>, options: SessionOptions) -> Result<Self> {
        let (number, stranded) = store.with("begin", |state| {
            if !store.capabilities.writable {
                return Err(StorageError::new(
                    ErrorKind::Unsupported,
                    "begin",
                    "the storage is read-only; write to another",
                ));
            }
            let sound = |c: char| c.is_ascii_alphanumeric() || c == '-';
            let taken = state.live_sessions.values().any(|run| *run == options.run);
            if options.run.is_empty() || !options.run.chars().all(sound) || taken {
                return Err(StorageError::new(
                    ErrorKind::Config,
                    "begin",
                    "a run's name is of letters, digits and `-`, and no other run's",
                ));
            }
            Ok((state.session(&options.run), state.trash_find_late()))
        })?;
        Ok(Self {
            shared: Arc::new(Shared {
                store: Arc::clone(store),
                number,
                options,
                staged: Mutex::default(),
                last_staged: AtomicU64::new(0),
                displaced: AtomicU64::new(0),
                stranded: Mutex::new(stranded),
                finished: AtomicBool::new(false),
            }),
        })
    }
}

impl Shared {
    /// Does `work` if the session lives and was not told to stop.
    fn at<T>(
        &self,
        operation: &'static str,
        path: &SyncPath,
        work: impl FnOnce(&mut State) -> Result<T>,
    ) -> Result<T> {
        self.store.at(operation, path, |state| {
            check_cancel(operation, &self.options.cancel)?;
            if self.finished.load(SeqCst) {
                return Err(StorageError::new(
                    ErrorKind::Other,
                    operation,
                    "the session has ended; begin another",
                ));
            }
            work(state)
        })
    }

    fn keep_staged(&self, request: StageRequest, body: Body) -> Staged {
        let number = self.last_staged.fetch_add(1, SeqCst) + 1;
        let staged = Staged {
            number,
            kind: body.kind(),
            hash: match &body {
                Body::File { hash, .. } => *hash,
                _ => request.hash,
            },
            size: body.size(),
            note: self.number.to_string().into(),
        };
        lock(&self.staged).insert(number, (request, body));
        staged
    }

    fn stage(&self, request: StageRequest) -> Result<Staged> {
        let body = match &request.payload {
            Payload::Bytes(content) => Body::file(content.clone()),
            Payload::Link(target) => Body::Link(target.clone()),
        };
        self.at("stage", &request.path, |_| {
            if matches!(body, Body::Link(_)) && !self.store.capabilities.links {
                return Err(StorageError::new(
                    ErrorKind::Unrepresentable,
                    "stage",
                    "the storage keeps no symbolic links; put a file or folder in its place, or move it elsewhere",
                ));
            }
            check_hash(&body, request.hash)
        })?;
        Ok(self.keep_staged(request, body))
    }

    fn stage_copy(&self, request: StageRequest, from: CopyFrom) -> Result<Staged> {
        self.at("copy", &request.path, |_| Ok(()))?;
        let source = Store::at_location(&from.source.address).ok_or_else(|| {
            StorageError::new(
                ErrorKind::Unavailable,
                "copy",
                "the store to copy from is gone",
            )
        })?;
        let wanted = ReadRequest {
            path: from.path,
            meta: from.meta,
        };
        let read = source.at("copy", &wanted.path, |state| read_version(state, &wanted))?;
        Ok(self.keep_staged(request, Body::file(read.content)))
    }

    fn take_staged(&self, staged: &Staged) -> Result<(StageRequest, Body)> {
        let own = *staged.note == *self.number.to_string();
        let found = lock(&self.staged).remove(&staged.number).filter(|_| own);
        found.ok_or_else(|| {
            StorageError::new(
                ErrorKind::Other,
                "replace",
                "this session has not staged that; stage it again",
            )
        })
    }

    fn replace(&self, request: ReplaceRequest) -> Result<Published> {
        let ReplaceRequest {
            path,
            staged,
            expect,
            ..
        } = request;
        self.at("replace", &path, |state| {
            let (stage, body) = self.take_staged(&staged)?;
            match &expect {
                Expect::Absent if state.find(&path).is_some() => {
                    return Err(changed("replace", "something is there"));
                }
                Expect::Absent => {}
                Expect::Is(expected) => {
                    let found = state
                        .expect("replace", &path, expected)
                        .map_err(|error| error.with_kind(ErrorKind::Changed))?;
                    if found.body.kind() == Kind::Folder {
                        return Err(changed("replace", "a folder is there"));
                    }
                }
            }
            let place = match state.find(&path) {
                Some((key, _)) => key.path.clone(),
                None => state.place("replace", &path, false)?,
            };
            let node = state.node(body, stage.mtime, stage.mode);
            let published = state.published(&node);
            if let Some(old) = state.swap(place, node) {
                self.displace(state, &path, old, TrashState::Replaced);
            }
            Ok(published)
        })
    }

    fn displace(&self, state: &mut State, path: &SyncPath, old: Node, why: TrashState) {
        if planted(Bug::TrashIsSkipped) {
            return;
        }
        state.trash_put(self.number, path, old, why);
        self.displaced.fetch_add(1, SeqCst);
    }

    fn remove(&self, request: &RemoveRequest) -> Result<()> {
        let path = &request.path;
        self.at("remove", path, |state| {
            let found = state.expect("remove", path, &request.expected)?;
            let folder = found.body.kind() == Kind::Folder;
            if folder && !state.is_empty(path) {
                return Err(StorageError::new(
                    ErrorKind::NotEmpty,
                    "remove",
                    "the folder is not empty; nothing was removed",
                ));
            }
            if let Some(old) = state.take(path).filter(|_| !folder) {
                self.displace(state, path, old, TrashState::Removed);
            }
            Ok(())
        })
    }

    fn rename_folder(&self, from: &SyncPath, id: FileId, to: &SyncPath) -> Result<()> {
        self.store.at("rename", to, |_| Ok(()))?;
        self.at("rename", from, |state| {
            if !state.keeps_folders() {
                return Err(StorageError::new(
                    ErrorKind::Unsupported,
                    "rename",
                    "folders are not renamed here; move what is in it",
                ));
            }
            let there = state.find(from).filter(|(key, _)| key.folder);
            if there.is_none_or(|(_, node)| node.id != id) {
                return Err(changed("rename", "it is not the folder that was there"));
            }
            if to.is_within(from) || state.find(to).is_some() {
                return Err(changed("rename", "something is at the new path"));
            }
            let to = state.place("rename", to, false)?;
            state.move_tree(from, &to);
            Ok(())
        })
    }

    fn rename(&self, request: &RenameRequest) -> Result<Published> {
        let RenameRequest { from, expected, to } = request;
        self.store.at("rename", to, |_| Ok(()))?;
        self.at("rename", from, |state| {
            let found = state.expect("rename", from, expected)?;
            let (kind, id) = (found.body.kind(), found.id);
            if kind == Kind::Folder {
                return Err(StorageError::new(
                    ErrorKind::Unsupported,
                    "rename",
                    "folders are not renamed; rename what is in it",
                ));
            }
            let respelled = |node: &Node| node.id == id && from != to;
            let taken = state.find(to).is_some_and(|(_, node)| !respelled(node));
            if taken && !planted(Bug::RenameOverwrites) {
                return Err(changed("rename", "something is at the new path"));
            }
            let place = state.place("rename", to, false)?;
            let version = state.tick();
            let node = state.take(from).map(|node| Node { version, ..node });
            let node = node.ok_or_else(|| changed("rename", "nothing is there"))?;
            let published = state.published(&node);
            // Taking the last file away may have taken the folder, where folders come and go with their files.
            let place = state.place("rename", &place, false)?;
            state.insert(place, node);
            Ok(published)
        })
    }

    fn make_folder(&self, path: &SyncPath, mode: Option<Mode>) -> Result<Published> {
        self.at("make folder", path, |state| {
            if !self.store.capabilities.empty_folders {
                return Err(StorageError::new(
                    ErrorKind::Unsupported,
                    "make folder",
                    "the storage keeps no empty folders; folders come with their files",
                ));
            }
            if path.is_root() || state.find(path).is_some() {
                return Err(changed("make folder", "something is there"));
            }
            let place = state.place("make folder", path, false)?;
            let node = state.node(
                Body::Folder,
                None,
                mode.map(|mode| Mode::new(mode.bits() | 0o700)),
            );
            let published = state.published(&node);
            state.insert(place, node);
            Ok(published)
        })
    }

    fn set_mode(&self, path: &SyncPath, expected: &Expected, mode: Mode) -> Result<Published> {
        self.at("set mode", path, |state| {
            let found = state.expect("set mode", path, expected)?;
            if !self.store.capabilities.modes || found.body.kind() == Kind::Link {
                return Err(StorageError::new(
                    ErrorKind::Unsupported,
                    "set mode",
                    "the storage keeps no permission bits here",
                ));
            }
            let version = state.tick();
            if let Some(node) = state.node_mut(path) {
                node.mode = Some(mode);
                node.version = version;
            }
            let found = state.find(path).map(|(_, node)| state.published(node));
            found.ok_or_else(|| changed("set mode", "nothing is there"))
        })
    }
}

fn check_hash(body: &Body, claimed: ContentHash) -> Result<()> {
    match body {
        Body::File { hash, .. } if *hash != claimed => Err(StorageError::new(
            ErrorKind::Other,
            "stage",
            "the content does not have the hash that was given; read it again",
        )),
        _ => Ok(()),
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl WriteSession for MemorySession {
    async fn stage(&self, requests: Vec<StageRequest>) -> Vec<Result<Staged>> {
        let stage = |request| self.shared.stage(request);
        requests.into_iter().map(stage).collect()
    }

    async fn stage_large(
        &self,
        request: StageRequest,
        _size: u64,
        _: &Expect,
    ) -> Result<Box<dyn ContentWriter>> {
        self.shared.at("stage", &request.path, |_| Ok(()))?;
        Ok(Box::new(MemoryWriter {
            shared: Arc::clone(&self.shared),
            request,
            content: BytesMut::new(),
        }))
    }

    async fn stage_copy(&self, request: StageRequest, from: CopyFrom) -> Result<Staged> {
        self.shared.stage_copy(request, from)
    }

    async fn flush(&self) -> Result<()> {
        self.shared.at("flush", &SyncPath::root(), |_| Ok(()))
    }

    async fn replace(&self, requests: Vec<ReplaceRequest>) -> Vec<Result<Published>> {
        let replace = |request| self.shared.replace(request);
        requests.into_iter().map(replace).collect()
    }

    async fn remove(&self, requests: Vec<RemoveRequest>) -> Vec<Result<()>> {
        requests.iter().map(|r| self.shared.remove(r)).collect()
    }

    async fn rename(&self, requests: Vec<RenameRequest>) -> Vec<Result<Published>> {
        requests.iter().map(|r| self.shared.rename(r)).collect()
    }

    async fn rename_folder(&self, from: &SyncPath, id: FileId, to: &SyncPath) -> Result<()> {
        self.shared.rename_folder(from, id, to)
    }

    async fn make_folder(&self, path: &SyncPath, mode: Option<Mode>) -> Result<Published> {
        self.shared.make_folder(path, mode)
    }

    async fn set_mode(
        &self,
        path: &SyncPath,
        expected: &Expected,
        mode: Mode,
    ) -> Result<Published> {
        self.shared.set_mode(path, expected, mode)
    }

    async fn stranded(&self) -> Vec<StrandedVersion> {
        std::mem::take(&mut *lock(&self.shared.stranded))
    }

    async fn finish(&self) -> Result<Displaced> {
        let shared = &self.shared;
        let late = shared.store.with("finish", |state| {
            let late = state.trash_find_late();
            state.trash_expire(shared.number, shared.options.trash_keep);
            shared.finished.store(true, SeqCst);
            state.live_sessions.remove(&shared.number);
            Ok(late)
        })?;
        lock(&shared.stranded).extend(late);
        lock(&shared.staged).clear();
        Ok(Displaced {
            versions: shared.displaced.load(SeqCst),
        })
    }
}

struct MemoryWriter {
    shared: Arc<Shared>,
    request: StageRequest,
    content: BytesMut,
}

#[async_trait]
impl ContentWriter for MemoryWriter {
    async fn write(&mut self, piece: Bytes) -> Result<()> {
        self.shared.at("stage", &self.request.path, |_| Ok(()))?;
        self.content.extend_from_slice(&piece);
        Ok(())
    }

    async fn finish(self: Box<Self>, hash: ContentHash) -> Result<Staged> {
        let body = Body::file(self.content.freeze());
        let check = |_: &mut State| check_hash(&body, hash);
        self.shared.at("stage", &self.request.path, check)?;
        Ok(self.shared.keep_staged(self.request, body))
    }
}
