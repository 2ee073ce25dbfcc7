//! `wl storage list`

use clap::Args;
use serde_json::json;

use super::describe;
use crate::commands::Context;
use crate::error::{CliResult, Exit};
use crate::output::escape;

/// What is said of a storage that no run has probed.
const NOT_PROBED: &str = "not probed yet";

/// List the storages of one container or of all
///
/// `cas` is how well a storage keeps a version that somebody writes at the same time, as the last probe found it: `atomic`,
/// `recoverable`, `checked` or `none` (see --require-cas of `wl sync`).
#[derive(Debug, Args)]
pub struct List {
    /// Container whose storages to list
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
}

impl List {
    pub fn run(self, context: &Context<'_>) -> CliResult {
        let (base, store) = (context.base_dir()?, context.store()?);
        let containers = match self.container {
            Some(name) => vec![(name.clone(), Ok(store.load(&name)?))],
            None => {
                let names = store.names()?.into_iter();
                names
                    .map(|name| (name.clone(), store.load(&name)))
                    .collect()
            }
        };
        let (mut rows, mut text, mut broken) = (Vec::new(), String::new(), Vec::new());
        for (name, container) in containers {
            let container = match container {
                Ok(container) => container,
                // A manifest that cannot be read does not hide the others.
                Err(error) => {
                    broken.push(error.to_string());
                    continue;
                }
            };
            for storage in container.storages() {
                let known = wl_daemon::known_grade(&base, &storage.spec());
                let mut row = describe::json(storage);
                row["container"] = json!(name);
                row["cas"] = match known {
                    Some(known) => json!(known.cas),
                    None => json!(NOT_PROBED),
                };
                if let Some(probed) = known.and_then(|known| known.probed) {
                    row["cas-probed"] = json!(probed);
                }
                text += &format!(
                    "{}  {}  cas: {}\n",
                    escape(&name),
                    describe::line(storage),
                    row["cas"].as_str().unwrap_or(NOT_PROBED)
                );
                rows.push(row);
            }
        }
        context
            .output
            .print(&json!({ "storages": rows }), || text)?;
        if rows.is_empty() && broken.is_empty() {
            context.output.talk(&format!(
                "There are no storages yet; add one with `{}storage create TYPE --container NAME`",
                context.wl()
            ));
        }
        for desc in &broken {
            context.output.complain(desc);
        }
        Ok(match broken.is_empty() {
            true => Exit::Done,
            false => Exit::Failed,
        })
    }
}
