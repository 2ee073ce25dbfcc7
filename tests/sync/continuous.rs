//! The general syncer as a job that goes on until it is stopped.

use std::sync::Arc;

use tokio::sync::Notify;
use wl_core::model::{Direction, Sides};
use wl_core::sync::{SyncJob, Syncer, SyncerType};
use wl_core::testing::{Call, Observer, Operation, observe};
use wl_syncers::General;

use crate::world::World;

/// Tells when a session has ended.
#[derive(Debug, Default)]
struct Ended(Notify);

impl Observer for Ended {
    fn after(&self, call: &Call) -> wl_core::storage::Result<()> {
        if call.operation == Operation::Finish {
            self.0.notify_one();
        }
        Ok(())
    }
}

fn job(world: &World, ended: &Arc<Ended>) -> SyncJob {
    SyncJob {
        storages: Sides::new(
            Arc::new(world.storages.source.clone()),
            observe(
                Arc::new(world.storages.target.clone()),
                Arc::clone(ended) as _,
            ),
        ),
        ..world.job(World::options(Direction::TwoWay))
    }
}

#[tokio::test]
async fn it_runs_until_it_is_stopped_and_can_start_again() {
    let world = World::new();
    let ended = Arc::new(Ended::default());
    world.storages.source.write_file("both", "one").unwrap();
    world.storages.target.write_file("both", "two").unwrap();
    world.storages.source.write_file("new", "1").unwrap();
    let syncer = General::create(job(&world, &ended));
    assert!(!syncer.is_running());
    syncer.stop_sync().await.unwrap();

    for round in 0..2 {
        syncer.start_sync().await.unwrap();
        assert!(syncer.is_running());
        let error = syncer.start_sync().await.unwrap_err();
        assert!(error.desc.contains("runs already"), "{error}");
        ended.0.notified().await;
        syncer.stop_sync().await.unwrap();
        assert!(!syncer.is_running(), "round {round}");
        let conflicts: Vec<_> = syncer
            .iter_conflicts()
            .map(|conflict| conflict.path)
            .collect();
        assert_eq!(conflicts, ["both"]);
    }
    assert!(world.storages.target.read_file("new").is_some());
}

#[tokio::test]
async fn a_refused_run_is_one_of_its_errors() {
    let world = World::new();
    world.storages.target.set_available(false);
    let syncer = General::create(job(&world, &Arc::default()));
    let error = syncer.one_shot_sync().await.unwrap_err();
    let errors: Vec<_> = syncer.iter_errors().collect();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].reason, error.desc);
}
