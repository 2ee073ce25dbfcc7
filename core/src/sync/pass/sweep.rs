//! A sweep: one side is listed and held against the baseline, to find where to look. The other side is not touched.
//!
//! It decides nothing. What it names is looked at like anything that a watcher names; what it cannot make out is looked at with everything.

use std::cmp::Ordering;

use super::agreed::Agreed;
use super::context::Context;
use super::ground::request;
use crate::model::{Key, Kind, Side, SyncPath};
use crate::state::BaselineRow;
use crate::storage::{Area, Result as StorageResult, Row, Scope};
use crate::sync::SyncError;

/// Where `side` holds something else than was agreed on. `known`: paths with trouble that only a walk finds; that they still have it is no news.
pub(in crate::sync) async fn sweep(
    context: &Context,
    side: Side,
    known: &(dyn Fn(&SyncPath) -> bool + Sync),
) -> Result<Area, SyncError> {
    let mut sweep = Sweep {
        context,
        side,
        known,
        agreed: Agreed::all(),
        area: Area::default(),
        rows: 0,
    };
    match sweep.run().await? {
        Ok(()) if sweep.rows > 0 => Ok(sweep.area),
        // A root that lists nothing, and a listing that broke off, are for a look at everything to judge.
        _ => Ok(Area::Everything),
    }
}

struct Sweep<'a> {
    context: &'a Context,
    side: Side,
    known: &'a (dyn Fn(&SyncPath) -> bool + Sync),
    agreed: Agreed,
    area: Area,
    rows: u64,
}

impl Sweep<'_> {
    /// The inner error is the listing's.
    async fn run(&mut self) -> Result<StorageResult<()>, SyncError> {
        let storage = &self.context.job.storages[self.side];
        let mut listing = match storage.list(request(self.context, Scope::Everything)).await {
            Ok(listing) => listing,
            Err(error) => return Ok(Err(error)),
        };
        loop {
            let rows = match listing.next().await {
                Ok(Some(rows)) => rows,
                Ok(None) => break,
                Err(error) => return Ok(Err(error)),
            };
            self.context.check_cancelled()?;
            self.rows += rows.len() as u64;
            self.context.job.progress.saw(rows.len() as u64);
            for row in rows {
                self.row(row)?;
            }
            if self.area == Area::Everything {
                return Ok(Ok(()));
            }
        }
        while let Some(base) = self.agreed.next(self.context)? {
            self.missing(&base);
        }
        Ok(Ok(()))
    }

    fn row(&mut self, row: Row) -> Result<(), SyncError> {
        match &row {
            // They have no place of their own in the baseline.
            Row::Unknown {
                path,
                subtree: true,
                ..
            } => {
                self.skip_inside(path)?;
                return self.trouble(path.clone());
            }
            Row::Unrepresentable { parent, name, .. } => {
                let path = parent.join(name).unwrap_or_else(|_| parent.clone());
                if !(self.known)(&path) {
                    self.area.add_subtree(parent.clone());
                }
                return Ok(());
            }
            _ => {}
        }
        let key = row.key();
        let base = self.agreed_at(&key)?;
        match row {
            Row::Present(entry) => {
                let same = base
                    .as_ref()
                    .is_some_and(|base| base.is_on(self.side, &entry.meta));
                if !same && !self.is_implied(base.as_ref(), entry.meta.kind) {
                    self.area.add_path(entry.path);
                }
            }
            Row::Excluded(key) => self.skip_inside(&key.path)?,
            Row::Unknown { path, .. } => self.trouble(path)?,
            Row::Absent(_) | Row::Skipped(_) | Row::Unrepresentable { .. } => {}
        }
        Ok(())
    }

    /// The baseline's row at `key`. Those before it are of what is not there any more.
    fn agreed_at(&mut self, key: &Key) -> Result<Option<BaselineRow>, SyncError> {
        loop {
            let order = match self.agreed.peek(self.context)? {
                None => return Ok(None),
                Some(base) => base.key().cmp(key),
            };
            match order {
                Ordering::Greater => return Ok(None),
                Ordering::Equal => return self.agreed.next(self.context),
                Ordering::Less => {
                    if let Some(base) = self.agreed.next(self.context)? {
                        self.missing(&base);
                    }
                }
            }
        }
    }

    /// What was agreed on is not there.
    fn missing(&mut self, base: &BaselineRow) {
        if !self.is_implied(Some(base), base.kind) {
            self.area.add_path(base.path.clone());
        }
    }

    /// Whether nothing is to be learnt here: where folders are only implied they come and go with what is in them.
    fn is_implied(&self, base: Option<&BaselineRow>, kind: Kind) -> bool {
        let storage = &self.context.job.storages[self.side];
        kind == Kind::Folder
            && !storage.capabilities().empty_folders
            && base.is_none_or(|base| base.kind == Kind::Folder)
    }

    /// What is in the folder at `path` was not listed.
    fn skip_inside(&mut self, path: &SyncPath) -> Result<(), SyncError> {
        while let Some(base) = self.agreed.peek(self.context)? {
            let before = base.key() < Key::folder(path.clone());
            if !before && !base.path.is_within(path) {
                return Ok(());
            }
            if let Some(base) = self.agreed.next(self.context)?
                && before
            {
                self.missing(&base);
            }
        }
        Ok(())
    }

    fn trouble(&mut self, path: SyncPath) -> Result<(), SyncError> {
        if !(self.known)(&path) {
            self.area.add_subtree(path);
        }
        Ok(())
    }
}
