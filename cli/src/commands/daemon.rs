//! `wl start`, `wl stop` and `wl daemon`

use std::path::PathBuf;

use clap::Args;

use crate::error::{CliError, CliResult};

/// Start the daemon (not available yet)
#[derive(Debug, Args)]
pub struct Start {}

/// Stop the daemon (not available yet)
#[derive(Debug, Args)]
pub struct Stop {}

/// Run the daemon in the foreground (not available yet)
#[derive(Debug, Args)]
pub struct Daemon {
    /// File to write the log to; `-` is stderr
    #[arg(short, long, value_name = "LOG")]
    log: Option<PathBuf>,
    /// Socket to listen on [default: run/wl.sock in the base directory]
    #[arg(short, long, value_name = "SOCKET")]
    socket: Option<PathBuf>,
}

impl Start {
    pub fn run(self) -> CliResult {
        none()
    }
}

impl Stop {
    pub fn run(self) -> CliResult {
        none()
    }
}

impl Daemon {
    pub fn run(self) -> CliResult {
        none()
    }
}

fn none() -> CliResult {
    Err(CliError::NoDaemon(
        "the daemon is not part of this version yet; sync once with `wl sync` or `wl container sync --one-shot`"
            .to_owned(),
    ))
}
