//! What a pass may make exist nowhere: the delete budget, and what a run that goes on has counted against it.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::Pass;
use super::context::Removals;
use crate::machine;
use crate::model::Side;
use crate::reconcile::{BudgetVerdict, Losses, files_that_allow, judge_losses};
use crate::state::PairState;
use crate::sync::{DeleteBudget, SyncError, SyncErrorClass};

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
                self.drop_removals()?;
                return Ok(Some(exceeded));
            }
        }
        Ok(None)
    }

    /// Whether all that happens is the end of a conflict that somebody wants. What was put beside one is decided as ever.
    fn ends_conflict(&self) -> bool {
        let is_wished = |wish| self.is_wished(wish);
        !self.judged_as_ever && self.wish.as_ref().is_some_and(is_wished)
    }

    fn budget_is_share(&self) -> bool {
        matches!(
            self.context.job.options.max_delete,
            DeleteBudget::Percent(_)
        )
    }

    fn judge_losses_of(&self, side: Side) -> Result<Option<SyncError>, SyncError> {
        let context = Arc::clone(&self.context);
        let mut state = context.state();
        let lost = state.lost_contents(side)?;
        // A continuous run sees a large removal in pieces: they are judged together.
        let continuous = self.context.job.patience.is_some();
        let recent = match continuous && lost > 0 {
            true => self.recent_losses(&state, side, lost)?,
            false => 0,
        };
        if self.verdict(&state, side, (lost, recent))? == BudgetVerdict::Within {
            match continuous {
                // Before they go: whoever is killed in between has counted them. What does not go is found again.
                true if lost > 0 => state.add_losses(side, now())?,
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

    /// What was lost lately. What came back since is looked for only where it matters: each content by itself.
    fn recent_losses(&self, state: &PairState, side: Side, lost: u64) -> Result<u64, SyncError> {
        let recent = state.recent_losses(side, now())?;
        if self.verdict(state, side, (lost, recent))? == BudgetVerdict::Within {
            // Fewer would be within it, too.
            return Ok(recent);
        }
        state.take_off_losses(side)?;
        Ok(state.recent_losses(side, now())?)
    }

    fn verdict(
        &self,
        state: &PairState,
        side: Side,
        (lost, recent): (u64, u64),
    ) -> Result<BudgetVerdict, SyncError> {
        let budget = self.context.job.options.max_delete;
        let files = match self.baseline_files {
            Some(files) => files,
            None => state.count_files_up_to(files_that_allow(budget, lost + recent))?,
        };
        let losses = Losses {
            side,
            lost: lost + recent,
            files: files + recent,
        };
        Ok(judge_losses(budget, losses))
    }
}

/// The time in seconds since 1970.
fn now() -> u64 {
    let since = machine::wall().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
