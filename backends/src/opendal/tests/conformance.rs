//! The contract through the engine, on an S3 server in this process: one that keeps to conditions, and one that does not.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use wl_core::plugin::{BackendPlugin, ConnectContext};
use wl_core::storage::StorageBackend;
use wl_core::testing::conformance::{Editor, Harness};
use wl_test_servers::s3::{S3Server, Store};

use crate::opendal::s3::tests::copying;
use crate::remote::RemoteBackend;

const BUCKET: &str = "bucket";
/// The storage lies below a prefix, and something beside it.
const PREFIX: &str = "a/b";

/// A server, a backend on a prefix of its bucket, and another connection to it.
struct Lab {
    server: S3Server,
    backends: [Arc<dyn StorageBackend>; 2],
}

fn params(server: &S3Server) -> Value {
    json!({
        "s3_url": format!("s3://{BUCKET}/{PREFIX}"),
        "endpoint_url": server.endpoint(),
        "credentials": {"access_key": server.access_key(), "secret_key": server.secret_key()},
    })
}

fn context() -> ConnectContext {
    ConnectContext {
        writes: true,
        ..ConnectContext::default()
    }
}

async fn connect(server: &S3Server) -> Arc<dyn StorageBackend> {
    let mut plugins = inventory::iter::<BackendPlugin>();
    let plugin = plugins.find(|plugin| plugin.0.type_name() == "s3").unwrap();
    let backend = plugin.0.connect(&params(server), &context()).await;
    backend.unwrap()
}

/// A server that copies no more at once than this, and a backend that knows it.
const COPY_MOST: u64 = 4;

async fn connect_copying_little(server: &S3Server) -> Arc<dyn StorageBackend> {
    let store = copying(&params(server), COPY_MOST, COPY_MOST - 1).unwrap();
    let backend = RemoteBackend::connect("s3", Arc::new(store), &context()).await;
    Arc::new(backend.unwrap())
}

impl Lab {
    async fn new() -> Self {
        Self::on(S3Server::builder().bucket(BUCKET).start().await).await
    }

    async fn lying() -> Self {
        let server = S3Server::builder().bucket(BUCKET).start().await;
        server.faults().ignore_all_conditions();
        Self::on(server).await
    }

    /// Lists folder by folder, keeps folders that emptied, and copies all but the smallest only part by part.
    async fn seaweed() -> Self {
        let server = S3Server::builder().bucket(BUCKET).folders_first();
        let server = server.keeps_emptied_folders();
        let server = server.max_copy(COPY_MOST as usize).min_part_size(1);
        let server = server.start().await;
        let backends = [
            connect_copying_little(&server).await,
            connect_copying_little(&server).await,
        ];
        Self { server, backends }
    }

    async fn on(server: S3Server) -> Self {
        server.store().put(BUCKET, "a/bc", "beside the prefix");
        let backends = [connect(&server).await, connect(&server).await];
        Self { server, backends }
    }
}

#[async_trait]
impl Harness for Lab {
    fn backend(&self) -> Arc<dyn StorageBackend> {
        Arc::clone(&self.backends[0])
    }

    fn second(&self) -> Arc<dyn StorageBackend> {
        Arc::clone(&self.backends[1])
    }

    fn editor(&self) -> Arc<dyn Editor> {
        Arc::new(Hand(self.server.store()))
    }
}

struct Hand(Store);

fn key(path: &str) -> String {
    format!("{PREFIX}/{path}")
}

#[async_trait]
impl Editor for Hand {
    async fn write(&self, path: &str, content: &[u8]) {
        self.0.put(BUCKET, &key(path), content.to_vec());
    }

    async fn write_in_place(&self, path: &str, content: &[u8]) {
        self.write(path, content).await;
    }

    async fn remove(&self, path: &str) {
        self.0.delete(BUCKET, &key(path));
        for below in self.0.keys(BUCKET) {
            if below.starts_with(&format!("{}/", key(path))) {
                self.0.delete(BUCKET, &below);
            }
        }
    }

    async fn make_folder(&self, _: &str) {}

    async fn make_link(&self, _: &str, _: &str) {
        panic!("there are no links here");
    }

    async fn read(&self, path: &str) -> Option<Vec<u8>> {
        let object = self.0.get(BUCKET, &key(path))?;
        Some(object.content.to_vec())
    }
}

mod honest {
    wl_core::conformance_tests!(super::Lab::new().await);
}

mod lying {
    wl_core::conformance_tests!(super::Lab::lying().await);
}

mod small_copies {
    wl_core::conformance_tests!(super::Lab::seaweed().await);
}

#[tokio::test]
async fn the_grade_is_what_the_server_does() {
    use wl_core::storage::CasGrade;
    let honest = Lab::new().await;
    assert_eq!(honest.backend().capabilities().cas, CasGrade::Atomic);
    assert!(honest.backend().capabilities().rename);
    let small = Lab::seaweed().await;
    assert_eq!(small.backend().capabilities().cas, CasGrade::Atomic);
    assert!(small.backend().capabilities().rename);
    let lying = Lab::lying().await;
    assert_eq!(lying.backend().capabilities().cas, CasGrade::Checked);
    assert!(!lying.backend().capabilities().rename);
    for lab in [honest, lying] {
        assert_eq!(
            lab.server.store().keys(BUCKET),
            ["a/bc"],
            "probes are tidied"
        );
    }
}
