//! The store against servers that were started by hand. `WL_TEST_AZBLOB`, `WL_TEST_S3`: the parameters of the storage, as JSON.

use serde_json::Value;

use super::kit::{keys, kind, noise, path, put, read, upload};
use crate::opendal::store::OpendalStore;
use crate::remote::store::{Condition, Found, Store};
use wl_core::storage::ErrorKind;

fn given(variable: &str) -> Value {
    let text = std::env::var(variable).expect("the parameters of a storage");
    serde_json::from_str(&text).unwrap()
}

fn is(tag: &Option<Box<str>>) -> Condition {
    Condition::Is(tag.clone().unwrap())
}

async fn large_works(store: &OpendalStore, stale: &Condition) {
    let large = noise(11 * 1024 * 1024);
    let big = upload(store, "d/big", &large, &Condition::Absent)
        .await
        .unwrap();
    assert_eq!(
        kind(upload(store, "d/big", &large, &Condition::Absent).await),
        ErrorKind::Changed
    );
    assert_eq!(
        kind(upload(store, "d/big", &large, stale).await),
        ErrorKind::Changed
    );
    let big_stat = store.stat(&path("d/big")).await.unwrap().unwrap();
    assert_eq!(
        (&big_stat.tag, big_stat.operation.as_deref()),
        (&big.tag, Some("op-2"))
    );
    let (_, content) = read(store, "d/big", 0..big.size, None).await.unwrap();
    assert!(content == large, "other content");
}

async fn copies_work(store: &OpendalStore, stat: &Found, stale: Option<&str>) {
    let copied = store
        .copy(&path("d/f"), stat.tag.as_deref(), &path("d/g"), true)
        .await
        .unwrap();
    let copy = store.stat(&path("d/g")).await.unwrap().unwrap();
    assert_eq!((copied.tag, copied.size), (copy.tag, copy.size));
    assert_eq!(copy.noted, stat.noted);
    assert_eq!(
        kind(store.copy(&path("d/f"), None, &path("d/g"), true).await),
        ErrorKind::Changed
    );
    assert_eq!(
        kind(store.copy(&path("d/f"), stale, &path("d/h"), true).await),
        ErrorKind::Changed
    );
}

/// One of all.
async fn works(store: &OpendalStore) {
    let first = put(store, "d/f", "1", &Condition::Absent).await.unwrap();
    assert_eq!(
        kind(put(store, "d/f", "2", &Condition::Absent).await),
        ErrorKind::Changed
    );
    let second = put(store, "d/f", "22", &is(&first.tag)).await.unwrap();
    assert_eq!(
        kind(put(store, "d/f", "3", &is(&first.tag)).await),
        ErrorKind::Changed
    );
    let stat = store.stat(&path("d/f")).await.unwrap().unwrap();
    assert_eq!(
        (&stat.tag, stat.operation.as_deref()),
        (&second.tag, Some("op-1"))
    );
    assert_eq!(stat.noted, second.noted);
    let (found, content) = read(store, "d/f", 0..2, stat.tag.as_deref()).await.unwrap();
    assert_eq!(
        (content.as_slice(), found.unwrap().tag),
        (&b"22"[..], stat.tag.clone())
    );
    assert_eq!(
        kind(read(store, "d/f", 0..2, first.tag.as_deref()).await),
        ErrorKind::Busy
    );
    let empty = put(store, "d/e", "", &Condition::None).await.unwrap();
    assert_eq!(
        store.stat(&path("d/e")).await.unwrap().unwrap().tag,
        empty.tag
    );
    large_works(store, &is(&first.tag)).await;
    copies_work(store, &stat, first.tag.as_deref()).await;
    let rows = keys(store, "", None).await;
    let names: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["d/big", "d/e", "d/f", "d/g"]);
    assert_eq!(rows[2].found.tag, stat.tag);
    assert_eq!(
        kind(store.remove(&path("d/f"), &is(&first.tag)).await),
        ErrorKind::Changed
    );
    store.remove(&path("d/f"), &is(&stat.tag)).await.unwrap();
    for name in ["d/big", "d/e", "d/g"] {
        store.remove(&path(name), &Condition::None).await.unwrap();
    }
    assert!(store.stat(&path("d")).await.unwrap().is_none());
}

#[tokio::test]
#[ignore = "needs a server: set WL_TEST_S3"]
async fn s3_works() {
    let store = crate::opendal::s3::tests::store_of(&given("WL_TEST_S3")).unwrap();
    works(&store).await;
}

#[tokio::test]
#[ignore = "needs a server: set WL_TEST_AZBLOB"]
async fn azblob_works() {
    works(&crate::opendal::azblob::store_of(&given("WL_TEST_AZBLOB")).unwrap()).await;
}
