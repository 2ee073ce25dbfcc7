//! Plays histories of many seeds, and makes those that fail short.

use std::fmt;
use std::time::{Duration, Instant};

use crate::faults::Fired;
use crate::generate::generate;
use crate::life::{Played, World, play_in};
use crate::model::{DiskPlan, generate_on_model};
use crate::plan::{Extras, Plan, Seeds};

/// A history is played this often, and this long, at most to make it shorter.
const MOST_TRIES: usize = 400;
const LONGEST: Duration = Duration::from_secs(20);
/// So many lines of a trace are shown, from its beginning and from its end.
const SHOWN: usize = 60;

/// What the storages of histories are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// In memory, of several kinds.
    Memory,
    /// The local backend on a model of its disk.
    ModelDisk,
}

impl On {
    /// What a seed makes.
    fn make(self, work: u64) -> (Plan, Vec<DiskPlan>) {
        match self {
            Self::Memory => (generate(work), Vec::new()),
            Self::ModelDisk => generate_on_model(work),
        }
    }

    fn play(self, plan: &Plan, disks: &[DiskPlan], schedule: u64, record: bool) -> Played {
        let world = match self {
            Self::Memory => World::in_memory(plan),
            Self::ModelDisk => World::on_model(disks),
        };
        play_in(world, plan, schedule, record)
    }

    /// The tests that one of them is replayed by.
    fn tests(self) -> &'static str {
        match self {
            Self::Memory => "histories",
            Self::ModelDisk => "model_disk",
        }
    }
}

/// A history that should not have been possible.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Where it comes from.
    pub seeds: Seeds,
    /// What was wrong.
    pub why: String,
    /// The shortest history that was found.
    pub plan: Plan,
    /// What its storages are.
    pub on: On,
    /// Their disks, where they are modelled.
    pub disks: Vec<DiskPlan>,
    /// All that happened in it.
    pub lines: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan {
            sites,
            jobs,
            mode,
            direction,
            dawdles,
            steps,
            extras,
        } = &self.plan;
        writeln!(f, "{}", self.why)?;
        writeln!(
            f,
            "\n{mode:?}, {direction:?}, dawdles: {dawdles}, {} jobs",
            jobs.len()
        )?;
        if *extras != Extras::default() {
            writeln!(f, "{extras:?}")?;
        }
        for (number, site) in sites.iter().enumerate() {
            match self.disks.get(number) {
                Some(disk) => writeln!(f, "  {number}: {disk:?}")?,
                None => writeln!(f, "  {number}: {site:?}")?,
            }
        }
        for step in steps {
            writeln!(f, "  after {:>2}: {:?}", step.after, step.what)?;
        }
        writeln!(f, "\nwhat happened:")?;
        let (lines, left_out) = (&self.lines, self.lines.len().saturating_sub(2 * SHOWN));
        for (number, line) in lines.iter().enumerate() {
            match number {
                SHOWN if left_out > 0 => writeln!(f, "  ... {left_out} lines ...")?,
                _ if number < SHOWN || number >= SHOWN + left_out => writeln!(f, "  {line}")?,
                _ => {}
            }
        }
        write!(
            f,
            "\nto see it again:\n  WL_SIMULATE={} cargo test -p wl-simulator --no-default-features --test {} replay -- --ignored --nocapture",
            self.seeds,
            self.on.tests()
        )
    }
}

/// What many histories came to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The histories.
    pub histories: u64,
    /// The moments of their requests.
    pub moments: u64,
    /// How often each kind of fault fired.
    pub fired: Fired,
}

impl Tally {
    fn add(&mut self, played: &Played) {
        self.histories += 1;
        self.moments += played.moments;
        for (name, count) in &played.fired {
            *self.fired.entry(name).or_default() += count;
        }
    }
}

/// Plays the history of these seeds twice, in memory.
pub fn check(seeds: Seeds) -> Result<Played, Box<Failure>> {
    check_on(On::Memory, seeds)
}

/// Plays the history of these seeds twice.
pub fn check_on(on: On, seeds: Seeds) -> Result<Played, Box<Failure>> {
    let (plan, disks) = on.make(seeds.work);
    let play = |record| on.play(&plan, &disks, seeds.schedule, record);
    let played = play(false);
    if let Some(why) = played.failure {
        return Err(Box::new(shortened(on, seeds, plan, disks, why)));
    }
    let again = play(false);
    if again != played {
        let (one, two) = [(); 2].map(|()| play(true).lines).into();
        let at = one.iter().zip(&two).position(|(one, two)| one != two);
        let at = at.unwrap_or(one.len().min(two.len()));
        let why = format!(
            "the same seeds made two histories; line {at}: {:?} and {:?}",
            one.get(at),
            two.get(at)
        );
        return Err(Box::new(Failure {
            seeds,
            why,
            plan,
            on,
            disks,
            lines: one,
        }));
    }
    Ok(played)
}

fn shortened(on: On, seeds: Seeds, plan: Plan, disks: Vec<DiskPlan>, why: String) -> Failure {
    let play = |plan: &Plan, record| on.play(plan, &disks, seeds.schedule, record);
    let plan = shrink(plan, |plan| play(plan, false).failure.is_some());
    let played = play(&plan, true);
    Failure {
        seeds,
        why: played.failure.unwrap_or(why),
        plan,
        on,
        disks,
        lines: played.lines,
    }
}

/// Leaves out of a plan what it fails without.
pub fn shrink(mut plan: Plan, fails: impl Fn(&Plan) -> bool) -> Plan {
    let (mut tries, began) = (0, Instant::now());
    let mut still = |plan: &Plan| {
        tries += 1;
        tries <= MOST_TRIES && began.elapsed() < LONGEST && fails(plan)
    };
    let mut size = plan.steps.len();
    while size > 0 {
        let mut at = 0;
        while at < plan.steps.len() {
            let mut less = plan.clone();
            less.steps.drain(at..(at + size).min(plan.steps.len()));
            if still(&less) {
                plan = less;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    let mut plainer = vec![];
    plainer.push(Plan {
        dawdles: false,
        ..plan.clone()
    });
    plainer.push(Plan {
        extras: Extras::default(),
        ..plan.clone()
    });
    for site in 0..plan.sites.len() {
        let mut less = plan.clone();
        less.sites[site] = Default::default();
        plainer.push(less);
    }
    plainer.into_iter().find(|plan| still(plan)).unwrap_or(plan)
}

/// Plays the histories of these seeds in memory, twice each, until one fails or the time is over.
pub fn search(
    seeds: impl IntoIterator<Item = Seeds>,
    time: Duration,
) -> Result<Tally, Box<Failure>> {
    search_on(On::Memory, seeds, time)
}

/// Plays the histories of these seeds, twice each, until one fails or the time is over.
pub fn search_on(
    on: On,
    seeds: impl IntoIterator<Item = Seeds>,
    time: Duration,
) -> Result<Tally, Box<Failure>> {
    let mut first = None;
    let tally = search_all(on, seeds, time, |failure| {
        first = Some(failure);
        false
    });
    first.map_or(Ok(tally), Err)
}

/// Plays the histories of these seeds, twice each, until the time is over, or `failed` wants no more of it. What failed does not count.
pub fn search_all(
    on: On,
    seeds: impl IntoIterator<Item = Seeds>,
    time: Duration,
    mut failed: impl FnMut(Box<Failure>) -> bool,
) -> Tally {
    let began = Instant::now();
    let mut tally = Tally::default();
    for seeds in seeds {
        if began.elapsed() >= time {
            break;
        }
        match check_on(on, seeds) {
            Ok(played) => tally.add(&played),
            Err(failure) => {
                if !failed(failure) {
                    break;
                }
            }
        }
    }
    tally
}
