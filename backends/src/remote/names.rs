//! Which paths may be asked for.

use wl_core::model::{RESERVED, SyncPath};
use wl_core::storage::{ErrorKind, Result, StorageError};

use super::Remote;

/// Refuses the reserved name, in any spelling that is the same to the storage, and names that the storage would change on the way.
pub(super) fn usable(remote: &Remote, operation: &'static str, path: &SyncPath) -> Result<()> {
    let refuse = |reason: &str| {
        let error = StorageError::new(ErrorKind::Unrepresentable, operation, reason);
        Err(error.at(path).on(&remote.location))
    };
    if is_reserved(remote, path) {
        return refuse("the name is reserved for wl itself; use another one");
    }
    match remote.wire.store().refuses(path) {
        Some(reason) => refuse(&reason),
        None => Ok(()),
    }
}

/// Whether the path is the reserved name or below it.
pub(super) fn is_reserved(remote: &Remote, path: &SyncPath) -> bool {
    let first = path.as_str().split('/').next().unwrap_or_default();
    first == RESERVED
        || (remote.wire.facts().folds_case && first.to_lowercase() == RESERVED.to_lowercase())
}
