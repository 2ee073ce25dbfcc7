//! Decides what is to be done at a path: a pure function of what both sides last agreed on and what each holds now.
//!
//! The table is that of `docs/reconcile.md`. Nothing here waits, reads a disk or looks at a clock.

mod budget;
mod decide;
mod look;
mod modes;

#[cfg(test)]
mod tests;

pub use budget::{BudgetVerdict, Losses, judge_losses};
pub(crate) use budget::{SMALL_LOSS, files_that_allow};
pub use decide::{Conflicting, Verdict, is_arrival, reconcile};
pub use look::{Announced, Base, Content, Item, Look, Policy};
pub use modes::{ModePlan, merge_modes};
