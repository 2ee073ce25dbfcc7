//! A run's writes: what a session holds, what it has to make durable, and its end.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use rustix::io::Errno;
use wl_core::model::{FileId, Mode, SyncPath};
use wl_core::storage::{
    ContentWriter, Displaced, Durability, ErrorKind, Expect, Expected, Published, RemoveRequest,
    RenameRequest, ReplaceRequest, Result, SessionOptions, StageRequest, Staged, StorageError,
    StrandedVersion, WriteSession,
};

use super::dir::{READ, open_folder};
use super::durable::{FEW, sync_one};
use super::root::{Root, Spot};
use super::stage::{self, Stage, part};
use super::sys::{self, Sys};
use super::{blocking, recover, reserved, trash};

/// What a session holds.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) spot: Arc<Spot>,
    pub(super) root: Root,
    pub(super) options: SessionOptions,
    pub(super) displaced: AtomicU64,
    stage: Mutex<Option<Arc<Stage>>>,
    ended: AtomicBool,
    next: AtomicU64,
    stranded: Mutex<Vec<StrandedVersion>>,
    dirty: Mutex<Dirty>,
    /// Held while something is made durable: who flushes next waits for what the one before took over.
    flushing: Mutex<()>,
}

/// What is not durable yet.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    staged: BTreeSet<u64>,
    /// The names in the staging folder changed.
    parts: bool,
    files: BTreeSet<SyncPath>,
    folders: BTreeSet<SyncPath>,
    many: bool,
    /// A sync failed. The system forgets that, we do not: nothing written before can be relied on.
    failed: Option<Errno>,
}

impl Dirty {
    pub(super) fn staged(&mut self, n: u64) {
        self.staged.insert(n);
        self.part();
        self.limit();
    }

    /// Content was staged.
    pub(super) fn part(&mut self) {
        self.parts = true;
    }

    /// Staged content became the file at `path`.
    pub(super) fn published(&mut self, n: u64, path: &SyncPath) {
        if self.staged.remove(&n) {
            self.files.insert(path.clone());
        }
        self.folder_of(path);
    }

    /// The names in the folder of `path` changed.
    pub(super) fn folder_of(&mut self, path: &SyncPath) {
        self.folders
            .insert(path.parent().unwrap_or_else(SyncPath::root));
        self.limit();
    }

    /// The attributes of `path` changed.
    pub(super) fn file(&mut self, path: &SyncPath) {
        self.files.insert(path.clone());
        self.limit();
    }

    fn limit(&mut self) {
        if self.staged.len() + self.files.len() + self.folders.len() > FEW {
            *self = Self {
                many: true,
                failed: self.failed,
                ..Self::default()
            };
        }
    }
}

impl Session {
    /// Starts a session; leftovers of dead ones are taken care of.
    pub(super) fn begin(spot: Arc<Spot>, options: SessionOptions) -> Result<Self> {
        if !reserved::is_run(&options.run) {
            let reason = format!(
                "`{}` cannot name a run; use letters, digits and `-`",
                options.run
            );
            return Err(StorageError::new(ErrorKind::Config, "begin", reason).on(&spot.location));
        }
        let root = spot.open()?;
        let mut stranded = Vec::new();
        // On a storage that is mounted read-only there is nothing that could be tidied up.
        if let Some(wl) = reserved::open(&root)?
            && spot.capabilities().writable
        {
            recover::recover(&spot, &root, &wl, &mut stranded)?;
        }
        Ok(Self {
            spot,
            root,
            options,
            displaced: AtomicU64::new(0),
            stage: Mutex::new(None),
            ended: AtomicBool::new(false),
            next: AtomicU64::new(0),
            stranded: Mutex::new(stranded),
            dirty: Mutex::new(Dirty::default()),
            flushing: Mutex::new(()),
        })
    }

    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Refuses to go on when told to stop.
    pub(super) fn go_on(&self, operation: &'static str) -> Result<()> {
        match self.options.cancel.is_cancelled() {
            true => Err(sys::os_error(operation, Errno::CANCELED).on(&self.root.location)),
            false => Ok(()),
        }
    }

    /// The staging folder, made when it is first needed.
    pub(super) fn stage(&self) -> Result<Arc<Stage>> {
        if self.ended.load(Ordering::SeqCst) {
            let reason = "the session has ended; begin another";
            let error = StorageError::new(ErrorKind::Other, "stage", reason);
            return Err(error.on(&self.root.location));
        }
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stage) = &*stage {
            return Ok(Arc::clone(stage));
        }
        let made = Stage::make(&self.spot, &self.root, &self.options.run)?;
        Ok(Arc::clone(stage.insert(Arc::new(made))))
    }

    pub(super) fn dirty(&self) -> MutexGuard<'_, Dirty> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn strand(&self, version: StrandedVersion) {
        self.stranded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(version);
    }

    pub(super) fn durable(&self) -> bool {
        self.options.durability != Durability::None
    }

    /// With full durability: makes durable at once.
    pub(super) fn flush_if_full(&self) -> Result<()> {
        match self.options.durability {
            Durability::Full => self.flush_now(),
            _ => Ok(()),
        }
    }

    pub(super) fn flush_now(&self) -> Result<()> {
        if !self.durable() {
            return Ok(());
        }
        let _turn = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = std::mem::take(&mut *self.dirty());
        let failed = now.failed.or_else(|| self.sync(&now).err());
        self.dirty().failed = failed;
        match failed {
            None => Ok(()),
            Some(errno) => Err(sys::os_error("flush", errno).on(&self.root.location)),
        }
    }

    fn sync(&self, dirty: &Dirty) -> Sys<()> {
        let stage = self
            .stage
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if dirty.many {
            self.root.fd.sync_all()?;
            if let Some(stage) = stage {
                stage.all_is_durable();
            }
            return Ok(());
        }
        if let Some(stage) = stage {
            for &n in &dirty.staged {
                sync_one(&self.root, sys::open_file(&stage.folder, &part(n)))?;
            }
            if dirty.parts {
                stage.sync_names(&self.root)?;
            }
        }
        for path in &dirty.files {
            let folder = path.parent().unwrap_or_else(SyncPath::root);
            let file = open_folder(&self.root.fd, folder.as_str(), super::dir::PATH)
                .and_then(|folder| sys::open_file(&folder, path.name()));
            sync_one(&self.root, file)?;
        }
        for path in &dirty.folders {
            sync_one(&self.root, open_folder(&self.root.fd, path.as_str(), READ))?;
        }
        Ok(())
    }

    fn end(&self) -> Result<Displaced> {
        let failed = |errno| trash::error(&self.root.location, "finish", errno);
        let flushed = self.flush_now();
        self.ended.store(true, Ordering::SeqCst);
        let stage = self
            .stage
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let wrote = stage.is_some() || self.spot.capabilities().writable;
        if let Some(wl) = reserved::open(&self.root)?
            && wrote
        {
            let _lock = reserved::lock(&wl).map_err(failed)?;
            if let Some(stage) = stage {
                stage.clear(self.durable()).map_err(failed)?;
            }
            let mut found = Vec::new();
            let looked =
                trash::look_through(&wl, &self.options.run, self.options.trash_keep, &mut found);
            found.into_iter().for_each(|version| self.strand(version));
            looked.map_err(|errno| {
                reserved::error("finish", reserved::TRASH, errno, &self.root.location)
            })?;
        }
        flushed?;
        Ok(Displaced {
            versions: self.displaced.load(Ordering::SeqCst),
        })
    }
}

/// The session as the contract knows it. All work is done a batch at a time on a thread that may block.
#[derive(Debug)]
pub(super) struct LocalSession(pub(super) Arc<Session>);

impl LocalSession {
    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Session) -> T + Send + 'static,
    ) -> Result<T> {
        let session = Arc::clone(&self.0);
        blocking(session.spot.runs(), operation, move || work(&session)).await
    }

    async fn batch<T: Send + 'static>(
        &self,
        operation: &'static str,
        count: usize,
        work: impl FnOnce(&Session) -> Vec<Result<T>> + Send + 'static,
    ) -> Vec<Result<T>> {
        match self.run(operation, work).await {
            Ok(results) => results,
            Err(error) => super::all_failed(count, &error),
        }
    }
}

#[async_trait]
impl WriteSession for LocalSession {
    async fn stage(&self, requests: Vec<StageRequest>) -> Vec<Result<Staged>> {
        let count = requests.len();
        self.batch("stage", count, move |session| {
            session.stage_batch(&requests)
        })
        .await
    }

    async fn stage_large(
        &self,
        request: StageRequest,
        _size: u64,
        _: &Expect,
    ) -> Result<Box<dyn ContentWriter>> {
        let session = Arc::clone(&self.0);
        blocking(session.spot.runs(), "stage", move || {
            stage::large(&session, request)
        })
        .await?
    }

    async fn flush(&self) -> Result<()> {
        self.run("flush", Session::flush_now).await?
    }

    async fn replace(&self, requests: Vec<ReplaceRequest>) -> Vec<Result<Published>> {
        let count = requests.len();
        self.batch("replace", count, move |session| session.replace(&requests))
            .await
    }

    async fn remove(&self, requests: Vec<RemoveRequest>) -> Vec<Result<()>> {
        let count = requests.len();
        self.batch("remove", count, move |session| session.remove(&requests))
            .await
    }

    async fn rename(&self, requests: Vec<RenameRequest>) -> Vec<Result<Published>> {
        let count = requests.len();
        self.batch("rename", count, move |session| session.rename(&requests))
            .await
    }

    async fn rename_folder(&self, from: &SyncPath, id: FileId, to: &SyncPath) -> Result<()> {
        let (from, to) = (from.clone(), to.clone());
        self.run("rename", move |session| {
            session.rename_folder(&from, id, &to)
        })
        .await?
    }

    async fn make_folder(&self, path: &SyncPath, mode: Option<Mode>) -> Result<Published> {
        let path = path.clone();
        self.run("make folder", move |session| {
            session.make_folder(&path, mode)
        })
        .await?
    }

    async fn set_mode(
        &self,
        path: &SyncPath,
        expected: &Expected,
        mode: Mode,
    ) -> Result<Published> {
        let (path, expected) = (path.clone(), expected.clone());
        self.run("set mode", move |session| {
            session.set_mode(&path, &expected, mode)
        })
        .await?
    }

    async fn stranded(&self) -> Vec<StrandedVersion> {
        let mut stranded = self
            .0
            .stranded
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut stranded)
    }

    async fn finish(&self) -> Result<Displaced> {
        self.run("finish", Session::end).await?
    }
}
