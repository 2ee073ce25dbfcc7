//! Two sides, those who edit them, and what they have put away.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::bucket::Bucket;
use super::history::Edit;
use super::ledger::{Shared, content};
use crate::Result;

/// What people never touch, so that no side is ever empty because of them.
pub const ALWAYS: &str = "always";
/// Files whose names begin so are the harness's own.
pub const MARK: &str = "mark-";
/// What is written in place is not larger, so that it is written at once.
const IN_PLACE: usize = 4000;

/// Two folders that are to be kept equal. What people replace or remove goes to a folder beside each: whatever is found there
/// in the end is exactly what they gave up, however their edit and the tool's met.
pub struct World {
    home: PathBuf,
    pub roots: [PathBuf; 2],
    graves: [PathBuf; 2],
    pub ledger: Shared,
    numbers: usize,
    /// The second side has a small file system of its own.
    small: bool,
    /// Where the second side really is, if its folder is a copy only.
    pub bucket: Option<Bucket>,
    /// Why it could not be reached.
    pub broken: Option<String>,
}

impl World {
    /// `small` needs root.
    pub fn new(home: &Path, small: bool, bucket: Option<Bucket>) -> Result<Self> {
        let beside = |name: &str| home.join(name);
        let disks = [beside("disk0"), beside("disk1")];
        for disk in &disks {
            fs::create_dir_all(disk)?;
        }
        if small {
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", "size=8m", "wl-compare"]);
            if !mount.arg(&disks[1]).status()?.success() {
                return Err("a small file system could not be mounted".into());
            }
        }
        let world = Self {
            home: home.to_owned(),
            roots: disks.each_ref().map(|disk| disk.join("side")),
            graves: disks.each_ref().map(|disk| disk.join("graves")),
            ledger: Shared::default(),
            numbers: 0,
            small,
            bucket,
            broken: None,
        };
        for folder in world.roots.iter().chain(&world.graves) {
            fs::create_dir(folder)?;
        }
        fs::write(world.roots[0].join(ALWAYS), ALWAYS)?;
        Ok(world)
    }

    /// Does what can be done of an edit; what fails is no edit.
    pub fn edit(&mut self, side: usize, edit: &Edit) {
        if side == 1 {
            self.fetch();
        }
        let _ = match edit {
            Edit::Save(path, size) => {
                let content = content(self.number(), *size);
                self.save(side, path, &content)
            }
            Edit::Overwrite(path) => self.overwrite(side, path),
            Edit::Append(path) => self.append(side, path),
            Edit::Truncate(path) => self.truncate(side, path),
            Edit::Delete(path) => self.bury(side, path),
            Edit::Move(from, to) => self.rename(side, from, to),
            Edit::Copy(from, to) => self.copy(side, from, to),
        };
        if let (1, Some(bucket)) = (side, &self.bucket) {
            let pushed = bucket.push(&self.roots[1], &self.ledger, matches!(edit, Edit::Move(..)));
            self.broken = self
                .broken
                .take()
                .or(pushed.err().map(|error| error.to_string()));
        }
    }

    /// The second side's folder becomes what is in the bucket.
    pub fn fetch(&mut self) {
        let Some(bucket) = &mut self.bucket else {
            return;
        };
        let pulled = bucket.pull(&self.roots[1], &self.ledger);
        self.broken = self
            .broken
            .take()
            .or(pulled.err().map(|error| error.to_string()));
    }

    fn copy(&mut self, side: usize, from: &str, to: &str) -> io::Result<()> {
        let content = fs::read(self.roots[side].join(from))?;
        // What nobody wrote does not become a version by this.
        let known = self.ledger.hold().id(&content).is_some();
        if known {
            self.save(side, to, &content)?;
        }
        Ok(())
    }

    fn number(&mut self) -> usize {
        self.numbers += 1;
        self.numbers
    }

    fn grave(&mut self, side: usize) -> PathBuf {
        let number = self.number();
        self.graves[side].join(number.to_string())
    }

    /// Takes away what is at a path.
    fn bury(&mut self, side: usize, path: &str) -> io::Result<()> {
        let grave = self.grave(side);
        fs::rename(self.roots[side].join(path), grave)
    }

    /// Makes the folders above a path; files in their way go.
    fn make_room(&mut self, side: usize, path: &str) -> io::Result<()> {
        let ends = path.match_indices('/').map(|(end, _)| end);
        for end in ends {
            let folder = &path[..end];
            let at = self.roots[side].join(folder);
            if !at.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
                let _ = self.bury(side, folder);
                fs::create_dir(&at)?;
            }
        }
        Ok(())
    }

    fn save(&mut self, side: usize, path: &str, content: &[u8]) -> io::Result<()> {
        self.make_room(side, path)?;
        let new = self.grave(side);
        self.ledger.hold().write(content, place(side, path));
        let saved = fs::write(&new, content).and_then(|()| {
            // Of what it replaces exactly what was there then is put away.
            let at = self.roots[side].join(path);
            publish(&new, &at)
        });
        if saved.is_err() {
            self.ledger.hold().give_up(content);
            fs::remove_file(new)?;
        }
        saved
    }

    fn open(&self, side: usize, path: &str) -> io::Result<(File, Vec<u8>)> {
        let at = self.roots[side].join(path);
        if !at.symlink_metadata()?.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut file = File::options().read(true).write(true).open(at)?;
        let mut old = Vec::new();
        io::Read::read_to_end(&mut file, &mut old)?;
        Ok((file, old))
    }

    /// A version takes the place of another in the same file.
    fn replace(
        &mut self,
        (side, path): (usize, &str),
        old: &[u8],
        new: &[u8],
        write: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut ledger = self.ledger.hold();
        ledger.write(new, place(side, path));
        let written = write();
        ledger.give_up(if written.is_ok() { old } else { new });
        written
    }

    fn overwrite(&mut self, side: usize, path: &str) -> io::Result<()> {
        let (file, old) = self.open(side, path)?;
        let new = content(self.number(), old.len());
        if old.len() > IN_PLACE || new.len() != old.len() {
            return self.save(side, path, &new);
        }
        self.replace((side, path), &old, &new, || file.write_all_at(&new, 0))
    }

    fn append(&mut self, side: usize, path: &str) -> io::Result<()> {
        let (mut file, old) = self.open(side, path)?;
        let line = format!("more {}\n", self.number());
        let new = [&old, line.as_bytes()].concat();
        self.replace((side, path), &old, &new, || file.write_all(line.as_bytes()))
    }

    fn truncate(&mut self, side: usize, path: &str) -> io::Result<()> {
        let (file, old) = self.open(side, path)?;
        let new = old[..old.len() / 2].to_vec();
        if new.is_empty() || self.ledger.hold().id(&new).is_some() {
            return Ok(());
        }
        self.replace((side, path), &old, &new, || file.set_len(new.len() as u64))
    }

    fn rename(&mut self, side: usize, from: &str, to: &str) -> io::Result<()> {
        let (at, new) = (self.roots[side].join(from), self.roots[side].join(to));
        at.symlink_metadata()?;
        if at.starts_with(&new) || new.starts_with(&at) {
            return Ok(());
        }
        self.make_room(side, to)?;
        let _ = self.bury(side, to);
        renameat_with(CWD, &at, CWD, &new, RenameFlags::NOREPLACE)?;
        let mut ledger = self.ledger.hold();
        each_file(&new, &mut |_, content| ledger.travelled(&content));
        Ok(())
    }

    /// What people have put away is what they gave up. To be called once, in the end.
    pub fn close(&self) {
        let mut ledger = self.ledger.hold();
        for graves in &self.graves {
            each_file(graves, &mut |_, content| ledger.give_up(&content));
        }
    }

    /// A side's folder is away, and an empty one is in its place.
    pub fn away(&self, side: usize) -> io::Result<()> {
        fs::rename(&self.roots[side], self.away_on(side))?;
        fs::create_dir(&self.roots[side])
    }

    fn away_on(&self, side: usize) -> PathBuf {
        self.graves[side].with_file_name("away")
    }

    /// It is back; what was put into the empty one is under it, as under a mount.
    pub fn back(&mut self, side: usize) -> io::Result<()> {
        let number = self.number();
        let under = self.graves[side].with_file_name(format!("under-{number}"));
        fs::rename(&self.roots[side], under)?;
        fs::rename(self.away_on(side), &self.roots[side])
    }

    /// Leaves next to nothing free on the second side, or ends that.
    pub fn fill(&self, full: bool) -> io::Result<()> {
        let ballast = self.graves[1].with_file_name("ballast");
        if !full {
            return fs::remove_file(ballast);
        }
        let mut file = File::create(ballast)?;
        let piece = [0; 4096];
        // Until there is no room.
        while file.write_all(&piece).is_ok() {}
        // Room for names and one small file.
        let length = file.metadata()?.len();
        file.set_len(length.saturating_sub(8 << 10))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.small {
            let mut umount = Command::new("umount");
            umount.arg("-l").arg(self.home.join("disk1"));
            let _ = umount.stderr(Stdio::null()).status();
        }
    }
}

fn place(side: usize, path: &str) -> String {
    format!("{}:{path}", ["A", "B"][side])
}

/// Puts a new file in its place; what was there is then where the new one was.
fn publish(new: &Path, at: &Path) -> io::Result<()> {
    for flags in [
        RenameFlags::NOREPLACE,
        RenameFlags::EXCHANGE,
        RenameFlags::NOREPLACE,
    ] {
        match renameat_with(CWD, new, CWD, at, flags) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::EXIST | rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Calls `each` with every file in the folder, its path there and its content.
pub fn each_file(root: &Path, each: &mut impl FnMut(&str, Vec<u8>)) {
    let mut folders = vec![root.to_path_buf()];
    if root.is_file() {
        folders.clear();
        each("", fs::read(root).unwrap_or_default());
    }
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(kind) if kind.is_file() => {
                    let name = path.strip_prefix(root).unwrap_or(&path);
                    if let Ok(content) = fs::read(&path) {
                        each(&name.to_string_lossy(), content);
                    }
                }
                _ => {}
            }
        }
    }
}
