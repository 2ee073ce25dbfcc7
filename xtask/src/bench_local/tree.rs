//! The tree that is synced: the same bytes on every machine and in every round.

use std::fs::{self, DirEntry, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// How large a tree is.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub files: u64,
    pub folders: u64,
    /// Files have half to one and a half times as many bytes.
    pub size: u64,
}

impl Shape {
    /// A tree for measuring memory: many small files.
    pub fn scale(files: u64) -> Self {
        Self {
            files,
            folders: (files / 20).max(1),
            size: 16,
        }
    }

    /// About what it takes in a RAM-backed folder: whole pages, and about 1 KiB for every name.
    pub fn bytes(&self) -> u64 {
        let pages = self.size.div_ceil(4096) + u64::from(self.size > 2048);
        self.files * (pages * 4096 + 1024) + self.folders * 1024
    }

    fn folder(&self, number: u64) -> PathBuf {
        let parent = match number {
            0 => PathBuf::new(),
            _ => self.folder((number - 1) / 10),
        };
        parent.join(format!("folder-{number}"))
    }

    fn file(&self, number: u64) -> PathBuf {
        self.folder(number % self.folders)
            .join(format!("file-{number:07}.dat"))
    }
}

/// Numbers that look random (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn write(path: &Path, shape: &Shape, seed: u64) -> io::Result<()> {
    let mut random = Random(seed);
    let size = shape.size.div_ceil(2) + random.next() % shape.size.max(1);
    let words = (0..size.div_ceil(8)).flat_map(|_| random.next().to_le_bytes());
    let content: Vec<u8> = words.take(size as usize).collect();
    File::create(path)?.write_all(&content)
}

/// Makes the tree.
pub fn make(root: &Path, shape: &Shape) -> io::Result<()> {
    fs::create_dir(root)?;
    for number in 0..shape.folders {
        fs::create_dir(root.join(shape.folder(number)))?;
    }
    for number in 0..shape.files {
        write(&root.join(shape.file(number)), shape, number)?;
    }
    Ok(())
}

/// Edits 1 %, creates 0.5 %, removes 0.5 % and renames 0.2 % of the files; which ones depends on the round.
pub fn change(root: &Path, shape: &Shape, round: u64) -> io::Result<()> {
    // A prime larger than any tree walks through all numbers, so that none is chosen twice.
    let mut chosen = (0..shape.files).map(|n| (n * 2_654_435_761 + round * 31) % shape.files);
    let share = |thousandths: u64| (shape.files * thousandths / 1000) as usize;
    for number in chosen.by_ref().take(share(10)) {
        write(
            &root.join(shape.file(number)),
            shape,
            number + (round + 1) * (1 << 40),
        )?;
    }
    for number in chosen.by_ref().take(share(5)) {
        fs::remove_file(root.join(shape.file(number)))?;
    }
    for number in chosen.by_ref().take(share(2)) {
        let to = shape
            .folder((number + 7) % shape.folders)
            .join(format!("renamed-{number}.dat"));
        fs::rename(root.join(shape.file(number)), root.join(to))?;
    }
    for number in shape.files..shape.files + share(5) as u64 {
        write(&root.join(shape.file(number)), shape, number)?;
    }
    Ok(())
}

/// A number that differs when the trees differ in a path, a kind or a content. What tools keep for themselves is left out.
pub fn fingerprint(root: &Path) -> io::Result<(u64, u64)> {
    let (mut count, mut sum) = (0, 0u64);
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if folder == root && entry.file_name() == ".wl" {
                continue;
            }
            count += 1;
            sum = sum.wrapping_add(hash(root, &entry)?);
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok((count, sum))
}

fn hash(root: &Path, entry: &DirEntry) -> io::Result<u64> {
    let (path, kind) = (entry.path(), entry.file_type()?);
    let mut hasher = DefaultHasher::new();
    path.strip_prefix(root).unwrap_or(&path).hash(&mut hasher);
    kind.is_dir().hash(&mut hasher);
    if kind.is_file() {
        let mut content = Vec::new();
        File::open(&path)?.read_to_end(&mut content)?;
        content.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        files: 1000,
        folders: 30,
        size: 100,
    };

    fn in_two_folders(test: impl FnOnce(&Path, &Path)) {
        let root = std::env::temp_dir().join(format!("wl-tree-{}", std::process::id()));
        fs::create_dir(&root).unwrap();
        test(&root.join("a"), &root.join("b"));
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn trees_and_their_changes_repeat_and_are_told_apart() {
        in_two_folders(|a, b| {
            make(a, &SHAPE).unwrap();
            make(b, &SHAPE).unwrap();
            let before = fingerprint(a).unwrap();
            assert_eq!(before.0, 1030);
            assert_eq!(before, fingerprint(b).unwrap());
            change(a, &SHAPE, 2).unwrap();
            assert_ne!(before, fingerprint(a).unwrap());
            change(b, &SHAPE, 2).unwrap();
            assert_eq!(fingerprint(a).unwrap(), fingerprint(b).unwrap());
        });
    }
}
