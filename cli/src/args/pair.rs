//! Which two storages a command means.

use std::fmt;

use clap::Args;
use wl_daemon::StorageSpec;
use wl_daemon::model::{Side, Sides};

use super::options::{Word, word};
use super::parse;
use crate::error::{CliError, CliResult};
use crate::output::quote;

/// Two storages without set-up.
#[derive(Clone, Args)]
pub struct Pair {
    /// Path or URL of the source storage (s3://, sftp://, webdavs://, ...; no secrets in it)
    source: String,
    /// Path or URL of the target storage
    target: String,
    /// Give the source storage an option of its type, as NAME=VALUE (endpoint_url, credentials_file, ...)
    #[arg(long, value_name = "NAME=VALUE", value_parser = word, help_heading = "Storage options")]
    source_option: Vec<Word>,
    /// Give the target storage an option of its type
    #[arg(long, value_name = "NAME=VALUE", value_parser = word, help_heading = "Storage options")]
    target_option: Vec<Word>,
}

impl fmt::Debug for Pair {
    /// Without URLs: somebody may have put a secret there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").finish_non_exhaustive()
    }
}

impl Pair {
    /// The storages.
    pub fn specs(&self) -> CliResult<Sides<StorageSpec>> {
        let spec = |side: Side, text: &str, options: &[Word]| {
            let flag = format!("--{side}-option");
            parse::storage(text, &flag, options).map_err(|error| match error {
                CliError::Usage(why) => CliError::Usage(format!("{side}: {why}")),
                other => other,
            })
        };
        Ok(Sides::new(
            spec(Side::Source, &self.source, &self.source_option)?,
            spec(Side::Target, &self.target, &self.target_option)?,
        ))
    }

    /// The two words that mean these storages, for a command to suggest.
    pub fn words(&self) -> String {
        format!("{} {}", quote(&self.source), quote(&self.target))
    }

    /// The options that go with them, each with a space before it.
    pub fn options(&self) -> String {
        let each = |flag: &str, options: &[Word]| -> String {
            let each = options.iter();
            each.map(|Word(option)| format!(" {flag} {}", quote(option)))
                .collect()
        };
        each("--source-option", &self.source_option) + &each("--target-option", &self.target_option)
    }
}

/// The pair of a container's storages.
#[derive(Clone, Debug, Default, Args)]
pub struct Selection {
    /// Backend id or type of the source [default: the container's first local storage]
    #[arg(long, value_name = "X")]
    pub source_storage: Option<String>,
    /// Backend id or type of the target [default: the first that is not local; of two storages the other]
    #[arg(long, value_name = "X")]
    pub target_storage: Option<String>,
}
