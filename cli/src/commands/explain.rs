//! `wl explain`

use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};
use wl_control::{FilterStatus, JobStatus};
use wl_daemon::filter::{Exclusions, MaxSize, Origin, Rule};
use wl_daemon::job;
use wl_daemon::model::{ConflictSide, Direction, Side, SyncPath};
use wl_daemon::sync::{Explanation, Seen, SyncOptions};

use super::Context;
use super::container::{pairs, running};
use super::runs::{Job, conflict_options};
use crate::args::{Selection, sync_path};
use crate::control;
use crate::error::{CliResult, Exit};
use crate::output::{escape, human};
use crate::runner;

/// Say why a path of a container is as it is, and what happens to it next
///
/// Looks at the path on both sides now: what each holds, what both last agreed on, what is decided by which rule, and what the
/// next look does. Nothing is changed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wl explain photos 2026/img_1.jpg
  wl explain photos notes.txt --target-storage stick --output json")]
pub struct Explain {
    /// Name of the container
    #[arg(value_name = "NAME")]
    name: String,
    /// Path relative to the storages' roots
    #[arg(value_name = "PATH", value_parser = sync_path)]
    path: SyncPath,
    #[command(flatten)]
    selection: Selection,
}

impl Explain {
    pub async fn run(self, context: &Context<'_>) -> CliResult {
        let options = conflict_options(true);
        let running = running::find(context, &self.name, &self.selection, &options).await?;
        let older = running.as_ref().and_then(|running| running.older(context));
        let (job, status) = match running {
            // What is decided depends on which way the job goes, and between which storages: as it runs, not as it would be started now.
            Some(running) => (running.job(context, options)?, Some(running.status)),
            None => self.by_the_manifest(context, options).await?,
        };
        let mut job = job;
        // A job that goes on may leave out more than the manifest says, or less.
        if let Some(status) = &status {
            let manifest = pairs::job(
                context,
                &self.name,
                &self.selection,
                &conflict_options(true),
            );
            let manifest = manifest
                .map(|job| job.spec.options.exclude)
                .unwrap_or_default();
            job.spec.options.exclude = left_out(status.filters.as_ref(), &manifest);
        }
        let said = runner::attended(context.output, async |_: Arc<_>, cancel| {
            job::explain(&job.spec, &self.path, cancel).await
        })
        .await?;
        let mut runs = match &status {
            Some(job) => format!(
                "the daemon's job {} is {}: {}",
                job.job_id,
                job.state.0.name(),
                job.state.1
            ),
            None => format!(
                "no job of the daemon keeps these storages in sync; `{}container sync {}` looks again",
                context.wl(),
                crate::output::quote(&self.name)
            ),
        };
        if let Some(older) = &older {
            runs += &format!("; {older}");
        }
        let mut document = serde_json::to_value(&said).unwrap_or_default();
        document["job"] = status.as_ref().map_or(Value::Null, |job| json!(job));
        if let Some(older) = older {
            document["job"]["older-definition"] = older.into();
        }
        context.output.print(&document, || text(&said, &runs))?;
        Ok(Exit::Done)
    }

    /// What no continuous job keeps in sync; a one-shot of the daemon may be at it.
    async fn by_the_manifest(
        &self,
        context: &Context<'_>,
        mut options: SyncOptions,
    ) -> CliResult<(Job, Option<JobStatus>)> {
        let found = pairs::job(context, &self.name, &self.selection, &options)?;
        let id = pairs::request(&self.name, &found, true).job_id;
        let status = match control::connect(context).await? {
            Some(mut client) => {
                let jobs = control::all_jobs(&mut client).await?;
                jobs.into_iter().find(|job| job.job_id == id)
            }
            None => None,
        };
        options.direction = match status.as_ref().map(|job| &*job.direction) {
            Some("one-way") => Direction::OneWay,
            Some("mirror") => Direction::Mirror,
            _ => Direction::TwoWay,
        };
        let job = pairs::job(context, &self.name, &self.selection, &options)?;
        Ok((job, status))
    }
}

/// What a job of the daemon leaves out. A rule that is in the manifest too is said to come from there.
fn left_out(filters: Option<&FilterStatus>, manifest: &Exclusions) -> Exclusions {
    let Some(filters) = filters else {
        return Exclusions::default();
    };
    let rule = |line: &String| {
        let known = manifest.rules.iter().find(|rule| rule.line == *line);
        known
            .cloned()
            .unwrap_or_else(|| Rule::exclude(line, Origin::Job))
    };
    let presets = filters.exclude_preset.iter();
    Exclusions {
        presets: presets.filter_map(|name| name.parse().ok()).collect(),
        rules: filters.exclude.iter().map(rule).collect(),
        max_size: filters.max_size.map(MaxSize),
    }
}

fn text(said: &Explanation, runs: &str) -> String {
    let mut text = format!("{}\n", escape(&said.path));
    for side in Side::BOTH {
        text += &format!("  {side:<9} {}\n", seen(&said.seen[side]));
    }
    let agreed = match &said.agreed {
        Some(entry) => held(entry),
        None => "nothing".to_owned(),
    };
    text += &format!("  {:<9} {agreed}\n", "agreed");
    text += &format!(
        "  {:<9} {}: {}\n",
        "decision",
        said.decision,
        escape(&said.rule)
    );
    text += &format!("  {:<9} {}\n", "next", escape(&said.next));
    if let Some(conflict) = &said.conflict {
        text += &format!("  {:<9} {}\n", "conflict", escape(&conflict.reason));
    }
    text + &format!("  {:<9} {}\n", "job", escape(runs))
}

fn seen(seen: &Seen) -> String {
    let mut text = match &seen.entry {
        Some(entry) => held(entry),
        None => seen.presence.clone(),
    };
    match seen.changed {
        Some(true) => text += ", changed since both agreed",
        Some(false) => text += ", as agreed",
        None => {}
    }
    if let Some(why) = &seen.why {
        text += &format!(" ({})", escape(why));
    }
    text
}

fn held(entry: &ConflictSide) -> String {
    let mut text = entry.kind.clone();
    if let Some(size) = entry.size {
        text += &format!(", {}", human::bytes(size));
    }
    if let Some(hash) = &entry.hash {
        text += &format!(", sha256 {}", &hash.to_string()[..12]);
    }
    if let Some(link) = &entry.link {
        text += &format!(" to {}", escape(link));
    }
    text
}
