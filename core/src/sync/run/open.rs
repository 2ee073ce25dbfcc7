//! Which conflicts are open: what a look found, what is known where it did not look, and versions in a trash that nobody agreed to give up.

use std::collections::BTreeSet;

use super::Run;
use crate::model::{Conflict, Side, SyncPath};
use crate::planted::{Bug, planted};
use crate::storage::{Area, Parts, TrashState};
use crate::sync::SyncError;
use crate::sync::pass::Findings;

/// The conflicts that the last run left open.
#[derive(Debug)]
pub(in crate::sync) struct Elsewhere {
    /// Those outside an area.
    pub(in crate::sync) outside: Vec<Conflict>,
    /// Whether there are some inside.
    pub(in crate::sync) some_inside: bool,
}

impl Run {
    /// The conflicts that are known, but for those in `area`. Those about the trash are outside of any.
    pub(in crate::sync) fn conflicts_outside(&self, area: &Area) -> Result<Elsewhere, SyncError> {
        let conflicts = self.state().conflicts()?;
        let all = conflicts.len();
        let mut outside = conflicts;
        outside.retain(|conflict| {
            conflict.is_about_trash()
                || SyncPath::new(&*conflict.path).map_or(true, |path| !area.holds(&path))
        });
        if planted(Bug::OpenConflictIsForgotten) {
            outside.clear();
        }
        Ok(Elsewhere {
            some_inside: outside.len() < all,
            outside,
        })
    }

    /// The conflicts above these places. Nothing below one is decided without it, and where folders are only implied a look at a place
    /// does not see what is above.
    pub(in crate::sync) fn conflicts_above(
        &self,
        parts: &Parts,
    ) -> Result<Vec<SyncPath>, SyncError> {
        let conflicts = self.state().conflicts()?;
        let paths = conflicts
            .iter()
            .filter(|conflict| !conflict.is_about_trash())
            .filter_map(|conflict| SyncPath::new(&*conflict.path).ok());
        let is_above = |path: &SyncPath| {
            let mut places = parts.paths().iter().chain(parts.subtrees());
            places.any(|place| place != path && place.is_within(path))
        };
        Ok(paths.filter(is_above).collect())
    }

    /// Records what is open after a look that has seen all of `area`, and tells it in `found`; the run goes on.
    pub(in crate::sync) async fn settle(
        &mut self,
        found: &mut Findings,
        area: &Area,
    ) -> Result<(), SyncError> {
        let stranded = self.has_stranded().await;
        let completed = self.complete(&mut found.conflicts, area, stranded).await;
        let mut state = self.state();
        if state.conflicts()? != found.conflicts {
            state.store_conflicts(&found.conflicts)?;
        }
        completed
    }

    /// Records the versions that were found when the sessions ended: somebody wrote to them after the last look had seen them. All that
    /// is open, if there are such.
    pub(super) async fn settle_late(&self) -> Result<Option<Vec<Conflict>>, SyncError> {
        if !self.has_stranded().await {
            return Ok(None);
        }
        let mut conflicts = Vec::new();
        self.complete(&mut conflicts, &Area::default(), true)
            .await?;
        self.state().store_conflicts(&conflicts)?;
        Ok(Some(conflicts))
    }

    /// Adds to what a look found that has seen all of `area` what is open elsewhere. `stranded`: there may be more in a trash than is known.
    /// A trash that cannot be looked at holds what is known.
    pub(super) async fn complete(
        &self,
        conflicts: &mut Vec<Conflict>,
        area: &Area,
        stranded: bool,
    ) -> Result<(), SyncError> {
        let known = self.conflicts_outside(area)?.outside;
        let (in_trash, elsewhere): (Vec<_>, Vec<_>) =
            known.into_iter().partition(Conflict::is_about_trash);
        also(conflicts, elsewhere);
        // Somebody may have taken out what is known.
        let asked = match stranded || !in_trash.is_empty() {
            true => self.rescued().await,
            false => Ok(Vec::new()),
        };
        let (in_trash, asked) = match asked {
            Ok(rescued) => (rescued, Ok(())),
            Err(failed) => (in_trash, Err(failed)),
        };
        conflicts.extend(in_trash);
        conflicts.sort_by(|a, b| (&a.path, &a.reason).cmp(&(&b.path, &b.reason)));
        asked
    }

    /// Whether somebody else's versions were found since this was asked last.
    async fn has_stranded(&self) -> bool {
        let mut stranded = false;
        for session in Side::BOTH
            .iter()
            .filter_map(|&side| self.sessions[side].as_ref())
        {
            stranded |= !session.stranded().await.is_empty();
        }
        stranded
    }

    /// Versions in the trash that nobody agreed to give up: conflicts until somebody takes them out.
    async fn rescued(&self) -> Result<Vec<Conflict>, SyncError> {
        let mut conflicts = Vec::new();
        for side in Side::BOTH {
            let storage = &self.job.storages[side];
            if !storage.capabilities().trash || planted(Bug::ClaimIsNotTold) {
                continue;
            }
            for item in storage.trash_claimed().await? {
                let how = match item.state {
                    TrashState::Rescued => "a version that was caught between two writers",
                    TrashState::Late => "a version that was written to after it had been replaced",
                    TrashState::Replaced | TrashState::Removed => continue,
                };
                conflicts.push(Conflict {
                    path: item.path.as_ref().map_or(".", SyncPath::as_str).to_owned(),
                    reason: format!(
                        "{how} is kept in the trash of {} as {}; take it out with `wl trash restore`",
                        storage.location(),
                        item.id
                    ),
                    source: None,
                    target: None,
                    ancestor: None,
                });
            }
        }
        Ok(conflicts)
    }
}

/// Adds to what was found what was known before, but for the paths that were found anew.
pub(in crate::sync) fn also(found: &mut Vec<Conflict>, known: Vec<Conflict>) {
    let anew: BTreeSet<String> = found.iter().map(|it| it.path.clone()).collect();
    found.extend(known.into_iter().filter(|it| !anew.contains(&it.path)));
}
