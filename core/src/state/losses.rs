//! What the looks of a continuous run made exist nowhere lately: many small removals are as much as a large one.
//!
//! The ledger holds the contents and not only their number: what came back, or did not go after all, is somewhere again, as the baseline
//! tells, and is taken off. So a tree that is checked out to and fro loses nothing for good, and one that goes in small portions does.

use super::StateError;
use super::pair::PairState;
use crate::model::Side;

#[cfg(test)]
mod tests;

/// Losses of so many seconds are judged together.
pub const LOSSES_TOGETHER: u64 = 600;

/// A content has its hash here (a blob), the removal of one that is not known its key (a text).
pub(super) const CREATE_LOST: &str = "CREATE TABLE IF NOT EXISTS lost \
    (side TEXT NOT NULL, what BLOB NOT NULL, PRIMARY KEY (side, what)) WITHOUT ROWID;";

impl PairState {
    /// Since when losses are counted, and how many an older wl had counted without their contents.
    fn losses_name(&self, side: Side) -> String {
        format!("lost {}", self.column(side))
    }

    /// How many contents were given up on `side` since losses began to be counted, no longer than [`LOSSES_TOGETHER`] ago. Some may have come
    /// back: [`PairState::take_off_losses`] looks for them. `now`: seconds since 1970.
    pub fn recent_losses(&self, side: Side, now: u64) -> Result<u64, StateError> {
        let Some((nameless, _)) = self.losses(side, now)? else {
            return Ok(0);
        };
        let mut count = self
            .db()
            .prepare_cached("SELECT count(*) FROM lost WHERE side = ?1")?;
        let named: i64 = count.query_row([self.column(side)], |row| row.get(0))?;
        Ok(nameless + named.cast_unsigned())
    }

    /// What the removals that are held back on `side` make exist nowhere is given up now.
    pub fn add_losses(&mut self, side: Side, now: u64) -> Result<(), StateError> {
        self.in_transaction(|this| {
            let kept = this.losses(side, now)?;
            if kept.is_none() {
                this.forget_losses(side)?;
            }
            this.note_lost(side, this.column(side))?;
            let (nameless, since) = kept.unwrap_or((0, now));
            this.keep_losses(side, nameless, since)
        })
    }

    /// What is somewhere again, or still, was not given up. To be asked before the losses of this pass are added: what it is to remove it counts
    /// itself.
    pub fn take_off_losses(&self, side: Side) -> Result<(), StateError> {
        self.unnote_lost(side, self.column(side))
    }

    /// Too many would have been given up: those that were are counted on, from now.
    pub fn hold_losses(&self, side: Side, now: u64) -> Result<(), StateError> {
        match self.losses(side, now)? {
            Some((nameless, _)) => self.keep_losses(side, nameless, now),
            None => Ok(()),
        }
    }

    /// Somebody allowed what was lost: counting begins anew.
    pub fn forgive_losses(&mut self, side: Side) -> Result<(), StateError> {
        if self.meta(&self.losses_name(side))?.is_none() {
            return Ok(());
        }
        self.in_transaction(|this| {
            this.forget_losses(side)?;
            this.keep_losses(side, 0, 0)
        })
    }

    fn forget_losses(&self, side: Side) -> Result<(), StateError> {
        self.db()
            .prepare_cached("DELETE FROM lost WHERE side = ?1")?
            .execute([self.column(side)])?;
        Ok(())
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

    fn keep_losses(&self, side: Side, nameless: u64, since: u64) -> Result<(), StateError> {
        self.set_meta(&self.losses_name(side), &format!("{nameless} {since}"))
    }
}
