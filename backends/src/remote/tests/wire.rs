//! Limits and retries on a clock that only sleepers move.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use wl_core::model::SyncPath;
use wl_core::storage::{ErrorKind, Limits};

use super::super::store::{Again, Fault};
use super::kit::{Fake, READ_ONLY, fault};

fn path(text: &str) -> SyncPath {
    SyncPath::new(text).unwrap()
}

#[tokio::test]
async fn requests_and_bytes_keep_to_their_limits() {
    let remote = Fake::new(READ_ONLY, &[], 1).limited(Limits {
        requests_per_second: NonZeroU32::new(10),
        bytes_per_second: NonZeroU64::new(1000),
    });
    for _ in 0..50 {
        drop(remote.wire.turn(0).await);
    }
    assert_eq!(remote.wire.requests(), 50);
    assert_eq!(remote.wire.elapsed(), Duration::from_secs(4));
    for _ in 0..10 {
        drop(remote.wire.turn(1000).await);
    }
    let elapsed = remote.wire.elapsed();
    assert!(elapsed >= Duration::from_secs(12), "{elapsed:?}");
    let before = remote.wire.elapsed();
    remote.wire.receive(5000).await;
    let took = remote.wire.elapsed() - before;
    assert!(
        took >= Duration::from_secs(4),
        "{took:?}: each way has its own limit"
    );
}

#[tokio::test]
async fn no_more_turns_at_once_than_make_sense() {
    let remote = Fake::new(READ_ONLY, &[], 1).remote();
    let mut turns = Vec::new();
    for _ in 0..READ_ONLY.parallel {
        turns.push(remote.wire.turn(0).await);
    }
    let mut next = Box::pin(remote.wire.turn(0));
    assert!(futures::poll!(&mut next).is_pending());
    turns.pop();
    next.await;
}

#[tokio::test]
async fn what_passes_is_waited_for_and_what_does_not_is_told() {
    let remote = Fake::new(READ_ONLY, &[], 1).remote();
    let tries = AtomicU32::new(0);
    let attempt = |fails: u32, again| {
        let number = tries.fetch_add(1, SeqCst);
        async move {
            match number < fails {
                true => Err::<(), Fault>(fault(ErrorKind::Other, again)),
                false => Ok(()),
            }
        }
    };
    let wish = Again::After(Some(Duration::from_secs(7)));
    let done = remote
        .wire
        .again("stat", &path("a"), || attempt(3, wish))
        .await;
    done.unwrap();
    assert_eq!(tries.swap(0, SeqCst), 4);
    assert!(remote.wire.elapsed() >= Duration::from_secs(21));

    let error = remote
        .wire
        .again("stat", &path("a"), || attempt(99, Again::After(None)))
        .await;
    let error = error.unwrap_err();
    assert_eq!(tries.swap(0, SeqCst), 8);
    assert_eq!(error.kind(), ErrorKind::Temporary);
    let text = "stat a in fake://here: trouble was asked for; it was tried again for a while; run again later";
    assert_eq!(error.to_string(), text);

    let error = remote
        .wire
        .again("stat", &path("a"), || attempt(1, Again::Never))
        .await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Other);
    assert_eq!(tries.load(SeqCst), 1);
}

#[tokio::test]
async fn a_storage_out_of_reach_is_waited_for_once_and_not_for_every_file() {
    let remote = Fake::new(READ_ONLY, &[], 1).remote();
    let tries = AtomicU32::new(0);
    let attempt = |kind: Option<ErrorKind>| {
        tries.fetch_add(1, SeqCst);
        async move {
            match kind {
                Some(kind) => Err::<(), Fault>(fault(kind, Again::After(None))),
                None => Ok(()),
            }
        }
    };
    let ask = async |kind| {
        let asked = remote
            .wire
            .again("stat", &path("a"), || attempt(kind))
            .await;
        (asked.is_ok(), tries.swap(0, SeqCst))
    };
    let patient = ask(Some(ErrorKind::Unavailable)).await;
    assert!(!patient.0 && patient.1 > 1, "{patient:?}");
    assert_eq!(ask(Some(ErrorKind::Unavailable)).await, (false, 1));
    assert_eq!(ask(Some(ErrorKind::Temporary)).await, (false, patient.1));
    // An answer, and there is patience again.
    assert_eq!(ask(None).await, (true, 1));
    assert_eq!(ask(Some(ErrorKind::Unavailable)).await, (false, patient.1));
}
