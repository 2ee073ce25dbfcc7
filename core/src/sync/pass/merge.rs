//! Three sorted streams become one: source ⨝ baseline ⨝ target.

use std::collections::VecDeque;
use std::sync::Arc;

use super::agreed::Agreed;
use super::context::Context;
use super::ground::Stretch;
use super::node::{Found, Node};
use crate::filter::MaxSize;
use crate::model::{Key, Kind, Meta, Side, Sides, SyncPath};
use crate::planted::{Bug, planted};
use crate::state::BaselineRow;
use crate::storage::{ErrorKind, Listing, Row, StorageError};
use crate::sync::SyncError;
use crate::sync::groups::companion_keys;

/// Something that is no row of its own, told when its place in the order is reached.
#[derive(Debug)]
pub(super) enum Remark {
    /// The inside of this folder is unknown on this side.
    UnknownInside(Side, SyncPath, StorageError),
    /// What is at this path is unknown on this side.
    UnknownAt(Side, StorageError),
    /// The folder holds a name that cannot be synced.
    Unrepresentable(Side, SyncPath, String, String),
    /// A special file.
    Skipped,
    /// The side's listing was cut short: from here on it is unknown.
    CutShort(Side, StorageError),
}

/// One side's listing.
struct Cursor {
    side: Side,
    listing: Box<dyn Listing>,
    rows: VecDeque<Row>,
    ended: bool,
    failed: bool,
    last: Option<Key>,
}

impl Cursor {
    /// Makes sure that the next row is there, and takes out the remarks before it.
    async fn fill(&mut self, remarks: &mut Vec<Remark>) {
        loop {
            match self.rows.front() {
                Some(Row::Unrepresentable { .. } | Row::Unknown { subtree: true, .. }) => {
                    match self.rows.pop_front() {
                        // Nothing at all is known of this side.
                        Some(Row::Unknown { path, error, .. }) if path.is_root() => {
                            self.fail(error, remarks);
                        }
                        row => remarks.extend(row.and_then(|row| self.remark(row))),
                    }
                }
                Some(_) => return,
                None if self.ended => return,
                None => match self.listing.next().await {
                    Ok(Some(rows)) => {
                        self.rows = rows.into();
                        if planted(Bug::LastRowIsDropped) {
                            self.rows.pop_back();
                        }
                    }
                    Ok(None) => self.ended = true,
                    Err(_) if planted(Bug::BrokenListingIsWhole) => self.ended = true,
                    Err(error) => self.fail(error, remarks),
                },
            }
        }
    }

    fn fail(&mut self, error: StorageError, remarks: &mut Vec<Remark>) {
        self.ended = true;
        self.failed = true;
        self.rows.clear();
        remarks.push(Remark::CutShort(self.side, error));
    }

    fn remark(&self, row: Row) -> Option<Remark> {
        match row {
            Row::Unrepresentable {
                parent,
                name,
                reason,
            } => Some(Remark::Unrepresentable(self.side, parent, name, reason)),
            Row::Unknown { path, error, .. } => Some(Remark::UnknownInside(self.side, path, error)),
            _ => None,
        }
    }

    fn key(&self) -> Option<Key> {
        self.rows.front().map(Row::key)
    }

    /// Takes the row at `key`, if this side has one.
    fn take(&mut self, key: &Key, remarks: &mut Vec<Remark>) -> Option<Found> {
        if self.rows.front().is_none_or(|row| row.key() != *key) {
            return None;
        }
        if self.last.as_ref().is_some_and(|last| last >= key) {
            let error = StorageError::new(
                ErrorKind::Other,
                "list",
                format!(
                    "the listing is out of order at {}; report this as a bug",
                    key.path
                ),
            );
            self.fail(error, remarks);
            return None;
        }
        self.last = Some(key.clone());
        Some(match self.rows.pop_front()? {
            Row::Present(entry) => Found::There(entry.meta),
            Row::Absent(_) | Row::Unrepresentable { .. } => Found::Absent,
            Row::Excluded(_) => Found::LeftAlone,
            Row::Skipped(_) => {
                remarks.push(Remark::Skipped);
                Found::Special
            }
            Row::Unknown { error, .. } => {
                remarks.push(Remark::UnknownAt(self.side, error));
                Found::Unknown
            }
        })
    }
}

/// The joined stream.
pub(super) struct Merge {
    cursors: Sides<Cursor>,
    context: Arc<Context>,
    baseline: Agreed,
    /// Files and links whose folder of the same name may still come; each is a prefix of the next.
    waiting: Vec<Node>,
    ready: VecDeque<Node>,
    remarks: Vec<Remark>,
    checksum: bool,
    max_size: Option<MaxSize>,
}

impl Merge {
    pub(super) fn new(
        context: Arc<Context>,
        listings: Sides<Box<dyn Listing>>,
        baseline: Vec<Stretch>,
    ) -> Self {
        let Sides { source, target } = listings;
        let cursor = |side, listing| Cursor {
            side,
            listing,
            rows: VecDeque::new(),
            ended: false,
            failed: false,
            last: None,
        };
        let checksum = context.job.options.checksum;
        let max_size = context.job.options.exclude.max_size;
        Self {
            cursors: Sides::new(cursor(Side::Source, source), cursor(Side::Target, target)),
            context,
            baseline: Agreed::new(baseline),
            waiting: Vec::new(),
            ready: VecDeque::new(),
            remarks: Vec::new(),
            checksum,
            max_size,
        }
    }

    /// Whether a side lists nothing at all; to be asked before the first node is taken.
    pub(super) async fn lists_nothing(&mut self) -> Sides<bool> {
        self.fill().await;
        Sides::from_fn(|side| self.cursors[side].rows.is_empty() && !self.cursors[side].failed)
    }

    /// The remarks whose place was reached since the last call.
    pub(super) fn take_remarks(&mut self) -> Vec<Remark> {
        std::mem::take(&mut self.remarks)
    }

    /// Whether `path` is still to come, and is or was a file or link and no folder.
    pub(super) fn is_coming(&self, path: &SyncPath) -> bool {
        let mut coming = self.waiting.iter().chain(&self.ready);
        let node = coming.find(|node| node.path == *path);
        node.is_some_and(|node| {
            let folder = Side::BOTH.iter().any(|&side| node.found[side].is_folder());
            !folder && node.kinds().any(|kind| kind != Kind::Folder)
        })
    }

    /// Whether a side's listing was cut short before it could show what lies beside this file.
    pub(super) fn hides_companions_of(&self, node: &Node) -> bool {
        Side::BOTH.iter().any(|&side| {
            let cursor = &self.cursors[side];
            let is_past = |last: &Key| last.to_text() >= companion_keys(&node.path).1;
            let meta = node.found[side].meta();
            // This is asked of every path: the names are made only where it matters.
            cursor.failed
                && meta.is_some_and(|meta| meta.kind == Kind::File)
                && !cursor.last.as_ref().is_some_and(is_past)
        })
    }

    async fn fill(&mut self) {
        let Sides { source, target } = &mut self.cursors;
        let mut later = Vec::new();
        tokio::join!(source.fill(&mut self.remarks), target.fill(&mut later));
        self.remarks.append(&mut later);
    }

    /// The next path. A folder comes before what it holds; a file may come after names that sort between it and a folder of its
    /// name. Remarks that came up on the way concern the time before this node.
    pub(super) async fn next(&mut self) -> Result<Option<Node>, SyncError> {
        while self.ready.is_empty() {
            self.fill().await;
            let agreed = self.baseline.peek(&self.context)?.map(BaselineRow::key);
            let keys = [self.cursors.source.key(), self.cursors.target.key(), agreed];
            let Some(key) = keys.into_iter().flatten().min() else {
                // A prefix waits below what it is a prefix of: the last is the innermost.
                self.ready.extend(self.waiting.drain(..).rev());
                break;
            };
            self.release_before(&key);
            let node = self.join(key);
            self.ready.extend(node);
        }
        let mut node = self.ready.pop_front();
        if let Some(node) = &mut node {
            self.leave_out_large(node);
        }
        Ok(node)
    }

    /// A file that is too large is left alone as if it were excluded. What the other side holds at its path then waits too.
    fn leave_out_large(&self, node: &mut Node) {
        for side in Side::BOTH {
            if node.found[side]
                .meta()
                .is_some_and(|meta| is_too_large(self.max_size, meta))
            {
                node.found[side] = Found::LeftAlone;
                node.large = true;
            }
        }
    }

    /// Lets go of the waiting nodes whose folder can no longer come.
    fn release_before(&mut self, key: &Key) {
        while self
            .waiting
            .last()
            .is_some_and(|node| Key::folder(node.path.clone()) < *key)
        {
            self.ready.extend(self.waiting.pop());
        }
    }

    fn join(&mut self, key: Key) -> Option<Node> {
        let waited = key.folder
            && self
                .waiting
                .last()
                .is_some_and(|node| node.path == key.path);
        let mut node = match if waited { self.waiting.pop() } else { None } {
            Some(node) => node,
            None => {
                let mut node = Node::new(key.path.clone(), self.checksum);
                node.announced = self.context.announced_at(&key.path);
                node
            }
        };
        for side in Side::BOTH {
            let cursor = &mut self.cursors[side];
            match cursor.take(&key, &mut self.remarks) {
                // A storage that has both a file and a folder of one name cannot be told on a file tree.
                Some(_) if !matches!(node.found[side], Found::Absent) => {
                    self.remarks
                        .push(Remark::UnknownAt(side, both_at(&key.path)));
                    node.found[side] = Found::Unknown;
                }
                Some(found) => node.found[side] = found,
                None if cursor.failed && matches!(node.found[side], Found::Absent) => {
                    node.found[side] = Found::Unknown;
                }
                None => {}
            }
        }
        if self.baseline.is_at(&key) {
            node.base = self.baseline.take();
        }
        if key.folder {
            return Some(node);
        }
        self.waiting.push(node);
        None
    }
}

/// Whether it is a file that is larger than what is synced.
pub(super) fn is_too_large(max_size: Option<MaxSize>, meta: &Meta) -> bool {
    meta.kind == Kind::File && max_size.is_some_and(|max| meta.size > max.0)
}

fn both_at(path: &SyncPath) -> StorageError {
    StorageError::new(
        ErrorKind::Unrepresentable,
        "list",
        "both a file and a folder have this name; rename one of them",
    )
    .at(path)
}
