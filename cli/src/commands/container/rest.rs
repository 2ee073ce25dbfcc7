//! `wl container pause` and `wl container resume`

use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::time::{Instant, timeout_at};
use wl_control::{Client, JobStatus, State};

use crate::commands::Context;
use crate::control;
use crate::error::{CliError, CliResult, Exit};
use crate::output::{escape, quote};

/// So long it is waited for what becomes of jobs that were resumed.
const MOMENT: Duration = Duration::from_secs(1);

/// Let the sync of a container rest until it is resumed, also over restarts
#[derive(Debug, Args)]
pub struct Pause {
    /// Name of the container
    #[arg(value_name = "NAME")]
    name: String,
}

/// Go on with a sync that was paused, or try one that failed again at once
#[derive(Debug, Args)]
pub struct Resume {
    /// Name of the container
    #[arg(value_name = "NAME")]
    name: String,
}

impl Pause {
    pub async fn run(self, context: &Context<'_>) -> CliResult {
        let (_, ids) = ask(context, &self.name, "pause").await?;
        context.output.print(&json!({ "pause": ids }), || {
            format!("Paused {}\n", escape(&ids.join(", ")))
        })?;
        Ok(Exit::Done)
    }
}

impl Resume {
    pub async fn run(self, context: &Context<'_>) -> CliResult {
        let (mut client, ids) = ask(context, &self.name, "resume").await?;
        let jobs = outcome(&mut client, &ids).await?;
        context.output.print(&json!({ "resume": ids }), || {
            jobs.iter().map(resumed).collect::<String>()
        })?;
        Ok(Exit::Done)
    }
}

/// Asks this of the jobs that keep a container in sync, and returns which they are. Their states are told from then on.
async fn ask(context: &Context<'_>, name: &str, cmd: &str) -> CliResult<(Client, Vec<String>)> {
    let mut client = control::running(context).await?;
    let mut jobs = control::jobs_of(&mut client, name).await?;
    jobs.retain(|job| job.continuous);
    if jobs.is_empty() {
        context.store()?.load(name)?;
        return Err(CliError::Usage(format!(
            "nothing keeps the container `{}` in sync; start that with `{}container sync {}`",
            escape(name),
            context.wl(),
            quote(name)
        )));
    }
    let states = json!({ "active-events": ["state"] });
    client.ask("subscribe", states).await?;
    let mut ids = Vec::new();
    for job in jobs {
        client.ask(cmd, json!({ "job-id": job.job_id })).await?;
        ids.push(job.job_id);
    }
    Ok((client, ids))
}

/// How these jobs stand once that is known, or after a moment: one whose storage is away rests again at once.
async fn outcome(client: &mut Client, ids: &[String]) -> CliResult<Vec<JobStatus>> {
    let deadline = Instant::now() + MOMENT;
    loop {
        let mut jobs = control::all_jobs(client).await?;
        jobs.retain(|job| ids.contains(&job.job_id));
        if jobs.iter().all(|job| job.state.0 != State::Running) {
            return Ok(jobs);
        }
        match timeout_at(deadline, client.next_event()).await {
            Ok(Ok(Some(_))) => {}
            Ok(Err(error)) => return Err(error.into()),
            Ok(Ok(None)) | Err(_) => return Ok(jobs),
        }
    }
}

/// What became of a job that was resumed.
fn resumed(job: &JobStatus) -> String {
    let (id, (state, why)) = (escape(&job.job_id), &job.state);
    match state {
        State::Paused | State::Error | State::Stopped => {
            format!(
                "{id} was tried at once and is {}: {}\n",
                state.name(),
                escape(why)
            )
        }
        State::Running | State::Synced | State::OneShot => format!("Resumed {id}\n"),
    }
}
