//! Listings: ranges of the table, in the order of its keys, all as they were when the listing began.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, params};
use wl_core::model::{Key, SyncPath};
use wl_core::storage::{ErrorKind, ListRequest, Listing, Result, Row, Scope, StorageError};

use crate::file::{During as _, File, check_name};
use crate::node::{COLUMNS, Node, find};

const BATCH: usize = 1000;

/// What is still to be told: one row that is known, or a range of keys.
enum Part {
    Row(Row),
    Keys { from: String, to: Option<String> },
}

impl Part {
    fn everything() -> Self {
        Self::Keys {
            from: String::new(),
            to: None,
        }
    }
}

pub(crate) struct SqliteListing {
    snapshot: Connection,
    file: Arc<File>,
    request: ListRequest,
    parts: VecDeque<Part>,
    /// The folder that was left out last: what is in it is left out with it.
    closed: Option<SyncPath>,
}

impl SqliteListing {
    pub fn begin(file: &Arc<File>, request: ListRequest) -> Result<Self> {
        let mut this = Self {
            snapshot: file.snapshot("list")?,
            file: Arc::clone(file),
            parts: VecDeque::new(),
            closed: None,
            request,
        };
        let parts = this.parts().map_err(|error| error.on(&file.location))?;
        this.parts = parts.into();
        Ok(this)
    }

    fn parts(&self) -> Result<Vec<Part>> {
        let whole = match self.request.scope {
            Scope::Everything => {
                return Ok(vec![Part::everything()]);
            }
            Scope::Subtrees(_) => true,
            Scope::Paths(_) => false,
        };
        let mut parts = Vec::new();
        for path in self.request.scope.named() {
            check_name("list", path)?;
            if whole && path.is_root() {
                parts.push((String::new(), Part::everything()));
                continue;
            }
            let found = find(&self.snapshot, path)?;
            let folder = found.as_ref().is_some_and(|node| node.key.ends_with('/'));
            let key = Key {
                path: path.clone(),
                folder,
            };
            let row = match found {
                _ if self.is_hidden(path) || self.excludes(&key) => Row::Excluded(key.clone()),
                Some(node) if folder && whole => {
                    // `0` comes after `/`: all keys below the folder lie between.
                    let to = Some(format!("{}0", path.as_str()));
                    parts.push((node.key.clone(), Part::Keys { from: node.key, to }));
                    continue;
                }
                Some(node) => Row::Present(node.entry(self.file.draft)?),
                None => Row::Absent(path.clone()),
            };
            parts.push((key.to_text(), Part::Row(row)));
        }
        parts.sort_by(|one, two| one.0.cmp(&two.0));
        Ok(parts.into_iter().map(|(_, part)| part).collect())
    }

    fn excludes(&self, key: &Key) -> bool {
        self.request.filter.excludes(&key.path, key.folder)
    }

    /// Whether a folder above is left out.
    fn is_hidden(&self, path: &SyncPath) -> bool {
        let mut folders = path.ancestors();
        folders.any(|folder| self.request.filter.excludes(&folder, true))
    }

    fn row(&mut self, node: &Node) -> Result<Option<Row>> {
        let entry = node.entry(self.file.draft)?;
        if self
            .closed
            .as_ref()
            .is_some_and(|folder| entry.path.is_within(folder))
        {
            return Ok(None);
        }
        let key = entry.key();
        if self.excludes(&key) {
            self.closed = Some(key.path.clone()).filter(|_| key.folder);
            return Ok(Some(Row::Excluded(key)));
        }
        Ok(Some(Row::Present(entry)))
    }

    /// The next rows of the first part.
    fn batch(&mut self, rows: &mut Vec<Row>) -> Result<()> {
        let (from, to) = match self.parts.pop_front() {
            Some(Part::Keys { from, to }) => (from, to),
            Some(Part::Row(row)) => {
                rows.push(row);
                return Ok(());
            }
            None => return Ok(()),
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM entry WHERE key >= ?1 AND (?2 IS NULL OR key < ?2) ORDER BY key LIMIT {BATCH}"
        );
        let select = || {
            let mut select = self.snapshot.prepare_cached(&sql)?;
            let nodes = select.query_map(params![from, to], Node::from_row)?;
            nodes.collect::<rusqlite::Result<Vec<_>>>()
        };
        let nodes = select().during("list")?;
        if let Some(last) = nodes.last().filter(|_| nodes.len() == BATCH) {
            // The least text that is larger.
            let from = format!("{}\0", last.key);
            self.parts.push_front(Part::Keys { from, to });
        }
        for node in &nodes {
            rows.extend(self.row(node)?);
        }
        Ok(())
    }
}

#[async_trait]
impl Listing for SqliteListing {
    async fn next(&mut self) -> Result<Option<Vec<Row>>> {
        let mut rows = Vec::new();
        while rows.is_empty() && !self.parts.is_empty() {
            if self.request.cancel.is_cancelled() {
                let stop = StorageError::new(ErrorKind::Cancelled, "list", "told to stop");
                return Err(stop.on(&self.file.location));
            }
            let batch = self.batch(&mut rows);
            batch.map_err(|error| error.on(&self.file.location))?;
            if let Some(after) = &self.request.start_after {
                rows.retain(|row| row.key() > *after);
            }
        }
        Ok(Some(rows).filter(|rows| !rows.is_empty()))
    }
}
