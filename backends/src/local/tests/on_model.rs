//! The contract on the model file system: a model that the suite takes for a file system is worth its crashes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use wl_core::storage::StorageBackend;
use wl_core::testing::conformance::{Editor, Harness};

use crate::local::LocalBackend;
use crate::local::model::{Disk, Machine, Rules};

struct Modelled {
    disk: Disk,
    backend: Arc<LocalBackend>,
    weak: (bool, bool),
}

impl Modelled {
    fn new(exchange: bool, no_replace: bool) -> Self {
        let disk = Machine::default().disk("disk", Rules::Loose);
        let backend = LocalBackend::on_weak_model(&disk, exchange, no_replace).unwrap();
        Self {
            disk,
            backend: Arc::new(backend),
            weak: (exchange, no_replace),
        }
    }
}

#[async_trait]
impl Harness for Modelled {
    fn backend(&self) -> Arc<dyn StorageBackend> {
        self.backend.clone()
    }

    fn second(&self) -> Arc<dyn StorageBackend> {
        let (exchange, no_replace) = self.weak;
        Arc::new(LocalBackend::on_weak_model(&self.disk, exchange, no_replace).unwrap())
    }

    fn editor(&self) -> Arc<dyn Editor> {
        Arc::new(Hand(self.disk.clone()))
    }

    async fn settle(&self) {
        self.disk.machine().advance(Duration::from_millis(30));
    }
}

struct Hand(Disk);

#[async_trait]
impl Editor for Hand {
    async fn write(&self, path: &str, content: &[u8]) {
        self.0.user().write(path, content).unwrap();
    }

    async fn write_in_place(&self, path: &str, content: &[u8]) {
        match self.0.user().read(path) {
            Some(_) => self.0.user().write_in_place(path, content).unwrap(),
            None => self.0.user().write(path, content).unwrap(),
        }
    }

    async fn remove(&self, path: &str) {
        self.0.user().remove(path).unwrap();
    }

    async fn make_folder(&self, path: &str) {
        self.0.user().make_dir(path).unwrap();
    }

    async fn make_link(&self, path: &str, target: &str) {
        self.0.user().link(path, target).unwrap();
    }

    async fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.0.user().read(path)
    }
}

mod modern {
    wl_core::conformance_tests!(super::Modelled::new(true, true));
}

mod without_any_help {
    wl_core::conformance_tests!(super::Modelled::new(false, false));
}
