//! `wl storage list`

use clap::Args;
use serde_json::json;

use super::describe;
use crate::commands::Context;
use crate::error::{CliResult, Exit};
use crate::output::escape;

/// List the storages of one container or of all
#[derive(Debug, Args)]
pub struct List {
    /// Container whose storages to list
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
}

impl List {
    pub fn run(self, context: &Context<'_>) -> CliResult {
        let store = context.store()?;
        let names = match self.container {
            Some(name) => vec![name],
            None => store.names()?,
        };
        let (mut rows, mut text) = (Vec::new(), String::new());
        for name in names {
            for storage in store.load(&name)?.storages() {
                let mut row = describe::json(storage);
                row["container"] = json!(name);
                rows.push(row);
                text += &format!("{}  {}\n", escape(&name), describe::line(storage));
            }
        }
        context
            .output
            .print(&json!({ "storages": rows }), || text)?;
        if rows.is_empty() {
            context.output.talk(&format!(
                "There are no storages yet; add one with `{}storage create TYPE --container NAME`",
                context.wl()
            ));
        }
        Ok(Exit::Done)
    }
}
