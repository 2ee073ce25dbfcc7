//! `wl resolve`

use clap::Args;
use wl_daemon::model::SyncPath;

use super::Context;
use super::runs::{self, Job};
use crate::args::{KeepArg, Pair, sync_path};
use crate::error::CliResult;

/// End conflicts between two storages that `wl sync` keeps equal
///
/// The version that is not kept goes to the trash.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wl resolve ~/Documents /media/stick/Documents plan.txt --keep newer
  wl resolve notes backup/notes a.txt b/c.txt --keep both")]
pub struct Resolve {
    #[command(flatten)]
    pair: Pair,
    /// Paths in conflict, relative to the storages' roots
    #[arg(required = true, value_name = "PATH", value_parser = sync_path)]
    paths: Vec<SyncPath>,
    /// Which version to keep
    #[arg(long, value_enum)]
    keep: KeepArg,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

impl Resolve {
    pub async fn run(self, context: &Context<'_>) -> CliResult {
        let options = runs::conflict_options(self.dry_run);
        let job = Job::of_pair(context, &self.pair, options);
        runs::resolve(context, job, &self.paths, self.keep.into()).await
    }
}
