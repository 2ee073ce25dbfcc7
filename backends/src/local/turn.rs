//! Connecting to a place, a few at a time: on a mount that hangs each attempt keeps a thread, also when nobody waits for it any more, and
//! whoever pauses and resumes a job begins another one each time.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tokio::sync::Semaphore;
use wl_core::storage::Result;

use super::blocking;
use super::kernel::Runs;

/// So many attempts to connect to one place may be under way. More than one: what hangs on a mount that is gone for good (`umount -l`) never ends,
/// and the next one, which finds another mount there, does not wait for it.
const MOST: usize = 3;

/// Places that somebody connects to at this moment.
static PLACES: LazyLock<Mutex<HashMap<String, Arc<Semaphore>>>> = LazyLock::new(Mutex::default);

/// Runs `work`, which may block, once fewer than [`MOST`] that were begun for the same `place` are under way. One that nobody waits for is not
/// begun.
pub(super) async fn in_turn<T: Send + 'static>(
    place: String,
    operation: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    // Nobody closes it.
    let turn = turns_at(place).acquire_owned().await.ok();
    blocking(Runs::Elsewhere, operation, move || {
        // It is over when the thread is free, not when nobody waits for it any more.
        let _turn = turn;
        work()
    })
    .await
}

fn turns_at(place: String) -> Arc<Semaphore> {
    let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    places.retain(|_, turns| Arc::strong_count(turns) > 1);
    let turns = places.entry(place);
    Arc::clone(turns.or_insert_with(|| Arc::new(Semaphore::new(MOST))))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::poll;

    use super::*;

    /// Pauses and resumes of a job on a mount that hangs take no threads from the others.
    #[test]
    fn attempts_that_hang_and_are_given_up_keep_few_threads() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(MOST + 1)
            .enable_time()
            .build()
            .unwrap();
        let gate = Arc::new(Mutex::new(()));
        let shut = gate.lock().unwrap();
        let enter = || {
            let gate = Arc::clone(&gate);
            in_turn("/hangs".to_owned(), "connect", move || {
                drop(gate.lock());
            })
        };
        runtime.block_on(async {
            for _ in 0..2 * MOST {
                let attempt = std::pin::pin!(enter());
                assert!(poll!(attempt).is_pending());
            }
            let other = in_turn("/other".to_owned(), "connect", || ());
            let other = tokio::time::timeout(Duration::from_secs(60), other).await;
            other.expect("no thread is left for others").unwrap();
        });
        drop(shut);
        runtime.block_on(enter()).unwrap();
        assert!(!PLACES.lock().unwrap().contains_key("/other"));
    }
}
