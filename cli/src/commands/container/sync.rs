//! `wl container sync`

use clap::Args;

use super::pairs;
use crate::args::RunArgs;
use crate::commands::Context;
use crate::commands::runs::{self, Job};
use crate::error::{CliError, CliResult};

/// Make storages of a container equal
///
/// Without a choice the source is the container's first local storage, and the target its first storage that is not local;
/// if the container has exactly two storages, the target is the other one. A type means the container's first storage of
/// that type. Several targets are synced one after another.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wl container sync photos --one-shot
  wl container sync photos --one-shot --target-storage disk --target-storage stick
  wl container sync photos --one-shot --mirror --dry-run

Exit codes: 0 in sync, 1 failed wholly or for some paths, 2 wrong usage, 3 done with conflicts left")]
pub struct Sync {
    /// Name of the container
    #[arg(value_name = "NAME")]
    name: String,
    /// Backend id or type of the source [default: the container's first local storage]
    #[arg(long, value_name = "X")]
    source_storage: Option<String>,
    /// Backend id or type of a target; may be given several times [default: the first that is not local; of two storages
    /// the other]
    #[arg(long, value_name = "X")]
    target_storage: Vec<String>,
    /// Run once and end
    #[arg(long)]
    one_shot: bool,
    /// Let the daemon run it and do not wait for the end
    #[arg(long, requires = "one_shot")]
    no_wait: bool,
    #[command(flatten)]
    run: RunArgs,
}

impl Sync {
    pub async fn run(self, context: &Context<'_>) -> CliResult {
        let jobs = self.jobs(context);
        runs::run_all(context, jobs).await
    }

    fn jobs(&self, context: &Context<'_>) -> CliResult<Vec<Job>> {
        if self.no_wait {
            return Err(CliError::NotYet(
                "--no-wait needs the daemon, which is not available yet in this version; run without --no-wait"
                    .to_owned(),
            ));
        }
        if !self.one_shot {
            return Err(CliError::NotYet(
                "continuous sync needs the daemon, which is not available yet in this version; run with --one-shot"
                    .to_owned(),
            ));
        }
        let source = self.source_storage.as_deref();
        let options = self.run.options();
        let mut jobs = pairs::jobs(context, &self.name, source, &self.target_storage, &options)?;
        for job in &mut jobs {
            job.spec.limits = self.run.limits();
        }
        Ok(jobs)
    }
}
