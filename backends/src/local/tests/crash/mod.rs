//! Crashes before and after every call of a run, and what the next runs make of what is left.

mod histories;
mod judge;
mod scripts;
mod soak;
mod world;

use wl_core::storage::Durability;

use super::kit::WEAK;
use crate::local::model::{Dice, Loss, Op, Rules, When};
use histories::{Crash, Mishap, heals};
use scripts::by_hand;
use world::Kind;

const MODERN: Kind = Kind {
    rules: Rules::Loose,
    renames: WEAK[0],
    block: 8,
    durability: Durability::Batch,
};

/// Every so many calls of each history that is told by hand, the first one different each time; the soak takes them all.
const STEP: usize = 11;

#[tokio::test]
async fn a_crash_at_any_call_loses_nothing() {
    let mut failures = Vec::new();
    for (number, script) in by_hand().iter().enumerate() {
        let kind = Kind {
            rules: [Rules::Loose, Rules::Journal][number % 2],
            ..MODERN
        };
        let (calls, expected) = script.uncrashed(kind).await.unwrap();
        for (place, &call) in calls.iter().enumerate().skip(number).step_by(STEP) {
            let loss = match place % 4 {
                0 => Loss::Process,
                _ => Loss::Power(Dice::new(place as u64)),
            };
            let when = [When::Before, When::After][place % 2];
            let crash = Crash { call, when, loss };
            let mishap = Mishap {
                crash,
                meanwhile: Vec::new(),
                again: None,
            };
            if let Err(why) = script.crashed(kind, mishap, Some(&expected)).await {
                failures.push(format!("{} {kind:?} {crash:?}: {why}", script.name));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// How many of the crashes of `kind` are noticed by the judge.
async fn noticed(kind: Kind, ignored: Option<Op>) -> usize {
    let mut noticed = 0;
    let script = &by_hand()[1];
    let (calls, expected) = script.uncrashed(kind).await.unwrap();
    for (place, &call) in calls.iter().enumerate().skip(calls.len() / 2).step_by(3) {
        let (world, known) = script.prepare(kind).await;
        if let Some(ignored) = ignored {
            world.ignore(ignored);
        }
        world
            .machine
            .crash_at(world.machine.calls() + call, When::After);
        let _ = world.run().await;
        world.machine.forget_hook();
        world.restart(Loss::Power(Dice::new(place as u64)));
        let judged = match known.after_crash(&world) {
            Ok(()) => heals(&world, &known, Some(&expected)).await,
            failed => failed,
        };
        noticed += usize::from(judged.is_err());
    }
    noticed
}

#[tokio::test]
async fn a_run_that_makes_nothing_durable_is_found_out() {
    let kind = Kind {
        durability: Durability::None,
        ..MODERN
    };
    assert!(noticed(kind, None).await > 0);
}

/// The one before the rename, and each other kind: none is there for nothing.
#[tokio::test]
async fn a_sync_that_is_left_out_is_found_out() {
    assert!(noticed(MODERN, Some(Op::Sync)).await > 0, "fsync");
    assert_eq!(noticed(MODERN, None).await, 0);
}
