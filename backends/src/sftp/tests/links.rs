//! What the contract says of links, through the engine: a real server follows them in every path it is given.

use std::sync::Arc;

use async_trait::async_trait;
use wl_core::plugin::ConnectContext;
use wl_core::storage::StorageBackend;
use wl_core::testing::conformance::{self, Editor, Harness};

use super::*;
use crate::remote::RemoteBackend;

struct Lab {
    folder: Arc<tempfile::TempDir>,
    backend: Arc<dyn StorageBackend>,
}

impl Lab {
    async fn new() -> Self {
        let place = Place::new().await;
        let context = ConnectContext {
            writes: true,
            ..ConnectContext::default()
        };
        let backend = RemoteBackend::connect("sftp", Arc::new(place.store), &context).await;
        Self {
            folder: Arc::new(place.folder),
            backend: Arc::new(backend.expect("connected")),
        }
    }
}

#[async_trait]
impl Harness for Lab {
    fn backend(&self) -> Arc<dyn StorageBackend> {
        Arc::clone(&self.backend)
    }

    fn second(&self) -> Arc<dyn StorageBackend> {
        Arc::clone(&self.backend)
    }

    fn editor(&self) -> Arc<dyn Editor> {
        Arc::new(Hand(Arc::clone(&self.folder)))
    }
}

struct Hand(Arc<tempfile::TempDir>);

#[async_trait]
impl Editor for Hand {
    async fn write(&self, path: &str, content: &[u8]) {
        let at = self.0.path().join(path);
        std::fs::create_dir_all(at.parent().expect("a folder")).expect("made");
        std::fs::write(at, content).expect("written");
    }

    async fn write_in_place(&self, path: &str, content: &[u8]) {
        self.write(path, content).await;
    }

    async fn remove(&self, path: &str) {
        std::fs::remove_file(self.0.path().join(path)).expect("removed");
    }

    async fn make_folder(&self, path: &str) {
        std::fs::create_dir_all(self.0.path().join(path)).expect("made");
    }

    async fn make_link(&self, path: &str, target: &str) {
        std::os::unix::fs::symlink(target, self.0.path().join(path)).expect("made");
    }

    async fn read(&self, path: &str) -> Option<Vec<u8>> {
        std::fs::read(self.0.path().join(path)).ok()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_path_leads_through_a_link() {
    conformance::links_are_kept(&Lab::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_and_files_take_each_others_place() {
    conformance::links_are_compared_by_target(&Lab::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_hashed_through_a_link() {
    let lab = Lab::new().await;
    lab.editor().write("d/x", b"inside").await;
    lab.editor().make_link("l", "d").await;
    let cancel = tokio_util::sync::CancellationToken::new();
    let hashed = lab.backend.hash(&path("l/x"), &cancel).await;
    assert_eq!(hashed.expect_err("refused").kind(), ErrorKind::NotFound);
    assert!(lab.backend.hash(&path("d/x"), &cancel).await.is_ok());
}
