//! The folders that are watched: which watch stands for which path.
//!
//! A folder is known by its parent and its name, so a rename of a folder with any number of others below it changes one of them.
//! About 150 bytes a folder; nothing is kept of files.

use std::collections::{BTreeMap, HashMap};

use wl_core::model::SyncPath;

/// The number that the system gave to a watch.
pub(super) type Wd = i32;

/// A watched folder, as long as it is in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Node(u32);

const ROOT: Node = Node(0);
/// The parent of folders whose place is not known at the moment.
const NOWHERE: Node = Node(u32::MAX);

#[derive(Debug)]
struct Watched {
    parent: Node,
    name: Box<str>,
    wd: Wd,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Option<Watched>>,
    free: Vec<u32>,
    by_wd: HashMap<Wd, Node>,
    children: BTreeMap<(Node, Box<str>), Node>,
    lost: Vec<Node>,
}

impl Tree {
    /// The root alone.
    pub(super) fn new(root: Wd) -> Self {
        let watched = Watched {
            parent: NOWHERE,
            name: "".into(),
            wd: root,
        };
        Self {
            nodes: vec![Some(watched)],
            free: Vec::new(),
            by_wd: HashMap::from([(root, ROOT)]),
            children: BTreeMap::new(),
            lost: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_wd.len()
    }

    /// All of it.
    #[cfg(test)]
    pub(super) fn places(&self) -> BTreeMap<SyncPath, Wd> {
        let all = self.by_wd.iter();
        all.map(|(wd, node)| (self.path(*node).unwrap(), *wd))
            .collect()
    }

    pub(super) fn is_root(&self, wd: Wd) -> bool {
        self.by_wd.get(&wd) == Some(&ROOT)
    }

    pub(super) fn by_wd(&self, wd: Wd) -> Option<Node> {
        self.by_wd.get(&wd).copied()
    }

    /// Where it is; `None` if that is not known of it or of a folder above.
    pub(super) fn path(&self, node: Node) -> Option<SyncPath> {
        let mut names = Vec::new();
        let mut at = node;
        while at != ROOT {
            let watched = self.get(at)?;
            names.push(&*watched.name);
            at = watched.parent;
        }
        names.reverse();
        SyncPath::new(names.join("/")).ok()
    }

    /// What is known at `path`.
    pub(super) fn at(&self, path: &SyncPath) -> Option<Node> {
        if path.is_root() {
            return Some(ROOT);
        }
        let mut at = ROOT;
        for name in path.as_str().split('/') {
            at = *self.children.get(&(at, name.into()))?;
        }
        Some(at)
    }

    /// The names of the folders known directly in `node`.
    pub(super) fn children(&self, node: Node) -> Vec<(Box<str>, Node)> {
        let from = (node, Box::from(""));
        self.children
            .range(from..)
            .take_while(|((parent, _), _)| *parent == node)
            .map(|((_, name), child)| (name.clone(), *child))
            .collect()
    }

    /// A folder that was not known.
    pub(super) fn insert(&mut self, parent: Node, name: &str, wd: Wd) -> Node {
        let watched = Some(Watched {
            parent,
            name: name.into(),
            wd,
        });
        let node = match self.free.pop() {
            Some(at) => {
                self.nodes[at as usize] = watched;
                Node(at)
            }
            None => {
                self.nodes.push(watched);
                Node(self.nodes.len() as u32 - 1)
            }
        };
        self.by_wd.insert(wd, node);
        self.children.insert((parent, name.into()), node);
        node
    }

    /// It is not where it was; where, may yet turn out.
    pub(super) fn lose(&mut self, node: Node) {
        if node == ROOT || !self.is_placed(node) {
            return;
        }
        self.unlink(node);
        if let Some(watched) = self.get_mut(node) {
            watched.parent = NOWHERE;
        }
        self.lost.push(node);
    }

    /// Whether it has a place itself, wherever that is.
    pub(super) fn is_placed(&self, node: Node) -> bool {
        node == ROOT
            || self
                .get(node)
                .is_some_and(|watched| watched.parent != NOWHERE)
    }

    /// A lost folder turned up.
    pub(super) fn find(&mut self, node: Node, parent: Node, name: &str) {
        self.lost.retain(|lost| *lost != node);
        if let Some(watched) = self.get_mut(node) {
            watched.parent = parent;
            watched.name = name.into();
            self.children.insert((parent, name.into()), node);
        }
    }

    /// Those that were lost and did not turn up.
    pub(super) fn take_lost(&mut self) -> Vec<Node> {
        std::mem::take(&mut self.lost)
    }

    /// Forgets a folder and all below it; the numbers of their watches.
    pub(super) fn forget(&mut self, node: Node) -> Vec<Wd> {
        if node == ROOT {
            return Vec::new();
        }
        self.unlink(node);
        self.lost.retain(|lost| *lost != node);
        let (mut wds, mut rest) = (Vec::new(), vec![node]);
        while let Some(node) = rest.pop() {
            for (name, child) in self.children(node) {
                self.children.remove(&(node, name));
                rest.push(child);
            }
            if let Some(watched) = self.nodes.get_mut(node.0 as usize).and_then(Option::take) {
                self.by_wd.remove(&watched.wd);
                self.free.push(node.0);
                wds.push(watched.wd);
            }
        }
        wds
    }

    fn unlink(&mut self, node: Node) {
        if let Some(watched) = self.get(node) {
            let key = (watched.parent, watched.name.clone());
            self.children.remove(&key);
        }
    }

    fn get(&self, node: Node) -> Option<&Watched> {
        self.nodes.get(node.0 as usize)?.as_ref()
    }

    fn get_mut(&mut self, node: Node) -> Option<&mut Watched> {
        self.nodes.get_mut(node.0 as usize)?.as_mut()
    }
}
