//! The syncer for any two storages: content goes through this process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wl_core::model::{Conflict, Problem, RunReport};
use wl_core::plugin::SyncerPlugin;
use wl_core::sync::{SyncError, SyncErrorClass, SyncJob, Syncer, SyncerType, one_shot};

/// How long a continuous job rests between two looks, while no watcher tells it where to look.
const REST: Duration = Duration::from_secs(10);

/// Reads from one storage and writes to the other, whatever they are.
#[derive(Debug)]
pub struct General {
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

inventory::submit!(SyncerPlugin::of::<General>());

impl SyncerType for General {
    const SYNCER_NAME: &'static str = "general";
    const SOURCE_TYPES: &'static [&'static str] = &["*"];
    const TARGET_TYPES: &'static [&'static str] = &["*"];
    const CONTINUOUS: bool = true;
    const ONE_SHOT: bool = true;
    const UNIDIRECTIONAL: bool = true;
    const REQUIRES_MOUNT: bool = false;

    fn create(job: SyncJob) -> Self {
        Self {
            job,
            last: Arc::default(),
            running: Mutex::new(None),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs once and notes what was found.
async fn run_once(job: SyncJob, last: &Mutex<Findings>) -> Result<RunReport, SyncError> {
    let result = one_shot(job, General::SYNCER_NAME).await;
    let mut last = lock(last);
    match &result {
        Ok(report) => {
            last.problems.clone_from(&report.problems);
            last.conflicts.clone_from(&report.conflicts);
        }
        Err(error) => last.problems = vec![whole_run(error)],
    }
    result
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

#[async_trait]
impl Syncer for General {
    async fn one_shot_sync(&self) -> Result<RunReport, SyncError> {
        run_once(self.job.clone(), &self.last).await
    }

    async fn start_sync(&self) -> Result<(), SyncError> {
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
        let (last, stop) = (Arc::clone(&self.last), cancel.clone());
        let task = tokio::spawn(async move {
            loop {
                // What went wrong is in the findings; the next look tries again.
                let _found = run_once(job.clone(), &last).await;
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(REST) => {}
                }
            }
        });
        *running = Some(Running { cancel, task });
        Ok(())
    }

    async fn stop_sync(&self) -> Result<(), SyncError> {
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

    fn is_running(&self) -> bool {
        lock(&self.running)
            .as_ref()
            .is_some_and(|running| !running.task.is_finished())
    }

    fn iter_errors(&self) -> Box<dyn Iterator<Item = Problem> + Send> {
        Box::new(lock(&self.last).problems.clone().into_iter())
    }

    fn iter_conflicts(&self) -> Box<dyn Iterator<Item = Conflict> + Send> {
        Box::new(lock(&self.last).conflicts.clone().into_iter())
    }
}
