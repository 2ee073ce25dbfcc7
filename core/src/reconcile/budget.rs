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

/// Judges a plan's losses on one side.
pub fn judge_losses(budget: DeleteBudget, losses: Losses) -> BudgetVerdict {
    let exceeded = match budget {
        DeleteBudget::Count(most) => losses.lost > most,
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
