//! `wl container info`

use clap::Args;
use serde_json::{Value, json};

use crate::commands::Context;
use crate::commands::storage::describe;
use crate::error::{CliResult, Exit};
use crate::output::escape;

/// Show a container and its storages; secrets are not shown
#[derive(Debug, Args)]
pub struct Info {
    /// Name of the container
    #[arg(value_name = "NAME")]
    name: String,
}

impl Info {
    pub fn run(self, context: &Context<'_>) -> CliResult {
        let container = context.store()?.load(&self.name)?;
        let storages: Vec<_> = container.storages().iter().map(describe::json).collect();
        let filters = &container.filters;
        let mut info = json!({
            "name": self.name,
            "paths": container.paths,
            "storages": storages,
        });
        if let (Some(info), Ok(Value::Object(filters))) =
            (info.as_object_mut(), serde_json::to_value(filters))
        {
            info.extend(filters);
        }
        context.output.print(&info, || {
            let mut text = format!("{}\n", escape(&self.name));
            for path in &container.paths {
                text += &format!("  path: {}\n", escape(path));
            }
            text += &filters.text();
            for storage in container.storages() {
                text += &format!("  storage: {}\n", describe::line(storage));
            }
            text
        })?;
        Ok(Exit::Done)
    }
}
