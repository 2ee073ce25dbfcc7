//! What is durable and what is not, and what a crash leaves of that.

use std::collections::{BTreeMap, BTreeSet};

use super::Rules;
use super::dice::Dice;
use super::tree::{Attributes, Content, Inode, ROOT, State};

/// A name in a folder.
pub(super) type Slot = (u64, String);

/// Names that change together, or not at all.
#[derive(Clone, Debug, Default)]
pub(super) struct NameChange {
    /// What each was and becomes.
    pub(super) slots: Vec<(Slot, Option<u64>, Option<u64>)>,
    /// A folder is among what they stand for.
    pub(super) of_folder: bool,
}

impl NameChange {
    /// Whether this cannot be durable without `earlier`: both are about one name or one inode, or one makes, moves or removes the folder that
    /// the other is in, or both are about folders' own places. So a file that was given a second name and then lost the first is never
    /// without any, and what was moved out of a folder that was removed then is not lost with it.
    fn needs(&self, earlier: &Self) -> bool {
        if self.of_folder && earlier.of_folder {
            return true;
        }
        let names = |slot: &Slot| earlier.slots.iter().any(|(other, _, _)| other == slot);
        self.slots.iter().any(|(slot, _, _)| names(slot))
            || !self.inodes().is_disjoint(&earlier.inodes())
            || !self.inodes().is_disjoint(&earlier.folders())
            || !self.folders().is_disjoint(&earlier.inodes())
    }

    fn inodes(&self) -> BTreeSet<u64> {
        let both = self.slots.iter().flat_map(|(_, old, new)| [*old, *new]);
        both.flatten().collect()
    }

    fn folders(&self) -> BTreeSet<u64> {
        self.slots
            .iter()
            .map(|((folder, _), _, _)| *folder)
            .collect()
    }

    fn is_in(&self, folder: u64) -> bool {
        self.slots.iter().any(|((at, _), _, _)| *at == folder)
    }
}

/// A change of content.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Bytes at a place.
    Write(usize, Vec<u8>),
    /// Another size.
    Size(usize),
}

/// A file's content.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    /// As programs see it.
    pub(super) now: Vec<u8>,
    /// As it is on the disk for sure.
    durable: Vec<u8>,
    /// What was done to it since.
    changes: Vec<Change>,
    /// A sync failed: the system took the content for written, and never tries again.
    pub(super) forsaken: bool,
}

impl File {
    pub(super) fn apply(&mut self, change: Change) {
        apply(&mut self.now, &change);
        self.changes.push(change);
    }

    fn sync(&mut self) {
        if !self.forsaken {
            self.durable.clone_from(&self.now);
            self.changes.clear();
        }
    }

    /// What is left of it: its size and each piece as they were at some time since it was durable, each at its own. What has never
    /// reached the disk is zeros.
    fn left(&self, block: usize, dice: &mut Dice) -> Vec<u8> {
        let mut times = vec![self.durable.clone()];
        for change in &self.changes {
            let mut next = times.last().cloned().unwrap_or_default();
            apply(&mut next, change);
            times.push(next);
        }
        // Whole outcomes are as likely as torn ones.
        match dice.below(4) {
            0 => return times.swap_remove(0),
            1 => return times.pop().unwrap_or_default(),
            _ => {}
        }
        let size = times[dice.below(times.len())].len();
        let mut left = vec![0; size];
        for (number, piece) in left.chunks_mut(block).enumerate() {
            let written = &times[dice.below(times.len())];
            let from = written.get(number * block..).unwrap_or_default();
            let count = from.len().min(piece.len());
            piece[..count].copy_from_slice(&from[..count]);
        }
        left
    }
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Size(size) => content.resize(*size, 0),
        Change::Write(at, bytes) => {
            let end = at + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*at..end].copy_from_slice(bytes);
        }
    }
}

impl State {
    /// `fsync` and `fdatasync`.
    pub(super) fn sync(&mut self, ino: u64, data_only: bool) {
        if self.lies {
            return;
        }
        if data_only {
            return self.sync_content(ino);
        }
        self.sync_inode(ino);
        match self.rules {
            Rules::Journal => {
                let all = vec![true; self.pending.len()];
                self.commit(&all);
                self.inodes.values_mut().for_each(Inode::sync_attributes);
            }
            Rules::Loose => self.sync_folder(ino),
        }
    }

    /// Makes all durable.
    pub(super) fn sync_all(&mut self) {
        if self.lies {
            return;
        }
        let all: Vec<u64> = self.inodes.keys().copied().collect();
        for ino in all {
            self.sync_inode(ino);
        }
        self.commit(&vec![true; self.pending.len()]);
    }

    fn sync_inode(&mut self, ino: u64) {
        self.sync_content(ino);
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.sync_attributes();
        }
    }

    fn sync_content(&mut self, ino: u64) {
        if let Some(Content::File(file)) = self.inodes.get_mut(&ino).map(|i| &mut i.content) {
            file.sync();
        }
    }

    /// The names in a folder, and what they need.
    fn sync_folder(&mut self, ino: u64) {
        let mut chosen: Vec<bool> = self.pending.iter().map(|c| c.is_in(ino)).collect();
        for later in (0..chosen.len()).rev() {
            let (before, rest) = chosen.split_at_mut(later);
            if rest.first() == Some(&true) {
                for (chosen, earlier) in before.iter_mut().zip(&self.pending) {
                    *chosen |= self.pending[later].needs(earlier);
                }
            }
        }
        self.commit(&chosen);
    }

    /// Makes the chosen changes of names durable, in their order.
    fn commit(&mut self, chosen: &[bool]) {
        let mut chosen = chosen.iter();
        let (done, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|_| chosen.next() == Some(&true));
        self.pending = rest;
        for (slot, _, new) in done.into_iter().flat_map(|change| change.slots) {
            match new {
                Some(ino) => drop(self.names.insert(slot, ino)),
                None => drop(self.names.remove(&slot)),
            }
        }
    }

    /// The machine starts again without handles; with `dice`, some of what was not durable is lost.
    pub(super) fn restart(&mut self, epoch: u64, dice: Option<&mut Dice>) {
        self.epoch = epoch;
        self.locks.clear();
        self.open.clear();
        if let Some(dice) = dice {
            self.forget(dice);
        }
        // A file system that was not unmounted is checked; from here on what is there is on the disk.
        let lies = std::mem::replace(&mut self.lies, false);
        self.sync_all();
        self.lies = lies;
    }

    fn forget(&mut self, dice: &mut Dice) {
        let kept = self.survivors(dice);
        self.commit(&kept);
        self.pending.clear();
        let mut folders: BTreeMap<u64, BTreeMap<String, u64>> = BTreeMap::new();
        for ((folder, name), ino) in &self.names {
            let entries = folders.entry(*folder).or_default();
            entries.insert(name.clone(), *ino);
        }
        let block = self.block;
        for (ino, inode) in &mut self.inodes {
            inode.links = 0;
            inode.forget(block, dice);
            if let Content::Folder(entries) = &mut inode.content {
                *entries = folders.remove(ino).unwrap_or_default();
            }
        }
        self.reach_all();
    }

    /// Which changes of names made it.
    fn survivors(&self, dice: &mut Dice) -> Vec<bool> {
        let count = self.pending.len();
        match (self.rules, dice.below(4)) {
            (_, 0) => vec![false; count],
            (_, 1) => vec![true; count],
            (Rules::Journal, _) => {
                let end = dice.below(count + 1);
                (0..count).map(|at| at < end).collect()
            }
            (Rules::Loose, _) => {
                let mut kept = Vec::with_capacity(count);
                for change in &self.pending {
                    let mut earlier = kept.iter().zip(&self.pending);
                    let whole = !earlier.any(|(kept, other)| !kept && change.needs(other));
                    kept.push(whole && dice.flip());
                }
                kept
            }
        }
    }

    /// Counts links from the root down; what is not reached is gone.
    fn reach_all(&mut self) {
        let mut links: BTreeMap<u64, u32> = BTreeMap::from([(ROOT, 1)]);
        let mut next = vec![ROOT];
        while let Some(folder) = next.pop() {
            let entries = self.folder(folder).cloned().unwrap_or_default();
            for ino in entries.into_values() {
                let count = links.entry(ino).or_default();
                *count += 1;
                if *count == 1 {
                    next.push(ino);
                }
            }
        }
        self.inodes.retain(|ino, inode| {
            inode.links = links.get(ino).copied().unwrap_or_default();
            inode.links > 0
        });
        let inodes = &self.inodes;
        self.names
            .retain(|(folder, _), _| inodes.contains_key(folder));
        self.start_numbers();
    }
}

impl Inode {
    fn sync_attributes(&mut self) {
        self.past.clear();
    }

    fn forget(&mut self, block: usize, dice: &mut Dice) {
        let mut times: Vec<Attributes> = std::mem::take(&mut self.past);
        times.push(self.attributes);
        self.attributes = times.swap_remove(dice.below(times.len()));
        if let Content::File(file) = &mut self.content {
            let left = file.left(block, dice);
            *file = File {
                now: left.clone(),
                durable: left,
                ..File::default()
            };
        }
    }
}
