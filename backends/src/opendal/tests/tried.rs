//! What servers of others are found to do when they are tried out.

use super::kit::{kind, path, put};
use crate::opendal::s3::tests::direct_store_of;
use crate::remote::store::{Condition, Store as _};
use serde_json::{Value, json};
use wl_core::plugin::{BackendPlugin, ConnectContext};
use wl_core::storage::ErrorKind;
use wl_test_servers::services::{Azurite, FakeGcs, S3Service, rclone_s3, seaweedfs};

/// What is remembered of the one server that was tried.
async fn found(type_name: &str, params: Value) -> Value {
    let state = tempfile::tempdir().unwrap();
    let context = ConnectContext {
        writes: true,
        state_dir: Some(state.path().into()),
        ..ConnectContext::default()
    };
    let mut plugins = inventory::iter::<BackendPlugin>();
    let plugin = plugins.find(|plugin| plugin.0.type_name() == type_name);
    plugin.unwrap().0.connect(&params, &context).await.unwrap();
    let text = std::fs::read(state.path().join("servers.json")).unwrap();
    let servers: Value = serde_json::from_slice(&text).unwrap();
    servers
        .as_object()
        .unwrap()
        .values()
        .next()
        .unwrap()
        .clone()
}

fn s3(server: &S3Service) -> Value {
    json!({
        "s3_url": format!("s3://{}", server.bucket()),
        "endpoint_url": server.endpoint(),
        "region": server.region(),
        "credentials": {"access_key": server.access_key(), "secret_key": server.secret_key()},
    })
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask services install"]
async fn azurite_keeps_to_conditions_on_large_files() {
    let server = Azurite::start().unwrap();
    let params = json!({
        "blob_container": server.container(),
        "account_name": server.account(),
        "endpoint_url": server.endpoint(),
        "credentials": {"account_key": server.account_key()},
    });
    let found = found("azblob", params).await;
    println!("{found:#}");
    assert_eq!(found["cas"], "atomic");
    assert_eq!(found["large"], true);
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask services install"]
async fn a_fake_of_google_is_found_out() {
    let server = FakeGcs::start().unwrap();
    let params = json!({
        "bucket": server.bucket(),
        "endpoint_url": server.endpoint(),
        "anonymous": true,
    });
    let found = found("gcs", params).await;
    println!("{found:#}");
    assert_eq!(found["cas"], "checked");
    assert_eq!(found["large"], false);
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask services install"]
async fn servers_that_do_not_compare_hashes_are_found_out() {
    for server in [seaweedfs().unwrap(), rclone_s3().unwrap()] {
        let found = found("s3", s3(&server)).await;
        println!("{}: {found:#}", server.endpoint());
        assert_eq!(found["verifies"], false);
    }
}

/// And a folder that holds something survives that somebody removes it.
#[tokio::test]
#[ignore = "needs servers: cargo xtask services install"]
async fn seaweedfs_has_folders_that_emptied_until_they_are_cleared_away() {
    let server = seaweedfs().unwrap();
    let store = direct_store_of(&s3(&server)).unwrap();
    for key in ["q/r/x", "full/x"] {
        put(&store, key, "1", &Condition::Absent).await.unwrap();
    }
    assert!(!store.clear_emptied(&path("full")).await.unwrap());
    store.operator.delete("full/").await.unwrap();
    assert!(store.file(&path("full/x")).await.unwrap().is_some());

    store
        .remove(&path("q/r/x"), &Condition::None)
        .await
        .unwrap();
    assert!(store.stat(&path("q")).await.unwrap().is_none());
    let refused = put(&store, "q", "2", &Condition::Absent).await;
    assert_eq!(kind(refused), ErrorKind::Changed);
    assert!(store.clear_emptied(&path("q")).await.unwrap());
    put(&store, "q", "2", &Condition::Absent).await.unwrap();
    assert!(!store.clear_emptied(&path("q")).await.unwrap());
    assert_eq!(store.file(&path("q")).await.unwrap().unwrap().size, 1);
}
