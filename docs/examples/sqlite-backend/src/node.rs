//! Entries as rows: how they are found, compared and changed.

use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use wl_core::model::{
    ContentHash, Entry, FileId, Key, Kind, Meta, Mode, SyncPath, Timestamp, Token,
};
use wl_core::storage::{ErrorKind, Expected, Published, Result, StorageError, TrashState};

use crate::Draft;
use crate::file::During as _;

/// The columns that entries and trash have in common.
pub(crate) const COLUMNS: &str = "key, id, version, size, hash, link, secs, nanos, mode, content";

/// A row.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The path, with `/` after a folder.
    pub key: String,
    pub id: i64,
    /// The change that made it what it is.
    pub version: i64,
    pub size: i64,
    pub hash: Option<ContentHash>,
    pub link: Option<Box<str>>,
    pub mtime: Timestamp,
    pub mode: Option<Mode>,
    /// Its pieces.
    pub content: Option<i64>,
}

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp {
        secs: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: since.subsec_nanos(),
    }
}

/// The condition does not hold; nothing was done.
pub(crate) fn changed(operation: &'static str, what: &str) -> StorageError {
    StorageError::new(
        ErrorKind::Changed,
        operation,
        format!("{what}; nothing was changed"),
    )
}

impl Node {
    pub fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let hash: Option<[u8; 32]> = row.get("hash")?;
        Ok(Self {
            key: row.get("key")?,
            id: row.get("id")?,
            version: row.get("version")?,
            size: row.get("size")?,
            hash: hash.map(ContentHash::from_bytes),
            link: row.get::<_, Option<String>>("link")?.map(Into::into),
            mtime: Timestamp {
                secs: row.get("secs")?,
                nanos: row.get("nanos")?,
            },
            mode: row.get::<_, Option<u32>>("mode")?.map(Mode::new),
            content: row.get("content")?,
        })
    }

    pub fn kind(&self) -> Kind {
        match self.link {
            Some(_) => Kind::Link,
            None if self.key.ends_with('/') => Kind::Folder,
            None => Kind::File,
        }
    }

    pub fn path(&self) -> Result<SyncPath> {
        let path = SyncPath::new(self.key.trim_end_matches('/'));
        path.map_err(|error| StorageError::new(ErrorKind::Other, "list", error.to_string()))
    }

    pub fn token(&self, draft: Draft) -> Token {
        match (self.kind(), draft) {
            (Kind::Folder, _) => Token::new(""),
            (_, Draft::First) => Token::new(format!("{}-{}", self.size, self.mtime.secs)),
            (_, Draft::Second | Draft::Mended) => Token::new(self.version.to_string()),
        }
    }

    pub fn meta(&self, draft: Draft) -> Meta {
        Meta {
            kind: self.kind(),
            size: self.size.cast_unsigned(),
            mtime: Some(self.mtime),
            mode: self.mode,
            token: self.token(draft),
            settled: true,
            file_id: Some(FileId(self.id.cast_unsigned())),
            hash: self.hash,
            link: self.link.clone(),
        }
    }

    pub fn entry(&self, draft: Draft) -> Result<Entry> {
        let (path, meta) = (self.path()?, self.meta(draft));
        Ok(Entry { path, meta })
    }

    pub fn published(&self, draft: Draft) -> Published {
        Published {
            token: self.token(draft),
            settled: true,
            file_id: Some(FileId(self.id.cast_unsigned())),
            mode: self.mode,
            mtime: Some(self.mtime),
        }
    }

    /// Whether this is the version that is expected.
    pub fn is(&self, expected: &Expected, draft: Draft) -> bool {
        let by_token = expected.token.as_ref() == Some(&self.token(draft));
        let by_hash = self.hash.is_some() && expected.hash == self.hash;
        expected.kind == self.kind()
            && match self.kind() {
                Kind::Link => expected.link == self.link,
                Kind::Folder => by_token,
                Kind::File => by_token || by_hash,
            }
    }

    /// Writes the row: a new one, or in place of the one with its key.
    pub fn put(&self, to: &Connection) -> Result<()> {
        let sql = format!(
            "INSERT OR REPLACE INTO entry ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
        );
        let hash = self.hash.map(|hash| *hash.as_bytes());
        let (mode, link) = (self.mode.map(Mode::bits), self.link.as_deref());
        let Timestamp { secs, nanos } = self.mtime;
        let row = params![
            self.key,
            self.id,
            self.version,
            self.size,
            hash,
            link,
            secs,
            nanos,
            mode,
            self.content
        ];
        to.prepare_cached(&sql)
            .and_then(|mut put| put.execute(row))
            .during("write")
            .map(drop)
    }

    /// Takes the row away.
    pub fn take(&self, from: &Connection) -> Result<()> {
        from.execute("DELETE FROM entry WHERE key = ?1", [&self.key])
            .during("remove")
            .map(drop)
    }

    /// Puts what the row says into the trash. Its pieces go with it.
    pub fn to_trash(&self, of: &Connection, session: i64, state: TrashState) -> Result<()> {
        let state = match state {
            TrashState::Replaced => "replaced",
            _ => "removed",
        };
        let sql = format!(
            "INSERT INTO trash (session, state, since, {COLUMNS}) SELECT ?1, ?2, ?3, {COLUMNS} FROM entry WHERE key = ?4"
        );
        let row = params![session, state, now().secs, self.key];
        of.execute(&sql, row).during("trash").map(drop)
    }
}

/// The next of the numbers that stand for versions, ids, contents and sessions.
pub(crate) fn tick(on: &Connection) -> Result<i64> {
    let next = "UPDATE about SET counter = counter + 1 RETURNING counter";
    on.query_row(next, [], |row| row.get(0)).during("count")
}

/// What is at a path.
pub(crate) fn find(on: &Connection, path: &SyncPath) -> Result<Option<Node>> {
    let sql = format!("SELECT {COLUMNS} FROM entry WHERE key IN (?1, ?1 || '/')");
    let look = on
        .prepare_cached(&sql)
        .and_then(|mut find| find.query_row([path.as_str()], Node::from_row).optional());
    look.during("look")
}

/// What is at a path if it is the version that is expected.
pub(crate) fn find_expected(
    on: &Connection,
    operation: &'static str,
    path: &SyncPath,
    expected: &Expected,
    draft: Draft,
) -> Result<Node> {
    match find(on, path)? {
        Some(node) if node.is(expected, draft) => Ok(node),
        Some(_) => Err(changed(operation, "what is there is not what was expected")),
        None => Err(StorageError::new(
            ErrorKind::NotFound,
            operation,
            "nothing is there any more",
        )),
    }
}

/// An error if the folder of a path is missing, or is none.
pub(crate) fn check_parent(
    on: &Connection,
    operation: &'static str,
    path: &SyncPath,
) -> Result<()> {
    let reason = match path.parent() {
        None => "the root is no entry; name a path below it",
        Some(parent) if parent.is_root() => return Ok(()),
        Some(parent) => match find(on, &parent)?.map(|node| node.kind()) {
            Some(Kind::Folder) => return Ok(()),
            Some(_) => "what should be its folder is no folder",
            None => "its folder is missing; make it first",
        },
    };
    Err(StorageError::new(ErrorKind::NoParent, operation, reason))
}

/// A new folder.
pub(crate) fn make_folder(on: &Connection, path: &SyncPath, mode: Option<Mode>) -> Result<Node> {
    let folder = Node {
        key: Key::folder(path.clone()).to_text(),
        id: tick(on)?,
        version: tick(on)?,
        size: 0,
        hash: None,
        link: None,
        mtime: now(),
        mode: Some(Mode::new(mode.map_or(0o755, Mode::bits) | 0o700)),
        content: None,
    };
    folder.put(on)?;
    Ok(folder)
}

/// The folders above a path, as far as they are missing.
pub(crate) fn make_parents(on: &Connection, path: &SyncPath) -> Result<()> {
    for folder in path.ancestors() {
        if find(on, &folder)?.is_none() {
            check_parent(on, "make folder", &folder)?;
            make_folder(on, &folder, None)?;
        }
    }
    Ok(())
}
