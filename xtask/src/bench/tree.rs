//! The tree that is synced: the same bytes on every machine and in every round.

use std::collections::BTreeMap;
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

    /// A folder's path in the tree.
    pub fn folder(&self, number: u64) -> PathBuf {
        let parent = match number {
            0 => PathBuf::new(),
            _ => self.folder((number - 1) / 10),
        };
        parent.join(format!("folder-{number}"))
    }

    /// A file's path in the tree.
    pub fn file(&self, number: u64) -> PathBuf {
        self.folder(number % self.folders)
            .join(format!("file-{number:07}.dat"))
    }
}

/// Numbers that look random (splitmix64).
pub struct Random(u64);

impl Random {
    /// The numbers of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one, below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

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

/// What happens to a tree between two syncs, in thousandths of its files.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    edited: u64,
    created: u64,
    removed: u64,
    renamed: u64,
}

impl Change {
    pub const LOCAL: Change = Change {
        edited: 10,
        created: 5,
        removed: 5,
        renamed: 2,
    };
    /// Without renames: to object stores they are copies or uploads, as the tool likes.
    pub const OBJECTS: Change = Change {
        renamed: 0,
        ..Change::LOCAL
    };
}

/// Edits, creates, removes and renames files; which ones depends on the round.
pub fn change(root: &Path, shape: &Shape, change: &Change, round: u64) -> io::Result<()> {
    // A prime larger than any tree walks through all numbers, so that none is chosen twice.
    let mut chosen = (0..shape.files).map(|n| (n * 2_654_435_761 + round * 31) % shape.files);
    let share = |thousandths: u64| (shape.files * thousandths / 1000) as usize;
    for number in chosen.by_ref().take(share(change.edited)) {
        write(
            &root.join(shape.file(number)),
            shape,
            number + (round + 1) * (1 << 40),
        )?;
    }
    for number in chosen.by_ref().take(share(change.removed)) {
        fs::remove_file(root.join(shape.file(number)))?;
    }
    for number in chosen.by_ref().take(share(change.renamed)) {
        let to = shape
            .folder((number + 7) % shape.folders)
            .join(format!("renamed-{number}.dat"));
        fs::rename(root.join(shape.file(number)), root.join(to))?;
    }
    for number in shape.files..shape.files + share(change.created) as u64 {
        write(&root.join(shape.file(number)), shape, number)?;
    }
    Ok(())
}

/// One file of so many MiB that look random.
pub fn large(path: &Path, mib: u64) -> io::Result<()> {
    let mut random = Random(mib);
    let mut file = File::create_new(path)?;
    let mut piece = Vec::with_capacity(1 << 20);
    for _ in 0..mib {
        piece.clear();
        piece.extend((0..1 << 17).flat_map(|_| random.next().to_le_bytes()));
        file.write_all(&piece)?;
    }
    Ok(())
}

/// Content is hashed in pieces of so many bytes.
const PIECE: u64 = 1 << 18;

/// A file or an object as a number: two of the same length and content have the same.
pub fn digest(mut content: impl Read) -> io::Result<u64> {
    let (mut hasher, mut length) = (DefaultHasher::new(), 0);
    let mut piece = Vec::with_capacity(PIECE as usize);
    loop {
        // Whole pieces, however much a read brings: what is hashed must not depend on it.
        piece.clear();
        match content.by_ref().take(PIECE).read_to_end(&mut piece)? {
            0 => break,
            read => length += read as u64,
        }
        hasher.write(&piece);
    }
    hasher.write_u64(length);
    Ok(hasher.finish())
}

/// The digests of files or objects by their paths.
pub type Files = BTreeMap<String, u64>;

/// The files of a tree, without folders and without what tools keep for themselves.
pub fn files(root: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
            let name = path.strip_prefix(root).unwrap_or(&path);
            match (kind.is_dir(), name.starts_with(".wl")) {
                (_, true) => {}
                (true, _) => folders.push(path),
                (false, _) => {
                    let name = name.to_string_lossy().into_owned();
                    files.insert(name, digest(File::open(&path)?)?);
                }
            }
        }
    }
    Ok(files)
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

    fn in_two_folders(name: &str, test: impl FnOnce(&Path, &Path)) {
        let root = std::env::temp_dir().join(format!("wl-{name}-{}", std::process::id()));
        fs::create_dir(&root).unwrap();
        test(&root.join("a"), &root.join("b"));
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn trees_and_their_changes_repeat_and_are_told_apart() {
        in_two_folders("trees", |a, b| {
            make(a, &SHAPE).unwrap();
            make(b, &SHAPE).unwrap();
            let before = fingerprint(a).unwrap();
            assert_eq!(before.0, 1030);
            assert_eq!(before, fingerprint(b).unwrap());
            change(a, &SHAPE, &Change::LOCAL, 2).unwrap();
            assert_ne!(before, fingerprint(a).unwrap());
            change(b, &SHAPE, &Change::LOCAL, 2).unwrap();
            assert_eq!(fingerprint(a).unwrap(), fingerprint(b).unwrap());
        });
    }
    #[test]
    fn files_are_told_apart_by_path_length_and_content() {
        in_two_folders("files", |a, b| {
            make(a, &SHAPE).unwrap();
            make(b, &SHAPE).unwrap();
            let before = files(a).unwrap();
            assert_eq!(before.len(), 1000);
            assert_eq!(before, files(b).unwrap());
            change(a, &SHAPE, &Change::OBJECTS, 0).unwrap();
            let after = files(a).unwrap();
            let same = after
                .iter()
                .filter(|file| before.get(file.0) == Some(file.1));
            assert_eq!((after.len(), same.count()), (1000, 985));
        });
    }
}
