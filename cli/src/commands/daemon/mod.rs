//! `wl start`, `wl stop` and `wl daemon`

mod options;
mod service;

use std::io::Write;

use clap::{Args, Subcommand};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use wl_daemon::{DaemonError, DaemonOptions, LogError};

use super::Context;
use super::status::tell_put_aside;
use crate::control;
use crate::error::{CliError, CliResult, Exit};

pub use options::Options;

/// Start the daemon, which keeps containers in sync
///
/// Jobs that were running when it ended go on. Commands that need the daemon start it by themselves.
#[derive(Debug, Args)]
pub struct Start {
    #[command(flatten)]
    options: Options,
}

/// Stop the daemon; its jobs go on when it is started again
#[derive(Debug, Args)]
pub struct Stop {}

/// Run the daemon in the foreground, or have systemd run it
#[derive(Debug, Args)]
pub struct Daemon {
    #[command(subcommand)]
    service: Option<Service>,
    #[command(flatten)]
    options: Options,
    /// Say on stdout when it listens, or why it does not
    #[arg(long, hide = true)]
    announce: bool,
}

/// What systemd is to do with the daemon.
#[derive(Debug, Subcommand)]
enum Service {
    Install(service::Install),
    Uninstall(service::Uninstall),
}

impl Start {
    pub async fn run(self, context: &Context<'_>) -> CliResult {
        if self.options.logs_to_stderr() {
            return Err(CliError::Usage(
                "a daemon in the background has no stderr; give a file, or run `wl daemon --log-path -`".to_owned(),
            ));
        }
        let already = match control::connect(context).await? {
            Some(_) => true,
            None => {
                let words = self.options.words(context)?;
                control::start(context, &words).await?.by_other
            }
        };
        if already && self.options != Options::default() {
            context.output.complain(&format!(
                "the daemon runs already, with the options that it was started with: --log-path and --metrics change nothing; end it \
                 with `{}stop`, then start it with them",
                context.wl()
            ));
        }
        tell_put_aside(context)?;
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
        let client = control::connect_or_tell(context).await?;
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
        match self.service {
            None => {}
            Some(_) if self.options != Options::default() => {
                return Err(CliError::Usage(
                    "options of the daemon go behind `install`".to_owned(),
                ));
            }
            Some(Service::Install(install)) => return install.run(context).await,
            Some(Service::Uninstall(uninstall)) => return uninstall.run(context),
        }
        let announce = self.announce;
        let tell = |error: CliError| {
            if announce {
                say(&error.to_string().replace('\n', " "));
            }
            error
        };
        let log = self.options.log(context)?;
        // Held until the end: what is logged until then is written.
        let _log = wl_daemon::start_log(context.global.log_level.as_deref(), &log)
            .map_err(|error| tell(error.into()))?;
        wl_daemon::raise_file_limit();
        let daemon = self.start(context).await.map_err(|error| {
            wl_daemon::log_failure(&error.to_string());
            tell(error)
        })?;
        let signals = Signals::new()?;
        let stop = CancellationToken::new();
        tokio::spawn(signals.watch(stop.clone()));
        if self.announce {
            say(control::READY);
        }
        daemon.serve(stop).await;
        Ok(Exit::Done)
    }

    async fn start(&self, context: &Context<'_>) -> CliResult<wl_daemon::Daemon> {
        let options = DaemonOptions {
            base_dir: context.base_dir()?,
            socket: Some(context.socket()?),
            version: control::VERSION.to_owned(),
        };
        let daemon = wl_daemon::Daemon::start_with_metrics(options, self.options.metrics).await?;
        // The folder that it was started in is not kept from being unmounted.
        if let Err(error) = std::env::set_current_dir("/") {
            wl_daemon::log_failure(&format!(
                "cannot leave the folder it was started in: {error}"
            ));
        }
        Ok(daemon)
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

impl From<LogError> for CliError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Level(_) => CliError::Usage(error.to_string()),
            LogError::Io { .. } => CliError::Failed(error.to_string()),
        }
    }
}
