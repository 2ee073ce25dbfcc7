//! What programs do that keep their files here: without conditions, and without a trash.

use rusqlite::Connection;
use wl_core::model::{ContentHash, Key, Mode, SyncPath};
use wl_core::storage::{ErrorKind, Result, StorageError};

use crate::SqliteBackend;
use crate::backend::content;
use crate::file::During as _;
use crate::node::{Node, check_parent, find, make_folder, make_parents, now, tick};

impl SqliteBackend {
    fn edit<T>(
        &self,
        path: &str,
        work: impl FnOnce(&Connection, &SyncPath) -> Result<T>,
    ) -> Result<T> {
        let path = SyncPath::new(path).map_err(|error| {
            StorageError::new(ErrorKind::Unrepresentable, "edit", error.to_string())
        })?;
        self.file.write("edit", |tx| work(tx, &path))
    }

    fn put(&self, path: &str, link: Option<&str>, bytes: &[u8]) -> Result<()> {
        self.edit(path, |on, path| {
            make_parents(on, path)?;
            check_parent(on, "edit", path)?;
            // A version that nobody can want back any more: this is no change of wl's.
            let old =
                "DELETE FROM piece WHERE content = (SELECT content FROM entry WHERE key = ?1)";
            on.execute(old, [path.as_str()]).during("edit")?;
            let content = tick(on)?;
            on.execute(
                "INSERT INTO piece VALUES (?1, 0, ?2)",
                rusqlite::params![content, bytes],
            )
            .during("edit")?;
            let node = Node {
                key: Key::file(path.clone()).to_text(),
                id: tick(on)?,
                version: tick(on)?,
                size: bytes.len() as i64,
                hash: link.is_none().then(|| ContentHash::of(bytes)),
                link: link.map(Into::into),
                mtime: now(),
                mode: link.is_none().then(|| Mode::new(0o644)),
                content: Some(content),
            };
            node.put(on)
        })
    }

    /// Writes a file, and makes the folders above it.
    pub fn write_file(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.put(path, None, bytes)
    }

    /// Makes a link, and the folders above it.
    pub fn make_link(&self, path: &str, target: &str) -> Result<()> {
        self.put(path, Some(target), b"")
    }

    /// Makes a folder and those above it.
    pub fn make_folder(&self, path: &str) -> Result<()> {
        self.edit(path, |on, path| {
            make_parents(on, path)?;
            match find(on, path)? {
                Some(_) => Ok(()),
                None => make_folder(on, path, None).map(drop),
            }
        })
    }

    /// Removes what is at a path, with all below it.
    pub fn remove(&self, path: &str) -> Result<()> {
        self.edit(path, |on, path| {
            let sql = "DELETE FROM entry WHERE key = ?1 OR (key >= ?1 || '/' AND key < ?1 || '0')";
            on.execute(sql, [path.as_str()]).during("edit").map(drop)
        })
    }

    /// A file's content; `None` if no file is there.
    pub fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>> {
        self.edit(path, |on, path| {
            let file = find(on, path)?.filter(|node| node.hash.is_some());
            file.map(|node| content(on, &node)).transpose()
        })
    }
}
