//! `wl container create`

use clap::Args;
use serde_json::json;

use crate::args::FilterArgs;
use crate::commands::Context;
use crate::error::{CliResult, Exit};
use crate::manifest::Filters;
use crate::output::quote;

/// Make a container without storages
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wl container create photos
  wl container create work --exclude-preset node --exclude '*.log' --max-size 100M
  wl storage create local --container photos --location ~/Pictures")]
pub struct Create {
    /// Name of the container: up to 100 characters, no slash, no dot or dash at the start
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    filter: FilterArgs,
}

impl Create {
    pub fn run(self, context: &Context<'_>) -> CliResult {
        let filters = Filters::of(&self.filter.exclusions());
        let manifest = context.store()?.create(&self.name, filters)?;
        let made = json!({ "container": self.name, "manifest": manifest });
        context
            .output
            .print(&made, || format!("Made container {}\n", self.name))?;
        if !context.output.is_json() {
            context.output.talk(&format!(
                "Add storages to it with `{}storage create TYPE --container {}`",
                context.wl(),
                quote(&self.name)
            ));
        }
        Ok(Exit::Done)
    }
}
