//! Merging sorted runs.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::io;

use super::run::{Run, RunReader};

/// The next pair of a run.
struct Head {
    key: Vec<u8>,
    value: Vec<u8>,
    run: usize,
}

impl Ord for Head {
    /// The smallest key is the greatest head, as `BinaryHeap` wants it; of equal keys the oldest run's.
    fn cmp(&self, other: &Self) -> Ordering {
        (&other.key, other.run).cmp(&(&self.key, self.run))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

/// Runs, oldest first, as one.
pub(super) struct Merge {
    readers: Vec<RunReader>,
    heads: BinaryHeap<Head>,
}

impl Merge {
    pub(super) fn new(runs: Vec<Run>, buffer: usize) -> io::Result<Self> {
        let readers = runs.into_iter().map(|run| RunReader::new(run, buffer));
        let mut merge = Self {
            readers: readers.collect(),
            heads: BinaryHeap::new(),
        };
        for run in 0..merge.readers.len() {
            merge.advance(run)?;
        }
        Ok(merge)
    }

    /// The next pair; `None` when all runs have ended.
    pub(super) fn next(&mut self) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
        let Some(head) = self.heads.pop() else {
            return Ok(None);
        };
        self.advance(head.run)?;
        Ok(Some((head.key, head.value)))
    }

    fn advance(&mut self, run: usize) -> io::Result<()> {
        if let Some((key, value)) = self.readers[run].next()? {
            self.heads.push(Head { key, value, run });
        }
        Ok(())
    }
}
