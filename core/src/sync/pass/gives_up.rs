//! What a pass may give up: only from there something new was moved.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use super::ground::keys_of;
use crate::model::{ContentHash, FileId, Side, Sides, SyncPath};
use crate::state::{PairState, StateError};
use crate::storage::Parts;

/// So many files are asked for one by one before it is worth it to look through all that may be given up.
const ONE_BY_ONE: u32 = 128;

/// If there are more than these each is asked for by itself.
const LOOKED_THROUGH: usize = 32_768;

/// Where a pass may give up what was agreed on.
#[derive(Debug, Default)]
pub(super) struct GivesUp {
    /// `None`: anywhere.
    parts: Option<Parts>,
    seen: Mutex<Seen>,
}

/// By what a file is known wherever it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trait {
    /// What is in it.
    Content(ContentHash),
    /// Its id on a side.
    Id(Side, FileId),
}

#[derive(Debug, Default)]
struct Seen {
    asked: u32,
    files: Option<Files>,
}

/// The files of the baseline in some places. Where thousands of files come into a folder hardly any was one of these, and to look for each
/// among all that was ever agreed on takes a page of its own from the disk.
#[derive(Debug, Default)]
struct Files {
    /// The beginnings of their hashes.
    contents: HashSet<u64>,
    ids: Sides<HashSet<FileId>>,
}

impl GivesUp {
    /// In these places; `None`: anywhere.
    pub(super) fn new(parts: Option<Parts>) -> Self {
        let seen = Mutex::default();
        Self { parts, seen }
    }

    /// Whether it is anything at all.
    pub(super) fn is_something(&self) -> bool {
        self.parts.as_ref().is_none_or(|parts| !parts.is_empty())
    }

    /// Whether it is in some places only.
    pub(super) fn is_at_places(&self) -> bool {
        self.parts.is_some()
    }

    /// Whether it may be what is at `path`.
    pub(super) fn holds(&self, path: &SyncPath) -> bool {
        self.parts.as_ref().is_none_or(|parts| parts.holds(path))
    }

    /// Whether it may be a file that is known by this; if not none of the rows that are known by it is of use.
    pub(super) fn may_have(&self, state: &PairState, known_by: &Trait) -> Result<bool, StateError> {
        let Some(parts) = &self.parts else {
            return Ok(true);
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.asked += 1;
        if seen.asked == state.threshold(ONE_BY_ONE) {
            seen.files = Files::of(state, parts, LOOKED_THROUGH)?;
        }
        Ok(seen.files.as_ref().is_none_or(|files| files.have(known_by)))
    }
}

impl Files {
    /// `None`: there are more than `most`.
    fn of(state: &PairState, parts: &Parts, most: usize) -> Result<Option<Self>, StateError> {
        if parts.len() > most {
            return Ok(None);
        }
        let at = |path| {
            let [at, _below] = keys_of(path);
            at
        };
        let subtrees = parts.subtrees().iter().flat_map(keys_of);
        let mut files = Self::default();
        let mut left = most;
        for (from, to) in parts.paths().iter().map(at).chain(subtrees) {
            let found = state.files_in(&from, &to, left as u32 + 1)?;
            let Some(rest) = left.checked_sub(found.len()) else {
                return Ok(None);
            };
            left = rest;
            for file in found {
                files.contents.insert(beginning(&file.hash));
                for side in Side::BOTH {
                    files.ids[side].extend(file.ids[side]);
                }
            }
        }
        Ok(Some(files))
    }

    fn have(&self, known_by: &Trait) -> bool {
        match known_by {
            Trait::Content(hash) => self.contents.contains(&beginning(hash)),
            Trait::Id(side, id) => self.ids[*side].contains(id),
        }
    }
}

fn beginning(hash: &ContentHash) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::{PAIR, path, put, row};

    fn parts() -> Parts {
        let mut parts = Parts::default();
        parts.add_path(path("a"));
        parts.add_subtree(path("d"));
        parts
    }

    /// Each file has its name as content, and its number as id on the source.
    fn state(dir: &tempfile::TempDir) -> PairState {
        let mut state = PairState::open(dir.path(), PAIR).unwrap();
        let mut rows = ["a", "a b", "d/x", "d/y", "d0", "e"].map(|at| row(at, at));
        for (number, row) in rows.iter_mut().enumerate() {
            row.sides.source.file_id = Some(FileId(number as u64));
        }
        put(&mut state, &rows);
        state.index().unwrap();
        state
    }

    #[test]
    fn only_what_is_there_may_be_given_up() {
        let dir = tempfile::TempDir::new().unwrap();
        let state = state(&dir);
        let gives_up = GivesUp::new(Some(parts()));
        let may_have = |known_by: Trait| gives_up.may_have(&state, &known_by).unwrap();
        let content = |content: &str| Trait::Content(ContentHash::of(content.as_bytes()));
        // The first are not worth it.
        for _ in 1..ONE_BY_ONE {
            assert!(may_have(content("new")));
        }
        let known = ["new", "a", "a b", "d/x", "d/y", "d0", "e"].map(|of| may_have(content(of)));
        assert_eq!(known, [false, true, false, true, true, false, false]);
        let ids = [0, 1, 2, 3, 4, 5, 6].map(|id| may_have(Trait::Id(Side::Source, FileId(id))));
        assert_eq!(ids, [true, false, true, true, false, false, false]);
        let ids = [0, 2].map(|id| may_have(Trait::Id(Side::Target, FileId(id))));
        assert_eq!(
            ids,
            [false, true],
            "all have that of the row that they are made of"
        );

        let anywhere = GivesUp::new(None);
        for _ in 0..2 * ONE_BY_ONE {
            assert!(anywhere.may_have(&state, &content("new")).unwrap());
        }
    }

    #[test]
    fn too_many_are_not_looked_through() {
        let dir = tempfile::TempDir::new().unwrap();
        let state = state(&dir);
        for (most, are_known) in [(1, false), (2, false), (3, true), (4, true)] {
            let files = Files::of(&state, &parts(), most).unwrap();
            assert_eq!(files.is_some(), are_known, "{most}");
        }
    }
}
