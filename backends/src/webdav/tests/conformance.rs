//! The contract, through the engine, on `dav-server` as it is and on ones that can do less.

use std::sync::Arc;

use async_trait::async_trait;
use wl_core::plugin::ConnectContext;
use wl_core::storage::{CasGrade, StorageBackend};
use wl_core::testing::conformance::{self as promises, Editor, Harness, all_at_once};
use wl_test_servers::faults::{Fault, When, Which};
use wl_test_servers::webdav::{WebDavFaults, WebDavServer};

use super::store;
use crate::remote::RemoteBackend;
use crate::remote::web::hand::{self, Hand, ROOT};

/// A server, and two clients of it that do not know each other.
struct Lab {
    server: WebDavServer,
    backend: RemoteBackend,
    second: RemoteBackend,
    ages: bool,
}

impl Lab {
    /// A server with these faults. What it is found out to be must be `cas`, or promises would be passed over.
    async fn new(cas: CasGrade, faults: impl FnOnce(&WebDavFaults) + Send) -> Self {
        let server = WebDavServer::start().await;
        server.editor().make_folder(ROOT);
        faults(server.faults());
        let memory = tempfile::tempdir().unwrap();
        let context = ConnectContext {
            writes: true,
            state_dir: Some(memory.path().to_owned()),
            ..ConnectContext::default()
        };
        let url = format!("{}{ROOT}", server.url());
        let connect = async || {
            let connected = RemoteBackend::connect("webdav", store(&url), &context).await;
            connected.unwrap()
        };
        let (backend, second) = (connect().await, connect().await);
        assert_eq!(backend.capabilities().cas, cas);
        assert_eq!(second.capabilities().cas, cas);
        Self {
            server,
            backend,
            second,
            ages: false,
        }
    }

    async fn without_tags(faults: impl FnOnce(&WebDavFaults) + Send) -> Self {
        Self {
            ages: true,
            ..Self::new(CasGrade::Checked, faults).await
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
        // Locks keep out whoever comes through the server, and nobody else.
        Arc::new(Hand(self.server.neighbour()))
    }

    async fn settle(&self) {
        if self.ages {
            hand::until_settled().await;
        }
    }
}

/// Hundreds of rounds in which somebody is kept out by a lock and waits: minutes of waiting.
const RACES: [&str; 6] = [
    "one_creator_wins",
    "no_increment_is_lost",
    "create_against_remove_loses_nothing",
    "rename_against_replace_has_one_winner",
    "replace_against_an_editor_loses_nothing",
    "remove_against_an_editor_loses_nothing",
];

/// Keeps the promises, races or all others, on a server with locks.
async fn keeps(races: bool) {
    for promise in promises::PROMISES {
        if RACES.contains(&promise.name) == races {
            let lab = Lab::new(CasGrade::Atomic, |_| {}).await;
            (promise.run)(&lab).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_locks() {
    keeps(false).await;
}

/// The store's own races (`live`) are part of every run.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "minutes: cargo test -p wl-backends --all-features --lib -- --ignored webdav"]
async fn with_locks_in_races() {
    keeps(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_locks() {
    let make = || Lab::new(CasGrade::Checked, |f| drop(f.no_locks()));
    all_at_once(make).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "half a minute: cargo test -p wl-backends --all-features --lib -- --ignored webdav"]
async fn with_weak_tags() {
    let make = || Lab::without_tags(|f| drop(f.weak_etags(When::Always)));
    all_at_once(make).await;
}

/// To the engine these are the same as weak ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_tags() {
    let make = || Lab::without_tags(|f| drop(f.no_etags()));
    promises::replace_refuses_another_version(&make().await).await;
    promises::a_version_that_changes_while_it_is_read_is_busy(&make().await).await;
}

/// Every seventh change is made, and its reply is lost.
mod with_lost_replies {
    use super::*;

    async fn lab() -> (Lab, Fault) {
        let lab = Lab::new(CasGrade::Atomic, |_| {}).await;
        let changes = ["PUT", "LOCK", "UNLOCK", "MOVE", "COPY", "DELETE", "MKCOL"];
        let which = Which::operations(changes);
        let fault = lab.server.faults().lose_reply(which, When::Every(7));
        (lab, fault)
    }

    macro_rules! races {
        ($($name:ident)*) => {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            #[ignore = "minutes: cargo test -p wl-backends --all-features --lib -- --ignored webdav"]
            async fn $name() {
                let (lab, fault) = lab().await;
                promises::$name(&lab).await;
                assert!(fault.fired() > 3, "only {} replies were lost", fault.fired());
            }
        )*};
    }
    races!(one_creator_wins no_increment_is_lost create_against_remove_loses_nothing
        rename_against_replace_has_one_winner replace_against_an_editor_loses_nothing
        remove_against_an_editor_loses_nothing);
}

/// The first run into a new folder knows at once what the server does.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_root_that_is_missing_is_made_and_tried_out() {
    let server = WebDavServer::start().await;
    let writes = ConnectContext {
        writes: true,
        makes_root: true,
        ..ConnectContext::default()
    };
    let connect = async |root: &str, context: &ConnectContext| {
        let url = format!("{}{root}", server.url());
        RemoteBackend::connect("webdav", store(&url), context).await
    };
    let source = ConnectContext {
        makes_root: false,
        ..writes.clone()
    };
    for context in [&source, &ConnectContext::default()] {
        let careful = connect("new", context).await.unwrap();
        assert_eq!(careful.capabilities().cas, CasGrade::Checked);
    }
    assert!(server.editor().paths("").iter().all(|path| path == "/"));
    let writer = connect("new", &writes).await.unwrap();
    assert_eq!(writer.capabilities().cas, CasGrade::Atomic);
    let error = connect("no/such/folder", &writes).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("/no/ is not there"), "{text}");
    assert!(text.contains("make it on the server"), "{text}");
}
