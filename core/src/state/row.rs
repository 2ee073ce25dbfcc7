//! A baseline row and how it is kept in SQLite.

use rusqlite::{Row, ToSql, params};

use super::StateError;
use super::pair::PairState;
use crate::model::{
    ContentHash, FileId, Key, Kind, Meta, Mode, Side, Sides, SyncPath, Timestamp, Token,
};

/// What one side held when both agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideRecord {
    /// Its token then.
    pub token: Token,
    /// Whether an equal token proves equal content.
    pub settled: bool,
    /// Its file id.
    pub file_id: Option<FileId>,
    /// Bytes of content.
    pub size: u64,
    /// Time of the last change of content.
    pub mtime: Option<Timestamp>,
    /// Permission bits.
    pub mode: Option<Mode>,
}

impl SideRecord {
    /// The record of an entry as it was seen.
    pub fn of(meta: &Meta) -> Self {
        Self {
            token: meta.token.clone(),
            settled: meta.settled,
            file_id: meta.file_id,
            size: meta.size,
            mtime: meta.mtime,
            mode: meta.mode,
        }
    }
}

/// What both sides last agreed on at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaselineRow {
    /// The path.
    pub path: SyncPath,
    /// File, folder or link.
    pub kind: Kind,
    /// The content's hash; for files only.
    pub hash: Option<ContentHash>,
    /// Where the link points; for links only.
    pub link: Option<Box<str>>,
    /// Each side's record.
    pub sides: Sides<SideRecord>,
}

impl BaselineRow {
    /// The row's place in the order.
    pub fn key(&self) -> Key {
        Key {
            path: self.path.clone(),
            folder: self.kind == Kind::Folder,
        }
    }
}

/// A change of the baseline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowChange {
    /// Both sides agree on this.
    Put(BaselineRow),
    /// Nothing is there on either side.
    Delete(Key),
}

pub(super) const CREATE_ROWS: &str = "
CREATE TABLE IF NOT EXISTS rows (
    key TEXT PRIMARY KEY COLLATE BINARY,
    kind INTEGER NOT NULL,
    hash BLOB,
    link TEXT,
    a_token TEXT NOT NULL, a_settled INTEGER NOT NULL, a_file_id INTEGER, a_size INTEGER NOT NULL, a_mtime INTEGER, a_mode INTEGER,
    b_token TEXT NOT NULL, b_settled INTEGER NOT NULL, b_file_id INTEGER, b_size INTEGER NOT NULL, b_mtime INTEGER, b_mode INTEGER,
    recent INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;";

/// Built after the first sync in one go: kept up to date row by row they would cost more than the rows.
pub(super) const CREATE_INDEXES: &str = "
CREATE INDEX IF NOT EXISTS rows_by_a_file_id ON rows (a_file_id) WHERE a_file_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS rows_by_b_file_id ON rows (b_file_id) WHERE b_file_id IS NOT NULL;";

pub(super) const SELECT: &str = "SELECT key, kind, hash, link, a_token, a_settled, a_file_id, a_size, a_mtime, a_mode, \
     b_token, b_settled, b_file_id, b_size, b_mtime, b_mode FROM rows";

pub(super) const PUT: &str = "INSERT OR REPLACE INTO rows VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17)";

/// Nanoseconds since 1970, or `None` for what 64 bits cannot hold; only moves by file id need it.
fn nanos(time: Timestamp) -> Option<i64> {
    time.secs
        .checked_mul(1_000_000_000)?
        .checked_add(i64::from(time.nanos))
}

fn time(nanos: i64) -> Timestamp {
    Timestamp {
        secs: nanos.div_euclid(1_000_000_000),
        nanos: nanos.rem_euclid(1_000_000_000) as u32,
    }
}

fn side_record(row: &Row<'_>, first: usize) -> rusqlite::Result<SideRecord> {
    Ok(SideRecord {
        token: Token::new(row.get::<_, String>(first)?),
        settled: row.get(first + 1)?,
        file_id: row
            .get::<_, Option<i64>>(first + 2)?
            .map(|id| FileId(id.cast_unsigned())),
        size: row.get::<_, i64>(first + 3)?.cast_unsigned(),
        mtime: row.get::<_, Option<i64>>(first + 4)?.map(time),
        mode: row.get::<_, Option<u32>>(first + 5)?.map(Mode::new),
    })
}

fn kind_number(kind: Kind) -> i64 {
    match kind {
        Kind::File => 1,
        Kind::Folder => 2,
        Kind::Link => 3,
    }
}

impl RowChange {
    /// The path that it is about.
    pub fn path(&self) -> &SyncPath {
        match self {
            Self::Put(row) => &row.path,
            Self::Delete(key) => &key.path,
        }
    }
}

impl PairState {
    fn decode(&self, row: &Row<'_>) -> Result<BaselineRow, StateError> {
        let key_text = row
            .get_ref(0)?
            .as_str()
            .map_err(|_| self.damaged("a key"))?
            .to_owned();
        let key = Key::from_text(&key_text).map_err(|_| self.damaged("a key"))?;
        let kind = match row.get::<_, i64>(1)? {
            1 => Kind::File,
            2 => Kind::Folder,
            3 => Kind::Link,
            _ => return Err(self.damaged("a kind")),
        };
        let hash = row
            .get::<_, Option<[u8; 32]>>(2)?
            .map(ContentHash::from_bytes);
        let (a, b) = (side_record(row, 4)?, side_record(row, 10)?);
        Ok(BaselineRow {
            path: key.path,
            kind,
            hash,
            link: row.get::<_, Option<String>>(3)?.map(String::into_boxed_str),
            sides: self.oriented(a, b),
        })
    }

    pub(super) fn select(
        &self,
        condition: &str,
        values: &[&dyn ToSql],
    ) -> Result<Vec<BaselineRow>, StateError> {
        let mut statement = self.db().prepare_cached(&format!("{SELECT} {condition}"))?;
        let mut found = statement.query(values)?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            rows.push(self.decode(row)?);
        }
        Ok(rows)
    }

    /// Up to `limit` rows whose keys, as text, are from `from` on and before `to`, in order.
    pub fn rows_in(
        &self,
        from: &str,
        to: Option<&str>,
        limit: u32,
    ) -> Result<Vec<BaselineRow>, StateError> {
        match to {
            None => self.select("WHERE key >= ?1 ORDER BY key LIMIT ?2", &[&from, &limit]),
            Some(to) => self.select(
                "WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3",
                &[&from, &to, &limit],
            ),
        }
    }

    /// The row at `path`, whatever its kind.
    pub fn row_at(&self, path: &SyncPath) -> Result<Option<BaselineRow>, StateError> {
        let file = path.as_str();
        let folder = format!("{file}/");
        Ok(self
            .select("WHERE key IN (?1, ?2)", &[&file, &folder])?
            .pop())
    }

    /// Whether some row's key, as text, is from `from` on and before `to`.
    pub fn has_rows_in(&self, from: &str, to: &str) -> Result<bool, StateError> {
        let ask = "SELECT EXISTS (SELECT 1 FROM rows WHERE key >= ?1 AND key < ?2)";
        let mut statement = self.db().prepare_cached(ask)?;
        Ok(statement.query_row([from, to], |row| row.get(0))?)
    }

    /// Whether there is a row at `path` or below it.
    pub fn holds_at_or_below(&self, path: &SyncPath) -> Result<bool, StateError> {
        Ok(self.has_rows_in(&format!("{path}/"), &format!("{path}0"))?
            || self.row_at(path)?.is_some())
    }

    /// The rows of files that had this id, size and time on `side`.
    pub fn rows_with_file_id(
        &self,
        side: Side,
        id: FileId,
        size: u64,
        mtime: Timestamp,
    ) -> Result<Vec<BaselineRow>, StateError> {
        let Some(mtime) = nanos(mtime) else {
            return Ok(Vec::new());
        };
        let column = self.column(side);
        self.select(
            &format!(
                "WHERE {column}_file_id = ?1 AND {column}_size = ?2 AND {column}_mtime = ?3 \
                 AND kind = 1 LIMIT 4"
            ),
            &[&id.0.cast_signed(), &size.cast_signed(), &mtime],
        )
    }

    /// The rows of entries of this kind that had this id on `side`.
    pub fn rows_with_id(
        &self,
        side: Side,
        id: FileId,
        kind: Kind,
    ) -> Result<Vec<BaselineRow>, StateError> {
        let column = self.column(side);
        self.select(
            &format!("WHERE {column}_file_id = ?1 AND kind = ?2 LIMIT 4"),
            &[&id.0.cast_signed(), &kind_number(kind)],
        )
    }

    /// Whether the baseline holds no row.
    pub fn is_empty(&self) -> Result<bool, StateError> {
        Ok(!self
            .db()
            .query_row("SELECT EXISTS (SELECT 1 FROM rows)", [], |row| row.get(0))?)
    }

    /// How many files the baseline holds.
    pub fn count_files(&self) -> Result<u64, StateError> {
        Ok(self
            .db()
            .query_row("SELECT count(*) FROM rows WHERE kind = 1", [], |row| {
                row.get::<_, i64>(0)
            })? as u64)
    }

    /// How many files the baseline holds, or `most` if it holds more; reads about as many rows.
    pub fn count_files_up_to(&self, most: u64) -> Result<u64, StateError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let ask = "SELECT count(*) FROM (SELECT 1 FROM rows WHERE kind = 1 LIMIT ?1)";
        let mut statement = self.db().prepare_cached(ask)?;
        Ok(statement.query_row([most], |row| row.get::<_, i64>(0))? as u64)
    }

    /// Makes the changes, all or none.
    pub fn apply(&mut self, changes: &[RowChange]) -> Result<(), StateError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.in_transaction(|this| changes.iter().try_for_each(|change| this.apply_one(change)))?;
        self.note_put(changes.len())
    }

    /// Forgets the rows at and below `path`, and before them what was announced there.
    pub fn forget_tree(&mut self, path: &SyncPath) -> Result<(), StateError> {
        self.end_announced_below(path);
        let path = path.as_str();
        self.db()
            .prepare_cached("DELETE FROM rows WHERE key = ?1 OR (key >= ?2 AND key < ?3)")?
            .execute([path.to_owned(), format!("{path}/"), format!("{path}0")])?;
        Ok(())
    }

    /// The folder at `from` became the one at `to`, with all that is in it; what was known of `to` is forgotten. To be called in a
    /// transaction.
    pub(super) fn move_tree(&self, from: &SyncPath, to: &SyncPath) -> Result<(), StateError> {
        let texts = |path: &SyncPath| {
            let path = path.as_str();
            (format!("{path}/"), format!("{path}0"))
        };
        let ((from, from_end), (new, new_end)) = (texts(from), texts(to));
        self.db()
            .prepare_cached("DELETE FROM rows WHERE key = ?1 OR (key >= ?2 AND key < ?3)")?
            .execute([to.as_str(), &new, &new_end])?;
        self.db()
            .prepare_cached(
                "UPDATE rows SET key = ?1 || substr(key, length(?2) + 1) WHERE key >= ?2 AND key < ?3",
            )?
            .execute([&new, &from, &from_end])?;
        Ok(())
    }

    fn apply_one(&self, change: &RowChange) -> Result<(), StateError> {
        match change {
            RowChange::Delete(key) => {
                self.db()
                    .prepare_cached("DELETE FROM rows WHERE key = ?1")?
                    .execute([key.to_text()])?;
            }
            RowChange::Put(row) => {
                // A path is a file or a folder, never both.
                let other = Key {
                    path: row.path.clone(),
                    folder: row.kind != Kind::Folder,
                };
                self.db()
                    .prepare_cached("DELETE FROM rows WHERE key = ?1")?
                    .execute([other.to_text()])?;
                self.put(row)?;
            }
        }
        Ok(())
    }

    fn put(&self, row: &BaselineRow) -> Result<(), StateError> {
        let (a, b) = self.columns(&row.sides);
        let id = |side: &SideRecord| side.file_id.map(|id| id.0.cast_signed());
        self.db().prepare_cached(PUT)?.execute(params![
            row.key().to_text(),
            kind_number(row.kind),
            row.hash.as_ref().map(|hash| hash.as_bytes().as_slice()),
            row.link.as_deref(),
            a.token.as_str(),
            a.settled,
            id(a),
            a.size.cast_signed(),
            a.mtime.and_then(nanos),
            a.mode.map(Mode::bits),
            b.token.as_str(),
            b.settled,
            id(b),
            b.size.cast_signed(),
            b.mtime.and_then(nanos),
            b.mode.map(Mode::bits),
            row.hash.is_some() && self.is_indexed(),
        ])?;
        Ok(())
    }
}
