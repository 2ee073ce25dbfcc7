//! Runs that only say what they would do.

use wl_core::model::{ChangeCounts, Conflict, RunReport, Sides};
use wl_core::state::BaselineRow;
use wl_core::testing::{Call, Operation};

use super::Inner;

/// What runs said that they would do, and what the world was like then.
#[derive(Debug, Default)]
pub(super) struct Rehearsal {
    goes_on: bool,
    /// What the baselines said before.
    rows: Vec<Vec<BaselineRow>>,
    /// One for each job.
    said: Vec<Option<Said>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    world: World,
    changes: Sides<ChangeCounts>,
    conflicts: Vec<String>,
    drift: Vec<String>,
}

/// What must not have changed if the next run is to do just that: edits, and faults that fired.
type World = (usize, u64, u64);

/// Whether a request changes anything at all.
fn writes(operation: Operation) -> bool {
    use Operation as O;
    !matches!(
        operation,
        O::RootMarker
            | O::List
            | O::ListNext
            | O::Stat
            | O::FileToken
            | O::Hash
            | O::Read
            | O::ReadNext
            | O::ReadSmall
            | O::TrashList
            | O::Watcher
    )
}

impl Said {
    fn of(world: World, report: &RunReport) -> Option<Self> {
        let whole = report.error.is_none() && report.problems.is_empty();
        // What is found in the trash is found when it is looked through, which a dry run does not do.
        let of_trees =
            |conflict: &&Conflict| conflict.source.is_some() || conflict.target.is_some();
        let conflicts = report.conflicts.iter().filter(of_trees);
        whole.then(|| Self {
            world,
            changes: report.changes,
            conflicts: conflicts.map(|conflict| conflict.path.clone()).collect(),
            drift: report
                .drift
                .iter()
                .map(|drift| drift.path.clone())
                .collect(),
        })
    }
}

impl Inner {
    fn all_rows(&self) -> Vec<Vec<BaselineRow>> {
        let pairs = self.jobs.iter();
        let pairs = pairs.map(|sites| sites.map(|site| &*self.identities[site]));
        pairs.map(|pair| self.world.states.rows(pair)).collect()
    }

    fn as_it_is(&self) -> World {
        let fired = self.fired.values().sum();
        (self.edits.len(), fired, self.began_lives)
    }

    /// From now on a run only says what it would do; or that is over.
    pub fn rehearse(&mut self, goes_on: bool) {
        self.rehearsal.goes_on = goes_on;
        if goes_on {
            self.rehearsal.rows = self.all_rows();
            *self.fired.entry("dry run").or_default() += 1;
        } else if self.rehearsal.rows != self.all_rows() {
            self.fail("a dry run changed the baseline".to_owned());
        }
    }

    /// A process begins: whatever went on is over.
    pub(super) fn no_rehearsal(&mut self) {
        self.rehearsal = Rehearsal::default();
        self.began_lives += 1;
    }

    /// In a rehearsal nothing is asked for that changes anything.
    pub(super) fn is_allowed(&mut self, call: &Call) {
        if self.rehearsal.goes_on && writes(call.operation) {
            self.fail(format!("a dry run asks for {:?}", call.operation));
        }
    }

    /// Whether a run only says what it would do.
    pub(super) fn rehearses(&self) -> bool {
        self.rehearsal.goes_on
    }

    /// What the world is like when a run begins.
    pub fn before_run(&self) -> (usize, u64, u64) {
        self.as_it_is()
    }

    /// The job of this number has told what it would do; or did it.
    pub fn ran(&mut self, job: usize, began: (usize, u64, u64), report: &RunReport) {
        let undisturbed = self.jobs.len() == 1 && began == self.as_it_is();
        let stale = !self.quiet && self.stale.iter().any(|stale| *stale);
        // A folder that is only implied goes with what is in it: how many removals that is cannot be foretold.
        let foretold = undisturbed && !stale && self.keeps_folders;
        let now = Said::of(began, report).filter(|_| foretold);
        if self.rehearsal.goes_on {
            self.rehearsal.said.resize(job + 1, None);
            self.rehearsal.said[job] = now;
            return;
        }
        let said = self.rehearsal.said.get_mut(job).and_then(Option::take);
        if let (Some(said), Some(now)) = (said, now)
            && said.world == now.world
        {
            *self.fired.entry("dry run that came true").or_default() += 1;
            if said != now {
                self.fail(format!("a dry run said {said:?}, and the run was {now:?}"));
            }
        }
    }
}
