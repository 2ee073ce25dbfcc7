//! Where the baseline has a content: a large index that seldom changes, and a small one of what came since.
//!
//! Hashes have no order. In one index over a million files each new file falls on a page of its own, which is read, logged and written
//! for it alone. So what is put while there is an index is `recent` and goes to the small one. That is merged into the large one in
//! the order of hashes, where a page takes several, and when nobody waits for it.

use std::cell::Cell;

use rusqlite::{Row, params};

use super::pair::PairState;
use super::{BaselineRow, StateError};
use crate::model::{ContentHash, FileId, Sides};

#[cfg(test)]
mod tests;

/// The large index; built after the first sync in one go, like those of file ids.
pub(super) const CREATE_BY_HASH: &str = "
CREATE INDEX IF NOT EXISTS rows_by_hash ON rows (hash) WHERE hash IS NOT NULL AND recent = 0;
CREATE INDEX IF NOT EXISTS rows_by_recent_hash ON rows (hash) WHERE hash IS NOT NULL AND recent = 1;";

/// One index of all hashes, and no column that tells them apart: what the first version had.
pub(super) const FROM_ONE_INDEX: &str = "ALTER TABLE rows ADD COLUMN recent INTEGER NOT NULL DEFAULT 0; DROP INDEX IF EXISTS rows_by_hash;";

/// With the condition that the row has a content at all, each of these leads through one of the indexes.
pub(super) const BOTH: [&str; 2] = ["recent = 1", "recent = 0"];

pub(super) fn with_hash(part: &str) -> String {
    format!("WHERE hash = ?1 AND {part} LIMIT ?2")
}

const FILES_IN: &str = "SELECT hash, a_file_id, b_file_id FROM rows WHERE key >= ?1 AND key < ?2 AND hash IS NOT NULL LIMIT ?3";

/// So many stay recent: an index of them fits well into the memory that the state takes.
const MOST: u32 = 32_768;

/// So many are merged at a time: their keys are held in memory meanwhile.
const BATCH: u32 = 8192;

/// By what a file of the baseline is known wherever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownFile {
    /// Its content.
    pub hash: ContentHash,
    /// Its ids.
    pub ids: Sides<Option<FileId>>,
}

/// What is known of the indexes without asking.
#[derive(Debug, Default)]
pub(super) struct Contents {
    is_indexed: Cell<bool>,
    /// Rows that were put since the recent ones were last merged.
    put: Cell<usize>,
}

impl PairState {
    /// Whether what is put now is recent. Before the first sync has ended there is no index that it would go to.
    pub(super) fn is_indexed(&self) -> bool {
        self.contents.is_indexed.get()
    }

    pub(super) fn now_indexed(&self) {
        self.contents.is_indexed.set(true);
    }

    /// Up to `limit` rows with this content.
    pub fn rows_with_hash(
        &self,
        hash: &ContentHash,
        limit: u32,
    ) -> Result<Vec<BaselineRow>, StateError> {
        let hash = hash.as_bytes().as_slice();
        let mut rows = Vec::new();
        for part in BOTH {
            let left = limit - rows.len() as u32;
            rows.append(&mut self.select(&with_hash(part), &[&hash, &left])?);
        }
        Ok(rows)
    }

    /// Up to `limit` files of the rows whose keys, as text, are from `from` on and before `to`.
    pub fn files_in(&self, from: &str, to: &str, limit: u32) -> Result<Vec<KnownFile>, StateError> {
        let mut statement = self.db().prepare_cached(FILES_IN)?;
        let id = |row: &Row<'_>, column: usize| -> rusqlite::Result<Option<FileId>> {
            let id: Option<i64> = row.get(column)?;
            Ok(id.map(|id| FileId(id.cast_unsigned())))
        };
        let file = |row: &Row<'_>| {
            Ok(KnownFile {
                hash: ContentHash::from_bytes(row.get(0)?),
                ids: self.oriented(id(row, 1)?, id(row, 2)?),
            })
        };
        let files = statement.query_map(params![from, to, limit], file)?;
        Ok(files.collect::<Result<_, _>>()?)
    }

    /// So many rows were put. A run that brings more and more of them must not let the small index become a large one.
    pub(super) fn note_put(&mut self, rows: usize) -> Result<(), StateError> {
        let put = self.contents.put.get() + rows;
        self.contents.put.set(put);
        match put > 2 * self.threshold(MOST) as usize {
            true => self.merge_recent(),
            false => Ok(()),
        }
    }

    /// Merges what is recent, if there is much of it. To be called when nobody waits: at a million files it takes a second.
    ///
    /// Each batch is all or nothing, and a row is found before, between and after them.
    pub fn merge_recent(&mut self) -> Result<(), StateError> {
        self.merge_if_more_than(self.threshold(MOST), BATCH)
    }

    pub(super) fn merge_if_more_than(&mut self, most: u32, batch: u32) -> Result<(), StateError> {
        if !self.is_indexed() || self.is_rehearsal() {
            return Ok(());
        }
        self.contents.put.set(0);
        let ask = "SELECT count(*) FROM (SELECT 1 FROM rows WHERE hash IS NOT NULL AND recent = 1 LIMIT ?1 + 1)";
        let mut count = self.db().prepare_cached(ask)?;
        if count.query_row([most], |row| row.get::<_, u32>(0))? <= most {
            return Ok(());
        }
        drop(count);
        while self.merge_batch(batch)? {}
        Ok(())
    }

    /// Whether there may be more of them.
    fn merge_batch(&mut self, batch: u32) -> Result<bool, StateError> {
        let keys = self.recent_keys(batch)?;
        self.in_transaction(|this| {
            let mut update = this
                .db()
                .prepare_cached("UPDATE rows SET recent = 0 WHERE key = ?1")?;
            for key in &keys {
                update.execute([key])?;
            }
            Ok(())
        })?;
        Ok(keys.len() == batch as usize)
    }

    fn recent_keys(&self, most: u32) -> Result<Vec<String>, StateError> {
        let ask =
            "SELECT key FROM rows WHERE hash IS NOT NULL AND recent = 1 ORDER BY hash LIMIT ?1";
        let mut statement = self.db().prepare_cached(ask)?;
        let keys = statement.query_map([most], |row| row.get(0))?;
        Ok(keys.collect::<Result<_, _>>()?)
    }
}
