//! Whole storages as literals, to fill one and to compare with one.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use super::conformance::Editor;
use crate::model::{Key, Kind, SyncPath};
use crate::storage::{ListRequest, ReadRequest, Row, StorageBackend};

/// An entry of a [`Tree`].
#[derive(Clone, PartialEq, Eq)]
pub enum Node {
    /// A file's content.
    File(Vec<u8>),
    /// A folder.
    Folder,
    /// Where a link points.
    Link(String),
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::File(content) if content.len() <= 60 => {
                write!(f, "{:?}", String::from_utf8_lossy(content))
            }
            Node::File(content) => {
                let start = String::from_utf8_lossy(&content[..40]);
                write!(f, "{start:?}... ({} bytes)", content.len())
            }
            Node::Folder => f.write_str("folder"),
            Node::Link(target) => write!(f, "-> {target}"),
        }
    }
}

/// What a storage holds: the text of each [`Key`] (`a/` for a folder) and what is there. Made by [`tree!`](crate::tree).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<String, Node>);

impl Tree {
    /// Adds a file, and the folders above it.
    pub fn file(&mut self, path: &str, content: impl AsRef<[u8]>) {
        self.add(path, Node::File(content.as_ref().to_vec()));
    }

    /// Adds a link, and the folders above it.
    pub fn link(&mut self, path: &str, target: &str) {
        self.add(path, Node::Link(target.to_owned()));
    }

    /// Adds a folder (with or without `/` at the end), and those above it.
    pub fn folder(&mut self, path: &str) {
        let path = path.trim_end_matches('/');
        self.add(&format!("{path}/"), Node::Folder);
    }

    fn add(&mut self, key: &str, node: Node) {
        let path = Key::from_text(key).expect("a key").path;
        for folder in path.ancestors() {
            self.0.insert(format!("{}/", folder.as_str()), Node::Folder);
        }
        self.0.insert(key.to_owned(), node);
    }

    /// The tree without its folders, for storages that keep no empty ones.
    #[must_use]
    pub fn without_folders(&self) -> Self {
        let entries = self.0.clone().into_iter();
        Self(entries.filter(|(_, node)| *node != Node::Folder).collect())
    }

    /// Makes it all with an editor.
    pub async fn fill(&self, editor: &dyn Editor) {
        for (key, node) in &self.0 {
            match node {
                Node::File(content) => editor.write(key, content).await,
                Node::Folder => editor.make_folder(key.trim_end_matches('/')).await,
                Node::Link(target) => editor.make_link(key, target).await,
            }
        }
    }

    /// Reads a whole storage, through the contract. Rows other than entries are a panic: a test that has them looks itself.
    pub async fn read(backend: &Arc<dyn StorageBackend>) -> Self {
        let request = ListRequest::everything(std::env::temp_dir());
        let mut listing = backend.list(request).await.expect("the storage lists");
        let mut tree = Self::default();
        while let Some(rows) = listing.next().await.expect("the listing goes on") {
            for row in rows {
                let Row::Present(entry) = row else {
                    panic!("an entry is wanted, not {row:?}")
                };
                let node = match entry.meta.kind {
                    Kind::Folder => Node::Folder,
                    Kind::Link => Node::Link(entry.meta.link.clone().unwrap_or_default().into()),
                    Kind::File => {
                        let (path, meta) = (entry.path.clone(), entry.meta.clone());
                        Node::File(content(backend, ReadRequest { path, meta }).await)
                    }
                };
                tree.0.insert(entry.key().to_text(), node);
            }
        }
        tree
    }

    /// The differences to `found`, a line each; empty if there are none.
    pub fn diff(&self, found: &Self) -> String {
        let mut text = String::new();
        for (key, node) in &self.0 {
            let _ = match found.0.get(key) {
                Some(other) if other == node => continue,
                Some(other) => writeln!(text, "  {key:?}: {other:?} instead of {node:?}"),
                None => writeln!(text, "  {key:?}: missing ({node:?})"),
            };
        }
        for (key, node) in found.0.iter().filter(|(key, _)| !self.0.contains_key(*key)) {
            let _ = writeln!(text, "  {key:?}: not wanted ({node:?})");
        }
        text
    }

    /// Panics with the differences if the storage does not hold exactly this.
    pub async fn assert_is(&self, backend: &Arc<dyn StorageBackend>) {
        let diff = self.diff(&Self::read(backend).await);
        assert!(diff.is_empty(), "{} differs:\n{diff}", backend.location());
    }
}

async fn content(backend: &Arc<dyn StorageBackend>, request: ReadRequest) -> Vec<u8> {
    let mut reader = backend.read(request).await.expect("the file opens");
    let mut content = Vec::new();
    while let Some(piece) = reader.next().await.expect("the file reads") {
        content.extend_from_slice(&piece);
    }
    content
}

/// The path `text`, which is one.
pub(super) fn path(text: &str) -> SyncPath {
    SyncPath::new(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

/// A [`Tree`](crate::testing::Tree): `tree! { "a.txt" => "content", "dir/", "l" -> "target" }`. Folders above are added.
#[macro_export]
macro_rules! tree {
    (@ $tree:ident) => {};
    (@ $tree:ident $path:literal => $content:expr $(, $($rest:tt)*)?) => {
        $tree.file($path, $content);
        $crate::tree!(@ $tree $($($rest)*)?);
    };
    (@ $tree:ident $path:literal -> $target:expr $(, $($rest:tt)*)?) => {
        $tree.link($path, $target);
        $crate::tree!(@ $tree $($($rest)*)?);
    };
    (@ $tree:ident $path:literal $(, $($rest:tt)*)?) => {
        $tree.folder($path);
        $crate::tree!(@ $tree $($($rest)*)?);
    };
    ($($entries:tt)*) => {{
        #[allow(unused_mut)]
        let mut tree = $crate::testing::Tree::default();
        $crate::tree!(@ tree $($entries)*);
        tree
    }};
}
