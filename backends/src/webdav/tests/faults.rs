//! Lost requests and replies, torn bodies, futures that are dropped.

use std::time::Duration;

use tokio::sync::Semaphore;

use super::server::Fault as Planned;
use super::*;

fn ours() -> bool {
    std::env::var_os("WL_TEST_WEBDAV").is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_leaves_neither_doubt_nor_lock() {
    if !ours() {
        return;
    }
    for method in ["LOCK", "PUT", "UNLOCK"] {
        for fault in [Planned::LoseReply, Planned::LoseRequest] {
            let kit = Kit::new().await;
            kit.put("warm", "x", Condition::Absent).await.unwrap();
            kit.server.fault(method, fault.clone());
            let made = kit.put("f", "content", Condition::Absent).await;
            assert!(kit.server.spent());
            let there = kit.store.stat(&path("f")).await.unwrap();
            match &made {
                Ok(_) => assert_eq!(kit.content("f").await, "content"),
                Err(fault) => {
                    assert!(
                        !fault.unclear && fault.again != Again::Never,
                        "{method}: {fault:?}"
                    );
                    assert!(there.is_none(), "{method}: {there:?}");
                }
            }
            kit.assert_unlocked("f").await;
            let old = tag(&kit.store, "warm").await;
            kit.server.fault(method, fault);
            let replaced = kit.put("warm", "newer", Condition::Is(old)).await;
            assert!(kit.server.spent());
            match &replaced {
                Ok(_) => assert_eq!(kit.content("warm").await, "newer"),
                Err(fault) => {
                    assert!(!fault.unclear, "{method}: {fault:?}");
                    assert_eq!(kit.content("warm").await, "x");
                }
            }
            kit.assert_unlocked("warm").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_body_is_not_left_behind() {
    if !ours() {
        return;
    }
    let kit = Kit::new().await;
    kit.server.fault("PUT", Planned::Torn);
    let made = kit.put("f", "content", Condition::Absent).await;
    assert!(kit.server.spent() && made.is_err_and(|fault| !fault.unclear));
    assert!(kit.store.stat(&path("f")).await.unwrap().is_none());
    kit.put("f", "content", Condition::Absent).await.unwrap();
    let old = tag(&kit.store, "f").await;
    kit.server.fault("PUT", Planned::Torn);
    kit.put("f", "something else", Condition::Is(old))
        .await
        .unwrap();
    assert!(kit.server.spent());
    assert_eq!(kit.content("f").await, "something else");
    kit.assert_unlocked("f").await;
    let big = Bytes::from(vec![b'x'; 2 << 20]);
    kit.server.fault("PUT", Planned::Torn);
    let now = tag(&kit.store, "f").await;
    let replaced = put(&kit.store, "f", big, Condition::Is(now)).await;
    assert!(replaced.is_err_and(|fault| !fault.unclear && fault.again != Again::Never));
    assert_eq!(kit.content("f").await, "something else");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_whose_reply_is_lost_is_seen_to_be_done() {
    if !ours() {
        return;
    }
    for (fault, done) in [(Planned::LoseReply, true), (Planned::LoseRequest, false)] {
        let kit = Kit::new().await;
        let big = Bytes::from(vec![b'x'; 2 << 20]);
        kit.server.fault("MOVE", fault.clone());
        let made = put(&kit.store, "f", big.clone(), Condition::Absent).await;
        assert!(kit.server.spent());
        assert_eq!(made.is_ok(), done, "{made:?}");
        assert_eq!(kit.store.stat(&path("f")).await.unwrap().is_some(), done);
        kit.assert_unlocked("f").await;
        kit.put("a", "aa", Condition::Absent).await.unwrap();
        let old = tag(&kit.store, "a").await;
        kit.server.fault("MOVE", fault);
        let moved = kit
            .store
            .rename(&path("a"), &Condition::Is(old), &path("b"))
            .await;
        assert_eq!(moved.is_ok(), done, "{moved:?}");
        assert_eq!(kit.store.stat(&path("b")).await.unwrap().is_some(), done);
        assert_eq!(kit.store.stat(&path("a")).await.unwrap().is_some(), !done);
        kit.assert_unlocked("a").await;
        kit.assert_unlocked("b").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_whose_reply_is_lost_is_seen_to_be_done() {
    if !ours() {
        return;
    }
    for (fault, done) in [(Planned::LoseReply, true), (Planned::LoseRequest, false)] {
        let kit = Kit::new().await;
        kit.put("a", "aa", Condition::Absent).await.unwrap();
        let old = tag(&kit.store, "a").await;
        kit.server.fault("DELETE", fault);
        let removed = kit.store.remove(&path("a"), &Condition::Is(old)).await;
        assert!(kit.server.spent());
        assert_eq!(removed.is_ok(), done, "{removed:?}");
        assert_eq!(kit.store.stat(&path("a")).await.unwrap().is_none(), done);
        kit.assert_unlocked("a").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_future_leaves_whole_files_and_no_lock() {
    if !ours() {
        return;
    }
    for method in ["LOCK", "PUT"] {
        let kit = Kit::new().await;
        kit.put("warm", "x", Condition::Absent).await.unwrap();
        let (arrived, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        kit.server
            .fault(method, Planned::Hold(arrived.clone(), go.clone()));
        let writing = tokio::spawn({
            let store = kit.store.clone();
            async move {
                put(
                    &store,
                    "f",
                    Bytes::from_static(b"content"),
                    Condition::Absent,
                )
                .await
            }
        });
        arrived.acquire().await.unwrap().forget();
        writing.abort();
        assert!(writing.await.unwrap_err().is_cancelled());
        kit.server.seen();
        go.add_permits(1);
        while !kit
            .server
            .seen()
            .iter()
            .any(|line| line.starts_with("UNLOCK"))
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        kit.assert_unlocked("f").await;
        assert_eq!(kit.content("f").await, "content");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_lock_is_waited_for_and_not_broken() {
    let kit = Kit::new().await;
    kit.put("f", "x", Condition::None).await.unwrap();
    let old = tag(&kit.store, "f").await;
    let other = kit.other();
    let held = other.dav.lock(&path("f"), false, false).await.unwrap();
    for outcome in [
        kit.put("f", "y", Condition::Is(old.clone()))
            .await
            .map(|_| ()),
        kit.put("f", "y", Condition::None).await.map(|_| ()),
        kit.store
            .remove(&path("f"), &Condition::Is(old.clone()))
            .await,
        kit.store.remove(&path("f"), &Condition::None).await,
        kit.store
            .rename(&path("f"), &Condition::Is(old.clone()), &path("g"))
            .await
            .map(|_| ()),
    ] {
        let fault = outcome.unwrap_err();
        assert!(fault.again != Again::Never && !fault.unclear, "{fault:?}");
    }
    assert_eq!(kit.content("f").await, "x");
    other.dav.release(&held).await;
    kit.put("f", "y", Condition::Is(old)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_redirects_say_what_to_do() {
    if !ours() {
        return;
    }
    let kit = Kit::new().await;
    let say = async |status, name, value| {
        kit.server
            .fault("PROPFIND", Planned::Answer(status, name, value));
        kit.store.stat(&path("f")).await.unwrap_err()
    };
    assert_eq!(
        say(503, "retry-after", "3").await.again,
        Again::After(Some(Duration::from_secs(3)))
    );
    assert!(
        say(401, "www-authenticate", "Digest realm=\"x\"")
            .await
            .error
            .reason()
            .contains("Digest")
    );
    assert!(
        say(302, "location", "http://elsewhere.invalid/x")
            .await
            .error
            .reason()
            .contains("elsewhere")
    );
    assert_eq!(
        say(200, "content-type", "text/html").await.error.kind(),
        ErrorKind::Unavailable
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_could_not_be_given_back_is_when_its_name_is_needed_again() {
    if !ours() {
        return;
    }
    let kit = Kit::new().await;
    kit.put("f", "x", Condition::Absent).await.unwrap();
    // As often as it is tried.
    for _ in 0..3 {
        kit.server.fault("UNLOCK", Planned::LoseRequest);
    }
    let old = tag(&kit.store, "f").await;
    kit.put("f", "newer", Condition::Is(old)).await.unwrap();
    assert!(kit.server.spent());
    let other = kit.other();
    let old = Condition::Is(tag(&kit.store, "f").await);
    let kept_out = put(&other, "f", Bytes::from_static(b"z"), old.clone()).await;
    assert_eq!(
        kind(&kept_out),
        Some(ErrorKind::Temporary),
        "the lock is there"
    );
    kit.put("f", "newest", old).await.unwrap();
    assert_eq!(kit.content("f").await, "newest");
    kit.assert_unlocked("f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_in_use_here_is_not_given_back() {
    let kit = Kit::new().await;
    kit.put("f", "x", Condition::None).await.unwrap();
    let held = kit.store.dav.lock(&path("f"), false, false).await.unwrap();
    let old = Condition::Is(tag(&kit.store, "f").await);
    let kept_out = kit.put("f", "y", old.clone()).await;
    assert_eq!(kind(&kept_out), Some(ErrorKind::Temporary));
    assert_eq!(kit.content("f").await, "x");
    kit.store.dav.release(&held).await;
    kit.put("f", "y", old).await.unwrap();
}
