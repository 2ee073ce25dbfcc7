//! `wl container resolve`

use clap::Args;
use serde_json::json;
use wl_control::ClientError;
use wl_daemon::model::{RunReport, SyncPath};
use wl_daemon::sync::Keep;

use super::{pairs, running};
use crate::args::{KeepArg, Selection, sync_path};
use crate::commands::Context;
use crate::commands::runs;
use crate::control;
use crate::error::CliResult;
use crate::output::human::Aim;

/// End conflicts between two storages of a container
///
/// The version that is not kept goes to the trash.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wl container resolve notes plan.txt --keep newer
  wl container resolve notes a.txt b/c.txt --keep source --target-storage stick")]
pub struct Resolve {
    /// Name of the container
    #[arg(value_name = "NAME")]
    name: String,
    /// Paths in conflict, relative to the storages' roots
    #[arg(required = true, value_name = "PATH", value_parser = sync_path)]
    paths: Vec<SyncPath>,
    /// Which version to keep
    #[arg(long, value_enum)]
    keep: KeepArg,
    #[command(flatten)]
    selection: Selection,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

impl Resolve {
    pub async fn run(self, context: &Context<'_>) -> CliResult {
        let options = runs::conflict_options(self.dry_run);
        let running = running::find(context, &self.name, &self.selection, &options).await;
        let job = match running {
            // The pair that is kept in sync, whatever the manifest says by now.
            Ok(Some(running)) => {
                let job = running.job(context, options);
                if !self.dry_run
                    && let Ok(job) = &job
                {
                    let report = self.by_the_daemon(context, &running.status.job_id).await?;
                    let jobs = std::slice::from_ref(job);
                    return runs::print_reports(context, Aim::Resolve, jobs, &[report]);
                }
                job
            }
            Ok(None) => pairs::job(context, &self.name, &self.selection, &options),
            Err(error) => Err(error),
        };
        runs::resolve(context, job, &self.paths, self.keep.into()).await
    }

    /// The daemon does it between two looks.
    async fn by_the_daemon(&self, context: &Context<'_>, id: &str) -> CliResult<RunReport> {
        let mut client = control::running(context).await?;
        let paths: Vec<_> = self.paths.iter().map(SyncPath::as_str).collect();
        let keep: Keep = self.keep.into();
        let args = json!({ "job-id": id, "paths": paths, "keep": keep });
        let report = client.ask("resolve", args).await?;
        let report = serde_json::from_value(report);
        Ok(report.map_err(|error| ClientError::Nonsense(error.to_string()))?)
    }
}
