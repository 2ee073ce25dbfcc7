//! What syncers on the shared pass have in common: run once, or again and again until stopped.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wl_core::model::{Conflict, Problem, RunReport};
use wl_core::sync::{SyncError, SyncErrorClass, SyncJob, Syncer, SyncerType, one_shot};

/// How long a continuous job rests between two looks, while no watcher tells it where to look.
const REST: Duration = Duration::from_secs(10);

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
    task: JoinHandle<()>,
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
            cancel: cancel.clone(),
            ..self.job.clone()
        };
        let (last, stop) = (Arc::clone(&self.last), cancel.clone());
        let task = tokio::spawn(async move {
            loop {
                // What went wrong is in the findings; the next look tries again.
                let _found = run_once(job.clone(), W::NAME, &last).await;
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
