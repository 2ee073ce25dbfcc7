//! Keys in order, across pages, faults and parts that are not wanted.

use std::collections::VecDeque;

use wl_core::model::{SyncPath, Timestamp};
use wl_core::storage::{ErrorKind, Result, StorageError};

use super::super::store::{List, Listed, Outcome, Pages};
use super::super::token;
use super::super::wire::Wire;

/// The keys of a prefix.
pub(super) struct Pager<'a> {
    wire: &'a Wire,
    prefix: String,
    pages: Option<Box<dyn Pages>>,
    page: VecDeque<Listed>,
    /// The clock before the page was asked for.
    seen: Timestamp,
    /// Keys up to and including this one are done with.
    last: Option<String>,
    /// The last key that the running listing told.
    told: Option<String>,
    /// Keys that begin like this are not wanted.
    skip: Option<String>,
    ended: bool,
}

impl<'a> Pager<'a> {
    /// The keys that begin with `prefix` and are greater than `after`.
    pub(super) fn new(wire: &'a Wire, prefix: String, after: Option<String>) -> Self {
        Self {
            wire,
            prefix,
            pages: None,
            page: VecDeque::new(),
            seen: token::now(),
            last: after,
            told: None,
            skip: None,
            ended: false,
        }
    }

    /// The next key, with the clock from before it was asked for.
    pub(super) async fn next(&mut self) -> Result<Option<(Listed, Timestamp)>> {
        loop {
            while let Some(listed) = self.page.pop_front() {
                if self.is_wanted(&listed)? {
                    return Ok(Some((listed, self.seen)));
                }
            }
            if self.ended || !self.turn_page().await? {
                return Ok(None);
            }
        }
    }

    /// Leaves out the rest of the keys that begin with `prefix`: they are not asked for, where the storage can start behind them.
    pub(super) fn skip(&mut self, prefix: String) {
        while self
            .page
            .front()
            .is_some_and(|listed| listed.name.starts_with(&prefix))
        {
            self.page.pop_front();
        }
        if self.page.is_empty() && self.wire.facts().start_after && !self.ended {
            self.pages = None;
            // No key that begins with the prefix and goes on with a valid character is greater; those that are, are left out here.
            self.last = Some(format!("{prefix}\u{10FFFF}"));
        }
        self.skip = Some(prefix);
    }

    /// Whether a key is new and wanted. Keys that do not come in order would hide others: that ends the listing.
    fn is_wanted(&mut self, listed: &Listed) -> Result<bool> {
        if listed.lossy {
            // Nobody knows where the key is that this name stands for.
            return Ok(true);
        }
        let name = &listed.name;
        if self.told.as_ref().is_some_and(|told| told > name) {
            let reason = "the storage does not list its keys in the order of their bytes; it cannot be used, report this";
            let error = StorageError::new(ErrorKind::Unsupported, "list", reason);
            return Err(error.at(&self.place()).on(self.wire.store().location()));
        }
        self.told = Some(name.clone());
        if self.last.as_ref().is_some_and(|last| name <= last) {
            return Ok(false);
        }
        self.last = Some(name.clone());
        let skipped = self
            .skip
            .as_ref()
            .is_some_and(|skip| name.starts_with(skip));
        Ok(!skipped && name.starts_with(&self.prefix))
    }

    /// Gets the next page; false at the end.
    async fn turn_page(&mut self) -> Result<bool> {
        let wire = self.wire;
        let mut retry = wire.retry();
        loop {
            self.seen = token::now();
            let fetched = self.fetch().await;
            if fetched.is_ok() {
                retry.answered();
            }
            match fetched {
                Ok(None) => {
                    self.ended = true;
                    return Ok(false);
                }
                Ok(Some(page)) => {
                    self.page = page.into();
                    return Ok(true);
                }
                Err(fault) => {
                    // It is begun anew behind what is done with.
                    self.pages = None;
                    let given_up = retry.after(fault).await;
                    given_up.map_err(|fault| self.wire.given_up("list", &self.place(), fault))?;
                }
            }
        }
    }

    async fn fetch(&mut self) -> Outcome<Option<Vec<Listed>>> {
        let _turn = self.wire.turn(0).await;
        if self.pages.is_none() {
            let offered = self.wire.facts().start_after;
            let list = List::Keys {
                prefix: &self.prefix,
                after: self.last.as_deref().filter(|_| offered),
            };
            self.told = None;
            self.pages = Some(self.wire.store().list(list).await?);
        }
        match &mut self.pages {
            Some(pages) => pages.next().await,
            None => Ok(None),
        }
    }

    fn place(&self) -> SyncPath {
        SyncPath::new(self.prefix.trim_end_matches('/')).unwrap_or_else(|_| SyncPath::root())
    }
}
