//! Jobs: started, watched over, stopped, and remembered over restarts.
//!
//! `machine` says what a job's state becomes, `owner` is the one task that holds all jobs, `asks` what it is asked, `worker` one run
//! of one of them, `slot` what is known of a job, `record` what is remembered, `request` what a job is as it is asked for, `journal`
//! what is logged, `foreground` one job without a daemon.

mod asks;
mod foreground;
mod journal;
mod machine;
mod owner;
mod record;
mod request;
mod slot;
#[cfg(test)]
mod tests;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use wl_control::{Class, Refusal, State, Totals};
use wl_core::model::SyncPath;
use wl_core::sync::Keep;

use crate::events::Hub;
use crate::folder;
use owner::Owner;
use record::Record;

pub use foreground::attend;
pub(crate) use record::Damage;
pub use record::RecordError;
pub use request::{OfContainer, Options, StartRequest, StorageRequest};

/// Questions that wait for the owner; whoever asks more waits.
const QUEUE: usize = 64;

type Reply = oneshot::Sender<Result<Value, Refusal>>;

/// What the owner is asked.
enum Ask {
    Start(Box<StartRequest>, Reply),
    Stop(String, Reply),
    StopAll(Reply),
    Status(Reply),
    Figures(oneshot::Sender<Vec<Figures>>),
    Jobs(Reply),
    JobState(String, Reply),
    Conflicts(String, Option<String>, Reply),
    Resolve(String, Vec<SyncPath>, Keep, Reply),
    Pause(String, Reply),
    Resume(String, Reply),
    Close(oneshot::Sender<()>),
}

/// How many jobs are recorded below a base directory, for whoever asks while no daemon runs.
pub fn recorded(base_dir: &Path) -> usize {
    let path = folder::state_path(base_dir).join("jobs.json");
    let text = std::fs::read(path).unwrap_or_default();
    let record: Value = serde_json::from_slice(&text).unwrap_or_default();
    record["jobs"].as_array().map_or(0, Vec::len)
}

/// The copy of a record of jobs in which something made no sense, until somebody takes it away.
pub fn put_aside(base_dir: &Path) -> Option<PathBuf> {
    let aside = Record::new(&folder::state_path(base_dir)).aside();
    aside.exists().then_some(aside)
}

/// What the continuous jobs below a base directory were started with. None, if that cannot be read.
pub fn recorded_jobs(base_dir: &Path) -> Vec<StartRequest> {
    let path = folder::state_path(base_dir).join("jobs.json");
    let text = std::fs::read(path).unwrap_or_default();
    let mut record: Value = serde_json::from_slice(&text).unwrap_or_default();
    let jobs = record["jobs"].as_array_mut();
    let requests = jobs.into_iter().flatten().map(|job| job["start"].take());
    requests
        .filter_map(|request| serde_json::from_value(request).ok())
        .collect()
}

/// All jobs of a daemon. Clones are the same jobs; when the last one is dropped all runs are stopped.
#[derive(Clone, Debug)]
pub(crate) struct Jobs {
    asks: mpsc::Sender<Ask>,
}

/// What was found when recorded jobs were taken up.
#[derive(Debug, Default)]
pub(crate) struct TakenUp {
    /// How many jobs go on.
    pub(crate) jobs: usize,
    /// What was damaged of the record.
    pub(crate) damaged: Option<Damage>,
    /// Recorded jobs that make no sense, and why.
    pub(crate) unusable: Vec<(String, Refusal)>,
}

/// What is counted of a job, for metrics.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) job_id: String,
    pub(crate) container_name: String,
    pub(crate) state: State,
    pub(crate) last_agreement: Option<f64>,
    pub(crate) last_look: Option<f64>,
    pub(crate) totals: Totals,
    pub(crate) conflicts: u64,
    pub(crate) problems: u64,
    pub(crate) failures: u32,
    pub(crate) panics: u32,
}

impl Jobs {
    /// Takes up the jobs that are recorded below `base_dir`.
    pub(crate) fn take_up(base_dir: &Path, hub: Arc<Hub>) -> Result<(Self, TakenUp), RecordError> {
        let record = Record::new(&folder::state_path(base_dir));
        let (recorded, damaged) = record.load()?;
        let (asks, questions) = mpsc::channel(QUEUE);
        let mut owner = Owner::new(base_dir.to_owned(), Some(record), hub);
        let recorded_jobs = recorded.len();
        let unusable = owner.take_up(recorded);
        let taken_up = TakenUp {
            jobs: recorded_jobs - unusable.len(),
            damaged,
            unusable,
        };
        tokio::spawn(owner.work(questions));
        Ok((Self { asks }, taken_up))
    }

    /// Records a job and starts it. An error at once if there is a job of this name, or it cannot be a job.
    pub(crate) async fn start(&self, request: StartRequest) -> Result<Value, Refusal> {
        self.ask(|reply| Ask::Start(Box::new(request), reply)).await
    }

    /// Stops a job and forgets it; returns when nothing is being done any more.
    pub(crate) async fn stop(&self, id: &str) -> Result<Value, Refusal> {
        self.ask(|reply| Ask::Stop(id.to_owned(), reply)).await
    }

    /// Stops and forgets all jobs.
    pub(crate) async fn stop_all(&self) -> Result<Value, Refusal> {
        self.ask(Ask::StopAll).await
    }

    /// A list of [`wl_control::JobStatus`].
    pub(crate) async fn status(&self) -> Result<Value, Refusal> {
        self.ask(Ask::Status).await
    }

    /// What is counted of every job; `None` if the daemon is ending.
    pub(crate) async fn figures(&self) -> Option<Vec<Figures>> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask::Figures(reply)).await.ok()?;
        answer.await.ok()
    }

    /// The state of every job, by name.
    pub(crate) async fn jobs(&self) -> Result<Value, Refusal> {
        self.ask(Ask::Jobs).await
    }

    /// Number and text of a job's state; `null` if there is no such job.
    pub(crate) async fn job_state(&self, id: &str) -> Result<Value, Refusal> {
        self.ask(|reply| Ask::JobState(id.to_owned(), reply)).await
    }

    /// A page of a job's open conflicts.
    pub(crate) async fn conflicts(
        &self,
        id: &str,
        start_after: Option<String>,
    ) -> Result<Value, Refusal> {
        self.ask(|reply| Ask::Conflicts(id.to_owned(), start_after, reply))
            .await
    }

    /// Ends conflicts of a job; returns the report of the run that did it.
    pub(crate) async fn resolve(
        &self,
        id: &str,
        paths: Vec<SyncPath>,
        keep: Keep,
    ) -> Result<Value, Refusal> {
        self.ask(|reply| Ask::Resolve(id.to_owned(), paths, keep, reply))
            .await
    }

    /// Lets a continuous job rest until it is resumed, over restarts too.
    pub(crate) async fn pause(&self, id: &str) -> Result<Value, Refusal> {
        self.ask(|reply| Ask::Pause(id.to_owned(), reply)).await
    }

    /// Lets a job go on, at once.
    pub(crate) async fn resume(&self, id: &str) -> Result<Value, Refusal> {
        self.ask(|reply| Ask::Resume(id.to_owned(), reply)).await
    }

    /// Stops all runs and keeps the jobs recorded; returns when nothing is being done any more.
    pub(crate) async fn close(&self) {
        let (closed, wait) = oneshot::channel();
        if self.asks.send(Ask::Close(closed)).await.is_ok() {
            // An owner that is gone has closed.
            let _ = wait.await;
        }
    }

    async fn ask(&self, ask: impl FnOnce(Reply) -> Ask) -> Result<Value, Refusal> {
        let (reply, answer) = oneshot::channel();
        let ended = |_| {
            Refusal::new(
                Class::Failed,
                "the daemon is ending; start it again with `wl start`",
            )
        };
        if self.asks.send(ask(reply)).await.is_err() {
            return Err(ended(()));
        }
        answer.await.map_err(|_| ended(()))?
    }
}
