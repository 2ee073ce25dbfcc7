//! The local backend: a folder of this machine.
//!
//! Everything is reached relative to an open root and never through a link. Content is staged in `.wl` on the same file
//! system and published by one rename: a creation by one that refuses to replace, a replacement by an exchange whose result is
//! verified and taken back if it was not what was expected. What is displaced goes to the trash; nothing is unlinked that is not ours.
//!
//! *Deliberately absent:* a way to write in place, and a way to replace "whatever is there".

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use wl_core::model::{Meta, SyncPath};
use wl_core::plugin::{BackendFactory, BackendPlugin, ConnectContext, KnownGrade};
use wl_core::storage::{
    Capabilities, ContentReader, ErrorKind, Hashed, ListRequest, Listing, MachineFolder,
    ReadRequest, Result, RootMarker, SessionOptions, SmallRead, StorageBackend, StorageError,
    StorageWatcher, TrashId, TrashItem, TrashState, WatchRequest, WriteSession,
};

mod attributes;
mod dir;
mod durable;
mod entries;
mod identity;
mod kernel;
mod lines;
mod meta;
mod publish;
mod read;
mod recover;
mod reserved;
mod root;
mod session;
mod stage;
mod sys;
#[cfg(test)]
pub(crate) mod tests;
mod trash;
mod turn;
mod verify;
mod walk;
mod watch;

#[cfg(any(test, feature = "testing"))]
pub use kernel::model;

use kernel::Runs;
use root::{Root, Spot};
use session::{LocalSession, Session};
use sys::Renames;

const TYPE: &str = "local";

/// Makes local backends.
#[derive(Debug)]
pub struct LocalFactory;

inventory::submit! { BackendPlugin(&LocalFactory) }

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    location: String,
}

#[async_trait]
impl BackendFactory for LocalFactory {
    fn type_name(&self) -> &'static str {
        TYPE
    }

    fn summary(&self) -> &'static str {
        "A folder of this machine"
    }

    fn schema(&self) -> &'static str {
        include_str!("schema.json")
    }

    fn at_best(&self) -> Capabilities {
        root::at_best()
    }

    /// The folder itself tells, once a run has written there.
    fn known_grade(&self, params: &Value, _: &Path) -> Option<KnownGrade> {
        let params = Params::deserialize(params).ok()?;
        let cas = LocalBackend::open(&params.location).ok()?.spot.tried()?.cas;
        Some(KnownGrade { cas, probed: None })
    }

    async fn connect(&self, params: &Value, _: &ConnectContext) -> Result<Arc<dyn StorageBackend>> {
        let params = Params::deserialize(params).map_err(|error| {
            let reason = format!("{error}; see `wl storage create local --help`");
            StorageError::new(ErrorKind::Config, "connect", reason)
        })?;
        let location = params.location.clone();
        let backend = turn::in_turn(location, "connect", move || {
            LocalBackend::open(&params.location)
        })
        .await??;
        Ok(Arc::new(backend))
    }
}

/// A folder of this machine.
#[derive(Debug)]
pub struct LocalBackend {
    spot: Arc<Spot>,
}

impl LocalBackend {
    /// The storage in the folder at `location`, which has to be there.
    pub fn open(location: &str) -> Result<Self> {
        Self::limited(location, Renames::ALL)
    }

    /// The same, made out to be on a file system that cannot exchange two names, or has no rename that refuses to replace. For
    /// tests: such file systems are rare.
    pub fn open_weakened(location: &str, exchange: bool, no_replace: bool) -> Result<Self> {
        let limit = Renames {
            exchange,
            no_replace,
        };
        Self::limited(location, limit)
    }

    fn limited(location: &str, limit: Renames) -> Result<Self> {
        Ok(Self {
            spot: Arc::new(Spot::find(location, limit)?),
        })
    }

    /// The storage at the root of a model.
    #[cfg(any(test, feature = "testing"))]
    pub fn on_model(disk: &model::Disk) -> Result<Self> {
        Self::on_weak_model(disk, true, true)
    }

    /// The same, made out to be a file system that can do less; as [`LocalBackend::open_weakened`].
    #[cfg(any(test, feature = "testing"))]
    pub fn on_weak_model(disk: &model::Disk, exchange: bool, no_replace: bool) -> Result<Self> {
        let (place, name) = (kernel::Place::Model(disk.clone()), disk.name());
        let limit = Renames {
            exchange,
            no_replace,
        };
        let spot = Spot::at(place, name.to_owned(), format!("local:{name}"), limit)?;
        Ok(Self {
            spot: Arc::new(spot),
        })
    }

    /// Runs `work` with the open root on a thread that may block.
    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(Root) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let spot = Arc::clone(&self.spot);
        blocking(spot.runs(), operation, move || work(spot.open()?)).await?
    }
}

#[async_trait]
impl StorageBackend for LocalBackend {
    fn type_name(&self) -> &'static str {
        TYPE
    }

    fn location(&self) -> &str {
        &self.spot.location
    }

    fn identity(&self) -> &str {
        &self.spot.identity
    }

    async fn root_marker(&self) -> Result<RootMarker> {
        let spot = Arc::clone(&self.spot);
        blocking(spot.runs(), "look at the root", move || spot.marker()).await?
    }

    async fn lies_in(&self) -> Result<Vec<MachineFolder>> {
        let spot = Arc::clone(&self.spot);
        blocking(spot.runs(), "look at the root", move || spot.lies_in()).await
    }

    fn capabilities(&self) -> &Capabilities {
        self.spot.capabilities()
    }

    async fn list(&self, request: ListRequest) -> Result<Box<dyn Listing>> {
        self.run("list", |root| walk::list(root, request)).await
    }

    async fn stat(&self, path: &SyncPath) -> Result<Option<Meta>> {
        let path = path.clone();
        self.run("stat", move |root| attributes::stat(&root, &path))
            .await
    }

    async fn hash(&self, path: &SyncPath, cancel: &CancellationToken) -> Result<Hashed> {
        let (path, cancel) = (path.clone(), cancel.clone());
        self.run("hash", move |root| read::hash(&root, &path, &cancel))
            .await
    }

    async fn read(&self, request: ReadRequest) -> Result<Box<dyn ContentReader>> {
        self.run("read", |root| read::open_reader(root, request))
            .await
    }

    async fn read_small(&self, requests: Vec<ReadRequest>) -> Vec<Result<SmallRead>> {
        let count = requests.len();
        match self
            .run("read", move |root| Ok(read::read_small(&root, &requests)))
            .await
        {
            Ok(results) => results,
            Err(error) => all_failed(count, &error),
        }
    }

    fn may_be_lost(&self, meta: &Meta) -> bool {
        durable::may_be_lost(meta, self.spot.place.now())
    }

    async fn make_durable(&self, paths: Vec<SyncPath>) -> Result<()> {
        self.run("make durable", move |root| {
            durable::make_durable(&root, &paths)
                .map_err(|errno| sys::os_error("make durable", errno).on(&root.location))
        })
        .await
    }

    async fn begin(&self, options: SessionOptions) -> Result<Arc<dyn WriteSession>> {
        let spot = Arc::clone(&self.spot);
        let session =
            blocking(spot.runs(), "begin", move || Session::begin(spot, options)).await??;
        Ok(Arc::new(LocalSession(Arc::new(session))))
    }

    async fn watcher(&self, request: WatchRequest) -> Result<Option<Box<dyn StorageWatcher>>> {
        if self.spot.place.path().is_none() {
            // The model has no events.
            return Ok(None);
        }
        let watcher = watch::LocalWatcher::new(Arc::clone(&self.spot), request).await;
        Ok(Some(Box::new(watcher)))
    }

    async fn free_space(&self) -> Option<u64> {
        let look = self.run("look at the free space", |root| {
            root::free_space(&root.fd)
                .map_err(|errno| sys::os_error("look at the free space", errno).on(&root.location))
        });
        look.await.ok()
    }

    async fn trash_list(&self) -> Result<Vec<TrashItem>> {
        self.run("list the trash", |root| trash::list(&root, |_| true))
            .await
    }

    async fn trash_claimed(&self) -> Result<Vec<TrashItem>> {
        self.run("list the trash", |root| {
            trash::list(&root, TrashState::is_claimed)
        })
        .await
    }

    async fn trash_empty(&self, options: SessionOptions) -> Result<()> {
        if !self.capabilities().writable {
            return Ok(());
        }
        self.run("empty the trash", move |root| trash::empty(&root, &options))
            .await
    }

    async fn trash_restore(&self, id: &TrashId, to: &SyncPath) -> Result<()> {
        let (id, to) = (id.clone(), to.clone());
        let spot = Arc::clone(&self.spot);
        self.run("restore", move |root| {
            let renames = spot.renames(&root)?;
            trash::restore(&root, renames, &id, &to)
        })
        .await
    }
}

/// Runs `work`, which may block.
async fn blocking<T: Send + 'static>(
    runs: Runs,
    operation: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    if runs == Runs::Here {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        let reason = format!("the work broke off: {error}; run again");
        StorageError::new(ErrorKind::Other, operation, reason)
    })
}

/// The failure of a whole batch, for each of its requests.
fn all_failed<T>(count: usize, error: &StorageError) -> Vec<Result<T>> {
    (0..count).map(|_| Err(error.repeat())).collect()
}
