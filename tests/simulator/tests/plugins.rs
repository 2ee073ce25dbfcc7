//! What authors of plug-ins use: a backend and a syncer of their own in simulated histories.
#![allow(missing_docs, clippy::expect_used)]

use async_trait::async_trait;
use wl_core::model::{Conflict, Problem, RunReport};
use wl_core::sync::{SyncError, SyncJob, Syncer, SyncerType};
use wl_simulator::{MakeSyncer, World, generate, play_with};
use wl_syncers::General;

/// The general syncer, but that with `rosy` it does not tell of what it could not do.
struct Mine {
    inner: General,
    rosy: bool,
}

#[async_trait]
impl Syncer for Mine {
    async fn one_shot_sync(&self) -> Result<RunReport, SyncError> {
        let mut report = self.inner.one_shot_sync().await?;
        if self.rosy {
            report.problems.clear();
            report.error = None;
            report.result = report.judge();
        }
        Ok(report)
    }

    async fn start_sync(&self) -> Result<(), SyncError> {
        self.inner.start_sync().await
    }

    async fn stop_sync(&self) -> Result<(), SyncError> {
        self.inner.stop_sync().await
    }

    fn is_running(&self) -> bool {
        self.inner.is_running()
    }

    fn iter_errors(&self) -> Box<dyn Iterator<Item = Problem> + Send> {
        self.inner.iter_errors()
    }

    fn iter_conflicts(&self) -> Box<dyn Iterator<Item = Conflict> + Send> {
        self.inner.iter_conflicts()
    }
}

fn honest(job: SyncJob) -> Box<dyn Syncer> {
    let inner = General::create(job);
    Box::new(Mine { inner, rosy: false })
}

fn rosy(job: SyncJob) -> Box<dyn Syncer> {
    let inner = General::create(job);
    Box::new(Mine { inner, rosy: true })
}

/// What is wrong with the histories of these seeds.
fn failures(syncer: MakeSyncer, seeds: u64) -> impl Iterator<Item = String> {
    let play = move |work| {
        let plan = generate(work);
        play_with(syncer, World::in_memory(&plan), &plan, 0, false).failure
    };
    (1..=seeds).filter_map(play)
}

#[test]
fn a_syncer_of_ones_own_is_judged() {
    assert_eq!(failures(honest, 10).next(), None);
    let found = failures(rosy, 100).next();
    let found = found.expect("a syncer that hides its problems was believed");
    assert!(found.starts_with("said to be in sync, but"), "{found}");
    println!("{found}");
}
