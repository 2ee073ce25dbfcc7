//! `wl status`

use clap::Args;
use serde_json::{Value, json};
use wl_control::JobStatus;

use super::Context;
use super::container::running;
use crate::control;
use crate::error::{CliError, CliResult, Exit};
use crate::output::{escape, jobs};

/// Show what the daemon keeps in sync
///
/// For each job: its state, which way changes travel between which storages, what is going on, what was done, when both sides were
/// last found equal, conflicts, problems, and how each side is watched. The exit code is 0 if every job is in sync.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wl status
  wl status photos --output json
  wl status --watch

Exit codes: 0 all in sync, 1 a job failed, waits or has problems, 3 conflicts are left or work goes on")]
pub struct Status {
    /// Container to show; all without it
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Go on showing changes until Ctrl-C
    #[arg(long)]
    watch: bool,
}

impl Status {
    pub async fn run(self, context: &Context<'_>) -> CliResult {
        if !self.watch {
            return self.show(context).await;
        }
        let mut client = control::running(context).await?;
        loop {
            let jobs = self.jobs(&mut client).await?;
            let older = running::all_older(context, &jobs)?;
            let text = match context.output.is_json() {
                true => format!("{}\n", json!({ "jobs": with_older(&jobs, &older) })),
                false => jobs::table(&jobs, &older),
            };
            context.output.redraw(&text)?;
            if client.next_event().await?.is_none() {
                return Err(CliError::NoDaemon("the daemon has ended".to_owned()));
            }
        }
    }

    async fn show(&self, context: &Context<'_>) -> CliResult {
        tell_put_aside(context)?;
        let Some(mut client) = control::connect_or_tell(context).await? else {
            if let Some(name) = &self.name {
                context.store()?.load(name)?;
            }
            let recorded = wl_daemon::jobs::recorded(&context.base_dir()?);
            let none = json!({ "daemon": Value::Null, "jobs": [], "recorded": recorded });
            context.output.print(&none, || match recorded {
                0 => "No daemon runs, so nothing is kept in sync\n".to_owned(),
                jobs => format!(
                    "No daemon runs, so nothing is kept in sync; {} waiting for it: `{}start`\n",
                    match jobs {
                        1 => "1 job is".to_owned(),
                        jobs => format!("{jobs} jobs are"),
                    },
                    context.wl()
                ),
            })?;
            return Ok(match recorded {
                0 => Exit::Done,
                _ => Exit::Failed,
            });
        };
        let jobs = self.jobs(&mut client).await?;
        let daemon = client.ask("version", json!({})).await?;
        if let Some(name) = &self.name
            && jobs.is_empty()
        {
            context.store()?.load(name)?;
        }
        let older = running::all_older(context, &jobs)?;
        let document = json!({ "daemon": daemon, "jobs": with_older(&jobs, &older) });
        context.output.print(&document, || match jobs.is_empty() {
            true => "Nothing is kept in sync\n".to_owned(),
            false => jobs::table(&jobs, &older),
        })?;
        Ok(jobs.iter().map(jobs::exit).fold(Exit::Done, Exit::worse))
    }

    async fn jobs(&self, client: &mut wl_control::Client) -> CliResult<Vec<JobStatus>> {
        match &self.name {
            Some(name) => control::jobs_of(client, name).await,
            None => control::all_jobs(client).await,
        }
    }
}

/// Says that jobs may be missing, which nobody would look for in the log.
pub fn tell_put_aside(context: &Context<'_>) -> CliResult<()> {
    if let Some(aside) = wl_daemon::jobs::put_aside(&context.base_dir()?) {
        context.output.talk(&format!(
            "Records of jobs made no sense and were put aside as {}: start with `{}container sync NAME` what is missing in `{}status`, and \
             remove that file; the log names the jobs",
            escape(&aside.display().to_string()),
            context.wl(),
            context.wl()
        ));
    }
    Ok(())
}

/// What the daemon says of its jobs, and what only the manifests tell beside it.
fn with_older(jobs: &[JobStatus], older: &[Option<String>]) -> Vec<Value> {
    let each = jobs.iter().zip(older).map(|(job, older)| {
        let mut job = json!(job);
        if let Some(older) = older {
            job["older-definition"] = json!(older);
        }
        job
    });
    each.collect()
}
