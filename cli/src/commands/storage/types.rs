//! `wl storage types`

use clap::Args;
use serde_json::{Value, json};
use wl_daemon::storage::Capabilities;
use wl_daemon::types::{is_for_tests, is_read_only};

use crate::commands::Context;
use crate::error::{CliResult, Exit};

/// List the storage types of this program
#[derive(Debug, Args)]
pub struct Types {
    /// List those that are of use in tests only, too
    #[arg(long)]
    all: bool,
}

impl Types {
    pub fn run(self, context: &Context<'_>) -> CliResult {
        let registry = wl_daemon::registry()?;
        let shown = || {
            let all = registry.backends();
            all.filter(|factory| self.all || !is_for_tests(factory.type_name()))
        };
        let types: Vec<_> = shown()
            .map(|factory| {
                let schema: Value = serde_json::from_str(factory.schema()).unwrap_or_default();
                json!({
                    "type": factory.type_name(),
                    "summary": factory.summary(),
                    "read-only": is_read_only(factory.type_name()),
                    "at-best": at_best(&factory.at_best()),
                    "schema": schema,
                })
            })
            .collect();
        context.output.print(&json!({ "types": types }), || {
            let line = |name: &str, summary: &str| {
                let read_only = if is_read_only(name) {
                    "  (read-only)"
                } else {
                    ""
                };
                format!("{name}  {summary}{read_only}\n")
            };
            shown()
                .map(|factory| line(factory.type_name(), factory.summary()))
                .collect()
        })?;
        Ok(Exit::Done)
    }
}

/// The most that a storage of a type can do.
fn at_best(most: &Capabilities) -> Value {
    json!({
        "cas": most.cas,
        "writable": most.writable,
        "empty-folders": most.empty_folders,
        "links": most.links,
        "modes": most.modes,
        "mtime-resolution": most.mtime_resolution,
        "rename": most.rename,
        "trash": most.trash,
        "folds-case": most.folds_case,
    })
}
