//! Small worlds, all of them: a few steps in every run of the tests, as many as ten minutes allow in a soak.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::time::Instant;

use wl_core::model::Direction;
use wl_simulator::SmallWorlds;

/// Every kind of fault of small worlds.
const FAULTS: [&str; 3] = ["kill", "listing breaks off", "reply lost"];

/// What it came to.
fn all(worlds: SmallWorlds, faults: &[&str]) -> String {
    let began = Instant::now();
    let workers = std::thread::available_parallelism().map_or(1, Into::into);
    let tally = worlds.play(workers);
    let tally = tally.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(tally.played + tally.same, worlds.words(), "{tally:?}");
    for fault in faults {
        assert!(tally.fired.contains_key(fault), "{fault}: {tally:?}");
    }
    format!("{worlds:?}: {tally:?} in {:?}", began.elapsed())
}

fn worlds(steps: usize, agreed: usize) -> SmallWorlds {
    SmallWorlds {
        steps,
        moments: 100,
        agreed,
        direction: Direction::TwoWay,
    }
}

#[test]
fn nothing_is_lost_in_any_history_of_two_steps() {
    println!("{}", all(worlds(2, 1), &FAULTS));
}

/// As deep as there is time for: `WL_SOAK_MINUTES`. `WL_SMALL_WORLD_STEPS` says how deep instead.
#[test]
#[ignore = "runs for minutes: cargo xtask soak --minutes N"]
fn soak_small_worlds() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let steps = number("WL_SMALL_WORLD_STEPS").unwrap_or(match number("WL_SOAK_MINUTES") {
        None | Some(0..10) => 2,
        Some(10..) => 3,
    });
    for agreed in 0..=2 {
        println!("{}", all(worlds(steps, agreed), &FAULTS));
    }
    for direction in [Direction::OneWay, Direction::Mirror] {
        let steps = steps - 1;
        let worlds = SmallWorlds {
            direction,
            ..worlds(steps, 1)
        };
        println!("{}", all(worlds, &[]));
    }
}
