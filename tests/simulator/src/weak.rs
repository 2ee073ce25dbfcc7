//! Storages whose compare-and-swap is weaker than that of the reference backend, or than they say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use wl_backends::memory::{MemoryBackend, MemoryNode, MemorySettings};
use wl_core::model::{ContentHash, FileId, Key, Kind, Meta, Mode, SyncPath, Token};
use wl_core::storage::*;

use crate::faults::Fired;
use crate::old_rows::{OldRows, Shown};
use crate::plan::SitePlan;
use crate::site::Windows;

/// What a weak storage and its sessions share.
#[derive(Clone)]
pub(crate) struct Weak {
    pub inner: MemoryBackend,
    capabilities: Arc<Capabilities>,
    does: CasGrade,
    /// The rows of a page of a listing; `None`: all of them.
    page: Option<usize>,
    windows: Option<Arc<dyn Windows>>,
    /// What its listings have shown, if they may be stale.
    shown: Option<Shown>,
    /// It was taken away, and this is in its place.
    instead: MemoryBackend,
    away: Arc<AtomicBool>,
    /// Versions that were overwritten in a window.
    lost: Arc<Mutex<Vec<ContentHash>>>,
    struck: Arc<Mutex<Fired>>,
    cancel: CancellationToken,
}

impl fmt::Debug for Weak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

fn changed(operation: &'static str, path: &SyncPath) -> StorageError {
    let why = "what is there is not what was expected";
    StorageError::new(ErrorKind::Changed, operation, why).at(path)
}

/// What is in the place of a storage that was taken away: nothing, on another file system.
fn instead() -> MemoryBackend {
    let instead = MemoryBackend::private(MemorySettings::default());
    instead.set_root_marker(RootMarker {
        file_system: "another".to_owned(),
        ..RootMarker::default()
    });
    instead
}

impl Weak {
    pub fn new(inner: MemoryBackend, plan: &SitePlan) -> Self {
        let capabilities = Capabilities {
            cas: plan.claims,
            ..inner.capabilities().clone()
        };
        Self {
            inner,
            capabilities: Arc::new(capabilities),
            does: plan.does,
            page: plan.page,
            shown: plan.stale.then(Shown::default),
            windows: None,
            instead: instead(),
            away: Arc::default(),
            lost: Arc::default(),
            struck: Arc::default(),
            cancel: CancellationToken::new(),
        }
    }

    pub fn with_windows(&mut self, windows: Arc<dyn Windows>) {
        self.windows = Some(windows);
    }

    /// Takes it away, or puts it back.
    pub fn set_mounted(&self, mounted: bool) {
        self.away.store(!mounted, Relaxed);
    }

    /// What is where it should be.
    fn there(&self) -> &MemoryBackend {
        match self.away.load(Relaxed) {
            true => &self.instead,
            false => &self.inner,
        }
    }

    /// Versions that were overwritten in a window.
    pub fn lost(&self) -> Vec<ContentHash> {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.clone()
    }

    /// Counts what it did to whoever relies on it.
    pub fn count(&self, name: &'static str) {
        let mut struck = self.struck.lock().unwrap_or_else(PoisonError::into_inner);
        *struck.entry(name).or_default() += 1;
    }

    /// What it did to whoever relies on it.
    pub fn struck(&self) -> Fired {
        let struck = self.struck.lock().unwrap_or_else(PoisonError::into_inner);
        struck.clone()
    }

    /// Time in which others may strike.
    async fn window(&self, path: &SyncPath) {
        if let Some(windows) = &self.windows {
            windows.open(path).await;
        }
    }

    /// What is there, with its hash if it is a file.
    async fn find(&self, path: &SyncPath) -> Result<Option<Expected>> {
        let Some(meta) = self.inner.stat(path).await? else {
            return Ok(None);
        };
        let hash = match meta.kind {
            Kind::File => Some(self.inner.hash(path, &self.cancel).await?.hash),
            _ => None,
        };
        Ok(Some(Expected::of(&meta, hash)))
    }

    fn is(found: &Option<Expected>, expect: &Expect) -> bool {
        match (found, expect) {
            (None, Expect::Absent) => true,
            (Some(found), Expect::Is(wanted)) => {
                let same_token = found.token.is_some() && found.token == wanted.token;
                let same_hash = found.hash.is_some() && found.hash == wanted.hash;
                found.kind == wanted.kind
                    && match found.kind {
                        Kind::Link => found.link == wanted.link,
                        _ => same_token || same_hash,
                    }
            }
            _ => false,
        }
    }

    /// Looks, waits, and says what has to be overwritten then, and whether that is what was expected.
    async fn in_window(
        &self,
        operation: &'static str,
        path: &SyncPath,
        expect: &Expect,
    ) -> Result<(Option<Expected>, bool)> {
        if self.does != CasGrade::None && !Self::is(&self.find(path).await?, expect) {
            return Err(changed(operation, path));
        }
        self.window(path).await;
        let found = self.find(path).await?;
        let is_expected = Self::is(&found, expect);
        if !is_expected
            && found
                .as_ref()
                .is_some_and(|found| found.kind == Kind::Folder)
        {
            return Err(changed(operation, path));
        }
        Ok((found, is_expected))
    }

    async fn thrown_away(&self) -> Result<BTreeSet<TrashId>> {
        let items = self.inner.trash_list().await?;
        Ok(items.into_iter().map(|item| item.id).collect())
    }

    /// What was displaced since, but for what was in the trash before.
    async fn displaced(&self, before: &BTreeSet<TrashId>) -> Result<Option<TrashId>> {
        let now = self.thrown_away().await?;
        Ok(now.difference(before).next().cloned())
    }

    /// A version that nobody expected was overwritten.
    fn lose(&self, found: Option<Expected>) {
        if self.capabilities.cas > self.does {
            self.count("more claimed than done");
        }
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.extend(found.and_then(|found| found.hash));
    }
}

#[async_trait]
impl StorageBackend for Weak {
    fn type_name(&self) -> &'static str {
        self.inner.type_name()
    }

    fn location(&self) -> &str {
        self.inner.location()
    }

    fn identity(&self) -> &str {
        self.inner.identity()
    }

    async fn root_marker(&self) -> Result<RootMarker> {
        self.there().root_marker().await
    }

    async fn lies_in(&self) -> Result<Vec<MachineFolder>> {
        self.inner.lies_in().await
    }

    async fn exists(&self) -> Result<bool> {
        self.inner.exists().await
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn list(&self, request: ListRequest) -> Result<Box<dyn Listing>> {
        let inner: Box<dyn Listing> = match self.page {
            None => self.there().list(request.clone()).await?,
            Some(rows) => Box::new(Pages {
                storage: self.clone(),
                request: request.clone(),
                rows,
                seen: None,
            }),
        };
        let (Some(shown), Some(windows), false) =
            (&self.shown, &self.windows, self.away.load(Relaxed))
        else {
            return Ok(inner);
        };
        Ok(Box::new(OldRows {
            inner,
            shown: Arc::clone(shown),
            windows: Arc::clone(windows),
            request,
            last: None,
            folders: BTreeSet::new(),
            ended: false,
        }))
    }

    async fn stat(&self, path: &SyncPath) -> Result<Option<Meta>> {
        self.there().stat(path).await
    }

    async fn file_token(&self, path: &SyncPath) -> Result<Option<Token>> {
        self.there().file_token(path).await
    }

    async fn hash(&self, path: &SyncPath, cancel: &CancellationToken) -> Result<Hashed> {
        self.there().hash(path, cancel).await
    }

    async fn read(&self, request: ReadRequest) -> Result<Box<dyn ContentReader>> {
        self.there().read(request).await
    }

    async fn read_small(&self, requests: Vec<ReadRequest>) -> Vec<Result<SmallRead>> {
        self.there().read_small(requests).await
    }

    fn may_be_lost(&self, meta: &Meta) -> bool {
        self.inner.may_be_lost(meta)
    }

    async fn make_durable(&self, paths: Vec<SyncPath>) -> Result<()> {
        self.there().make_durable(paths).await
    }

    fn copy_source(&self) -> Option<CopySource> {
        self.inner.copy_source()
    }

    fn copies_from(&self, source: &CopySource) -> bool {
        self.inner.copies_from(source)
    }

    async fn begin(&self, options: SessionOptions) -> Result<Arc<dyn WriteSession>> {
        Ok(Arc::new(WeakSession {
            inner: self.inner.begin(options).await?,
            storage: self.clone(),
            stranded: Mutex::default(),
        }))
    }

    async fn watcher(&self, request: WatchRequest) -> Result<Option<Box<dyn StorageWatcher>>> {
        self.inner.watcher(request).await
    }

    async fn free_space(&self) -> Option<u64> {
        self.inner.free_space().await
    }

    async fn trash_list(&self) -> Result<Vec<TrashItem>> {
        self.inner.trash_list().await
    }

    async fn trash_claimed(&self) -> Result<Vec<TrashItem>> {
        self.inner.trash_claimed().await
    }

    async fn trash_restore(&self, id: &TrashId, to: &SyncPath) -> Result<()> {
        self.inner.trash_restore(id, to).await
    }
}

/// A listing in pages of different moments.
struct Pages {
    storage: Weak,
    request: ListRequest,
    rows: usize,
    /// What was there when the page before was made.
    seen: Option<BTreeMap<String, MemoryNode>>,
}

#[async_trait]
impl Listing for Pages {
    async fn next(&mut self) -> Result<Option<Vec<Row>>> {
        if self.request.start_after.is_some() {
            self.storage.window(&SyncPath::root()).await;
        }
        let mut listing = self.storage.there().list(self.request.clone()).await?;
        let mut page = listing.next().await?.unwrap_or_default();
        // What is said of one path belongs together.
        let mut rows = self.rows.min(page.len());
        while rows > 0 && rows < page.len() && page[rows].key() == page[rows - 1].key() {
            rows += 1;
        }
        page.truncate(rows);
        let last: Option<Key> = page.last().map(Row::key);
        let now = self.storage.there().snapshot();
        if self
            .seen
            .replace(now.clone())
            .is_some_and(|seen| seen != now)
        {
            self.storage.count("pages of different moments");
        }
        self.request.start_after = last.or(self.request.start_after.take());
        Ok(Some(page).filter(|page| !page.is_empty()))
    }
}

#[derive(Debug)]
struct WeakSession {
    inner: Arc<dyn WriteSession>,
    storage: Weak,
    stranded: Mutex<Vec<StrandedVersion>>,
}

impl WeakSession {
    async fn replace_one(&self, mut request: ReplaceRequest) -> Result<Published> {
        let storage = &self.storage;
        let path = request.path.clone();
        let looked = storage.in_window("replace", &path, &request.expect).await;
        let (found, is_expected) = looked?;
        if !is_expected {
            request.expect = found.clone().map_or(Expect::Absent, Expect::Is);
        }
        let before = storage.thrown_away().await?;
        let done = self.inner.replace(vec![request]).await;
        let published = done.into_iter().next().unwrap()?;
        if is_expected {
            return Ok(published);
        }
        if storage.does < CasGrade::Recoverable {
            storage.lose(found);
            return Ok(published);
        }
        // It is found out afterwards. Whoever wrote may have written again meanwhile.
        let racing = self.rescue(&before).await?;
        storage.window(&path).await;
        let now = storage.inner.stat(&path).await?;
        let ours =
            now.is_some_and(|now| now.file_id == published.file_id && now.token == published.token);
        if ours {
            let expected = storage.find(&path).await?;
            let request = expected.map(|expected| RemoveRequest {
                path: path.clone(),
                expected,
            });
            for done in self.inner.remove(request.into_iter().collect()).await {
                done?;
            }
        }
        self.put_back(&path, racing, ours).await?;
        Err(changed("replace", &path))
    }

    async fn remove_one(&self, mut request: RemoveRequest) -> Result<()> {
        let storage = &self.storage;
        let path = request.path.clone();
        let expect = Expect::Is(request.expected.clone());
        if request.expected.kind == Kind::Folder {
            return one(self.inner.remove(vec![request]).await);
        }
        let (found, is_expected) = storage.in_window("remove", &path, &expect).await?;
        let Some(there) = found.clone().filter(|_| !is_expected) else {
            return one(self.inner.remove(vec![request]).await);
        };
        request.expected = there;
        let before = storage.thrown_away().await?;
        one(self.inner.remove(vec![request]).await)?;
        if storage.does < CasGrade::Recoverable {
            storage.lose(found);
            return Ok(());
        }
        let racing = self.rescue(&before).await?;
        storage.window(&path).await;
        let free = storage.inner.stat(&path).await?.is_none();
        self.put_back(&path, racing, free).await?;
        Err(changed("remove", &path))
    }

    /// What was displaced since. Nothing may happen to it, whatever happens to the process.
    async fn rescue(&self, before: &BTreeSet<TrashId>) -> Result<Option<TrashId>> {
        let racing = self.storage.displaced(before).await?;
        if let Some(id) = &racing {
            self.storage.inner.rescue(id)?;
        }
        Ok(racing)
    }

    /// A version that was displaced and should not have been: back to its place if that is free, else kept.
    async fn put_back(&self, path: &SyncPath, racing: Option<TrashId>, free: bool) -> Result<()> {
        let Some(id) = racing else {
            return Ok(());
        };
        let inner = &self.storage.inner;
        if free && inner.trash_restore(&id, path).await.is_ok() {
            return Ok(());
        }
        let mut stranded = self.stranded.lock().unwrap_or_else(PoisonError::into_inner);
        stranded.push(StrandedVersion {
            path: Some(path.clone()),
            kept: format!("in the trash as {id}"),
            reason: "it was written while its place was taken".to_owned(),
        });
        Ok(())
    }
}

fn one(results: Vec<Result<()>>) -> Result<()> {
    results.into_iter().collect()
}

#[async_trait]
impl WriteSession for WeakSession {
    async fn stage(&self, requests: Vec<StageRequest>) -> Vec<Result<Staged>> {
        self.inner.stage(requests).await
    }

    async fn stage_large(
        &self,
        request: StageRequest,
        size: u64,
        expect: &Expect,
    ) -> Result<Box<dyn ContentWriter>> {
        self.inner.stage_large(request, size, expect).await
    }

    async fn stage_copy(&self, request: StageRequest, from: CopyFrom) -> Result<Staged> {
        self.inner.stage_copy(request, from).await
    }

    async fn flush(&self) -> Result<()> {
        self.inner.flush().await
    }

    async fn replace(&self, requests: Vec<ReplaceRequest>) -> Vec<Result<Published>> {
        if self.storage.does == CasGrade::Atomic {
            return self.inner.replace(requests).await;
        }
        let mut results = Vec::new();
        for request in requests {
            results.push(self.replace_one(request).await);
        }
        results
    }

    async fn remove(&self, requests: Vec<RemoveRequest>) -> Vec<Result<()>> {
        if self.storage.does == CasGrade::Atomic {
            return self.inner.remove(requests).await;
        }
        let mut results = Vec::new();
        for request in requests {
            results.push(self.remove_one(request).await);
        }
        results
    }

    async fn rename(&self, requests: Vec<RenameRequest>) -> Vec<Result<Published>> {
        self.inner.rename(requests).await
    }

    async fn rename_folder(&self, from: &SyncPath, id: FileId, to: &SyncPath) -> Result<()> {
        self.inner.rename_folder(from, id, to).await
    }

    async fn make_folder(&self, path: &SyncPath, mode: Option<Mode>) -> Result<Published> {
        self.inner.make_folder(path, mode).await
    }

    async fn set_mode(
        &self,
        path: &SyncPath,
        expected: &Expected,
        mode: Mode,
    ) -> Result<Published> {
        self.inner.set_mode(path, expected, mode).await
    }

    async fn stranded(&self) -> Vec<StrandedVersion> {
        let mut all = self.inner.stranded().await;
        let mut more = self.stranded.lock().unwrap_or_else(PoisonError::into_inner);
        all.append(&mut more);
        all
    }

    async fn finish(&self) -> Result<Displaced> {
        self.inner.finish().await
    }
}
