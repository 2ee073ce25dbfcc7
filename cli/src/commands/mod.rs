//! The subcommands, one file each.

mod completions;
mod conflicts;
mod container;
mod daemon;
mod events;
mod explain;
mod resolve;
mod runs;
mod status;
mod storage;
mod sync;
mod trash;

use std::path::PathBuf;

use clap::Subcommand;
use wl_daemon::LogTo;

use crate::args::{Cli, Global};
use crate::error::CliResult;
use crate::manifest::Store;
use crate::output::Output;

pub use daemon::Options;

/// What `wl` does.
#[derive(Debug, Subcommand)]
pub enum Command {
    Sync(sync::Sync),
    Conflicts(conflicts::Conflicts),
    Resolve(resolve::Resolve),
    /// Name a thing that lives in several storages, and sync it
    #[command(subcommand)]
    Container(container::Container),
    /// Say in which storages a container lives
    #[command(subcommand)]
    Storage(storage::Storage),
    /// See and bring back what runs removed or replaced
    #[command(subcommand)]
    Trash(trash::Trash),
    Status(status::Status),
    Events(events::Events),
    Explain(explain::Explain),
    Start(daemon::Start),
    Stop(daemon::Stop),
    Daemon(daemon::Daemon),
    Completions(completions::Completions),
}

/// What every command gets.
pub struct Context<'a> {
    /// The options of every command.
    pub global: Global,
    /// Where to print.
    pub output: &'a Output,
}

impl Context<'_> {
    /// The base directory.
    pub fn base_dir(&self) -> CliResult<PathBuf> {
        self.global.base_dir()
    }

    /// The daemon's socket.
    pub fn socket(&self) -> CliResult<PathBuf> {
        self.global.socket()
    }

    /// The manifests.
    pub fn store(&self) -> CliResult<Store> {
        Ok(Store::new(&self.base_dir()?))
    }

    /// The start of a command that means the same base directory as this one.
    pub fn wl(&self) -> String {
        format!("wl {}", self.global.repeat())
    }
}

/// Does what the command line asks for.
pub async fn run(cli: Cli, output: &Output) -> CliResult {
    let context = Context {
        global: cli.global,
        output,
    };
    // The daemon logs by itself, and elsewhere.
    let own_log = matches!(cli.command, Command::Daemon(_) | Command::Start(_));
    let level = context.global.log_level.as_deref().filter(|_| !own_log);
    let _log = level
        .map(|level| wl_daemon::start_log(Some(level), &LogTo::Stderr))
        .transpose()?;
    match cli.command {
        Command::Sync(sync) => sync.run(&context).await,
        Command::Conflicts(conflicts) => conflicts.run(&context).await,
        Command::Resolve(resolve) => resolve.run(&context).await,
        Command::Container(container) => container.run(&context).await,
        Command::Storage(storage) => storage.run(&context).await,
        Command::Trash(trash) => trash.run(&context).await,
        Command::Status(status) => status.run(&context).await,
        Command::Events(events) => events.run(&context).await,
        Command::Explain(explain) => explain.run(&context).await,
        Command::Start(start) => start.run(&context).await,
        Command::Stop(stop) => stop.run(&context).await,
        Command::Daemon(daemon) => daemon.run(&context).await,
        Command::Completions(completions) => completions.run(&context),
    }
}
