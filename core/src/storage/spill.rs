//! Sorting more than fits in memory.

/// placeholder
#[derive(Debug)]
pub struct SpillSorter;
