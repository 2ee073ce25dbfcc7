//! A stand-in for `wl_core::storage::SpillSorter` with the same interface: sorts more than fits in memory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

type Pair = (Vec<u8>, Vec<u8>);

pub(super) struct SpillSorter {
    dir: PathBuf,
    limit: usize,
    held: usize,
    rows: Vec<Pair>,
    runs: Vec<File>,
}

impl SpillSorter {
    pub(super) fn new(dir: &Path, memory_limit_bytes: usize) -> Self {
        Self {
            dir: dir.to_owned(),
            limit: memory_limit_bytes,
            held: 0,
            rows: Vec::new(),
            runs: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.held += key.len() + value.len() + 64;
        self.rows.push((key.to_vec(), value.to_vec()));
        if self.held > self.limit {
            self.spill()?;
        }
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        self.rows.sort_unstable();
        let mut out = BufWriter::new(tempfile::tempfile_in(&self.dir)?);
        for (key, value) in self.rows.drain(..) {
            for part in [key, value] {
                out.write_all(&(part.len() as u32).to_le_bytes())?;
                out.write_all(&part)?;
            }
        }
        let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        self.runs.push(file);
        self.held = 0;
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<SortedSpill> {
        self.spill()?;
        let mut sorted = SortedSpill {
            runs: self.runs.into_iter().map(BufReader::new).collect(),
            heads: BinaryHeap::new(),
        };
        for run in 0..sorted.runs.len() {
            sorted.advance(run)?;
        }
        Ok(sorted)
    }
}

pub(super) struct SortedSpill {
    runs: Vec<BufReader<File>>,
    heads: BinaryHeap<Reverse<(Pair, usize)>>,
}

impl SortedSpill {
    fn advance(&mut self, run: usize) -> io::Result<()> {
        let Some(key) = read_part(&mut self.runs[run], true)? else {
            return Ok(());
        };
        let value = read_part(&mut self.runs[run], false)?.unwrap_or_default();
        self.heads.push(Reverse(((key, value), run)));
        Ok(())
    }
}

fn read_part(run: &mut BufReader<File>, may_end: bool) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match run.read_exact(&mut length) {
        Err(error) if may_end && error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let mut part = vec![0; u32::from_le_bytes(length) as usize];
    run.read_exact(&mut part)?;
    Ok(Some(part))
}

impl Iterator for SortedSpill {
    type Item = io::Result<Pair>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((pair, run)) = self.heads.pop()?;
        Some(self.advance(run).map(|()| pair))
    }
}
