//! The memory backend keeps every promise, whatever it is told to be unable to do; and the promises can be broken.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are outside of `#[test]` functions"
)]

#[path = "memory_suite/broken.rs"]
mod broken;
#[path = "memory_suite/decorators.rs"]
mod decorators;
#[path = "memory_suite/own.rs"]
mod own;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use wl_backends::memory::{MemoryBackend, MemorySettings};
use wl_core::storage::StorageBackend;
use wl_core::testing::conformance::{Editor, Harness};

/// A fresh store with these settings.
struct Memory(MemoryBackend);

impl Memory {
    fn with(settings: MemorySettings) -> Self {
        Self(MemoryBackend::private(settings))
    }
}

#[async_trait]
impl Harness for Memory {
    fn backend(&self) -> Arc<dyn StorageBackend> {
        Arc::new(self.0.clone())
    }

    fn second(&self) -> Arc<dyn StorageBackend> {
        Arc::new(self.0.clone())
    }

    fn editor(&self) -> Arc<dyn Editor> {
        Arc::new(MemoryEditor(self.0.clone()))
    }

    async fn settle(&self) {
        self.0.pass_time(Duration::ZERO);
    }
}

struct MemoryEditor(MemoryBackend);

#[async_trait]
impl Editor for MemoryEditor {
    async fn write(&self, path: &str, content: &[u8]) {
        self.0.write_file(path, content).unwrap();
    }

    async fn write_in_place(&self, path: &str, content: &[u8]) {
        self.0.write_file(path, content).unwrap();
    }

    async fn remove(&self, path: &str) {
        assert!(self.0.remove(path).unwrap(), "nothing is at {path:?}");
    }

    async fn make_folder(&self, path: &str) {
        self.0.make_folder(path).unwrap();
    }

    async fn make_link(&self, path: &str, target: &str) {
        self.0.make_link(path, target).unwrap();
    }

    async fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.0.read_file(path).map(Vec::from)
    }
}

fn settings() -> MemorySettings {
    MemorySettings::default()
}

mod everything {
    wl_core::conformance_tests!(super::Memory::with(super::settings()));
}

mod without_empty_folders {
    wl_core::conformance_tests!(super::Memory::with(super::settings().empty_folders(false)));
}

mod without_modes {
    wl_core::conformance_tests!(super::Memory::with(super::settings().modes(false)));
}

mod without_links {
    wl_core::conformance_tests!(super::Memory::with(super::settings().links(false)));
}

mod folding_case {
    wl_core::conformance_tests!(super::Memory::with(super::settings().folds_case(true)));
}

mod with_coarse_tokens {
    wl_core::conformance_tests!(super::Memory::with(super::settings().changes_per_token(7)));
}

mod read_only {
    wl_core::conformance_tests!(super::Memory::with(super::settings().read_only(true)));
}

mod able_to_nothing {
    wl_core::conformance_tests!(super::Memory::with(
        super::settings()
            .empty_folders(false)
            .modes(false)
            .links(false)
            .folds_case(true)
            .changes_per_token(3)
    ));
}
