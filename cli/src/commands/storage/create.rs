//! `wl storage create`

use clap::Args;
use serde_json::{Map, Value, json};
use wl_daemon::plugin::check_params;
use wl_daemon::{LOCAL, registry};

use super::describe;
use crate::args::TypedStorage;
use crate::commands::Context;
use crate::error::{CliError, CliResult, Exit};
use crate::manifest::Storage;
use crate::output::escape;

/// Add a storage to a container
///
/// Every type has options of its own: `wl storage create TYPE --help` shows them. Nothing is connected or written but the
/// container's manifest.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wl storage create local --container photos --location ~/Pictures
  wl storage create local --container photos --backend-id disk --location /media/disk/Pictures
  wl storage create local --help")]
pub struct Create {
    #[command(flatten)]
    storage: TypedStorage,
}

impl Create {
    pub fn run(self, context: &Context<'_>) -> CliResult {
        let type_name = &*self.storage.type_name;
        let registry = registry()?;
        let factory = registry.backend(type_name)?;
        let Some(common) = self.storage.common else {
            return Err(CliError::Usage(
                "name a container with --container".to_owned(),
            ));
        };
        let params = absolute(type_name, self.storage.params)?;
        check_params(type_name, factory.schema(), &params)
            .map_err(|error| CliError::Usage(error.to_string()))?;
        let Value::Object(params) = params else {
            return Err(CliError::Usage("the parameters are no object".to_owned()));
        };
        let made = context.store()?.change(&common.container, |container| {
            let free = || container.free_id(type_name);
            let id = common.backend_id.clone().unwrap_or_else(free);
            let mut storage = Storage::new(type_name, id, params);
            storage.watcher_interval = common.watcher_interval;
            storage.read_only = common.read_only;
            container.add(storage.clone())?;
            Ok(storage)
        })?;
        let answer = json!({ "container": common.container, "storage": describe::json(&made) });
        context.output.print(&answer, || {
            let container = escape(&common.container);
            format!(
                "Added storage {} to container {container}\n",
                made.backend_id
            )
        })?;
        Ok(Exit::Done)
    }
}

/// The parameters with a local folder's path made absolute: the manifest is read from anywhere.
fn absolute(type_name: &str, params: Value) -> CliResult<Value> {
    let Value::Object(mut params) = params else {
        return Ok(Value::Object(Map::new()));
    };
    if type_name == LOCAL
        && let Some(location) = params.get("location").and_then(Value::as_str)
        && !location.is_empty()
    {
        let path = std::path::absolute(location)
            .map_err(|error| CliError::Usage(format!("{}: {error}", escape(location))))?;
        let path = path.to_str().ok_or_else(|| {
            CliError::Usage("the path of the working directory is not UTF-8".to_owned())
        })?;
        params.insert("location".to_owned(), path.into());
    }
    Ok(Value::Object(params))
}
