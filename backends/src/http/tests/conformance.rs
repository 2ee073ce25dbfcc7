//! What the contract says of reading, through the engine, on a server that shows indexes.

use std::sync::Arc;

use async_trait::async_trait;
use wl_core::plugin::ConnectContext;
use wl_core::storage::StorageBackend;
use wl_core::testing::conformance::{Editor, Harness, all_at_once};
use wl_test_servers::webdav::WebDavServer;

use super::*;
use crate::remote::RemoteBackend;
use crate::remote::web::hand::{self, Hand, ROOT};

/// A server whose folder is read as a web page.
struct Lab {
    server: WebDavServer,
    backend: RemoteBackend,
    ages: bool,
}

impl Lab {
    async fn new(ages: bool) -> Self {
        let server = WebDavServer::start().await;
        server.editor().make_folder(ROOT);
        if ages {
            server.faults().no_etags();
        }
        let client = Client::new(&format!("{}{ROOT}", server.url()), None).unwrap();
        let store = Arc::new(Http::new(client));
        let context = ConnectContext {
            writes: true,
            ..ConnectContext::default()
        };
        let backend = RemoteBackend::connect("http", store, &context).await;
        let backend = backend.unwrap();
        assert!(!backend.capabilities().writable);
        Self {
            server,
            backend,
            ages,
        }
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
        Arc::new(Hand(self.server.editor()))
    }

    async fn settle(&self) {
        if self.ages {
            hand::until_settled().await;
        }
    }
}

mod with_tags {
    wl_core::conformance_tests!(super::Lab::new(false).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_tags() {
    all_at_once(|| Lab::new(true)).await;
}

/// A wrong address is no empty storage: nothing can ever be put there.
#[tokio::test]
async fn a_folder_that_is_not_there_is_told() {
    use wl_core::storage::{ErrorKind, ListRequest};
    let lab = Lab::new(false).await;
    assert!(lab.server.editor().delete(ROOT));
    let spill = tempfile::tempdir().unwrap();
    let request = ListRequest::everything(spill.path());
    let mut listing = lab.backend.list(request).await.unwrap();
    let error = listing.next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("check the address"), "{error}");
}
