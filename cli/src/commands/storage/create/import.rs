//! `wl storage create --from-rclone`

use std::fs;
use std::path::PathBuf;

use crate::args::RcloneArgs;
use crate::args::schema::absolute_path;
use crate::commands::Context;
use crate::error::{CliError, CliResult};
use crate::manifest::Draft;
use crate::output::escape;
use crate::rclone::{self, Config};

impl RcloneArgs {
    /// The storage that a remote of rclone's is. What is not carried over is told on stderr.
    pub fn draft(&self, context: &Context<'_>, remote: &str) -> CliResult<(String, Draft)> {
        let container = self
            .container
            .clone()
            .ok_or_else(|| CliError::Usage("name a container with --container".to_owned()))?;
        // Said first: a container that is not there needs no storage.
        context.store()?.load(&container)?;
        let user = std::env::var("USER").ok().filter(|user| !user.is_empty());
        let imported =
            rclone::import(&self.config()?, remote, user.as_deref()).map_err(CliError::Usage)?;
        for note in &imported.notes {
            context.output.talk(&format!("note: {}", escape(note)));
        }
        let draft = Draft {
            type_name: imported.type_name,
            backend_id: self.backend_id.clone(),
            params: imported.params,
            secrets: imported.secrets,
            ..Draft::default()
        };
        Ok((container, draft))
    }

    fn config(&self) -> CliResult<Config> {
        let path = self.config_path()?;
        let shown = path.display();
        let text = fs::read(&path).map_err(|error| {
            CliError::Usage(format!(
                "cannot read rclone's configuration {shown}: {error}; name the file with --rclone-config"
            ))
        })?;
        let text = String::from_utf8(text).map_err(|_| {
            CliError::Usage(format!(
                "rclone's configuration {shown} is not UTF-8; correct it by hand"
            ))
        })?;
        Config::parse(&text)
            .map_err(|why| CliError::Usage(format!("rclone's configuration {shown}: {why}")))
    }

    /// The file that is named, or the first one where rclone looks.
    fn config_path(&self) -> CliResult<PathBuf> {
        if let Some(path) = &self.rclone_config {
            return absolute_path(path);
        }
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        if let Some(path) = set("RCLONE_CONFIG") {
            return Ok(path.into());
        }
        let home = set("HOME").map(PathBuf::from);
        let config = set("XDG_CONFIG_HOME").map(PathBuf::from);
        let config = config.or_else(|| home.as_ref().map(|home| home.join(".config")));
        let mut places = Vec::new();
        places.extend(config.map(|config| config.join("rclone/rclone.conf")));
        places.extend(home.map(|home| home.join(".rclone.conf")));
        let found = places.iter().find(|path| path.exists());
        found.or(places.first()).cloned().ok_or_else(|| {
            CliError::Usage(
                "HOME is not set, so nobody knows where rclone's configuration is; name the file with --rclone-config"
                    .to_owned(),
            )
        })
    }
}
