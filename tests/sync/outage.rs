//! A storage that goes out of reach in the middle of a run: told once, however many paths it meets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use wl_core::model::{Direction, Outcome, RunReport, Side};
use wl_core::storage::{ErrorKind, Result, StorageError};
use wl_core::testing::{Call, Observer, Operation, observe};

use crate::world::{World, read};

/// From this call on everything fails.
#[derive(Debug)]
struct Outage {
    operation: Operation,
    at: u64,
    seen: AtomicU64,
    out: AtomicBool,
    kind: ErrorKind,
}

impl Observer for Outage {
    fn before(&self, call: &Call) -> Result<()> {
        if call.operation == self.operation && self.seen.fetch_add(1, SeqCst) + 1 == self.at {
            self.out.store(true, SeqCst);
        }
        match self.out.load(SeqCst) {
            true => Err(StorageError::new(
                self.kind,
                "connect",
                "the line is cut; mend it",
            )),
            false => Ok(()),
        }
    }
}

async fn cut(
    world: &World,
    side: Side,
    kind: ErrorKind,
    operation: Operation,
    at: u64,
) -> RunReport {
    let outage = Arc::new(Outage {
        operation,
        at,
        seen: AtomicU64::new(0),
        out: AtomicBool::new(false),
        kind,
    });
    let seen = Arc::clone(&outage);
    let over = move |here, storage| match here == side {
        true => observe(storage, Arc::clone(&seen) as _),
        false => storage,
    };
    let options = World::options(Direction::TwoWay);
    let report = world.run_over(options, over).await.unwrap();
    assert!(
        outage.out.load(SeqCst),
        "{operation:?} {at}: nothing was cut"
    );
    report
}

const FILES: usize = 3000;

fn filled() -> World {
    let world = World::new();
    for n in 0..FILES {
        let path = format!("d{}/f{n}", n % 7);
        world
            .storages
            .source
            .write_file(&path, format!("{n}"))
            .unwrap();
    }
    world
}

#[tokio::test]
async fn an_outage_is_one_error_with_what_is_left() {
    for (side, operation, at) in [
        (Side::Target, Operation::Stage, 1),
        (Side::Target, Operation::Stage, 2500),
        (Side::Target, Operation::Replace, 1),
        (Side::Target, Operation::Replace, 2100),
        (Side::Target, Operation::MakeFolder, 3),
        (Side::Source, Operation::ReadSmall, 900),
        (Side::Source, Operation::ListNext, 1),
        (Side::Target, Operation::ListNext, 1),
    ] {
        let case = format!("{side} {operation:?} {at}");
        let world = filled();
        let report = cut(&world, side, ErrorKind::Unavailable, operation, at).await;
        assert_eq!(report.result, Outcome::Failed, "{case}");
        assert_eq!(report.problems, [], "{case}");
        let error = report.error.unwrap();
        assert_eq!(error.class, "root-unavailable", "{case}");
        let place = world.storages[side].clone();
        let place = wl_core::storage::StorageBackend::location(&place).to_owned();
        let start = format!("connecting to {place}: the line is cut; mend it");
        assert!(error.desc.starts_with(&start), "{case}: {}", error.desc);
        let listing = operation == Operation::ListNext;
        let counted = error.desc.contains("path") && error.desc.contains("run again to carry on");
        assert_eq!(counted, !listing, "{case}: {}", error.desc);
        // Nothing is lost, and the next run carries on.
        let report = world.sync(Direction::TwoWay).await;
        assert_eq!(report.result, Outcome::Synced, "{case}");
        assert_eq!(
            read(&world.storages.source),
            read(&world.storages.target),
            "{case}"
        );
        assert_eq!(world.storages.target.snapshot().len(), FILES + 7, "{case}");
    }
}

#[tokio::test]
async fn what_is_left_is_counted() {
    let world = World::new();
    for n in 0..20 {
        world
            .storages
            .source
            .write_file(&format!("f{n}"), "x")
            .unwrap();
    }
    let report = cut(
        &world,
        Side::Target,
        ErrorKind::Unavailable,
        Operation::Replace,
        1,
    )
    .await;
    let error = report.error.unwrap();
    assert!(error.desc.contains("at least 20 paths"), "{}", error.desc);
}

#[tokio::test]
async fn credentials_that_run_out_are_an_outage() {
    let world = filled();
    let report = cut(
        &world,
        Side::Target,
        ErrorKind::Credentials,
        Operation::Stage,
        700,
    )
    .await;
    assert_eq!(report.problems, []);
    assert_eq!(report.error.unwrap().class, "credentials");
}

#[tokio::test]
async fn an_outage_before_removals_removes_nothing() {
    let world = filled();
    assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
    for n in 0..FILES / 2 {
        world
            .storages
            .source
            .remove(&format!("d{}/f{n}", n % 7))
            .unwrap();
    }
    world.storages.source.write_file("new", "x").unwrap();
    let before = read(&world.storages.target);
    let report = cut(
        &world,
        Side::Source,
        ErrorKind::Unavailable,
        Operation::ReadSmall,
        1,
    )
    .await;
    assert_eq!(report.error.unwrap().class, "root-unavailable");
    assert_eq!(read(&world.storages.target), before);
    assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
    assert_eq!(read(&world.storages.source), read(&world.storages.target));
}
