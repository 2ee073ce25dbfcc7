//! `wl events`

use clap::Args;
use serde_json::json;

use super::Context;
use crate::control;
use crate::error::{CliError, CliResult};
use crate::output::jobs;

/// Follow what the daemon's jobs do, as it happens
///
/// With `--output json` one JSON object a line.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wl events
  wl events --type conflict --type error
  wl events --output json --since 1790000000000000")]
pub struct Events {
    /// Follow this job only
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// Follow events of this type only (state, progress, conflict, error); may be given several times
    #[arg(long = "type", value_name = "TYPE", value_parser = ["state", "progress", "conflict", "error"])]
    types: Vec<String>,
    /// Begin with the events after this number, as far as the daemon still has them
    #[arg(long, value_name = "NUMBER")]
    since: Option<u64>,
}

impl Events {
    pub async fn run(self, context: &Context<'_>) -> CliResult {
        let mut client = control::running(context).await?;
        let mut args = json!({ "active-events": self.types });
        if let Some(job) = self.job {
            args["job-id"] = job.into();
        }
        if let Some(since) = self.since {
            args["since"] = since.into();
        }
        client.ask("subscribe", args).await?;
        while let Some(event) = client.next_event().await? {
            jobs::print_event(context.output, &event)?;
        }
        Err(CliError::NoDaemon("the daemon has ended".to_owned()))
    }
}
