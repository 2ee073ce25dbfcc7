//! Options that go before or after every subcommand.

use std::path::PathBuf;

use clap::Args;

use crate::error::{CliError, CliResult};
use crate::output::Format;

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Folder of configuration and state, never synced itself [default: ~/.config/wildland]
    #[arg(
        short,
        long,
        global = true,
        value_name = "DIR",
        env = "WL_BASE_DIR",
        hide_env_values = true
    )]
    base_dir: Option<PathBuf>,
    /// Socket of the daemon [default: run/wl.sock in the base directory]
    #[arg(
        short,
        long,
        global = true,
        value_name = "SOCKET",
        env = "WL_SOCKET_PATH",
        hide_env_values = true
    )]
    socket_path: Option<PathBuf>,
    /// What to log: error, warn, info, debug, trace, or a list such as info,wl_daemon=debug [default: info in the daemon, nothing elsewhere]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// How to print results
    #[arg(long, global = true, value_enum, default_value_t = Format::Human, value_name = "FORMAT")]
    pub output: Format,
    /// Print results and errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

impl Global {
    /// The base directory, absolute.
    pub fn base_dir(&self) -> CliResult<PathBuf> {
        let dir = match &self.base_dir {
            Some(dir) => dir.clone(),
            None => default_base_dir()?,
        };
        std::path::absolute(&dir).map_err(|error| {
            CliError::Usage(format!("the base directory {}: {error}", dir.display()))
        })
    }

    /// The daemon's socket, absolute.
    pub fn socket(&self) -> CliResult<PathBuf> {
        match &self.socket_path {
            Some(path) => std::path::absolute(path).map_err(|error| {
                CliError::Usage(format!("the socket path {}: {error}", path.display()))
            }),
            None => Ok(wl_daemon::socket_path(&self.base_dir()?)),
        }
    }

    /// The options that a suggested command needs to mean the same base directory and daemon.
    pub fn repeat(&self) -> String {
        let option = |flag: &str, path: &Option<PathBuf>| {
            let path = path.as_ref().and_then(|path| path.to_str());
            path.map(|path| format!("{flag} {} ", crate::output::quote(path)))
                .unwrap_or_default()
        };
        option("-b", &self.base_dir) + &option("-s", &self.socket_path)
    }
}

fn default_base_dir() -> CliResult<PathBuf> {
    match std::env::var_os("HOME").filter(|home| !home.is_empty()) {
        Some(home) => Ok(PathBuf::from(home).join(".config/wildland")),
        None => Err(CliError::Usage(
            "HOME is not set, so there is no default base directory; give one with --base-dir"
                .to_owned(),
        )),
    }
}
