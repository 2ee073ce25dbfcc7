//! What a fake holds.

use std::collections::BTreeMap;

use bytes::Bytes;
use wl_core::model::{ContentHash, Kind, Mode, Timestamp};
use wl_core::storage::{ErrorKind, Noted};

use super::{FakeSettings, Sums, refuse};
use crate::remote::store::{Attributes, Condition, Found, Outcome};
use crate::remote::token;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Body {
    File(Bytes),
    Folder,
    Link(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) body: Body,
    pub(crate) version: u64,
    pub(crate) modified: Timestamp,
    pub(crate) mode: Mode,
    pub(crate) noted: Noted,
    pub(crate) operation: Option<Box<str>>,
}

#[derive(Debug)]
pub(crate) struct World {
    settings: FakeSettings,
    /// By path as the storage compares it; the root folder of trees has the empty path.
    nodes: BTreeMap<String, Node>,
    versions: u64,
    /// The hashes that were given: with the path and the tag of what came with them.
    sums: BTreeMap<String, (Box<str>, ContentHash)>,
}

impl World {
    pub(super) fn new(settings: FakeSettings) -> Self {
        let mut world = Self {
            settings,
            nodes: BTreeMap::new(),
            versions: 0,
            sums: BTreeMap::new(),
        };
        if !settings.facts.flat {
            world.insert("", Body::Folder, &Attributes::default());
        }
        world
    }

    pub(super) fn set_ahead(&mut self, seconds: i64) {
        self.settings.ahead = seconds;
    }

    fn key(&self, path: &str) -> String {
        match self.settings.facts.folds_case {
            true => path.to_lowercase(),
            false => path.to_owned(),
        }
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    pub(crate) fn node(&self, path: &str) -> Option<&Node> {
        self.nodes.get(&self.key(path))
    }

    /// Makes an entry, whatever was there.
    pub(crate) fn insert(&mut self, path: &str, body: Body, attributes: &Attributes) -> Found {
        let facts = self.settings.facts;
        self.versions += 1;
        let given = attributes
            .mtime
            .filter(|_| facts.mtime_resolution.is_some());
        let key = self.key(path);
        let folder = body == Body::Folder;
        let name = self
            .nodes
            .get(&key)
            .map_or(path.to_owned(), |old| old.name.clone());
        let node = Node {
            name,
            body,
            version: self.versions,
            modified: given.map_or_else(|| self.now(), |at| cut(at, facts.mtime_resolution)),
            mode: attributes
                .mode
                .unwrap_or(Mode::new(if folder { 0o755 } else { 0o644 })),
            noted: Noted {
                mtime: attributes.mtime.filter(|_| facts.notes),
                mode: attributes.mode.filter(|_| facts.notes),
            },
            operation: Some(attributes.operation.clone()).filter(|_| facts.notes),
        };
        let found = self.found(&node);
        self.nodes.insert(key, node);
        found
    }

    fn now(&self) -> Timestamp {
        let mut now = token::now();
        now.secs += self.settings.ahead;
        cut(now, Some(self.settings.facts.clock.max(1)))
    }

    pub(super) fn found(&self, node: &Node) -> Found {
        let (settings, facts) = (self.settings, self.settings.facts);
        let (kind, size, link) = match &node.body {
            Body::File(content) => (Kind::File, content.len() as u64, None),
            Body::Folder => (Kind::Folder, 0, None),
            Body::Link(target) => (Kind::Link, 0, Some(target.as_str().into())),
        };
        let tag = settings.tags && kind == Kind::File;
        Found {
            kind,
            size,
            tag: tag.then(|| format!("v{}", node.version).into()),
            modified: Some(node.modified),
            mode: Some(node.mode).filter(|_| facts.modes && kind != Kind::Link),
            link,
            file_id: None,
            noted: node.noted,
            operation: node.operation.clone(),
        }
    }

    pub(super) fn stat(&self, path: &str) -> Option<Found> {
        if let Some(node) = self.node(path) {
            return Some(self.found(node));
        }
        let prefix = if path.is_empty() {
            String::new()
        } else {
            format!("{path}/")
        };
        let below =
            self.settings.facts.flat && self.nodes.keys().any(|key| key.starts_with(&prefix));
        below.then(|| Found {
            kind: Kind::Folder,
            size: 0,
            tag: None,
            modified: None,
            mode: None,
            link: None,
            file_id: None,
            noted: Noted::default(),
            operation: None,
        })
    }

    /// Refuses if the folder is missing.
    pub(super) fn parent(&self, path: &str) -> Outcome<()> {
        let parent = path.rfind('/').map_or("", |at| &path[..at]);
        match self.node(parent) {
            _ if self.settings.facts.flat => Ok(()),
            Some(node) if node.body == Body::Folder => Ok(()),
            _ => Err(refuse(ErrorKind::NoParent)),
        }
    }

    /// Refuses if the condition is honoured and does not hold.
    pub(super) fn check(&self, path: &str, condition: &Condition, write: bool) -> Outcome<()> {
        let (there, honoured) = (self.node(path), self.settings.honoured);
        let holds = match condition {
            Condition::None => true,
            Condition::Absent => !honoured.create || there.is_none(),
            Condition::Is(_)
                if !(if write {
                    honoured.replace
                } else {
                    honoured.remove
                }) =>
            {
                true
            }
            Condition::Is(tag) => {
                there.is_some_and(|node| self.found(node).tag.as_ref() == Some(tag))
            }
        };
        match holds {
            true => Ok(()),
            false => Err(refuse(ErrorKind::Changed)),
        }
    }

    pub(super) fn put(
        &mut self,
        path: &str,
        body: Body,
        attributes: &Attributes,
        condition: &Condition,
    ) -> Outcome<Found> {
        self.parent(path)?;
        self.check(path, condition, true)?;
        if self
            .node(path)
            .is_some_and(|node| node.body == Body::Folder)
        {
            return Err(refuse(ErrorKind::Changed));
        }
        let found = self.insert(path, body, attributes);
        if let (true, Some(hash), Some(tag)) = (attributes.verify, attributes.hash, &found.tag) {
            self.sums.insert(self.key(path), (tag.clone(), hash));
        }
        Ok(found)
    }

    /// Refuses content with another hash, if it compares.
    pub(super) fn compare(&self, body: &Body, attributes: &Attributes) -> Outcome<()> {
        let compares = matches!(self.settings.sums, Sums::Kept | Sums::Stale);
        let hash = attributes.hash.filter(|_| compares && attributes.verify);
        match (body, hash) {
            (Body::File(content), Some(hash)) if ContentHash::of(content) != hash => {
                Err(refuse(ErrorKind::Other))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn sum(&self, path: &str, tag: &str) -> Option<ContentHash> {
        let (of, hash) = self.sums.get(&self.key(path))?;
        (self.settings.sums == Sums::Stale || **of == *tag).then_some(*hash)
    }

    pub(super) fn take(&mut self, path: &str) -> Option<Node> {
        let key = self.key(path);
        self.nodes.remove(&key)
    }

    /// Puts a node under another path; `same`: it keeps its version.
    pub(super) fn place(&mut self, path: &str, mut node: Node, same: bool) -> Found {
        node.name = path.to_owned();
        if !same {
            self.versions += 1;
            node.version = self.versions;
        }
        let found = self.found(&node);
        let key = self.key(path);
        self.nodes.insert(key, node);
        found
    }

    pub(super) fn chmod(&mut self, path: &str, mode: Mode) -> Outcome<Found> {
        let key = self.key(path);
        let node = self
            .nodes
            .get_mut(&key)
            .ok_or_else(|| refuse(ErrorKind::NotFound))?;
        node.mode = mode;
        let node = node.clone();
        Ok(self.found(&node))
    }

    pub(super) fn is_empty(&self, path: &str) -> bool {
        let prefix = format!("{}/", self.key(path));
        !self
            .nodes
            .keys()
            .any(|key| key.starts_with(&prefix) && *key != prefix)
    }

    /// As an editor: writes a file and makes the folders above.
    pub(crate) fn edit(&mut self, path: &str, content: &[u8]) {
        self.make_folders(path.rfind('/').map_or("", |at| &path[..at]));
        let body = Body::File(Bytes::copy_from_slice(content));
        self.insert(path, body, &Attributes::default());
    }

    pub(crate) fn make_folders(&mut self, path: &str) {
        if self.settings.facts.flat {
            return;
        }
        let ends = path
            .match_indices('/')
            .map(|(at, _)| at)
            .chain([path.len()]);
        for at in ends.collect::<Vec<_>>() {
            if self.node(&path[..at]).is_none() {
                self.insert(&path[..at], Body::Folder, &Attributes::default());
            }
        }
    }

    /// As an editor: removes what is there with all below.
    pub(crate) fn delete(&mut self, path: &str) {
        let (key, prefix) = (self.key(path), format!("{}/", self.key(path)));
        self.nodes
            .retain(|at, _| *at != key && !at.starts_with(&prefix));
    }

    pub(crate) fn content(&self, path: &str) -> Option<Vec<u8>> {
        match &self.node(path)?.body {
            Body::File(content) => Some(content.to_vec()),
            _ => None,
        }
    }
}

fn cut(at: Timestamp, resolution: Option<u64>) -> Timestamp {
    let step = resolution.unwrap_or(1).clamp(1, 1_000_000_000) as u32;
    Timestamp {
        nanos: at.nanos - at.nanos % step,
        ..at
    }
}
