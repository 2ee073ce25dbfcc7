//! Opens and locks the state of a pair.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::announced::Note;
use super::contents::{self, Contents};
use super::lock::Lock;
use super::{learnt, losses, pending, row};
use crate::model::{Conflict, ContentHash, Side, Sides};
use crate::storage::RootMarker;

/// The version of the tables. A higher one is refused, a lower one is brought up in [`PairState::open`].
const SCHEMA_VERSION: i64 = 2;

/// So many statements stay prepared: all that a path needs on its way.
const STATEMENTS: usize = 64;

/// The state could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another run holds the lock.
    #[error("another run is working on this pair of storages (lock {0}); wait for it to end")]
    Locked(PathBuf),
    /// It was made by a newer wl.
    #[error(
        "{path} was written by a newer wl (version {version}); use that, or delete the file: the next run carries on"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: i64,
    },
    /// It holds what no wl wrote.
    #[error("{path} is damaged ({what}); delete it: the next run carries on")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        what: String,
    },
    /// The folder or the lock could not be used.
    #[error(
        "open the state of the pair in {path}: {source}; check the folder's permissions and space"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite failed.
    #[error(
        "read or write the pair's state: {0}; check space and permissions of the base directory"
    )]
    Sqlite(#[from] rusqlite::Error),
}

/// The baseline of a pair of storages, with the pair's lock.
///
/// The pair is unordered: the same two storages have one state, whichever is the source.
#[derive(Debug)]
pub struct PairState {
    db: Connection,
    path: PathBuf,
    /// Whether the source is the pair's second storage.
    swapped: bool,
    damaged: Option<PathBuf>,
    pub(super) note: Note,
    pub(super) contents: Contents,
    lock: Option<Lock>,
}

/// Many statements that read as one; see [`PairState::reading`].
#[derive(Debug)]
pub struct Reading<'a>(&'a PairState);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        // Nothing was written that could fail to be kept.
        if let Err(error) = self.0.control("RELEASE reading") {
            tracing::debug!(%error, "the end of a reading");
        }
    }
}

impl PairState {
    /// Opens the state of the pair in `dir` (made if missing) and takes its lock, which the kernel gives back when the process
    /// ends. A damaged file is set aside ([`PairState::set_aside`]).
    pub fn open(dir: &Path, identities: Sides<&str>) -> Result<Self, StateError> {
        #[cfg(feature = "testing")]
        if let Some(address) = super::memory::address(&Self::file(dir, identities)) {
            let file = Self::file(dir, identities);
            let lock = super::memory::lock(&file, &address)?;
            let mut this = Self::connect(&address, identities)?;
            this.lock = Some(Lock::Memory(lock));
            this.note = super::memory::note(&file);
            return Ok(this);
        }
        let path = Self::file(dir, identities);
        let lock = Lock::take(dir, &path)?;
        if !path.exists() {
            // What is announced speaks of a baseline.
            remove_beside(&path, &["db-announced"])?;
        }
        let mut this = match Self::connect(&path, identities) {
            Err(StateError::Sqlite(error)) if is_damage(&error) => {
                let aside = set_aside(&path)?;
                let mut fresh = Self::connect(&path, identities)?;
                fresh.damaged = Some(aside);
                fresh
            }
            other => other?,
        };
        this.lock = Some(lock);
        this.note = Note::beside(&path);
        Ok(this)
    }

    /// How many of something are many. States in memory are those of simulations, whose trees are small: there a few are.
    pub(crate) fn threshold(&self, usual: u32) -> u32 {
        #[cfg(feature = "testing")]
        if matches!(self.lock, Some(Lock::Memory(_))) {
            return 2;
        }
        usual
    }

    /// Whether somebody has tried to take the lock since it was taken.
    pub fn is_wanted(&self) -> bool {
        self.lock.as_ref().is_some_and(Lock::is_wanted)
    }

    /// Looks through the whole file, which [`PairState::open`] does not, and sets it aside if it is damaged anywhere. Where it was put.
    pub fn set_aside_if_damaged(
        dir: &Path,
        identities: Sides<&str>,
    ) -> Result<Option<PathBuf>, StateError> {
        let path = Self::file(dir, identities);
        let _lock = Lock::take(dir, &path)?;
        let check = |db: Connection| {
            db.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
        };
        let is_damaged = match Connection::open(&path).and_then(check) {
            Ok(found) => found != "ok",
            Err(error) if is_damage(&error) => true,
            Err(error) => return Err(error.into()),
        };
        is_damaged.then(|| set_aside(&path)).transpose()
    }

    /// Opens the state only to read the stored conflicts, without the lock; `None` if there is none yet.
    pub fn peek(dir: &Path, identities: Sides<&str>) -> Result<Option<Self>, StateError> {
        let path = Self::file(dir, identities);
        #[cfg(feature = "testing")]
        let (path, exists, note) = match super::memory::address(&path) {
            Some(address) => (
                address,
                super::memory::is_there(&path),
                super::memory::note(&path),
            ),
            None => (path.clone(), path.exists(), Note::beside(&path)),
        };
        #[cfg(not(feature = "testing"))]
        let (exists, note) = (path.exists(), Note::beside(&path));
        if !exists {
            return Ok(None);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI;
        let db = Connection::open_with_flags(&path, flags)?;
        Ok(Some(Self {
            db,
            path,
            swapped: swapped(identities),
            damaged: None,
            note,
            contents: Contents::default(),
            lock: None,
        }))
    }

    fn file(dir: &Path, identities: Sides<&str>) -> PathBuf {
        let (a, b) = ordered(identities);
        let name = ContentHash::of(format!("{a}\0{b}").as_bytes()).to_string();
        dir.join(format!("{}.db", &name[..24]))
    }

    fn connect(path: &Path, identities: Sides<&str>) -> Result<Self, StateError> {
        let db = Connection::open(path)?;
        // No mmap and a small cache: memory must not grow with the number of files. The log grows to the size that it keeps before its
        // pages are moved: where thousands of rows of a large state change, most pages change several times.
        db.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -8192; \
             PRAGMA mmap_size = 0; PRAGMA temp_store = FILE; PRAGMA busy_timeout = 5000; \
             PRAGMA journal_size_limit = 16777216; PRAGMA wal_autocheckpoint = 8000;",
        )?;
        // Plans do not depend on the values that are bound: or else many a statement is planned anew each time that it runs.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        db.set_prepared_statement_cache_capacity(STATEMENTS);
        let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version > SCHEMA_VERSION {
            return Err(StateError::Newer {
                path: path.to_owned(),
                version,
            });
        }
        let upgrade = match version {
            1 => contents::FROM_ONE_INDEX,
            _ => "",
        };
        db.execute_batch(&format!(
            "BEGIN IMMEDIATE; {upgrade} {} {} {} CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT; \
             CREATE TABLE IF NOT EXISTS conflicts (path TEXT PRIMARY KEY, report TEXT NOT NULL) STRICT; \
             PRAGMA user_version = {SCHEMA_VERSION}; COMMIT; {} {}",
            row::CREATE_ROWS,
            learnt::CREATE_LEARNT,
            losses::CREATE_LOST,
            pending::CREATE_PENDING,
            learnt::CREATE_LEARNT_NOW,
        ))?;
        let this = Self {
            db,
            path: path.to_owned(),
            swapped: swapped(identities),
            damaged: None,
            note: Note::nowhere(),
            contents: Contents::default(),
            lock: None,
        };
        let (a, b) = ordered(identities);
        this.set_meta("storage a", a)?;
        this.set_meta("storage b", b)?;
        if !this.is_empty()? {
            this.index()?;
        }
        Ok(this)
    }

    /// Where a damaged file was put when this state was opened, if there was one.
    pub fn set_aside(&self) -> Option<&Path> {
        self.damaged.as_deref()
    }

    /// Builds the look-ups for moves and the delete budget, if they are not there yet.
    pub fn index(&self) -> Result<(), StateError> {
        self.db.execute_batch(row::CREATE_INDEXES)?;
        self.db.execute_batch(contents::CREATE_BY_HASH)?;
        self.now_indexed();
        Ok(())
    }

    pub(super) fn db(&self) -> &Connection {
        &self.db
    }

    pub(super) fn damaged(&self, what: &str) -> StateError {
        StateError::Damaged {
            path: self.path.clone(),
            what: what.to_owned(),
        }
    }

    pub(super) fn column(&self, side: Side) -> &'static str {
        if (side == Side::Source) == self.swapped {
            "b"
        } else {
            "a"
        }
    }

    pub(super) fn oriented<T>(&self, a: T, b: T) -> Sides<T> {
        if self.swapped {
            Sides::new(b, a)
        } else {
            Sides::new(a, b)
        }
    }

    pub(super) fn columns<'r, T>(&self, sides: &'r Sides<T>) -> (&'r T, &'r T) {
        if self.swapped {
            (&sides.target, &sides.source)
        } else {
            (&sides.source, &sides.target)
        }
    }

    /// Runs `work` in a transaction, or in a part of the rehearsal that is going on.
    pub(super) fn in_transaction(
        &mut self,
        work: impl FnOnce(&Self) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        self.control("SAVEPOINT step")?;
        match work(self) {
            Ok(()) => self.control("RELEASE step"),
            Err(error) => {
                self.db.execute_batch("ROLLBACK TO step; RELEASE step")?;
                Err(error)
            }
        }
    }

    /// All that is read until this is dropped is one reading: by itself each statement takes and gives back the locks of the file.
    /// Nothing may be written meanwhile.
    pub fn reading(&self) -> Result<Reading<'_>, StateError> {
        self.control("SAVEPOINT reading")?;
        Ok(Reading(self))
    }

    fn control(&self, statement: &str) -> Result<(), StateError> {
        self.db.prepare_cached(statement)?.execute([])?;
        Ok(())
    }

    /// From now on nothing is kept: a dry run changes the baseline as the real run would, and [`PairState::end_rehearsal`] (or the
    /// end of the process) takes all of it back.
    pub fn begin_rehearsal(&self) -> Result<(), StateError> {
        Ok(self.db.execute_batch("BEGIN")?)
    }

    /// Whether nothing is kept.
    pub(super) fn is_rehearsal(&self) -> bool {
        // Every other transaction has ended when anybody can ask.
        !self.db.is_autocommit()
    }

    /// Takes back all that was changed since [`PairState::begin_rehearsal`].
    pub fn end_rehearsal(&self) -> Result<(), StateError> {
        Ok(self.db.execute_batch("ROLLBACK")?)
    }

    pub(super) fn set_meta(&self, name: &str, value: &str) -> Result<(), StateError> {
        if self.meta(name)?.as_deref() != Some(value) {
            self.db
                .prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?
                .execute([name, value])?;
        }
        Ok(())
    }

    pub(super) fn meta(&self, name: &str) -> Result<Option<String>, StateError> {
        Ok(self
            .db
            .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()?)
    }

    /// The root marker of `side` that was remembered. An older wl remembered the file system only.
    pub fn root_marker(&self, side: Side) -> Result<Option<RootMarker>, StateError> {
        let column = self.column(side);
        let Some(file_system) = self.meta(&format!("root {column}"))? else {
            return Ok(None);
        };
        let folder = self.meta(&format!("root folder {column}"))?;
        Ok(Some(RootMarker {
            file_system,
            folder: folder.filter(|folder| !folder.is_empty()),
            ..RootMarker::default()
        }))
    }

    /// Remembers the root markers of both sides, or neither. The baseline of other roots is forgotten with that: what it says is missing
    /// was never there.
    pub fn set_root_markers(
        &mut self,
        markers: &Sides<RootMarker>,
        of_others: bool,
    ) -> Result<(), StateError> {
        if of_others {
            self.settle_announced(|_| false);
        }
        self.in_transaction(|this| {
            if of_others {
                this.db.execute("DELETE FROM rows", [])?;
                this.forget_move()?;
            }
            for side in Side::BOTH {
                let (column, marker) = (this.column(side), &markers[side]);
                this.set_meta(&format!("root {column}"), &marker.file_system)?;
                // A field of its own, so that an older wl still finds what it knows.
                let folder = marker.folder.as_deref().unwrap_or_default();
                this.set_meta(&format!("root folder {column}"), folder)?;
            }
            Ok(())
        })
    }

    /// Replaces the stored conflicts. There may be several at one path: only with their reasons are they told apart. The column has its
    /// name from when it held the path alone; nobody reads it but to sort.
    pub fn store_conflicts(&mut self, conflicts: &[Conflict]) -> Result<(), StateError> {
        self.in_transaction(|this| {
            this.db.execute("DELETE FROM conflicts", [])?;
            let mut insert = this
                .db
                .prepare_cached("INSERT OR REPLACE INTO conflicts VALUES (?1, ?2)")?;
            for conflict in conflicts {
                let report = serde_json::to_string(&this.stored(conflict))
                    .map_err(|_| this.damaged("a conflict"))?;
                let key = format!("{}\0{}", conflict.path, conflict.reason);
                insert.execute([&key, &report])?;
            }
            Ok(())
        })
    }

    /// The conflicts that the last pass left open, by path.
    pub fn conflicts(&self) -> Result<Vec<Conflict>, StateError> {
        let mut statement = self
            .db
            .prepare("SELECT report FROM conflicts ORDER BY path")?;
        let reports = statement.query_map([], |row| row.get::<_, String>(0))?;
        reports
            .map(|report| {
                serde_json::from_str(&report?)
                    .map(|conflict| self.stored(&conflict))
                    .map_err(|_| self.damaged("a conflict"))
            })
            .collect()
    }

    /// A conflict as it is stored: by storage, not by role. The same again turns it back.
    fn stored(&self, conflict: &Conflict) -> Conflict {
        let mut conflict = conflict.clone();
        if self.swapped {
            std::mem::swap(&mut conflict.source, &mut conflict.target);
        }
        conflict
    }
}

fn ordered(identities: Sides<&str>) -> (&str, &str) {
    if swapped(identities) {
        (identities.target, identities.source)
    } else {
        (identities.source, identities.target)
    }
}

fn swapped(identities: Sides<&str>) -> bool {
    identities.source > identities.target
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
    )
}

/// Moves a damaged database out of the way, with what belongs to it.
fn set_aside(path: &Path) -> Result<PathBuf, StateError> {
    let mut number = 1;
    let aside = loop {
        let candidate = path.with_extension(format!("damaged-{number}"));
        if !candidate.exists() {
            break candidate;
        }
        number += 1;
    };
    let io = |source| StateError::Io {
        path: path.to_owned(),
        source,
    };
    fs::rename(path, &aside).map_err(io)?;
    remove_beside(path, &["db-wal", "db-shm", "db-announced"])?;
    Ok(aside)
}

/// Removes what lies beside a database and is of no use without it.
fn remove_beside(path: &Path, ends: &[&str]) -> Result<(), StateError> {
    for end in ends {
        match fs::remove_file(path.with_extension(end)) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                let path = path.to_owned();
                return Err(StateError::Io { path, source });
            }
            _ => {}
        }
    }
    Ok(())
}
