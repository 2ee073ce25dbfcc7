//! Crashes before and after every call of a run, and what the next runs make of what is left.

mod histories;
mod judge;
mod scripts;
mod soak;
mod world;

use rustix::io::Errno;
use wl_core::storage::Durability;

use super::kit::WEAK;
use crate::local::model::{Dice, Loss, Op, Rules, When};
use histories::{Crash, Mishap, heals};
use scripts::{Script, by_hand, many};
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
                failures: Vec::new(),
                again: None,
            };
            if let Err(why) = script.crashed(kind, mishap, Some(&expected)).await {
                failures.push(format!("{} {kind:?} {crash:?}: {why}", script.name));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// A call that fails, and the power goes when the run is over: what it could not do it has not recorded.
#[tokio::test]
async fn a_failure_of_any_call_loses_nothing() {
    let mut failures = Vec::new();
    for (number, script) in by_hand().iter().enumerate() {
        let (calls, _) = script.uncrashed(MODERN).await.unwrap();
        for (place, &call) in calls.iter().enumerate().skip(number).step_by(STEP) {
            let crash = Crash {
                call: u64::from(u32::MAX),
                when: When::Before,
                loss: Loss::Power(Dice::new(place as u64)),
            };
            let errno = [Errno::IO, Errno::NOSPC][place % 2];
            let mishap = Mishap {
                crash,
                meanwhile: Vec::new(),
                failures: vec![(call, When::Before, errno)],
                again: None,
            };
            if let Err(why) = script.crashed(MODERN, mishap, None).await {
                failures.push(format!("{} call {call} {errno:?}: {why}", script.name));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// How many crashes of `script` the judge objects to, with calls of one kind ignored.
async fn noticed(script: &Script, kind: Kind, ignored: Option<Op>) -> usize {
    let mut noticed = 0;
    let (calls, expected) = script.uncrashed(kind).await.unwrap();
    let step = (calls.len() / 25).max(1);
    for (place, &call) in calls.iter().enumerate().skip(step).step_by(step) {
        let (world, known) = script.prepare(kind).await;
        if let Some(ignored) = ignored {
            world.ignore(ignored);
        }
        let at = world.machine.calls() + call;
        world.machine.crash_at(at, When::After);
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
    assert!(noticed(&by_hand()[1], kind, None).await > 0);
}

/// No kind of sync is there for nothing: `fsync` before what was staged is renamed, `fdatasync` of the journal before a version is moved
/// aside, `syncfs` instead of many `fsync`s.
#[tokio::test]
async fn a_sync_that_is_left_out_is_found_out() {
    let aside = Kind {
        renames: WEAK[1],
        ..MODERN
    };
    let (few, many) = (&by_hand()[1], &many());
    for (script, kind, op) in [
        (few, MODERN, Op::Sync),
        (few, aside, Op::SyncData),
        (many, MODERN, Op::SyncAll),
    ] {
        assert_eq!(noticed(script, kind, None).await, 0, "{op:?}");
        assert!(noticed(script, kind, Some(op)).await > 0, "{op:?}");
    }
}
