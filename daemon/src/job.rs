//! One job, once: from what was asked to a report.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug};
use wl_core::model::{
    ByteCounts, ChangeCounts, Conflict, Direction, Outcome, Problem, RunError, RunReport, Side,
    Sides, SyncPath,
};
use wl_core::plugin::{ConnectContext, KnownGrade, Registry, SyncerPlugin, check_params};
use wl_core::storage::{Filter, StorageBackend, TrashId, TrashItem, TrashKeep};
use wl_core::sync::{
    Emptied, Explanation, Keep, LastFilter, Needs, NewsSender, Progress, SyncError, SyncErrorClass,
    SyncJob, Syncer, empty_trash, stored_conflicts,
};

use crate::exclude::{check_not_base, without_base};
use crate::folder::{self, CreatedFolder};
use crate::led::{Leads, Led};
use crate::private::with_secrets;
use crate::shared::Library;
use crate::{JobSpec, LOCAL, StorageSpec, registry, types};

/// A run that somebody waits for waits so long for another one on its pair.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// So often it looks whether that one is through; a job that lets others in does so for longer.
const LOCK_RETRY: Duration = Duration::from_millis(100);

/// A job whose storages are connected and whose syncer is chosen.
pub struct PreparedJob {
    syncer: SyncerPlugin,
    job: SyncJob,
    led: Led,
    created: Option<CreatedFolder>,
}

/// How long connecting may take, with all that is tried out of a server that is new.
const CONNECTING: Duration = Duration::from_secs(90);

/// What ties a run to whoever started it.
#[derive(Clone, Debug, Default)]
pub struct Ties {
    /// Where it tells how far it is.
    pub progress: Arc<Progress>,
    /// Where it tells what happens, if it is continuous.
    pub news: NewsSender,
    /// The storages that it reads together with others.
    pub(crate) library: Library,
    /// Stops it.
    pub cancel: CancellationToken,
}

/// Checks and connects everything that a job needs. The storages are not written to, but for a local target that the
/// specification asks to make.
pub async fn prepare(spec: &JobSpec, ties: Ties) -> Result<PreparedJob, SyncError> {
    if ties.cancel.is_cancelled() {
        return Err(stopped());
    }
    let registry = registry().map_err(usage)?;
    check_writable(spec)?;
    let contexts = connect_contexts(spec);
    refuse_base(spec, &ties.cancel).await?;
    // Before a storage remembers something in it: it is private from the first moment.
    let state_dir = folder::state_dir(&spec.base_dir)?;
    let storages = &spec.storages;
    let source = connect_side(&registry, spec, Side::Source, &contexts);
    let source = unless_stopped(&ties.cancel, spec, Side::Source, source).await?;
    let created = make_target(&storages.target, &ties.cancel).await?;
    let target = connect_side(&registry, spec, Side::Target, &contexts);
    let target = unless_stopped(&ties.cancel, spec, Side::Target, target).await?;
    let syncer = choose_syncer(&registry, spec)?;
    let mut options = spec.options.clone();
    options.filter = leave_out_base(spec, &ties.cancel).await?;
    let storages = Sides::new(source, target);
    let job = SyncJob {
        storages: match spec.options.checksum {
            // What is kept of earlier reads is found again by tokens, and those are in doubt.
            true => storages,
            false => storages.map(|storage| ties.library.share(storage)),
        },
        options,
        server_copy: false,
        state_dir,
        poll: spec.storages.as_ref().map(StorageSpec::poll),
        patience: None,
        last_filter: LastFilter::default(),
        progress: ties.progress,
        news: ties.news,
        cancel: ties.cancel,
    };
    let led = Led::to(spec, &job);
    if !spec.continuous {
        // For its jobs, which remember where they began, their owner decides.
        led.check(&job.options)?;
    }
    debug!(
        source = %job.storages.source.location(),
        target = %job.storages.target.location(),
        "connected"
    );
    Ok(PreparedJob {
        syncer,
        job,
        led,
        created,
    })
}

impl PreparedJob {
    /// Runs once.
    pub async fn run_one_shot(self) -> Result<RunReport, SyncError> {
        let dry_run = self.job.options.dry_run;
        if !dry_run {
            self.led.remember();
        }
        let cancel = self.job.cancel.clone();
        let syncer = (self.syncer.create)(self.job);
        let report = in_turn(&*syncer, &cancel).await?;
        if let Some(created) = self.created
            && !dry_run
            && report.error.is_none()
        {
            created.keep();
        }
        Ok(report)
    }

    /// Refuses storages that lead elsewhere than at the last run. Only the target folder that was made for it stays.
    pub(crate) fn keep_target(self) -> Result<(), SyncError> {
        self.led.check(&self.job.options)?;
        if let Some(created) = self.created {
            created.keep();
        }
        Ok(())
    }

    /// The syncer of a job that goes on until it is stopped; not started yet. A target folder that was made for it stays.
    pub(crate) fn into_syncer(self) -> Box<dyn Syncer> {
        self.led.remember();
        if let Some(created) = self.created {
            created.keep();
        }
        (self.syncer.create)(self.job)
    }

    /// What makes the storages these and no others, however they were named.
    pub(crate) fn identities(&self) -> Sides<String> {
        let storages = self.job.storages.as_ref();
        storages.map(|storage| storage.identity().to_owned())
    }

    /// Whether the paths lead where they led at the last run.
    pub(crate) fn leads(&self) -> Leads {
        self.led.leads(&self.job.options)
    }

    /// The storages as reports name them.
    pub(crate) fn names(&self) -> Sides<Value> {
        self.job
            .storages
            .as_ref()
            .map(|storage| json!({ "type": storage.type_name(), "location": storage.location() }))
    }
}

/// Runs a job once. A run that was refused or stopped is a report too, with the error in it.
pub async fn run_one_shot(
    spec: &JobSpec,
    progress: Arc<Progress>,
    cancel: CancellationToken,
) -> RunReport {
    let ties = Ties {
        progress,
        cancel,
        ..Ties::default()
    };
    run_if_allowed(spec, ties, async |_| Ok(())).await
}

/// The same, for whoever has a say once the storages are reached and before anything is done.
pub(crate) async fn run_if_allowed(
    spec: &JobSpec,
    ties: Ties,
    allowed: impl AsyncFnOnce(&PreparedJob) -> Result<(), SyncError>,
) -> RunReport {
    let started = Instant::now();
    let span = spec.span(None);
    let prepared = prepare(spec, ties).instrument(span.clone()).await;
    let (names, syncer, error) = match prepared {
        Ok(prepared) => {
            let (names, syncer) = (prepared.names(), prepared.syncer.name);
            let ran = match allowed(&prepared).await {
                Ok(()) => prepared.run_one_shot().instrument(span).await,
                Err(error) => Err(error),
            };
            match ran {
                Ok(report) => return report,
                Err(error) => (names, syncer, error),
            }
        }
        Err(error) => {
            let names = spec.storages.as_ref().map(StorageSpec::describe);
            (names, "", error)
        }
    };
    RunReport {
        syncer: syncer.to_owned(),
        seconds: started.elapsed().as_secs_f64(),
        ..refused(names, &error)
    }
}

/// Runs once, when whoever works on the pair now is through: a continuous job is, every few seconds.
async fn in_turn(syncer: &dyn Syncer, cancel: &CancellationToken) -> Result<RunReport, SyncError> {
    let began = tokio::time::Instant::now();
    loop {
        let error = match syncer.one_shot_sync().await {
            Err(error) if error.class == SyncErrorClass::Locked => error,
            result => return result,
        };
        if began.elapsed() >= LOCK_PATIENCE {
            let desc = format!(
                "{}; it was waited for {} s, run again later, or pause the job that has the pair",
                error.desc,
                LOCK_PATIENCE.as_secs()
            );
            return Err(SyncError::new(error.class, desc));
        }
        tokio::select! {
            () = cancel.cancelled() => return Err(error),
            () = tokio::time::sleep(LOCK_RETRY) => {}
        }
    }
}

/// The report of a run that never began.
pub fn refused(storages: Sides<Value>, error: &SyncError) -> RunReport {
    let class = serde_json::to_value(error.class).unwrap_or_default();
    RunReport {
        result: Outcome::Failed,
        syncer: String::new(),
        source: storages.source,
        target: storages.target,
        changes: Sides::<ChangeCounts>::default(),
        conflicts: Vec::new(),
        problems: Vec::new(),
        drift: Vec::new(),
        skipped: 0,
        excluded: 0,
        bytes: ByteCounts::default(),
        seconds: 0.0,
        notices: Vec::new(),
        error: Some(RunError {
            class: class.as_str().unwrap_or("failed").to_owned(),
            desc: error.desc.clone(),
        }),
    }
}

/// What a look for conflicts found.
#[derive(Debug, Default)]
pub struct OpenConflicts {
    /// Every open conflict.
    pub conflicts: Vec<Conflict>,
    /// Paths that could not be looked at.
    pub problems: Vec<Problem>,
}

/// The open conflicts of a pair: as the last run left them, or (`force_scan`) as a dry run finds them now.
pub async fn list_conflicts(
    spec: &JobSpec,
    force_scan: bool,
    progress: Arc<Progress>,
    cancel: CancellationToken,
) -> Result<OpenConflicts, SyncError> {
    let mut spec = spec.clone();
    spec.options.dry_run = true;
    if spec.storages.source.read_only {
        // The conflicts of both ways and of one way are the same; only one way is allowed here.
        spec.options.direction = Direction::OneWay;
    }
    let ties = Ties {
        progress,
        cancel,
        ..Ties::default()
    };
    let prepared = prepare(&spec, ties).await?;
    if !force_scan {
        return Ok(OpenConflicts {
            conflicts: stored_conflicts(&prepared.job)?,
            problems: Vec::new(),
        });
    }
    let mut report = prepared.run_one_shot().await?;
    // A look that ended early may have missed some.
    let ended = report.error.map(|error| Problem {
        path: ".".to_owned(),
        storage: String::new(),
        operation: "look".to_owned(),
        reason: error.desc,
    });
    report.problems.extend(ended);
    Ok(OpenConflicts {
        conflicts: report.conflicts,
        problems: report.problems,
    })
}

/// What both storages hold at a path, what they last agreed on, and what follows. Nothing is changed.
pub async fn explain(
    spec: &JobSpec,
    path: &SyncPath,
    cancel: CancellationToken,
) -> Result<Explanation, SyncError> {
    let mut spec = spec.clone();
    spec.options.dry_run = true;
    let ties = Ties {
        cancel,
        ..Ties::default()
    };
    let prepared = prepare(&spec, ties).await?;
    wl_core::sync::explain(&prepared.job, path).await
}

/// Ends conflicts: a run that looks only at these paths.
pub async fn resolve(
    spec: &JobSpec,
    paths: &[SyncPath],
    keep: Keep,
    progress: Arc<Progress>,
    cancel: CancellationToken,
) -> RunReport {
    run_one_shot(&that_resolves(spec, paths, keep), progress, cancel).await
}

/// The job with the one run that ends these conflicts.
pub(crate) fn that_resolves(spec: &JobSpec, paths: &[SyncPath], keep: Keep) -> JobSpec {
    let mut spec = spec.clone();
    spec.options.resolve = paths.iter().map(|path| (path.clone(), keep)).collect();
    if spec.storages.source.read_only && keep == Keep::Source {
        // Keeping the source's version writes to the target only.
        spec.options.direction = Direction::OneWay;
    }
    spec
}

/// What is in a storage's trash, oldest first.
pub async fn trash_list(spec: &StorageSpec) -> Result<Vec<TrashItem>, SyncError> {
    let registry = registry().map_err(usage)?;
    let storage = connect(&registry, spec, &ConnectContext::default()).await?;
    Ok(storage.trash_list().await?)
}

/// Gives up what is in a storage's trash for longer than `keep`; a dry run tells what that would be.
pub async fn trash_empty(
    spec: &StorageSpec,
    keep: TrashKeep,
    dry_run: bool,
) -> Result<Emptied, SyncError> {
    if spec.read_only {
        return Err(usage("the storage is read-only; nothing can be removed"));
    }
    let registry = registry().map_err(usage)?;
    let context = ConnectContext {
        writes: !dry_run,
        ..ConnectContext::default()
    };
    let storage = connect(&registry, spec, &context).await?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since.map_or(0, |since| since.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    Ok(empty_trash(&*storage, keep, now, dry_run).await?)
}

/// Puts a version from a storage's trash back at `to`, or where it was. Returns where it is now.
pub async fn trash_restore(
    spec: &StorageSpec,
    id: &TrashId,
    to: Option<&SyncPath>,
) -> Result<SyncPath, SyncError> {
    if spec.read_only {
        return Err(usage("the storage is read-only; nothing can be restored"));
    }
    let registry = registry().map_err(usage)?;
    let context = ConnectContext {
        writes: true,
        ..ConnectContext::default()
    };
    let storage = connect(&registry, spec, &context).await?;
    let to = match to {
        Some(to) => to.clone(),
        None => {
            let items = storage.trash_list().await?;
            let item = items.into_iter().find(|item| item.id == *id);
            let item = item.ok_or_else(|| {
                usage(format!(
                    "`{id}` is not in the trash; see `wl trash list` for what is"
                ))
            })?;
            item.path
                .ok_or_else(|| usage(format!("nobody knows where `{id}` was; say it with --to")))?
        }
    };
    storage.trash_restore(id, &to).await?;
    Ok(to)
}

/// What the sides are connected for. A dry run writes nothing, not even to find out what a server does.
fn connect_contexts(spec: &JobSpec) -> Sides<ConnectContext> {
    let two_way = spec.options.direction == Direction::TwoWay;
    let writes = |side| !spec.options.dry_run && (two_way || side == Side::Target);
    Sides::from_fn(|side| ConnectContext {
        writes: writes(side),
        makes_root: writes(side) && (side == Side::Target || spec.options.allow_empty),
        state_dir: Some(folder::state_path(&spec.base_dir)),
        limits: spec.limits,
    })
}

fn stopped() -> SyncError {
    SyncError::new(
        SyncErrorClass::Cancelled,
        "the run was told to stop before it began; run again to carry on",
    )
}

/// Whoever waits for a server that does not answer can give up at once, and does so after [`CONNECTING`].
async fn unless_stopped<T>(
    cancel: &CancellationToken,
    spec: &JobSpec,
    side: Side,
    connecting: impl Future<Output = Result<T, SyncError>>,
) -> Result<T, SyncError> {
    tokio::select! {
        () = cancel.cancelled() => Err(stopped()),
        connected = tokio::time::timeout(CONNECTING, connecting) => connected.unwrap_or_else(|_| {
            let (seconds, name) = (CONNECTING.as_secs(), &spec.storages[side].type_name);
            Err(SyncError::new(
                SyncErrorClass::RootUnavailable,
                format!("connecting to the {side} ({name}) took more than {seconds} s; check its address, the network, and that the server runs"),
            ))
        }),
    }
}

async fn connect_side(
    registry: &Registry,
    spec: &JobSpec,
    side: Side,
    contexts: &Sides<ConnectContext>,
) -> Result<Arc<dyn StorageBackend>, SyncError> {
    let connected = connect(registry, &spec.storages[side], &contexts[side]).await;
    // What is wrong in how a storage is described names no place yet: it could be either.
    connected.map_err(|error| match error.class {
        SyncErrorClass::Usage => SyncError::new(error.class, format!("{side}: {error}")),
        _ => error,
    })
}

async fn connect(
    registry: &Registry,
    spec: &StorageSpec,
    context: &ConnectContext,
) -> Result<Arc<dyn StorageBackend>, SyncError> {
    let factory = types::find(registry, &spec.type_name).map_err(usage)?;
    let params = spec.params_for(factory.schema());
    let params = with_secrets(params, factory.schema())
        .map_err(|error| SyncError::new(SyncErrorClass::Credentials, error.to_string()))?;
    check_params(&spec.type_name, factory.schema(), &params).map_err(usage)?;
    let connected = factory.connect(&params, context).await;
    Ok(connected.map_err(|error| match error.storage() {
        // Parameters that make no address yet.
        "" => error.on(&spec.type_name),
        _ => error,
    })?)
}

/// The grade of a storage as runs found it out before; the storage is not asked. `None`: no run has, or not lately.
pub fn known_grade(base_dir: &Path, spec: &StorageSpec) -> Option<KnownGrade> {
    let factory = types::backend(&spec.type_name).ok()?;
    let params = spec.params_for(factory.schema());
    let params = with_secrets(params, factory.schema()).ok()?;
    factory.known_grade(&params, &folder::state_path(base_dir))
}

async fn make_target(
    spec: &StorageSpec,
    cancel: &CancellationToken,
) -> Result<Option<CreatedFolder>, SyncError> {
    match spec.local_folder() {
        Some(folder) if spec.create_missing => {
            apart(cancel, move || CreatedFolder::make(&folder)).await
        }
        _ => Ok(None),
    }
}

async fn refuse_base(spec: &JobSpec, cancel: &CancellationToken) -> Result<(), SyncError> {
    let (base, storages) = (spec.base_dir.clone(), spec.storages.clone());
    apart(cancel, move || check_not_base(&base, &storages)).await
}

/// The filter of a job that leaves out the base directory.
async fn leave_out_base(
    spec: &JobSpec,
    cancel: &CancellationToken,
) -> Result<Arc<dyn Filter>, SyncError> {
    let (base, storages) = (spec.base_dir.clone(), spec.storages.clone());
    let filter = Arc::clone(&spec.options.filter);
    let work = move || {
        // A target that was made just now may be the base directory too.
        check_not_base(&base, &storages)?;
        Ok(without_base(&base, &storages, &filter))
    };
    apart(cancel, work).await
}

/// Does on a thread of its own what waits for as long as a mount hangs: all jobs share the few threads that must not.
async fn apart<T: Send + 'static>(
    cancel: &CancellationToken,
    work: impl FnOnce() -> Result<T, SyncError> + Send + 'static,
) -> Result<T, SyncError> {
    tokio::select! {
        () = cancel.cancelled() => Err(stopped()),
        done = tokio::task::spawn_blocking(work) => match done {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The process is ending.
                Err(_) => Err(stopped()),
            },
        },
    }
}

fn choose_syncer(registry: &Registry, spec: &JobSpec) -> Result<SyncerPlugin, SyncError> {
    let types = spec.storages.as_ref().map(|storage| &*storage.type_name);
    let needs = Needs {
        continuous: spec.continuous,
        one_shot: !spec.continuous,
        unidirectional: spec.options.direction != Direction::TwoWay,
        both_mounted: types.source == LOCAL && types.target == LOCAL,
    };
    let syncer = registry.select_syncer(types.source, types.target, needs);
    syncer.copied().map_err(usage)
}

/// Refuses a run that would have to write to a read-only storage.
pub(crate) fn check_writable(spec: &JobSpec) -> Result<(), SyncError> {
    let one_way = spec.options.direction != Direction::TwoWay;
    for side in Side::BOTH {
        if spec.storages[side].read_only && !(side == Side::Source && one_way) {
            let fix = match side {
                Side::Source => "go one way with --unidirectional or --mirror",
                Side::Target => "choose another target",
            };
            return Err(usage(format!("the {side} storage is read-only; {fix}")));
        }
    }
    Ok(())
}

fn usage(error: impl ToString) -> SyncError {
    SyncError::new(SyncErrorClass::Usage, error.to_string())
}

#[cfg(test)]
mod tests;
