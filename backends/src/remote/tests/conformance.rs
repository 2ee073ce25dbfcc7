//! The contract, on stores that can do much and on ones that can do little.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use wl_core::plugin::ConnectContext;
use wl_core::storage::StorageBackend;
use wl_core::testing::conformance::{Editor, Harness};

use crate::remote::RemoteBackend;
use crate::remote::fake::{Body, CLOCK, FakeSettings, FakeStore};
use crate::remote::store::Attributes;

/// A store and a backend on it.
pub(super) struct Lab {
    pub(super) store: FakeStore,
    backend: RemoteBackend,
}

pub(super) async fn connect(store: &FakeStore) -> RemoteBackend {
    let context = ConnectContext {
        writes: true,
        ..ConnectContext::default()
    };
    RemoteBackend::connect("fake", Arc::new(store.clone()), &context)
        .await
        .unwrap()
}

impl Lab {
    async fn new(settings: FakeSettings) -> Self {
        let store = FakeStore::new(settings);
        let backend = connect(&store).await;
        Self { store, backend }
    }
}

#[async_trait]
impl Harness for Lab {
    fn backend(&self) -> Arc<dyn StorageBackend> {
        Arc::new(self.backend.clone())
    }

    fn second(&self) -> Arc<dyn StorageBackend> {
        Arc::new(self.backend.clone())
    }

    fn editor(&self) -> Arc<dyn Editor> {
        Arc::new(Hand(self.store.clone()))
    }

    async fn settle(&self) {
        if !self.store.settings.tags {
            // The only way for a time to age is that time passes.
            tokio::time::sleep(Duration::from_nanos(4 * CLOCK)).await;
        }
    }
}

struct Hand(FakeStore);

#[async_trait]
impl Editor for Hand {
    async fn write(&self, path: &str, content: &[u8]) {
        self.0.world().edit(path, content);
    }

    async fn write_in_place(&self, path: &str, content: &[u8]) {
        self.0.world().edit(path, content);
    }

    async fn remove(&self, path: &str) {
        self.0.world().delete(path);
    }

    async fn make_folder(&self, path: &str) {
        self.0.world().make_folders(path);
    }

    async fn make_link(&self, path: &str, target: &str) {
        let mut world = self.0.world();
        world.make_folders(path.rfind('/').map_or("", |at| &path[..at]));
        world.insert(path, Body::Link(target.to_owned()), &Attributes::default());
    }

    async fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.0.world().content(path)
    }
}

mod flat_and_atomic {
    wl_core::conformance_tests!(super::Lab::new(super::FakeSettings::s3()).await);
}

mod flat_and_lying {
    wl_core::conformance_tests!(super::Lab::new(super::FakeSettings::lying_s3()).await);
}

mod folders_with_locks {
    wl_core::conformance_tests!(super::Lab::new(super::FakeSettings::webdav()).await);
}

mod folders_without_tags {
    wl_core::conformance_tests!(super::Lab::new(super::FakeSettings::sftp()).await);
}

mod folders_only {
    wl_core::conformance_tests!(super::Lab::new(super::FakeSettings::ftp()).await);
}

mod folding_case {
    use super::FakeSettings;

    fn settings() -> FakeSettings {
        let mut settings = FakeSettings::webdav();
        settings.facts.folds_case = true;
        settings
    }
    wl_core::conformance_tests!(super::Lab::new(settings()).await);
}

mod read_only {
    use super::FakeSettings;

    fn settings() -> FakeSettings {
        let mut settings = FakeSettings::s3();
        settings.facts.writable = false;
        settings
    }
    wl_core::conformance_tests!(super::Lab::new(settings()).await);
}
