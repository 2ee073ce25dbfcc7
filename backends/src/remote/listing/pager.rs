//! Keys as the server lists them, across pages, faults and parts that are not wanted.

use std::cmp::Ordering;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use wl_core::model::{Meta, SyncPath, Timestamp};
use wl_core::storage::{ErrorKind, Result, StorageError};

use super::super::order::Order;
use super::super::store::{List, Listed, Outcome, Pages};
use super::super::token;
use super::super::wire::{Retry, Wire};

/// A key and what is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Keyed {
    pub(super) name: String,
    pub(super) meta: Meta,
    pub(super) lossy: bool,
    pub(super) special: bool,
}

/// What a server tells next.
#[derive(Debug)]
pub(super) enum Told {
    Key(Keyed),
    /// That was all.
    End,
    /// A key that does not come in the order that was given: nothing that was told proves anything about what was not.
    Disorder,
}

/// The keys of a prefix, each once where there is an order.
pub(super) struct Pager<'a> {
    wire: &'a Wire,
    order: Order,
    prefix: String,
    pages: Option<Box<dyn Pages>>,
    page: VecDeque<Listed>,
    /// The clock before the page was asked for.
    seen: Timestamp,
    /// Keys up to and including this one are done with.
    last: Option<String>,
    /// What a server lists behind this key, in either order, is all that is not done with, and perhaps more.
    begin: Option<String>,
    /// The last key that the running listing told, or what it begins behind.
    told: Option<String>,
    circle: Circle,
    /// Keys that begin like this are not wanted.
    skip: Option<String>,
    ended: bool,
    /// How often it failed since the last key that was new.
    retry: Retry<'a>,
}

impl<'a> Pager<'a> {
    /// The keys that begin with `prefix`, from a server with this order.
    pub(super) fn new(wire: &'a Wire, order: Order, prefix: String) -> Self {
        Self {
            wire,
            order,
            prefix,
            pages: None,
            page: VecDeque::new(),
            seen: token::now(),
            last: None,
            begin: None,
            told: None,
            circle: Circle::default(),
            skip: None,
            ended: false,
            retry: wire.retry(),
        }
    }

    pub(super) async fn next(&mut self) -> Result<Told> {
        loop {
            while let Some(listed) = self.page.pop_front() {
                match self.judge(&listed)? {
                    Judged::Done => {}
                    Judged::Disorder => return Ok(Told::Disorder),
                    Judged::Wanted => return Ok(Told::Key(self.keyed(listed))),
                }
            }
            if self.ended || !self.turn_page().await? {
                return Ok(Told::End);
            }
        }
    }

    /// The last key that was told.
    pub(super) fn told(&self) -> Option<&str> {
        self.told.as_deref()
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
        if self.page.is_empty() && self.starts_behind() && !self.ended {
            self.pages = None;
            // No key that begins with the prefix and goes on with a valid character is greater; those that are, are left out here.
            self.last = Some(format!("{prefix}\u{10FFFF}"));
            self.begin = self.last.clone();
        }
        self.skip = Some(prefix);
    }

    fn keyed(&self, listed: Listed) -> Keyed {
        Keyed {
            meta: self.wire.meta(&listed.found, self.seen),
            name: listed.name,
            lossy: listed.lossy,
            special: listed.special,
        }
    }

    fn starts_behind(&self) -> bool {
        self.wire.facts().start_after && self.order != Order::Unknown
    }

    /// Whether a key is new and wanted.
    fn judge(&mut self, listed: &Listed) -> Result<Judged> {
        if listed.lossy {
            // Nobody knows where the key is that this name stands for.
            return Ok(Judged::Wanted);
        }
        let name = &listed.name;
        let before = |other: &Option<String>| {
            let other = other.as_deref();
            other.and_then(|other| self.order.compare(other, name))
        };
        if before(&self.told) == Some(Ordering::Greater) {
            return Ok(Judged::Disorder);
        }
        let is_done = before(&self.last).is_some_and(Ordering::is_ge);
        self.tell(name)?;
        if is_done {
            return Ok(Judged::Done);
        }
        if self.order != Order::Unknown {
            self.last = Some(name.clone());
            self.retry = self.wire.retry();
        } else if self.circle.is_further() {
            self.retry = self.wire.retry();
        }
        let skipped = self.skip.as_ref();
        let skipped = skipped.is_some_and(|skip| name.starts_with(skip));
        Ok(match skipped || !name.starts_with(&self.prefix) {
            true => Judged::Done,
            false => Judged::Wanted,
        })
    }

    /// The running listing told this key.
    fn tell(&mut self, name: &str) -> Result<()> {
        let ordered = self.order != Order::Unknown;
        if self.circle.closes(name, self.told.as_deref(), ordered) {
            let reason = "the storage tells the same keys again and again and comes to no end; run again, and report this";
            let error = StorageError::new(ErrorKind::Other, "list", reason);
            return Err(error.at(&self.place()).on(self.wire.store().location()));
        }
        // What starts behind a file leaves out the folder of its name: it starts behind one whose folder is done with.
        if let Some(told) = self.told.take_if(|told| !is_below(name, told)) {
            self.begin = Some(told);
        }
        self.told = Some(name.to_owned());
        Ok(())
    }

    /// Gets the next page; false at the end.
    async fn turn_page(&mut self) -> Result<bool> {
        loop {
            self.seen = token::now();
            let fetched = self.fetch().await;
            if fetched.is_ok() {
                self.retry.answered();
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
                    let given_up = self.retry.after(fault).await;
                    given_up.map_err(|fault| self.wire.given_up("list", &self.place(), fault))?;
                }
            }
        }
    }

    async fn fetch(&mut self) -> Outcome<Option<Vec<Listed>>> {
        let _turn = self.wire.turn(0).await;
        if self.pages.is_none() {
            let begin = self.begin.clone().filter(|_| self.starts_behind());
            let list = List::Keys {
                prefix: &self.prefix,
                after: begin.as_deref(),
            };
            // What comes before it in spite of that shows another order.
            self.told = begin.clone();
            self.circle.restart();
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

enum Judged {
    Wanted,
    Done,
    Disorder,
}

/// Whether `key` is in the folder that has the name of the file, or the marker, `file`.
fn is_below(key: &str, file: &str) -> bool {
    let rest = key.strip_prefix(file.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a listing goes round in circles, and whether it came further than the one before.
#[derive(Debug, Default)]
struct Circle {
    told: u64,
    furthest: u64,
    /// So often the last key was told again.
    repeated: u32,
    /// The key of a number that is a power of two: a circle that is no longer comes back to it.
    mark: Option<String>,
}

impl Circle {
    fn restart(&mut self) {
        self.told = 0;
        self.repeated = 0;
        self.mark = None;
    }

    /// Whether this key, told after another, closes a circle. A page that begins with the last key of the one before does not, where
    /// there is an order.
    fn closes(&mut self, name: &str, before: Option<&str>, ordered: bool) -> bool {
        self.told += 1;
        if ordered {
            self.repeated = if before == Some(name) {
                self.repeated + 1
            } else {
                0
            };
            return self.repeated > 1;
        }
        if self.mark.as_deref() == Some(name) {
            return true;
        }
        if self.told.is_power_of_two() {
            self.mark = Some(name.to_owned());
        }
        false
    }

    fn is_further(&mut self) -> bool {
        let further = self.told > self.furthest;
        self.furthest = self.furthest.max(self.told);
        further
    }
}
