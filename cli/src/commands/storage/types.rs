//! `wl storage types`

use clap::Args;
use serde_json::{Value, json};

use crate::commands::Context;
use crate::error::{CliResult, Exit};

/// List the storage types of this program
#[derive(Debug, Args)]
pub struct Types {}

impl Types {
    pub fn run(self, context: &Context<'_>) -> CliResult {
        let registry = wl_daemon::registry()?;
        let types: Vec<_> = registry
            .backends()
            .map(|factory| {
                let schema: Value = serde_json::from_str(factory.schema()).unwrap_or_default();
                json!({ "type": factory.type_name(), "summary": factory.summary(), "schema": schema })
            })
            .collect();
        context.output.print(&json!({ "types": types }), || {
            let each = registry.backends();
            each.map(|factory| format!("{}  {}\n", factory.type_name(), factory.summary()))
                .collect()
        })?;
        Ok(Exit::Done)
    }
}
