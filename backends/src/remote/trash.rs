//! Removed and replaced versions, below the reserved name.

use wl_core::model::SyncPath;
use wl_core::storage::{ErrorKind, Result, StorageError, TrashId, TrashItem};

use super::Remote;

/// All of it, oldest first.
pub(super) async fn list(remote: &Remote) -> Result<Vec<TrashItem>> {
    let _ = remote;
    Ok(Vec::new())
}

/// What nobody agreed to give up.
pub(super) async fn claimed(remote: &Remote) -> Result<Vec<TrashItem>> {
    let _ = remote;
    Ok(Vec::new())
}

/// Puts a version back where nothing is.
pub(super) async fn restore(remote: &Remote, id: &TrashId, to: &SyncPath) -> Result<()> {
    let _ = (id, to);
    let error = StorageError::new(ErrorKind::Unsupported, "restore", "not built yet");
    Err(error.on(&remote.location))
}
