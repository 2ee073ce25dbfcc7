//! What a run is about to do, noted before it does it. A run that is killed before it could record what it did leaves files that
//! nobody knows to be agreed on, or to be gone: with the note the next run does ([`Announced`]).
//!
//! The note has to outlive the process and not the machine. So it lies in a file beside the database, a line a batch, is never synced and is
//! cut off when the batch is recorded. Whatever is wrong with it, nothing but a conflict more comes of that: what it says counts only where
//! that is found.
//!
//! A line is one of these, in JSON: a batch, with the starts of both storages ([`crate::storage::RootMarker::start`]) when it was announced;
//! paths of which a row was recorded since, so that what was announced of them before is over; `false`: the run went wrong after what is
//! above, and a storage may have lost something with that.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
#[cfg(feature = "testing")]
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::pair::PairState;
use super::row::{BaselineRow, RowChange};
use crate::model::{ContentHash, Mode, Side, Sides, SyncPath};
use crate::reconcile::Announced;

/// Killed runs leave no more than this, or all of it is forgotten: some fifteen of them in a row would have to die in a large batch.
const MOST: u64 = 4 << 20;

/// What earlier runs announced and did not record, by path, the latest last.
pub type LeftAnnounced = HashMap<SyncPath, Vec<Announced>>;

/// One announcement as it is stored: path, column, size, hash, permission bits, and what was agreed on before.
type Stored = (
    String,
    String,
    u64,
    Option<ContentHash>,
    Option<u32>,
    Option<ContentHash>,
);

/// A line of the note. The starts are in the order of columns.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Batch([Option<String>; 2], Vec<Stored>),
    Over(Vec<String>),
    Sure(bool),
}

/// In front, too: the last line may have been cut off.
fn to_bytes(line: &Line) -> io::Result<Vec<u8>> {
    let text = serde_json::to_string(line)?;
    Ok(format!("\n{text}\n").into_bytes())
}

#[derive(Debug)]
enum Place {
    Nowhere,
    File(PathBuf, Option<File>),
    #[cfg(feature = "testing")]
    Memory(Arc<Mutex<Vec<u8>>>),
}

impl Place {
    fn read(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::Nowhere => Ok(Vec::new()),
            Self::File(path, _) => match file_len(path)? {
                0 => Ok(Vec::new()),
                len if len > MOST => {
                    tracing::debug!(?path, len, "too much was announced and never recorded");
                    Ok(Vec::new())
                }
                _ => fs::read(path),
            },
            #[cfg(feature = "testing")]
            Self::Memory(bytes) => Ok(bytes.lock().unwrap_or_else(PoisonError::into_inner).clone()),
        }
    }

    fn file<'f>(path: &PathBuf, file: &'f mut Option<File>) -> io::Result<&'f mut File> {
        if file.is_none() {
            match file_len(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            *file = Some(File::options().create(true).append(true).open(path)?);
        }
        file.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        match self {
            Self::Nowhere => Ok(()),
            Self::File(path, file) => Self::file(path, file)?.write_all(line),
            #[cfg(feature = "testing")]
            Self::Memory(bytes) => {
                let mut bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner);
                bytes.extend_from_slice(line);
                Ok(())
            }
        }
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        match self {
            Self::Nowhere => Ok(()),
            Self::File(path, file) => Self::file(path, file)?.set_len(len),
            #[cfg(feature = "testing")]
            Self::Memory(bytes) => {
                let mut bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner);
                bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
                Ok(())
            }
        }
    }
}

/// The length of what has to be a file: a pipe would be waited for, and what a link leads to is somebody else's.
fn file_len(path: &std::path::Path) -> io::Result<u64> {
    let found = fs::symlink_metadata(path)?;
    match found.is_file() {
        true => Ok(found.len()),
        false => Err(io::Error::other("it is no file")),
    }
}

/// The note.
#[derive(Debug)]
pub(super) struct Note {
    place: Place,
    left: Arc<LeftAnnounced>,
    /// So much of it is from earlier runs, and stays.
    left_bytes: u64,
    /// What was recorded of that while something else was open, and is lost when that is cut off.
    over: Vec<String>,
    /// What may be done and is not recorded, while something else was open; the same holds of it.
    unclear: Vec<(SyncPath, Announced)>,
    /// The starts of the storages now.
    starts: Sides<Option<String>>,
    /// Batches that were announced and are not recorded yet.
    open: usize,
    /// Something was announced.
    begun: bool,
}

impl Note {
    fn at(place: Place) -> Self {
        Self {
            place,
            left: Arc::default(),
            left_bytes: 0,
            over: Vec::new(),
            unclear: Vec::new(),
            starts: Sides::default(),
            open: 0,
            begun: false,
        }
    }

    pub(super) fn nowhere() -> Self {
        Self::at(Place::Nowhere)
    }

    /// In a file beside the database in `db`.
    pub(super) fn beside(db: &std::path::Path) -> Self {
        Self::at(Place::File(db.with_extension("db-announced"), None))
    }

    #[cfg(feature = "testing")]
    pub(super) fn in_memory(bytes: Arc<Mutex<Vec<u8>>>) -> Self {
        Self::at(Place::Memory(bytes))
    }

    /// Reads what earlier runs left. `column` says what a side is called.
    fn load(&mut self, column: impl Fn(Side) -> &'static str) {
        let bytes = match self.place.read() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                tracing::debug!(%error, "read what was announced");
                return;
            }
        };
        let mut left = LeftAnnounced::new();
        // What a kill cut off in the middle was not done either.
        let lines = bytes.split(|byte| *byte == b'\n');
        for line in lines.filter_map(|line| serde_json::from_slice(line).ok()) {
            self.take_line(&mut left, line, &column);
        }
        self.left_bytes = match left.is_empty() {
            true => 0,
            false => bytes.len() as u64,
        };
        self.left = Arc::new(left);
    }

    fn take_line(
        &self,
        left: &mut LeftAnnounced,
        line: Line,
        column: impl Fn(Side) -> &'static str,
    ) {
        match line {
            Line::Batch([a, b], all) => {
                let starts = Sides::from_fn(|side| if column(side) == "a" { &a } else { &b });
                for (path, to, size, hash, mode, was) in all {
                    let to = Side::BOTH.into_iter().find(|&side| column(side) == to);
                    let (Ok(path), Some(to)) = (SyncPath::new(path), to) else {
                        continue;
                    };
                    let (then, now) = (starts[to.other()], &self.starts[to.other()]);
                    let one = Announced {
                        to,
                        hash,
                        size,
                        mode: mode.map(Mode::new),
                        was,
                        sure: then.is_some() && then == now,
                    };
                    left.entry(path).or_default().push(one);
                }
            }
            Line::Over(paths) => {
                for path in paths
                    .into_iter()
                    .filter_map(|path| SyncPath::new(path).ok())
                {
                    left.remove(&path);
                }
            }
            Line::Sure(sure) => {
                let all = left.values_mut().flatten();
                all.for_each(|one| one.sure &= sure);
            }
        }
    }

    fn append(&mut self, line: &Line) -> io::Result<u64> {
        let bytes = to_bytes(line)?;
        // What is of no use to anybody goes first.
        if !std::mem::replace(&mut self.begun, true) && self.left_bytes == 0 {
            self.place.cut(0)?;
        }
        self.place.append(&bytes)?;
        Ok(bytes.len() as u64)
    }

    /// What was announced of these paths by earlier runs is over, whatever is cut off.
    fn append_over(&mut self, paths: Vec<String>) {
        if self.left.is_empty() && self.open == 0 {
            return self.forget_left();
        }
        let line = Line::Over(paths);
        match self.append(&line) {
            Ok(len) if self.open == 0 => self.left_bytes += len,
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "end some of what was announced"),
        }
        if let (Line::Over(mut paths), true) = (line, self.open > 0) {
            self.over.append(&mut paths);
        }
    }

    /// What earlier runs announced of these paths is over.
    fn end_left(&mut self, paths: &[SyncPath]) {
        if paths.is_empty() {
            return;
        }
        let left = Arc::make_mut(&mut self.left);
        paths.iter().for_each(|path| drop(left.remove(path)));
        self.unclear.retain(|(path, _)| !paths.contains(path));
        let paths = paths.iter().map(|path| path.as_str().to_owned());
        self.append_over(paths.collect());
    }

    fn forget_left(&mut self) {
        self.left_bytes = 0;
        self.over.clear();
        self.unclear.clear();
        self.cut(0);
    }

    fn cut(&mut self, len: u64) {
        if let Err(error) = self.place.cut(len) {
            tracing::debug!(%error, "end what was announced");
        }
    }
}

impl BaselineRow {
    /// What stands for it ([`Announced::was`]).
    pub fn stand_in(&self) -> Option<ContentHash> {
        Announced::content(self.kind, self.hash.as_ref(), self.link.as_deref())
    }
}

impl PairState {
    /// Reads what earlier runs announced and did not record. `starts` are those of the storages now; without it there is nothing of the kind.
    pub fn read_announced(&mut self, starts: Sides<Option<String>>) {
        let columns = Sides::from_fn(|side| self.column(side));
        self.note.starts = starts;
        self.note.load(|side| columns[side]);
    }

    /// What earlier runs announced and did not record.
    pub fn left_announced(&self) -> Arc<LeftAnnounced> {
        Arc::clone(&self.note.left)
    }

    /// Whether one of them is content of which a side may have been the only one to know that it went: then the pair is not as good as new.
    pub fn has_sure_arrivals(&self) -> bool {
        let mut left = self.note.left.values().flatten();
        left.any(|one| one.sure && one.hash.is_some())
    }

    /// Notes what is about to be done, until [`PairState::end_announced`]. It outlives a kill, not a power cut, and costs a write that
    /// nobody waits for. If it fails there is no note, and nothing else is lost. In a rehearsal nothing is done.
    pub fn announce(&mut self, all: &[(SyncPath, Announced)]) {
        if self.is_rehearsal() {
            return;
        }
        let line = self.batch(all.iter(), self.note.starts.as_ref());
        if let Err(error) = self.note.append(&line) {
            tracing::debug!(%error, "announce a batch");
        }
        self.note.open += 1;
    }

    fn batch<'a>(
        &self,
        all: impl Iterator<Item = &'a (SyncPath, Announced)>,
        starts: Sides<&Option<String>>,
    ) -> Line {
        let one = |(path, one): &(SyncPath, Announced)| -> Stored {
            let (path, to) = (path.as_str().to_owned(), self.column(one.to).to_owned());
            let mode = one.mode.map(Mode::bits);
            (path, to, one.size, one.hash, mode, one.was)
        };
        let (a, b) = self.columns(&starts);
        let starts = [a, b].map(|start| (*start).clone());
        Line::Batch(starts, all.map(one).collect())
    }

    /// Rows were recorded: what earlier runs announced of their paths is over.
    pub fn end_announced_of(&mut self, rows: &[RowChange]) {
        if self.note.left.is_empty() || self.is_rehearsal() {
            return;
        }
        let paths = rows.iter().map(RowChange::path);
        let paths: Vec<_> = paths
            .filter(|path| self.note.left.contains_key(path))
            .cloned()
            .collect();
        self.note.end_left(&paths);
    }

    /// The rows at and below `path` are forgotten: without them what was announced there says of what is missing that it was removed.
    pub(super) fn end_announced_below(&mut self, path: &SyncPath) {
        let paths = self.note.left.keys();
        let paths: Vec<_> = paths.filter(|at| at.is_within(path)).cloned().collect();
        if !self.is_rehearsal() {
            self.note.end_left(&paths);
        }
    }

    /// The run goes wrong. What it announced and could not record a storage may have lost with that.
    pub fn doubt_announced(&mut self) {
        if self.note.open > 0
            && !self.is_rehearsal()
            && let Err(error) = self.note.append(&Line::Sure(false))
        {
            tracing::debug!(%error, "doubt what was announced");
        }
    }

    /// So many announced batches are recorded.
    pub fn end_announced(&mut self, batches: usize) {
        if batches == 0 || self.is_rehearsal() {
            return;
        }
        self.note.open = self.note.open.saturating_sub(batches);
        if self.note.open == 0 {
            if self.note.left.is_empty() {
                return self.note.forget_left();
            }
            self.note.cut(self.note.left_bytes);
            let over = std::mem::take(&mut self.note.over);
            if !over.is_empty() {
                self.note.append_over(over);
            }
            let unclear = std::mem::take(&mut self.note.unclear);
            self.leave(&unclear);
        }
    }

    /// What was announced and failed so that nobody knows whether it is done: an answer was lost. It is held against what the next look
    /// finds, like what killed runs announced.
    pub fn leave_announced(&mut self, mut all: Vec<(SyncPath, Announced)>) {
        if self.is_rehearsal() || self.note.left_bytes > MOST {
            return;
        }
        let left = Arc::make_mut(&mut self.note.left);
        all.retain_mut(|(path, one)| {
            // Who loses answers may lose more.
            one.sure = false;
            let known = left.entry(path.clone()).or_default();
            let new = !known.contains(one);
            if new {
                known.push(*one);
            }
            new
        });
        self.leave(&all);
        if self.note.open > 0 {
            self.note.unclear.append(&mut all);
        }
    }

    fn leave(&mut self, all: &[(SyncPath, Announced)]) {
        if all.is_empty() {
            return;
        }
        let line = self.batch(all.iter(), Sides::new(&None, &None));
        match self.note.append(&line) {
            Ok(len) if self.note.open == 0 => self.note.left_bytes += len,
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "keep what was announced"),
        }
    }

    /// All that earlier runs announced is decided, but for what `is_open` says.
    pub fn settle_announced(&mut self, is_open: impl Fn(&SyncPath) -> bool) {
        if self.note.left_bytes == 0 || self.is_rehearsal() {
            return;
        }
        let mut left = LeftAnnounced::clone(&self.note.left);
        left.retain(|path, _| is_open(path));
        self.note.forget_left();
        let all = left.iter();
        let all: Vec<_> = all
            .flat_map(|(path, all)| all.iter().map(move |one| (path.clone(), *one)))
            .collect();
        // Of one path the order stays, as far as what is sure of it goes: what is not comes first.
        for sure in [false, true] {
            let starts = self
                .note
                .starts
                .as_ref()
                .map(|start| start.clone().filter(|_| sure));
            let of_it = all.iter().filter(|(_, one)| one.sure == sure);
            let line = self.batch(of_it, starts.as_ref());
            if !matches!(&line, Line::Batch(_, all) if all.is_empty()) {
                match self.note.append(&line) {
                    Ok(len) => self.note.left_bytes += len,
                    Err(error) => tracing::debug!(%error, "keep what was announced"),
                }
            }
        }
        self.note.left = Arc::new(left);
    }
}

#[cfg(test)]
mod tests;
