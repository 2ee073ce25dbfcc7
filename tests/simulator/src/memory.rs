//! Storages and baselines in memory.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;
use wl_backends::memory::{MemoryBackend, MemoryNode, MemorySettings};
use wl_core::model::{ContentHash, FileId, Sides, SyncPath, Timestamp, Token};
use wl_core::state::{BaselineRow, PairState};
use wl_core::storage::StorageBackend;
use wl_core::testing::MemoryStates;

use crate::Dice;
use crate::faults::Fired;
use crate::judge::Kept;
use crate::plan::{Edit, SitePlan};
use crate::site::{Modes, Shown, Site, States, Tree, Windows};
use crate::weak::Weak;

/// The reference backend as a storage of a simulated world.
#[derive(Debug)]
pub struct MemorySite {
    backend: MemoryBackend,
    weak: Mutex<Weak>,
    /// The file that a program has open.
    open: Mutex<Option<FileId>>,
}

impl MemorySite {
    /// An empty one.
    pub fn new(plan: &SitePlan) -> Self {
        let settings = MemorySettings::default()
            .empty_folders(plan.empty_folders)
            .modes(plan.modes)
            .stale_listings(plan.stale)
            .changes_per_token(plan.changes_per_token);
        let backend = MemoryBackend::private(settings);
        Self {
            weak: Mutex::new(Weak::new(backend.clone(), plan)),
            backend,
            open: Mutex::default(),
        }
    }

    fn weak(&self) -> MutexGuard<'_, Weak> {
        self.weak.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which version of which content is at a path, as far as its token tells.
    fn version(&self, path: &str) -> Option<(Token, ContentHash)> {
        let path = SyncPath::new(path).ok()?;
        let token = self.backend.file_token(&path).now_or_never()?.ok()??;
        let cancel = CancellationToken::new();
        let hashed = self.backend.hash(&path, &cancel).now_or_never()?.ok()?;
        Some((token, hashed.hash))
    }

    fn do_edit(&self, edit: &Edit) {
        let backend = &self.backend;
        for (path, content) in edit.files().into_iter().flatten() {
            let _ = match content {
                Some(content) => backend.write_file(&path, content),
                None => backend.remove(&path).map(drop),
            };
        }
        // What cannot be done is not done: the editor says so to its user.
        let _ = match edit {
            Edit::Write(path, content) => backend.write_file(path, content.bytes()),
            Edit::WriteInPlace(path, content) => match backend.open_file(path) {
                Some(file) => backend.write_open(file, content.bytes()).map(drop),
                None => Ok(()),
            },
            Edit::Open(path) => {
                self.keep_open(backend.open_file(path));
                Ok(())
            }
            Edit::WriteOpen(content) => {
                let open = *self.open.lock().unwrap_or_else(PoisonError::into_inner);
                match open {
                    Some(file) => {
                        let written = backend.write_open(file, content.bytes());
                        written.map(|_| self.weak().count("write to an open file"))
                    }
                    None => Ok(()),
                }
            }
            Edit::Remove(path) => backend.remove(path).map(drop),
            Edit::Rename(from, to) => backend.rename(from, to).map(drop),
            Edit::MakeFolder(path) => backend.make_folder(path),
            Edit::Link(path, target) => backend.make_link(path, target),
            Edit::Touch(path) => {
                let time = Timestamp {
                    secs: 1_234_567,
                    nanos: 0,
                };
                backend.touch(path, time)
            }
            Edit::Lock(path) => backend.set_unreadable(path, true),
            Edit::Unlock(path) => backend.set_unreadable(path, false),
            Edit::Chmod(path, mode) => backend.chmod(path, wl_core::model::Mode::new(*mode)),
            Edit::Ignore(_) | Edit::Transact(..) | Edit::Commit(_) => Ok(()),
        };
    }

    fn keep_open(&self, file: Option<FileId>) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = file;
    }
}

impl Site for MemorySite {
    fn backend(&self) -> Arc<dyn StorageBackend> {
        Arc::new(self.weak().clone())
    }

    fn set_windows(&self, windows: Arc<dyn Windows>) {
        self.weak().with_windows(windows);
    }

    fn given_up(&self) -> Vec<ContentHash> {
        self.weak().lost()
    }

    fn edit(&self, edit: &Edit) {
        let paths = edit.paths();
        let versions = || paths.iter().map(|path| self.version(path));
        let before: Vec<_> = versions().collect();
        self.do_edit(edit);
        for both in before.into_iter().zip(versions()) {
            if let (Some((was, old)), Some((is, new))) = both
                && was == is
                && old != new
            {
                self.weak().count("token shared by versions");
            }
        }
    }

    fn struck(&self) -> Fired {
        self.weak().struck()
    }

    fn tree(&self) -> Tree {
        let nodes = self.backend.snapshot().into_iter();
        let nodes = nodes.filter_map(|(key, node)| {
            let shown = match node {
                MemoryNode::File { content, .. } => Shown::File(ContentHash::of(&content)),
                MemoryNode::Folder { .. } => Shown::Folder,
                MemoryNode::Link(target) => Shown::Link(target.into_string()),
                MemoryNode::Special => return None,
            };
            Some((key.trim_end_matches('/').to_owned(), shown))
        });
        nodes.collect()
    }

    fn modes(&self) -> Modes {
        let nodes = self.backend.snapshot().into_iter();
        let nodes = nodes.filter_map(|(key, node)| match node {
            MemoryNode::File { mode, .. } | MemoryNode::Folder { mode } => {
                Some((key.trim_end_matches('/').to_owned(), mode?.bits()))
            }
            MemoryNode::Link(_) | MemoryNode::Special => None,
        });
        nodes.collect()
    }

    fn kept(&self) -> Vec<Kept> {
        let items = self.backend.trash_list().now_or_never().transpose();
        let items = items.ok().flatten().unwrap_or_default().into_iter();
        let kept = items.filter_map(|item| {
            let content = self.backend.read_trash(&item.id)?;
            Some(Kept {
                content: ContentHash::of(&content),
                claimed: item.state.is_claimed(),
            })
        });
        kept.collect()
    }

    fn is_sure(&self) -> bool {
        true
    }

    fn crash(&self, _: &mut Dice) {}

    fn set_mounted(&self, mounted: bool) {
        self.weak().set_mounted(mounted);
    }

    fn make_readable(&self) {
        self.backend.make_readable();
    }

    fn age(&self) {
        self.backend.pass_time(std::time::Duration::from_secs(60));
    }
}

/// Baselines in memory. What was committed survives a crash.
#[derive(Debug, Default)]
pub struct MemoryStatesOfPair(MemoryStates);

impl States for MemoryStatesOfPair {
    fn dir(&self) -> PathBuf {
        self.0.dir().to_owned()
    }

    fn commits(&self) -> i64 {
        self.0.commits().unwrap()
    }

    fn rows(&self, identities: Sides<&str>) -> Vec<BaselineRow> {
        let state = PairState::peek(self.0.dir(), identities).unwrap();
        state.map_or_else(Vec::new, |state| state.rows_in("", None, 10_000).unwrap())
    }

    fn forget(&self) {
        self.0.forget();
    }

    fn crash(&self, _: &mut Dice) {}
}
