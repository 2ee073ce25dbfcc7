//! When a job is due.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// Anything from 0 to 1, so that jobs that failed together are not tried again together.
pub(super) fn dice() -> f64 {
    let any = RandomState::new().build_hasher().finish();
    any as f64 / u64::MAX as f64
}

/// Says that a job is due, after a delay.
pub(super) fn wake(due: &mpsc::Sender<String>, id: &str, delay: Duration) -> AbortHandle {
    let (due, id) = (due.clone(), id.to_owned());
    let timer = tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        let _ = due.send(id).await;
    });
    timer.abort_handle()
}
