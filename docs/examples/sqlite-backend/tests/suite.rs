//! The first draft of the example is rejected by the contract suite; the second passes it, and simulated histories.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use async_trait::async_trait;
use tempfile::TempDir;
use wl_core::storage::StorageBackend;
use wl_example_sqlite::{Draft, SqliteBackend};
use wl_simulator::testing::conformance::{Editor, Harness, PROMISES};
use wl_simulator::{
    HarnessSite, MemorySite, MemoryStatesOfPair, Plan, Played, Site, SitePlan, World, generate,
    play_in,
};

/// A fresh file.
struct Lab {
    folder: TempDir,
    draft: Draft,
    backend: SqliteBackend,
}

impl Lab {
    fn new(draft: Draft) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backend = open(&folder, draft);
        Self {
            folder,
            draft,
            backend,
        }
    }
}

fn open(folder: &TempDir, draft: Draft) -> SqliteBackend {
    SqliteBackend::open(&folder.path().join("tree.sqlite"), true, draft).unwrap()
}

impl Harness for Lab {
    fn backend(&self) -> Arc<dyn StorageBackend> {
        Arc::new(self.backend.clone())
    }

    fn second(&self) -> Arc<dyn StorageBackend> {
        Arc::new(open(&self.folder, self.draft))
    }

    fn editor(&self) -> Arc<dyn Editor> {
        Arc::new(Program(open(&self.folder, self.draft)))
    }
}

/// A program that keeps its files in the same SQLite file.
struct Program(SqliteBackend);

#[async_trait]
impl Editor for Program {
    async fn write(&self, path: &str, content: &[u8]) {
        self.0.write_file(path, content).unwrap();
    }

    async fn write_in_place(&self, path: &str, content: &[u8]) {
        self.0.write_file(path, content).unwrap();
    }

    async fn remove(&self, path: &str) {
        self.0.remove(path).unwrap();
    }

    async fn make_folder(&self, path: &str) {
        self.0.make_folder(path).unwrap();
    }

    async fn make_link(&self, path: &str, target: &str) {
        self.0.make_link(path, target).unwrap();
    }

    async fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.0.read_file(path).unwrap()
    }
}

/// Every promise, each a test.
mod the_second_draft {
    wl_simulator::conformance_tests!(super::Lab::new(super::Draft::Second));
}

/// What docs/plugin-authors.md says of the first draft.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_first_draft_is_rejected() {
    let mut broken = Vec::new();
    for promise in PROMISES {
        let test = async { (promise.run)(&Lab::new(Draft::First)).await };
        if tokio::spawn(test).await.is_err() {
            broken.push(promise.name);
        }
    }
    println!("broken: {broken:?}");
    for named in ["a_token_changes_with_the_content", "one_creator_wins"] {
        assert!(broken.contains(&named), "{named} is kept: {broken:?}");
    }
}

/// The history of a seed, between a storage in memory and the example.
fn history(work: u64) -> (Plan, Played) {
    let mut plan = generate(work);
    // It is what it is, whatever the seed says.
    plan.sites.fill(SitePlan::default());
    let sites = (0..plan.sites.len()).map(|site| match site {
        0 => Arc::new(MemorySite::new(&plan.sites[site])) as Arc<dyn Site>,
        _ => Arc::new(HarnessSite::new(Lab::new(Draft::Second))),
    });
    let world = World {
        sites: sites.collect(),
        states: Arc::new(MemoryStatesOfPair::default()),
    };
    let played = play_in(world, &plan, work % 7, false);
    (plan, played)
}

#[test]
fn nothing_is_lost_in_simulated_histories() {
    for work in 1..=20 {
        let (plan, played) = history(work);
        assert_eq!(played.failure, None, "seed {work}: {plan:#?}");
        let (_, again) = history(work);
        assert_eq!(played.trace, again.trace, "seed {work} makes two histories");
    }
}
