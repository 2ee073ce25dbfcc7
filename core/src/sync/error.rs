//! What stops a whole run.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::RunError;
use crate::storage::{ErrorKind, StorageError};

/// Why a run was refused or stopped, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SyncErrorClass {
    /// Wrong use: parameters, names, options.
    Usage,
    /// A storage does not accept who asks: a login, a key, a clock.
    Credentials,
    /// A root is gone, unreadable or unreachable.
    RootUnavailable,
    /// Another file system or another folder is where the root was.
    RootChanged,
    /// A root that held something lists nothing.
    RootEmptied,
    /// One storage lies inside the other, or both are the same.
    Nested,
    /// Another run works on this pair.
    Locked,
    /// More content would be lost than `--max-delete` allows.
    DeleteBudget,
    /// What is to be left out is not known: a `.wlignore` cannot be read, or holds what is no rule.
    Filter,
    /// A storage's compare-and-swap is weaker than `--require-cas` asks.
    WeakCas,
    /// The baseline could not be read or written.
    State,
    /// A storage failed as a whole.
    Storage,
    /// The run was told to stop.
    Cancelled,
}

impl SyncErrorClass {
    /// Whether a look that ends with it has seen all that it was to see: what it did not find is over. The delete budget is judged when all
    /// is decided but what it holds back.
    pub(super) fn ends_a_whole_look(self) -> bool {
        self == Self::DeleteBudget
    }
}

/// A run that was refused or stopped. One line, ending in what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncError {
    /// Why, for programs.
    pub class: SyncErrorClass,
    /// Why, and what to do, for people.
    pub desc: String,
}

impl SyncError {
    /// An error of `class`.
    pub fn new(class: SyncErrorClass, desc: impl Into<String>) -> Self {
        Self {
            class,
            desc: desc.into(),
        }
    }
}

impl fmt::Display for SyncError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.desc)
    }
}

impl std::error::Error for SyncError {}

impl From<StorageError> for SyncError {
    fn from(error: StorageError) -> Self {
        let class = match error.kind() {
            ErrorKind::Unavailable => SyncErrorClass::RootUnavailable,
            ErrorKind::Elsewhere => SyncErrorClass::RootChanged,
            ErrorKind::Cancelled => SyncErrorClass::Cancelled,
            ErrorKind::Config => SyncErrorClass::Usage,
            ErrorKind::Credentials => SyncErrorClass::Credentials,
            _ => SyncErrorClass::Storage,
        };
        Self::new(class, error.to_string())
    }
}

impl From<RunError> for SyncError {
    /// What stopped a run, out of its report.
    fn from(error: RunError) -> Self {
        let class = serde_json::from_value(error.class.into());
        Self::new(class.unwrap_or(SyncErrorClass::Storage), error.desc)
    }
}

impl From<crate::state::StateError> for SyncError {
    fn from(error: crate::state::StateError) -> Self {
        let class = match error {
            crate::state::StateError::Locked(_) => SyncErrorClass::Locked,
            _ => SyncErrorClass::State,
        };
        Self::new(class, error.to_string())
    }
}
