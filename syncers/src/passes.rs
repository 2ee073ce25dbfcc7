//! What syncers on the shared pass have in common: run once, or again and again until stopped.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug};
use wl_core::model::{Conflict, Problem, RunReport, Side, Sides};
use wl_core::storage::{POLL_INTERVAL, PollWatcher, StorageWatcher};
use wl_core::sync::{News, SyncError, SyncErrorClass, SyncJob, one_shot};

/// A job and what its last pass found.
#[derive(Debug)]
pub(crate) struct Passes {
    name: &'static str,
    job: SyncJob,
    last: Arc<Mutex<Findings>>,
    running: Mutex<Option<Running>>,
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

impl Passes {
    /// The passes of syncer `name` over `job`.
    pub(crate) fn new(name: &'static str, job: SyncJob) -> Self {
        Self {
            name,
            job,
            last: Arc::default(),
            running: Mutex::new(None),
        }
    }

    /// One run.
    pub(crate) async fn once(&self) -> Result<RunReport, SyncError> {
        run_once(self.job.clone(), self.name, &self.last).await
    }

    /// Begins to run again and again.
    pub(crate) fn start(&self) -> Result<(), SyncError> {
        let mut running = lock(&self.running);
        if running
            .as_ref()
            .is_some_and(|running| !running.task.is_finished())
        {
            return Err(SyncError::new(
                SyncErrorClass::Usage,
                "this job runs already; stop it first",
            ));
        }
        let cancel = self.job.cancel.child_token();
        let job = SyncJob {
            cancel: cancel.clone(),
            ..self.job.clone()
        };
        let (name, last) = (self.name, Arc::clone(&self.last));
        let task = tokio::spawn(supervise(job, name, last).in_current_span());
        *running = Some(Running { cancel, task });
        Ok(())
    }

    /// Stops that, and waits for it.
    pub(crate) async fn stop(&self) -> Result<(), SyncError> {
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

    /// Whether it goes on.
    pub(crate) fn is_running(&self) -> bool {
        lock(&self.running)
            .as_ref()
            .is_some_and(|running| !running.task.is_finished())
    }

    /// The problems of the last pass.
    pub(crate) fn errors(&self) -> Vec<Problem> {
        lock(&self.last).problems.clone()
    }

    /// The conflicts of the last pass.
    pub(crate) fn conflicts(&self) -> Vec<Conflict> {
        lock(&self.last).conflicts.clone()
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
    task.spawn(async move { follow(&job, name, &findings).await }.in_current_span());
    match task.join_next().await {
        None | Some(Ok(Ok(()))) => None,
        Some(Ok(Err(error))) => {
            lock(&last).problems = vec![whole_run(&error)];
            news.tell(News::Ended(error)).await;
            None
        }
        Some(Err(fault)) => {
            news.tell(News::Panicked(fault.to_string())).await;
            Some(fault.to_string())
        }
    }
}

/// Looks again and again, whenever a watcher says so, until the job is stopped (`Ok`) or a look fails as a whole.
async fn follow(job: &SyncJob, name: &str, last: &Mutex<Findings>) -> Result<(), SyncError> {
    // Watched first, then looked at: what changes in between is seen by the one or the other.
    let mut watchers = Sides::new(
        watch(job, Side::Source).await?,
        watch(job, Side::Target).await?,
    );
    let health = watchers.as_ref().map(|watcher| watcher.health());
    job.news.tell(News::Watching(health)).await;
    while !job.cancel.is_cancelled() {
        job.progress.restart();
        job.news.tell(News::Looking).await;
        let report = run_once(job.clone(), name, last).await;
        if job.cancel.is_cancelled() {
            break;
        }
        let report = report?;
        let error = report.error.clone();
        job.news.tell(News::Looked(Box::new(report))).await;
        if let Some(error) = error {
            return Err(error.into());
        }
        tokio::select! {
            () = job.cancel.cancelled() => break,
            seen = watchers.source.next() => seen?,
            seen = watchers.target.next() => seen?,
        };
    }
    Ok(())
}

/// A watcher on a side: polling, if the job or the storage says so.
async fn watch(job: &SyncJob, side: Side) -> Result<Box<dyn StorageWatcher>, SyncError> {
    if let Some(interval) = job.poll[side] {
        return Ok(Box::new(PollWatcher::new(interval)));
    }
    Ok(match job.storages[side].watcher().await? {
        Some(watcher) => watcher,
        None => Box::new(PollWatcher::new(POLL_INTERVAL)),
    })
}

/// Runs once and notes what was found.
async fn run_once(
    job: SyncJob,
    name: &str,
    last: &Mutex<Findings>,
) -> Result<RunReport, SyncError> {
    let result = one_shot(job, name).await;
    let mut last = lock(last);
    match &result {
        Ok(report) => {
            log_pass(report);
            last.problems.clone_from(&report.problems);
            last.conflicts.clone_from(&report.conflicts);
        }
        Err(error) => last.problems = vec![whole_run(error)],
    }
    result
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

/// A refused run as a problem of the root.
fn whole_run(error: &SyncError) -> Problem {
    Problem {
        path: ".".into(),
        storage: String::new(),
        operation: "sync".into(),
        reason: error.desc.clone(),
    }
}
