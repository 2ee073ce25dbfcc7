//! The tree itself, without locks.

use std::collections::BTreeMap;

use bytes::Bytes;
use wl_core::model::{ContentHash, FileId, Key, Kind, Meta, Mode, SyncPath, Timestamp, Token};
use wl_core::planted::{Bug, planted};
use wl_core::storage::{
    ErrorKind, Expected, MachineFolder, Published, Result, RootMarker, StorageError,
};

use super::MemorySettings;
use super::trash::Trashed;

/// Where the logical clock starts, in seconds since 1970.
const EPOCH: i64 = 1_000_000_000;

/// What is at a path.
#[derive(Clone, Debug)]
pub(super) enum Body {
    File { content: Bytes, hash: ContentHash },
    Folder,
    Link(Box<str>),
    Special,
}

impl Body {
    pub fn file(content: Bytes) -> Self {
        let hash = ContentHash::of(&content);
        Self::File { content, hash }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Body::File { .. } | Body::Special => Kind::File,
            Body::Folder => Kind::Folder,
            Body::Link(_) => Kind::Link,
        }
    }

    pub fn size(&self) -> u64 {
        match self {
            Body::File { content, .. } => content.len() as u64,
            _ => 0,
        }
    }
}

/// An entry.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub body: Body,
    pub mtime: Timestamp,
    pub mode: Option<Mode>,
    /// The change that made it what it is.
    pub version: u64,
    pub id: FileId,
    /// Nothing in it can be read or listed.
    pub unreadable: bool,
}

/// A tree, its trash, and the counters that stand for time.
#[derive(Debug)]
pub(super) struct State {
    settings: MemorySettings,
    pub nodes: BTreeMap<Key, Node>,
    /// Path (folded where case does not count) to key.
    names: BTreeMap<String, Key>,
    /// Names that are no path parts, by folder.
    pub odd_names: BTreeMap<SyncPath, Vec<String>>,
    pub trash: BTreeMap<u64, Trashed>,
    /// Changes so far.
    version: u64,
    /// Seconds that were passed over by hand.
    pub skipped_seconds: i64,
    last_id: u64,
    last_session: u64,
    pub live_sessions: BTreeMap<u64, String>,
    pub available: bool,
    pub marker: RootMarker,
    pub lies_in: Vec<MachineFolder>,
}

impl State {
    pub fn new(settings: MemorySettings) -> Self {
        Self {
            settings,
            nodes: BTreeMap::new(),
            names: BTreeMap::new(),
            odd_names: BTreeMap::new(),
            trash: BTreeMap::new(),
            version: 0,
            skipped_seconds: 0,
            last_id: 0,
            last_session: 0,
            live_sessions: BTreeMap::new(),
            available: true,
            marker: RootMarker {
                start: Some("memory".to_owned()),
                ..RootMarker::default()
            },
            lies_in: Vec::new(),
        }
    }

    fn name(&self, path: &SyncPath) -> String {
        if self.settings.folds_case {
            path.as_str().to_lowercase()
        } else {
            path.as_str().to_owned()
        }
    }

    /// The next change's number.
    pub fn tick(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// Lets every token settle.
    pub fn settle(&mut self) {
        let share = self.settings.changes_per_token.max(1);
        self.version = (self.version / share + 1) * share;
    }

    /// The logical time in seconds since 1970.
    pub fn now(&self) -> i64 {
        EPOCH + self.skipped_seconds + i64::try_from(self.version).unwrap_or(i64::MAX / 2)
    }

    /// A new entry; without `mtime` of now.
    pub fn node(&mut self, body: Body, mtime: Option<Timestamp>, mode: Option<Mode>) -> Node {
        let version = self.tick();
        self.last_id += 1;
        let default_mode = match body {
            Body::Folder => Some(Mode::new(0o755)),
            Body::File { .. } => Some(Mode::new(0o644)),
            Body::Link(_) | Body::Special => None,
        };
        Node {
            mtime: mtime.unwrap_or(Timestamp {
                secs: self.now(),
                nanos: 0,
            }),
            mode: default_mode
                .filter(|_| self.settings.modes)
                .map(|default| mode.unwrap_or(default)),
            version,
            id: FileId(self.last_id),
            unreadable: false,
            body,
        }
    }

    pub fn session(&mut self, run: &str) -> u64 {
        self.last_session += 1;
        self.live_sessions.insert(self.last_session, run.to_owned());
        self.last_session
    }

    pub fn find(&self, path: &SyncPath) -> Option<(&Key, &Node)> {
        self.nodes.get_key_value(self.names.get(&self.name(path))?)
    }

    pub fn node_mut(&mut self, path: &SyncPath) -> Option<&mut Node> {
        let key = self.names.get(&self.name(path))?;
        self.nodes.get_mut(key)
    }

    /// Puts `node` at `path`, which [`State::place`] gave.
    pub fn insert(&mut self, path: SyncPath, node: Node) {
        let key = Key {
            folder: node.body.kind() == Kind::Folder,
            path,
        };
        self.names.insert(self.name(&key.path), key.clone());
        self.nodes.insert(key, node);
    }

    /// Puts `node` at `path` and gives what was there. The folder stays, whatever the settings.
    pub fn swap(&mut self, path: SyncPath, node: Node) -> Option<Node> {
        let old = self.names.remove(&self.name(&path));
        let old = old.and_then(|key| self.nodes.remove(&key));
        self.insert(path, node);
        old
    }

    /// Takes what is at `path` out of the tree.
    pub fn take(&mut self, path: &SyncPath) -> Option<Node> {
        let key = self.names.remove(&self.name(path))?;
        let node = self.nodes.remove(&key);
        if !self.settings.empty_folders {
            self.prune(key.path.parent());
        }
        node
    }

    /// Moves the folder `from` with all that is in it to `to`, where nothing is.
    pub fn move_tree(&mut self, from: &SyncPath, to: &SyncPath) {
        let inside = self.nodes.keys().filter(|key| key.path.is_within(from));
        for key in inside.cloned().collect::<Vec<_>>() {
            let Some(node) = self.nodes.remove(&key) else {
                continue;
            };
            self.names.remove(&self.name(&key.path));
            if let Some(path) = key.path.moved(from, to) {
                self.insert(path, node);
            }
        }
    }

    fn prune(&mut self, mut folder: Option<SyncPath>) {
        while let Some(path) = folder.filter(|path| !path.is_root() && self.is_empty(path)) {
            self.names.remove(&self.name(&path));
            self.nodes.remove(&Key::folder(path.clone()));
            folder = path.parent();
        }
    }

    /// Whether folders are there by themselves.
    pub fn keeps_folders(&self) -> bool {
        self.settings.empty_folders
    }

    /// Whether the folder `path` holds nothing.
    pub fn is_empty(&self, path: &SyncPath) -> bool {
        use std::ops::Bound::{Excluded, Unbounded};
        let odd = self.odd_names.get(path).is_some_and(|all| !all.is_empty());
        let start = Key::folder(path.clone());
        let next = self.nodes.range((Excluded(start), Unbounded)).next();
        !odd && !next.is_some_and(|(key, _)| key.path.is_within(path))
    }

    /// Where a new entry at `path` goes: in its folder as that is spelled. Missing folders are made if `make`, or where they
    /// cannot be made by themselves.
    pub fn place(
        &mut self,
        operation: &'static str,
        path: &SyncPath,
        make: bool,
    ) -> Result<SyncPath> {
        let Some(parent) = path.parent() else {
            return Err(StorageError::new(
                ErrorKind::Unsupported,
                operation,
                "the root is no entry; name a path below it",
            ));
        };
        let no_parent = |reason: &str| StorageError::new(ErrorKind::NoParent, operation, reason);
        if parent.is_root() {
            return Ok(path.clone());
        }
        let found = self
            .find(&parent)
            .map(|(key, _)| (key.folder, key.path.clone()));
        let folder = match found {
            Some((true, folder)) => folder,
            Some((false, _)) => {
                return Err(no_parent("what should be its folder is no folder"));
            }
            None if make || !self.settings.empty_folders => {
                let folder = self.place(operation, &parent, make)?;
                let node = self.node(Body::Folder, None, None);
                self.insert(folder.clone(), node);
                folder
            }
            None => return Err(no_parent("its folder is missing; make it first")),
        };
        folder.join(path.name()).map_err(|error| {
            StorageError::new(ErrorKind::Unrepresentable, operation, error.to_string())
        })
    }

    pub fn token(&self, node: &Node) -> Token {
        match (&node.body, self.settings.changes_per_token) {
            (Body::Folder, _) => Token::new(""),
            (_, 0 | 1) => Token::new(format!("v{}", node.version)),
            (_, share) => Token::new(format!("t{}", node.version / share)),
        }
    }

    fn settled(&self, node: &Node) -> bool {
        let share = self.settings.changes_per_token;
        share <= 1
            || matches!(node.body, Body::Folder)
            || node.version / share < self.version / share
    }

    /// A folder that is only implied is nothing by itself that could be known again.
    fn file_id(&self, node: &Node) -> Option<FileId> {
        let is_implied = !self.settings.empty_folders && matches!(node.body, Body::Folder);
        (!is_implied).then_some(node.id)
    }

    pub fn meta(&self, node: &Node) -> Meta {
        Meta {
            kind: node.body.kind(),
            size: node.body.size(),
            mtime: Some(node.mtime),
            mode: node.mode,
            token: self.token(node),
            settled: self.settled(node),
            file_id: self.file_id(node),
            hash: None,
            link: match &node.body {
                Body::Link(target) => Some(target.clone()),
                _ => None,
            },
        }
    }

    pub fn published(&self, node: &Node) -> Published {
        Published {
            token: self.token(node),
            settled: self.settled(node),
            file_id: self.file_id(node),
            mode: node.mode,
            mtime: Some(node.mtime),
        }
    }

    /// Whether `node` is the version that is expected.
    pub fn is(&self, node: &Node, expected: &Expected) -> bool {
        let by_token = || {
            self.settled(node)
                && expected
                    .token
                    .as_ref()
                    .is_some_and(|t| *t == self.token(node))
        };
        match &node.body {
            Body::File { hash, .. } => {
                expected.kind == Kind::File && (by_token() || expected.hash == Some(*hash))
            }
            Body::Folder => expected.kind == Kind::Folder && by_token(),
            Body::Link(target) => {
                expected.kind == Kind::Link && expected.link.as_ref() == Some(target)
            }
            Body::Special => false,
        }
    }

    /// What is at `path` if it is the version that is expected.
    pub fn expect(
        &self,
        operation: &'static str,
        path: &SyncPath,
        expected: &Expected,
    ) -> Result<&Node> {
        match self.find(path) {
            None => Err(StorageError::new(
                ErrorKind::NotFound,
                operation,
                "nothing is there any more",
            )),
            Some((_, node)) if self.is(node, expected) => Ok(node),
            Some((_, node)) if operation == "remove" && planted(Bug::RemovalIsBlind) => Ok(node),
            Some(_) => Err(changed(operation, "what is there is not what was expected")),
        }
    }
}

/// A condition that does not hold; nothing was done.
pub(super) fn changed(operation: &'static str, what: &str) -> StorageError {
    StorageError::new(
        ErrorKind::Changed,
        operation,
        format!("{what}; nothing was changed"),
    )
}
