//! The `wl` command. A program that adds plug-ins of its own links them and calls [`main`]; see `docs/plugin-authors.md`.

mod args;
mod commands;
mod control;
mod error;
mod manifest;
mod output;
mod rclone;
mod runner;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use args::Cli;
use error::{CliError, CliResult};
use output::Output;

/// Blocking work is done in whole batches, by few workers: two listings, a few chunks, a batch that is published. More threads would
/// only cost memory.
const BLOCKING_THREADS: usize = 8;

/// In the daemon many runs share them, and each may take what it would have alone: on a mount that hangs a run keeps all of its workers
/// waiting, and neither the others nor the record of the jobs may wait with it.
const DAEMON_BLOCKING_THREADS: usize = 256;
/// How long a worker stays that has nothing to do. Longer, and the looks of many jobs, each a moment, would keep all of them.
const IDLE_WORKER: Duration = Duration::from_secs(1);

/// All that `wl` does, with every plug-in that is linked into this program.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let cli = match args::parse(&words) {
        Ok(cli) => cli,
        Err(error) => return output::clap_error(&error, &words),
    };
    let output = Output::new(cli.global.output, cli.global.quiet);
    match run(cli, &output) {
        Ok(exit) => exit.into(),
        Err(error) => output.error(&error).into(),
    }
}

fn run(cli: Cli, output: &Output) -> CliResult {
    let blocking = match cli.command {
        commands::Command::Daemon(_) => DAEMON_BLOCKING_THREADS,
        _ => BLOCKING_THREADS,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(blocking)
        .thread_keep_alive(IDLE_WORKER)
        .enable_all()
        .build()
        .map_err(|error| CliError::Failed(format!("cannot start the runtime: {error}")))?;
    let exit = runtime.block_on(commands::run(cli, output));
    // A worker that is still in a system call is not waited for: what it staged is tidied up by the next run.
    runtime.shutdown_background();
    exit
}
