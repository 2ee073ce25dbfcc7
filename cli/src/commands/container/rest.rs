//! `wl container pause` and `wl container resume`

use clap::Args;
use serde_json::json;

use crate::commands::Context;
use crate::control;
use crate::error::{CliError, CliResult, Exit};
use crate::output::{escape, quote};

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
        ask(context, &self.name, "pause", "Paused").await
    }
}

impl Resume {
    pub async fn run(self, context: &Context<'_>) -> CliResult {
        ask(context, &self.name, "resume", "Resumed").await
    }
}

async fn ask(context: &Context<'_>, name: &str, cmd: &str, done: &str) -> CliResult {
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
    let mut ids = Vec::new();
    for job in jobs {
        client.ask(cmd, json!({ "job-id": job.job_id })).await?;
        ids.push(job.job_id);
    }
    context.output.print(&json!({ cmd: ids }), || {
        format!("{done} {}\n", escape(&ids.join(", ")))
    })?;
    Ok(Exit::Done)
}
