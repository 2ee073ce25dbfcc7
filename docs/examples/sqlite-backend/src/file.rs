//! The SQLite file: connections, transactions, errors.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use wl_core::model::SyncPath;
use wl_core::storage::{ErrorKind, Result, StorageError};

use crate::Draft;

/// As long as others write it is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Gives an error of SQLite its operation and its kind.
pub(crate) trait During<T> {
    fn during(self, operation: &'static str) -> Result<T>;
}

impl<T> During<T> for rusqlite::Result<T> {
    fn during(self, operation: &'static str) -> Result<T> {
        self.map_err(|error| {
            let kind = match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => ErrorKind::Full,
                Some(ErrorCode::CannotOpen) => ErrorKind::Unavailable,
                Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => ErrorKind::Denied,
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorKind::Temporary,
                _ => ErrorKind::Other,
            };
            StorageError::new(kind, operation, error.to_string())
        })
    }
}

/// A SQLite file that is open.
#[derive(Debug)]
pub(crate) struct File {
    path: PathBuf,
    pub location: String,
    pub draft: Draft,
    connection: Mutex<Connection>,
}

impl File {
    /// Opens it; with `makes` it need not be there.
    pub fn open(path: &Path, makes: bool, draft: Draft) -> Result<Self> {
        let open = || {
            let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            flags.set(OpenFlags::SQLITE_OPEN_CREATE, makes);
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(PATIENCE)?;
            connection.execute_batch(include_str!("schema.sql"))?;
            rusqlite::Result::Ok(connection)
        };
        let place = path.display().to_string();
        let connection = open().during("connect");
        let connection = connection
            .map_err(|error| error.on(&place).with_advice("check the parameter `path`"))?;
        // However it was named: the same file has the same identity.
        let path = path
            .canonicalize()
            .map_err(|error| StorageError::io("connect", error).on(&place))?;
        Ok(Self {
            location: format!("sqlite:{}", path.display()),
            path,
            draft,
            connection: Mutex::new(connection),
        })
    }

    /// A connection of its own that sees the file as it is now, whatever others write.
    pub fn snapshot(&self, operation: &'static str) -> Result<Connection> {
        self.check_root(operation)?;
        let open = || {
            let connection =
                Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            connection.busy_timeout(PATIENCE)?;
            // What is seen is settled by the first look.
            connection.execute_batch("BEGIN; SELECT counter FROM about")?;
            rusqlite::Result::Ok(connection)
        };
        open()
            .during(operation)
            .map_err(|error| error.on(&self.location))
    }

    /// Looks.
    pub fn read<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        let done = self.check_root(operation).and_then(|()| work(&self.lock()));
        done.map_err(|error| error.on(&self.location))
    }

    /// Looks and changes, as one transaction: all of it or nothing.
    pub fn write<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let transaction = || {
            self.check_root(operation)?;
            let mut connection = self.lock();
            let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
            let mut transaction = begun.during(operation)?;
            let done = work(&mut transaction)?;
            transaction.commit().during(operation)?;
            Ok(done)
        };
        transaction().map_err(|error: StorageError| error.on(&self.location))
    }

    /// A file that was taken away would take what is written with it.
    fn check_root(&self, operation: &'static str) -> Result<()> {
        if self.path.exists() {
            return Ok(());
        }
        let reason = "the file is gone; bring it back and run again";
        Err(StorageError::new(ErrorKind::Unavailable, operation, reason).on(&self.location))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic elsewhere left no transaction open.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses the name that storages keep for wl's own use.
pub(crate) fn check_name(operation: &'static str, path: &SyncPath) -> Result<()> {
    if !path.is_reserved() {
        return Ok(());
    }
    let reason = "this name is kept for wl's own use; give it another name";
    Err(StorageError::new(ErrorKind::Unrepresentable, operation, reason).at(path))
}
