//! What syncers on the shared pass have in common: run once, or again and again until stopped.

mod agenda;
mod beside;
mod follow;
mod pace;
mod silence;
mod telling;

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug};
use wl_core::model::{Conflict, Problem, RunReport};
use wl_core::sync::{News, SyncError, SyncErrorClass, SyncJob, Syncer, SyncerType, one_shot};

/// What tells a syncer on the shared pass from another.
pub trait Way: Send + Sync + 'static {
    /// Its name.
    const NAME: &'static str;
    /// The storage types that it takes, on both sides; `["*"]`: all.
    const TYPES: &'static [&'static str];
    /// The storages copy by themselves where they can.
    const SERVER_COPY: bool;
}

/// A syncer: a job and what its last pass found.
#[derive(Debug)]
pub struct Passes<W> {
    job: SyncJob,
    last: Arc<Mutex<Findings>>,
    running: Mutex<Option<Running>>,
    way: PhantomData<W>,
}

/// What the last pass found.
#[derive(Debug, Default)]
struct Findings {
    problems: Vec<Problem>,
    conflicts: Vec<Conflict>,
}

#[derive(Debug)]
struct Running {
    cancel: CancellationToken,
    /// Says what fault ended the run, if one did.
    task: JoinHandle<Option<String>>,
}

impl Drop for Running {
    /// Whoever lets go of a job wants no more of it.
    fn drop(&mut self) {
        self.cancel.cancel();
        self.task.abort();
    }
}

impl<W: Way> SyncerType for Passes<W> {
    const SYNCER_NAME: &'static str = W::NAME;
    const SOURCE_TYPES: &'static [&'static str] = W::TYPES;
    const TARGET_TYPES: &'static [&'static str] = W::TYPES;
    const CONTINUOUS: bool = true;
    const ONE_SHOT: bool = true;
    const UNIDIRECTIONAL: bool = true;
    const REQUIRES_MOUNT: bool = false;

    fn create(job: SyncJob) -> Self {
        Self {
            job: SyncJob {
                server_copy: W::SERVER_COPY,
                ..job
            },
            last: Arc::default(),
            running: Mutex::new(None),
            way: PhantomData,
        }
    }
}

#[async_trait]
impl<W: Way> Syncer for Passes<W> {
    async fn one_shot_sync(&self) -> Result<RunReport, SyncError> {
        run_once(self.job.clone(), W::NAME, &self.last).await
    }

    async fn start_sync(&self) -> Result<(), SyncError> {
        let mut running = lock(&self.running);
        if running.as_ref().is_some_and(Running::goes_on) {
            return Err(SyncError::new(
                SyncErrorClass::Usage,
                "this job runs already; stop it first",
            ));
        }
        let cancel = self.job.cancel.child_token();
        let job = SyncJob {
            patience: Some(Arc::default()),
            cancel: cancel.clone(),
            ..self.job.clone()
        };
        let last = Arc::clone(&self.last);
        let task = tokio::spawn(supervise(job, W::NAME, last).in_current_span());
        *running = Some(Running { cancel, task });
        Ok(())
    }

    async fn stop_sync(&self) -> Result<(), SyncError> {
        let running = lock(&self.running).take();
        let Some(mut running) = running else {
            return Ok(());
        };
        running.cancel.cancel();
        let fault = match (&mut running.task).await {
            Ok(fault) => fault,
            Err(error) => Some(error.to_string()),
        };
        fault.map_or(Ok(()), |fault| {
            Err(SyncError::new(
                SyncErrorClass::Storage,
                format!("a fault in wl ended the job ({fault}); please report it"),
            ))
        })
    }

    fn is_running(&self) -> bool {
        lock(&self.running).as_ref().is_some_and(Running::goes_on)
    }

    fn iter_errors(&self) -> Box<dyn Iterator<Item = Problem> + Send> {
        Box::new(lock(&self.last).problems.clone().into_iter())
    }

    fn iter_conflicts(&self) -> Box<dyn Iterator<Item = Conflict> + Send> {
        Box::new(lock(&self.last).conflicts.clone().into_iter())
    }
}

impl Running {
    fn goes_on(&self) -> bool {
        !self.task.is_finished()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Follows the storages, and tells how that ended.
async fn supervise(job: SyncJob, name: &'static str, last: Arc<Mutex<Findings>>) -> Option<String> {
    let news = job.news.clone();
    // A set: whoever drops this drops what it supervises.
    let mut task = JoinSet::new();
    let findings = Arc::clone(&last);
    task.spawn(async move { follow::follow(&job, name, &findings).await }.in_current_span());
    match task.join_next().await {
        None | Some(Ok(Ok(()))) => None,
        Some(Ok(Err(error))) => {
            lock(&last).problems = vec![whole_run(&error.desc)];
            news.tell(News::Ended(error)).await;
            None
        }
        Some(Err(fault)) => {
            news.tell(News::Panicked(fault.to_string())).await;
            Some(fault.to_string())
        }
    }
}

/// Runs once and notes what was found.
async fn run_once(
    job: SyncJob,
    name: &str,
    last: &Mutex<Findings>,
) -> Result<RunReport, SyncError> {
    let result = one_shot(job, name).await;
    note(last, &result);
    result
}

/// Notes what was found.
fn note(last: &Mutex<Findings>, result: &Result<RunReport, SyncError>) {
    let mut last = lock(last);
    match result {
        Ok(report) => {
            log_pass(report);
            last.problems.clone_from(&report.problems);
            let stopped = report.error.as_ref().map(|error| whole_run(&error.desc));
            last.problems.extend(stopped);
            last.conflicts.clone_from(&report.conflicts);
        }
        Err(error) => last.problems = vec![whole_run(&error.desc)],
    }
}

/// Counts only: what is in the lists is told by whoever knows what of it is new.
fn log_pass(report: &RunReport) {
    debug!(
        seconds = report.seconds,
        changes_of_source = report.changes.source.total(),
        changes_of_target = report.changes.target.total(),
        bytes_read = report.bytes.read,
        bytes_written = report.bytes.written,
        conflicts = report.conflicts.len(),
        problems = report.problems.len(),
        "pass"
    );
}

/// Why a run was refused or stopped, as a problem of the root.
fn whole_run(desc: &str) -> Problem {
    Problem {
        path: ".".into(),
        storage: String::new(),
        operation: "sync".into(),
        reason: desc.to_owned(),
    }
}
