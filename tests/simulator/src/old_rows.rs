//! Listings that show of a file what is not so any more: it was removed, or is another version by now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use wl_core::model::{Entry, Key, Kind, SyncPath};
use wl_core::storage::{ListRequest, Listing, Result, Row, Scope};

use crate::site::Windows;

/// What listings have shown of files.
pub(crate) type Shown = Arc<Mutex<BTreeMap<Key, Entry>>>;

/// A listing of which some rows may be old.
pub(crate) struct OldRows {
    pub inner: Box<dyn Listing>,
    pub shown: Shown,
    pub windows: Arc<dyn Windows>,
    pub request: ListRequest,
    /// The last key that was listed, and the folders.
    pub last: Option<Key>,
    pub folders: BTreeSet<SyncPath>,
    pub ended: bool,
}

impl OldRows {
    /// Files that were shown and are not there, up to a key: those that still are shown.
    fn gone(&self, until: Option<&Key>, there: &BTreeSet<SyncPath>) -> Vec<Entry> {
        let after = self.last.as_ref().or(self.request.start_after.as_ref());
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gone = Vec::new();
        shown.retain(|key, entry| {
            let due = after.is_none_or(|after| key > after) && until.is_none_or(|key_| key < key_);
            if !due || there.contains(&key.path) || !self.is_asked_for(key) {
                return true;
            }
            let stays = self.windows.shows_old();
            gone.extend(stays.then(|| entry.clone()));
            stays
        });
        gone
    }

    /// Whether a row that is not there could be in the listing: its folder was listed, and nothing leaves it out.
    fn is_asked_for(&self, key: &Key) -> bool {
        let below = match &self.request.scope {
            Scope::Everything => true,
            Scope::Subtrees(paths) => paths.iter().any(|path| key.path.is_within(path)),
            Scope::Paths(_) => false,
        };
        let in_folder = key
            .path
            .parent()
            .is_none_or(|folder| folder.is_root() || self.folders.contains(&folder));
        below && in_folder && !self.is_left_out(key)
    }

    /// Whether the rules of this listing leave it out: they are asked of old rows, too.
    fn is_left_out(&self, key: &Key) -> bool {
        let filter = &self.request.filter;
        let mut above = key.path.ancestors();
        filter.excludes(&key.path, false) || above.any(|folder| filter.excludes(&folder, true))
    }

    /// What is shown in place of a row.
    fn instead(&self, row: Row) -> Row {
        let key = row.key();
        let may_be_old = matches!(row, Row::Present(_) | Row::Absent(_));
        if key.folder || !may_be_old || self.is_left_out(&key) {
            return row;
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let old = shown.get(&key).cloned();
        let is_new = |old: &Entry| match &row {
            Row::Present(now) => now.meta.token != old.meta.token,
            _ => true,
        };
        if let Some(old) = old.filter(is_new)
            && self.windows.shows_old()
        {
            return Row::Present(old);
        }
        match &row {
            Row::Present(now) => drop(shown.insert(key, now.clone())),
            _ => drop(shown.remove(&key)),
        }
        row
    }
}

#[async_trait]
impl Listing for OldRows {
    async fn next(&mut self) -> Result<Option<Vec<Row>>> {
        if self.ended {
            return Ok(None);
        }
        let rows = self.inner.next().await?;
        self.ended = rows.is_none();
        let rows = rows.unwrap_or_default();
        for row in &rows {
            if let Row::Present(entry) = row
                && entry.meta.kind == Kind::Folder
            {
                self.folders.insert(entry.path.clone());
            }
        }
        let there: BTreeSet<_> = rows.iter().map(|row| row.key().path).collect();
        let until = rows.last().map(Row::key).filter(|_| !self.ended);
        let gone = self.gone(until.as_ref(), &there);
        self.last = until.or(self.last.take());
        let rows = rows.into_iter().map(|row| self.instead(row));
        let mut rows: Vec<_> = rows.chain(gone.into_iter().map(Row::Present)).collect();
        // In the order of listings; what is said of one path stays together.
        rows.sort_by_key(Row::key);
        Ok(Some(rows).filter(|rows| !rows.is_empty()))
    }
}
