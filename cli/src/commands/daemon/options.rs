//! What a daemon is told, whoever starts it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use wl_daemon::LogTo;

use crate::commands::Context;
use crate::error::{CliError, CliResult};

/// Options of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Options {
    /// File to write the log to; `-` is stderr [default: log/wl.log in the base directory, a file a day, seven days]
    #[arg(short, long, value_name = "FILE")]
    log_path: Option<PathBuf>,
    /// Offer metrics for Prometheus at this address of this machine, such as 127.0.0.1:9464 [default: none]
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<SocketAddr>,
}

impl Options {
    /// Where the log goes.
    pub fn log(&self, context: &Context<'_>) -> CliResult<LogTo> {
        Ok(match &self.log_path {
            None => LogTo::BaseDir(context.base_dir()?),
            Some(_) if self.logs_to_stderr() => LogTo::Stderr,
            Some(path) => LogTo::File(absolute(path)?),
        })
    }

    /// Whether the log goes to stderr.
    pub fn logs_to_stderr(&self) -> bool {
        self.log_path.as_ref().is_some_and(|path| *path == *"-")
    }

    /// The words after `wl daemon` that mean these options and the global ones.
    pub fn words(&self, context: &Context<'_>) -> CliResult<Vec<OsString>> {
        let mut words: Vec<OsString> = vec![
            "--base-dir".into(),
            context.base_dir()?.into(),
            "--socket-path".into(),
            context.socket()?.into(),
        ];
        match &self.log_path {
            None => {}
            Some(path) if self.logs_to_stderr() => words.extend(["--log-path".into(), path.into()]),
            Some(path) => words.extend(["--log-path".into(), absolute(path)?.into()]),
        }
        if let Some(level) = &context.global.log_level {
            words.extend(["--log-level".into(), level.into()]);
        }
        if let Some(address) = self.metrics {
            words.extend(["--metrics".into(), address.to_string().into()]);
        }
        Ok(words)
    }
}

fn absolute(path: &std::path::Path) -> CliResult<PathBuf> {
    std::path::absolute(path)
        .map_err(|error| CliError::Usage(format!("the log path {}: {error}", path.display())))
}
