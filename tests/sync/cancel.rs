//! A run that is told to stop: what it did is recorded, and the next run carries on.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use wl_core::model::{Direction, Outcome};
use wl_core::testing::{Call, Observer, Operation, observe};

use crate::world::{World, read};

/// Stops the run at call number `at` of `operation`.
#[derive(Debug)]
struct StopAt {
    operation: Operation,
    at: u64,
    seen: std::sync::atomic::AtomicU64,
    cancel: CancellationToken,
}

#[async_trait]
impl Observer for StopAt {
    fn after(&self, call: &Call) -> wl_core::storage::Result<()> {
        if call.operation == self.operation {
            let seen = self.seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
            if seen == self.at {
                self.cancel.cancel();
            }
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_stopped_run_leaves_nothing_half_done() {
    for (operation, at) in [
        (Operation::ListNext, 1),
        (Operation::ReadSmall, 1),
        (Operation::ReadSmall, 700),
        (Operation::Stage, 600),
        (Operation::Replace, 1),
        (Operation::Replace, 2048),
        (Operation::Flush, 2),
    ] {
        let case = format!("{operation:?} {at}");
        let world = World::new();
        for n in 0..3000 {
            world
                .storages
                .source
                .write_file(&format!("d{}/f{n}", n % 7), format!("{n}"))
                .unwrap();
        }
        let cancel = CancellationToken::new();
        let stop = Arc::new(StopAt {
            operation,
            at,
            seen: Default::default(),
            cancel: cancel.clone(),
        });
        let around = |_, storage| observe(storage, stop.clone());
        let options = World::options(Direction::TwoWay);
        let report = world.run_with(options, around, cancel).await.unwrap();
        assert_eq!(report.result, Outcome::Failed, "{case}");
        assert_eq!(
            report.error.as_ref().unwrap().class,
            "cancelled",
            "{case}: {report:?}"
        );
        let done = report.changes.target.created;
        let there = world.storages.target.snapshot().len() as u64;
        assert_eq!(done, there, "{case}: it did more or less than it says");

        let rest = world.sync(Direction::TwoWay).await;
        assert_eq!(rest.result, Outcome::Synced, "{case}: {rest:?}");
        assert_eq!(
            rest.changes.target.created + done,
            3007,
            "{case}: something was done twice"
        );
        assert!(
            read(&world.storages.source) == read(&world.storages.target),
            "{case}"
        );
    }
}
