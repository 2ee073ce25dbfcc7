//! Sorting more than fits in memory.

mod arena;
mod merge;
mod run;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use arena::{Arena, SortedArena};
use merge::Merge;
use run::{Run, RunWriter};

/// How many runs are merged at once, and so how many files and buffers are open for it.
const FAN_IN: usize = 64;

/// The smallest and largest buffer in front of a run that is read.
const BUFFER: (usize, usize) = (4 * 1024, 64 * 1024);

/// Sorts key and value pairs by the keys' bytes; pairs with equal keys stay in the order in which they were pushed.
///
/// What fits in the memory limit stays in memory. More goes as sorted runs to files without a name in the folder given, which
/// the operating system takes away with the process. A million short names need their own bytes and six more each.
///
/// After an error the sorter is of no use: every later call fails too, so that no incomplete order is ever handed out.
pub struct SpillSorter {
    dir: PathBuf,
    make_file: fn(&Path) -> io::Result<File>,
    memory_limit: usize,
    arena: Arena,
    /// `levels[n]` holds runs that were merged `n` times, oldest first; a higher level is older than all lower ones.
    levels: Vec<Vec<Run>>,
    failed: bool,
}

impl SpillSorter {
    /// A sorter that holds about `memory_limit_bytes` in memory and puts the rest into `dir`. Buffers for merging come on top: at
    /// most half the limit, or 256 KiB if that is more.
    pub fn new(dir: &Path, memory_limit_bytes: usize) -> Self {
        Self {
            dir: dir.to_path_buf(),
            make_file: |dir| tempfile::tempfile_in(dir),
            memory_limit: memory_limit_bytes,
            arena: Arena::new(memory_limit_bytes),
            levels: Vec::new(),
            failed: false,
        }
    }

    /// Adds a pair. An error is one of writing to the folder.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.check()?;
        if !self.arena.has_room_for(key, value) {
            self.failed = true;
            self.spill()?;
            self.failed = false;
        }
        self.arena.push(key, value);
        Ok(())
    }

    /// Ends the input.
    pub fn finish(mut self) -> io::Result<SortedSpill> {
        self.check()?;
        if self.levels.is_empty() {
            return Ok(SortedSpill(Source::Memory(self.arena.into_sorted())));
        }
        self.spill()?;
        let mut runs: Vec<Run> = self.levels.drain(..).rev().flatten().collect();
        self.arena = Arena::new(0);
        while runs.len() > FAN_IN {
            // The newest are the smallest.
            let newest = runs.split_off(runs.len() - FAN_IN);
            runs.push(self.merge(newest)?);
        }
        let merge = Merge::new(runs, self.buffer_size())?;
        Ok(SortedSpill(Source::Disk(merge)))
    }

    fn check(&self) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("an earlier part could not be sorted"));
        }
        Ok(())
    }

    /// Writes what is in memory as a run, and merges runs where there are enough of them.
    fn spill(&mut self) -> io::Result<()> {
        if self.arena.is_empty() {
            return Ok(());
        }
        let mut writer = self.run_writer()?;
        for (key, value) in self.arena.sorted() {
            writer.push(key, value)?;
        }
        let mut run = writer.finish()?;
        self.arena.clear();

        let mut level = 0;
        loop {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(run);
            if self.levels[level].len() < FAN_IN {
                return Ok(());
            }
            let full = std::mem::take(&mut self.levels[level]);
            run = self.merge(full)?;
            level += 1;
        }
    }

    fn merge(&self, runs: Vec<Run>) -> io::Result<Run> {
        let mut merge = Merge::new(runs, self.buffer_size())?;
        let mut writer = self.run_writer()?;
        while let Some((key, value)) = merge.next()? {
            writer.push(&key, &value)?;
        }
        writer.finish()
    }

    fn run_writer(&self) -> io::Result<RunWriter> {
        Ok(RunWriter::new((self.make_file)(&self.dir)?))
    }

    fn buffer_size(&self) -> usize {
        (self.memory_limit / (2 * FAN_IN)).clamp(BUFFER.0, BUFFER.1)
    }
}

impl fmt::Debug for SpillSorter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpillSorter")
            .field("dir", &self.dir)
            .field("memory_limit", &self.memory_limit)
            .finish_non_exhaustive()
    }
}

/// What a [`SpillSorter`] was given, in order. An error ends it: what would have come is unknown.
pub struct SortedSpill(Source);

enum Source {
    Memory(SortedArena),
    Disk(Merge),
    Ended,
}

impl Iterator for SortedSpill {
    type Item = io::Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = match &mut self.0 {
            Source::Memory(arena) => Ok(arena.next()),
            Source::Disk(merge) => merge.next(),
            Source::Ended => return None,
        };
        if !matches!(next, Ok(Some(_))) {
            self.0 = Source::Ended;
        }
        next.transpose()
    }
}

impl fmt::Debug for SortedSpill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SortedSpill").finish_non_exhaustive()
    }
}
