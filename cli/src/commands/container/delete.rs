//! `wl container delete`

use clap::Args;
use serde_json::json;

use crate::commands::Context;
use crate::control;
use crate::error::{CliResult, Exit};
use crate::output::escape;

/// Forget a container; what its storages hold is left alone
#[derive(Debug, Args)]
pub struct Delete {
    /// Name of the container
    #[arg(value_name = "NAME")]
    name: String,
}

impl Delete {
    pub async fn run(self, context: &Context<'_>) -> CliResult {
        control::check_unused(context, &self.name, None).await?;
        context.store()?.delete(&self.name)?;
        context.output.print(&json!({ "deleted": self.name }), || {
            format!(
                "Deleted container {}; what its storages hold was left alone\n",
                escape(&self.name)
            )
        })?;
        Ok(Exit::Done)
    }
}
