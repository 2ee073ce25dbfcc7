//! One listing of rows that are known and of a walk.

use std::collections::VecDeque;

use async_trait::async_trait;

use crate::model::Key;
use crate::storage::{Listing, Result, Row};

/// Rows that are there already and those of a walk, in one order.
pub(super) struct Joined {
    rows: VecDeque<Row>,
    walked: VecDeque<Row>,
    walk: Option<Box<dyn Listing>>,
}

impl Joined {
    pub(super) fn boxed(rows: VecDeque<Row>, walk: Option<Box<dyn Listing>>) -> Box<dyn Listing> {
        Box::new(Self {
            rows,
            walked: VecDeque::new(),
            walk,
        })
    }
}

#[async_trait]
impl Listing for Joined {
    async fn next(&mut self) -> Result<Option<Vec<Row>>> {
        while self.walked.is_empty()
            && let Some(walk) = &mut self.walk
        {
            match walk.next().await? {
                Some(rows) => self.walked = rows.into(),
                None => self.walk = None,
            }
        }
        let last: Option<Key> = self.walked.back().map(Row::key);
        let mut joined = Vec::new();
        loop {
            let ours = self.rows.front().map(Row::key);
            let walked = self.walked.front().map(Row::key);
            let next = match (ours, walked) {
                (Some(ours), Some(walked)) if ours < walked => self.rows.pop_front(),
                (_, Some(_)) => self.walked.pop_front(),
                // What comes after the last row that was walked so far may come after the next, too.
                (Some(_), None) if last.is_none() => self.rows.pop_front(),
                (_, None) => break,
            };
            joined.extend(next);
        }
        Ok((!joined.is_empty()).then_some(joined))
    }
}
