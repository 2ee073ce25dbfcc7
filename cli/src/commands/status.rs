//! `wl status`

use clap::Args;

use crate::error::{CliError, CliResult};
use crate::output::quote;

/// Show what the daemon keeps in sync (not available yet)
#[derive(Debug, Args)]
pub struct Status {
    /// Container to show; all without it
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Go on showing changes
    #[arg(long = "watch")]
    _watch: bool,
}

impl Status {
    pub fn run(self) -> CliResult {
        let name = self.name.as_deref().map_or("NAME".to_owned(), quote);
        Err(CliError::NoDaemon(format!(
            "the daemon is not part of this version yet, so nothing runs in the background; to look at a container: `wl container sync {name} --one-shot --dry-run`"
        )))
    }
}
