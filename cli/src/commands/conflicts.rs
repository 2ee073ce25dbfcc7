//! `wl conflicts`

use clap::Args;

use super::Context;
use super::runs::{self, Job};
use crate::args::{FilterArgs, Pair};
use crate::error::CliResult;

/// List the open conflicts of two storages that `wl sync` keeps equal
///
/// Lists what the last run left open. The exit code is 3 if there is any.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wl conflicts ~/Documents /media/stick/Documents
  wl conflicts --force-scan --output json notes backup/notes")]
pub struct Conflicts {
    #[command(flatten)]
    pair: Pair,
    /// Look at both storages now instead of at what the last run found
    #[arg(long)]
    force_scan: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

impl Conflicts {
    pub async fn run(self, context: &Context<'_>) -> CliResult {
        let mut options = runs::conflict_options(true);
        options.exclude = self.filter.exclusions();
        let job = Job::of_pair(context, &self.pair, options)?;
        runs::list_conflicts(context, vec![job], self.force_scan).await
    }
}
