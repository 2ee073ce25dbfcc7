//! `wl trash list`, `wl trash restore` and `wl trash empty`

use clap::{Args, Subcommand};
use serde_json::json;
use wl_daemon::StorageSpec;
use wl_daemon::job;
use wl_daemon::model::SyncPath;
use wl_daemon::storage::{TrashId, TrashItem, TrashKeep, TrashState};
use wl_daemon::sync::{Emptied, TrashSum};

use super::Context;
use crate::args::{self, StorageChoice, sync_path};
use crate::error::{CliError, CliResult, Exit};
use crate::output::{escape, human};

#[derive(Debug, Subcommand)]
pub enum Trash {
    List(List),
    Restore(Restore),
    Empty(Empty),
}

/// List what is in a storage's trash, oldest first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wl trash list ~/Documents
  wl trash list --container photos --storage local-1")]
pub struct List {
    /// Path or URL of the storage
    #[arg(
        value_name = "STORAGE",
        required_unless_present = "container",
        conflicts_with = "container"
    )]
    location: Option<String>,
    #[command(flatten)]
    choice: StorageChoice,
}

/// Put versions from a storage's trash back
///
/// Nothing is ever overwritten: where something is at the path, say another one with --to.
#[derive(Debug, Args)]
#[command(
    override_usage = "wl trash restore [OPTIONS] STORAGE ID...\n       wl trash restore [OPTIONS] --container NAME --storage X ID...",
    after_help = "\
Examples:
  wl trash restore ~/Documents 6b01a181-2d3f-1f-source/3
  wl trash restore ~/Documents 6b01a181-2d3f-1f-source/3 --to plan-of-january.txt
  wl trash restore --container photos --storage local-1 6b01a181-2d3f-1f-source/3"
)]
pub struct Restore {
    /// Path or URL of the storage (not with --container), then ids as `wl trash list` shows them
    #[arg(required = true, value_name = "STORAGE ID")]
    words: Vec<String>,
    #[command(flatten)]
    choice: StorageChoice,
    /// Path to put the one version at, relative to the storage's root
    #[arg(long, value_name = "PATH", value_parser = sync_path)]
    to: Option<SyncPath>,
}

/// Give up what is in a storage's trash, for ever
///
/// Without --yes it is only told what would be given up. Versions that nobody agreed to give up (`rescued` and `late`) stay: they are
/// conflicts until they are restored. So does what a run put there that goes on.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wl trash empty ~/Documents --dry-run
  wl trash empty ~/Documents --older-than 1d --yes
  wl trash empty --container photos --storage local-1 --yes")]
pub struct Empty {
    /// Path or URL of the storage
    #[arg(
        value_name = "STORAGE",
        required_unless_present = "container",
        conflicts_with = "container"
    )]
    location: Option<String>,
    #[command(flatten)]
    choice: StorageChoice,
    /// Give up only what is there for longer (30s, 15m, 12h, 7d, 2w)
    #[arg(long, value_name = "DURATION")]
    older_than: Option<TrashKeep>,
    /// Only show what would be given up
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do it
    #[arg(long)]
    yes: bool,
}

impl Trash {
    pub async fn run(self, context: &Context<'_>) -> CliResult {
        match self {
            Trash::List(list) => list.run(context).await,
            Trash::Restore(restore) => restore.run(context).await,
            Trash::Empty(empty) => empty.run(context).await,
        }
    }
}

impl List {
    async fn run(self, context: &Context<'_>) -> CliResult {
        let spec = storage(context, &self.choice, self.location.as_deref())?;
        let items = job::trash_list(&spec).await?;
        context.output.print(&json!({ "trash": items }), || {
            items.iter().map(line).collect()
        })?;
        if items.is_empty() {
            context.output.talk("The trash is empty");
        }
        Ok(Exit::Done)
    }
}

fn line(item: &TrashItem) -> String {
    let state = match item.state {
        TrashState::Replaced => "replaced",
        TrashState::Removed => "removed",
        TrashState::Rescued => "rescued",
        TrashState::Late => "late",
    };
    let path = item.path.as_ref().map_or("(unknown)", SyncPath::as_str);
    format!(
        "{}  {}  {state:8}  {:>10}  {}\n",
        escape(&item.id.0),
        human::date(item.since),
        human::bytes(item.size),
        escape(path)
    )
}

impl Restore {
    async fn run(self, context: &Context<'_>) -> CliResult {
        let (location, ids) = match (&self.choice.container, self.words.split_first()) {
            (None, Some((location, ids))) => (Some(&**location), ids),
            _ => (None, &*self.words),
        };
        if ids.is_empty() {
            return Err(CliError::Usage(
                "name the versions to restore; `wl trash list` shows their ids".to_owned(),
            ));
        }
        if self.to.is_some() && ids.len() > 1 {
            return Err(CliError::Usage(
                "--to goes with one id only; restore the others by themselves".to_owned(),
            ));
        }
        let spec = storage(context, &self.choice, location)?;
        let mut restored = Vec::new();
        for id in ids {
            let path = job::trash_restore(&spec, &TrashId(id.clone()), self.to.as_ref()).await;
            match path {
                Ok(path) => restored.push(json!({ "id": id, "path": path.as_str() })),
                Err(error) if restored.is_empty() => return Err(error.into()),
                Err(error) => return Err(partly(&error.into(), restored.len())),
            }
        }
        context.output.print(&json!({ "restored": restored }), || {
            let paths = restored.iter().filter_map(|item| item["path"].as_str());
            paths
                .map(|path| format!("Restored {}\n", escape(path)))
                .collect()
        })?;
        Ok(Exit::Done)
    }
}

impl Empty {
    async fn run(self, context: &Context<'_>) -> CliResult {
        let spec = storage(context, &self.choice, self.location.as_deref())?;
        let keep = self.older_than.unwrap_or(TrashKeep::None);
        let done = job::trash_empty(&spec, keep, !self.yes).await?;
        if !(self.yes || self.dry_run) && done.removed.versions > 0 {
            return Err(CliError::Usage(format!(
                "{} would be given up for ever; say so with --yes, or look with `wl trash list` first",
                sum(done.removed)
            )));
        }
        let document = json!({ "dry-run": self.dry_run, "emptied": done });
        context.output.print(&document, || self.text(&done))?;
        Ok(match done.left.versions {
            0 => Exit::Done,
            _ => Exit::Failed,
        })
    }

    fn text(&self, done: &Emptied) -> String {
        let verb = match self.dry_run {
            true => "Would give up",
            false => "Gave up",
        };
        let mut text = format!("{verb} {}\n", sum(done.removed));
        for (kept, why) in [
            (done.younger, "younger"),
            (
                done.claimed,
                "conflicts: take them out with `wl trash restore`",
            ),
            (
                done.left,
                "could not be removed, or were put there by a run that goes on: pause it, and try again",
            ),
        ] {
            if kept.versions > 0 {
                text += &format!("Kept {} ({why})\n", sum(kept));
            }
        }
        text
    }
}

fn sum(sum: TrashSum) -> String {
    let versions = human::plural(sum.versions as usize, "version");
    format!("{versions}, {}", human::bytes(sum.bytes))
}

/// The error with what had been restored before it.
fn partly(error: &CliError, restored: usize) -> CliError {
    let before = human::plural(restored, "version");
    let desc = format!("{error} ({before} before it restored)");
    match error.exit() {
        Exit::Usage => CliError::Usage(desc),
        _ => CliError::Failed(desc),
    }
}

fn storage(
    context: &Context<'_>,
    choice: &StorageChoice,
    location: Option<&str>,
) -> CliResult<StorageSpec> {
    match (&choice.container, &choice.storage, location) {
        (Some(container), Some(storage), _) => {
            let container = context.store()?.load(container)?;
            Ok(container.choose(storage, &[])?.spec())
        }
        (_, _, Some(location)) => args::storage(location, "--storage-option", &choice.options),
        _ => Err(CliError::Usage(
            "name a storage: a path, or --container NAME --storage X".to_owned(),
        )),
    }
}
