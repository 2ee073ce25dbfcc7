//! The changes: single ones, a burst of new files, and the rename of their folder.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::bench::tree::Shape;

/// What happens to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Create,
    Edit,
    Rename,
    Delete,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Create, Kind::Edit, Kind::Rename, Kind::Delete];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Create => "create",
            Kind::Edit => "edit",
            Kind::Rename => "rename",
            Kind::Delete => "delete",
        }
    }
}

/// A change of one file.
pub struct Change {
    pub kind: Kind,
    folder: PathBuf,
    /// The file in the tree.
    old: PathBuf,
    /// A name in the same folder that nothing has.
    new: PathBuf,
    content: String,
}

impl Change {
    /// The change of this number: every one is of another file.
    pub fn new(number: u64, shape: &Shape) -> Self {
        // A prime larger than any tree walks through all numbers.
        let old = shape.file(number * 2_654_435_761 % shape.files);
        let folder = old.parent().unwrap_or(Path::new("")).to_path_buf();
        Self {
            kind: Kind::ALL[(number % 4) as usize],
            new: folder.join(format!("new-{number}.dat")),
            content: format!("changed by {number}\n").repeat(40),
            folder,
            old,
        }
    }

    pub fn folder(&self, root: &Path) -> PathBuf {
        root.join(&self.folder)
    }

    /// As plain programs do it.
    pub fn carry_out(&self, root: &Path) -> io::Result<()> {
        let (old, new) = (root.join(&self.old), root.join(&self.new));
        match self.kind {
            Kind::Create => fs::write(new, &self.content),
            Kind::Edit => fs::write(old, &self.content),
            Kind::Rename => fs::rename(old, new),
            Kind::Delete => fs::remove_file(old),
        }
    }

    /// Whether it has arrived in a tree.
    pub fn is_in(&self, root: &Path) -> bool {
        let (old, new) = (root.join(&self.old), root.join(&self.new));
        let is = |path: &Path| fs::read(path).is_ok_and(|found| found == self.content.as_bytes());
        match self.kind {
            Kind::Create => is(&new),
            Kind::Edit => is(&old),
            Kind::Rename => new.exists() && !old.exists(),
            Kind::Delete => !old.exists(),
        }
    }
}

/// New files in new folders.
pub struct Burst {
    /// Relative paths and sizes.
    files: Vec<(PathBuf, u64)>,
}

const FILES_A_FOLDER: u64 = 100;

impl Burst {
    pub fn new(files: u64) -> Self {
        let file = |number: u64| {
            let folder = PathBuf::from(format!("d{}", number / FILES_A_FOLDER));
            (folder.join(format!("f{number}")), 3000 + number % 2000)
        };
        Self {
            files: (0..files).map(file).collect(),
        }
    }

    /// Makes all of them, as fast as it goes.
    pub fn make(&self, root: &Path) -> io::Result<()> {
        for (path, size) in &self.files {
            let path = root.join(path);
            if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
                fs::create_dir_all(folder)?;
            }
            fs::write(path, Self::content(*size))?;
        }
        Ok(())
    }

    fn content(size: u64) -> Vec<u8> {
        (0..size).map(|at| (at * size % 251) as u8).collect()
    }

    /// How many are there with their size, of those from `from` on, up to the first that is not.
    pub fn there(&self, root: &Path, from: usize) -> usize {
        let missing = |(path, size): &(PathBuf, u64)| {
            let meta = root.join(path).symlink_metadata();
            meta.map_or(true, |meta| meta.len() != *size)
        };
        let first = self.files[from..].iter().position(missing);
        first.map_or(self.files.len(), |first| from + first)
    }

    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether they have the right content.
    pub fn is_right(&self, root: &Path) -> bool {
        let right = |(path, size): &(PathBuf, u64)| {
            fs::read(root.join(path)).is_ok_and(|found| found == Self::content(*size))
        };
        self.files.iter().all(right)
    }

    /// The inode of each.
    pub fn inodes(&self, root: &Path) -> BTreeMap<PathBuf, u64> {
        let inode = |(path, _): &(PathBuf, u64)| {
            let meta = root.join(path).symlink_metadata().ok()?;
            Some((path.clone(), meta.ino()))
        };
        self.files.iter().filter_map(inode).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::tree;

    #[test]
    fn changes_arrive_where_they_were_carried_out_and_nowhere_else() {
        let room = std::env::temp_dir().join(format!("wl-changes-{}", std::process::id()));
        fs::create_dir(&room).unwrap();
        let shape = Shape {
            files: 100,
            folders: 5,
            size: 20,
        };
        let roots = ["a", "b"].map(|side| room.join(side));
        for root in &roots {
            tree::make(root, &shape).unwrap();
        }
        for number in 0..100 {
            let change = Change::new(number, &shape);
            assert!(change.folder(&roots[1]).is_dir());
            assert!(!change.is_in(&roots[1]), "{number}");
            change.carry_out(&roots[1]).unwrap();
            assert!(
                change.is_in(&roots[1]) && !change.is_in(&roots[0]),
                "{number}"
            );
        }
        fs::remove_dir_all(&room).unwrap();
    }

    #[test]
    fn a_burst_is_there_when_its_last_file_is() {
        let room = std::env::temp_dir().join(format!("wl-burst-{}", std::process::id()));
        let burst = Burst::new(250);
        assert_eq!(burst.there(&room, 0), 0);
        burst.make(&room).unwrap();
        assert_eq!((burst.there(&room, 0), burst.len()), (250, 250));
        assert_eq!(burst.inodes(&room).len(), 250);
        assert!(burst.is_right(&room));
        fs::write(room.join("d1/f120"), vec![0; 3120]).unwrap();
        assert!(!burst.is_right(&room));
        fs::remove_file(room.join("d1/f120")).unwrap();
        assert_eq!((burst.there(&room, 0), burst.there(&room, 121)), (120, 250));
        fs::remove_dir_all(&room).unwrap();
    }
}
