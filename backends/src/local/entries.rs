//! The entries of one folder, gathered as the system gives them and handed out in the order of keys.

use std::cmp::Ordering;
use std::io;
use std::path::Path;

use rustix::io::Errno;
use wl_core::model::{Kind, Timestamp};

use super::sys::Stat;
use wl_core::storage::{SortedSpill, SpillSorter};

/// What a look at a name showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A file, a folder or a special file.
    Entry(Stat),
    /// A link and where it points.
    Link(Stat, Box<str>),
    /// Left out by the filter.
    Excluded { folder: bool },
    /// It could not be looked at.
    Unknown(Errno),
    /// Nothing; only for the paths of a scope.
    Absent,
}

impl Found {
    pub(super) fn is_folder(&self) -> bool {
        match self {
            Found::Entry(stat) => stat.kind() == Some(Kind::Folder),
            Found::Excluded { folder } => *folder,
            _ => false,
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let with_stat = |tag: u8, stat: &Stat, target: &str| {
            let mut bytes = vec![tag];
            let numbers = [
                stat.ino,
                stat.size,
                stat.mtime.secs as u64,
                u64::from(stat.mtime.nanos),
                stat.ctime.secs as u64,
                u64::from(stat.ctime.nanos),
                u64::from(stat.mode),
                stat.dev,
                stat.born,
                stat.mount,
            ];
            for number in numbers {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.extend_from_slice(target.as_bytes());
            bytes
        };
        match self {
            Found::Entry(stat) => with_stat(0, stat, ""),
            Found::Link(stat, target) => with_stat(1, stat, target),
            Found::Excluded { folder: false } => vec![2],
            Found::Excluded { folder: true } => vec![3],
            Found::Unknown(errno) => [&[4][..], &errno.raw_os_error().to_le_bytes()].concat(),
            Found::Absent => vec![5],
        }
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        Some(match tag {
            0 => Found::Entry(stat_from(rest)?),
            1 => {
                let target = std::str::from_utf8(rest.get(80..)?).ok()?;
                Found::Link(stat_from(rest)?, target.into())
            }
            2 => Found::Excluded { folder: false },
            3 => Found::Excluded { folder: true },
            4 => Found::Unknown(Errno::from_raw_os_error(i32::from_le_bytes(
                rest.try_into().ok()?,
            ))),
            5 => Found::Absent,
            _ => return None,
        })
    }
}

fn stat_from(bytes: &[u8]) -> Option<Stat> {
    let number = |at: usize| {
        let bytes = bytes.get(at * 8..at * 8 + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    let time = |at: usize| {
        Some(Timestamp {
            secs: number(at)? as i64,
            nanos: number(at + 1)? as u32,
        })
    };
    Some(Stat {
        ino: number(0)?,
        size: number(1)?,
        mtime: time(2)?,
        ctime: time(4)?,
        mode: number(6)? as u32,
        dev: number(7)?,
        born: number(8)?,
        mount: number(9)?,
    })
}

/// What the sort of a huge folder may hold in memory. Both sides of a run can have one at a time.
const SORT_MEMORY: usize = 2 << 20;

/// A folder's entries while they are gathered.
pub(super) struct Gathered<'a> {
    items: Vec<(Box<str>, Found)>,
    in_memory: usize,
    spill_dir: &'a Path,
    spill: Option<SpillSorter>,
}

impl<'a> Gathered<'a> {
    pub(super) fn new(spill_dir: &'a Path, in_memory: usize) -> Self {
        Self {
            items: Vec::new(),
            in_memory,
            spill_dir,
            spill: None,
        }
    }

    pub(super) fn push(&mut self, name: &str, found: Found) -> io::Result<()> {
        if let Some(spill) = &mut self.spill {
            return spill_one(spill, name, &found);
        }
        self.items.push((name.into(), found));
        if self.items.len() > self.in_memory {
            self.unload()?;
        }
        Ok(())
    }

    /// From here on nothing is held in memory but what the sorter holds.
    fn unload(&mut self) -> io::Result<()> {
        let spill = self
            .spill
            .insert(SpillSorter::new(self.spill_dir, SORT_MEMORY));
        for (name, found) in std::mem::take(&mut self.items) {
            spill_one(spill, &name, &found)?;
        }
        Ok(())
    }

    /// The entries, sorted, each once: a system may show a name twice that is renamed over while its folder is read (tmpfs does).
    pub(super) fn finish(mut self) -> io::Result<Children> {
        match self.spill {
            Some(spill) => Ok(Children::Disk {
                sorted: Box::new(spill.finish()?),
                last: Vec::new(),
            }),
            None => {
                self.items.sort_unstable_by(|(a, a_found), (b, b_found)| {
                    compare(a, a_found.is_folder(), b, b_found.is_folder())
                });
                self.items.dedup_by(|(a, a_found), (b, b_found)| {
                    a == b && a_found.is_folder() == b_found.is_folder()
                });
                Ok(Children::Memory(self.items.into_iter()))
            }
        }
    }
}

fn spill_one(spill: &mut SpillSorter, name: &str, found: &Found) -> io::Result<()> {
    let mut key = Vec::from(name.as_bytes());
    if found.is_folder() {
        key.push(b'/');
    }
    spill.push(&key, &found.to_bytes())
}

/// Compares two names of one folder as their keys compare.
fn compare(a: &str, a_folder: bool, b: &str, b_folder: bool) -> Ordering {
    let end = |folder: bool| if folder { &b"/"[..] } else { b"" };
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let shared = a.len().min(b.len());
    a[..shared].cmp(&b[..shared]).then_with(|| {
        let a_rest = a[shared..].iter().chain(end(a_folder));
        a_rest.cmp(b[shared..].iter().chain(end(b_folder)))
    })
}

/// A folder's entries in order.
pub(super) enum Children {
    Memory(std::vec::IntoIter<(Box<str>, Found)>),
    Disk {
        sorted: Box<SortedSpill>,
        /// The key that came last.
        last: Vec<u8>,
    },
}

impl Children {
    /// Whether a folder may still come.
    pub(super) fn may_hold_folder(&self) -> bool {
        match self {
            Children::Memory(items) => items.as_slice().iter().any(|(_, f)| f.is_folder()),
            Children::Disk { .. } => true,
        }
    }
}

impl Iterator for Children {
    type Item = io::Result<(Box<str>, Found)>;

    fn next(&mut self) -> Option<Self::Item> {
        let (sorted, last) = match self {
            Children::Memory(items) => return items.next().map(Ok),
            Children::Disk { sorted, last } => (sorted, last),
        };
        let is_new = |one: &io::Result<(Vec<u8>, Vec<u8>)>| match one {
            Ok((key, _)) => *key != *last,
            Err(_) => true,
        };
        let next = sorted.find(is_new)?;
        Some(next.and_then(|(key, value)| {
            last.clone_from(&key);
            let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a spill file is damaged");
            let name = std::str::from_utf8(&key).map_err(|_| damaged())?;
            let found = Found::from_bytes(&value).ok_or_else(damaged)?;
            Ok((name.strip_suffix('/').unwrap_or(name).into(), found))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(mode: u32) -> Stat {
        let time = |secs| Timestamp { secs, nanos: 9 };
        Stat {
            ino: 1,
            size: 2,
            mtime: time(-3),
            ctime: time(4),
            mode,
            dev: 5,
            born: 6,
            mount: 7,
        }
    }

    #[test]
    fn order_is_the_same_in_memory_and_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let rows = [
            ("b", Found::Entry(stat(0o040_755))),
            ("b-c", Found::Unknown(Errno::IO)),
            ("a", Found::Link(stat(0o120_777), "b/../é".into())),
            ("b0", Found::Excluded { folder: true }),
            ("b!", Found::Excluded { folder: false }),
            ("b.txt", Found::Entry(stat(0o100_644))),
        ];
        let sort = |in_memory| {
            let mut all = Gathered::new(dir.path(), in_memory);
            for (name, found) in &rows {
                all.push(name, found.clone()).unwrap();
            }
            all.finish()
                .unwrap()
                .map(Result::unwrap)
                .collect::<Vec<_>>()
        };
        let sorted = sort(100);
        let names: Vec<_> = sorted.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["a", "b!", "b-c", "b.txt", "b", "b0"]);
        assert_eq!(sort(2), sorted);
        assert_eq!(sort(0), sorted);
    }

    #[test]
    fn a_name_that_the_system_shows_twice_is_there_once() {
        let dir = tempfile::tempdir().unwrap();
        for in_memory in [100, 2, 0] {
            let mut all = Gathered::new(dir.path(), in_memory);
            for (name, mode) in [("b", 0o100_644), ("a", 0o040_755), ("b", 0o100_600)] {
                all.push(name, Found::Entry(stat(mode))).unwrap();
                all.push(name, Found::Entry(stat(mode))).unwrap();
            }
            let names = all.finish().unwrap().map(|one| one.unwrap().0);
            assert_eq!(names.collect::<Vec<_>>(), ["a".into(), "b".into()]);
        }
    }
}
