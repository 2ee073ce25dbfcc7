//! Where trees are: read, and edited behind wl's back.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use wl_daemon::StorageSpec;
use wl_test_servers::s3::{S3Server, Store};
use wl_test_servers::webdav::{Editor, WebDavServer};
use wl_test_trees::{Hand, Node, Tree, add};

use crate::trees;
use crate::world::{BUCKET, local, s3};

/// One storage.
pub struct Place {
    pub spec: StorageSpec,
    way: Way,
}

/// How it is reached without wl.
enum Way {
    Local(PathBuf),
    S3(Store, String),
    WebDav(Editor, String),
}

impl Place {
    pub fn local(folder: &Path) -> Self {
        Self {
            spec: local(folder),
            way: Way::Local(folder.to_owned()),
        }
    }

    pub fn s3(server: &S3Server, prefix: &str) -> Self {
        Self {
            spec: s3(server, prefix),
            way: Way::S3(server.store(), format!("{prefix}/")),
        }
    }

    pub fn webdav(server: &WebDavServer, folder: &str) -> Self {
        let editor = server.editor();
        editor.make_folder(folder);
        let url = format!("{}{folder}", server.url());
        Self {
            spec: StorageSpec::new("webdav", json!({ "url": url })),
            way: Way::WebDav(editor, format!("/{folder}/")),
        }
    }

    /// What people see.
    pub fn read(&self) -> Tree {
        let mut tree = match &self.way {
            Way::Local(folder) => trees::read(folder),
            Way::S3(store, prefix) => s3_tree(store, prefix),
            Way::WebDav(editor, folder) => webdav_tree(editor, folder),
        };
        tree.remove(".wl");
        tree
    }

    /// Makes the storage hold this, by what differs.
    pub fn edit_to(&self, tree: &Tree) {
        wl_test_trees::edit(self, &self.read(), tree);
    }
}

impl Hand for Place {
    fn write(&self, path: &str, content: &str) {
        match &self.way {
            Way::Local(folder) => trees::write(folder, path, content),
            Way::S3(store, prefix) => {
                store.put(BUCKET, &format!("{prefix}{path}"), content.to_owned());
            }
            Way::WebDav(editor, folder) => {
                editor.put(&escaped(&format!("{folder}{path}")), content.to_owned());
            }
        }
    }

    fn make_folder(&self, path: &str) {
        match &self.way {
            Way::Local(folder) => fs::create_dir_all(folder.join(path)).unwrap(),
            Way::S3(..) => {}
            Way::WebDav(editor, folder) => {
                editor.make_folder(&escaped(&format!("{folder}{path}")));
            }
        }
    }

    fn link(&self, path: &str, target: &str) {
        let Way::Local(folder) = &self.way else {
            panic!("only folders have links here");
        };
        std::os::unix::fs::symlink(target, folder.join(path)).unwrap();
    }

    fn remove(&self, path: &str, node: &Node) {
        match (&self.way, node) {
            (Way::Local(folder), Node::Folder(_)) => fs::remove_dir(folder.join(path)).unwrap(),
            (Way::Local(folder), _) => fs::remove_file(folder.join(path)).unwrap(),
            (Way::S3(store, prefix), Node::Folder(_)) => {
                store.delete(BUCKET, &format!("{prefix}{path}/"));
            }
            (Way::S3(store, prefix), _) => {
                assert!(store.delete(BUCKET, &format!("{prefix}{path}")));
            }
            (Way::WebDav(editor, folder), _) => {
                assert!(editor.delete(&escaped(&format!("{folder}{path}"))));
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
        add_key(&mut tree, path, &content);
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
        add_key(&mut tree, path, &content);
    }
    tree
}

/// Adds a file, or with a `/` at its end a folder.
fn add_key(tree: &mut Tree, key: &str, content: &[u8]) {
    match key.strip_suffix('/') {
        Some(folder) => add(tree, folder, Node::Folder(Tree::new())),
        None => {
            let content = String::from_utf8_lossy(content).into_owned();
            add(tree, key, Node::File(content));
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
