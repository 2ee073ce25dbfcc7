//! The baseline as a stream: what both sides agreed on, in the order of keys.

use std::collections::VecDeque;

use super::context::Context;
use super::ground::Stretch;
use crate::model::{Key, SyncPath};
use crate::state::BaselineRow;
use crate::sync::SyncError;

/// How many rows are read at once: the state is never held for long.
const ROWS: u32 = 1024;

/// Rows of the baseline.
#[derive(Debug)]
pub(super) struct Agreed {
    stretches: VecDeque<Stretch>,
    rows: VecDeque<BaselineRow>,
}

impl Agreed {
    /// The rows of these stretches, which are in order.
    pub(super) fn new(stretches: Vec<Stretch>) -> Self {
        Self {
            stretches: stretches.into(),
            rows: VecDeque::new(),
        }
    }

    /// All rows.
    pub(super) fn all() -> Self {
        Self::new(Stretch::all())
    }

    /// The rows at and below a path.
    pub(super) fn below(path: &SyncPath) -> Self {
        Self::new(Stretch::subtree(path).into())
    }

    /// The next row, which stays.
    pub(super) fn peek(&mut self, context: &Context) -> Result<Option<&BaselineRow>, SyncError> {
        self.fill(context)?;
        Ok(self.rows.front())
    }

    /// The next row.
    pub(super) fn next(&mut self, context: &Context) -> Result<Option<BaselineRow>, SyncError> {
        self.fill(context)?;
        Ok(self.rows.pop_front())
    }

    /// Whether the row that was peeked at is at `key`.
    pub(super) fn is_at(&self, key: &Key) -> bool {
        self.rows.front().is_some_and(|row| row.key() == *key)
    }

    /// Takes the row that was peeked at.
    pub(super) fn take(&mut self) -> Option<BaselineRow> {
        self.rows.pop_front()
    }

    fn fill(&mut self, context: &Context) -> Result<(), SyncError> {
        while self.rows.is_empty() {
            let (from, to) = match self.stretches.pop_front() {
                None => return Ok(()),
                Some(Stretch::Row(row)) => {
                    self.rows.push_back(*row);
                    return Ok(());
                }
                Some(Stretch::Range(from, to)) => (from, to),
            };
            let rows = context.state().rows_in(&from, to.as_deref(), ROWS)?;
            if let Some(last) = rows.last()
                && rows.len() == ROWS as usize
            {
                let from = format!("{}\0", last.key().to_text());
                self.stretches.push_front(Stretch::Range(from, to));
            }
            self.rows = rows.into();
        }
        Ok(())
    }
}
