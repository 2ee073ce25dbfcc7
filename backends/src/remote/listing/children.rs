//! The entries of one folder, gathered as the storage gives them and handed out in the order of keys.

use std::collections::VecDeque;
use std::io;
use std::iter::Peekable;
use std::path::Path;

use serde::{Deserialize, Serialize};
use wl_core::model::{Kind, Meta};
use wl_core::storage::{SortedSpill, SpillSorter};

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Child {
    pub(super) name: Box<str>,
    pub(super) meta: Meta,
    /// Why the storage would not keep this name as it is.
    pub(super) refused: Option<Box<str>>,
    /// It cannot be synced; the attributes mean nothing.
    pub(super) special: bool,
}

impl Child {
    pub(super) fn is_folder(&self) -> bool {
        self.meta.kind == Kind::Folder && !self.special
    }

    fn key(&self) -> String {
        let slash = if self.is_folder() { "/" } else { "" };
        format!("{}{slash}", self.name)
    }
}

/// What the sort of a huge folder may hold in memory.
const SORT_MEMORY: usize = 2 << 20;

/// A folder's entries while they are gathered.
pub(super) struct Gathered<'a> {
    items: VecDeque<Child>,
    in_memory: usize,
    spill_dir: &'a Path,
    spill: Option<SpillSorter>,
}

impl<'a> Gathered<'a> {
    /// More than `in_memory` entries are sorted on disk.
    pub(super) fn new(spill_dir: &'a Path, in_memory: usize) -> Self {
        Self {
            items: VecDeque::new(),
            in_memory,
            spill_dir,
            spill: None,
        }
    }

    pub(super) fn push(&mut self, child: Child) -> io::Result<()> {
        if let Some(spill) = &mut self.spill {
            return spill_one(spill, &child);
        }
        self.items.push_back(child);
        if self.items.len() > self.in_memory {
            let mut spill = SpillSorter::new(self.spill_dir, SORT_MEMORY);
            for child in std::mem::take(&mut self.items) {
                spill_one(&mut spill, &child)?;
            }
            self.spill = Some(spill);
        }
        Ok(())
    }

    /// The entries, sorted.
    pub(super) fn finish(mut self) -> io::Result<Children> {
        if let Some(spill) = self.spill {
            return Ok(Children::Disk(Box::new(spill.finish()?.peekable())));
        }
        self.items.make_contiguous().sort_by_cached_key(Child::key);
        Ok(Children::Memory(self.items))
    }
}

fn spill_one(spill: &mut SpillSorter, child: &Child) -> io::Result<()> {
    let value = serde_json::to_vec(child)?;
    spill.push(child.key().as_bytes(), &value)
}

/// A folder's entries in order.
pub(super) enum Children {
    Memory(VecDeque<Child>),
    Disk(Box<Peekable<SortedSpill>>),
}

impl Children {
    /// The next entry, and whether others of the same kind have the same name; those are left out.
    pub(super) fn next(&mut self) -> io::Result<Option<(Child, bool)>> {
        let Some(child) = self.pop()? else {
            return Ok(None);
        };
        let mut twice = false;
        while self.next_is(&child) {
            self.pop()?;
            twice = true;
        }
        Ok(Some((child, twice)))
    }

    fn pop(&mut self) -> io::Result<Option<Child>> {
        let sorted = match self {
            Children::Memory(items) => return Ok(items.pop_front()),
            Children::Disk(sorted) => sorted,
        };
        let Some(pair) = sorted.next() else {
            return Ok(None);
        };
        let (_, value) = pair?;
        Ok(Some(serde_json::from_slice(&value)?))
    }

    fn next_is(&mut self, child: &Child) -> bool {
        match self {
            Children::Memory(items) => items.front().is_some_and(|next| {
                next.name == child.name && next.is_folder() == child.is_folder()
            }),
            Children::Disk(sorted) => match sorted.peek() {
                Some(Ok((key, _))) => *key == child.key().into_bytes(),
                _ => false,
            },
        }
    }

    /// The folder at this place of those still to come, where they are in memory.
    pub(super) fn ahead(&self, at: usize) -> Option<&Child> {
        match self {
            Children::Memory(items) => items.get(at),
            Children::Disk(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::token::implied_folder;

    fn child(name: &str, kind: Kind) -> Child {
        Child {
            name: name.into(),
            meta: Meta {
                kind,
                ..implied_folder()
            },
            refused: None,
            special: false,
        }
    }

    #[test]
    fn order_and_doubles_are_the_same_in_memory_and_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let (file, folder) = (Kind::File, Kind::Folder);
        let rows = [
            ("b", folder),
            ("b-c", file),
            ("a", file),
            ("b", file),
            ("b0", folder),
            ("a", file),
            ("b!", file),
            ("a", file),
            ("b0", folder),
        ];
        let sort = |in_memory| {
            let mut all = Gathered::new(dir.path(), in_memory);
            for (name, kind) in rows {
                all.push(child(name, kind)).unwrap();
            }
            let mut children = all.finish().unwrap();
            let mut sorted = Vec::new();
            while let Some((child, twice)) = children.next().unwrap() {
                sorted.push((child.key(), twice));
            }
            sorted
        };
        let wanted = [
            ("a", true),
            ("b", false),
            ("b!", false),
            ("b-c", false),
            ("b/", false),
            ("b0/", true),
        ];
        let wanted = wanted.map(|(key, twice)| (key.to_owned(), twice));
        assert_eq!(sort(100), wanted);
        assert_eq!(sort(3), wanted);
        assert_eq!(sort(0), wanted);
    }
}
