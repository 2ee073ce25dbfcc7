//! What a pass may make exist nowhere: the delete budget, and what a run that goes on has counted against it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::Pass;
use super::context::Removals;
use crate::machine;
use crate::model::{ContentHash, Side, Sides};
use crate::reconcile::{BudgetVerdict, Losses, files_that_allow, judge_losses};
use crate::sync::{DeleteBudget, SyncError, SyncErrorClass};

/// What was judged, and what became of it.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// Contents that were counted as lost on each side before they were removed.
    counted: Sides<u64>,
    /// Those that could not be removed.
    pub(super) spared: Sides<Vec<Option<ContentHash>>>,
    /// Files that were removed on each side.
    pub(super) gone: Sides<u64>,
    /// The conflict that somebody ends is about permissions: what is below is decided as ever.
    pub(super) as_ever: bool,
}

impl Pass {
    /// Nothing is removed in this pass, and no type gives way.
    pub(super) fn drop_removals(&mut self) -> Result<(), SyncError> {
        self.removes_nothing = true;
        let state = self.context.state();
        state.drop_removals()?;
        Ok(state.end_all_groups()?)
    }

    /// Puts the removals off, if there are more than this pass is to carry out.
    pub(super) fn wait_with_removals(&mut self) -> Result<(), SyncError> {
        let Removals::UpTo(most) = self.context.removals else {
            return Ok(());
        };
        let state = self.context.state();
        let mut lost = 0;
        for side in Side::BOTH {
            lost += state.lost_contents(side)?;
        }
        if lost > most {
            drop(state);
            self.drop_removals()?;
            self.context.tally().found.waiting = lost;
        }
        Ok(())
    }

    /// Whether the removals may be carried out; if not they are dropped.
    pub(super) fn judge_budget(&mut self) -> Result<Option<SyncError>, SyncError> {
        if self.ends_conflict() {
            // Somebody chose the side that goes, and it goes to the trash.
            return Ok(None);
        }
        for objects in self.groups.packed() {
            self.context.state().sweep_together(&objects)?;
        }
        for side in Side::BOTH {
            // A root that was emptied on purpose loses its share; a plain count was named for this run and holds.
            if self.budget_is_share() && self.emptied == Some(side.other()) {
                continue;
            }
            if let Some(exceeded) = self.judge_losses_of(side)? {
                self.context.state().hold_losses(side, now())?;
                self.take_back_losses(true)?;
                self.drop_removals()?;
                return Ok(Some(exceeded));
            }
        }
        Ok(None)
    }

    /// Whether all that happens is the end of a conflict that somebody wants. What was put beside one is decided as ever.
    fn ends_conflict(&self) -> bool {
        let is_wished = |wish| self.is_wished(wish);
        !self.lost.as_ever && self.wish.as_ref().is_some_and(is_wished)
    }

    fn budget_is_share(&self) -> bool {
        matches!(
            self.context.job.options.max_delete,
            DeleteBudget::Percent(_)
        )
    }

    fn judge_losses_of(&mut self, side: Side) -> Result<Option<SyncError>, SyncError> {
        let context = Arc::clone(&self.context);
        let state = context.state();
        let lost = state.lost_contents(side)?;
        // A continuous run sees a large removal in pieces: they are judged together.
        let continuous = self.context.job.patience.is_some();
        let recent = match continuous && lost > 0 {
            true => state.recent_losses(side, now())?,
            false => 0,
        };
        let files = match self.baseline_files {
            Some(files) => files,
            None => {
                let enough = files_that_allow(self.context.job.options.max_delete, lost + recent);
                state.count_files_up_to(enough)?
            }
        };
        let losses = Losses {
            side,
            lost: lost + recent,
            files: files + recent,
        };
        if judge_losses(self.context.job.options.max_delete, losses) == BudgetVerdict::Within {
            match continuous {
                true if lost > 0 => {
                    self.lost.counted[side] = lost;
                    state.add_losses(side, lost, now())?;
                }
                true => {}
                false => state.forgive_losses(side)?,
            }
            return Ok(None);
        }
        let files = match self.baseline_files {
            Some(files) => files,
            None => state.count_files()?,
        };
        let before = match recent {
            0 => String::new(),
            recent => format!(", after {recent} in the last minutes"),
        };
        let again = match continuous {
            true => "once (--one-shot)",
            false => "again",
        };
        Ok(Some(SyncError::new(
            SyncErrorClass::DeleteBudget,
            format!(
                "{lost} different contents would be lost on the {side} {}{before}, of {} files: no removal was carried out; \
                 if that is meant, run {again} with a higher --max-delete",
                self.context.job.storages[side].location(),
                files + recent,
            ),
        )))
    }

    /// What could not be removed is not lost: a removal that is tried again and again would use up the budget. Where the removing broke
    /// off, nothing else is than what went.
    pub(super) fn take_back_losses(&mut self, broke_off: bool) -> Result<(), SyncError> {
        let spared = std::mem::take(&mut self.lost.spared);
        let counted = std::mem::take(&mut self.lost.counted);
        for side in Side::BOTH {
            let most = counted[side];
            let spared = match broke_off {
                true => most.saturating_sub(self.lost.gone[side]),
                false => most.min(self.counted_among(&spared[side])?),
            };
            if spared > 0 {
                self.context.state().take_back_losses(side, spared, now())?;
            }
        }
        Ok(())
    }

    /// How many of these contents were counted as lost: one that is or comes somewhere else was not.
    fn counted_among(&self, spared: &[Option<ContentHash>]) -> Result<u64, SyncError> {
        let state = self.context.state();
        let known: HashSet<_> = spared.iter().flatten().collect();
        let mut counted = spared.iter().filter(|hash| hash.is_none()).count() as u64;
        for hash in known {
            counted += u64::from(state.is_lost(hash)?);
        }
        Ok(counted)
    }
}

/// The time in seconds since 1970.
fn now() -> u64 {
    let since = machine::wall().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
