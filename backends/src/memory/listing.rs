//! Listings: the rows as they are when the listing starts, handed out in batches.

use std::ops::Bound::{Included, Unbounded};
use std::sync::Arc;
use std::vec;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use wl_core::model::{Entry, Key, SyncPath};
use wl_core::storage::{ErrorKind, ListRequest, Listing, Result, Row, Scope, StorageError};

use super::state::{Body, Node, State};
use super::store::Store;

const BATCH: usize = 1000;

pub(super) struct MemoryListing {
    rows: vec::IntoIter<Row>,
    cancel: CancellationToken,
    store: Arc<Store>,
}

impl MemoryListing {
    pub fn start(store: &Arc<Store>, request: &ListRequest) -> Result<Self> {
        check_cancel("list", &request.cancel).map_err(|error| error.on(&store.location))?;
        for path in request.scope.named() {
            store.at("list", path, |_| Ok(()))?;
        }
        let rows = store.with("list", |state| Ok(rows(state, request)))?;
        Ok(Self {
            rows: rows.into_iter(),
            cancel: request.cancel.clone(),
            store: Arc::clone(store),
        })
    }
}

#[async_trait]
impl Listing for MemoryListing {
    async fn next(&mut self) -> Result<Option<Vec<Row>>> {
        self.store
            .with("list", |_| check_cancel("list", &self.cancel))?;
        let batch: Vec<_> = self.rows.by_ref().take(BATCH).collect();
        Ok(Some(batch).filter(|batch| !batch.is_empty()))
    }
}

/// An error if the run was told to stop.
pub(super) fn check_cancel(operation: &'static str, cancel: &CancellationToken) -> Result<()> {
    if cancel.is_cancelled() {
        return Err(StorageError::new(
            ErrorKind::Cancelled,
            operation,
            "told to stop",
        ));
    }
    Ok(())
}

fn rows(state: &State, request: &ListRequest) -> Vec<Row> {
    let mut walk = Walk {
        state,
        request,
        rows: Vec::new(),
    };
    match &request.scope {
        Scope::Everything => walk.below(&SyncPath::root()),
        Scope::Subtrees(paths) => {
            let mut starts: Vec<_> = paths.iter().map(|path| walk.start_of(path)).collect();
            starts.sort();
            starts.iter().for_each(|key| walk.subtree(key));
        }
        Scope::Paths(paths) => {
            let mut keys: Vec<_> = paths.iter().map(|path| walk.start_of(path)).collect();
            keys.sort();
            keys.iter().for_each(|key| walk.alone(key));
        }
    }
    let mut rows = walk.rows;
    if let Some(after) = &request.start_after {
        rows.retain(|row| row.key() > *after && !is_in_root(row));
    }
    rows
}

/// An unrepresentable name in the root comes before all other rows, whatever its key.
fn is_in_root(row: &Row) -> bool {
    matches!(row, Row::Unrepresentable { parent, .. } if parent.is_root())
}

struct Walk<'a> {
    state: &'a State,
    request: &'a ListRequest,
    rows: Vec<Row>,
}

impl Walk<'_> {
    fn excludes(&self, key: &Key) -> bool {
        self.request.filter.excludes(&key.path, key.folder)
    }

    fn start_of(&self, path: &SyncPath) -> Key {
        match self.state.find(path) {
            Some((key, _)) => key.clone(),
            None => Key::file(path.clone()),
        }
    }

    fn subtree(&mut self, start: &Key) {
        let hidden = self.is_hidden(start);
        if start.path.is_root() || (start.folder && !hidden) {
            self.below(&start.path);
        } else {
            self.row(start, hidden);
        }
    }

    /// What is at `key` itself.
    fn alone(&mut self, key: &Key) {
        match self.state.nodes.get(key) {
            Some(node) if key.folder && !self.is_hidden(key) && !self.excludes(key) => {
                self.rows.push(Row::Present(Entry {
                    path: key.path.clone(),
                    meta: self.state.meta(node),
                }));
            }
            _ => self.row(key, self.is_hidden(key)),
        }
    }

    /// Whether a folder above is left out.
    fn is_hidden(&self, key: &Key) -> bool {
        let filter = &self.request.filter;
        key.path
            .ancestors()
            .any(|folder| filter.excludes(&folder, true))
    }

    fn row(&mut self, key: &Key, hidden: bool) {
        if hidden {
            self.rows.push(Row::Excluded(key.clone()));
        } else if let Some(node) = self.state.nodes.get(key) {
            self.entry(key, node);
        } else {
            self.rows.push(Row::Absent(key.path.clone()));
        }
    }

    /// The folder `top` and all below it.
    fn below(&mut self, top: &SyncPath) {
        let start = if top.is_root() {
            self.odd_names(top);
            Unbounded
        } else {
            Included(Key::folder(top.clone()))
        };
        let state = self.state;
        let mut closed: Option<&SyncPath> = None;
        for (key, node) in state.nodes.range((start, Unbounded)) {
            if !key.path.is_within(top) {
                break;
            }
            if closed.is_some_and(|folder| key.path.is_within(folder)) {
                continue;
            }
            if !self.entry(key, node) {
                closed = Some(&key.path);
            }
        }
    }

    /// One entry's rows; whether what is in it is to be listed.
    fn entry(&mut self, key: &Key, node: &Node) -> bool {
        if self.excludes(key) {
            self.rows.push(Row::Excluded(key.clone()));
            return false;
        }
        if matches!(node.body, Body::Special) {
            self.rows.push(Row::Skipped(key.path.clone()));
            return true;
        }
        if key.folder || !node.unreadable {
            self.rows.push(Row::Present(Entry {
                path: key.path.clone(),
                meta: self.state.meta(node),
            }));
        }
        if node.unreadable {
            self.rows.push(Row::Unknown {
                path: key.path.clone(),
                subtree: key.folder,
                error: denied("list").at(&key.path),
            });
            return false;
        }
        if key.folder {
            self.odd_names(&key.path);
        }
        true
    }

    fn odd_names(&mut self, parent: &SyncPath) {
        for name in self.state.odd_names.get(parent).into_iter().flatten() {
            self.rows.push(Row::Unrepresentable {
                parent: parent.clone(),
                name: name.clone(),
                reason: "the name is no path part; rename it".to_owned(),
            });
        }
    }
}

/// The error of an unreadable entry.
pub(super) fn denied(operation: &'static str) -> StorageError {
    StorageError::new(
        ErrorKind::Denied,
        operation,
        "permission denied; make it readable",
    )
}
