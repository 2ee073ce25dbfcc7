//! Two clients at once: nothing that was acknowledged is lost.

use super::*;

/// Adds one to the number in a file, as often as `rounds`; how often it was told that it is done.
async fn count(store: Arc<WebDav>, rounds: u32) {
    let mut done = 0;
    while done < rounds {
        let at = path("counter");
        let Some(found) = store.stat(&at).await.unwrap() else {
            continue;
        };
        let Some(tag) = found.tag else {
            tokio::task::yield_now().await;
            continue;
        };
        let Ok(reading) = store.read(&at, 0..found.size, Some(&tag)).await else {
            continue;
        };
        let pieces: Vec<_> = reading
            .pieces
            .map(|piece| piece.unwrap_or_default())
            .collect()
            .await;
        let text = pieces.concat();
        // Cut short or emptied: it is being replaced, and this server writes in place. What is written on such a version is refused,
        // because the one who replaces it holds the lock.
        if text.len() as u64 != found.size || text.is_empty() {
            continue;
        }
        let text = String::from_utf8(text).unwrap();
        let number: u32 = text
            .parse()
            .unwrap_or_else(|_| panic!("{text:?} {}", found.size));
        let next = Bytes::from((number + 1).to_string());
        match put(&store, "counter", next, Condition::Is(tag)).await {
            Ok(_) => done += 1,
            Err(fault) => assert!(
                fault.error.kind() == ErrorKind::Changed || fault.again != Again::Never,
                "{fault:?}"
            ),
        }
    }
}

fn rounds() -> u32 {
    // A server whose tags are weak for a second makes every round last one.
    if std::env::var_os("WL_TEST_WEBDAV").is_some() {
        5
    } else {
        300
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_counters_lose_nothing() {
    let kit = Kit::new().await;
    kit.put("counter", "0", Condition::Absent).await.unwrap();
    let others = [kit.other(), kit.other()].map(|store| tokio::spawn(count(store, rounds())));
    for other in others {
        other.await.unwrap();
    }
    assert_eq!(kit.content("counter").await, (2 * rounds()).to_string());
    kit.assert_unlocked("counter").await;
}

async fn create(store: Arc<WebDav>, at: String, who: String) -> bool {
    loop {
        match put(&store, &at, Bytes::from(who.clone()), Condition::Absent).await {
            Ok(_) => return true,
            Err(fault) if fault.error.kind() == ErrorKind::Changed => return false,
            // The other one has the lock.
            Err(fault) => assert!(fault.again != Again::Never, "{fault:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_creators_exactly_one_wins() {
    let kit = Kit::new().await;
    let stores = [kit.other(), kit.other()];
    for round in 0..300 {
        let at = format!("new{round}");
        let both = [0, 1].map(|who| {
            tokio::spawn(create(
                stores[who].clone(),
                at.clone(),
                format!("writer {who}"),
            ))
        });
        let mut won = Vec::new();
        for (who, one) in both.into_iter().enumerate() {
            if one.await.unwrap() {
                won.push(who);
            }
        }
        assert_eq!(won.len(), 1, "round {round}: {won:?} won");
        assert_eq!(kit.content(&at).await, format!("writer {}", won[0]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_and_a_removal_cannot_both_win() {
    let kit = Kit::new().await;
    let other = kit.other();
    for round in 0..if rounds() < 100 { 3 } else { 150 } {
        let at = format!("f{round}");
        kit.put(&at, "old", Condition::Absent).await.unwrap();
        let old = tag(&kit.store, &at).await;
        let removal = tokio::spawn({
            let (other, at, old) = (other.clone(), path(&at), old.clone());
            async move { other.remove(&at, &Condition::Is(old)).await.is_ok() }
        });
        let replaced = kit.put(&at, "newer", Condition::Is(old)).await.is_ok();
        let removed = removal.await.unwrap();
        assert!(!(replaced && removed), "round {round}: both won");
        let now = kit.store.stat(&path(&at)).await.unwrap();
        match (replaced, removed) {
            (true, _) => assert_eq!(kit.content(&at).await, "newer"),
            (_, true) => assert!(now.is_none()),
            _ => assert_eq!(kit.content(&at).await, "old"),
        }
    }
}
