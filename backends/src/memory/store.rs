//! Stores and their names.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use wl_core::model::{RESERVED, SyncPath};
use wl_core::storage::{Capabilities, ErrorKind, Result, StorageError};

use super::MemorySettings;
use super::state::State;

static NAMED: Mutex<BTreeMap<String, Arc<Store>>> = Mutex::new(BTreeMap::new());
/// Every store there is, by its location: what copies of content inside this process find their source by.
static ALL: Mutex<BTreeMap<String, Weak<Store>>> = Mutex::new(BTreeMap::new());
static PRIVATE: AtomicU64 = AtomicU64::new(0);

/// A tree, its trash and what it can do.
#[derive(Debug)]
pub(super) struct Store {
    pub location: String,
    pub settings: MemorySettings,
    pub capabilities: Capabilities,
    state: Mutex<State>,
}

/// Locks, also after a panic elsewhere: every change leaves the state whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn named(name: &str) -> Arc<Store> {
    Arc::clone(
        lock(&NAMED)
            .entry(name.to_owned())
            .or_insert_with(|| Store::new(name, MemorySettings::default())),
    )
}

pub(super) fn open(name: &str, settings: MemorySettings) -> Result<Arc<Store>> {
    let mut stores = lock(&NAMED);
    let store = stores
        .entry(name.to_owned())
        .or_insert_with(|| Store::new(name, settings));
    if store.settings == settings {
        return Ok(Arc::clone(store));
    }
    Err(StorageError::new(
        ErrorKind::Config,
        "connect",
        "a store of this name is there with other settings; give it another name",
    )
    .on(&store.location))
}

pub(super) fn private(settings: MemorySettings) -> Arc<Store> {
    let number = PRIVATE.fetch_add(1, Relaxed);
    // Made later is ordered later, also by name.
    Store::new(&format!("(private {number:09})"), settings)
}

impl Store {
    fn new(name: &str, settings: MemorySettings) -> Arc<Self> {
        let store = Arc::new(Self {
            location: format!("memory:{name}"),
            settings,
            capabilities: settings.capabilities(),
            state: Mutex::new(State::new(settings)),
        });
        let mut all = lock(&ALL);
        all.retain(|_, store| store.strong_count() > 0);
        all.insert(store.location.clone(), Arc::downgrade(&store));
        store
    }

    /// The store at this location.
    pub fn at_location(location: &str) -> Option<Arc<Self>> {
        lock(&ALL).get(location).and_then(Weak::upgrade)
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Does `work` on the state if the store is there and `path` may be named, and gives an error its path and storage.
    pub fn at<T>(
        &self,
        operation: &'static str,
        path: &SyncPath,
        work: impl FnOnce(&mut State) -> Result<T>,
    ) -> Result<T> {
        self.with(operation, |state| {
            self.check_name(operation, path)?;
            work(state)
        })
        .map_err(|error| error.at(path))
    }

    /// Does `work` on the state if the store is there.
    pub fn with<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut State) -> Result<T>,
    ) -> Result<T> {
        let mut state = self.lock();
        let result = if state.available {
            work(&mut state)
        } else {
            Err(StorageError::new(
                ErrorKind::Unavailable,
                operation,
                "the store was taken away; bring it back and run again",
            ))
        };
        result.map_err(|error| error.on(&self.location))
    }

    /// Refuses the reserved name; where case does not count, in any case.
    fn check_name(&self, operation: &'static str, path: &SyncPath) -> Result<()> {
        let first = path.as_str().split('/').next().unwrap_or_default();
        let folded = self.settings.folds_case && first.eq_ignore_ascii_case(RESERVED);
        if path.is_reserved() || folded {
            return Err(StorageError::new(
                ErrorKind::Unrepresentable,
                operation,
                format!("`{RESERVED}` is kept for wl's own use; give it another name"),
            ));
        }
        Ok(())
    }
}
