//! Servers whose clocks differ from ours, where times are all that tells versions apart.

use std::path::Path;
use std::sync::Arc;

use wl_core::model::{Meta, Timestamp};
use wl_core::plugin::ConnectContext;
use wl_core::storage::*;

use super::session::path;
use crate::remote::RemoteBackend;
use crate::remote::fake::{Body, FakeSettings, FakeStore};
use crate::remote::store::Attributes;
use crate::remote::token;

const SECOND: u64 = 1_000_000_000;
const MINUTES: i64 = 10 * 60;

/// Folders and times of whole seconds; `ahead` of ours by so many.
fn settings(base: FakeSettings, ahead: i64) -> FakeSettings {
    let mut settings = FakeSettings { ahead, ..base };
    settings.facts.clock = SECOND;
    settings
}

async fn connect(store: &FakeStore, writes: bool, dir: Option<&Path>) -> RemoteBackend {
    let context = ConnectContext {
        writes,
        state_dir: dir.map(Into::into),
        ..ConnectContext::default()
    };
    let store = Arc::new(store.clone());
    RemoteBackend::connect("fake", store, &context)
        .await
        .unwrap()
}

async fn meta(backend: &RemoteBackend, at: &str) -> Meta {
    backend.stat(&path(at)).await.unwrap().unwrap()
}

/// Writes `at` as somebody did on the server, so many seconds ago by its clock.
fn aged(store: &FakeStore, at: &str, seconds: i64) {
    let mut now = token::now();
    now.secs += store.settings.ahead - seconds;
    let attributes = Attributes {
        mtime: Some(Timestamp { nanos: 0, ..now }),
        ..Attributes::default()
    };
    let body = Body::File(b"00".to_vec().into());
    store.world().insert(at, body, &attributes);
}

/// What was just written is not settled, whatever time the server calls that; what is old by its clock is.
#[tokio::test]
async fn a_token_settles_by_the_clock_of_the_server() {
    for base in [FakeSettings::ftp(), FakeSettings::sftp()] {
        for ahead in [-24 * 3600, -MINUTES, -30, 0, 30, MINUTES, 24 * 3600] {
            let store = FakeStore::new(settings(base, ahead));
            store.world().edit("before", b"00");
            let backend = connect(&store, true, None).await;
            let behind = -backend.0.wire.skew().nanoseconds();
            let error = behind + ahead * SECOND as i64;
            assert!(error >= 0, "{ahead}: it is taken to be ahead by {error}");
            store.world().edit("f", b"00");
            for name in ["before", "f"] {
                let meta = meta(&backend, name).await;
                assert!(!meta.settled, "{ahead}: {name} {meta:?}");
            }
            let hashed = backend.hash(&path("f"), &Default::default()).await.unwrap();
            assert!(!hashed.meta.settled, "{ahead}");
            if base.facts.mtime_resolution.is_some() {
                aged(&store, "old", 60 + error / SECOND as i64);
                assert!(meta(&backend, "old").await.settled, "{ahead}");
            }
        }
    }
}

/// Where nothing may be written the clock is not known: what looks young, or might be, is not settled.
#[tokio::test]
async fn a_clock_that_is_not_known_is_taken_to_be_behind() {
    for ahead in [-4 * 60, -60, 0, 60] {
        let store = FakeStore::new(settings(FakeSettings::sftp(), ahead));
        let backend = connect(&store, false, None).await;
        assert_eq!(store.calls().0, Vec::<String>::new());
        store.world().edit("f", b"00");
        assert!(!meta(&backend, "f").await.settled, "{ahead}");
        aged(&store, "old", 3600);
        assert!(meta(&backend, "old").await.settled, "{ahead}");
    }
}

/// A clock is remembered; one that was ahead may have been set right since.
#[tokio::test]
async fn a_clock_is_remembered_for_a_while() {
    let (behind, ahead) = (-MINUTES, MINUTES);
    for (was, is) in [(behind, behind), (ahead, ahead), (ahead, 0)] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = FakeStore::new(settings(FakeSettings::sftp(), was));
        connect(&store, true, Some(dir.path())).await;
        let ours = |store: &FakeStore| {
            let world = store.world();
            let mut nodes = world.nodes();
            nodes.any(|node| node.name.starts_with(".wl/probe/"))
        };
        assert!(!ours(&store), "scratch files stay behind");
        store.set_ahead(is);
        store.quiet();
        for writes in [false, true] {
            let backend = connect(&store, writes, Some(dir.path())).await;
            assert_eq!(store.calls().0, Vec::<String>::new());
            store.world().edit("f", b"00");
            assert!(!meta(&backend, "f").await.settled, "{was} {is}");
            aged(&store, "old", 3600);
            assert!(meta(&backend, "old").await.settled, "{was} {is}");
            store.quiet();
        }
    }
}

/// Where there is no root nothing is made, and a server that refuses the scratch file can be read all the same.
#[tokio::test]
async fn a_clock_is_no_reason_to_fail() {
    let store = FakeStore::new(settings(FakeSettings::ftp(), 0));
    store.world().delete("");
    connect(&store, true, None).await;
    assert_eq!(store.world().nodes().count(), 0);
    let store = FakeStore::new(settings(FakeSettings::ftp(), 0));
    store.world().edit(".wl", b"somebody else's");
    store.world().edit("f", b"00");
    let backend = connect(&store, true, None).await;
    assert!(!meta(&backend, "f").await.settled);
}

/// Two writers, one size, one second, and a server that gives the times: what is told as ours may be theirs, and is read again.
#[tokio::test]
async fn what_may_be_theirs_is_never_settled() {
    for ahead in [-24 * 3600, -MINUTES, 0, MINUTES] {
        let mut base = FakeSettings::ftp();
        base.facts.renames = true;
        let store = FakeStore::new(settings(base, ahead));
        let backend = connect(&store, true, None).await;
        let session = super::session::begin(&backend, "run").await;
        super::session::create(&*session, "first", b"ours")
            .await
            .unwrap();
        store.quiet();
        let ours = super::session::create(&*session, "e", b"ours").await;
        assert!(!ours.unwrap().settled, "{ahead}");
        let (calls, _) = store.calls();
        assert_eq!(calls.last().unwrap(), "stat e");
        store.quiet();
        store.before(calls.len() - 1, |world| world.edit("f", b"them"));
        let ours = super::session::create(&*session, "f", b"ours").await;
        assert_eq!(store.calls().1, 1);
        assert!(!ours.unwrap().settled, "{ahead}");
        assert_eq!(store.world().content("f").unwrap(), b"them");
    }
}
