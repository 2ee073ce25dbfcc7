//! What jobs say, and what they can have known by then.

use std::time::Duration;

use wl_core::model::{RunReport, Sides};

use super::Inner;
use crate::judge::Judge;

/// A look does not take longer than this.
const LOOK: Duration = Duration::from_secs(5);
/// A look at what a watcher has told of begins at once, and then does not take longer than this.
const SHORT_LOOK: Duration = Duration::from_secs(3);

/// An edit that was made.
#[derive(Clone, Debug, Default)]
pub(super) struct EditSeen {
    /// Which of its paths no watcher has told of yet.
    untold: Vec<usize>,
    /// When all were told; the machine's sleep does not count.
    told: Option<Duration>,
    /// Where.
    site: usize,
    /// The one job has made it.
    own: bool,
}

impl EditSeen {
    pub(super) fn new(paths: usize, site: usize, own: bool) -> Self {
        Self {
            site,
            untold: (0..paths).collect(),
            told: None,
            own,
        }
    }

    fn is_known_since(&self, time: Duration) -> bool {
        self.own || self.told.is_some_and(|told| told < time)
    }
}

impl Inner {
    /// A watcher has told of a path of the edit of this number.
    pub fn delivered(&mut self, edit: usize, path: usize) {
        let now = self.awake();
        let seen = &mut self.edits[edit];
        seen.untold.retain(|untold| *untold != path);
        if !seen.untold.is_empty() {
            return;
        }
        let site = seen.site;
        // Whoever looks there sees what was done there before, too.
        let touched = &self.judge.touched[edit];
        let before = self.edits.iter_mut().zip(&self.judge.touched);
        for (seen, _) in before.take(edit + 1).filter(|(_, at)| *at == touched) {
            if seen.site == site {
                seen.told = seen.told.or(Some(now));
            }
        }
    }

    /// Whether nobody was told yet of a path of the edit of this number.
    pub fn is_untold(&self, edit: usize, path: usize) -> bool {
        self.edits[edit].untold.contains(&path)
    }

    /// A run moves no more than a few times what there is.
    pub fn is_bounded(&mut self, report: &RunReport) {
        let verdict = self.judge.is_bounded(report);
        self.check(verdict);
    }

    /// A report says one thing.
    pub fn result_is_right(&mut self, report: &RunReport) {
        self.check(Judge::result_is_right(report));
    }

    /// A run has ended the conflict that it was to end.
    pub fn ended(&mut self, sites: Sides<usize>, report: &RunReport) {
        let fired = self.fired.values().sum();
        let verdict = self.judge.is_as_chosen(sites, report, fired);
        self.check(verdict);
    }

    /// A report that says how two sides stand.
    pub fn said(
        &mut self,
        sites: Sides<usize>,
        report: &RunReport,
        began: usize,
        folders: bool,
        watches: bool,
    ) {
        // What a listing hides nobody can know.
        let stale = !self.quiet && (self.stale[sites.source] || self.stale[sites.target]);
        // With several jobs another one's watcher may have told of it.
        let watches = watches && self.jobs.len() == 1;
        // What it was told of that lately may have come too late for the look.
        let lately = self.awake().saturating_sub(LOOK);
        let edits = self.edits.iter().enumerate();
        let unknown = edits
            .map(|(number, edit)| number >= began && !(watches && edit.is_known_since(lately)));
        let unknown: Vec<_> = unknown.collect();
        let verdict = match stale {
            true => Ok(()),
            false => self.judge.said(sites, report, &unknown, folders),
        };
        let unsure = stale || self.copies;
        let fired = self.fired.values().sum();
        let mut agree = || {
            self.judge
                .agree(sites.target, fired, report, &unknown, unsure)
        };
        let verdict = verdict.and_then(|()| agree());
        self.check(verdict);
    }

    /// A job's status is that all is in sync but for what this report lists: whoever looks believes it, at any time. `known`: the edits there
    /// were when the last look at everything began that has ended.
    pub fn stands(&mut self, sites: Sides<usize>, report: &RunReport, known: usize, folders: bool) {
        // What a listing hides, and what another job does, nobody can know.
        let stale = self.stale[sites.source] || self.stale[sites.target];
        if stale || self.jobs.len() > 1 {
            return;
        }
        let lately = self.awake().saturating_sub(SHORT_LOOK);
        let edits = self.edits.iter().enumerate();
        let unknown = edits.map(|(number, edit)| number >= known && !edit.is_known_since(lately));
        let unknown: Vec<_> = unknown.collect();
        let verdict = self.judge.said(sites, report, &unknown, folders);
        self.check(verdict.map_err(|why| format!("the status shows what is not so: {why}")));
    }
}
