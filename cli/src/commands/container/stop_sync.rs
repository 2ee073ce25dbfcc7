//! `wl container stop-sync`

use clap::Args;

use crate::commands::Context;
use crate::error::{CliError, CliResult};

/// Stop keeping a container in sync (not available yet)
#[derive(Debug, Args)]
pub struct StopSync {
    /// Name of the container
    #[arg(value_name = "NAME")]
    name: String,
}

impl StopSync {
    pub fn run(self, context: &Context<'_>) -> CliResult {
        context.store()?.load(&self.name)?;
        Err(CliError::NoDaemon(
            "no daemon runs, so nothing keeps the container in sync; end a one-shot run with Ctrl-C"
                .to_owned(),
        ))
    }
}
