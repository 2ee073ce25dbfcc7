//! One error type for all storages: kind, operation, path, storage, source.

use std::fmt;
use std::io;

use crate::model::SyncPath;

/// A storage operation's result.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;

/// What went wrong, by what the caller has to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Nothing is there (any more).
    NotFound,
    /// What is there is not what was expected: nothing was changed. Look again.
    Changed,
    /// The file was being written while it was read. Look again later.
    Busy,
    /// The folder that should hold the path is missing, or is no folder.
    NoParent,
    /// The folder is not empty.
    NotEmpty,
    /// Permission denied.
    Denied,
    /// No space, or a quota is full.
    Full,
    /// The storage cannot hold this name or this kind of entry.
    Unrepresentable,
    /// The storage cannot do this at all.
    Unsupported,
    /// The storage as a whole is not there: gone, unmounted, unreachable.
    Unavailable,
    /// The path that names the storage leads to another one than was connected.
    Elsewhere,
    /// The storage has trouble that should pass by itself: overload, a broken connection. It was tried again for a while already.
    Temporary,
    /// The storage does not accept who asks, or how: a login, a key, a clock, a host key.
    Credentials,
    /// The parameters cannot be understood.
    Config,
    /// The run was told to stop.
    Cancelled,
    /// Anything else.
    Other,
}

impl ErrorKind {
    /// Whether it concerns the whole storage, whatever path was asked for: the next path would fail the same way.
    pub fn is_of_storage(self) -> bool {
        matches!(
            self,
            Self::Unavailable | Self::Elsewhere | Self::Credentials
        )
    }
}

/// The operation of an error that concerns no path: there is no way to the storage.
pub const CONNECT: &str = "connect";

/// A failed storage operation. `Display` is one line: `OPERATION PATH in STORAGE: REASON`; without a way to the storage
/// `connecting to STORAGE: REASON`.
pub struct StorageError(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    path: Option<SyncPath>,
    storage: Box<str>,
    reason: String,
    source: Option<io::Error>,
}

impl StorageError {
    /// An error of `kind` in `operation`, with a reason that ends in what to do, where something can be done.
    pub fn new(kind: ErrorKind, operation: &'static str, reason: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            operation,
            path: None,
            storage: "".into(),
            reason: reason.into(),
            source: None,
        }))
    }

    /// An error from the operating system; the kind follows from it.
    pub fn io(operation: &'static str, error: io::Error) -> Self {
        use io::ErrorKind as K;
        let kind = match error.kind() {
            K::NotFound => ErrorKind::NotFound,
            K::AlreadyExists => ErrorKind::Changed,
            K::PermissionDenied | K::ReadOnlyFilesystem => ErrorKind::Denied,
            K::StorageFull | K::QuotaExceeded | K::FileTooLarge => ErrorKind::Full,
            K::DirectoryNotEmpty => ErrorKind::NotEmpty,
            K::InvalidFilename | K::InvalidInput => ErrorKind::Unrepresentable,
            K::NotADirectory => ErrorKind::NoParent,
            K::Unsupported => ErrorKind::Unsupported,
            _ => ErrorKind::Other,
        };
        let mut this = Self::new(kind, operation, error.to_string());
        this.0.source = Some(error);
        this
    }

    /// The same error with another kind, where the caller knows better than the error number.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// The same error, met in the course of this.
    #[must_use]
    pub fn with_operation(mut self, operation: &'static str) -> Self {
        self.0.operation = operation;
        self
    }

    /// The same error with the path that was worked on.
    #[must_use]
    pub fn at(mut self, path: &SyncPath) -> Self {
        self.0.path = Some(path.clone());
        self
    }

    /// The same error with the storage's name for people.
    #[must_use]
    pub fn on(mut self, storage: &str) -> Self {
        self.0.storage = storage.into();
        self
    }

    /// The same error with what to do about it at the end of its reason.
    #[must_use]
    pub fn with_advice(mut self, advice: &str) -> Self {
        self.0.reason.push_str("; ");
        self.0.reason.push_str(advice);
        self
    }

    /// The same error once more, without its source: one refusal can concern many paths.
    #[must_use]
    pub fn repeat(&self) -> Self {
        Self(Box::new(Inner {
            kind: self.0.kind,
            operation: self.0.operation,
            path: self.0.path.clone(),
            storage: self.0.storage.clone(),
            reason: self.0.reason.clone(),
            source: None,
        }))
    }

    /// What the caller has to do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What was being done.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// Where.
    pub fn path(&self) -> Option<&SyncPath> {
        self.0.path.as_ref()
    }

    /// In which storage; empty if nobody said.
    pub fn storage(&self) -> &str {
        &self.0.storage
    }

    /// What happened and what to do.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.operation == CONNECT && !self.0.storage.is_empty() {
            return write!(f, "connecting to {}: {}", self.0.storage, self.0.reason);
        }
        f.write_str(self.0.operation)?;
        if let Some(path) = &self.0.path {
            write!(f, " {path}")?;
        }
        if !self.0.storage.is_empty() {
            write!(f, " in {}", self.0.storage)?;
        }
        write!(f, ": {}", self.0.reason)
    }
}

impl fmt::Debug for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageError")
            .field("kind", &self.0.kind)
            .field("operation", &self.0.operation)
            .field("path", &self.0.path)
            .field("storage", &self.0.storage)
            .field("reason", &self.0.reason)
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for StorageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|e| e as _)
    }
}

/// Gives a system error its operation.
pub trait IoResultExt<T> {
    /// The result with a [`StorageError`] that names the operation.
    fn during(self, operation: &'static str) -> Result<T>;
}

impl<T, E: Into<io::Error>> IoResultExt<T> for std::result::Result<T, E> {
    fn during(self, operation: &'static str) -> Result<T> {
        self.map_err(|error| StorageError::io(operation, error.into()))
    }
}
