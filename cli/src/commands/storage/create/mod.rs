//! `wl storage create`

mod check;
mod import;
mod secrets;

use clap::Args;
use serde_json::{Map, Value, json};
use wl_daemon::{CREDENTIALS_FILE, LOCAL, types};

use super::describe;
use crate::args::schema::{absolute, absolute_path, path_text};
use crate::args::{CommonStorageArgs, RcloneArgs, TypedStorage};
use crate::commands::Context;
use crate::error::{CliError, CliResult, Exit};
use crate::manifest::Draft;
use crate::output::escape;

/// Add a storage to a container
///
/// Every type has options of its own: `wl storage create TYPE --help` shows them. Nothing is connected or written but the
/// container's manifest, and a file for secrets.
///
/// Secrets come from the environment, from a file that only you can read (--credentials-file), or as JSON on stdin
/// (--credentials -), which is kept in such a file. They are never words of the command line, which others can read.
#[derive(Debug, Args)]
#[command(
    override_usage = "wl storage create TYPE --container NAME [OPTIONS]\n       wl storage create --from-rclone REMOTE:PATH --container NAME [OPTIONS]",
    after_help = "\
Examples:
  wl storage create local --container photos --location ~/Pictures
  wl storage create s3 --container photos --s3-url s3://bucket/photos --credentials-file keys.json
  wl storage create webdav --container a --url https://example.org/dav --credentials - < login.json
  wl storage create --from-rclone cloud:photos --container photos
  wl storage create local --help"
)]
pub struct Create {
    #[command(flatten)]
    storage: TypedStorage,
    #[command(flatten)]
    rclone: RcloneArgs,
}

impl Create {
    pub fn run(self, context: &Context<'_>) -> CliResult {
        let (container, draft) = match (&self.storage.type_name, &self.rclone.from_rclone) {
            (Some(_), None) => self.described(context)?,
            (None, Some(remote)) => self.rclone.draft(context, &remote.0)?,
            (Some(_), Some(_)) => {
                return Err(CliError::Usage(
                    "a storage is either of a TYPE or from rclone; give one of them".to_owned(),
                ));
            }
            (None, None) => {
                return Err(CliError::Usage(
                    "name a TYPE (`wl storage types` lists them), or a remote with --from-rclone"
                        .to_owned(),
                ));
            }
        };
        let factory = types::backend(&draft.type_name)?;
        let draft = made_absolute(draft)?;
        check::draft(&draft, factory.schema())?;
        add(context, &container, draft)
    }

    /// The storage that TYPE and its options describe.
    fn described(self, context: &Context<'_>) -> CliResult<(String, Draft)> {
        let RcloneArgs {
            rclone_config,
            container,
            backend_id,
            ..
        } = self.rclone;
        if rclone_config.is_some() || container.is_some() || backend_id.is_some() {
            return Err(CliError::Usage(
                "options of the storage go behind its TYPE: `wl storage create TYPE --container NAME ...`"
                    .to_owned(),
            ));
        }
        let type_name = self.storage.type_name.unwrap_or_default();
        if type_name.contains("://") {
            return Err(CliError::Usage(
                "a TYPE is a word (`wl storage types` lists them); the URL is one of its options"
                    .to_owned(),
            ));
        }
        types::backend(&type_name)?;
        let Some(common) = self.storage.common else {
            return Err(CliError::Usage(
                "name a container with --container".to_owned(),
            ));
        };
        // Said first: nobody should give secrets for nothing.
        context.store()?.load(&common.container)?;
        let secrets = secrets::read(context, &self.storage.secrets)?;
        let params = match self.storage.params {
            Value::Object(params) => params,
            _ => Map::new(),
        };
        let CommonStorageArgs {
            container,
            backend_id,
            watcher_interval,
            read_only,
        } = common;
        let draft = Draft {
            type_name,
            backend_id,
            watcher_interval,
            read_only,
            params,
            secrets,
        };
        Ok((container, draft))
    }
}

fn add(context: &Context<'_>, container: &str, mut draft: Draft) -> CliResult {
    draft.read_only |= types::is_read_only(&draft.type_name);
    let keeps_secrets = draft.secrets.is_some();
    let made = context.store()?.add(container, draft)?;
    let answer = json!({ "container": container, "storage": describe::json(&made) });
    context.output.print(&answer, || {
        let container = escape(container);
        let file = made.params.get(CREDENTIALS_FILE).and_then(Value::as_str);
        let file = file.filter(|_| keeps_secrets);
        let kept = file.map_or_else(String::new, |file| {
            format!("; its credentials are in {}", escape(file))
        });
        format!(
            "Added storage {} to container {container}{kept}\n",
            made.backend_id
        )
    })?;
    Ok(Exit::Done)
}

/// The draft with absolute paths: the manifest is read from anywhere.
fn made_absolute(mut draft: Draft) -> CliResult<Draft> {
    let is_local = draft.type_name == LOCAL;
    for (name, value) in &mut draft.params {
        let folder = value
            .as_str()
            .filter(|text| is_local && name == "location" && !text.is_empty());
        *value = match folder {
            Some(folder) => path_text(&absolute_path(folder.as_ref())?)?.into(),
            None => absolute(name, value.take())?,
        };
    }
    Ok(draft)
}
