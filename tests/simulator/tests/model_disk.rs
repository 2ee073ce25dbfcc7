//! Histories of the local backend on the model of its disk: edits, faults and deaths between any two system calls, and power cuts that
//! take what was not synced. A few in every run of the tests, many in a soak.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wl_core::planted::{Bug, Planted};
use wl_simulator::{
    Content, DiskPlan, Edit, On, Plan, Rules, Seeds, Step, Tally, What, World, check_on, play_in,
    search_on,
};

/// What must happen now and then.
const FAULTS: [&str; 3] = [
    "kill",
    "strike in a window",
    "power cut that takes something",
];
/// A planted fault that is not found in this time is not found.
const LONGEST: Duration = Duration::from_secs(60);

fn seeds(from: u64) -> impl Iterator<Item = Seeds> {
    (from..).map(|work| Seeds {
        work,
        schedule: work % 7,
    })
}

fn played(seeds: impl Iterator<Item = Seeds>, time: Duration) -> Tally {
    let found = search_on(On::ModelDisk, seeds, time);
    found.unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn histories_on_the_model_disk() {
    let tally = played(seeds(70).take(40), Duration::from_secs(600));
    assert_eq!(tally.histories, 40);
    for fault in FAULTS {
        assert!(tally.fired.contains_key(fault), "{fault}: {tally:?}");
    }
}

/// The history of the seeds in `WL_SIMULATE`, as in 17:3.
#[test]
#[ignore = "replays the history of WL_SIMULATE=WORK:SCHEDULE"]
fn replay() {
    let seeds = std::env::var("WL_SIMULATE").unwrap().parse().unwrap();
    match check_on(On::ModelDisk, seeds) {
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
fn soak_histories_on_the_model_disk() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let minutes = number("WL_SOAK_MINUTES").unwrap_or(1_u64);
    // Another soak plays other histories.
    let from = number("WL_SIMULATE_FROM").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_secs() * 1000
    });
    println!("from WL_SIMULATE_FROM={from}");
    let began = Instant::now();
    let tally = played(seeds(from), Duration::from_secs(60 * minutes));
    println!("{tally:?} in {:?}", began.elapsed());
}

/// A run that brings one edit of the source to the target, struck after so many moments.
fn struck(edit: Edit, strike: What, after: u32) -> Plan {
    let write = |path: &str, number| Edit::Write(path.to_owned(), Content { number, size: 0 });
    let step = |after, what| Step { after, what };
    Plan::of_two(vec![
        step(0, What::Edit(0, write("a", 1))),
        step(0, What::Edit(0, write("d/x", 2))),
        step(0, What::Run),
        step(0, What::Rest),
        step(0, What::Edit(0, edit)),
        step(0, What::Run),
        step(after, strike),
    ])
}

/// Somebody puts a file where another was just renamed to: it was moved to the old path, as if it had been there before the rename. It still is
/// in the moment between the rename and the look after it, in which nobody can tell one from the other.
#[test]
fn what_is_put_where_a_file_was_just_renamed_to_stays_there() {
    let disk = DiskPlan {
        rules: Rules::Loose,
        exchange: true,
        no_replace: true,
        block: 8,
    };
    for put in [Edit::Write, Edit::WriteInPlace] {
        let mut wrong = Vec::new();
        for after in 100..230 {
            let content = Content { number: 3, size: 0 };
            let put = What::Edit(1, put("m".to_owned(), content));
            let renamed = Edit::Rename("a".to_owned(), "m".to_owned());
            let world = World::on_model(&[disk, disk]);
            wrong.extend(play_in(world, &struck(renamed, put, after), 0, false).failure);
        }
        assert!(wrong.len() <= 1, "{wrong:?}");
    }
}

/// What only a disk shows, and the history that shows it if it is struck at the right moment.
fn plan(bug: Bug, after: u32) -> Plan {
    let write = |number| Edit::Write("a".to_owned(), Content { number, size: 0 });
    match bug {
        Bug::PutBackIsSkipped => struck(write(3), What::Edit(1, write(4)), after),
        Bug::RecordedBeforeDurable => {
            let content = Content { number: 3, size: 0 };
            let new = Edit::Write("e/new".to_owned(), content);
            struck(new, What::Kill, after)
        }
        _ => {
            let renamed = Edit::Rename("a".to_owned(), "d/a".to_owned());
            struck(renamed, What::Kill, after)
        }
    }
}

/// What the judge says of it, with the fault in place or not.
fn judged(bug: Bug, planted: bool, after: u32, schedule: u64) -> Option<String> {
    let _planted = Planted::of(planted.then_some(bug));
    let disk = DiskPlan {
        rules: Rules::Loose,
        exchange: true,
        no_replace: true,
        block: 8,
    };
    let world = World::on_model(&[disk, disk]);
    play_in(world, &plan(bug, after), schedule, false).failure
}

fn is_found(bug: Bug, after: u32, schedule: u64) {
    assert!(
        judged(bug, true, after, schedule).is_some(),
        "{bug:?} is not shown; look anew with `soak_planted_on_the_model_disk`"
    );
    assert_eq!(judged(bug, false, after, schedule), None, "without {bug:?}");
}

macro_rules! planted {
    ($($name:ident: $bug:ident, $after:literal, $schedule:literal;)*) => {
        const ALL: &[Bug] = &[$(Bug::$bug),*];
        $(
            #[test]
            fn $name() {
                is_found(Bug::$bug, $after, $schedule);
            }
        )*
    };
}

planted! {
    a_put_back_that_is_skipped: PutBackIsSkipped, 184, 1;
    a_batch_recorded_before_it_is_durable: RecordedBeforeDurable, 208, 3;
    a_rename_recorded_in_two_transactions: RenameIsRecordedInTwo, 195, 3;
}

/// Strikes at each moment of the run that has the planted fault, and prints the first one that shows it.
#[test]
#[ignore = "searches for minutes: cargo xtask soak --minutes N"]
fn soak_planted_on_the_model_disk() {
    let mut lost = Vec::new();
    let wanted = std::env::var("WL_PLANTED").unwrap_or_default();
    let is_wanted = |bug: &&Bug| format!("{bug:?}").contains(&wanted);
    for &bug in ALL.iter().filter(is_wanted) {
        let began = Instant::now();
        // What was published is synced at the end of a run.
        let moments = (0..250).rev();
        let strikes = moments.flat_map(|after| (1..4).map(move |schedule| (after, schedule)));
        let mut strikes = strikes.take_while(|_| began.elapsed() < LONGEST);
        let found = strikes.find_map(|(after, schedule)| {
            Some((after, schedule, judged(bug, true, after, schedule)?))
        });
        match found {
            Some((after, schedule, says)) => {
                let took = began.elapsed();
                println!("    {bug:?}, {after}, {schedule}; // {took:?}: {says}");
            }
            None => lost.push(bug),
        }
    }
    assert!(lost.is_empty(), "not found: {lost:?}");
}
