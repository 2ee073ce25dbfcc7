//! What must hold before a run may begin.

use super::{SyncError, SyncErrorClass, SyncJob};
use crate::model::{Direction, Side, Sides};
use crate::state::PairState;
use crate::storage::CasGrade;

/// Refuses two storages that are the same or lie in each other, and those whose compare-and-swap is too weak.
pub(super) fn check_pair(job: &SyncJob) -> Result<(), SyncError> {
    let identities = job.storages.as_ref().map(|storage| storage.identity());
    if identities.source == identities.target {
        return Err(SyncError::new(
            SyncErrorClass::Nested,
            format!(
                "source and target are the same storage, {}; name two different ones",
                job.storages.source.location()
            ),
        ));
    }
    for side in Side::BOTH {
        if lies_within(identities[side], identities[side.other()]) {
            return Err(SyncError::new(
                SyncErrorClass::Nested,
                format!(
                    "the {side} {} lies inside the {} {}; choose folders that do not hold each other",
                    job.storages[side].location(),
                    side.other(),
                    job.storages[side.other()].location()
                ),
            ));
        }
    }
    check_grades(job)
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
pub(super) async fn root_markers(job: &SyncJob) -> Result<Sides<String>, SyncError> {
    let (source, target) = tokio::join!(
        job.storages.source.root_marker(),
        job.storages.target.root_marker()
    );
    Ok(Sides::new(source?, target?))
}

/// Refuses a root behind which there is another file system than before.
pub(super) fn check_roots(
    job: &SyncJob,
    state: &PairState,
    markers: &Sides<String>,
) -> Result<(), SyncError> {
    if job.options.accept_new_filesystem {
        return Ok(());
    }
    for side in Side::BOTH {
        let known = state.root_marker(side)?;
        if known.is_some_and(|known| known != markers[side]) {
            return Err(root_changed(job, side));
        }
    }
    Ok(())
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

/// The refusal of a root behind which there is another file system.
pub(super) fn root_changed(job: &SyncJob, side: Side) -> SyncError {
    SyncError::new(
        SyncErrorClass::RootChanged,
        format!(
            "another file system than at the last run is behind the {side} {}: nothing was changed; mount the right one, or run with \
             --accept-new-filesystem if it was moved on purpose",
            job.storages[side].location()
        ),
    )
}
