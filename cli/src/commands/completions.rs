//! `wl completions`

use clap::Args;
use clap_complete::Shell;

use super::Context;
use crate::args;
use crate::error::{CliResult, Exit};

/// Print a shell's completions
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wl completions bash > ~/.local/share/bash-completion/completions/wl
  wl completions zsh > ~/.zfunc/_wl
  wl completions fish > ~/.config/fish/completions/wl.fish")]
pub struct Completions {
    /// Shell to complete in
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub fn run(self, context: &Context<'_>) -> CliResult {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut args::command(), "wl", &mut script);
        context.output.data(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Done)
    }
}
