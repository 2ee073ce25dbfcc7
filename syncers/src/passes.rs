//! What syncers on the shared pass have in common: run once, or again and again until stopped.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wl_core::model::{Conflict, Problem, RunReport};
use wl_core::sync::{SyncError, SyncErrorClass, SyncJob, one_shot};

/// How long a continuous job rests between two looks, while no watcher tells it where to look.
const REST: Duration = Duration::from_secs(10);

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
    task: JoinHandle<()>,
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
        let (name, last, stop) = (self.name, Arc::clone(&self.last), cancel.clone());
        let task = tokio::spawn(async move {
            loop {
                // What went wrong is in the findings; the next look tries again.
                let _found = run_once(job.clone(), name, &last).await;
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(REST) => {}
                }
            }
        });
        *running = Some(Running { cancel, task });
        Ok(())
    }

    /// Stops that, and waits for it.
    pub(crate) async fn stop(&self) -> Result<(), SyncError> {
        let running = lock(&self.running).take();
        let Some(running) = running else {
            return Ok(());
        };
        running.cancel.cancel();
        running.task.await.map_err(|error| {
            SyncError::new(
                SyncErrorClass::Storage,
                format!("the job ended badly: {error}"),
            )
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
            last.problems.clone_from(&report.problems);
            let stopped = report.error.as_ref().map(|error| whole_run(&error.desc));
            last.problems.extend(stopped);
            last.conflicts.clone_from(&report.conflicts);
        }
        Err(error) => last.problems = vec![whole_run(&error.desc)],
    }
    result
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
