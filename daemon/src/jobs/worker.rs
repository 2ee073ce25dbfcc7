//! One run of a job, from connecting to its end, told to the job's owner.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use wl_core::model::{RunReport, Sides, SyncPath};
use wl_core::storage::WatchHealth;
use wl_core::sync::{Keep, News, NewsSender, Pending, SyncError, SyncErrorClass, Syncer};

use super::machine::{Ending, Left};
use crate::JobSpec;
use crate::job::{self, PreparedJob, Ties};
use crate::led::Leads;

/// A run that is told to stop has this long to come to its end; then it is dropped, which harms nothing that is published.
const PATIENCE: Duration = Duration::from_millis(800);

/// What a run is for.
#[derive(Debug)]
pub(super) enum Work {
    /// The job itself.
    Run,
    /// Ending conflicts of a job, between two runs of it.
    Resolve(Vec<SyncPath>, Keep),
}

/// What a run tells.
#[derive(Debug)]
pub(super) enum Told {
    /// The storages were reached. The run waits to hear whether it may go on: another job may have them.
    Connected(Box<Reached>),
    /// How they are watched.
    Watching(Sides<WatchHealth>),
    /// A look began.
    Looking,
    /// It found something to do.
    FoundWork,
    /// A look ended.
    Looked(Box<RunReport>),
    /// What waits for its time.
    Pending(Pending),
    /// A look does not get on, for this reason; or does again.
    Silent(Option<String>),
    /// The run ended; nothing is told after it.
    Ended(Ending, Option<Box<RunReport>>),
}

/// Storages that were reached.
#[derive(Debug)]
pub(super) struct Reached {
    /// As reports name them.
    pub(super) names: Sides<Value>,
    /// What makes them these and no others.
    pub(super) identities: Sides<String>,
    /// Whether they are those of the last run that was made of the same paths.
    pub(super) leads: Leads,
    /// Who waits to go on.
    pub(super) go_on: oneshot::Sender<Result<(), SyncError>>,
}

/// Where a run tells: to its job's owner, as the run of this number.
#[derive(Clone, Debug)]
pub(super) struct Teller {
    pub(super) to: mpsc::Sender<(u64, Told)>,
    pub(super) run: u64,
}

impl Teller {
    async fn tell(&self, told: Told) {
        // An owner that is gone wants to know nothing.
        let _ = self.to.send((self.run, told)).await;
    }

    /// Tells that the storages were reached, and waits to hear whether the run may go on.
    async fn connected(&self, prepared: &PreparedJob) -> Result<(), SyncError> {
        let (go_on, answer) = oneshot::channel();
        let reached = Reached {
            names: prepared.names(),
            identities: prepared.identities(),
            leads: prepared.leads(),
            go_on,
        };
        self.tell(Told::Connected(Box::new(reached))).await;
        // An owner that is gone stops its runs by itself.
        answer.await.unwrap_or(Ok(()))
    }
}

/// Starts a run. It always ends with [`Told::Ended`], whatever happens in it.
pub(super) fn start(spec: Arc<JobSpec>, work: Work, ties: Ties, teller: Teller) {
    let span = tracing::Span::current();
    tokio::spawn(async move {
        let inner = teller.clone();
        let stop = ties.cancel.clone();
        let run = async move {
            match work {
                Work::Run if spec.continuous => continuous(&spec, ties, &inner).await,
                Work::Run => once(&spec, ties, &inner).await,
                Work::Resolve(paths, keep) => {
                    resolve(&job::that_resolves(&spec, &paths, keep), ties, &inner).await
                }
            }
        };
        let mut task = tokio::spawn(run.instrument(span));
        let ended = tokio::select! {
            ended = &mut task => ended,
            () = too_late(&stop) => {
                task.abort();
                task.await
            }
        };
        let (ending, report) = ended.unwrap_or_else(|error| (broken(error), None));
        teller.tell(Told::Ended(ending, report)).await;
    });
}

/// Returns when a run that was told to stop has had its time.
async fn too_late(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(PATIENCE).await;
}

type Ended = (Ending, Option<Box<RunReport>>);

async fn continuous(spec: &JobSpec, ties: Ties, teller: &Teller) -> Ended {
    let (tell, mut news) = mpsc::channel(4);
    let (progress, cancel) = (Arc::clone(&ties.progress), ties.cancel.clone());
    let ties = Ties {
        news: NewsSender::to(tell),
        ..ties
    };
    let prepared = match job::prepare(spec, ties).await {
        Ok(prepared) => prepared,
        Err(error) => return (failed(error), None),
    };
    if let Err(error) = teller.connected(&prepared).await {
        return (failed(error), None);
    }
    let syncer = prepared.into_syncer();
    if let Err(error) = syncer.start_sync().await {
        return (failed(error), None);
    }
    let ending = loop {
        tokio::select! {
            // News first: what was found is told before it is said to be done.
            biased;
            () = progress.found_work() => teller.tell(Told::FoundWork).await,
            () = cancel.cancelled() => break Ending::Stopped,
            heard = news.recv() => match heard {
                Some(News::Watching(health)) => teller.tell(Told::Watching(health)).await,
                Some(News::Looking) => teller.tell(Told::Looking).await,
                Some(News::Looked(report)) => teller.tell(Told::Looked(report)).await,
                Some(News::Pending(pending)) => teller.tell(Told::Pending(pending)).await,
                Some(News::Silent(why)) => teller.tell(Told::Silent(why)).await,
                Some(News::Ended(error)) => break failed(error),
                Some(News::Panicked(fault)) => break Ending::Panicked(fault),
                None => break ended_unsaid(),
            },
            () = gone(&*syncer) => break ended_unsaid(),
        }
    };
    // How it ended is known already.
    let _ = syncer.stop_sync().await;
    (ending, None)
}

/// Returns when the syncer does not run any more, for those that say nothing at their end and keep their line open. A machine at rest is woken
/// for it, by each job.
async fn gone(syncer: &dyn Syncer) {
    const LOOKS_EVERY: Duration = Duration::from_secs(5);
    while syncer.is_running() {
        tokio::time::sleep(LOOKS_EVERY).await;
    }
}

fn ended_unsaid() -> Ending {
    Ending::Failed(
        SyncErrorClass::Storage,
        "the syncer ended and did not say why; it is started again".to_owned(),
    )
}

async fn once(spec: &JobSpec, ties: Ties, teller: &Teller) -> Ended {
    let prepared = match job::prepare(spec, ties).await {
        Ok(prepared) => prepared,
        Err(error) => return (failed(error), None),
    };
    if let Err(error) = teller.connected(&prepared).await {
        return (failed(error), None);
    }
    match prepared.run_one_shot().await {
        Ok(report) => reported(report),
        Err(error) => (failed(error), None),
    }
}

/// Ends conflicts. What keeps it from that stands in its report.
async fn resolve(spec: &JobSpec, ties: Ties, teller: &Teller) -> Ended {
    let allowed = async |prepared: &PreparedJob| teller.connected(prepared).await;
    reported(job::run_if_allowed(spec, ties, allowed).await)
}

/// How a run with this report ended.
fn reported(report: RunReport) -> Ended {
    let ending = match report.error.clone() {
        Some(error) => failed(error.into()),
        None => Ending::Done(left(&report)),
    };
    (ending, Some(Box::new(report)))
}

/// What a report leaves open.
pub(super) fn left(report: &RunReport) -> Left {
    Left {
        conflicts: report.conflicts.len() as u64,
        problems: report.problems.len() as u64,
        drift: report.drift.len() as u64,
    }
}

fn failed(error: SyncError) -> Ending {
    match error.class {
        SyncErrorClass::Cancelled => Ending::Stopped,
        class => Ending::Failed(class, error.desc),
    }
}

fn broken(error: JoinError) -> Ending {
    match error.is_panic() {
        true => Ending::Panicked(error.to_string()),
        false => Ending::Stopped,
    }
}
