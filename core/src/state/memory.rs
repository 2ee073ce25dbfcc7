//! Pair databases that lie in this process's memory: they survive whoever uses them, as files do, and touch no disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::StateError;
use super::announced::Note;

static ALL: Mutex<BTreeMap<PathBuf, BTreeMap<PathBuf, Database>>> = Mutex::new(BTreeMap::new());
static NEXT: AtomicU64 = AtomicU64::new(0);

#[derive(Debug)]
struct Database {
    /// A database in memory is there for as long as somebody has it open.
    keeper: Connection,
    lock: Arc<()>,
    /// What lies in the file beside it.
    note: Arc<Mutex<Vec<u8>>>,
}

/// A folder of databases that is in memory. To jobs it is the path [`MemoryStates::dir`].
#[derive(Debug)]
pub struct MemoryStates {
    dir: PathBuf,
}

impl Default for MemoryStates {
    /// An empty one.
    fn default() -> Self {
        let number = NEXT.fetch_add(1, Relaxed);
        let dir = PathBuf::from(format!("memory:states-{number}"));
        all().insert(dir.clone(), BTreeMap::new());
        Self { dir }
    }
}

impl Drop for MemoryStates {
    fn drop(&mut self) {
        all().remove(&self.dir);
    }
}

impl MemoryStates {
    /// What jobs take for the folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Forgets all databases. Nobody may have one open.
    pub fn forget(&self) {
        if let Some(databases) = all().get_mut(&self.dir) {
            databases.clear();
        }
    }

    /// From now on recent contents cannot be merged.
    pub fn refuse_merges(&self) -> Result<(), StateError> {
        for database in all().get(&self.dir).into_iter().flat_map(BTreeMap::values) {
            database.keeper.execute_batch(
                "CREATE TRIGGER refused BEFORE UPDATE OF recent ON rows WHEN new.recent = 0 \
                 BEGIN SELECT RAISE(ABORT, 'refused for the test'); END",
            )?;
        }
        Ok(())
    }

    /// Another number than before if something was committed since.
    pub fn commits(&self) -> Result<i64, StateError> {
        let mut sum = 0;
        for database in all().get(&self.dir).into_iter().flat_map(BTreeMap::values) {
            let mut version = database.keeper.prepare_cached("PRAGMA data_version")?;
            sum += version.query_row([], |row| row.get::<_, i64>(0))?;
        }
        Ok(sum)
    }
}

fn all() -> MutexGuard<'static, BTreeMap<PathBuf, BTreeMap<PathBuf, Database>>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What SQLite calls the database in `file`, if that is in memory.
pub(super) fn address(file: &Path) -> Option<PathBuf> {
    all().contains_key(file.parent()?).then(|| {
        let name = file.to_string_lossy().replace([':', '/'], "-");
        PathBuf::from(format!("file:/{name}?vfs=memdb"))
    })
}

/// Takes the lock of the database in `file`, which is in memory and made if it is not there yet.
pub(super) fn lock(file: &Path, address: &Path) -> Result<Arc<()>, StateError> {
    let mut all = all();
    let databases = file.parent().and_then(|dir| all.get_mut(dir));
    let Some(databases) = databases else {
        return Err(StateError::Locked(file.to_owned()));
    };
    if !databases.contains_key(file) {
        let database = Database {
            keeper: Connection::open(address)?,
            lock: Arc::new(()),
            note: Arc::default(),
        };
        databases.insert(file.to_owned(), database);
    }
    match databases.get(file).map(|database| &database.lock) {
        Some(lock) if Arc::strong_count(lock) == 1 => Ok(Arc::clone(lock)),
        _ => Err(StateError::Locked(file.to_owned())),
    }
}

/// The note beside the database in `file`.
pub(super) fn note(file: &Path) -> Note {
    let all = all();
    let databases = file.parent().and_then(|dir| all.get(dir));
    let database = databases.and_then(|databases| databases.get(file));
    database.map_or_else(Note::nowhere, |database| {
        Note::in_memory(Arc::clone(&database.note))
    })
}

/// Whether the database in `file` is there.
pub(super) fn is_there(file: &Path) -> bool {
    let all = all();
    let databases = file.parent().and_then(|dir| all.get(dir));
    databases.is_some_and(|databases| databases.contains_key(file))
}
