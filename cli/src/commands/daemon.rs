//! `wl start`, `wl stop` and `wl daemon`

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use wl_daemon::{DaemonError, DaemonOptions};

use super::Context;
use crate::control;
use crate::error::{CliError, CliResult, Exit};

/// Start the daemon, which keeps containers in sync
///
/// Jobs that were running when it ended go on. Commands that need the daemon start it by themselves.
#[derive(Debug, Args)]
pub struct Start {
    /// File to write the log to [default: log/wl.log in the base directory, a file a day, seven days]
    #[arg(short, long, value_name = "FILE")]
    log_path: Option<PathBuf>,
}

/// Stop the daemon; its jobs go on when it is started again
#[derive(Debug, Args)]
pub struct Stop {}

/// Run the daemon in the foreground
#[derive(Debug, Args)]
pub struct Daemon {
    /// File to write the log to; `-` is stderr [default: log/wl.log in the base directory, a file a day, seven days]
    #[arg(short, long, value_name = "FILE")]
    log_path: Option<PathBuf>,
    /// Say on stdout when it listens, or why it does not
    #[arg(long, hide = true)]
    announce: bool,
}

impl Start {
    pub async fn run(self, context: &Context<'_>) -> CliResult {
        let already = control::connect(context).await?.is_some();
        if !already {
            control::start(context, self.log_path).await?;
        }
        context
            .output
            .print(&json!({ "started": !already }), || match already {
                true => "The daemon runs already\n".to_owned(),
                false => String::new(),
            })?;
        Ok(Exit::Done)
    }
}

impl Stop {
    pub async fn run(self, context: &Context<'_>) -> CliResult {
        let client = control::connect(context).await?;
        let runs = client.is_some();
        if let Some(mut client) = client {
            client.ask("shutdown", json!({})).await?;
            // It closes the connection when all work has come to rest.
            while let Ok(Some(_)) = client.next_event().await {}
        }
        context
            .output
            .print(&json!({ "stopped": runs }), || match runs {
                true => "Stopped the daemon\n".to_owned(),
                false => "No daemon runs\n".to_owned(),
            })?;
        Ok(Exit::Done)
    }
}

impl Daemon {
    pub async fn run(self, context: &Context<'_>) -> CliResult {
        let started = wl_daemon::Daemon::start(DaemonOptions {
            base_dir: context.base_dir()?,
            socket: Some(context.socket()?),
            version: control::VERSION.to_owned(),
        });
        let daemon = match started.await {
            Ok(daemon) => daemon,
            Err(error) => {
                if self.announce {
                    say(&error.to_string().replace('\n', " "));
                }
                return Err(error.into());
            }
        };
        let signals = Signals::new()?;
        let stop = CancellationToken::new();
        tokio::spawn(signals.watch(stop.clone()));
        if self.announce {
            say(control::READY);
        }
        daemon.serve(stop).await;
        Ok(Exit::Done)
    }
}

/// A line for whoever started the daemon. If nobody reads it, it is not needed.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// The signals that end the daemon, and the one that does not.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// A terminal that closes is no reason to end.
    hangup: Signal,
}

impl Signals {
    fn new() -> CliResult<Self> {
        let watch = |kind| {
            signal(kind)
                .map_err(|error| CliError::Failed(format!("cannot watch for signals: {error}")))
        };
        Ok(Self {
            interrupt: watch(SignalKind::interrupt())?,
            terminate: watch(SignalKind::terminate())?,
            hangup: watch(SignalKind::hangup())?,
        })
    }

    async fn watch(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => break,
                _ = self.terminate.recv() => break,
                _ = self.hangup.recv() => {}
            }
        }
        stop.cancel();
    }
}

impl From<DaemonError> for CliError {
    fn from(error: DaemonError) -> Self {
        CliError::Failed(error.to_string())
    }
}
