//! Folders with something in them, and what they hold.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Writes files; a name that ends in `/` is an empty folder, a content that starts with `->` a link.
pub fn write(root: &Path, entries: &[(&str, &str)]) {
    fs::create_dir_all(root).unwrap();
    for (name, content) in entries {
        let path = root.join(name);
        if name.ends_with('/') {
            fs::create_dir_all(path).unwrap();
            continue;
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match content.strip_prefix("->") {
            Some(target) => std::os::unix::fs::symlink(target, path).unwrap(),
            None => fs::write(path, content).unwrap(),
        }
    }
}

/// What a folder holds, in the words of [`write`], without what is wl's own.
pub fn read(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    visit(root, "", &mut found);
    found
}

fn visit(folder: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().unwrap();
        if name == ".wl" {
            continue;
        } else if kind.is_dir() {
            visit(&entry.path(), &format!("{name}/"), found);
            found.insert(name + "/", String::new());
        } else if kind.is_symlink() {
            let target = fs::read_link(entry.path()).unwrap();
            found.insert(name, format!("->{}", target.display()));
        } else {
            found.insert(name, fs::read_to_string(entry.path()).unwrap());
        }
    }
}
