//! `wl storage delete`

use clap::Args;
use serde_json::json;

use crate::commands::Context;
use crate::control;
use crate::error::{CliResult, Exit};
use crate::output::escape;

/// Take a storage out of a container; what it holds is left alone
#[derive(Debug, Args)]
pub struct Delete {
    /// Backend id of the storage
    #[arg(value_name = "ID")]
    id: String,
    /// Container that the storage belongs to
    #[arg(long, value_name = "NAME")]
    container: String,
}

impl Delete {
    pub async fn run(self, context: &Context<'_>) -> CliResult {
        control::check_unused(context, &self.container, Some(&self.id)).await?;
        let gone = context.store()?.take_out(&self.container, &self.id)?;
        let answer = json!({ "container": self.container, "deleted": gone.backend_id });
        context.output.print(&answer, || {
            let container = escape(&self.container);
            format!(
                "Took storage {} out of container {container}; what it holds was left alone\n",
                gone.backend_id
            )
        })?;
        Ok(Exit::Done)
    }
}
