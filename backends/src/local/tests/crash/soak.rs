//! Histories as the dice fall, for as long as one likes.

use std::time::{Duration, Instant};

use rustix::io::Errno;
use wl_core::storage::Durability;

use super::histories::{Crash, Mishap};
use super::scripts::{Script, by_dice, by_hand, meanwhile};
use super::world::Kind;
use crate::local::model::{Dice, Loss, Rules, When};
use crate::local::tests::kit::WEAK;

/// One history from a seed.
async fn one(seed: u64) -> Result<(), String> {
    let mut dice = Dice::new(seed);
    let hand = by_hand();
    let script = match dice.below(2) {
        0 => hand[dice.below(hand.len())].clone(),
        _ => by_dice(&mut dice),
    };
    let kind = Kind {
        rules: [Rules::Journal, Rules::Loose][dice.below(2)],
        renames: WEAK[[0, 0, 1, 2][dice.below(4)]],
        block: [1, 8, 4096][dice.below(3)],
        durability: [Durability::Batch, Durability::Full][dice.below(2)],
    };
    let (calls, expected) = script
        .uncrashed(kind)
        .await
        .map_err(|why| format!("without a crash: {why}\n  {script:?}\n  {kind:?}"))?;
    if calls.is_empty() {
        return Ok(());
    }
    let call = calls[dice.below(calls.len())];
    let meanwhile = meanwhile(&mut dice, call);
    let again = dice.flip().then(|| any_crash(150, &mut dice));
    let mishap = Mishap {
        crash: Crash {
            call,
            ..any_crash(1, &mut dice)
        },
        meanwhile,
        failures: failures(&mut dice, call),
        again,
    };
    let expected = (mishap.meanwhile.is_empty() && mishap.failures.is_empty()).then_some(&expected);
    let done = script.crashed(kind, mishap.clone(), expected).await;
    done.map_err(|why| told(&script, kind, &mishap, &why))
}

fn failures(dice: &mut Dice, last: u64) -> Vec<(u64, When, Errno)> {
    let count = [0, 0, 1, 2][dice.below(4)];
    let mut any = || {
        let call = 1 + dice.below(last as usize) as u64;
        let when = [When::Before, When::Before, When::After][dice.below(3)];
        (call, when, [Errno::IO, Errno::NOSPC][dice.below(2)])
    };
    (0..count).map(|_| any()).collect()
}

fn any_crash(most: usize, dice: &mut Dice) -> Crash {
    Crash {
        call: 1 + dice.below(most) as u64,
        when: [When::Before, When::After][dice.below(2)],
        loss: match dice.below(4) {
            0 => Loss::Process,
            _ => Loss::Power(Dice::new(dice.number())),
        },
    }
}

fn told(script: &Script, kind: Kind, mishap: &Mishap, why: &str) -> String {
    format!("{why}\n  {script:?}\n  {kind:?}\n  {mishap:?}")
}

/// `WL_CRASH_SEED=N cargo test -p wl-backends --no-default-features one_seed -- --nocapture` is one of them again.
#[tokio::test]
async fn one_seed_of_the_soak() {
    let seed = std::env::var("WL_CRASH_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok()).unwrap_or(1);
    one(seed).await.unwrap();
}

#[tokio::test]
#[ignore = "takes WL_SOAK_MINUTES"]
async fn soak_crashes_of_the_local_backend() {
    let minutes = std::env::var("WL_SOAK_MINUTES").ok();
    let minutes = minutes.and_then(|m| m.parse::<f64>().ok()).unwrap_or(1.0);
    let first = std::env::var("WL_CRASH_SEED").ok();
    let first = first.and_then(|seed| seed.parse().ok()).unwrap_or(1_u64);
    let (begun, most) = (Instant::now(), Duration::from_secs_f64(minutes * 60.0));
    let mut failures = Vec::new();
    let mut seed = first;
    while begun.elapsed() < most && failures.len() < 20 {
        if let Err(why) = one(seed).await {
            println!("WL_CRASH_SEED={seed}: {why}");
            failures.push(seed);
        }
        seed += 1;
    }
    println!("{} histories of crashes", seed - first);
    assert!(failures.is_empty(), "seeds {failures:?}");
}
