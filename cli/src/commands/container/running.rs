//! Jobs as the daemon runs them, whatever the container's manifest says by now.

use serde_json::json;
use wl_control::JobStatus;
use wl_daemon::jobs::{StartRequest, StorageRequest, recorded_jobs};
use wl_daemon::model::{Direction, Sides};
use wl_daemon::sync::SyncOptions;

use super::pairs;
use crate::args::Selection;
use crate::commands::Context;
use crate::commands::runs::Job;
use crate::control;
use crate::error::{CliError, CliResult};
use crate::output::human::NextStep;
use crate::output::quote;

/// A continuous job of the daemon.
pub struct Running {
    /// How it stands.
    pub status: JobStatus,
    /// What it was started with.
    request: StartRequest,
}

/// The daemon's continuous job between the storages that are selected, if it runs one.
///
/// The manifest may have been edited since: then it is the job whose storages are not in it any more, if there is only one.
pub async fn find(
    context: &Context<'_>,
    name: &str,
    selection: &Selection,
    options: &SyncOptions,
) -> CliResult<Option<Running>> {
    let mut running = all(context, name).await?;
    let wanted = pairs::job(context, name, selection, options);
    let wanted = wanted.map(|job| pairs::request(name, &job, true).job_id);
    if let Ok(wanted) = &wanted
        && let Some(at) = running.iter().position(|it| it.request.job_id == *wanted)
    {
        return Ok(Some(running.swap_remove(at)));
    }
    let known = |storage: &StorageRequest| {
        let container = context.store()?.load(name)?;
        let storages = container.storages().iter();
        let mut ids = storages.map(|storage| &storage.backend_id);
        CliResult::Ok(ids.any(|id| Some(id) == storage.backend_id.as_ref()))
    };
    running.retain(|it| {
        let gone = |storage| !known(storage).unwrap_or(false);
        it.is_selected(selection) && (gone(&it.request.source) || gone(&it.request.target))
    });
    Ok(if running.len() == 1 {
        running.pop()
    } else {
        None
    })
}

/// The daemon's continuous jobs of a container.
async fn all(context: &Context<'_>, name: &str) -> CliResult<Vec<Running>> {
    let Some(mut client) = control::connect(context).await? else {
        return Ok(Vec::new());
    };
    let jobs = control::jobs_of(&mut client, name).await?;
    let mut recorded = recorded_jobs(&context.base_dir()?);
    let running = jobs.into_iter().filter_map(|status| {
        let at = recorded.iter().position(|it| it.job_id == status.job_id)?;
        let request = recorded.swap_remove(at);
        Some(Running { status, request })
    });
    Ok(running.collect())
}

/// The commands that end conflicts of jobs that the daemon runs are carried out by it, the way that it goes.
pub async fn tell_ways(context: &Context<'_>, name: &str, jobs: &mut [Job]) -> CliResult<()> {
    let running = all(context, name).await?;
    for job in jobs {
        let id = pairs::request(name, job, true).job_id;
        if let Some(running) = running.iter().find(|it| it.request.job_id == id) {
            job.next.direction = running.direction();
        }
    }
    Ok(())
}

impl Running {
    fn is_selected(&self, selection: &Selection) -> bool {
        let meant = |wanted: &Option<String>, storage: &StorageRequest| {
            wanted.as_ref().is_none_or(|wanted| {
                storage.backend_id.as_ref() == Some(wanted) || storage.type_name == *wanted
            })
        };
        meant(&selection.source_storage, &self.request.source)
            && meant(&selection.target_storage, &self.request.target)
    }

    /// What it runs, for one run with these options.
    pub fn job(&self, context: &Context<'_>, options: SyncOptions) -> CliResult<Job> {
        let request = &self.request;
        let spec = request.spec(&context.base_dir()?);
        let mut spec = spec.map_err(|refusal| CliError::Usage(refusal.desc))?;
        spec.continuous = false;
        // It leaves out what it was started to leave out, and goes the way that it was started to go.
        spec.options = SyncOptions {
            exclude: std::mem::take(&mut spec.options.exclude),
            direction: self.direction(),
            ..options
        };
        let id = |storage: &StorageRequest| storage.backend_id.clone().unwrap_or_default();
        let ids = Sides::new(id(&request.source), id(&request.target));
        let name = quote(&request.container_name);
        Ok(Job {
            spec,
            next: NextStep {
                resolve: format!("{}container resolve {name}", context.wl()),
                options: format!(
                    " --source-storage {} --target-storage {}",
                    ids.source, ids.target
                ),
                direction: self.direction(),
            },
            ids: Some(ids),
            of_container: request.options.of_container.clone(),
        })
    }

    /// Which way it goes.
    fn direction(&self) -> Direction {
        self.request.direction()
    }

    /// That it runs with another definition than the manifest has by now, and what to do; `None` if it does not.
    pub fn older(&self, context: &Context<'_>) -> Option<String> {
        older(context, &self.request)
    }
}

/// For each of these jobs: that it runs with an older definition, and what to do.
pub fn all_older(context: &Context<'_>, jobs: &[JobStatus]) -> CliResult<Vec<Option<String>>> {
    let recorded = recorded_jobs(&context.base_dir()?);
    let request = |job: &JobStatus| recorded.iter().find(|it| it.job_id == job.job_id);
    let each = jobs.iter().map(|job| older(context, request(job)?));
    Ok(each.collect())
}

fn older(context: &Context<'_>, request: &StartRequest) -> Option<String> {
    let name = &request.container_name;
    let (stop, sync) = ("container stop-sync", "container sync");
    let stop = format!("`{}{stop} {}`", context.wl(), quote(name));
    let container = match context.store().and_then(|store| store.load(name)) {
        Ok(container) => container,
        // A job that was started without a container has no manifest that could be newer.
        Err(_) if request.source.backend_id.is_none() => return None,
        Err(error) => {
            return Some(format!(
                "it runs with the definition that it was started with, the container has none any more ({error}); {stop} ends it"
            ));
        }
    };
    let what = [&request.source, &request.target]
        .into_iter()
        .find_map(|ran| {
            let id = ran.backend_id.as_ref()?;
            let storages = container.storages().iter();
            let Some(now) = storages.into_iter().find(|it| it.backend_id == *id) else {
                return Some(format!(
                    "the storage {} is not in the container any more",
                    quote(id)
                ));
            };
            let now = StorageRequest::new(&now.spec(), Some(id.clone()));
            (json!(now) != json!(ran))
                .then(|| format!("the storage {} was changed since", quote(id)))
        })
        .or_else(|| {
            let now = container.filters.exclusions().ok()?;
            let said = "what the container leaves out was changed since".to_owned();
            (!request.options.are_of(&now)).then_some(said)
        })?;
    Some(format!(
        "it runs with an older definition, {what}; {stop}, then `{}{sync} {}` takes the new one",
        context.wl(),
        quote(name)
    ))
}
