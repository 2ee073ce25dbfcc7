//! Errors and exit codes: only here is it decided what a failure means to the shell.

use std::process::ExitCode;

use wl_control::ClientError;
use wl_daemon::model::{Outcome, RunReport};
use wl_daemon::plugin::RegistryError;
use wl_daemon::sync::{SyncError, SyncErrorClass};
use wl_daemon::types::TypeError;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// In sync, or done.
    Done = 0,
    /// Done, with conflicts left.
    Conflicts = 3,
    /// Failed, wholly or for some paths.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

impl Exit {
    /// The exit code of a run.
    pub fn of(report: &RunReport) -> Self {
        match report.result {
            _ if report.error.as_ref().is_some_and(|e| e.class == "usage") => Exit::Usage,
            Outcome::Synced => Exit::Done,
            Outcome::Conflicts => Exit::Conflicts,
            Outcome::Failed => Exit::Failed,
        }
    }

    /// The worse of two: wrong usage, then failures, then conflicts.
    pub fn worse(self, other: Self) -> Self {
        let rank = |exit| match exit {
            Exit::Done => 0,
            Exit::Conflicts => 1,
            Exit::Failed => 2,
            Exit::Usage => 3,
        };
        if rank(other) > rank(self) {
            other
        } else {
            self
        }
    }
}

/// What every command comes to.
pub type CliResult<T = Exit> = Result<T, CliError>;

/// Why a command did nothing. One line that ends in what to do.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Wrong usage: names, options, manifests.
    #[error("{0}")]
    Usage(String),
    /// The daemon is needed and there is none.
    #[error("{0}")]
    NoDaemon(String),
    /// A manifest cannot be used.
    #[error("{0}")]
    Manifest(String),
    /// A job was refused or stopped.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// The daemon could not be spoken to, or refused.
    #[error(transparent)]
    Control(#[from] ClientError),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    /// The class, for programs.
    pub fn class(&self) -> String {
        match self {
            CliError::Usage(_) => "usage".to_owned(),
            CliError::NoDaemon(_) => "no-daemon".to_owned(),
            CliError::Manifest(_) => "manifest".to_owned(),
            CliError::Failed(_) => "failed".to_owned(),
            CliError::Control(ClientError::Refused(refusal)) => refusal.class.clone(),
            CliError::Control(ClientError::NoDaemon(_)) => "no-daemon".to_owned(),
            CliError::Control(_) => "daemon".to_owned(),
            CliError::Sync(error) => serde_json::to_value(error.class)
                .ok()
                .and_then(|class| class.as_str().map(str::to_owned))
                .unwrap_or_default(),
        }
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            CliError::Usage(_) => Exit::Usage,
            CliError::Control(ClientError::Refused(refusal)) if refusal.class == "usage" => {
                Exit::Usage
            }
            CliError::Sync(error) if error.class == SyncErrorClass::Usage => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}

impl From<RegistryError> for CliError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::UnknownType { .. } => CliError::Usage(error.to_string()),
            _ => CliError::Failed(error.to_string()),
        }
    }
}

impl From<TypeError> for CliError {
    fn from(error: TypeError) -> Self {
        match error {
            TypeError::Registry(error) => error.into(),
            TypeError::NotBuilt { .. } => CliError::Usage(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_win_over_conflicts() {
        assert_eq!(Exit::Conflicts.worse(Exit::Failed), Exit::Failed);
        assert_eq!(Exit::Failed.worse(Exit::Conflicts), Exit::Failed);
        assert_eq!(Exit::Done.worse(Exit::Conflicts), Exit::Conflicts);
    }
}
