//! `wl container sync`

use clap::Args;
use serde_json::json;
use wl_control::{Client, JobStatus, State};
use wl_daemon::Limits;
use wl_daemon::jobs::{Options, StartRequest};
use wl_daemon::model::Direction;
use wl_daemon::sync::SyncOptions;

use super::pairs;
use super::running::all_older;
use crate::args::RunArgs;
use crate::commands::Context;
use crate::commands::runs::{self, Job};
use crate::control;
use crate::error::{CliError, CliResult, Exit};
use crate::output::escape;
use crate::output::jobs::table;

/// Keep storages of a container equal, or make them equal once
///
/// The daemon does it, from now on and after every restart of it, until `wl container stop-sync NAME`; with --one-shot it is
/// done once, here and now.
///
/// Without a choice the source is the container's first local storage, and the target its first storage that is not local;
/// if the container has exactly two storages, the target is the other one. A type means the container's first storage of
/// that type. Each target is a job of its own.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wl container sync photos
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
        if self.one_shot && !self.no_wait {
            return runs::run_all(context, jobs).await;
        }
        self.hand_over(context, jobs?).await
    }

    fn jobs(&self, context: &Context<'_>) -> CliResult<Vec<Job>> {
        let source = self.source_storage.as_deref();
        let options = self.run.options();
        if options.dry_run && (!self.one_shot || self.no_wait) {
            return Err(CliError::Usage(
                "--dry-run looks once and prints what it finds; run it with --one-shot and without --no-wait".to_owned(),
            ));
        }
        let mut jobs = pairs::jobs(context, &self.name, source, &self.target_storage, &options)?;
        for job in &mut jobs {
            job.spec.limits = self.run.limits();
        }
        Ok(jobs)
    }

    /// Lets the daemon run the jobs.
    async fn hand_over(&self, context: &Context<'_>, jobs: Vec<Job>) -> CliResult {
        let mut client = control::connect_or_start(context).await?;
        let (mut started, mut running) = (Vec::new(), Vec::new());
        for job in &jobs {
            let request = pairs::request(&self.name, job, !self.one_shot);
            let id = request.job_id.clone();
            if self.one_shot {
                forget_ended(&mut client, &id).await?;
            } else if let Some(runs) = runs_already(&mut client, &request).await? {
                running.push(runs);
                continue;
            }
            let args = serde_json::to_value(request)
                .map_err(|error| CliError::Failed(error.to_string()))?;
            client.ask("start", args).await?;
            started.push(id);
        }
        let older = all_older(context, &running)?;
        let answer = match running.is_empty() {
            true => json!({ "started": started }),
            false => json!({ "started": started, "running": running }),
        };
        context.output.print(&answer, || {
            let what = if self.one_shot {
                "Syncing once"
            } else {
                "Keeping in sync"
            };
            let mut text = String::new();
            if !started.is_empty() {
                text = format!("{what}: {}\n", escape(&started.join(", ")));
            }
            if !running.is_empty() {
                text += "Kept in sync already:\n";
                text += &table(&running, &older);
            }
            text
        })?;
        context
            .output
            .talk(&format!("See how it goes with `{}status`", context.wl()));
        Ok(Exit::Done)
    }
}

/// The job that does already what is asked for. One that goes about it in another way, or may do so, does not count.
async fn runs_already(client: &mut Client, request: &StartRequest) -> CliResult<Option<JobStatus>> {
    let plain = SyncOptions::new(request.direction());
    if request.options != Options::of(&plain, Limits::default()) {
        return Ok(None);
    }
    let direction = match request.direction() {
        Direction::TwoWay => "two-way",
        Direction::OneWay => "one-way",
        Direction::Mirror => "mirror",
    };
    let jobs = control::all_jobs(client).await?;
    let same = |job: &JobStatus| {
        job.job_id == request.job_id && job.continuous && job.direction == direction
    };
    let found = jobs.into_iter().find(same);
    if let Some(job) = &found
        && job.state.0 != State::Paused
        && job.error_count > 0
    {
        // Somebody wants it now: what failed is not left for later.
        client
            .ask("resume", json!({ "job-id": job.job_id }))
            .await?;
    }
    Ok(found)
}

/// A one-shot of the same storages that has ended makes room for the next.
async fn forget_ended(client: &mut Client, id: &str) -> CliResult<()> {
    let jobs = control::all_jobs(client).await?;
    let ended = jobs
        .iter()
        .any(|job| job.job_id == id && !job.continuous && job.state.0 != State::OneShot);
    if ended {
        client.ask("stop", json!({ "job-id": id })).await?;
    }
    Ok(())
}
