//! Crashes before and after every call of a run, and what the next runs make of what is left.

mod histories;
mod judge;
mod saved;
mod scripts;
mod soak;
mod world;

use rustix::io::Errno;
use wl_core::model::Side::{Source, Target};
use wl_core::storage::Durability;

use super::kit::WEAK;
use crate::local::model::{Dice, Loss, Op, Rules, When};
use histories::{Crash, Mishap, heals};
use judge::Edit;
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

/// Whoever writes to a file as soon as it is there, and syncs it, keeps that version, also where the power cut takes the name that we had
/// given the file a moment before: by POSIX alone its `fsync` says nothing of that.
#[tokio::test]
async fn an_edit_of_a_file_whose_name_a_power_cut_takes_is_kept() {
    let new = (Source, Edit::Write("d/a", b"new content"));
    let old = (Source, Edit::Write("d/a", b"old"));
    let theirs = Edit::InPlace("d/a", b"somebody's, written at once");
    let mut failures = Vec::new();
    for (before, renames) in [vec![], vec![old]]
        .into_iter()
        .flat_map(|before| WEAK.map(|renames| (before.clone(), renames)))
    {
        let kind = Kind { renames, ..MODERN };
        let script = Script {
            name: "edited at once",
            before,
            edits: vec![new],
        };
        let (world, _) = script.prepare(kind).await;
        let begin = world.machine.calls();
        let (calls, _) = world.calls_of_a_run().await;
        let publishes = |op| matches!(op, Op::MoveNew | Op::Exchange | Op::Link);
        let published = calls.iter().rfind(|call| {
            let name = call.name.rsplit('.').next();
            call.disk == "target" && publishes(call.op) && name == Some("part")
                || call.op == Op::Exchange && name == Some("swap")
        });
        let next = published.unwrap().number - begin + 1;
        for dice in 0..12 {
            let crash = Crash {
                call: next,
                when: When::After,
                loss: Loss::Power(Dice::new(dice)),
            };
            let mishap = Mishap {
                crash,
                meanwhile: vec![(next, Target, theirs)],
                failures: Vec::new(),
                again: None,
            };
            if let Err(why) = script.crashed(kind, mishap, None).await {
                failures.push(format!("{script:?} {kind:?} {crash:?}: {why}"));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Whether the judge objects to one of so many crashes of `script`, with calls of one kind ignored.
async fn is_noticed(script: &Script, kind: Kind, ignored: Option<Op>, crashes: usize) -> bool {
    let (calls, expected) = script.uncrashed(kind).await.unwrap();
    let step = (calls.len() / crashes).max(1);
    for (place, &call) in calls.iter().enumerate().rev().step_by(step) {
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
        if judged.is_err() {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn a_run_that_makes_nothing_durable_is_found_out() {
    let kind = Kind {
        durability: Durability::None,
        ..MODERN
    };
    assert!(is_noticed(&by_hand()[1], kind, None, 25).await);
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
        assert!(!is_noticed(script, kind, None, 4).await, "{op:?}");
        assert!(is_noticed(script, kind, Some(op), 25).await, "{op:?}");
    }
}
