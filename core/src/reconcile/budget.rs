//! The delete budget: how much content a run may make exist nowhere.

use crate::model::Side;
use crate::sync::DeleteBudget;

/// A percentage is not looked at up to this many lost contents: small trees would trip over it all the time.
pub(crate) const SMALL_LOSS: u64 = 20;

/// What a plan would lose on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Losses {
    /// The side that loses.
    pub side: Side,
    /// Distinct contents that were in its baseline and would be on neither side.
    pub lost: u64,
    /// Files in its baseline.
    pub files: u64,
}

/// Whether the budget holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetVerdict {
    /// The removals may be carried out.
    Within,
    /// They may not.
    Exceeded,
}

/// Of how many files the budget allows so many lost contents; it is never asked of how many more they are.
pub(crate) fn files_that_allow(budget: DeleteBudget, lost: u64) -> u64 {
    match budget {
        // Of how many is all the same.
        DeleteBudget::Count(_) | DeleteBudget::Percent(0 | 100..) => 0,
        DeleteBudget::Percent(_) if lost <= SMALL_LOSS => 0,
        DeleteBudget::Percent(share) => lost.saturating_mul(100).div_ceil(u64::from(share)),
    }
}

/// Judges a plan's losses on one side.
pub fn judge_losses(budget: DeleteBudget, losses: Losses) -> BudgetVerdict {
    let exceeded = match budget {
        DeleteBudget::Count(most) => losses.lost > most,
        // Everything: also of what never was in the baseline, as a mirror removes it.
        DeleteBudget::Percent(100..) => false,
        DeleteBudget::Percent(share) => {
            losses.lost > SMALL_LOSS
                && u128::from(losses.lost) * 100 > u128::from(losses.files) * u128::from(share)
        }
    };
    if exceeded {
        BudgetVerdict::Exceeded
    } else {
        BudgetVerdict::Within
    }
}
