//! `wl sync`

use clap::Args;
use wl_control::EventKind;
use wl_daemon::jobs::attend;

use super::Context;
use super::runs::{self, Job};
use crate::args::{Pair, RunArgs};
use crate::error::{CliError, CliResult, Exit};
use crate::output::jobs;
use crate::runner;

/// Make two storages equal, without any set-up
///
/// Changes since the last run travel both ways; where both sides changed a file differently, both versions stay as they are
/// and a conflict is reported. A target folder that does not exist is made, if the folder above it exists. What is replaced
/// or removed goes to the trash (see `wl trash`).
///
/// With --watch it goes on until Ctrl-C, without the daemon: state changes, conflicts and problems are printed as they happen (with
/// --output json one JSON object a line), and nothing of it goes on afterwards. `wl container sync` is for what is to be kept in sync
/// for good.
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
  wl sync --watch notes /media/stick/notes

Credentials come from the environment, from the usual profile files, or from a file that only you
can read (--target-option credentials_file=FILE); never from the command line, which others can
read.

Exit codes: 0 in sync, 1 failed wholly or for some paths, 2 wrong usage, 3 done with conflicts left
With --watch: as things stood when it was stopped, and 1 if changes were still on their way")]
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
        if self.watch {
            return watch(context, job).await;
        }
        runs::run_all(context, job.map(|job| vec![job])).await
    }

    fn job(&self, context: &Context<'_>) -> CliResult<Job> {
        let options = self.run.options();
        if self.watch && options.dry_run {
            return Err(CliError::Usage(
                "--dry-run looks once and changes nothing; leave out --watch".to_owned(),
            ));
        }
        let mut job = Job::of_pair(context, &self.pair, options)?;
        job.spec.limits = self.run.limits();
        job.spec.continuous = self.watch;
        job.spec.storages.target = runs::created_if_missing(job.spec.storages.target);
        Ok(job)
    }
}

/// Keeps the storages equal until Ctrl-C, and prints what happens.
async fn watch(context: &Context<'_>, job: CliResult<Job>) -> CliResult {
    let job = match job {
        Ok(job) => job,
        Err(error) => return runs::refuse(context, error),
    };
    // A reader that cannot be written to is told of at the end; the job matters more.
    let mut printed = Ok(());
    let attended = runner::until_stopped(context.output, async |stop| {
        attend(&job.spec, stop, |event| {
            if event.kind != EventKind::Progress && printed.is_ok() {
                printed = jobs::print_event(context.output, event);
            }
        })
        .await
    });
    let last = match attended.await {
        Ok(last) => last,
        Err(error) => return runs::refuse(context, error.into()),
    };
    printed?;
    Ok(last.as_ref().map_or(Exit::Failed, jobs::last_exit))
}
