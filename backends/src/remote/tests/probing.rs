//! Trying servers out.

use std::sync::Arc;

use wl_core::plugin::ConnectContext;
use wl_core::storage::{CasGrade, StorageBackend};

use super::kit::{everything, rows};
use crate::remote::RemoteBackend;
use crate::remote::fake::{ALL, FakeSettings, FakeStore, NONE, Sums, Trouble};
use crate::remote::order::Order;
use crate::remote::store::Conditions;

fn context(dir: Option<&std::path::Path>, writes: bool) -> ConnectContext {
    ConnectContext {
        writes,
        state_dir: dir.map(Into::into),
        ..ConnectContext::default()
    }
}

async fn connect(store: &FakeStore, context: &ConnectContext) -> RemoteBackend {
    let store = Arc::new(store.clone());
    RemoteBackend::connect("fake", store, context)
        .await
        .unwrap()
}

fn left(store: &FakeStore) -> usize {
    let world = store.world();
    let ours = world
        .nodes()
        .filter(|node| node.name.starts_with(".wl/probe/"));
    ours.count()
}

/// Every single condition that is offered and ignored is found out, and nothing stays behind.
#[tokio::test]
async fn a_lie_is_found_out() {
    for bits in 0..8 {
        let honoured = Conditions {
            create: bits & 1 != 0,
            replace: bits & 2 != 0,
            remove: bits & 4 != 0,
        };
        for base in [FakeSettings::s3(), FakeSettings::webdav()] {
            let store = FakeStore::new(FakeSettings { honoured, ..base });
            let backend = connect(&store, &context(None, true)).await;
            assert_eq!(backend.0.conditions, honoured);
            let atomic = backend.capabilities().cas == CasGrade::Atomic;
            assert_eq!(atomic, honoured == ALL);
            assert_eq!(left(&store), 0, "scratch objects stay behind");
        }
    }
}

/// Hashes are believed only of a server that compares them, and tells none of what came before.
#[tokio::test]
async fn only_hashes_that_are_compared_are_believed() {
    for sums in [Sums::None, Sums::Kept, Sums::Believed, Sums::Stale] {
        let dir = tempfile::tempdir().unwrap();
        let store = FakeStore::new(FakeSettings {
            sums,
            ..FakeSettings::s3()
        });
        for _ in 0..2 {
            let backend = connect(&store, &context(Some(dir.path()), true)).await;
            assert_eq!(backend.0.verifies, sums == Sums::Kept, "{sums:?}");
            assert_eq!(left(&store), 0, "scratch objects stay behind");
        }
        let reader = connect(&store, &context(None, false)).await;
        assert!(!reader.0.verifies, "it was not tried out");
    }
}

/// The order of listings is found out, remembered, and forgotten when it turns out to be another.
#[tokio::test]
async fn the_order_is_found_out_and_remembered() {
    for order in [Order::Bytes, Order::Folders, Order::Unknown] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = FakeStore::new(FakeSettings {
            order,
            ..FakeSettings::s3()
        });
        for key in ["a", "a-b", "a/b", "a.b/c"] {
            store.world().edit(key, b"1");
        }
        let reader = connect(&store, &context(Some(dir.path()), false)).await;
        assert_eq!(reader.0.order.get(), Order::Unknown);
        for writes in [true, false] {
            let backend = connect(&store, &context(Some(dir.path()), writes)).await;
            assert_eq!(backend.0.order.get(), order);
            let wanted = ["a", "a-b", "a.b/", "a.b/c", "a/", "a/b"];
            assert_eq!(rows(&backend.0, everything()).await.unwrap(), wanted);
        }
        assert_eq!(left(&store), 0, "scratch objects stay behind");
        // The server is changed for another.
        store.settings.order = match order {
            Order::Bytes => Order::Folders,
            _ => Order::Bytes,
        };
        for _ in 0..2 {
            let backend = connect(&store, &context(Some(dir.path()), true)).await;
            let found = rows(&backend.0, everything()).await.unwrap();
            assert_eq!(found.len(), 6, "{found:?}");
            assert_eq!(backend.0.order.get(), Order::Unknown);
        }
    }
}

/// Who only reads writes nothing, and believes nothing; what was found out is remembered.
#[tokio::test]
async fn what_was_found_out_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let dir = Some(dir.path());
    let store = FakeStore::new(FakeSettings::s3());
    let reader = connect(&store, &context(dir, false)).await;
    assert_eq!(reader.0.conditions, NONE);
    assert_eq!(store.calls().0, Vec::<String>::new());
    let writer = connect(&store, &context(dir, true)).await;
    assert_eq!(writer.0.conditions, ALL);
    store.quiet();
    for writes in [false, true] {
        let again = connect(&store, &context(dir, writes)).await;
        assert_eq!(again.0.conditions, ALL);
    }
    assert_eq!(store.calls().0, Vec::<String>::new(), "tried out again");
}

/// A root that is missing stays missing, and nothing is proven there.
#[tokio::test]
async fn a_missing_root_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let store = FakeStore::new(FakeSettings::webdav());
    store.world().delete("");
    let backend = connect(&store, &context(Some(dir.path()), true)).await;
    assert_eq!(backend.0.conditions, NONE);
    assert_eq!(store.world().nodes().count(), 0);
    store.world().edit("f", b"1");
    let backend = connect(&store, &context(Some(dir.path()), true)).await;
    assert_eq!(
        backend.0.conditions, ALL,
        "what was not found out was remembered"
    );
}

/// Trouble that passes neither proves nor disproves anything, and everything is cleaned up.
#[tokio::test]
async fn trouble_proves_nothing() {
    let verifying = FakeSettings {
        sums: Sums::Kept,
        ..FakeSettings::s3()
    };
    for settings in [verifying, FakeSettings::lying_s3()] {
        let store = FakeStore::new(settings);
        connect(&store, &context(None, true)).await;
        let requests = store.calls().0.len();
        let mut tasks = Vec::new();
        for number in 0..requests {
            let all = [Trouble::Busy, Trouble::LostRequest, Trouble::LostReply];
            tasks.extend(all.map(|trouble| prove(settings, number, trouble)));
        }
        super::trouble::all(tasks).await;
    }
}

async fn prove(settings: FakeSettings, number: usize, trouble: Trouble) {
    let store = FakeStore::new(settings);
    store.trouble(number, trouble);
    let backend = connect(&store, &context(None, true)).await;
    let (calls, fired) = store.calls();
    assert_eq!(fired, 1);
    let found = backend.0.conditions;
    assert_eq!(
        found, settings.honoured,
        "{trouble:?} at {number} of {calls:?}"
    );
    let verifies = settings.sums == Sums::Kept;
    assert_eq!(
        backend.0.verifies, verifies,
        "{trouble:?} at {number} of {calls:?}"
    );
    assert_eq!(left(&store), 0, "scratch objects stay behind");
}

/// Tags that prove nothing while a version is young: they are waited for.
#[tokio::test]
async fn a_tag_that_comes_late_is_waited_for() {
    for base in [FakeSettings::s3(), FakeSettings::webdav()] {
        let store = FakeStore::new(FakeSettings { late: true, ..base });
        let backend = connect(&store, &context(None, true)).await;
        assert_eq!(backend.0.conditions, ALL);
        assert_eq!(left(&store), 0, "scratch objects stay behind");
    }
}

/// The first run into a root that was made by it finds out what the server does.
#[tokio::test]
async fn a_root_that_is_made_is_tried_out() {
    let settings = FakeSettings {
        makes_root: true,
        ..FakeSettings::webdav()
    };
    let store = FakeStore::new(settings);
    store.world().delete("");
    let backend = connect(&store, &context(None, false)).await;
    assert_eq!(backend.0.conditions, NONE);
    assert_eq!(store.world().nodes().count(), 0, "who reads makes nothing");
    let source = connect(&store, &context(None, true)).await;
    assert_eq!(source.0.conditions, NONE);
    assert_eq!(store.world().nodes().count(), 0, "it may be mistyped");
    let target = ConnectContext {
        makes_root: true,
        ..context(None, true)
    };
    let backend = connect(&store, &target).await;
    assert_eq!(backend.0.conditions, ALL);
}
