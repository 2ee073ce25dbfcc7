//! `wl container list-conflicts`

use clap::Args;

use super::{pairs, running};
use crate::args::Selection;
use crate::commands::{Context, runs};
use crate::error::CliResult;

/// List the open conflicts between two storages of a container
///
/// Lists what the last run left open. The exit code is 3 if there is any. Where it is not clear which storage is the target, those of all
/// are listed, target by target.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wl container list-conflicts photos
  wl container list-conflicts photos --force-scan --output json")]
pub struct ListConflicts {
    /// Name of the container
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    selection: Selection,
    /// Look at both storages now instead of at what the last run found
    #[arg(long)]
    force_scan: bool,
}

impl ListConflicts {
    pub async fn run(self, context: &Context<'_>) -> CliResult {
        let options = runs::conflict_options(true);
        // The pair that is kept in sync, whatever the manifest says by now.
        let jobs = match running::find(context, &self.name, &self.selection, &options).await? {
            Some(running) => vec![running.job(context, options)?],
            None => {
                let mut jobs = pairs::every_job(context, &self.name, &self.selection, &options)?;
                running::tell_ways(context, &self.name, &mut jobs).await?;
                jobs
            }
        };
        runs::list_conflicts(context, jobs, self.force_scan).await
    }
}
