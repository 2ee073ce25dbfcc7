//! Histories from seeds: a few in every run of the tests, many in a soak.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wl_core::storage::{CasGrade, StorageBackend};
use wl_simulator::{
    Content, Dice, Edit, Fired, Kept, MemorySite, On, Plan, Seeds, Site, Step, Tally, Tree, What,
    Windows, World, check, play_in, search, search_all,
};

/// Every kind of fault, each of which must fire now and then.
const FAULTS: [&str; 25] = [
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
    "strike at a request",
    "unreadable",
    "unmounted",
    "listing shows what was",
    "dry run",
    "events reordered",
    "pages of different moments",
    "token shared by versions",
    "write to an open file",
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
    let tally = found(search(seeds(1).take(100), Duration::from_secs(600)));
    assert_eq!(tally.histories, 100);
    for fault in FAULTS {
        assert!(tally.fired.contains_key(fault), "{fault}: {tally:?}");
    }
}

/// A storage that does not own up to what it overwrote.
#[derive(Debug)]
struct Silent(MemorySite);

impl Site for Silent {
    fn backend(&self) -> Arc<dyn StorageBackend> {
        self.0.backend()
    }

    fn set_windows(&self, windows: Arc<dyn Windows>) {
        self.0.set_windows(windows);
    }

    fn edit(&self, edit: &Edit) {
        self.0.edit(edit);
    }

    fn tree(&self) -> Tree {
        self.0.tree()
    }

    fn kept(&self) -> Vec<Kept> {
        self.0.kept()
    }

    fn struck(&self) -> Fired {
        self.0.struck()
    }

    fn crash(&self, dice: &mut Dice) {
        self.0.crash(dice);
    }

    fn age(&self) {
        self.0.age();
    }
}

/// An editor strikes at the target, after so many moments of the run that brings another version there.
fn struck(does: CasGrade, after: u32) -> Plan {
    let write = |number| Edit::Write("a".to_owned(), Content { number, size: 0 });
    let step = |after, what| Step { after, what };
    let mut plan = Plan::of_two(vec![
        step(0, What::Edit(0, write(1))),
        step(0, What::Run),
        step(0, What::Rest),
        step(0, What::Edit(0, write(2))),
        step(0, What::Run),
        step(after, What::Edit(1, write(3))),
    ]);
    plan.sites[1].does = does;
    plan
}

#[test]
fn what_a_storage_overwrites_and_should_not_have_is_found() {
    let wrong = |does| {
        let mut wrong = Vec::new();
        for after in 1..90 {
            let plan = struck(does, after);
            let mut world = World::in_memory(&plan);
            world.sites[1] = Arc::new(Silent(MemorySite::new(&plan.sites[1])));
            let played = play_in(world, &plan, 1, false);
            let overwrites = played.fired.contains_key("more claimed than done");
            assert_eq!(overwrites, played.failure.is_some(), "{does:?} {after}");
            wrong.extend(played.failure);
        }
        wrong
    };
    assert_eq!(wrong(CasGrade::Atomic), [""; 0]);
    assert_eq!(wrong(CasGrade::Recoverable), [""; 0]);
    for does in [CasGrade::Checked, CasGrade::None] {
        let wrong = wrong(does);
        assert!(!wrong.is_empty(), "{does:?}");
        for why in wrong {
            let lost = "v0003, written in storage 1, was given up by nobody";
            assert!(why.starts_with(lost), "{why}");
        }
    }
}

#[test]
fn a_dry_run_is_held_against_the_run_after_it() {
    let edit = Edit::Write("a".to_owned(), Content { number: 1, size: 0 });
    let step = |what| Step { after: 0, what };
    let edit = step(What::Edit(0, edit));
    let plan = Plan::of_two(vec![edit, step(What::DryRun), step(What::Run)]);
    let played = play_in(World::in_memory(&plan), &plan, 1, false);
    assert_eq!(played.failure, None);
    assert!(played.fired.contains_key("dry run that came true"));
}

#[test]
fn storages_that_copy_among_themselves_do_so() {
    let edit = Edit::Write("a".to_owned(), Content { number: 1, size: 0 });
    let step = |what| Step { after: 0, what };
    let mut plan = Plan::of_two(vec![step(What::Edit(0, edit)), step(What::Run)]);
    for copies in [false, true] {
        plan.extras.server_copy = copies;
        let played = play_in(World::in_memory(&plan), &plan, 1, true);
        assert_eq!(played.failure, None);
        let asked = |what: &str| played.lines.iter().any(|line| line.contains(what));
        assert!(asked("Stage a"), "{:?}", played.lines);
        assert_eq!(asked("ReadSmall a"), !copies, "{:?}", played.lines);
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

/// Histories for as many minutes as `WL_SOAK_MINUTES` says; to its end, whatever is found, with `WL_SIMULATE_ON`.
#[test]
#[ignore = "runs for minutes: cargo xtask soak --minutes N"]
fn soak_simulator() {
    let minutes = std::env::var("WL_SOAK_MINUTES").ok();
    let minutes = minutes.and_then(|text| text.parse().ok()).unwrap_or(1_u64);
    let from = std::env::var("WL_SIMULATE_FROM").ok();
    let from = from.and_then(|text| text.parse().ok());
    // Another soak plays other histories.
    let from = from.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_secs() * 1000
    });
    println!("from WL_SIMULATE_FROM={from}");
    let began = Instant::now();
    let (goes_on, mut wrong) = (std::env::var_os("WL_SIMULATE_ON").is_some(), 0);
    let time = Duration::from_secs(60 * minutes);
    let tally = search_all(On::Memory, seeds(from), time, |failure| {
        println!("{failure}\n");
        wrong += 1;
        goes_on
    });
    println!("{tally:?} in {:?}", began.elapsed());
    assert_eq!(wrong, 0, "what is wrong is told above");
}
