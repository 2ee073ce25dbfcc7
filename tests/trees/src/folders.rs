//! What real folders hold.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::{Node, Tree};

/// The tree without what is wl's own. Bytes that are no text show as such.
pub fn read(root: &Path) -> Tree {
    let mut tree = folder(root);
    tree.remove(".wl");
    tree
}

fn folder(path: &Path) -> Tree {
    let mut tree = Tree::new();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        let node = if kind.is_dir() {
            Node::Folder(folder(&entry.path()))
        } else if kind.is_symlink() {
            let target = fs::read_link(entry.path()).unwrap();
            Node::Link(text(target.as_os_str().as_bytes()))
        } else if kind.is_file() {
            Node::File(text(&fs::read(entry.path()).unwrap()))
        } else {
            continue;
        };
        tree.insert(text(entry.file_name().as_bytes()), node);
    }
    tree
}

fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("{bytes:?}"),
    }
}

/// Writes a file, with the folders above it.
pub fn write(root: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// The same, with a time of long ago: no run reads such a file again because it was written a moment before.
pub fn write_old(root: &Path, path: &str, content: impl AsRef<[u8]>) {
    write(root, path, content);
    let file = fs::File::options().write(true).open(root.join(path));
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    file.unwrap().set_modified(long_ago).unwrap();
}

/// Every content of files in the folder, wl's own included.
pub fn contents(root: &Path) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    each_file(root, &mut |_, content| {
        found.insert(content);
    });
    found
}

/// Every content of files that people see.
pub fn visible(root: &Path) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    each_file(root, &mut |path, content| {
        if !path.starts_with(root.join(".wl")) {
            found.insert(content);
        }
    });
    found
}

/// Calls `each` with every file in the folder and its content. What goes away meanwhile is passed over.
pub fn each_file(folder: &Path, each: &mut impl FnMut(&Path, Vec<u8>)) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.map_while(Result::ok) {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => each_file(&path, each),
            Ok(kind) if kind.is_file() => {
                if let Ok(content) = fs::read(&path) {
                    each(&path, content);
                }
            }
            _ => {}
        }
    }
}

/// Whether nothing of a run is left in the staging folder.
pub fn is_tidy(root: &Path) -> bool {
    !root.join(".wl/stage").exists()
}

/// Whether nothing is in the staging folder but what a run that is alive works with: it holds the lock there.
pub fn nothing_is_forsaken(root: &Path) -> bool {
    let Ok(runs) = fs::read_dir(root.join(".wl/stage")) else {
        return is_tidy(root);
    };
    let locks = runs
        .map_while(Result::ok)
        .map(|run| run.path().join("lock"));
    locks.into_iter().all(|lock| match fs::File::open(&lock) {
        // A run that has just ended took it away.
        Err(_) => !lock.parent().unwrap().exists(),
        Ok(file) => file.try_lock().is_err() || !lock.exists(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_holds_is_forsaken() {
        let root = std::env::temp_dir().join(format!("wl-forsaken-{}", std::process::id()));
        let run = root.join(".wl/stage/run");
        assert!(nothing_is_forsaken(&root));
        fs::create_dir_all(&run).unwrap();
        assert!(!nothing_is_forsaken(&root), "without a lock");
        let lock = fs::File::create(run.join("lock")).unwrap();
        assert!(!nothing_is_forsaken(&root), "nobody holds it");
        lock.lock().unwrap();
        assert!(nothing_is_forsaken(&root) && !is_tidy(&root));
        fs::remove_dir_all(&root).unwrap();
    }
}
