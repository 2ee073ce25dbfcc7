//! Hashes that the server verifies: believed where it does, and only of the whole content of just this version.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::json;
use wl_core::model::{ContentHash, SyncPath};
use wl_core::plugin::{BackendPlugin, ConnectContext};
use wl_core::storage::*;
use wl_test_servers::faults::Fault;
use wl_test_servers::s3::Sums;

use super::*;
use crate::remote::store::{Attributes, Put};

const SUM: &str = "x-amz-checksum-sha256";

async fn start(sums: Option<Sums>) -> S3Server {
    let server = S3Server::builder().bucket("bucket").start().await;
    if let Some(sums) = sums {
        server.faults().sums(sums);
    }
    server
}

/// A connection after the server was tried out; what was sent for that is not counted.
async fn connect(server: &S3Server) -> Arc<dyn StorageBackend> {
    let params = json!({
        "s3_url": "s3://bucket",
        "endpoint_url": server.endpoint(),
        "credentials": {"access_key": server.access_key(), "secret_key": server.secret_key()},
    });
    let context = ConnectContext {
        writes: true,
        ..ConnectContext::default()
    };
    let mut plugins = inventory::iter::<BackendPlugin>();
    let plugin = plugins.find(|plugin| plugin.0.type_name() == "s3").unwrap();
    let backend = plugin.0.connect(&params, &context).await.unwrap();
    server.reset_counts();
    backend
}

fn file(at: &str, hash: ContentHash, payload: Payload) -> StageRequest {
    StageRequest {
        path: path(at),
        payload,
        hash,
        mtime: Some(MTIME),
        mode: None,
    }
}

/// Creates a file as the engine does: small ones at once, others in pieces.
async fn create(backend: &dyn StorageBackend, at: &str, content: &Bytes) {
    let options = SessionOptions {
        run: "run".to_owned(),
        durability: Durability::None,
        trash_keep: TrashKeep::default(),
        cancel: Default::default(),
    };
    let session = backend.begin(options).await.unwrap();
    let hash = ContentHash::of(content);
    let staged = if content.len() as u64 <= SMALL_FILE {
        let request = file(at, hash, Payload::Bytes(content.clone()));
        session.stage(vec![request]).await.remove(0).unwrap()
    } else {
        let request = file(at, hash, Payload::Bytes(Bytes::new()));
        let size = content.len() as u64;
        let writer = session.stage_large(request, size, &Expect::Absent).await;
        let mut writer = writer.unwrap();
        for piece in content.chunks(100_000) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        writer.finish(hash).await.unwrap()
    };
    let request = ReplaceRequest {
        path: path(at),
        staged,
        expect: Expect::Absent,
        listed: false,
    };
    let done = session.replace(vec![request]).await.remove(0);
    let token = done.unwrap().token;
    assert_eq!(backend.stat(&path(at)).await.unwrap().unwrap().token, token);
    session.finish().await.unwrap();
}

async fn hash(backend: &dyn StorageBackend, at: &str) -> Result<ContentHash> {
    let hashed = backend.hash(&path(at), &Default::default()).await?;
    let now = backend.stat(&path(at)).await?.unwrap();
    assert_eq!(hashed.meta.token, now.token);
    Ok(hashed.hash)
}

/// Counts the writes that come with a hash, from now on.
fn told_to_compare(server: &S3Server) -> Fault {
    let which = Which::operation("PutObject").with_header(SUM);
    server
        .faults()
        .add(which, When::Always, Action::after(|_| {}))
}

const SIZES: [usize; 4] = [0, 5, 300_000, 5 << 20];

/// The hash of what was written comes without the content, whatever way it was sent; not that of a file in parts.
#[tokio::test]
async fn a_hash_that_the_server_verified_is_told_without_reading() {
    let server = start(None).await;
    let backend = connect(&server).await;
    let compared = told_to_compare(&server);
    for size in SIZES {
        let (name, content) = (format!("d/{size}"), noise(size));
        create(&*backend, &name, &content).await;
        let object = server.store().get("bucket", &name).unwrap();
        assert_eq!(object.content, content);
        assert_eq!(object.metadata["mtime"], "1700000000.123456789");
        assert_eq!(
            hash(&*backend, &name).await.unwrap(),
            ContentHash::of(&content)
        );
    }
    assert_eq!(compared.fired(), SIZES.len() as u64);
    assert_eq!(server.record().count("GetObject"), 0);
    let large = noise((5 << 20) + 1);
    create(&*backend, "large", &large).await;
    assert_eq!(
        hash(&*backend, "large").await.unwrap(),
        ContentHash::of(&large)
    );
    assert!(server.record().count("GetObject") > 0);
}

/// A server that does not compare is told nothing and asked nothing.
#[tokio::test]
async fn a_server_that_does_not_compare_is_not_believed() {
    for sums in [Sums::Ignored, Sums::Believed] {
        let server = start(Some(sums)).await;
        let backend = connect(&server).await;
        let compared = told_to_compare(&server);
        for size in SIZES {
            let (name, content) = (format!("d/{size}"), noise(size));
            create(&*backend, &name, &content).await;
            let sum = STANDARD.encode(ContentHash::of(b"another").as_bytes());
            assert!(server.store().set_sha256("bucket", &name, &sum, false));
            assert_eq!(
                hash(&*backend, &name).await.unwrap(),
                ContentHash::of(&content)
            );
        }
        assert_eq!(compared.fired(), 0, "{sums:?}");
        assert_eq!(server.record().count("GetObject"), 3, "{sums:?}");
        assert_eq!(server.store().keys("bucket").len(), SIZES.len());
    }
}

/// The hash of the parts' hashes is none of the content; what cannot be read is none either, nor is what a writer noted.
#[tokio::test]
async fn what_is_no_hash_of_the_content_is_not_taken_for_one() {
    let server = start(None).await;
    let backend = connect(&server).await;
    let other = ContentHash::of(b"another");
    let sum = STANDARD.encode(other.as_bytes());
    let long = format!("{sum}AAAA");
    let parts = format!("{sum}-3");
    let told = [
        (Some(&*parts), true),
        (Some(&*parts), false),
        (Some(&*sum), true),
        (Some(&*long), false),
        (Some(""), false),
        (Some("@@@"), false),
        (None, false),
    ];
    for (number, (told, composite)) in told.into_iter().enumerate() {
        let name = format!("f{number}");
        let noted = [("sha256", &*other.to_string())].map(|(a, b)| (a, b.to_owned()));
        let noted = noted.each_ref().map(|(a, b)| (*a, &**b));
        server.store().put_with("bucket", &name, "content", &noted);
        if let Some(told) = told {
            server.store().set_sha256("bucket", &name, told, composite);
        }
        server.reset_counts();
        let hash = hash(&*backend, &name).await.unwrap();
        assert_eq!(hash, ContentHash::of(b"content"), "{told:?} {composite}");
        assert_eq!(server.record().count("GetObject"), 1);
    }
}

/// A version that comes between the look and the question gets no hash of another, and gives none.
#[tokio::test]
async fn a_hash_is_that_of_the_version_that_was_seen() {
    let server = start(None).await;
    let backend = connect(&server).await;
    create(&*backend, "f", &Bytes::from_static(b"old")).await;
    let store = server.store().clone();
    let editor = Action::before(move |_| {
        store.put("bucket", "f", "new");
        let sum = STANDARD.encode(ContentHash::of(b"new").as_bytes());
        store.set_sha256("bucket", "f", &sum, false);
    });
    let which = Which::operation("HeadObject").with_header("x-amz-checksum-mode");
    let planned = server.faults().add(which, When::Next(1), editor);
    let error = hash(&*backend, "f").await.unwrap_err();
    assert_eq!((error.kind(), planned.fired()), (ErrorKind::Busy, 1));
    assert_eq!(hash(&*backend, "f").await.unwrap(), ContentHash::of(b"new"));
}

/// Trouble with the question is no trouble: the content is read.
#[tokio::test]
async fn a_server_that_does_not_answer_is_read() {
    let server = start(None).await;
    let backend = connect(&server).await;
    create(&*backend, "f", &Bytes::from_static(b"content")).await;
    let which = || Which::operation("HeadObject").with_header("x-amz-checksum-mode");
    for refusal in [Refusal::access_denied(), Refusal::slow_down()] {
        let planned = server.faults().refuse(which(), When::Next(1), refusal);
        let hash = hash(&*backend, "f").await.unwrap();
        assert_eq!((hash, planned.fired()), (ContentHash::of(b"content"), 1));
    }
}

/// What arrives as something else is refused, and conditions hold as ever.
#[tokio::test]
async fn content_that_changed_on_its_way_is_refused() {
    let (server, store) = server_and_direct().await;
    let put = async |content: &str, hash: &str, condition: &Condition| {
        let attributes = Attributes {
            hash: Some(ContentHash::of(hash.as_bytes())),
            verify: true,
            ..attributes("op-1")
        };
        let put = Put {
            path: &path("f"),
            content: Bytes::copy_from_slice(content.as_bytes()),
            attributes: &attributes,
            condition,
            seen: None,
            scratch: &path(".wl/scratch/1"),
        };
        store.put(put).await
    };
    let fault = put("changed", "meant", &Condition::Absent)
        .await
        .unwrap_err();
    assert!(
        !fault.unclear && fault.error.kind() != ErrorKind::Changed,
        "{fault:?}"
    );
    assert!(server.get("bucket", "f").is_none());
    let made = put("one", "one", &Condition::Absent).await.unwrap();
    let taken = put("two", "two", &Condition::Absent).await.unwrap_err();
    assert_eq!(taken.error.kind(), ErrorKind::Changed);
    let is = Condition::Is(made.tag.clone().unwrap());
    put("two", "two", &is).await.unwrap();
    let stale = put("six", "six", &is).await.unwrap_err();
    assert_eq!(stale.error.kind(), ErrorKind::Changed);
    let tag = made.tag.unwrap();
    assert_eq!(store.verified_hash(&path("f"), &tag).await.unwrap(), None);
    let none = SyncPath::new("none").unwrap();
    assert_eq!(store.verified_hash(&none, &tag).await.unwrap(), None);
}

async fn server_and_direct() -> (S3Server, OpendalStore) {
    let server = start(None).await;
    let store = crate::opendal::s3::tests::direct_store_of(&json!({
        "s3_url": "s3://bucket",
        "endpoint_url": server.endpoint(),
        "region": server.region(),
        "credentials": {"access_key": server.access_key(), "secret_key": server.secret_key()},
    }));
    (server, store.unwrap())
}
