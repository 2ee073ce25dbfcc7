//! Small worlds, all of them: every history of so many steps over two storages, two paths and two contents. No dice.
//!
//! A history is a word of steps. *At rest* somebody edits a side (writes a content to a path, removes a path, moves a path to the other),
//! a listing of a side is going to fail, or a run is made. A run may be struck once, at any of its moments: by an edit of a side, by
//! the death of the process, by a reply of a side that gets lost. A run that is struck counts as two steps.
//!
//! Not played is only what is the same as a history that is:
//!
//! - *Order*. Edits of different sides and planned failures at rest do not see each other: each touches what belongs to one side alone,
//!   and nothing runs. Of all orders the one is played in which the ranks of neighbours never fall ([`rank`]). Where the judge asks who
//!   wrote a content first this is the stricter order: the source comes before the target.
//! - *Edits that do nothing*. To remove what is not there, or to move it, or to move something onto something, changes no storage. At rest the history
//!   without it is the same, and is played; the judge excuses more with it.
//! - *Moments after the end*. A strike at a moment that a run does not reach happens at rest, which is another word. (A death at rest ends
//!   nothing; a lost reply is lost in the next run, as one that strikes at its first moment.)
//!
//! What is left out so is counted by its formula, and all must add up to the number of words ([`SmallWorlds::words`]).

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use wl_core::model::Direction;
use wl_core::storage::ErrorKind;

use crate::faults::{Fault, Fired};
use crate::life::play;
use crate::plan::{Content, Edit, Extras, Job, Mode, Plan, SitePlan, Step, What};
use crate::site::Tree;

const SITES: usize = 2;
const PATHS: [&str; 2] = ["a", "b"];
const CONTENTS: u32 = 2;
/// Later than any moment of a run: at rest.
const AT_REST: u32 = u32::MAX;
/// Ranks of steps at rest: failures and edits of each side.
const RANKS: usize = 2 * SITES;

/// Which histories.
#[derive(Clone, Copy, Debug)]
pub struct SmallWorlds {
    /// How many steps at most.
    pub steps: usize,
    /// No run has more moments than this; it fails if one has.
    pub moments: u32,
    /// So many paths are the same on both sides, and known to be, when the history begins: 0, 1 or 2.
    pub agreed: usize,
    /// Which way changes travel.
    pub direction: Direction,
}

/// What was played.
#[derive(Clone, Debug, Default)]
pub struct SmallTally {
    /// Histories that were played.
    pub played: u64,
    /// Words that are the same as one that was played.
    pub same: u64,
    /// The moments of the longest run.
    pub longest: u64,
    /// How often each kind of fault fired.
    pub fired: Fired,
}

impl SmallTally {
    fn add(&mut self, other: Self) {
        self.played += other.played;
        self.same += other.same;
        self.longest = self.longest.max(other.longest);
        for (name, count) in other.fired {
            *self.fired.entry(name).or_default() += count;
        }
    }
}

/// A history that should not have been possible.
#[derive(Clone, Debug)]
pub struct SmallFailure {
    /// What was wrong.
    pub why: String,
    /// The history.
    pub plan: Plan,
    /// All that happened in it.
    pub lines: Vec<String>,
}

impl fmt::Display for SmallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n\n{:?}", self.why, self.plan.direction)?;
        for Step { after, what } in &self.plan.steps {
            match *after {
                AT_REST => writeln!(f, "  at rest: {what:?}")?,
                moment => writeln!(f, "  at moment {moment} of it: {what:?}")?,
            }
        }
        writeln!(f, "\nwhat happened:")?;
        self.lines
            .iter()
            .try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// The edits of a side.
fn edits(site: usize) -> Vec<What> {
    let mut edits = Vec::new();
    for (path, other) in [(PATHS[0], PATHS[1]), (PATHS[1], PATHS[0])] {
        for number in 1..=CONTENTS {
            edits.push(Edit::Write(path.to_owned(), Content { number, size: 0 }));
        }
        edits.push(Edit::Remove(path.to_owned()));
        edits.push(Edit::Rename(path.to_owned(), other.to_owned()));
    }
    let edits = edits.into_iter().map(|edit| What::Edit(site, edit));
    edits.collect()
}

/// A listing that fails at its beginning, or after a row.
fn failures(site: usize) -> Vec<What> {
    let breaks = |rows| What::Fault(site, Fault::ListingBreaks(rows));
    vec![breaks(0), breaks(1)]
}

/// What happens at rest, by rank.
fn rank(rank: usize) -> Vec<What> {
    match rank {
        0..SITES => failures(rank),
        _ => edits(rank - SITES),
    }
}

/// What strikes a run.
fn strikes() -> Vec<What> {
    let lost = |site| What::Fault(site, Fault::ReplyLost(ErrorKind::Temporary));
    let mut strikes: Vec<_> = (0..SITES).flat_map(edits).collect();
    strikes.extend((0..SITES).map(lost));
    strikes.push(What::Kill);
    strikes
}

fn at_rest(what: What) -> Step {
    let after = AT_REST;
    Step { after, what }
}

/// Whether an edit changes nothing where this is what there is.
fn does_nothing(what: &What, shown: &[Tree]) -> bool {
    match what {
        What::Edit(site, Edit::Remove(path)) => !shown[*site].contains_key(path),
        What::Edit(site, Edit::Rename(from, to)) => {
            !shown[*site].contains_key(from) || shown[*site].contains_key(to)
        }
        _ => false,
    }
}

impl SmallWorlds {
    /// The number of words: the sum of the first coefficients of `B / (1 - R B)`. `B` stands for what may happen between two runs, a factor
    /// `1 / (1 - n x)` for the `n` steps of each rank; `R` is `x + s x^2`, a run and a run that is struck in one of `s` ways.
    pub fn words(&self) -> u64 {
        let most = self.steps;
        let mut rest = vec![0_u64; most + 1];
        rest[0] = 1;
        for many in (0..RANKS).map(|number| rank(number).len() as u64) {
            for at in 1..=most {
                rest[at] += many * rest[at - 1];
            }
        }
        let strikes = strikes().len() as u64 * u64::from(self.moments);
        let mut words = vec![0_u64; most + 1];
        for at in 0..=most {
            // W = B + B R W
            let mut sum = rest[at];
            for first in 0..at {
                let run = words[at - 1 - first];
                let struck = if at >= first + 2 {
                    words[at - 2 - first]
                } else {
                    0
                };
                sum += rest[first] * (run + strikes * struck);
            }
            words[at] = sum;
        }
        words.iter().sum()
    }

    /// Plays all of them, `workers` at once.
    pub fn play(&self, workers: usize) -> Result<SmallTally, Box<SmallFailure>> {
        let whole = Walk::new(self);
        let firsts = whole.openings();
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let all = Mutex::new(Ok(SmallTally::default()));
        let work = || {
            while let Some(opening) = firsts.get(next.fetch_add(1, Relaxed)) {
                if stop.load(Relaxed) {
                    return;
                }
                let mut walk = Walk::new(self);
                let done = walk.from(opening);
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                match (done, &mut *all) {
                    (Ok(()), Ok(tally)) => tally.add(walk.tally),
                    (Err(failure), Ok(_)) => {
                        stop.store(true, Relaxed);
                        *all = Err(failure);
                    }
                    (_, Err(_)) => {}
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..workers.max(1) {
                scope.spawn(work);
            }
        });
        all.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a part of the histories begins.
enum Opening {
    /// The word without any step, alone.
    Nothing,
    /// This step at rest, of this rank; `None`: a run.
    Step(What, Option<usize>),
    /// The first run is struck by this.
    Struck(What),
}

/// A walk through the tree of all words.
struct Walk<'a> {
    worlds: &'a SmallWorlds,
    plan: Plan,
    /// Steps that strike runs.
    amid: u32,
    strikes: Vec<What>,
    ranks: Vec<Vec<What>>,
    tally: SmallTally,
}

/// What a history came to, as far as it matters for those that go on from it.
struct Leaf {
    shown: Vec<Tree>,
    last_run: u64,
}

impl<'a> Walk<'a> {
    fn new(worlds: &'a SmallWorlds) -> Self {
        let write = |(path, number): (&&str, u32)| {
            let edit = Edit::Write((*path).to_owned(), Content { number, size: 0 });
            at_rest(What::Edit(0, edit))
        };
        let agreed = PATHS.iter().zip(1..).take(worlds.agreed);
        let mut steps: Vec<_> = agreed.map(write).collect();
        if worlds.agreed > 0 {
            steps.push(at_rest(What::Run));
        }
        Self {
            worlds,
            plan: Plan {
                sites: vec![SitePlan::default(); SITES],
                jobs: vec![Job {
                    source: 0,
                    target: 1,
                }],
                mode: Mode::OneShot,
                direction: worlds.direction,
                dawdles: false,
                steps,
                extras: Extras::default(),
            },
            amid: 0,
            strikes: strikes(),
            ranks: (0..RANKS).map(rank).collect(),
            tally: SmallTally::default(),
        }
    }

    fn openings(&self) -> Vec<Opening> {
        let mut all = vec![Opening::Nothing];
        if self.worlds.steps > 0 {
            all.push(Opening::Step(What::Run, None));
            let ranks = self.ranks.iter().enumerate();
            all.extend(ranks.flat_map(|(rank, steps)| {
                let steps = steps.iter().cloned();
                steps.map(move |step| Opening::Step(step, Some(rank)))
            }));
        }
        if self.worlds.steps > 1 {
            all.extend(self.strikes.iter().cloned().map(Opening::Struck));
        }
        all
    }

    fn from(&mut self, opening: &Opening) -> Result<(), Box<SmallFailure>> {
        let left = self.worlds.steps;
        match opening {
            Opening::Nothing => self.play(true).map(drop),
            Opening::Step(what, rank) => {
                let shown = self.play(false)?.shown;
                self.step(what.clone(), *rank, &shown, left).map(drop)
            }
            Opening::Struck(what) => {
                self.plan.steps.push(at_rest(What::Run));
                let ran = self.play(false)?.last_run;
                self.plan.steps.pop();
                self.struck(what, ran, left)
            }
        }
    }

    /// Plays the history of the plan as it is.
    fn play(&mut self, counts: bool) -> Result<Leaf, Box<SmallFailure>> {
        let played = play(&self.plan, 0, false);
        let mut why = played.failure;
        if why.is_none() && played.amid != self.amid {
            why = Some("a strike did not happen in its run".to_owned());
        }
        if why.is_none() && played.last_run > u64::from(self.worlds.moments) {
            why = Some(format!(
                "a run has {} moments; raise the number of moments",
                played.last_run
            ));
        }
        if let Some(why) = why {
            return Err(Box::new(SmallFailure {
                why,
                plan: self.plan.clone(),
                lines: play(&self.plan, 0, true).lines,
            }));
        }
        let tally = SmallTally {
            played: u64::from(counts),
            same: 0,
            longest: played.last_run,
            fired: if counts { played.fired } else { Fired::new() },
        };
        self.tally.add(tally);
        Ok(Leaf {
            shown: played.shown,
            last_run: played.last_run,
        })
    }

    /// The history as it is, and all that go on from it with so many steps: at rest none of a lower rank.
    fn all(&mut self, lowest: usize, left: usize) -> Result<u64, Box<SmallFailure>> {
        let leaf = self.play(true)?;
        if left == 0 {
            return Ok(leaf.last_run);
        }
        for rank in lowest..RANKS {
            for what in self.ranks[rank].clone() {
                self.step(what, Some(rank), &leaf.shown, left)?;
            }
        }
        let ran = self.step(What::Run, None, &leaf.shown, left)?;
        if left > 1 {
            for what in self.strikes.clone() {
                self.struck(&what, ran, left)?;
            }
        }
        Ok(leaf.last_run)
    }

    /// All histories that go on with this step at rest. How long its run is, if it is one.
    fn step(
        &mut self,
        what: What,
        rank: Option<usize>,
        shown: &[Tree],
        left: usize,
    ) -> Result<u64, Box<SmallFailure>> {
        let rank = rank.unwrap_or(0);
        if does_nothing(&what, shown) {
            self.tally.same += self.words(rank, left - 1);
            return Ok(0);
        }
        self.plan.steps.push(at_rest(what));
        let ran = self.all(rank, left - 1)?;
        self.plan.steps.pop();
        Ok(ran)
    }

    /// All histories that go on with a run that this strikes; left to itself the run has `ran` moments.
    fn struck(&mut self, what: &What, ran: u64, left: usize) -> Result<(), Box<SmallFailure>> {
        self.plan.steps.push(at_rest(What::Run));
        self.amid += 1;
        for after in 1..=self.worlds.moments {
            if u64::from(after) > ran {
                self.tally.same += self.words(0, left - 2);
                continue;
            }
            let what = what.clone();
            self.plan.steps.push(Step { after, what });
            self.all(0, left - 2)?;
            self.plan.steps.pop();
        }
        self.amid -= 1;
        self.plan.steps.pop();
        Ok(())
    }

    /// How many words go on with so many steps at most, at rest none of a lower rank first.
    fn words(&self, lowest: usize, left: usize) -> u64 {
        if left == 0 {
            return 1;
        }
        let ranks = (lowest..RANKS).map(|rank| {
            let many = self.ranks[rank].len() as u64;
            many * self.words(rank, left - 1)
        });
        let strikes = self.strikes.len() as u64 * u64::from(self.worlds.moments);
        let struck = match left {
            1 => 0,
            _ => strikes * self.words(0, left - 2),
        };
        1 + ranks.sum::<u64>() + self.words(0, left - 1) + struck
    }
}
