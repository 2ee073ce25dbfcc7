//! `wl container list`

use clap::Args;
use serde_json::{Value, json};

use crate::commands::Context;
use crate::error::{CliResult, Exit};
use crate::manifest::Store;
use crate::output::escape;
use crate::output::human::plural;

/// List all containers
#[derive(Debug, Args)]
pub struct List {}

impl List {
    pub fn run(self, context: &Context<'_>) -> CliResult {
        let store = context.store()?;
        let rows: Vec<Value> = store
            .names()?
            .iter()
            .map(|name| row(&store, name))
            .collect();
        context.output.print(&json!({ "containers": rows }), || {
            rows.iter().map(line).collect()
        })?;
        if rows.is_empty() {
            context.output.talk(&format!(
                "There are no containers yet; make one with `{}container create NAME`",
                context.wl()
            ));
        }
        // A manifest that cannot be read does not hide the others.
        let broken = rows.iter().filter_map(|row| row["error"].as_str());
        let broken = broken.map(|desc| context.output.complain(desc)).count();
        Ok(match broken {
            0 => Exit::Done,
            _ => Exit::Failed,
        })
    }
}

fn row(store: &Store, name: &str) -> Value {
    match store.load(name) {
        Ok(container) => json!({ "name": name, "storages": container.storages().len() }),
        Err(error) => json!({ "name": name, "error": error.to_string() }),
    }
}

fn line(row: &Value) -> String {
    let name = escape(row["name"].as_str().unwrap_or_default());
    match row["storages"].as_u64() {
        Some(count) => format!("{name}  {}\n", plural(count as usize, "storage")),
        None => format!("{name}  (its manifest cannot be used)\n"),
    }
}
