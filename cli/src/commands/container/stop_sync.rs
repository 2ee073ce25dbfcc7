//! `wl container stop-sync`

use clap::Args;
use serde_json::json;

use crate::commands::Context;
use crate::control;
use crate::error::{CliError, CliResult, Exit};
use crate::output::{escape, quote};

/// Stop keeping a container in sync
///
/// What is being done is brought to a safe end; what is done stays done.
#[derive(Debug, Args)]
pub struct StopSync {
    /// Name of the container
    #[arg(value_name = "NAME")]
    name: String,
}

impl StopSync {
    pub async fn run(self, context: &Context<'_>) -> CliResult {
        let mut client = control::running(context).await?;
        let jobs = control::jobs_of(&mut client, &self.name).await?;
        if jobs.is_empty() {
            // A container that is not there is the likelier mistake.
            context.store()?.load(&self.name)?;
            return Err(CliError::Usage(format!(
                "nothing keeps the container `{}` in sync; start that with `{}container sync {}`",
                escape(&self.name),
                context.wl(),
                quote(&self.name)
            )));
        }
        let mut stopped = Vec::new();
        for job in jobs {
            client.ask("stop", json!({ "job-id": job.job_id })).await?;
            stopped.push(job.job_id);
        }
        context.output.print(&json!({ "stopped": stopped }), || {
            format!("Stopped {}\n", escape(&stopped.join(", ")))
        })?;
        Ok(Exit::Done)
    }
}
