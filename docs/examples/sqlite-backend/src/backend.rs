//! Looking, reading, and the trash.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, params};
use tokio_util::sync::CancellationToken;
use wl_core::model::{Key, Kind, Meta, SyncPath};
use wl_core::storage::{
    Capabilities, CasGrade, ContentReader, ErrorKind, Hashed, ListOrder, ListRequest, Listing,
    Noted, ReadRequest, Result, RootMarker, SessionOptions, SmallRead, StorageBackend,
    StorageError, TrashId, TrashItem, TrashState, WriteSession,
};

use crate::Draft;
use crate::file::{During as _, File, check_name};
use crate::listing::SqliteListing;
use crate::node::{COLUMNS, Node, changed, check_parent, find, make_parents, tick};
use crate::session::SqliteSession;

/// A tree in a SQLite file.
#[derive(Clone, Debug)]
pub struct SqliteBackend {
    pub(crate) file: Arc<File>,
}

pub(crate) const CAPABILITIES: Capabilities = Capabilities {
    cas: CasGrade::Atomic,
    list_order: ListOrder::Key,
    listing_proves_absence: true,
    empty_folders: true,
    links: true,
    modes: true,
    mtime_resolution: Some(1),
    rename: true,
    trash: true,
    folds_case: false,
    stages: false,
    writable: true,
};

impl SqliteBackend {
    /// Opens the file; with `makes` it is made if it is not there.
    pub fn open(path: &Path, makes: bool, draft: Draft) -> Result<Self> {
        let file = Arc::new(File::open(path, makes, draft)?);
        Ok(Self { file })
    }

    fn look<T>(
        &self,
        operation: &'static str,
        path: &SyncPath,
        work: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        let look = |on: &Connection| check_name(operation, path).and_then(|()| work(on));
        self.file
            .read(operation, look)
            .map_err(|error| error.at(path))
    }

    /// The version that a request means.
    fn version(&self, on: &Connection, request: &ReadRequest) -> Result<Node> {
        let gone = || StorageError::new(ErrorKind::NotFound, "read", "nothing is there any more");
        let node = find(on, &request.path)?.ok_or_else(gone)?;
        if node.kind() == Kind::File && node.token(self.file.draft) == request.meta.token {
            return Ok(node);
        }
        let reason = "the file is another version by now; look again later";
        Err(StorageError::new(ErrorKind::Busy, "read", reason))
    }

    fn read_one(&self, request: &ReadRequest) -> Result<SmallRead> {
        self.look("read", &request.path, |on| {
            let node = self.version(on, request)?;
            let content = Bytes::from(content(on, &node)?);
            let hash = node
                .hash
                .ok_or_else(|| changed("read", "what is there is no file"))?;
            let noted = Noted::default();
            Ok(SmallRead {
                content,
                hash,
                noted,
            })
        })
    }
}

/// A piece of a content.
fn piece(on: &Connection, content: Option<i64>, part: i64) -> Result<Option<Vec<u8>>> {
    let sql = "SELECT bytes FROM piece WHERE content = ?1 AND part = ?2";
    let piece = on.query_row(sql, params![content, part], |row| row.get(0));
    piece.optional().during("read")
}

/// A whole content.
pub(crate) fn content(on: &Connection, node: &Node) -> Result<Vec<u8>> {
    let mut whole = Vec::new();
    for part in 0.. {
        match piece(on, node.content, part)? {
            Some(piece) => whole.extend(piece),
            None => break,
        }
    }
    Ok(whole)
}

#[async_trait]
impl StorageBackend for SqliteBackend {
    fn type_name(&self) -> &'static str {
        "sqlite"
    }

    fn location(&self) -> &str {
        &self.file.location
    }

    fn identity(&self) -> &str {
        &self.file.location
    }

    async fn root_marker(&self) -> Result<RootMarker> {
        let name = |on: &Connection| {
            let name = on.query_row("SELECT name FROM about", [], |row| row.get(0));
            name.during("look at the root")
        };
        Ok(RootMarker {
            // Given once, when the file was made: another file in its place has another.
            folder: Some(self.file.read("look at the root", name)?),
            ..RootMarker::default()
        })
    }

    fn capabilities(&self) -> &Capabilities {
        &CAPABILITIES
    }

    async fn list(&self, request: ListRequest) -> Result<Box<dyn Listing>> {
        Ok(Box::new(SqliteListing::begin(&self.file, request)?))
    }

    async fn stat(&self, path: &SyncPath) -> Result<Option<Meta>> {
        let node = self.look("stat", path, |on| find(on, path))?;
        Ok(node.map(|node| node.meta(self.file.draft)))
    }

    async fn hash(&self, path: &SyncPath, cancel: &CancellationToken) -> Result<Hashed> {
        self.look("hash", path, |on| {
            if cancel.is_cancelled() {
                return Err(StorageError::new(
                    ErrorKind::Cancelled,
                    "hash",
                    "told to stop",
                ));
            }
            let nothing = || StorageError::new(ErrorKind::NotFound, "hash", "nothing is there");
            let node = find(on, path)?.ok_or_else(nothing)?;
            let hash = node
                .hash
                .ok_or_else(|| changed("hash", "what is there is no file"))?;
            let meta = node.meta(self.file.draft);
            Ok(Hashed { hash, meta })
        })
    }

    async fn read(&self, request: ReadRequest) -> Result<Box<dyn ContentReader>> {
        let node = self.look("read", &request.path, |on| self.version(on, &request))?;
        Ok(Box::new(Reader {
            backend: self.clone(),
            request,
            content: node.content,
            part: 0,
        }))
    }

    async fn read_small(&self, requests: Vec<ReadRequest>) -> Vec<Result<SmallRead>> {
        requests
            .iter()
            .map(|request| self.read_one(request))
            .collect()
    }

    async fn begin(&self, options: SessionOptions) -> Result<Arc<dyn WriteSession>> {
        Ok(Arc::new(SqliteSession::begin(&self.file, options)?))
    }

    async fn trash_list(&self) -> Result<Vec<TrashItem>> {
        self.file.read("list the trash", |on| {
            let sql = format!(
                "SELECT number, session, state, since, {COLUMNS} FROM trash ORDER BY number"
            );
            let mut select = on.prepare(&sql).during("list the trash")?;
            let items = select.query_map([], |row| {
                let node = Node::from_row(row)?;
                let state: String = row.get("state")?;
                let (session, number): (i64, i64) = (row.get("session")?, row.get("number")?);
                Ok(TrashItem {
                    id: TrashId(format!("{session}/{number}")),
                    path: node.path().ok(),
                    kind: Some(node.kind()),
                    state: match &*state {
                        "replaced" => TrashState::Replaced,
                        _ => TrashState::Removed,
                    },
                    size: node.size.cast_unsigned(),
                    hash: node.hash,
                    since: row.get("since")?,
                })
            });
            let items = items.and_then(Iterator::collect);
            items.during("list the trash")
        })
    }

    async fn trash_claimed(&self) -> Result<Vec<TrashItem>> {
        // A version comes here only by a change that named it.
        Ok(Vec::new())
    }

    async fn trash_restore(&self, id: &TrashId, to: &SyncPath) -> Result<()> {
        let restore = |on: &Connection| {
            check_name("restore", to)?;
            let sql = format!("SELECT {COLUMNS} FROM trash WHERE session || '/' || number = ?1");
            let found = on
                .query_row(&sql, [&id.0], Node::from_row)
                .optional()
                .during("restore")?;
            let node = found.ok_or_else(|| {
                let reason = format!("the trash has no `{id}`; list the trash to see what it has");
                StorageError::new(ErrorKind::NotFound, "restore", reason)
            })?;
            if find(on, to)?.is_some() {
                return Err(changed("restore", "something is there"));
            }
            make_parents(on, to)?;
            check_parent(on, "restore", to)?;
            let key = Key::file(to.clone()).to_text();
            let version = tick(on)?;
            Node {
                key,
                version,
                ..node
            }
            .put(on)?;
            let forget = "DELETE FROM trash WHERE session || '/' || number = ?1";
            on.execute(forget, [&id.0]).during("restore").map(drop)
        };
        let done = self.file.write("restore", |tx| restore(tx));
        done.map_err(|error| error.at(to))
    }
}

/// Gives a version in pieces.
struct Reader {
    backend: SqliteBackend,
    request: ReadRequest,
    content: Option<i64>,
    part: i64,
}

#[async_trait]
impl ContentReader for Reader {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let (content, part) = (self.content, self.part);
        self.part += 1;
        let path = &self.request.path;
        self.backend
            .look("read", path, |on| match piece(on, content, part)? {
                Some(piece) if !piece.is_empty() => Ok(Some(piece.into())),
                // It is the end of what was asked for, if that is still there.
                _ => self.backend.version(on, &self.request).map(|_| None),
            })
    }
}
