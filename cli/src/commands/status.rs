//! `wl status`

use clap::Args;

use crate::error::{CliError, CliResult};

/// Show what the daemon keeps in sync (not available yet)
#[derive(Debug, Args)]
pub struct Status {
    /// Container to show; all without it
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Go on showing changes
    #[arg(long)]
    watch: bool,
}

impl Status {
    pub fn run(self) -> CliResult {
        let what = match (self.name, self.watch) {
            (Some(_), _) => {
                "a look at one container: `wl container sync NAME --one-shot --dry-run`"
            }
            _ => "a look at a container: `wl container sync NAME --one-shot --dry-run`",
        };
        Err(CliError::NoDaemon(format!(
            "the daemon is not part of this version yet, so nothing runs in the background; {what}"
        )))
    }
}
