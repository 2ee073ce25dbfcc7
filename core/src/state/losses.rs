//! What the looks of a continuous run made exist nowhere lately: many small removals are as much as a large one.

use super::StateError;
use super::pair::PairState;
use crate::model::Side;

/// Losses of so many seconds are judged together.
pub const LOSSES_TOGETHER: u64 = 600;

impl PairState {
    fn losses_name(&self, side: Side) -> String {
        format!("lost {}", self.column(side))
    }

    /// How many contents were given up on `side` since losses began to be counted, no longer than [`LOSSES_TOGETHER`] ago. `now`: seconds since 1970.
    pub fn recent_losses(&self, side: Side, now: u64) -> Result<u64, StateError> {
        Ok(self.losses(side, now)?.map_or(0, |(lost, _)| lost))
    }

    /// So many more are given up now.
    pub fn add_losses(&self, side: Side, more: u64, now: u64) -> Result<(), StateError> {
        let (lost, since) = self.losses(side, now)?.unwrap_or((0, now));
        self.keep_losses(side, lost + more, since)
    }

    /// So many of those that were counted last were not given up after all.
    pub fn take_back_losses(&self, side: Side, less: u64, now: u64) -> Result<(), StateError> {
        match self.losses(side, now)? {
            Some((lost, since)) => self.keep_losses(side, lost.saturating_sub(less), since),
            None => Ok(()),
        }
    }

    /// Too many would have been given up: those that were are counted on, from now.
    pub fn hold_losses(&self, side: Side, now: u64) -> Result<(), StateError> {
        match self.losses(side, now)? {
            Some((lost, _)) => self.keep_losses(side, lost, now),
            None => Ok(()),
        }
    }

    /// Somebody allowed what was lost: counting begins anew.
    pub fn forgive_losses(&self, side: Side) -> Result<(), StateError> {
        match self.meta(&self.losses_name(side))? {
            Some(_) => self.keep_losses(side, 0, 0),
            None => Ok(()),
        }
    }

    fn losses(&self, side: Side, now: u64) -> Result<Option<(u64, u64)>, StateError> {
        let Some(text) = self.meta(&self.losses_name(side))? else {
            return Ok(None);
        };
        let numbers = text.split_once(' ').and_then(|(lost, since)| {
            Some((lost.parse::<u64>().ok()?, since.parse::<u64>().ok()?))
        });
        let Some((lost, since)) = numbers else {
            return Err(self.damaged("the count of losses"));
        };
        // A clock that was set back makes it longer, never shorter, but not for ever.
        Ok((now.abs_diff(since) < LOSSES_TOGETHER).then_some((lost, since)))
    }

    fn keep_losses(&self, side: Side, lost: u64, since: u64) -> Result<(), StateError> {
        self.set_meta(&self.losses_name(side), &format!("{lost} {since}"))
    }
}
