//! `wl sync`

use clap::Args;

use super::Context;
use super::runs::{self, Job};
use crate::args::{Pair, RunArgs};
use crate::error::{CliError, CliResult};

/// Make two storages equal, without any set-up
///
/// Changes since the last run travel both ways; where both sides changed a file differently, both versions stay as they are
/// and a conflict is reported. A target folder that does not exist is made, if the folder above it exists. What is replaced
/// or removed goes to the trash (see `wl trash`).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wl sync ~/Documents /media/stick/Documents
  wl sync --mirror website /srv/backup/website
  wl sync --dry-run --output json notes backup/notes
  wl sync --max-delete 100 --trash-keep 2w photos /media/disk/photos
  wl sync --bwlimit 10M photos s3://bucket/photos
  wl sync photos s3://bucket/photos --target-option endpoint_url=https://s3.example.org
  wl sync notes sftp://me@host/~/notes

Credentials come from the environment, from the usual profile files, or from a file that only you can
read (--target-option credentials_file=FILE); never from the command line, which others can read.

Exit codes: 0 in sync, 1 failed wholly or for some paths, 2 wrong usage, 3 done with conflicts left")]
pub struct Sync {
    #[command(flatten)]
    pair: Pair,
    /// Go on until stopped, and follow changes as they happen
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    run: RunArgs,
}

impl Sync {
    pub async fn run(self, context: &Context<'_>) -> CliResult {
        let job = self.job(context);
        runs::run_all(context, job.map(|job| vec![job])).await
    }

    fn job(&self, context: &Context<'_>) -> CliResult<Job> {
        if self.watch {
            return Err(CliError::NotYet(
                "--watch is not available yet in this version; run without --watch".to_owned(),
            ));
        }
        let mut job = Job::of_pair(context, &self.pair, self.run.options())?;
        job.spec.limits = self.run.limits();
        job.spec.storages.target = runs::created_if_missing(job.spec.storages.target);
        Ok(job)
    }
}
