//! A storage type for tests: a tree in memory that can be held up, that fails, and that panics.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use crate::plugins::memory::{MemoryBackend, MemorySettings};
use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wl_core::model::{Meta, SyncPath, Token};
use wl_core::plugin::{BackendFactory, BackendPlugin, ConnectContext};
use wl_core::storage::{
    Capabilities, ContentReader, CopySource, ErrorKind, Hashed, ListRequest, Listing,
    MachineFolder, ReadRequest, Result, RootMarker, SessionOptions, SmallRead, StorageBackend,
    StorageError, StorageWatcher, TrashId, TrashItem, WatchRequest, WriteSession,
};
use wl_core::testing::{Call, Observer, Operation, observe};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Harm {
    /// The operation fails.
    Fails(Operation),
    /// There is a fault in the program.
    Panics(Operation),
    /// There is a fault in connecting.
    PanicsAtConnect,
}

/// Where a storage is held up until it is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    Nowhere,
    Connect,
    List,
    Begin,
    /// Whatever is asked.
    All,
}

/// A storage that tests reach beside the jobs.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) memory: MemoryBackend,
    hold: watch::Sender<Hold>,
    harm: Mutex<Option<Harm>>,
    calls: Mutex<HashMap<Operation, u64>>,
    connects: Mutex<u64>,
    held_up: Mutex<u64>,
}

static PLACES: LazyLock<Mutex<HashMap<String, Arc<Place>>>> = LazyLock::new(Mutex::default);

impl Place {
    /// A new one, which jobs reach by its name.
    pub(super) fn new() -> Arc<Self> {
        let mut places = PLACES.lock().unwrap();
        let place = Arc::new(Self {
            name: format!("place{}", places.len()),
            memory: MemoryBackend::private(MemorySettings::default()),
            hold: watch::channel(Hold::Nowhere).0,
            harm: Mutex::default(),
            calls: Mutex::default(),
            connects: Mutex::default(),
            held_up: Mutex::default(),
        });
        places.insert(place.name.clone(), Arc::clone(&place));
        place
    }

    pub(super) fn hold(&self, hold: Hold) {
        self.hold.send_replace(hold);
    }

    pub(super) fn harm(&self, harm: Option<Harm>) {
        *self.harm.lock().unwrap() = harm;
    }

    /// How often this was asked for.
    pub(super) fn calls(&self, operation: Operation) -> u64 {
        let calls = self.calls.lock().unwrap();
        calls.get(&operation).copied().unwrap_or_default()
    }

    pub(super) fn connects(&self) -> u64 {
        *self.connects.lock().unwrap()
    }

    /// How often somebody was held up here.
    pub(super) fn held_up(&self) -> u64 {
        *self.held_up.lock().unwrap()
    }

    /// Returns once somebody is held up here.
    pub(super) async fn is_held(&self) {
        // A held one listens for the end of that.
        while self.hold.receiver_count() == 0 {
            // The time until the next look passes too.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn pass(&self, hold: Hold) {
        let holds = |now: &Hold| *now == hold || *now == Hold::All;
        if holds(&self.hold.borrow()) {
            *self.held_up.lock().unwrap() += 1;
            let mut changes = self.hold.subscribe();
            let _ = changes.wait_for(|now| !holds(now)).await;
        }
    }
}

/// Counts and harms.
#[derive(Debug)]
struct Eye(Arc<Place>);

impl Observer for Eye {
    fn before(&self, call: &Call) -> Result<()> {
        let operation = call.operation;
        *self.0.calls.lock().unwrap().entry(operation).or_default() += 1;
        let harm = *self.0.harm.lock().unwrap();
        assert!(harm != Some(Harm::Panics(operation)), "boom");
        match harm == Some(Harm::Fails(operation)) {
            true => Err(StorageError::new(
                ErrorKind::Other,
                "test",
                "broken on purpose",
            )),
            false => Ok(()),
        }
    }
}

struct Factory;

inventory::submit!(BackendPlugin(&Factory));

#[async_trait]
impl BackendFactory for Factory {
    fn type_name(&self) -> &'static str {
        "place"
    }

    fn summary(&self) -> &'static str {
        "A storage that does what a test wants"
    }

    fn schema(&self) -> &'static str {
        r#"{"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "also": {"type": "string"}}}"#
    }

    fn at_best(&self) -> Capabilities {
        let memory = MemoryBackend::private(MemorySettings::default());
        memory.capabilities().clone()
    }

    async fn connect(&self, params: &Value, _: &ConnectContext) -> Result<Arc<dyn StorageBackend>> {
        let name = params["name"].as_str().unwrap();
        let place = Arc::clone(&PLACES.lock().unwrap()[name]);
        *place.connects.lock().unwrap() += 1;
        let harm = *place.harm.lock().unwrap();
        assert!(harm != Some(Harm::PanicsAtConnect), "boom");
        place.pass(Hold::Connect).await;
        let inner = observe(
            Arc::new(place.memory.clone()),
            Arc::new(Eye(Arc::clone(&place))),
        );
        Ok(Arc::new(Held { inner, place }))
    }
}

/// A storage that can be held up.
struct Held {
    inner: Arc<dyn StorageBackend>,
    place: Arc<Place>,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl StorageBackend for Held {
    fn type_name(&self) -> &'static str {
        "place"
    }

    fn location(&self) -> &str {
        self.inner.location()
    }

    fn identity(&self) -> &str {
        self.inner.identity()
    }

    async fn root_marker(&self) -> Result<RootMarker> {
        self.inner.root_marker().await
    }

    async fn lies_in(&self) -> Result<Vec<MachineFolder>> {
        self.inner.lies_in().await
    }

    async fn exists(&self) -> Result<bool> {
        self.inner.exists().await
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn list(&self, request: ListRequest) -> Result<Box<dyn Listing>> {
        self.place.pass(Hold::List).await;
        self.inner.list(request).await
    }

    async fn stat(&self, path: &SyncPath) -> Result<Option<Meta>> {
        self.inner.stat(path).await
    }

    async fn file_token(&self, path: &SyncPath) -> Result<Option<Token>> {
        self.place.pass(Hold::All).await;
        self.inner.file_token(path).await
    }

    async fn hash(&self, path: &SyncPath, cancel: &CancellationToken) -> Result<Hashed> {
        self.inner.hash(path, cancel).await
    }

    async fn read(&self, request: ReadRequest) -> Result<Box<dyn ContentReader>> {
        self.inner.read(request).await
    }

    async fn read_small(&self, requests: Vec<ReadRequest>) -> Vec<Result<SmallRead>> {
        self.inner.read_small(requests).await
    }

    fn may_be_lost(&self, meta: &Meta) -> bool {
        self.inner.may_be_lost(meta)
    }

    async fn make_durable(&self, paths: Vec<SyncPath>) -> Result<()> {
        self.inner.make_durable(paths).await
    }

    fn copy_source(&self) -> Option<CopySource> {
        self.inner.copy_source()
    }

    fn copies_from(&self, source: &CopySource) -> bool {
        self.inner.copies_from(source)
    }

    async fn begin(&self, options: SessionOptions) -> Result<Arc<dyn WriteSession>> {
        self.place.pass(Hold::Begin).await;
        self.inner.begin(options).await
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

    async fn trash_empty(&self, options: SessionOptions) -> Result<()> {
        self.inner.trash_empty(options).await
    }
}
