//! The daemon: listens on the control socket, answers, and runs jobs until it is told to end.

mod commands;
mod connection;
mod notify;
mod requests;
mod socket;
mod unique;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::events::Hub;
use crate::folder;
use crate::jobs::{Damage, Jobs, RecordError, TakenUp};
use crate::metrics::{Counts, Metrics, Sources};
use commands::Commands;
use connection::Connections;
pub use socket::{Holder, lock_holder};
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
    /// No daemon runs, and something else has its lock: what a dead one had started, or somebody's program.
    #[error(
        "no daemon runs, but another program has locked {0}; `fuser {0}` names it: end that, then start again"
    )]
    Held(PathBuf),
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
    /// Metrics cannot be served where they are wanted.
    #[error(
        "cannot serve metrics on {0}: {1}; give a free loopback address, such as 127.0.0.1:9464"
    )]
    Metrics(SocketAddr, io::Error),
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
    metrics: Option<Metrics>,
}

impl Daemon {
    /// Takes the base directory's lock, takes up the recorded jobs and listens.
    pub async fn start(options: DaemonOptions) -> Result<Self, DaemonError> {
        Self::start_with_metrics(options, None).await
    }

    /// As [`Daemon::start`], and lets metrics be asked for at this address of this machine. A port that is taken is told before any job
    /// is taken up.
    pub async fn start_with_metrics(
        options: DaemonOptions,
        metrics: Option<SocketAddr>,
    ) -> Result<Self, DaemonError> {
        let base = |error: wl_core::sync::SyncError| DaemonError::Base(error.desc);
        folder::state_dir(&options.base_dir).map_err(base)?;
        let lock = Lock::take(&options.base_dir)?;
        let metrics = match metrics {
            Some(address) => Some(offer_metrics(address).await?),
            None => None,
        };
        socket::sweep(&options.base_dir);
        let path = options
            .socket
            .unwrap_or_else(|| socket_path(&options.base_dir));
        let socket = Socket::bind(&path)?;
        let hub = Arc::new(Hub::starting_now());
        info!(version = options.version, base_dir = ?options.base_dir, socket = ?path, pid = std::process::id(), "the daemon begins");
        let (jobs, taken_up) = Jobs::take_up(&options.base_dir, Arc::clone(&hub))?;
        log_taken_up(&taken_up);
        Ok(Self {
            lock,
            socket,
            jobs,
            hub,
            version: options.version,
            metrics,
        })
    }

    /// Where metrics are asked for; it tells the port if that was left open (0).
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref()?.address().ok()
    }

    /// Answers until `stop`, or until a client asks for the end. All runs have stopped and the socket is gone when it returns.
    pub async fn serve(self, stop: CancellationToken) {
        let counts = Arc::new(Counts::default());
        // A set: what stands beside the jobs ends with this.
        let mut beside = JoinSet::new();
        if let Some(metrics) = self.metrics {
            beside.spawn(metrics.serve(Sources {
                jobs: self.jobs.clone(),
                hub: Arc::clone(&self.hub),
                counts: Arc::clone(&counts),
                version: self.version.clone(),
            }));
        }
        let commands = Arc::new(Commands {
            jobs: self.jobs.clone(),
            hub: Arc::clone(&self.hub),
            counts,
            version: self.version,
            shutdown: stop.clone(),
        });
        let mut connections = Connections::new(commands);
        // Before all signs of life: they come from another thread.
        notify::ready();
        beside.spawn(notify::feed_watchdog(self.jobs.clone()));
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.socket.accept() => connections.add(accepted).await,
            }
        }
        notify::stopping();
        self.jobs.close().await;
        info!("the daemon has ended");
        self.socket.remove();
        drop(self.socket);
        // Before clients hear of the end: whoever does can start the next daemon.
        drop(self.lock);
        // Answers that are on their way get out, to those who read them.
        connections.end().await;
    }
}

async fn offer_metrics(address: SocketAddr) -> Result<Metrics, DaemonError> {
    let failed = |error| DaemonError::Metrics(address, error);
    let metrics = Metrics::bind(address).await.map_err(failed)?;
    let bound = metrics.address().map_err(failed)?;
    info!(address = %bound, "metrics");
    Ok(metrics)
}

/// What could not be taken up needs a person.
fn log_taken_up(taken_up: &TakenUp) {
    info!(jobs = taken_up.jobs, "jobs taken up");
    if let Some(Damage { aside, jobs }) = &taken_up.damaged {
        match &**jobs {
            [] => error!(
                ?aside,
                "the record of the jobs was damaged and put aside; start the jobs again"
            ),
            jobs => error!(
                ?aside,
                ?jobs,
                "the record of these jobs was damaged and put aside; start them again, the others go on"
            ),
        }
    }
    for (job, refusal) in &taken_up.unusable {
        error!(
            job,
            reason = refusal.desc,
            "a recorded job makes no sense and stays recorded"
        );
    }
}
