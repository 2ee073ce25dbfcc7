//! Displaced versions that only go to the trash through us: where a store neither copies nor compares.

use bytes::Bytes;
use wl_core::model::{ContentHash, SyncPath};
use wl_core::storage::*;

use super::conformance::connect;
use super::session::{begin, path};
use crate::remote::RemoteBackend;
use crate::remote::fake::{FakeSettings, FakeStore, Trouble};

/// More than is read as one piece, and than one range.
const LARGE: usize = SMALL_FILE as usize + 70_000;

fn content(seed: u8) -> Vec<u8> {
    (0..LARGE).map(|at| (at / 7) as u8 ^ seed).collect()
}

async fn replace(
    backend: &RemoteBackend,
    session: &dyn WriteSession,
    at: &SyncPath,
) -> Result<Published> {
    let meta = backend.stat(at).await?.unwrap();
    let new = Bytes::from_static(b"new");
    let hash = ContentHash::of(&new);
    let request = StageRequest {
        path: at.clone(),
        payload: Payload::Bytes(new),
        hash,
        mtime: None,
        mode: None,
    };
    let staged = session.stage(vec![request]).await.remove(0)?;
    let known = Some(ContentHash::of(&content(1)));
    let request = ReplaceRequest {
        path: at.clone(),
        staged,
        expect: Expect::Is(Expected::of(&meta, known)),
        listed: false,
    };
    session.replace(vec![request]).await.remove(0)
}

fn kept(store: &FakeStore) -> Vec<Vec<u8>> {
    let world = store.world();
    let names = world.nodes().map(|node| node.name.clone());
    let trash = names.filter(|name| name.starts_with(".wl/trash/"));
    trash.filter_map(|name| world.content(&name)).collect()
}

fn stores() -> [FakeStore; 2] {
    let mut drive = FakeSettings::ftp();
    drive.facts.renames = true;
    [FakeSettings::sftp(), drive].map(FakeStore::new)
}

#[tokio::test]
async fn a_large_version_is_kept() {
    for store in stores() {
        let backend = connect(&store).await;
        store.world().edit("f", &content(1));
        let session = begin(&backend, "run").await;
        replace(&backend, &*session, &path("f")).await.unwrap();
        assert_eq!(store.world().content("f").unwrap(), b"new");
        assert!(kept(&store) == [content(1)], "it is not in the trash");
        assert_eq!(session.finish().await.unwrap().versions, 1);
        let items = backend.trash_list().await.unwrap();
        let back = backend.trash_restore(&items[0].id, &path("back")).await;
        back.unwrap();
        assert!(store.world().content("back").unwrap() == content(1));
    }
}

/// What cannot be kept is not displaced, and the error says so.
#[tokio::test]
async fn a_version_that_cannot_be_kept_stays() {
    for mut settings in stores().map(|store| store.settings) {
        settings.largest = SMALL_FILE;
        let store = FakeStore::new(settings);
        let backend = connect(&store).await;
        store.world().edit("f", &content(1));
        let session = begin(&backend, "run").await;
        let error = replace(&backend, &*session, &path("f")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let text = error.to_string();
        assert!(text.contains("cannot be kept in the trash"), "{text}");
        assert!(text.contains("move that version elsewhere"), "{text}");
        assert!(store.world().content("f").unwrap() == content(1));
        assert_eq!(session.finish().await.unwrap().versions, 0);
    }
}

/// Whatever goes wrong, and whoever writes, between any two requests: no version is lost, and none is half kept.
#[tokio::test]
async fn nothing_is_lost_while_a_large_version_is_kept() {
    let calm = stores()[0].clone();
    let backend = connect(&calm).await;
    calm.world().edit("f", &content(1));
    let session = begin(&backend, "run").await;
    calm.quiet();
    replace(&backend, &*session, &path("f")).await.unwrap();
    let (calls, _) = calm.calls();
    let commit = calls.iter().position(|call| call.starts_with("commit"));
    let last = commit.unwrap();
    for number in 0..=last {
        for trouble in [None, Some(Trouble::Busy), Some(Trouble::LostReply)] {
            one(number, trouble, &calls).await;
        }
    }
}

async fn one(number: usize, trouble: Option<Trouble>, calls: &[String]) {
    let settings = stores()[0].settings;
    let store = FakeStore::new(settings);
    let backend = connect(&store).await;
    store.world().edit("f", &content(1));
    let session = begin(&backend, "run").await;
    store.quiet();
    match trouble {
        Some(trouble) => store.trouble(number, trouble),
        None => store.before(number, |world| world.edit("f", &content(2))),
    }
    let done = replace(&backend, &*session, &path("f")).await;
    assert_eq!(store.calls().1, 1);
    session.finish().await.unwrap();
    let at = format!("{trouble:?} at {number}: {}", calls[number]);
    let there = store.world().content("f").unwrap();
    let trash = kept(&store);
    for version in &trash {
        assert!(*version == content(1) || *version == content(2), "{at}");
    }
    match (trouble, there == b"new") {
        (None, false) => assert!(there == content(2), "{at}"),
        // Before it was looked at: it is what was replaced.
        (None, true) => assert!(trash.contains(&content(2)), "{at}"),
        (_, false) => assert!(done.is_err() && there == content(1), "{at}"),
        (_, true) => assert!(trash.contains(&content(1)), "{at}"),
    }
}
