//! Small worlds, all of them: a few steps in every run of the tests, as many as ten minutes allow in a soak.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::time::Instant;

use wl_core::model::Direction;
use wl_simulator::SmallWorlds;

/// Every kind of fault of small worlds.
const FAULTS: [&str; 3] = ["kill", "listing breaks off", "reply lost"];

fn all(worlds: SmallWorlds, faults: &[&str]) {
    let began = Instant::now();
    let workers = std::thread::available_parallelism().map_or(1, Into::into);
    let tally = worlds.play(workers);
    let tally = tally.unwrap_or_else(|failure| panic!("{failure}"));
    println!("{worlds:?}: {tally:?} in {:?}", began.elapsed());
    assert_eq!(tally.played + tally.same, worlds.words(), "{tally:?}");
    for fault in faults {
        assert!(tally.fired.contains_key(fault), "{fault}: {tally:?}");
    }
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
    for agreed in 0..=2 {
        all(worlds(2, agreed), &[]);
    }
}

/// So many steps as `WL_SMALL_WORLD_STEPS` says.
#[test]
#[ignore = "runs for minutes: see docs/simulator.md"]
fn soak_small_worlds() {
    let steps = std::env::var("WL_SMALL_WORLD_STEPS").ok();
    let steps = steps.and_then(|text| text.parse().ok()).unwrap_or(3);
    for agreed in 0..=2 {
        all(worlds(steps, agreed), &FAULTS);
    }
    for direction in [Direction::OneWay, Direction::Mirror] {
        let steps = steps - 1;
        all(
            SmallWorlds {
                direction,
                ..worlds(steps, 1)
            },
            &[],
        );
    }
}
