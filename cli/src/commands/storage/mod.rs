//! `wl storage`

mod create;
mod delete;
pub mod describe;
mod list;
mod types;

use clap::Subcommand;

use super::Context;
use crate::error::CliResult;

#[derive(Debug, Subcommand)]
pub enum Storage {
    Create(create::Create),
    List(list::List),
    Delete(delete::Delete),
    Types(types::Types),
}

impl Storage {
    pub async fn run(self, context: &Context<'_>) -> CliResult {
        match self {
            Storage::Create(create) => create.run(context),
            Storage::List(list) => list.run(context),
            Storage::Delete(delete) => delete.run(context).await,
            Storage::Types(types) => types.run(context),
        }
    }
}
