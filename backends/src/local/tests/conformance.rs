//! The contract, on a file system that can do everything and on ones that cannot.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use wl_core::storage::StorageBackend;
use wl_core::testing::conformance::{Editor, Harness};

use super::kit::{Lab, WEAK};

impl Lab {
    fn weak(grade: usize) -> Self {
        Self::limited(WEAK[grade])
    }
}

#[async_trait]
impl Harness for Lab {
    fn backend(&self) -> Arc<dyn StorageBackend> {
        self.backend.clone()
    }

    fn second(&self) -> Arc<dyn StorageBackend> {
        Lab::second(self)
    }

    fn editor(&self) -> Arc<dyn Editor> {
        Arc::new(Hand(self.dir.path().to_owned()))
    }

    async fn settle(&self) {
        // The only way for a file's time to age is that time passes.
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// Somebody who works in the folder itself.
pub(crate) struct Hand(pub(crate) PathBuf);

static NEW: AtomicU64 = AtomicU64::new(0);

impl Hand {
    fn make_above(&self, path: &str) -> PathBuf {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }
}

#[async_trait]
impl Editor for Hand {
    async fn write(&self, path: &str, content: &[u8]) {
        // Beside the root: a name in the tree would be listed.
        let n = NEW.fetch_add(1, Ordering::Relaxed);
        let new = self.0.with_extension(format!("new-{n}"));
        std::fs::write(&new, content).unwrap();
        std::fs::rename(new, self.make_above(path)).unwrap();
    }

    async fn write_in_place(&self, path: &str, content: &[u8]) {
        let path = self.make_above(path);
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .open(path)
            .unwrap();
        file.write_all(content).unwrap();
    }

    async fn remove(&self, path: &str) {
        let path = self.0.join(path);
        match std::fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path).unwrap(),
            _ => std::fs::remove_file(path).unwrap(),
        }
    }

    async fn make_folder(&self, path: &str) {
        std::fs::create_dir_all(self.0.join(path)).unwrap();
    }

    async fn make_link(&self, path: &str, target: &str) {
        std::os::unix::fs::symlink(target, self.make_above(path)).unwrap();
    }

    async fn read(&self, path: &str) -> Option<Vec<u8>> {
        let path = self.0.join(path);
        let meta = std::fs::symlink_metadata(&path).ok()?;
        meta.is_file().then(|| std::fs::read(path).ok()).flatten()
    }
}

mod modern {
    wl_core::conformance_tests!(super::Lab::new());
}

mod without_exchange {
    wl_core::conformance_tests!(super::Lab::weak(1));
}

mod without_any_help {
    wl_core::conformance_tests!(super::Lab::weak(2));
}
