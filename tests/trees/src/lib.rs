//! What suites of whole runs share: trees, edits of them, and an oracle that says what a run must make of them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this is test code: to stop with the reason is its purpose"
)]

use std::collections::BTreeMap;

pub mod folders;
pub mod oracle;

/// Numbers from a seed.
pub struct Random(u64);

impl Random {
    /// The numbers of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next one, below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}

/// What has a name in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// A file's content.
    File(String),
    /// Where a link points.
    Link(String),
    /// What is inside.
    Folder(Tree),
}

/// A folder.
pub type Tree = BTreeMap<String, Node>;

/// Adds what was found at a path, below the folders that it is in.
pub fn add(tree: &mut Tree, path: &str, node: Node) {
    match path.split_once('/') {
        None => drop(tree.insert(path.to_owned(), node)),
        Some((folder, rest)) => match folder_in(tree, folder) {
            Node::Folder(inside) => add(inside, rest, node),
            _ => panic!("both file and folder: {folder}"),
        },
    }
}

fn folder_in<'t>(tree: &'t mut Tree, name: &str) -> &'t mut Node {
    let node = tree.entry(name.to_owned());
    node.or_insert_with(|| Node::Folder(Tree::new()))
}

/// Puts something at a path; what is in the way is replaced.
pub fn put(tree: &mut Tree, path: &[&str], node: Node) {
    let [name, inside @ ..] = path else {
        return;
    };
    if inside.is_empty() {
        tree.insert((*name).to_owned(), node);
        return;
    }
    let folder = folder_in(tree, name);
    if !matches!(folder, Node::Folder(_)) {
        *folder = Node::Folder(Tree::new());
    }
    if let Node::Folder(folder) = folder {
        put(folder, inside, node);
    }
}

/// Takes away what is at a path.
pub fn take(tree: &mut Tree, path: &[&str]) -> Option<Node> {
    match path {
        [] => None,
        [name] => tree.remove(*name),
        [name, inside @ ..] => match tree.get_mut(*name) {
            Some(Node::Folder(folder)) => take(folder, inside),
            _ => None,
        },
    }
}

/// Whoever edits a storage behind wl's back.
pub trait Hand {
    /// Writes a file where nothing or a file is.
    fn write(&self, path: &str, content: &str);
    /// Makes a link where nothing is.
    fn link(&self, path: &str, target: &str);
    /// Makes a folder where nothing is.
    fn make_folder(&self, path: &str);
    /// Removes this: a file, a link, or a folder that is empty.
    fn remove(&self, path: &str, node: &Node);
}

/// Makes a storage that holds `now` hold what is wanted, by what differs.
pub fn edit(hand: &impl Hand, now: &Tree, wanted: &Tree) {
    edit_folder(hand, "", now, wanted);
}

fn edit_folder(hand: &impl Hand, at: &str, now: &Tree, wanted: &Tree) {
    let empty = Tree::new();
    for (name, node) in now {
        let path = format!("{at}{name}");
        let stays = match (node, wanted.get(name)) {
            (Node::Folder(_), Some(Node::Folder(_))) | (Node::File(_), Some(Node::File(_))) => true,
            (one, other) => Some(one) == other,
        };
        if !stays {
            if let Node::Folder(inside) = node {
                edit_folder(hand, &format!("{path}/"), inside, &empty);
            }
            hand.remove(&path, node);
        }
    }
    for (name, node) in wanted {
        let path = format!("{at}{name}");
        match (node, now.get(name)) {
            (_, before) if before == Some(node) => {}
            (Node::File(content), _) => hand.write(&path, content),
            (Node::Link(target), _) => hand.link(&path, target),
            (Node::Folder(inside), Some(Node::Folder(before))) => {
                edit_folder(hand, &format!("{path}/"), before, inside);
            }
            (Node::Folder(inside), _) => {
                hand.make_folder(&path);
                edit_folder(hand, &format!("{path}/"), &empty, inside);
            }
        }
    }
}
