//! `wl container resolve`

use clap::Args;
use wl_daemon::model::SyncPath;

use super::pairs;
use crate::args::{KeepArg, Selection, sync_path};
use crate::commands::{Context, runs};
use crate::error::CliResult;

/// End conflicts between two storages of a container
///
/// The version that is not kept goes to the trash.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wl container resolve notes plan.txt --keep newer
  wl container resolve notes a.txt b/c.txt --keep source --target-storage stick")]
pub struct Resolve {
    /// Name of the container
    #[arg(value_name = "NAME")]
    name: String,
    /// Paths in conflict, relative to the storages' roots
    #[arg(required = true, value_name = "PATH", value_parser = sync_path)]
    paths: Vec<SyncPath>,
    /// Which version to keep
    #[arg(long, value_enum)]
    keep: KeepArg,
    #[command(flatten)]
    selection: Selection,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

impl Resolve {
    pub async fn run(self, context: &Context<'_>) -> CliResult {
        let options = runs::conflict_options(self.dry_run);
        let job = pairs::job(context, &self.name, &self.selection, &options);
        runs::resolve(context, job, &self.paths, self.keep.into()).await
    }
}
