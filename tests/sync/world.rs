//! Two storages in memory and the runs between them.

use std::sync::Arc;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use wl_backends::memory::{MemoryBackend, MemoryNode, MemorySettings};
use wl_core::model::{Direction, RunReport, Side, Sides};
use wl_core::storage::StorageBackend;
use wl_core::sync::{LastFilter, NewsSender, SyncError, SyncJob, SyncOptions, one_shot};
use wl_core::testing::Strict;
use wl_test_trees::{Hand, Node, Tree, add};

pub struct World {
    pub storages: Sides<MemoryBackend>,
    /// Stops the runs.
    pub cancel: CancellationToken,
    /// Whether the storages copy by themselves.
    pub server_copy: bool,
    state: TempDir,
}

impl World {
    pub fn new() -> Self {
        let shm = std::path::Path::new("/dev/shm");
        let state = if shm.is_dir() {
            TempDir::new_in(shm)
        } else {
            TempDir::new()
        };
        Self {
            storages: Sides::from_fn(|_| MemoryBackend::private(MemorySettings::default())),
            cancel: CancellationToken::new(),
            server_copy: false,
            state: state.unwrap(),
        }
    }

    /// Storages that copy by themselves.
    pub fn copying() -> Self {
        let mut world = Self::new();
        world.server_copy = true;
        world
    }

    pub fn options(direction: Direction) -> SyncOptions {
        let mut options = SyncOptions::new(direction);
        options.allow_empty = true;
        options.max_delete = wl_core::sync::DeleteBudget::Percent(100);
        options
    }

    pub async fn run(&self, options: SyncOptions) -> Result<RunReport, SyncError> {
        self.run_over(options, |_, storage| storage).await
    }

    /// Runs with something around each storage.
    pub async fn run_over(
        &self,
        options: SyncOptions,
        around: impl FnMut(Side, Arc<dyn StorageBackend>) -> Arc<dyn StorageBackend>,
    ) -> Result<RunReport, SyncError> {
        self.run_with(options, around, self.cancel.clone()).await
    }

    /// Runs with something around each storage, until it is told to stop.
    pub async fn run_with(
        &self,
        options: SyncOptions,
        mut around: impl FnMut(Side, Arc<dyn StorageBackend>) -> Arc<dyn StorageBackend>,
        cancel: CancellationToken,
    ) -> Result<RunReport, SyncError> {
        let job = SyncJob {
            // Stricter than any real storage: what a syncer must not do is a panic.
            storages: Sides::from_fn(|side| {
                Strict::over(around(side, Arc::new(self.storages[side].clone())))
            }),
            cancel,
            ..self.job(options)
        };
        one_shot(job, "test").await
    }

    pub fn job(&self, options: SyncOptions) -> SyncJob {
        SyncJob {
            storages: Sides::from_fn(|side| Arc::new(self.storages[side].clone()) as _),
            options,
            server_copy: self.server_copy,
            state_dir: self.state.path().to_owned(),
            poll: Sides::default(),
            patience: None,
            last_filter: LastFilter::default(),
            progress: Arc::default(),
            news: NewsSender::default(),
            cancel: CancellationToken::new(),
        }
    }

    pub async fn sync(&self, direction: Direction) -> RunReport {
        self.run(Self::options(direction)).await.unwrap()
    }

    /// Writes over the baseline.
    pub fn damage(&self) {
        for file in std::fs::read_dir(self.state.path()).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|end| end == "db") {
                std::fs::write(path, "no database".repeat(1000)).unwrap();
            }
        }
    }

    /// Writes over a page of the baseline, so many eighths into its file.
    pub fn damage_page(&self, eighths: u64) {
        use std::os::unix::fs::FileExt;
        for file in std::fs::read_dir(self.state.path()).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|end| end == "db") {
                let file = std::fs::File::options().write(true).open(path).unwrap();
                let pages = file.metadata().unwrap().len() / 4096;
                let at = pages * eighths / 8 * 4096;
                file.write_all_at(&[0xff; 4096], at).unwrap();
            }
        }
    }

    /// Forgets the baseline.
    pub fn forget(&self) {
        for file in std::fs::read_dir(self.state.path()).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
    }
}

/// Edits behind wl's back.
struct Editor<'a>(&'a MemoryBackend);

impl Hand for Editor<'_> {
    fn write(&self, path: &str, content: &str) {
        // A new file takes the place of the old one, as most editors save.
        self.0.remove(path).unwrap();
        self.0.write_file(path, content.as_bytes()).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        self.0.make_link(path, target).unwrap();
    }

    fn make_folder(&self, path: &str) {
        self.0.make_folder(path).unwrap();
    }

    fn remove(&self, path: &str, _: &Node) {
        self.0.remove(path).unwrap();
    }
}

/// Edits `storage` from what it holds to `tree`, touching only what differs.
pub fn edit_to(storage: &MemoryBackend, tree: &Tree) {
    wl_test_trees::edit(&Editor(storage), &read(storage), tree);
}

/// The whole tree of a storage.
pub fn read(storage: &MemoryBackend) -> Tree {
    let mut tree = Tree::new();
    for (key, node) in storage.snapshot() {
        let node = match node {
            MemoryNode::File { content, .. } => {
                Node::File(String::from_utf8_lossy(&content).into_owned())
            }
            MemoryNode::Link(target) => Node::Link(target.into_string()),
            MemoryNode::Folder { .. } => Node::Folder(Tree::new()),
            MemoryNode::Special => continue,
        };
        add(&mut tree, key.trim_end_matches('/'), node);
    }
    tree
}
