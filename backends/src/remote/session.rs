//! Writing.

use std::sync::Arc;

use wl_core::storage::{ErrorKind, Result, SessionOptions, StorageError, WriteSession};

use super::Remote;

/// Starts a session.
pub(super) async fn begin(
    remote: &Arc<Remote>,
    options: SessionOptions,
) -> Result<Arc<dyn WriteSession>> {
    let _ = options;
    let error = StorageError::new(ErrorKind::Unsupported, "begin", "writing is not built yet");
    Err(error.on(&remote.location))
}
