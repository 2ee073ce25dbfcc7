//! `wl container`

mod create;
mod delete;
mod info;
mod list;
mod list_conflicts;
pub mod pairs;
mod resolve;
mod rest;
pub mod running;
mod stop_sync;
mod sync;

use clap::Subcommand;

use super::Context;
use crate::error::CliResult;

#[derive(Debug, Subcommand)]
pub enum Container {
    Create(create::Create),
    List(list::List),
    Info(info::Info),
    Delete(delete::Delete),
    Sync(sync::Sync),
    StopSync(stop_sync::StopSync),
    Pause(rest::Pause),
    Resume(rest::Resume),
    ListConflicts(list_conflicts::ListConflicts),
    Resolve(resolve::Resolve),
}

impl Container {
    pub async fn run(self, context: &Context<'_>) -> CliResult {
        match self {
            Container::Create(create) => create.run(context),
            Container::List(list) => list.run(context),
            Container::Info(info) => info.run(context),
            Container::Delete(delete) => delete.run(context).await,
            Container::Sync(sync) => sync.run(context).await,
            Container::StopSync(stop) => stop.run(context).await,
            Container::Pause(pause) => pause.run(context).await,
            Container::Resume(resume) => resume.run(context).await,
            Container::ListConflicts(list) => list.run(context).await,
            Container::Resolve(resolve) => resolve.run(context).await,
        }
    }
}
