//! Reading: the version that is meant, whole, or an error.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use tokio_util::sync::CancellationToken;
use wl_core::model::{ContentHash, Meta, SyncPath};
use wl_core::storage::*;

use super::super::store::{Again, Facts};
use super::super::{Remote, read, token};
use super::kit::{Fake, READ_ONLY};

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

fn meta(fake: &Fake, key: &str) -> Meta {
    let content = fake.keys.lock().unwrap()[key].clone();
    token::meta(&fake.found(key, &content), &fake.facts, token::now())
}

fn request(fake: &Fake, key: &str) -> ReadRequest {
    ReadRequest {
        path: SyncPath::new(key).unwrap(),
        meta: meta(fake, key),
    }
}

fn fake(tagged: bool, length: usize) -> Arc<Fake> {
    let mut fake = Fake::new(READ_ONLY, &[], 10);
    Arc::get_mut(&mut fake).unwrap().tagged = tagged;
    fake.set("f", &content(length));
    fake
}

async fn drain(remote: &Arc<Remote>, request: ReadRequest) -> Result<Vec<u8>> {
    let mut reader = read::open(remote, request).await?;
    let mut all = Vec::new();
    while let Some(piece) = reader.next().await? {
        assert!(!piece.is_empty());
        all.extend_from_slice(&piece);
    }
    assert!(reader.next().await?.is_none());
    Ok(all)
}

#[tokio::test]
async fn every_size_arrives_whole() {
    for tagged in [true, false] {
        for length in [0, 1, 999, 1000, 1001, 5000, 12_345] {
            let fake = fake(tagged, length);
            let remote = fake.remote();
            let read = drain(&remote, request(&fake, "f")).await.unwrap();
            assert!(read == content(length), "{length} bytes");
            let small = read::read_small(&remote, vec![request(&fake, "f")])
                .await
                .remove(0);
            assert!(small.unwrap().content == content(length));
            let cancel = CancellationToken::new();
            let hashed = read::hash(&remote, &SyncPath::new("f").unwrap(), &cancel)
                .await
                .unwrap();
            assert_eq!(hashed.hash, ContentHash::of(&content(length)));
            assert_eq!(hashed.meta, meta(&fake, "f"));
        }
    }
}

#[tokio::test]
async fn a_fault_at_any_request_is_tried_again() {
    for tagged in [true, false] {
        let calm = fake(tagged, 6500);
        drain(&calm.remote(), request(&calm, "f")).await.unwrap();
        let requests = calm.pulse.sent.load(SeqCst);
        assert!(requests >= 7);
        for at in 0..requests {
            let fake = fake(tagged, 6500);
            fake.pulse
                .faults
                .lock()
                .unwrap()
                .insert(at, Again::After(None));
            let read = drain(&fake.remote(), request(&fake, "f")).await.unwrap();
            assert!(read == content(6500));
            fake.pulse
                .faults
                .lock()
                .unwrap()
                .insert(fake.pulse.sent.load(SeqCst) + at, Again::Never);
            assert!(drain(&fake.remote(), request(&fake, "f")).await.is_err());
        }
    }
}

#[tokio::test]
async fn what_is_cut_short_is_never_accepted() {
    for tagged in [true, false] {
        let fake = fake(tagged, 3500);
        let remote = fake.remote();
        fake.cut.store(3, SeqCst);
        assert!(drain(&remote, request(&fake, "f")).await.unwrap() == content(3500));
        fake.cut.store(usize::MAX, SeqCst);
        let error = drain(&remote, request(&fake, "f")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Temporary);
        let mut small = read::read_small(&remote, vec![request(&fake, "f")]).await;
        assert_eq!(small.remove(0).unwrap_err().kind(), ErrorKind::Temporary);
    }
}

#[tokio::test]
async fn another_version_is_busy_whenever_it_comes() {
    for tagged in [true, false] {
        for length in [6500, 6501, 100, 0] {
            for pieces in 0..7 {
                let fake = fake(tagged, 6500);
                let mut reader = read::open(&fake.remote(), request(&fake, "f"))
                    .await
                    .unwrap();
                for _ in 0..pieces {
                    reader.next().await.unwrap();
                }
                let mut other = content(length);
                other.iter_mut().for_each(|byte| *byte ^= 1);
                fake.set("f", &other);
                let mut all = 0;
                let end = loop {
                    match reader.next().await {
                        Ok(Some(piece)) => all += piece.len(),
                        Ok(None) => break None,
                        Err(error) => break Some(error.kind()),
                    }
                };
                // Where every part had been read under its tag nothing is left to go wrong.
                assert!(
                    end == Some(ErrorKind::Busy) || (tagged && end.is_none()),
                    "{end:?} after {pieces} pieces and {all} bytes"
                );
                assert!(tagged || end.is_some());
            }
        }
    }
}

#[tokio::test]
async fn small_files_are_read_at_once_but_not_too_many() {
    let fake = Fake::new(READ_ONLY, &[], 10);
    let names: Vec<_> = (0..40).map(|n| format!("f{n}")).collect();
    names
        .iter()
        .for_each(|name| fake.set(name, name.as_bytes()));
    let requests = names.iter().map(|name| request(&fake, name)).collect();
    fake.keys.lock().unwrap().remove("f3");
    fake.set("f5", b"xx");
    let results = read::read_small(&fake.remote(), requests).await;
    assert_eq!(results.len(), 40);
    for (at, (name, result)) in names.iter().zip(results).enumerate() {
        match (at, result) {
            (3, Err(error)) => assert_eq!(error.kind(), ErrorKind::NotFound),
            (5, Err(error)) => assert_eq!(error.kind(), ErrorKind::Busy),
            (_, read) => assert_eq!(read.unwrap().content, name.as_bytes()),
        }
    }
    let most = fake.most_reading.load(SeqCst);
    assert!((2..=READ_ONLY.parallel).contains(&most), "{most} at once");
}

#[tokio::test]
async fn readers_share_a_budget_and_never_wait_for_one_another() {
    let fake = fake(true, 20_000);
    let remote = fake.remote();
    let mut readers = Vec::new();
    for _ in 0..6 {
        let mut reader = read::open(&remote, request(&fake, "f")).await.unwrap();
        reader.next().await.unwrap();
        readers.push(reader);
    }
    // The first hold all that may be read ahead; the last goes on all the same.
    for mut reader in readers.into_iter().rev() {
        let mut left = 19_000;
        while let Some(piece) = reader.next().await.unwrap() {
            left -= piece.len();
        }
        assert_eq!(left, 0);
    }
    assert!(remote.wire.part_ahead().is_some());
}

#[tokio::test]
async fn hashing_and_reading_refuse_what_is_no_file_of_ours() {
    const FACTS: Facts = READ_ONLY;
    let fake = Fake::new(FACTS, &["d/x"], 10);
    let remote = fake.remote();
    let hash = async |text: &str, cancel: CancellationToken| {
        let path = SyncPath::new(text).unwrap();
        read::hash(&remote, &path, &cancel)
            .await
            .map_err(|error| error.kind())
    };
    let calm = CancellationToken::new;
    assert_eq!(hash("d", calm()).await.unwrap_err(), ErrorKind::Changed);
    assert_eq!(hash("none", calm()).await.unwrap_err(), ErrorKind::NotFound);
    assert_eq!(
        hash(".wl/x", calm()).await.unwrap_err(),
        ErrorKind::Unrepresentable
    );
    let cancel = calm();
    cancel.cancel();
    assert_eq!(hash("d/x", cancel).await.unwrap_err(), ErrorKind::Cancelled);
}

#[tokio::test]
async fn ranges_that_arrive_out_of_order_are_handed_out_in_order() {
    for waits in [1000, 2000, 3000] {
        let fake = fake(true, 6500);
        *fake.slow.lock().unwrap() = Some((waits, waits + 1000));
        let read = drain(&fake.remote(), request(&fake, "f")).await.unwrap();
        assert!(read == content(6500));
    }
}

#[tokio::test]
async fn after_an_error_no_part_is_skipped() {
    for at in 1..7 {
        let fake = fake(true, 6500);
        let mut reader = read::open(&fake.remote(), request(&fake, "f"))
            .await
            .unwrap();
        fake.pulse.faults.lock().unwrap().insert(at, Again::Never);
        let (mut all, mut failed) = (Vec::new(), 0);
        loop {
            match reader.next().await {
                Ok(Some(piece)) => all.extend_from_slice(&piece),
                Ok(None) => break,
                Err(_) => failed += 1,
            }
        }
        assert!(all == content(6500), "{} bytes", all.len());
        assert_eq!(failed, 1);
    }
}

#[tokio::test]
async fn what_was_noted_is_told() {
    let fake = fake(true, 2500);
    let mtime = fake.found("f", &content(2500)).modified;
    *fake.noted.lock().unwrap() = Noted { mtime, mode: None };
    let remote = fake.remote();
    let reader = read::open(&remote, request(&fake, "f")).await.unwrap();
    assert_eq!(reader.noted().mtime, mtime);
    let mut small = read::read_small(&remote, vec![request(&fake, "f")]).await;
    assert_eq!(small.remove(0).unwrap().noted.mtime, mtime);
}

#[tokio::test]
async fn content_that_is_received_keeps_to_the_limit() {
    let fake = fake(true, 10_000);
    let remote = fake.limited(Limits {
        bytes_per_second: std::num::NonZeroU64::new(1000),
        requests_per_second: None,
    });
    drain(&remote, request(&fake, "f")).await.unwrap();
    let seconds = remote.wire.elapsed().as_secs_f64();
    assert!(seconds >= 8.9, "{seconds}");
}
