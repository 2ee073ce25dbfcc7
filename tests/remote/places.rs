//! Where trees are: read, and edited behind wl's back.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use wl_daemon::StorageSpec;
use wl_test_servers::s3::{S3Server, Store};
use wl_test_servers::webdav::{Editor, WebDavServer};

use crate::oracle::{Node, Tree};
use crate::trees;
use crate::world::{BUCKET, local, s3};

/// One storage.
pub struct Place {
    pub spec: StorageSpec,
    hand: Hand,
}

/// How it is reached without wl.
enum Hand {
    Local(PathBuf),
    S3(Store, String),
    WebDav(Editor, String),
}

impl Place {
    pub fn local(folder: &Path) -> Self {
        Self {
            spec: local(folder),
            hand: Hand::Local(folder.to_owned()),
        }
    }

    pub fn s3(server: &S3Server, prefix: &str) -> Self {
        Self {
            spec: s3(server, prefix),
            hand: Hand::S3(server.store(), format!("{prefix}/")),
        }
    }

    pub fn webdav(server: &WebDavServer, folder: &str) -> Self {
        let editor = server.editor();
        editor.make_folder(folder);
        let url = format!("{}{folder}", server.url());
        Self {
            spec: StorageSpec::new("webdav", json!({ "url": url })),
            hand: Hand::WebDav(editor, format!("/{folder}/")),
        }
    }

    /// What people see.
    pub fn read(&self) -> Tree {
        let mut tree = match &self.hand {
            Hand::Local(folder) => trees::read(folder),
            Hand::S3(store, prefix) => s3_tree(store, prefix),
            Hand::WebDav(editor, folder) => webdav_tree(editor, folder),
        };
        tree.remove(".wl");
        tree
    }

    fn put(&self, path: &str, content: &str) {
        match &self.hand {
            Hand::Local(folder) => trees::write(folder, path, content),
            Hand::S3(store, prefix) => {
                store.put(BUCKET, &format!("{prefix}{path}"), content.to_owned());
            }
            Hand::WebDav(editor, folder) => {
                editor.put(&escaped(&format!("{folder}{path}")), content.to_owned());
            }
        }
    }

    fn make_folder(&self, path: &str) {
        match &self.hand {
            Hand::Local(folder) => fs::create_dir_all(folder.join(path)).unwrap(),
            Hand::S3(..) => {}
            Hand::WebDav(editor, folder) => {
                editor.make_folder(&escaped(&format!("{folder}{path}")));
            }
        }
    }

    fn link(&self, path: &str, target: &str) {
        let Hand::Local(folder) = &self.hand else {
            panic!("only folders have links here");
        };
        std::os::unix::fs::symlink(target, folder.join(path)).unwrap();
    }

    /// Removes a file, or a folder that is empty.
    fn remove(&self, path: &str, node: &Node) {
        match (&self.hand, node) {
            (Hand::Local(folder), Node::Folder(_)) => fs::remove_dir(folder.join(path)).unwrap(),
            (Hand::Local(folder), _) => fs::remove_file(folder.join(path)).unwrap(),
            (Hand::S3(store, prefix), Node::Folder(_)) => {
                store.delete(BUCKET, &format!("{prefix}{path}/"));
            }
            (Hand::S3(store, prefix), _) => {
                assert!(store.delete(BUCKET, &format!("{prefix}{path}")));
            }
            (Hand::WebDav(editor, folder), _) => {
                assert!(editor.delete(&escaped(&format!("{folder}{path}"))));
            }
        }
    }

    /// Makes the storage hold this, by what differs.
    pub fn edit_to(&self, tree: &Tree) {
        self.folder_to("", &self.read(), tree);
    }

    fn folder_to(&self, at: &str, now: &Tree, wanted: &Tree) {
        let path = |name: &str| format!("{at}{name}");
        for (name, node) in now {
            let stays = match (node, wanted.get(name)) {
                (Node::Folder(_), Some(Node::Folder(_))) => true,
                (Node::File(_), Some(Node::File(_))) => true,
                (one, other) => Some(one) == other,
            };
            if !stays {
                if let Node::Folder(inside) = node {
                    self.folder_to(&format!("{at}{name}/"), inside, &Tree::new());
                }
                self.remove(&path(name), node);
            }
        }
        for (name, node) in wanted {
            let before = now.get(name);
            match node {
                _ if before == Some(node) => {}
                Node::File(content) => self.put(&path(name), content),
                Node::Link(target) => self.link(&path(name), target),
                Node::Folder(inside) => {
                    let empty = Tree::new();
                    let before = match before {
                        Some(Node::Folder(before)) => before,
                        _ => {
                            self.make_folder(&path(name));
                            &empty
                        }
                    };
                    self.folder_to(&format!("{at}{name}/"), before, inside);
                }
            }
        }
    }
}

/// A tree made of keys below a prefix.
fn s3_tree(store: &Store, prefix: &str) -> Tree {
    let mut tree = Tree::new();
    for key in store.keys(BUCKET) {
        let Some(path) = key.strip_prefix(prefix) else {
            continue;
        };
        let content = store.get(BUCKET, &key).unwrap().content;
        add(&mut tree, path, String::from_utf8_lossy(&content).as_ref());
    }
    tree
}

fn webdav_tree(editor: &Editor, folder: &str) -> Tree {
    let mut tree = Tree::new();
    for path in editor.paths(&escaped(folder)) {
        let content = match path.ends_with('/') {
            true => Default::default(),
            false => editor.get(&path).unwrap(),
        };
        let path = unescaped(&path);
        let Some(path) = path.strip_prefix(folder).filter(|path| !path.is_empty()) else {
            continue;
        };
        add(&mut tree, path, String::from_utf8_lossy(&content).as_ref());
    }
    tree
}

/// Adds a file, or with a `/` at its end a folder.
fn add(tree: &mut Tree, path: &str, content: &str) {
    match path.split_once('/') {
        None => {
            tree.insert(path.to_owned(), Node::File(content.to_owned()));
        }
        Some((folder, rest)) => {
            let node = tree.entry(folder.to_owned());
            let node = node.or_insert_with(|| Node::Folder(Tree::new()));
            let Node::Folder(inside) = node else {
                panic!("both file and folder: {folder}");
            };
            if !rest.is_empty() {
                add(inside, rest, content);
            }
        }
    }
}

/// The tree without what storages without empty folders, or without links, cannot hold.
pub fn pruned(tree: &Tree) -> Tree {
    let mut kept = Tree::new();
    for (name, node) in tree {
        match node {
            Node::File(_) => {
                kept.insert(name.clone(), node.clone());
            }
            Node::Link(_) => {}
            Node::Folder(inside) => {
                let inside = pruned(inside);
                if !inside.is_empty() {
                    kept.insert(name.clone(), Node::Folder(inside));
                }
            }
        }
    }
    kept
}

pub fn escaped(path: &str) -> String {
    let mut text = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' => {
                text.push(byte as char);
            }
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            let digits = std::str::from_utf8(&digits).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}
