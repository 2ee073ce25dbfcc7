//! One root on one server.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use wl_core::model::SyncPath;
use wl_core::storage::{ErrorKind, StorageError};

use super::client::fault;
use super::connection::{Connection, Offers, Trouble};
use super::dial::{self, Dial};
use super::packet;
use crate::remote::store::{Conditions, Facts, Outcome};

/// A root on a server, and the connection that is used at the time.
#[derive(Debug)]
pub(super) struct Site {
    dial: Box<dyn Dial>,
    /// Absolute and without links, no `/` at the end; empty for the file system's root.
    root: String,
    pub(super) location: String,
    pub(super) identity: String,
    pub(super) server: String,
    pub(super) facts: Facts,
    line: Mutex<Line>,
    serial: AtomicU64,
}

/// A server that could not be reached is not dialled again for so long: of thousands of paths each would start a program for the same
/// answer, one after another.
const FAILED_FOR: Duration = Duration::from_secs(1);

/// The connection, or why there is none.
#[derive(Debug)]
enum Line {
    Open(Arc<Connection>),
    Failed(Instant, Arc<dial::Failure>),
}

impl Site {
    /// Connects, and finds out where `folder` really is.
    pub(super) async fn open(
        dial: Box<dyn Dial>,
        server: String,
        folder: &str,
    ) -> Result<Self, StorageError> {
        let location = format!("sftp://{server}");
        let failed =
            |kind, reason: String| StorageError::new(kind, "connect", reason).on(&location);
        let connection = dial::connect(&*dial, &server).await;
        let connection = connection.map_err(|failure| failed(failure.kind, failure.reason))?;
        let real = tokio::time::timeout(super::CONNECTING, connection.realpath(folder)).await;
        let real = real.map_err(|_| {
            let reason = "the server does not answer; try again later";
            failed(ErrorKind::Unavailable, reason.to_owned())
        })?;
        let real = match real {
            Ok(Some(real)) if real.starts_with('/') => real,
            Ok(_) => {
                let reason = "the server tells no absolute path for the folder; check `url`";
                return Err(failed(ErrorKind::Unavailable, reason.to_owned()));
            }
            Err(trouble) if trouble.is(packet::NO_SUCH_FILE) => {
                let reason = "there is no such folder on the server; check the path in `url`";
                return Err(failed(ErrorKind::Unavailable, reason.to_owned()));
            }
            Err(trouble) => return Err(fault("connect", trouble).error.on(&location)),
        };
        let root = real.trim_end_matches('/').to_owned();
        Ok(Self {
            dial,
            location: format!("{location}{real}"),
            identity: format!("sftp|{server}|{root}"),
            facts: facts(connection.offers()),
            root,
            server,
            line: Mutex::new(Line::Open(Arc::new(connection))),
            serial: AtomicU64::new(first_serial()),
        })
    }

    /// The connection, made anew if the last one has broken.
    pub(super) async fn connection(&self, operation: &'static str) -> Outcome<Arc<Connection>> {
        let mut line = self.line.lock().await;
        match &*line {
            Line::Open(connection) if !connection.is_broken() => return Ok(Arc::clone(connection)),
            Line::Failed(at, failure) if at.elapsed() < FAILED_FOR => {
                return Err(fault(operation, Trouble::NotConnected(Arc::clone(failure))));
            }
            _ => {}
        }
        match dial::connect(&*self.dial, &self.server).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *line = Line::Open(Arc::clone(&connection));
                Ok(connection)
            }
            Err(failure) => {
                let failure = Arc::new(failure);
                *line = Line::Failed(Instant::now(), Arc::clone(&failure));
                Err(fault(operation, Trouble::NotConnected(failure)))
            }
        }
    }

    #[cfg(test)]
    pub(super) async fn hang_up(&self) {
        let gone = dial::Failure {
            kind: ErrorKind::Unavailable,
            reason: "hung up".to_owned(),
            passes: true,
        };
        let at = Instant::now().checked_sub(2 * FAILED_FOR).unwrap();
        *self.line.lock().await = Line::Failed(at, Arc::new(gone));
    }

    /// The path as the server knows it.
    pub(super) fn full(&self, path: &SyncPath) -> String {
        match (path.is_root(), self.root.is_empty()) {
            (true, true) => "/".to_owned(),
            (true, false) => self.root.clone(),
            (false, _) => format!("{}/{}", self.root, path.as_str()),
        }
    }

    /// A number that nobody has used for a name yet.
    pub(super) fn serial(&self) -> String {
        format!("{:x}", self.serial.fetch_add(1, Ordering::Relaxed))
    }
}

/// Another one for each process and machine.
fn first_serial() -> u64 {
    let mut state = std::hash::RandomState::new().build_hasher();
    state.write_u32(std::process::id());
    state.finish()
}

/// What a server that offers everything can do.
pub(super) fn best() -> Facts {
    facts(Offers::all())
}

fn facts(offers: Offers) -> Facts {
    Facts {
        flat: false,
        start_after: false,
        conditions: Conditions {
            create: true,
            replace: false,
            remove: false,
        },
        // A hard link never replaces anything. A plain rename must not, but some servers do it all the same.
        probe: !offers.hardlink,
        notes: false,
        mtime_resolution: Some(1_000_000_000),
        clock: 1_000_000_000,
        modes: true,
        links: true,
        copies: offers.copy_data || offers.hardlink,
        renames: true,
        folds_case: false,
        writable: true,
        parallel: 24,
        range: 4 * 1024 * 1024,
    }
}
