//! What a pass has done and found, for the report.

use std::collections::BTreeSet;

use super::node::Node;
use crate::filter::IGNORE_FILE;
use crate::model::{ByteCounts, ChangeCounts, Conflict, Drift, Problem, Side, Sides, SyncPath};
use crate::planted::{Bug, planted};
use crate::storage::{Area, ErrorKind, StorageError};
use crate::sync::exclude::is_ignore_file;

/// A list longer than this is cut, with a last entry that says so: memory does not grow with the number of failures.
const MOST_LISTED: usize = 10_000;

/// What a pass has done and found.
#[derive(Debug, Default)]
pub(in crate::sync) struct Tally {
    pub(in crate::sync) changes: Sides<ChangeCounts>,
    pub(in crate::sync) bytes: ByteCounts,
    pub(in crate::sync) found: Findings,
}

/// What a pass has found; the next pass finds it again if it is still so.
#[derive(Debug, Default)]
pub(in crate::sync) struct Findings {
    pub(in crate::sync) conflicts: Vec<Conflict>,
    pub(in crate::sync) problems: Vec<Problem>,
    pub(in crate::sync) drift: Vec<Drift>,
    pub(in crate::sync) skipped: u64,
    pub(in crate::sync) excluded: u64,
    /// So many contents would be given up by removals that wait.
    pub(in crate::sync) waiting: u64,
    /// Paths that moved on while the pass was looking: another pass will find them.
    pub(in crate::sync) unfinished: Vec<Problem>,
    /// Those of them that changed while they were read.
    written: BTreeSet<String>,
    /// Those of these that were not even read, as the last write is a moment ago.
    let_be: BTreeSet<String>,
    /// New paths of versions that were put beside another: they have to be looked at too.
    pub(in crate::sync) beside: Vec<SyncPath>,
    /// Where a folder should be and is none: where folders are only implied, nobody looks above a place unasked.
    pub(in crate::sync) above: BTreeSet<SyncPath>,
    /// Folders that both had, that one side has given up and that the other still has, for whatever reason: the topmost of them.
    pub(in crate::sync) stays: BTreeSet<SyncPath>,
    /// Other things are to be left out by now: removals were given up because of that, or a file of rules was brought.
    pub(in crate::sync) other_rules: bool,
    /// What is left out on one side keeps something on the other from being carried over.
    pub(in crate::sync) withheld: bool,
    /// The same, and no watcher tells of what is left out.
    pub(in crate::sync) in_the_way: bool,
    /// Where groups are that are left out for their size: nothing was decided there.
    pub(super) too_large: Vec<SyncPath>,
    /// Paths for which there was no room.
    pub(in crate::sync) full: BTreeSet<String>,
    /// A group was not at rest.
    pub(in crate::sync) restless: bool,
    /// A conflict that somebody wants to end was met.
    pub(in crate::sync) met: bool,
    problems_cut: u64,
    unfinished_cut: u64,
}

/// What is no trouble to a run that goes on, which looks again and again.
#[derive(Debug, Default)]
pub(in crate::sync) struct Later {
    /// Paths that somebody is writing to.
    pub(in crate::sync) written: Vec<SyncPath>,
    /// Those of them that were not even read.
    pub(in crate::sync) let_be: Vec<SyncPath>,
    /// [`Findings::withheld`].
    pub(in crate::sync) withheld: bool,
    /// [`Findings::in_the_way`].
    pub(in crate::sync) in_the_way: bool,
    /// [`Findings::stays`].
    pub(in crate::sync) stays: BTreeSet<SyncPath>,
}

impl Tally {
    /// What was done is added; what was found takes the place of what was found before.
    pub(in crate::sync) fn add(&mut self, other: Self) {
        for side in Side::BOTH {
            let (sum, new) = (&mut self.changes[side], &other.changes[side]);
            sum.created += new.created;
            sum.updated += new.updated;
            sum.removed += new.removed;
            sum.renamed += new.renamed;
        }
        self.bytes.read += other.bytes.read;
        self.bytes.written += other.bytes.written;
        self.found = other.found;
    }

    pub(super) fn problem(&mut self, path: &SyncPath, error: &StorageError, storage: &str) {
        if planted(Bug::ProblemIsNotTold) {
            return;
        }
        let problem = problem(path, error, storage);
        if error.kind() == ErrorKind::Full && self.found.problems.len() < MOST_LISTED {
            self.found.full.insert(problem.path.clone());
        }
        self.add_problem(problem);
    }

    pub(in crate::sync) fn add_problem(&mut self, problem: Problem) {
        if self.found.problems.len() < MOST_LISTED {
            self.found.problems.push(problem);
        } else {
            self.found.problems_cut += 1;
        }
    }

    /// A side's file of rules was replaced or removed: what it left out until now may not be left out any longer, and nobody has looked there.
    pub(super) fn rules_may_have_changed(&mut self, path: &SyncPath, dry_run: bool) {
        self.found.other_rules |= is_ignore_file(path) && !dry_run;
    }

    /// The node is left alone. `kept`: so is what it is in or belongs to, because of it.
    pub(super) fn left_alone(&mut self, node: &Node, kept: bool) {
        self.found.excluded += u64::from(node.is_left_out());
        let is_there = |&side: &Side| node.found[side].meta().is_some();
        if kept || Side::BOTH.iter().any(is_there) {
            self.found.withheld = true;
            self.found.in_the_way |= node.is_left_out() && !node.large;
        }
    }

    pub(super) fn unfinished(&mut self, path: &SyncPath, error: &StorageError, storage: &str) {
        if self.found.unfinished.len() < MOST_LISTED {
            let problem = problem(path, error, storage);
            if error.kind() == ErrorKind::Busy && ["read", "hash"].contains(&error.operation()) {
                self.found.written.insert(problem.path.clone());
            }
            if error.kind() == ErrorKind::NoParent {
                self.found.above.extend(path.ancestors());
            }
            self.found.unfinished.push(problem);
        } else {
            self.found.unfinished_cut += 1;
        }
    }

    /// An unfinished path is written to by somebody.
    pub(super) fn is_written(&mut self, path: &SyncPath) {
        self.found.written.insert(path.as_str().to_owned());
    }

    /// The path is let be: somebody wrote to it a moment ago.
    pub(super) fn let_be(&mut self, path: &SyncPath, error: &StorageError, storage: &str) {
        self.unfinished(path, error, storage);
        self.is_written(path);
        self.found.let_be.insert(path.as_str().to_owned());
    }

    pub(super) fn conflict(&mut self, conflict: Conflict) {
        if !planted(Bug::ConflictIsNotTold) {
            self.found.conflicts.push(conflict);
        }
    }

    pub(super) fn drift(&mut self, path: &SyncPath, reason: &str) {
        if planted(Bug::DriftIsNotTold) {
            return;
        }
        self.found.drift.push(Drift {
            path: path.as_str().to_owned(),
            reason: reason.to_owned(),
        });
    }
}

impl Findings {
    /// What was found at another place is added.
    pub(in crate::sync) fn add(&mut self, other: Self) {
        self.conflicts.extend(other.conflicts);
        self.problems.extend(other.problems);
        self.drift.extend(other.drift);
        self.skipped += other.skipped;
        self.excluded += other.excluded;
        self.unfinished.extend(other.unfinished);
        self.written.extend(other.written);
        self.let_be.extend(other.let_be);
        self.beside.extend(other.beside);
        self.above.extend(other.above);
        self.stays.extend(other.stays);
        self.full.extend(other.full);
        self.waiting += other.waiting;
        self.restless |= other.restless;
        self.withheld |= other.withheld;
        self.in_the_way |= other.in_the_way;
        self.other_rules |= other.other_rules;
        self.problems_cut += other.problems_cut;
        self.unfinished_cut += other.unfinished_cut;
    }

    /// Forgets what was found in `area`: it is looked at again.
    pub(in crate::sync) fn forget(&mut self, area: &Area) {
        let outside = |path: &str| SyncPath::new(path).map_or(true, |path| !area.holds(&path));
        self.conflicts.retain(|conflict| outside(&conflict.path));
        self.problems.retain(|problem| outside(&problem.path));
        self.drift.retain(|drift| outside(&drift.path));
        self.unfinished.retain(|problem| outside(&problem.path));
        self.stays.retain(|path| !area.holds(path));
    }

    /// A folder is there on one side only. It stays unless it is removed.
    pub(super) fn gave_up(&mut self, path: &SyncPath) {
        if !path.ancestors().any(|above| self.stays.contains(&above)) {
            self.stays.insert(path.clone());
        }
    }

    /// Whether another pass is called for.
    pub(in crate::sync) fn is_unfinished(&self) -> bool {
        !self.unfinished.is_empty() || self.other_rules
    }

    /// Whether it may be worth while at once.
    pub(in crate::sync) fn calls_for_pass(&self) -> bool {
        let is_let_be = |problem: &Problem| self.let_be.contains(&problem.path);
        self.other_rules || !self.unfinished.iter().all(is_let_be)
    }

    /// Whether the problem is one of a path that is let be for a moment.
    pub(in crate::sync) fn lets_be(&self, problem: &Problem) -> bool {
        self.let_be.contains(&problem.path)
    }

    /// What whoever looks again, and again, finds at rest one day.
    pub(in crate::sync) fn take_for_later(&mut self) -> Later {
        let let_be = paths(std::mem::take(&mut self.let_be).into_iter());
        let written = std::mem::take(&mut self.written);
        let unfinished = std::mem::take(&mut self.unfinished).into_iter();
        let (of_them, others) = unfinished.partition(|problem| written.contains(&problem.path));
        self.unfinished = others;
        let of_them: Vec<Problem> = of_them;
        Later {
            written: paths(of_them.into_iter().map(|problem| problem.path)),
            let_be,
            withheld: self.withheld,
            in_the_way: self.in_the_way,
            stays: std::mem::take(&mut self.stays),
        }
    }

    /// No further pass comes: what is unfinished is a problem now, and cut lists say so. `goes_on`: the job looks again by itself.
    pub(in crate::sync) fn close(&mut self, goes_on: bool) {
        if planted(Bug::UnrestIsNotTold) {
            self.unfinished.clear();
        }
        for mut problem in std::mem::take(&mut self.unfinished) {
            problem.reason.push_str(match goes_on {
                true => "; it is tried again by itself",
                false => "; it kept changing, run again when it is quiet",
            });
            self.problems.push(problem);
        }
        if std::mem::take(&mut self.other_rules) {
            self.problems.push(Problem {
                path: IGNORE_FILE.into(),
                storage: String::new(),
                operation: "filter".into(),
                reason: match goes_on {
                    true => "it kept changing, and nothing was removed and no conflict ended meanwhile; it is looked at again by itself",
                    false => "it kept changing, and nothing was removed and no conflict ended meanwhile; run again when it is as it should be",
                }
                .into(),
            });
        }
        let cut = self.problems_cut + self.unfinished_cut;
        if cut > 0 {
            self.problems.push(Problem {
                path: ".".into(),
                storage: String::new(),
                operation: "sync".into(),
                reason: format!("{cut} more paths failed and are not listed"),
            });
        }
    }
}

fn paths(texts: impl Iterator<Item = String>) -> Vec<SyncPath> {
    texts.filter_map(|text| SyncPath::new(text).ok()).collect()
}

fn problem(path: &SyncPath, error: &StorageError, storage: &str) -> Problem {
    Problem {
        path: if path.is_root() {
            ".".into()
        } else {
            path.as_str().into()
        },
        storage: storage.into(),
        operation: error.operation().into(),
        reason: error.reason().into(),
    }
}
