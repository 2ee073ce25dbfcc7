//! What is to be told, and when: pure, on the clock of whoever asks.
//!
//! Nobody may take what is told for all there is while something waits, and nothing that was done goes untold.

use tokio::time::Instant;
use wl_core::model::RunReport;
use wl_core::planted::{Bug, planted};
use wl_core::sync::Pending;

/// What was told, and what is owed.
#[derive(Debug, Default)]
pub(super) struct Telling {
    /// What was found last, and done since it was told.
    latest: Option<RunReport>,
    /// It has to be told when nothing is pending any more.
    owed: bool,
    /// Somebody was told that nothing goes on, and has to hear that it does as soon as nothing is to be looked at.
    after_silence: bool,
    /// What waits for its time, as it was told last.
    pending: Pending,
}

impl Telling {
    /// So much waits now. What is to be told of it, if that is news.
    pub(super) fn waits(&mut self, pending: Pending, now: Instant) -> Option<Pending> {
        self.owed |= pending.is_some();
        let same = Pending {
            until: self.pending.until,
            ..pending.clone()
        } == self.pending;
        // What goes on changing is put off again and again: that is told when the time that was told is over.
        let holds = self.pending.until.is_none_or(|told| told > now);
        if (same && (holds || pending.until == self.pending.until))
            || planted(Bug::PendingIsNotTold)
        {
            return None;
        }
        self.pending = pending.clone();
        Some(pending)
    }

    /// Whether it was told last that something waits.
    pub(super) fn is_waiting(&self) -> bool {
        self.pending.is_some()
    }

    /// This has to be told, with what was done before and not told yet.
    pub(super) fn owe(&mut self, mut report: RunReport) {
        if let Some(before) = self.latest.take() {
            report.add_done(&before);
        }
        self.latest = Some(report);
        self.owed = true;
    }

    /// What was told last has to be told again: it holds after all.
    pub(super) fn owe_again(&mut self) {
        self.owed = true;
        self.after_silence = true;
    }

    /// Whether what is owed is to be told although the last look has told nothing.
    pub(super) fn ends_silence(&self) -> bool {
        self.after_silence && self.owed
    }

    /// What is owed, once.
    pub(super) fn take(&mut self) -> Option<Box<RunReport>> {
        let report = self.latest.as_mut().filter(|_| self.owed)?;
        let told = Box::new(report.clone());
        report.forget_done();
        self.owed = false;
        self.after_silence = false;
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wl_core::model::{ByteCounts, Outcome, Sides, SyncPath};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn waiting(paths: &[&str], until: Instant) -> Pending {
        let mut pending = Pending::default();
        for path in paths {
            pending.add(SyncPath::new(*path).unwrap(), until);
        }
        pending
    }

    fn created(files: u64) -> RunReport {
        let mut report = RunReport {
            result: Outcome::Synced,
            syncer: "test".into(),
            source: Default::default(),
            target: Default::default(),
            changes: Sides::default(),
            conflicts: Vec::new(),
            problems: Vec::new(),
            drift: Vec::new(),
            skipped: 0,
            excluded: 0,
            bytes: ByteCounts::default(),
            seconds: 0.0,
            notices: Vec::new(),
            error: None,
        };
        report.changes.target.created = files;
        report
    }

    /// Once, and even where what was looked at since found nothing that would be told.
    #[test]
    fn who_was_told_of_silence_hears_when_it_is_over() {
        let mut telling = Telling::default();
        telling.owe(created(1));
        assert!(telling.take().is_some() && !telling.ends_silence());
        telling.owe_again();
        assert!(telling.ends_silence());
        assert_eq!(telling.take().unwrap().changes.target.created, 0);
        assert!(!telling.ends_silence() && telling.take().is_none());
    }

    /// State (paths, seconds until), what waits, how many seconds later, expected.
    type Case = (&'static str, Waits, Waits, u32, bool);
    type Waits = (&'static [&'static str], u32);
    const NONE: Waits = (&[], 0);
    #[rustfmt::skip]
    const CASES: [Case; 9] = [
        ("nothing ever waited", NONE, NONE, 0, false),
        ("the first waits", NONE, (&["a"], 5), 0, true),
        ("the same", (&["a"], 5), (&["a"], 5), 1, false),
        ("put off in time", (&["a"], 5), (&["a"], 9), 1, false),
        ("put off beyond what was told", (&["a"], 5), (&["a"], 9), 6, true),
        ("overdue, and no other time", (&["a"], 5), (&["a"], 5), 6, false),
        ("another one", (&["a"], 5), (&["b"], 5), 1, true),
        ("one more", (&["a"], 5), (&["a", "b"], 5), 1, true),
        ("all have had their turn", (&["a"], 5), NONE, 1, true),
    ];

    #[test]
    fn what_waits_is_told_when_it_is_news() {
        let now = Instant::now();
        for (what, told, waits, later, news) in CASES {
            let pending = |(paths, until): Waits| waiting(paths, now + until * SECOND);
            let mut telling = Telling::default();
            telling.waits(pending(told), now);
            let said = telling.waits(pending(waits), now + later * SECOND);
            assert_eq!(said, news.then(|| pending(waits)), "{what}");
        }
    }

    #[test]
    fn what_was_done_is_told_once_and_none_of_it_is_left_out() {
        let mut telling = Telling::default();
        assert!(telling.take().is_none());
        telling.owe(created(1));
        telling.owe(created(2));
        assert_eq!(telling.take().unwrap().changes.target.created, 3);
        assert!(telling.take().is_none(), "once");
        telling.owe(created(4));
        assert_eq!(telling.take().unwrap().changes.target.created, 4);
    }

    /// Whoever was told that something waits waits for the word that it does not.
    #[test]
    fn what_waited_and_came_to_nothing_is_told_as_a_look_that_did_nothing() {
        let mut telling = Telling::default();
        let now = Instant::now();
        telling.owe(created(1));
        telling.take();
        telling.waits(waiting(&["a"], now + SECOND), now);
        telling.waits(Pending::default(), now + SECOND);
        assert_eq!(telling.take().unwrap().changes.target.created, 0);
        assert!(telling.take().is_none());
        telling.owe_again();
        assert!(telling.take().is_some());
    }
}
