//! Somebody who edits a side as programs do it, and knows what must become of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use wl_test_trees::{Node, Random, Tree, put, take};

/// Names that only this editor uses.
const OWN: u64 = 4;
/// Names that an editor of the other side uses too.
const CONTESTED: u64 = 4;

pub struct Editor {
    root: PathBuf,
    /// A folder outside of the tree, on the same file system.
    outside: PathBuf,
    name: String,
    /// The contested names of this editor and its rival begin with it.
    contest: String,
    random: Random,
    versions: u64,
    moved_out: Vec<(PathBuf, Node)>,
    /// What its own names hold: nobody else edits them.
    pub tree: Tree,
    /// The last version that it wrote at each contested path and did not itself replace or remove.
    pub last: BTreeMap<String, Vec<u8>>,
}

impl Editor {
    pub fn new(root: &Path, outside: &Path, side: usize, number: u64, seed: u64) -> Self {
        let name = format!("{}{number}", ["a", "b"][side]);
        let outside = outside.join(&name);
        fs::create_dir_all(&outside).unwrap();
        Self {
            root: root.to_owned(),
            outside,
            contest: format!("c{number}"),
            random: Random::new(seed * 1000 + number * 2 + side as u64 + 1),
            name,
            versions: 0,
            moved_out: Vec::new(),
            tree: Tree::new(),
            last: BTreeMap::new(),
        }
    }

    /// What its own names begin with.
    pub fn prefix(&self) -> String {
        format!("{}-", self.name)
    }

    /// Makes so many edits; of contested names only, if it is so.
    pub fn work(&mut self, edits: u64, only_contested: bool) {
        for _ in 0..edits {
            // At the pace of somebody, so that the job meets every state between two edits.
            std::thread::sleep(Duration::from_micros(self.random.below(20_000)));
            match only_contested || self.random.below(4) == 0 {
                true => self.contend(),
                false => self.edit_own(),
            }
        }
    }

    /// Content that is like no other.
    fn content(&mut self) -> String {
        self.versions += 1;
        let line = format!("{} {}\n", self.name, self.versions);
        let times = match self.random.below(10) {
            0 => 1 + self.random.below(20_000),
            _ => 1 + self.random.below(60),
        };
        line.repeat(times as usize) + "end"
    }

    fn path(&mut self) -> String {
        let top = format!("{}-{}", self.name, self.random.below(OWN));
        match self.random.below(3) {
            0 => top,
            1 => format!("{top}/f{}", self.random.below(5)),
            _ => format!("{top}/d{}/f{}", self.random.below(2), self.random.below(3)),
        }
    }

    fn node(&self, path: &str) -> Option<&Node> {
        let mut tree = &self.tree;
        let mut names = path.split('/').peekable();
        while let Some(name) = names.next() {
            match tree.get(name)? {
                node if names.peek().is_none() => return Some(node),
                Node::Folder(inside) => tree = inside,
                _ => return None,
            }
        }
        None
    }

    fn put(&mut self, path: &str, node: Node) {
        put(&mut self.tree, &path.split('/').collect::<Vec<_>>(), node);
    }

    fn take(&mut self, path: &str) -> Option<Node> {
        take(&mut self.tree, &path.split('/').collect::<Vec<_>>())
    }

    /// Makes the folders above a path; files in their way go.
    fn make_room(&self, path: &str) {
        let mut above = self.root.clone();
        for name in Path::new(path).parent().unwrap() {
            above.push(name);
            if !above.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
                let _ = fs::remove_file(&above);
                fs::create_dir(&above).unwrap();
            }
        }
    }

    fn edit_own(&mut self) {
        let path = self.path();
        let at = self.root.join(&path);
        match self.random.below(17) {
            0..4 => self.save(&path),
            4 | 5 => self.write(&path),
            6 | 7 => self.overwrite(&path, &at),
            8 => self.append(&path, &at),
            9 => self.set_mode(&path, &at),
            10 | 11 => self.move_own(&path),
            12 => self.move_out(&path),
            13 => self.move_in(&path),
            14 => {
                if self.take(&path).is_some() {
                    remove(&at);
                }
            }
            15 => {
                self.make_way(&path);
                let target = format!("to {}", self.versions);
                std::os::unix::fs::symlink(&target, &at).unwrap();
                self.put(&path, Node::Link(target));
            }
            _ => self.turn(&path, &at),
        }
    }

    /// Nothing is at the path then, and the folders above it are there.
    fn make_way(&mut self, path: &str) {
        self.make_room(path);
        self.take(path);
        if self.root.join(path).symlink_metadata().is_ok() {
            remove(&self.root.join(path));
        }
    }

    /// A new file takes the path's place, from within the tree or from outside.
    fn save(&mut self, path: &str) {
        let content = self.content();
        self.make_room(path);
        let at = self.root.join(path);
        if matches!(self.node(path), Some(Node::Folder(_))) {
            self.make_way(path);
        }
        let new = match self.random.below(2) {
            0 => at.parent().unwrap().join(format!(".{}.new", self.name)),
            _ => self.outside.join("new"),
        };
        let mut file = File::create(&new).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file.sync_all().unwrap();
        fs::rename(new, at).unwrap();
        self.put(path, Node::File(content));
    }

    /// As `>` does it, over a file or where nothing is.
    fn write(&mut self, path: &str) {
        if !matches!(self.node(path), Some(Node::File(_))) {
            self.make_way(path);
        }
        let content = self.content();
        fs::write(self.root.join(path), &content).unwrap();
        self.put(path, Node::File(content));
    }

    /// In place: the same inode all the time, and for a moment neither the one nor the other.
    fn overwrite(&mut self, path: &str, at: &Path) {
        if !matches!(self.node(path), Some(Node::File(_))) {
            return self.save(path);
        }
        let content = self.content();
        let file = File::options().write(true).open(at).unwrap();
        let (head, tail) = content.as_bytes().split_at(content.len() / 2);
        file.write_all_at(tail, head.len() as u64).unwrap();
        file.write_all_at(head, 0).unwrap();
        file.set_len(content.len() as u64).unwrap();
        self.put(path, Node::File(content));
    }

    fn append(&mut self, path: &str, at: &Path) {
        let Some(Node::File(content)) = self.node(path) else {
            return;
        };
        let line = format!("more of {} {}\n", self.name, self.versions);
        let content = format!("{content}{line}");
        let mut file = File::options().append(true).open(at).unwrap();
        file.write_all(line.as_bytes()).unwrap();
        self.put(path, Node::File(content));
    }

    fn set_mode(&mut self, path: &str, at: &Path) {
        let modes = match self.node(path) {
            Some(Node::File(_)) => [0o600, 0o644, 0o755, 0o640],
            Some(Node::Folder(_)) => [0o700, 0o755, 0o750, 0o711],
            _ => return,
        };
        let mode = modes[self.random.below(4) as usize];
        fs::set_permissions(at, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A file or a folder gets another name; what has it goes.
    fn move_own(&mut self, from: &str) {
        let to = self.path();
        let within = |one: &str, two: &str| Path::new(one).starts_with(two);
        if self.node(from).is_none() || within(from, &to) || within(&to, from) {
            return;
        }
        // The folders above the new name may be files, which then go.
        let keeps = matches!(
            (self.node(from), self.node(&to)),
            (Some(Node::File(_)), Some(Node::File(_)))
        );
        match keeps {
            true => self.make_room(&to),
            false => self.make_way(&to),
        }
        let Some(node) = self.take(from) else { return };
        fs::rename(self.root.join(from), self.root.join(&to)).unwrap();
        self.put(&to, node);
    }

    fn move_out(&mut self, path: &str) {
        if let Some(node) = self.take(path) {
            let to = self.outside.join(format!("out{}", self.versions));
            self.versions += 1;
            fs::rename(self.root.join(path), &to).unwrap();
            self.moved_out.push((to, node));
        }
    }

    fn move_in(&mut self, path: &str) {
        if let Some((from, node)) = self.moved_out.pop() {
            self.make_way(path);
            fs::rename(from, self.root.join(path)).unwrap();
            self.put(path, node);
        }
    }

    /// A file becomes a folder and the other way round, at once.
    fn turn(&mut self, path: &str, at: &Path) {
        let content = self.content();
        match self.take(path) {
            Some(Node::Folder(_)) => {
                remove(at);
                fs::write(at, &content).unwrap();
                self.put(path, Node::File(content));
            }
            Some(_) => {
                remove(at);
                fs::create_dir(at).unwrap();
                fs::write(at.join("f0"), &content).unwrap();
                self.put(&format!("{path}/f0"), Node::File(content));
            }
            // Gone and there again.
            None => {
                self.save(path);
                remove(at);
                self.take(path);
                self.write(path);
            }
        }
    }

    fn contested_path(&mut self) -> String {
        let number = self.random.below(CONTESTED);
        match number < CONTESTED / 2 {
            true => format!("{}-{number}", self.contest),
            false => format!("{}-{number}/f{}", self.contest, self.random.below(3)),
        }
    }

    /// What is at a path is about to be replaced or removed by this side itself. It may be a version that it wrote elsewhere: the
    /// other side's renames arrive as renames.
    fn give_up(&mut self, at: &Path) {
        if let Ok(content) = fs::read(at) {
            self.last.retain(|_, version| *version != content);
        }
    }

    /// Edits what somebody edits on the other side too; wl may take away or put there what it likes meanwhile.
    fn contend(&mut self) {
        let path = self.contested_path();
        let at = self.root.join(&path);
        let _ = fs::create_dir(at.parent().unwrap());
        let edit = self.random.below(8);
        if edit < 7 {
            self.give_up(&at);
        }
        match edit {
            0..3 => {
                let content = self.content().into_bytes();
                let new = self.outside.join("new");
                fs::write(&new, &content).unwrap();
                // The folder may just have gone.
                if fs::rename(new, &at).is_ok() {
                    self.last.insert(path, content);
                }
            }
            3 | 4 => {
                let content = self.content().into_bytes();
                if fs::write(&at, &content).is_ok() {
                    self.last.insert(path, content);
                }
            }
            5 => {
                if let Some(content) = append_whatever(&at, &format!("more of {}\n", self.name)) {
                    self.last.insert(path, content);
                }
            }
            6 => {
                let _ = fs::remove_file(&at);
                self.last.remove(&path);
            }
            _ => {
                let to = self.contested_path();
                let _ = fs::create_dir(self.root.join(&to).parent().unwrap());
                if path != to {
                    self.give_up(&self.root.join(&to));
                }
                if path != to && fs::rename(&at, self.root.join(&to)).is_ok() {
                    self.last.remove(&to);
                    let moved = self.last.remove(&path);
                    self.last.extend(moved.map(|moved| (to, moved)));
                }
            }
        }
    }
}

/// Adds a line to what is there, and tells what it then is: whatever name that file has by now.
fn append_whatever(at: &Path, line: &str) -> Option<Vec<u8>> {
    let mut file = File::options().read(true).append(true).open(at).ok()?;
    file.write_all(line.as_bytes()).unwrap();
    file.rewind().unwrap();
    let mut content = Vec::new();
    file.read_to_end(&mut content).unwrap();
    Some(content)
}

fn remove(path: &Path) {
    match path.symlink_metadata().unwrap().is_dir() {
        true => fs::remove_dir_all(path).unwrap(),
        false => fs::remove_file(path).unwrap(),
    }
}
