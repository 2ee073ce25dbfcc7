//! What the memory backend promises beyond the contract.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use wl_backends::memory::{MemoryBackend, MemorySettings};
use wl_core::model::SyncPath;
use wl_core::plugin::{BackendPlugin, ConnectContext, check_params};
use wl_core::storage::{
    Durability, ErrorKind, Expected, ListRequest, RemoveRequest, Row, SessionOptions,
    StorageBackend, TrashKeep, TrashState,
};

fn options(run: &str, trash_keep: TrashKeep) -> SessionOptions {
    SessionOptions {
        run: run.to_owned(),
        durability: Durability::Batch,
        trash_keep,
        cancel: tokio_util::sync::CancellationToken::new(),
    }
}

async fn remove(
    store: &MemoryBackend,
    run: &str,
    keep: TrashKeep,
) -> Arc<dyn wl_core::storage::WriteSession> {
    store.write_file("f", "old").unwrap();
    let path = SyncPath::new("f").unwrap();
    let meta = store.stat(&path).await.unwrap().unwrap();
    let session = store.begin(options(run, keep)).await.unwrap();
    let expected = Expected::of(&meta, None);
    let request = RemoveRequest { path, expected };
    session.remove(vec![request]).await.remove(0).unwrap();
    session
}

#[tokio::test]
async fn stores_of_one_name_are_one_store() {
    let (one, two) = (
        MemoryBackend::new("own-shared"),
        MemoryBackend::new("own-shared"),
    );
    one.write_file("f", "1").unwrap();
    assert_eq!(two.read_file("f").as_deref(), Some(b"1".as_slice()));
    assert_eq!(one.identity(), two.identity());
    assert!(MemoryBackend::new("own-other").snapshot().is_empty());
    let other = MemoryBackend::open("own-shared", MemorySettings::default().links(false));
    assert_eq!(
        other.unwrap_err().to_string(),
        "connecting to memory:own-shared: a store of this name is there with other settings; give it another name"
    );
}

#[tokio::test]
async fn it_is_registered_and_connects() {
    let mut plugins = inventory::iter::<BackendPlugin>().map(|plugin| plugin.0);
    let factory = plugins
        .find(|plugin| plugin.type_name() == "memory")
        .unwrap();
    let params = json!({"name": "own-plugin", "links": false});
    check_params("memory", factory.schema(), &params).unwrap();
    let backend = factory
        .connect(&params, &ConnectContext::default())
        .await
        .unwrap();
    assert!(!backend.capabilities().links && backend.capabilities().modes);
    assert_eq!(backend.location(), "memory:own-plugin");
    let faults = check_params("memory", factory.schema(), &json!({"nam": "x"})).unwrap_err();
    assert_eq!(faults.faults.len(), 2, "{faults}");
    let wrong = factory
        .connect(&json!({}), &ConnectContext::default())
        .await
        .unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn trouble_is_told_and_is_no_absence() {
    let store = MemoryBackend::private(MemorySettings::default());
    for path in ["a/x", "b", "c/d"] {
        store.write_file(path, "1").unwrap();
    }
    store.make_special("pipe").unwrap();
    store.set_unreadable("a", true).unwrap();
    store.set_unreadable("b", true).unwrap();
    store.add_odd_name("c", "\\xff").unwrap();
    let mut listing = store.list(ListRequest::everything("/tmp")).await.unwrap();
    let rows = listing.next().await.unwrap().unwrap();
    let shown: Vec<_> = rows
        .iter()
        .map(|row| match row {
            Row::Present(entry) => entry.key().to_text(),
            Row::Unknown { path, subtree, .. } => format!("unknown {path} {subtree}"),
            Row::Skipped(path) => format!("skipped {path}"),
            Row::Unrepresentable { parent, name, .. } => format!("odd {name} in {parent}"),
            other => panic!("{other:?}"),
        })
        .collect();
    let wanted = [
        "a/",
        "unknown a true",
        "unknown b false",
        "c/",
        "odd \\xff in c",
        "c/d",
        "skipped pipe",
    ];
    let mut sorted = shown.clone();
    sorted.sort();
    let mut wanted_sorted = wanted.to_vec();
    wanted_sorted.sort();
    assert_eq!(sorted, wanted_sorted);
    let order: Vec<_> = rows.iter().map(Row::key).collect();
    assert!(order.is_sorted(), "{shown:?}");
    store.set_available(false);
    let gone = store.list(ListRequest::everything("/tmp")).await;
    assert_eq!(gone.err().unwrap().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_late_writer_s_version_is_told_and_kept() {
    let store = MemoryBackend::private(MemorySettings::default());
    let session = remove(&store, "one", TrashKeep::None).await;
    let id = store.trash_list().await.unwrap().remove(0).id;
    store.write_to_trash(&id, "late").unwrap();
    session.finish().await.unwrap();
    let told = session.stranded().await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].kept, format!("in the trash as {id}"));
    assert!(session.stranded().await.is_empty(), "told once");
    for run in ["two", "three"] {
        let session = store.begin(options(run, TrashKeep::None)).await.unwrap();
        session.finish().await.unwrap();
    }
    let items = store.trash_list().await.unwrap();
    assert_eq!(items[0].state, TrashState::Late);
}

#[tokio::test]
async fn the_trash_keeps_for_as_long_as_told() {
    let store = MemoryBackend::private(MemorySettings::default());
    let keep = TrashKeep::For(Duration::from_secs(3600));
    remove(&store, "one", keep).await.finish().await.unwrap();
    for (run, hours, held) in [("two", 0, 1), ("three", 2, 0)] {
        store.pass_time(Duration::from_secs(hours * 3600));
        let session = store.begin(options(run, keep)).await.unwrap();
        session.finish().await.unwrap();
        assert_eq!(store.trash_list().await.unwrap().len(), held, "{run}");
    }
}

#[tokio::test]
async fn a_run_has_a_name_of_its_own() {
    let store = MemoryBackend::private(MemorySettings::default());
    let live = store.begin(options("run", TrashKeep::None)).await.unwrap();
    for name in ["run", "", "../x", "a/b"] {
        let begun = store.begin(options(name, TrashKeep::None)).await;
        assert_eq!(begun.unwrap_err().kind(), ErrorKind::Config, "{name:?}");
    }
    drop(live);
    store.begin(options("run", TrashKeep::None)).await.unwrap();
}
