//! S3: our own server, whose signatures and conditions are real.

use serde_json::{Value, json};
use wl_core::model::{Kind, Mode};
use wl_core::storage::ErrorKind;
use wl_test_servers::faults::{Action, Refusal, When, Which};
use wl_test_servers::s3::{IfMatchOnAbsent, S3Server};

use super::kit::{MTIME, attributes, keys, kind, names, noise, path, put, read, upload};
use crate::opendal::s3::tests::{direct_store_of, store_of};
use crate::opendal::store::OpendalStore;
use crate::remote::store::{Again, Condition, Store, UploadRequest};

mod sums;
mod writing;

async fn server() -> (S3Server, OpendalStore) {
    let server = S3Server::builder()
        .bucket("bucket")
        .if_match_on_absent(IfMatchOnAbsent::Failed)
        .start()
        .await;
    let store = store_at(&server, "s3://bucket/pre/fix", server.secret_key());
    (server, store)
}

fn store_at(server: &S3Server, url: &str, secret: &str) -> OpendalStore {
    store_of(&params(server, url, secret)).unwrap()
}

fn params(server: &S3Server, url: &str, secret: &str) -> Value {
    json!({
        "s3_url": url,
        "endpoint_url": server.endpoint(),
        "region": server.region(),
        "credentials": {"access_key": server.access_key(), "secret_key": secret},
    })
}

#[tokio::test]
async fn what_is_written_is_read_with_its_notes() {
    let (server, store) = server().await;
    let written = put(&store, "a/b", "content", &Condition::None)
        .await
        .unwrap();
    let object = server.get("bucket", "pre/fix/a/b").unwrap();
    assert_eq!(object.content, "content");
    assert_eq!(object.metadata["mtime"], "1700000000.123456789");
    assert_eq!(object.metadata["mode"], "100640");
    assert_eq!(object.metadata["wl-op"], "op-1");
    assert_eq!(object.metadata["sha256"].len(), 64);
    let stat = store.stat(&path("a/b")).await.unwrap().unwrap();
    let listed = keys(&store, "", None).await.remove(0);
    server.reset_counts();
    let (found, content) = read(&store, "a/b", 0..7, stat.tag.as_deref())
        .await
        .unwrap();
    assert_eq!(
        server.counts().values().sum::<u64>(),
        1,
        "one request reads a file and its notes"
    );
    let found = found.unwrap();
    assert_eq!(content, b"content");
    for told in [&written, &stat, &found] {
        assert_eq!((told.kind, told.size), (Kind::File, 7));
        assert_eq!(told.noted.mtime, Some(MTIME));
        assert_eq!(told.noted.mode, Some(Mode::new(0o640)));
        assert_eq!(told.operation.as_deref(), Some("op-1"));
        assert!(told.tag.is_some());
        assert_eq!(told.tag, listed.found.tag);
    }
    assert_eq!(listed.name, "a/b");
    assert_eq!(listed.found.size, 7);
    assert!(listed.found.modified.is_some());
}

#[tokio::test]
async fn ranges_and_empty_files_are_read() {
    let (_server, store) = server().await;
    put(&store, "f", "0123456789", &Condition::None)
        .await
        .unwrap();
    let (found, content) = read(&store, "f", 3..7, None).await.unwrap();
    assert_eq!(
        (content.as_slice(), found.unwrap().size),
        (&b"3456"[..], 10)
    );
    let empty = put(&store, "e", "", &Condition::None).await.unwrap();
    let (found, content) = read(&store, "e", 0..0, empty.tag.as_deref()).await.unwrap();
    assert_eq!((content.len(), found.unwrap().size), (0, 0));
    assert_eq!(
        kind(read(&store, "gone", 0..0, None).await),
        ErrorKind::NotFound
    );
    assert_eq!(
        kind(read(&store, "gone", 0..5, None).await),
        ErrorKind::NotFound
    );
    assert_eq!(
        kind(read(&store, "e", 0..0, Some("\"old\"")).await),
        ErrorKind::Busy
    );
    assert_eq!(
        kind(read(&store, "f", 0..10, Some("\"old\"")).await),
        ErrorKind::Busy
    );
    // Shorter than the listing said.
    assert!(read(&store, "f", 0..20, None).await.is_err());
}

#[tokio::test]
async fn a_reply_that_is_cut_short_is_no_content() {
    let (server, store) = server().await;
    put(&store, "f", "0123456789", &Condition::None)
        .await
        .unwrap();
    let cut = server
        .faults()
        .cut_body(Which::operation("GetObject"), When::Always);
    assert!(read(&store, "f", 0..10, None).await.is_err());
    assert_eq!(cut.fired(), 1);
}

#[tokio::test]
async fn keys_come_in_order_page_by_page_without_a_look_at_each() {
    let (server, store) = server().await;
    let mut wanted = Vec::new();
    for number in 0..2500 {
        let name = format!("d{}/f{number:05}", number % 7);
        server.put("bucket", &format!("pre/fix/{name}"), "x");
        wanted.push(name);
    }
    server.put("bucket", "pre/fixed", "not ours");
    server.put("bucket", "pre/fiw", "not ours");
    wanted.sort();
    server.reset_counts();
    assert_eq!(names(&store, "", None).await, wanted);
    assert_eq!(
        server.counts().into_iter().collect::<Vec<_>>(),
        [("ListObjectsV2".to_owned(), 3)]
    );
    let below: Vec<_> = wanted
        .iter()
        .filter(|name| name.starts_with("d3/"))
        .cloned()
        .collect();
    assert_eq!(names(&store, "d3/", None).await, below);
    let after = wanted.partition_point(|name| name.as_str() <= "d3/f00100");
    assert_eq!(names(&store, "", Some("d3/f00100")).await, &wanted[after..]);
}

#[tokio::test]
async fn odd_keys_are_told_as_they_are() {
    let (server, store) = server().await;
    let odd = [
        "a//b",
        "./x",
        "../y",
        "z/.",
        "tail ",
        " head",
        "in ner/ x /y",
        "\\back",
        "tab\there",
        "é+%25 &<>'\"",
        "🙂",
        "a/",
        "q",
        "q/r",
        "nl\nx",
    ];
    for name in odd {
        server.put(
            "bucket",
            &format!("pre/fix/{name}"),
            if name.ends_with('/') { "" } else { "x" },
        );
    }
    server.put("bucket", "pre/fix/", "");
    let mut wanted = odd.map(str::to_owned).to_vec();
    wanted.sort();
    assert_eq!(names(&store, "", None).await, wanted);
    // opendal would read `tail` instead.
    assert_eq!(
        kind(store.stat(&path("tail ")).await),
        ErrorKind::Unrepresentable
    );
    assert_eq!(
        kind(read(&store, " head", 0..1, None).await),
        ErrorKind::Unrepresentable
    );
    for name in ["tail ", " head", "\\back", "cr\rx", "esc\u{1b}x"] {
        assert!(store.refuses(&path(name)).is_some(), "{name:?}");
    }
    for name in [
        "nl\nx",
        "tab\there",
        "in ner/ x /y",
        "é+%25 &<>'\"",
        "🙂",
        "a",
    ] {
        assert_eq!(store.refuses(&path(name)), None, "{name:?}");
    }
    let long = "x".repeat(1024 - "pre/fix/".len());
    assert_eq!(store.refuses(&path(&long)), None);
    assert!(store.refuses(&path(&format!("{long}x"))).is_some());
}

#[tokio::test]
async fn folders_are_markers_or_what_is_below() {
    let (server, store) = server().await;
    server.put("bucket", "pre/fix/marked/", "");
    server.put("bucket", "pre/fix/full/", "content");
    server.put("bucket", "pre/fix/implied/x", "x");
    for name in ["marked", "implied", ""] {
        let found = store.stat(&path(name)).await.unwrap().unwrap();
        assert_eq!(found.kind, Kind::Folder, "{name}");
    }
    assert!(store.stat(&path("impl")).await.unwrap().is_none());
    let rows = keys(&store, "", None).await;
    let row = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
    assert_eq!(
        (row("marked/").found.kind, row("marked/").found.size),
        (Kind::Folder, 0)
    );
    assert_eq!(
        (row("full/").found.kind, row("full/").found.size),
        (Kind::File, 7)
    );
    store.remove_folder(&path("marked")).await.unwrap();
    store.remove_folder(&path("marked")).await.unwrap();
    assert!(server.get("bucket", "pre/fix/marked/").is_none());
}

#[tokio::test]
async fn errors_say_what_to_do() {
    let (server, store) = server().await;
    let wrong = store_at(&server, "s3://bucket", "not the secret key");
    let fault = wrong.stat(&path("")).await.unwrap_err();
    assert_eq!(fault.error.kind(), ErrorKind::Credentials);
    assert!(
        fault.error.reason().contains("secret key"),
        "{}",
        fault.error.reason()
    );
    let none = store_at(&server, "s3://nobucket", server.secret_key());
    assert_eq!(kind(none.stat(&path("x")).await), ErrorKind::Unavailable);
    assert_eq!(
        kind(put(&none, "x", "x", &Condition::None).await),
        ErrorKind::Unavailable
    );
    for (refusal, kind, says) in [
        (Refusal::time_too_skewed(), ErrorKind::Credentials, "clock"),
        (Refusal::access_denied(), ErrorKind::Denied, "access denied"),
        (Refusal::slow_down(), ErrorKind::Temporary, "fewer requests"),
    ] {
        let planned = server
            .faults()
            .refuse(Which::operation("PutObject"), When::Always, refusal);
        let fault = put(&store, "x", "x", &Condition::None).await.unwrap_err();
        assert_eq!(planned.fired(), 1, "each operation is done once");
        planned.remove();
        assert_eq!(fault.error.kind(), kind);
        assert!(
            fault.error.reason().contains(says),
            "{}",
            fault.error.reason()
        );
    }
    let nobody = store_at(&server, "s3://bucket", server.secret_key());
    drop(server);
    let fault = put(&nobody, "x", "x", &Condition::None).await.unwrap_err();
    assert_eq!(
        fault.error.kind(),
        ErrorKind::Unavailable,
        "{}",
        fault.error.reason()
    );
    assert_eq!(fault.again, Again::After(None));
    assert!(!fault.unclear, "nothing was sent");
}
