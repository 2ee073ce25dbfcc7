//! What must hold before a run may begin.

use std::sync::Arc;

use super::{SyncError, SyncErrorClass, SyncJob};
use crate::model::{Direction, Side, Sides};
use crate::planted::{Bug, planted};
use crate::state::PairState;
use crate::storage::{CasGrade, ListRequest, MachineFolder, RootChange, RootMarker};

/// Refuses two storages that are the same or lie in each other, and those whose compare-and-swap is too weak.
pub(super) async fn check_pair(job: &SyncJob) -> Result<(), SyncError> {
    let identities = job.storages.as_ref().map(|storage| storage.identity());
    let Sides { source, target } = &job.storages;
    let (source, target) = tokio::join!(source.lies_in(), target.lies_in());
    let lies_in = Sides::new(source?, target?);
    let refusal = match nesting(identities, &lies_in) {
        None => return check_grades(job),
        Some(Nesting::Same) => same(job),
        Some(Nesting::Inside(side)) => format!(
            "the {side} {} lies inside the {} {}; choose folders that do not hold each other",
            job.storages[side].location(),
            side.other(),
            job.storages[side.other()].location()
        ),
    };
    Err(SyncError::new(SyncErrorClass::Nested, refusal))
}

fn same(job: &SyncJob) -> String {
    let [source, target] = Side::BOTH.map(|side| job.storages[side].location());
    let mounted = match source == target {
        true => String::new(),
        false => format!(" (mounted as {target}, too)"),
    };
    format!("source and target are the same storage, {source}{mounted}; name two different ones")
}

/// How two storages that must be apart are not.
#[derive(Debug, PartialEq, Eq)]
enum Nesting {
    Same,
    /// This side lies in the other.
    Inside(Side),
}

/// By what they are called, and by where they are where a mount hides that.
fn nesting(identities: Sides<&str>, lies_in: &Sides<Vec<MachineFolder>>) -> Option<Nesting> {
    let roots = lies_in.as_ref().map(|folders| folders.first());
    let are_one = roots.source.is_some() && roots.source == roots.target;
    if identities.source == identities.target || are_one {
        return Some(Nesting::Same);
    }
    let is_inside = |&side: &Side| {
        let other = roots[side.other()];
        lies_within(identities[side], identities[side.other()])
            || other.is_some_and(|other| lies_in[side].contains(other))
    };
    Side::BOTH.into_iter().find(is_inside).map(Nesting::Inside)
}

/// Identities of hierarchical storages are paths: one lies in another if it goes on from it after a `/`.
fn lies_within(inner: &str, outer: &str) -> bool {
    inner
        .strip_prefix(outer.trim_end_matches('/'))
        .is_some_and(|rest| rest.starts_with('/'))
}

fn check_grades(job: &SyncJob) -> Result<(), SyncError> {
    for side in written_sides(job) {
        let capabilities = job.storages[side].capabilities();
        let location = job.storages[side].location();
        if !capabilities.writable {
            return Err(SyncError::new(
                SyncErrorClass::Storage,
                format!(
                    "the {side} {location} cannot be written; check its permissions and whether it is mounted read-only, or make it the \
                     source of a one-way run"
                ),
            ));
        }
    }
    let grades = written_sides(job).map(|side| job.storages[side].capabilities().cas);
    match grades.min() {
        Some(weakest) if weakest < job.options.require_cas => Err(weak(job, weakest)),
        _ => Ok(()),
    }
}

fn weak(job: &SyncJob, weakest: CasGrade) -> SyncError {
    let sides = written_sides(job).map(|side| {
        let storage = &job.storages[side];
        let has = storage.capabilities().cas;
        let most = match has {
            CasGrade::Recoverable => ", the most that a local folder can be",
            _ => "",
        };
        format!(
            "the {side} {} is `{}`{most}",
            storage.location(),
            grade(has)
        )
    });
    let sides: Vec<_> = sides.collect();
    SyncError::new(
        SyncErrorClass::WeakCas,
        format!(
            "--require-cas {} is not met: {}; run with `--require-cas {}` to accept that, or choose other storages",
            grade(job.options.require_cas),
            sides.join("; "),
            grade(weakest)
        ),
    )
}

fn grade(grade: CasGrade) -> String {
    format!("{grade:?}").to_lowercase()
}

/// The sides that this job may write to. One-way and mirror never write to the source.
pub(super) fn written_sides(job: &SyncJob) -> impl Iterator<Item = Side> + use<> {
    let two_way = job.options.direction == Direction::TwoWay;
    Side::BOTH
        .into_iter()
        .filter(move |&side| two_way || side == Side::Target)
}

/// What is behind each root now.
pub(super) async fn root_markers(job: &SyncJob) -> Result<Sides<RootMarker>, SyncError> {
    let (source, target) = tokio::join!(
        job.storages.source.root_marker(),
        job.storages.target.root_marker()
    );
    Ok(Sides::new(source?, target?))
}

/// What became of the roots since the pair's last run.
pub(super) fn root_changes(
    state: &PairState,
    markers: &Sides<RootMarker>,
) -> Result<Sides<RootChange>, SyncError> {
    let mut changes = Sides::new(RootChange::Same, RootChange::Same);
    for side in Side::BOTH {
        if let Some(known) = state.root_marker(side)?
            && !planted(Bug::RootMarkerIsIgnored)
        {
            changes[side] = markers[side].since(&known);
        }
    }
    Ok(changes)
}

/// Refuses a root that is another one than at the last run. What is missing in it was never removed there.
///
/// Returns whether another root was accepted: the baseline speaks of one that is gone, and must not be believed.
pub(super) async fn check_roots(
    job: &SyncJob,
    changes: Sides<RootChange>,
    has_baseline: bool,
) -> Result<bool, SyncError> {
    if job.options.accept_new_filesystem {
        return Ok(Side::BOTH
            .iter()
            .any(|&side| changes[side] != RootChange::Same));
    }
    for side in Side::BOTH {
        match changes[side] {
            RootChange::Same => {}
            // Where nothing was agreed on nothing can be taken for removed.
            RootChange::Folder if !has_baseline => {}
            RootChange::Folder if lists_nothing(job, side).await? => {
                if !job.options.allow_empty {
                    return Err(root_emptied(job, side));
                }
            }
            change => return Err(root_changed(job, side, change)),
        }
    }
    Ok(false)
}

/// Whether there is nothing to sync in a root. One that was made anew is looked at before anything is written into it.
async fn lists_nothing(job: &SyncJob, side: Side) -> Result<bool, SyncError> {
    let request = ListRequest {
        filter: Arc::clone(&job.options.filter),
        cancel: job.cancel.clone(),
        ..ListRequest::everything(&job.state_dir)
    };
    let mut listing = job.storages[side].list(request).await?;
    while let Some(rows) = listing.next().await? {
        if !rows.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The refusal of a root that held something and lists nothing.
pub(super) fn root_emptied(job: &SyncJob, side: Side) -> SyncError {
    SyncError::new(
        SyncErrorClass::RootEmptied,
        format!(
            "the {side} {} lists nothing, but it held files at the last run: nothing was changed; if it is not mounted, mount it; \
             if it was emptied on purpose, run again with --allow-empty",
            job.storages[side].location()
        ),
    )
}

/// Refuses a source that does not exist, where nothing is known of the pair yet: a mistyped address would be filled from the target.
/// Later a source that is gone is one that was emptied.
pub(super) async fn check_source(job: &SyncJob) -> Result<(), SyncError> {
    let source = &job.storages.source;
    if job.options.allow_empty || source.exists().await? {
        return Ok(());
    }
    let location = source.location();
    let (nothing, make) = match source.capabilities().empty_folders {
        true => ("", "make the folder or "),
        false => (": nothing is stored below it", ""),
    };
    Err(SyncError::new(
        SyncErrorClass::RootUnavailable,
        format!(
            "the source {location} does not exist{nothing}; nothing was changed. Correct its address; if it is right, {make}run again with \
             --allow-empty, or name it as the target, which is made if it is missing"
        ),
    ))
}

/// The refusal of a root that is another one than at the last run.
pub(super) fn root_changed(job: &SyncJob, side: Side, change: RootChange) -> SyncError {
    let what = match change {
        RootChange::FileSystem => {
            "another file system than at the last run is behind the {}: nothing was changed; mount the right one"
        }
        RootChange::Folder | RootChange::Same => {
            "another folder than at the last run is in the place of the {}: nothing was changed; put the right one back"
        }
    };
    let root = format!("{side} {}", job.storages[side].location());
    let then = match (job.options.direction, side) {
        (Direction::Mirror, Side::Source) => {
            "the mirror then removes what this source lacks, as far as --max-delete allows"
        }
        _ => "nothing is removed because it is missing there",
    };
    SyncError::new(
        SyncErrorClass::RootChanged,
        format!(
            "{}, or, if this one is meant, run once with --accept-new-filesystem: everything is compared anew, and {then}",
            what.replace("{}", &root)
        ),
    )
}
