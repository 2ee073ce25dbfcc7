//! The daemon: listens on the control socket, answers, and runs jobs until it is told to end.

mod commands;
mod connection;
mod requests;
mod socket;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::events::Hub;
use crate::folder;
use crate::jobs::{Jobs, RecordError};
use commands::Commands;
use connection::Connections;
use socket::{Lock, Socket};

/// The socket's place below the base directory.
const SOCKET: &str = "run/wl.sock";

/// What a daemon is told at its start.
#[derive(Clone, Debug)]
pub struct DaemonOptions {
    /// Configuration and state.
    pub base_dir: PathBuf,
    /// Where to listen; [`socket_path`] without it.
    pub socket: Option<PathBuf>,
    /// The program's version, as `version` answers it.
    pub version: String,
}

/// Why a daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Another one runs on this base directory.
    #[error("a daemon runs on {0} already{1}; use that, or end it with `wl stop`")]
    Runs(PathBuf, String),
    /// The socket's path does not fit.
    #[error(
        "the socket's path {0} is longer than the system allows (107 bytes); give a shorter one with --socket-path"
    )]
    LongPath(PathBuf),
    /// Something that is no socket is where the socket belongs.
    #[error("{0} is there and is no socket; move it away, or give another --socket-path")]
    NoSocket(PathBuf),
    /// A folder, lock or socket could not be made.
    #[error(
        "cannot {doing} {path}: {source}; check the permissions of the folder, or give another --base-dir or --socket-path"
    )]
    Io {
        /// What was done.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The jobs that were running cannot be taken up.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The base directory cannot be used.
    #[error("{0}")]
    Base(String),
}

/// The default socket of a base directory.
pub fn socket_path(base_dir: &Path) -> PathBuf {
    base_dir.join(SOCKET)
}

/// A daemon that listens, and has not begun to answer.
#[derive(Debug)]
pub struct Daemon {
    // Held until the end; given back by the kernel if the process dies.
    lock: Lock,
    socket: Socket,
    jobs: Jobs,
    hub: Arc<Hub>,
    version: String,
}

impl Daemon {
    /// Takes the base directory's lock, takes up the recorded jobs and listens.
    pub async fn start(options: DaemonOptions) -> Result<Self, DaemonError> {
        let base = |error: wl_core::sync::SyncError| DaemonError::Base(error.desc);
        folder::state_dir(&options.base_dir).map_err(base)?;
        let lock = Lock::take(&options.base_dir)?;
        let path = options
            .socket
            .unwrap_or_else(|| socket_path(&options.base_dir));
        let socket = Socket::bind(&path)?;
        let hub = Arc::new(Hub::starting_now());
        let (jobs, _taken_up) = Jobs::take_up(&options.base_dir, Arc::clone(&hub))?;
        Ok(Self {
            lock,
            socket,
            jobs,
            hub,
            version: options.version,
        })
    }

    /// Answers until `stop`, or until a client asks for the end. All runs have stopped and the socket is gone when it returns.
    pub async fn serve(self, stop: CancellationToken) {
        let commands = Arc::new(Commands {
            jobs: self.jobs.clone(),
            hub: Arc::clone(&self.hub),
            version: self.version,
            shutdown: stop.clone(),
        });
        let mut connections = Connections::new(commands);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.socket.accept() => connections.add(accepted).await,
            }
        }
        self.jobs.close().await;
        // Whoever hears that this daemon has ended may start the next one at once.
        self.socket.remove();
        drop(self.socket);
        drop(self.lock);
        // Answers that are on their way get out, to those who read them.
        connections.end().await;
    }
}
