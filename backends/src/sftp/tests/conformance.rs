//! The contract, through the engine, on a folder behind `sftp-server`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use wl_core::plugin::ConnectContext;
use wl_core::storage::{CasGrade, StorageBackend};
use wl_core::testing::conformance::{Editor, Harness, all_at_once};

use super::{server, store_at};
use crate::local::tests::conformance::Hand;
use crate::remote::RemoteBackend;

/// A folder, and two backends on it, each with a connection of its own.
struct Lab {
    folder: tempfile::TempDir,
    backend: RemoteBackend,
    second: RemoteBackend,
}

async fn connect(folder: &std::path::Path) -> RemoteBackend {
    let store = store_at(Box::new(server()), folder).await;
    let context = ConnectContext {
        writes: true,
        ..ConnectContext::default()
    };
    RemoteBackend::connect("sftp", Arc::new(store), &context)
        .await
        .unwrap()
}

impl Lab {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let (backend, second) = (connect(&root).await, connect(&root).await);
        let can = backend.capabilities();
        assert_eq!(can.cas, CasGrade::Checked);
        assert!(can.writable && can.links && can.modes && can.rename && can.trash);
        assert!(can.empty_folders && can.mtime_resolution == Some(1_000_000_000));
        Self {
            folder,
            backend,
            second,
        }
    }
}

#[async_trait]
impl Harness for Lab {
    fn backend(&self) -> Arc<dyn StorageBackend> {
        Arc::new(self.backend.clone())
    }

    fn second(&self) -> Arc<dyn StorageBackend> {
        Arc::new(self.second.clone())
    }

    fn editor(&self) -> Arc<dyn Editor> {
        Arc::new(Hand(self.folder.path().join("root")))
    }

    fn keeps_times_before_1970(&self) -> bool {
        // The protocol counts seconds from there.
        false
    }

    async fn settle(&self) {
        // The only way for a time to age is that time passes: until two seconds after this one, as the clock shows them, and two
        // for what is not known of the server's.
        let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let until = Duration::from_secs(now().unwrap().as_secs() + 4);
        while now().unwrap() <= until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_promise() {
    all_at_once(Lab::new).await;
}
