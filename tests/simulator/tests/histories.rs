//! Histories from seeds: a few in every run of the tests, many in a soak.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::time::{Duration, Instant};

use wl_simulator::{Seeds, Tally, check, search};

/// Every kind of fault, each of which must fire now and then.
const FAULTS: [&str; 16] = [
    "temporary error",
    "permanent error",
    "reply lost",
    "listing breaks off",
    "full disk",
    "storage gone",
    "stale listing",
    "kill",
    "clock jumps",
    "machine sleeps",
    "strike in a window",
    "event lost",
    "event lost and told",
    "event late",
    "event doubled",
    "cancel",
];

fn found(result: Result<Tally, Box<wl_simulator::Failure>>) -> Tally {
    result.unwrap_or_else(|failure| panic!("{failure}"))
}

fn seeds(from: u64) -> impl Iterator<Item = Seeds> {
    (from..).map(|work| Seeds {
        work,
        schedule: work % 7,
    })
}

#[test]
fn nothing_is_lost_in_some_histories_and_every_fault_fires() {
    let tally = found(search(seeds(1).take(60), Duration::from_secs(600)));
    assert_eq!(tally.histories, 60);
    for fault in FAULTS {
        assert!(tally.fired.contains_key(fault), "{fault}: {tally:?}");
    }
}

/// The history of the seeds in `WL_SIMULATE`, as in 17:3.
#[test]
#[ignore = "replays the history of WL_SIMULATE=WORK:SCHEDULE"]
fn replay() {
    let seeds = std::env::var("WL_SIMULATE").unwrap().parse().unwrap();
    match check(seeds) {
        Ok(played) => println!("nothing is wrong: {played:?}"),
        Err(failure) => {
            if let Ok(file) = std::env::var("WL_SIMULATE_TRACE") {
                std::fs::write(file, failure.lines.join("\n")).unwrap();
            }
            panic!("{failure}");
        }
    }
}

/// Histories for as many minutes as `WL_SOAK_MINUTES` says.
#[test]
#[ignore = "runs for minutes: cargo xtask soak --minutes N"]
fn soak_simulator() {
    let minutes = std::env::var("WL_SOAK_MINUTES").ok();
    let minutes = minutes.and_then(|text| text.parse().ok()).unwrap_or(1_u64);
    let from = std::env::var("WL_SIMULATE_FROM").ok();
    let from = from.and_then(|text| text.parse().ok()).unwrap_or(1_000);
    let began = Instant::now();
    let tally = found(search(seeds(from), Duration::from_secs(60 * minutes)));
    println!("{tally:?} in {:?}", began.elapsed());
}
