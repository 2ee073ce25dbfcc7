//! Hears what continuous jobs tell, at the moment when they do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use wl_core::model::RunReport;
use wl_core::sync::{Listener, News};

use crate::plan::Job;
use crate::stage::Stage;

/// What a job has said of itself, as whoever shows its status knows it.
#[derive(Debug, Default)]
pub(crate) struct Standing(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    /// What it told last, and whether there was no trouble.
    last: Option<(Box<RunReport>, bool)>,
    /// Since when there is trouble.
    troubled: Option<Instant>,
    /// It ended by itself, because of this.
    ended: Option<String>,
    /// Something waits for its time.
    pending: bool,
    /// A look does not get on.
    silent: bool,
    /// So many looks in a row found nothing to do, and no trouble.
    calm: usize,
    /// The edits there were when the last look at everything began.
    begun: usize,
    /// The same, of the last one that has ended.
    known: usize,
}

impl Standing {
    fn lock(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many looks in a row found nothing to do, and no trouble.
    pub fn calm(&self) -> usize {
        self.lock().calm
    }

    /// What keeps it from being in sync, but for conflicts and what waits for its time.
    pub fn trouble(&self) -> Option<String> {
        match &*self.lock() {
            Said {
                ended: Some(why), ..
            } => Some(why.clone()),
            Said {
                last: Some((_, true)),
                ..
            } => None,
            Said {
                last: Some((report, false)),
                ..
            } => Some(told(report)),
            Said { last: None, .. } => Some("it has not looked yet".to_owned()),
        }
    }

    /// How long there has been trouble.
    pub fn troubled(&self) -> Duration {
        let since = self.lock().troubled;
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Its last report, if that says that all is in sync but for what it lists, and nothing takes that back; and the edits there were when
    /// the last look at everything began that has ended.
    pub fn in_sync(&self) -> Option<(Box<RunReport>, usize)> {
        match &*self.lock() {
            Said {
                last: Some((report, true)),
                ended: None,
                pending: false,
                silent: false,
                known,
                ..
            } => Some((report.clone(), *known)),
            _ => None,
        }
    }
}

/// Who listens to a continuous job.
#[derive(Debug)]
pub(crate) struct Ear {
    pub stage: Arc<Stage>,
    pub job: Job,
    pub folders: bool,
    /// It is told of edits between looks at everything.
    pub watches: bool,
    pub standing: Arc<Standing>,
}

#[async_trait]
impl Listener for Ear {
    async fn hear(&self, news: News) {
        let inner = &mut *self.stage.lock();
        let said = &mut *self.standing.lock();
        match news {
            News::Watching(_) => {}
            News::Pending(pending) => {
                inner.trace(|| format!("{} wait for their time", pending.paths));
                said.pending = pending.is_some();
            }
            News::Silent(why) => said.silent = why.is_some(),
            News::Looking => said.begun = inner.edits(),
            News::Looked(report) => {
                inner.trace(|| told(&report));
                inner.result_is_right(&report);
                let whole = report.error.is_none() && report.problems.is_empty();
                let idle = report.changes.as_ref().map(|changes| changes.total() == 0);
                match whole && idle.source && idle.target {
                    true => said.calm += 1,
                    false => said.calm = 0,
                }
                said.troubled = match whole {
                    true => None,
                    false => said.troubled.or(Some(Instant::now())),
                };
                // Who waits says so, and is not in sync.
                if whole && !said.pending {
                    let sites = self.job.sites();
                    inner.said(sites, &report, said.begun, self.folders, self.watches);
                }
                inner.judge.agreed.reported();
                (said.known, said.ended, said.silent) = (said.begun, None, false);
                said.last = Some((report, whole));
            }
            News::Ended(error) => {
                inner.trace(|| format!("ended: {}", error.desc));
                (said.calm, said.pending) = (0, false);
                said.ended = Some(error.desc);
            }
            News::Panicked(fault) => inner.fail(format!("it panicked: {fault}")),
        }
    }
}

/// What a report says, for a trace.
pub(crate) fn told(report: &RunReport) -> String {
    let of = |changes: wl_core::model::ChangeCounts| {
        format!(
            "+{} ~{} -{} >{}",
            changes.created, changes.updated, changes.removed, changes.renamed
        )
    };
    let conflicts: Vec<_> = report.conflicts.iter().map(|c| &*c.path).collect();
    let drift: Vec<_> = report.drift.iter().map(|drift| &*drift.path).collect();
    let problems = report.problems.iter();
    let problems: Vec<_> = problems
        .map(|p| format!("{} {} ({})", p.operation, p.path, p.reason))
        .collect();
    format!(
        "{:?}: source {}, target {}, conflicts {conflicts:?}, drift {drift:?}, problems {problems:?}, error {:?}",
        report.result,
        of(report.changes.source),
        of(report.changes.target),
        report.error.as_ref().map(|error| &error.desc),
    )
}
