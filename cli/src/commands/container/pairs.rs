//! Jobs of a container: which of its storages are source and target.

use wl_daemon::jobs::{OfContainer, Options, StartRequest, StorageRequest};
use wl_daemon::model::{Direction, Side, Sides};
use wl_daemon::sync::SyncOptions;
use wl_daemon::{JobSpec, Limits};

use crate::args::Selection;
use crate::commands::Context;
use crate::commands::runs::Job;
use crate::error::{CliError, CliResult};
use crate::manifest::{Container, Storage};
use crate::output::human::NextStep;
use crate::output::quote;

/// The job of one pair.
pub fn job(
    context: &Context<'_>,
    name: &str,
    selection: &Selection,
    options: &SyncOptions,
) -> CliResult<Job> {
    let targets: Vec<_> = selection.target_storage.iter().cloned().collect();
    let source = selection.source_storage.as_deref();
    let mut jobs = jobs(context, name, source, &targets, options)?;
    jobs.pop()
        .ok_or_else(|| CliError::Usage("name a target with --target-storage".to_owned()))
}

/// The job of the pair that is meant; a job for every storage beside the source if none of them is the target by itself.
pub fn every_job(
    context: &Context<'_>,
    name: &str,
    selection: &Selection,
    options: &SyncOptions,
) -> CliResult<Vec<Job>> {
    let container = context.store()?.load(name)?;
    let mut targets: Vec<_> = selection.target_storage.iter().cloned().collect();
    let mut source = selection.source_storage.clone();
    if targets.is_empty() {
        let chosen = match &source {
            Some(source) => container.choose(source, &[])?,
            None => container.default_source(&[])?,
        };
        if container.default_target(&chosen.backend_id).is_err() {
            let ids = container.storages().iter().map(|it| it.backend_id.clone());
            targets = ids.filter(|id| *id != chosen.backend_id).collect();
        }
        source = Some(chosen.backend_id.clone());
    }
    jobs(context, name, source.as_deref(), &targets, options)
}

/// A job for every target, in the order in which they were named.
pub fn jobs(
    context: &Context<'_>,
    name: &str,
    source: Option<&str>,
    targets: &[String],
    options: &SyncOptions,
) -> CliResult<Vec<Job>> {
    let container = context.store()?.load(name)?;
    let (source, chosen) = choose(&container, source, targets)?;
    let of_manifest = container.filters.exclusions()?;
    let of_container = OfContainer::of(&of_manifest);
    let options = SyncOptions {
        exclude: of_manifest.and(options.exclude.clone()),
        ..options.clone()
    };
    let make = |target: &&Storage| -> CliResult<Job> {
        Ok(Job {
            spec: JobSpec {
                storages: Sides::new(source.spec(), target.spec()),
                options: options.clone(),
                limits: Limits::default(),
                continuous: false,
                base_dir: context.base_dir()?,
            },
            next: NextStep {
                resolve: format!("{}container resolve {}", context.wl(), quote(name)),
                options: selection_options(&container, source, target),
                direction: Direction::TwoWay,
            },
            ids: Some(Sides::new(
                source.backend_id.clone(),
                target.backend_id.clone(),
            )),
            of_container: of_container.clone(),
        })
    };
    chosen.iter().map(make).collect()
}

/// What the daemon is asked to run for a job of container `name`.
pub fn request(name: &str, job: &Job, continuous: bool) -> StartRequest {
    let spec = &job.spec;
    let id = |side| job.ids.as_ref().map(|ids| ids[side].clone());
    let ids = Sides::from_fn(|side| id(side).unwrap_or_default());
    StartRequest {
        container_name: name.to_owned(),
        job_id: format!("{name}:{}:{}", ids.source, ids.target),
        source: StorageRequest::new(&spec.storages.source, id(Side::Source)),
        target: StorageRequest::new(&spec.storages.target, id(Side::Target)),
        continuous,
        unidirectional: spec.options.direction == Direction::OneWay,
        active_events: None,
        options: Options {
            of_container: job.of_container.clone(),
            ..Options::of(&spec.options, spec.limits)
        },
    }
}

fn choose<'a>(
    container: &'a Container,
    source: Option<&str>,
    targets: &[String],
) -> CliResult<(&'a Storage, Vec<&'a Storage>)> {
    // Backend ids that are named as targets are not the default source.
    let named: Vec<&str> = targets.iter().map(String::as_str).collect();
    let source = match source {
        Some(source) => container.choose(source, &[])?,
        None => container.default_source(&named)?,
    };
    if targets.is_empty() {
        let target = container.default_target(&source.backend_id)?;
        return Ok((source, vec![target]));
    }
    let mut taken = vec![&*source.backend_id];
    let mut chosen = Vec::new();
    for target in targets {
        let target = container.choose(target, &taken)?;
        if taken.contains(&&*target.backend_id) {
            return Err(CliError::Usage(format!(
                "the storage `{}` is chosen twice; choose different storages",
                target.backend_id
            )));
        }
        taken.push(&target.backend_id);
        chosen.push(target);
    }
    Ok((source, chosen))
}

/// The options that mean this pair; none if it is the default one.
fn selection_options(container: &Container, source: &Storage, target: &Storage) -> String {
    let defaults = choose(container, None, &[]).ok();
    let is_default = defaults.is_some_and(|(default_source, default_targets)| {
        default_source.backend_id == source.backend_id
            && default_targets[0].backend_id == target.backend_id
    });
    if is_default {
        return String::new();
    }
    format!(
        " --source-storage {} --target-storage {}",
        source.backend_id, target.backend_id
    )
}
