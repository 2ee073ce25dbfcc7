//! What a run is about to make visible, noted before it does. A run that is killed before it could record what it published leaves files that
//! nobody knows to be agreed on: with the note the next run does ([`Announced`]).
//!
//! The note has to outlive the process and not the machine. So it lies in a file beside the database, a line a batch, is never synced and is
//! cut off when the batch is recorded. Whatever is wrong with it, nothing but a conflict more comes of that: what it says counts only where
//! that is found.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
#[cfg(feature = "testing")]
use std::sync::{Mutex, PoisonError};

use super::pair::PairState;
use crate::model::{ContentHash, Side, SyncPath};
use crate::reconcile::Announced;

/// Killed runs leave no more than this, or all of it is forgotten: some fifteen of them in a row would have to die in a large batch.
const MOST: u64 = 4 << 20;

/// What earlier runs announced and did not record, by path, the latest last.
pub type LeftAnnounced = HashMap<SyncPath, Vec<Announced>>;

/// One announcement as it is stored: path, column, size, hash, and what was agreed on before.
type Stored<Text> = (Text, Text, u64, ContentHash, Option<ContentHash>);

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
            Self::File(path, _) => match fs::metadata(path)?.len() {
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

/// The note.
#[derive(Debug)]
pub(super) struct Note {
    place: Place,
    left: Arc<LeftAnnounced>,
    /// So much of it is from earlier runs, and stays.
    left_bytes: u64,
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
    pub(super) fn load(&mut self, column: impl Fn(Side) -> &'static str) {
        let bytes = match self.place.read() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                tracing::debug!(%error, "read what was announced");
                return;
            }
        };
        let side = |name: &str| Side::BOTH.into_iter().find(|&side| column(side) == name);
        let mut left = LeftAnnounced::new();
        // What a kill cut off in the middle was not published either.
        let lines = bytes.split(|byte| *byte == b'\n');
        let all = lines.filter_map(|line| serde_json::from_slice::<Vec<Stored<String>>>(line).ok());
        for (path, to, size, hash, was) in all.flatten() {
            if let (Ok(path), Some(to)) = (SyncPath::new(path), side(&to)) {
                let one = Announced {
                    to,
                    hash,
                    size,
                    was,
                };
                left.entry(path).or_default().push(one);
            }
        }
        self.left_bytes = match left.is_empty() {
            true => 0,
            false => bytes.len() as u64,
        };
        self.left = Arc::new(left);
    }
}

impl PairState {
    /// What earlier runs announced and did not record.
    pub fn left_announced(&self) -> Arc<LeftAnnounced> {
        Arc::clone(&self.note.left)
    }

    /// Notes what is about to be made visible, until [`PairState::end_announced`]. It outlives a kill, not a power cut, and costs a write that
    /// nobody waits for. If it fails there is no note, and nothing else is lost. In a rehearsal nothing becomes visible.
    pub fn announce(&mut self, all: &[(SyncPath, Announced)]) {
        if self.is_rehearsal() {
            return;
        }
        let one = |(path, one): &(SyncPath, Announced)| -> Stored<String> {
            let to = self.column(one.to).to_owned();
            (path.as_str().to_owned(), to, one.size, one.hash, one.was)
        };
        let all: Vec<_> = all.iter().map(one).collect();
        let done = serde_json::to_vec(&all)
            .map_err(io::Error::from)
            .and_then(|mut line| {
                // Before it, too: the last line may have been cut off.
                line.insert(0, b'\n');
                line.push(b'\n');
                // What is of no use to anybody goes first.
                if !std::mem::replace(&mut self.note.begun, true) && self.note.left_bytes == 0 {
                    self.note.place.cut(0)?;
                }
                self.note.place.append(&line)
            });
        self.note.open += 1;
        if let Err(error) = done {
            tracing::debug!(%error, "announce a batch");
        }
    }

    /// So many announced batches are recorded.
    pub fn end_announced(&mut self, batches: usize) {
        if batches == 0 || self.is_rehearsal() {
            return;
        }
        self.note.open = self.note.open.saturating_sub(batches);
        if self.note.open == 0 {
            self.cut_note(self.note.left_bytes);
        }
    }

    /// All that earlier runs announced is decided, but for what `is_open` says.
    pub fn settle_announced(&mut self, is_open: impl Fn(&SyncPath) -> bool) {
        if self.note.left.is_empty() || self.is_rehearsal() {
            return;
        }
        let mut left = LeftAnnounced::clone(&self.note.left);
        left.retain(|path, _| is_open(path));
        self.cut_note(0);
        let all = left.iter();
        let all: Vec<_> = all
            .flat_map(|(path, all)| all.iter().map(move |one| (path.clone(), *one)))
            .collect();
        self.note.left_bytes = 0;
        if !all.is_empty() {
            self.announce(&all);
            self.note.open = self.note.open.saturating_sub(1);
            self.note.left_bytes = self.note.place.read().map_or(0, |bytes| bytes.len() as u64);
        }
        self.note.left = Arc::new(left);
    }

    fn cut_note(&mut self, len: u64) {
        if let Err(error) = self.note.place.cut(len) {
            tracing::debug!(%error, "end what was announced");
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::model::Sides;
    use crate::storage::RootMarker;

    const PAIR: Sides<&str> = Sides {
        source: "memory:a",
        target: "memory:b",
    };
    const REVERSED: Sides<&str> = Sides {
        source: "memory:b",
        target: "memory:a",
    };

    fn path(text: &str) -> SyncPath {
        SyncPath::new(text).unwrap()
    }

    fn one(at: &str, to: Side, content: &str, was: Option<&str>) -> (SyncPath, Announced) {
        let hash = |content: &str| ContentHash::of(content.as_bytes());
        let one = Announced {
            to,
            hash: hash(content),
            size: content.len() as u64,
            was: was.map(hash),
        };
        (path(at), one)
    }

    /// Opens it as the next run does: what was open in this one dies with it.
    fn next(dir: &std::path::Path, was: Option<PairState>) -> PairState {
        drop(was);
        PairState::open(dir, PAIR).unwrap()
    }

    fn note(dir: &TempDir) -> PathBuf {
        let mut files = fs::read_dir(dir.path())
            .unwrap()
            .map(|it| it.unwrap().path());
        let is_note = |path: &PathBuf| path.extension().is_some_and(|end| end == "db-announced");
        files.find(is_note).unwrap()
    }

    fn outlives(dir: &std::path::Path) {
        let mut state = next(dir, None);
        assert!(state.left_announced().is_empty());
        let first = [
            one("a\nb", Side::Target, "1", None),
            one("c", Side::Source, "22", Some("2")),
        ];
        state.announce(&first);
        assert!(state.left_announced().is_empty(), "this run knows itself");
        let mut state = next(dir, Some(state));
        let left = state.left_announced();
        assert_eq!(left.len(), 2);
        for (at, one) in &first {
            assert_eq!(left[at], [*one]);
        }
        // The next batches of the next run, of which the last is not recorded either.
        state.announce(&[one("c", Side::Source, "3", Some("2"))]);
        state.end_announced(1);
        state.announce(&[one("c", Side::Target, "4", Some("2"))]);
        let state = next(dir, Some(state));
        let two = [first[1].1, one("c", Side::Target, "4", Some("2")).1];
        assert_eq!(state.left_announced()[&path("c")], two);
        assert_eq!(state.left_announced().len(), 2);
        // Whichever side is the source.
        drop(state);
        let state = PairState::open(dir, REVERSED).unwrap();
        let turned = two.map(|one| one.to.other());
        let found = &state.left_announced()[&path("c")];
        assert_eq!(found.iter().map(|one| one.to).collect::<Vec<_>>(), turned);
        let mut state = next(dir, Some(state));
        // What is not decided yet stays.
        state.settle_announced(|at| *at == path("c"));
        assert_eq!(state.left_announced()[&path("c")], two);
        assert_eq!(state.left_announced().len(), 1);
        let mut state = next(dir, Some(state));
        assert_eq!(state.left_announced()[&path("c")], two);
        state.settle_announced(|_| false);
        let state = next(dir, Some(state));
        assert!(state.left_announced().is_empty());
    }

    #[test]
    fn what_is_announced_outlives_the_run_until_it_is_recorded() {
        let dir = TempDir::new().unwrap();
        outlives(dir.path());
        assert_eq!(fs::read(note(&dir)).unwrap(), b"");
        #[cfg(feature = "testing")]
        outlives(crate::state::MemoryStates::default().dir());
    }

    #[test]
    fn batches_may_end_in_any_order() {
        let dir = TempDir::new().unwrap();
        let mut state = next(dir.path(), None);
        state.announce(&[one("a", Side::Target, "1", None)]);
        state.announce(&[one("b", Side::Target, "1", None)]);
        state.end_announced(1);
        assert!(!fs::read(note(&dir)).unwrap().is_empty(), "one is open");
        state.end_announced(1);
        assert!(fs::read(note(&dir)).unwrap().is_empty());
    }

    #[test]
    fn a_damaged_note_is_as_good_as_none() {
        let dir = TempDir::new().unwrap();
        let mut state = next(dir.path(), None);
        state.announce(&[one("a", Side::Target, "1", None)]);
        let at = note(&dir);
        let whole = fs::read(&at).unwrap();
        // A write that was cut off, and another run behind it.
        for cut in 0..whole.len() {
            fs::write(&at, &whole[..cut]).unwrap();
            let mut cut_off = next(dir.path(), Some(state));
            let left = cut_off.left_announced();
            assert!(left.is_empty() || cut == whole.len() - 1, "{cut}");
            cut_off.announce(&[one("b", Side::Target, "2", None)]);
            state = next(dir.path(), Some(cut_off));
            assert!(state.left_announced().contains_key(&path("b")), "{cut}");
        }
        for rubbish in [
            vec![0; 5000],
            vec![0xff; 7],
            b"[[1]]\n{}\n[]\nnull".to_vec(),
        ] {
            fs::write(&at, rubbish).unwrap();
            state = next(dir.path(), Some(state));
            assert!(state.left_announced().is_empty());
        }
        drop(state);
        fs::remove_file(&at).unwrap();
        fs::create_dir(&at).unwrap();
        let mut state = next(dir.path(), None);
        state.announce(&[one("a", Side::Target, "1", None)]);
        state.end_announced(1);
    }

    #[test]
    fn there_is_never_more_of_it_than_a_few_batches() {
        let dir = TempDir::new().unwrap();
        let mut state = next(dir.path(), None);
        let batch: Vec<_> = (0..10_000)
            .map(|number| one(&format!("some/folder/{number}"), Side::Target, "1", None))
            .collect();
        for _ in 0..7 {
            state.announce(&batch);
            let len = fs::metadata(note(&dir)).unwrap().len();
            assert!(len < MOST + (2 << 20), "{len}");
            state = next(dir.path(), Some(state));
        }
        assert!(!state.left_announced().is_empty());
    }

    #[test]
    fn a_rehearsal_announces_and_forgets_nothing() {
        let dir = TempDir::new().unwrap();
        let mut state = next(dir.path(), None);
        state.announce(&[one("a", Side::Target, "1", None)]);
        let mut state = next(dir.path(), Some(state));
        let before = fs::read(note(&dir)).unwrap();
        state.begin_rehearsal().unwrap();
        state.announce(&[one("b", Side::Target, "1", None)]);
        state.end_announced(1);
        let roots = Sides::from_fn(|_| RootMarker {
            file_system: "another".to_owned(),
            folder: None,
            renumbered: false,
        });
        state.set_root_markers(&roots, true).unwrap();
        state.settle_announced(|_| false);
        state.end_rehearsal().unwrap();
        assert_eq!(fs::read(note(&dir)).unwrap(), before);
        // Of other roots it says nothing.
        state.set_root_markers(&roots, true).unwrap();
        assert!(next(dir.path(), Some(state)).left_announced().is_empty());
    }
}
