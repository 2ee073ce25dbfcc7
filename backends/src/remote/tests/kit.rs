//! A store in memory that reads only, and fails when told.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use wl_core::model::{Kind, Mode, SyncPath, Timestamp};
use wl_core::storage::*;

use super::super::order::{KnownOrder, Order};
use super::super::probe::Proven;
use super::super::store::*;
use super::super::wire::Wire;
use super::super::{Remote, capabilities};

/// How a server lists its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lists {
    /// In the order of their bytes.
    Bytes,
    /// Folder by folder, and behind a file only what is not in the folder of its name, as SeaweedFS does it.
    Folders,
    /// From the last to the first.
    Backwards,
    /// Anyhow, and each time otherwise; where it starts it does not care.
    Shuffled,
    /// The first page again and again.
    Circle,
    /// In order, but each page begins with the last key of the one before.
    Overlap,
    /// Folder by folder, and a page that ends with a file whose folder alone follows is called the last.
    EndsEarly,
}

#[derive(Debug)]
pub(super) struct Fake {
    pub facts: Facts,
    /// Flat: keys. Otherwise paths; those with `/` at the end are folders.
    pub keys: Mutex<BTreeMap<String, Vec<u8>>>,
    pub page: usize,
    pub pulse: Arc<Pulse>,
    /// These folders cannot be listed.
    pub broken: Mutex<BTreeMap<String, ErrorKind>>,
    /// What the pages told.
    pub told: Arc<Mutex<Vec<String>>>,
    pub starts: Mutex<Vec<String>>,
    /// Every read tells this many bytes less, so many times.
    pub cut: AtomicUsize,
    pub tagged: bool,
    pub noted: Mutex<Noted>,
    /// In which order keys come.
    pub lists: Mutex<Lists>,
    /// What is believed of that.
    pub believed: Mutex<Order>,
    /// The range that begins here waits until the one that begins there was read.
    pub slow: Mutex<Option<(u64, u64)>>,
    pub was_read: tokio::sync::Notify,
    pub now_reading: AtomicUsize,
    pub most_reading: AtomicUsize,
}

pub(in super::super) const READ_ONLY: Facts = Facts {
    flat: true,
    start_after: true,
    conditions: Conditions {
        create: true,
        replace: true,
        remove: true,
    },
    probe: false,
    notes: false,
    mtime_resolution: None,
    clock: 1_000_000_000,
    modes: false,
    links: false,
    copies: false,
    renames: false,
    folds_case: false,
    writable: true,
    parallel: 4,
    range: 1000,
};

impl Fake {
    pub fn new(facts: Facts, keys: &[&str], page: usize) -> Arc<Self> {
        let keys = keys.iter().map(|key| {
            (
                (*key).to_owned(),
                if key.ends_with('/') {
                    vec![]
                } else {
                    key.as_bytes().to_vec()
                },
            )
        });
        Arc::new(Self {
            facts,
            keys: Mutex::new(keys.collect()),
            page,
            pulse: Arc::default(),
            broken: Mutex::default(),
            told: Arc::default(),
            starts: Mutex::default(),
            cut: AtomicUsize::new(0),
            tagged: true,
            noted: Mutex::default(),
            lists: Mutex::new(Lists::Bytes),
            believed: Mutex::new(Order::Bytes),
            slow: Mutex::default(),
            was_read: tokio::sync::Notify::new(),
            now_reading: AtomicUsize::new(0),
            most_reading: AtomicUsize::new(0),
        })
    }

    pub fn remote(self: &Arc<Self>) -> Arc<Remote> {
        self.limited(Limits::default())
    }

    pub fn limited(self: &Arc<Self>, limits: Limits) -> Arc<Remote> {
        let wire = Wire::pretending(Arc::clone(self) as Arc<dyn Store>, limits);
        Arc::new(Remote {
            type_name: "fake",
            location: "fake://here".into(),
            identity: "fake".into(),
            capabilities: capabilities(&self.facts, Proven::default()),
            conditions: self.facts.conditions,
            large: self.facts.conditions,
            copies_in: false,
            verifies: false,
            order: KnownOrder::new(*self.believed.lock().unwrap(), None),
            wire,
        })
    }

    pub fn set(&self, key: &str, content: &[u8]) {
        self.keys.lock().unwrap().insert(key.into(), content.into());
    }

    pub fn found(&self, key: &str, content: &[u8]) -> Found {
        let folder = key.ends_with('/') && content.is_empty();
        let sum = content.iter().fold(content.len() as u64, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
        });
        Found {
            kind: if folder { Kind::Folder } else { Kind::File },
            size: content.len() as u64,
            tag: self.tagged.then(|| format!("\"{sum:x}\"").into()),
            modified: Some(Timestamp {
                secs: (sum % 1_000_000) as i64,
                nanos: 0,
            }),
            mode: None,
            link: None,
            file_id: None,
            noted: *self.noted.lock().unwrap(),
            operation: None,
        }
    }
}

/// Counts requests and lets some of them fail.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// The numbers of the requests (from 0) that fail, and how.
    pub faults: Mutex<BTreeMap<usize, Again>>,
    pub sent: AtomicUsize,
}

impl Pulse {
    fn request(&self) -> Outcome<()> {
        let number = self.sent.fetch_add(1, SeqCst);
        match self.faults.lock().unwrap().remove(&number) {
            None => Ok(()),
            Some(again) => Err(fault(ErrorKind::Other, again)),
        }
    }
}

pub(super) fn fault(kind: ErrorKind, again: Again) -> Fault {
    Fault {
        error: StorageError::new(kind, "fake", "trouble was asked for"),
        again,
        unclear: false,
    }
}

struct FakePages {
    pulse: Arc<Pulse>,
    told: Arc<Mutex<Vec<String>>>,
    page: usize,
    rows: std::vec::IntoIter<Listed>,
}

#[async_trait]
impl Pages for FakePages {
    async fn next(&mut self) -> Outcome<Option<Vec<Listed>>> {
        self.pulse.request()?;
        tokio::task::yield_now().await;
        let page: Vec<_> = self.rows.by_ref().take(self.page).collect();
        let names = page.iter().map(|listed| listed.name.clone());
        self.told.lock().unwrap().extend(names);
        Ok(Some(page).filter(|page| !page.is_empty()))
    }
}

impl Fake {
    fn rows(&self, list: List<'_>) -> Outcome<Vec<Listed>> {
        let keys = self.keys.lock().unwrap();
        let listed = |name: &str, key: &str, content: &[u8]| Listed {
            name: name.to_owned(),
            found: self.found(key, content),
            lossy: name.contains('\u{FFFD}'),
            special: name.starts_with("socket"),
        };
        match list {
            List::Keys { prefix, after } => {
                assert!(after.is_none() || self.facts.start_after);
                Ok(keys
                    .iter()
                    .filter(|(key, _)| {
                        key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after)
                    })
                    .map(|(key, content)| listed(key, key, content))
                    .collect())
            }
            List::Folder(path) => {
                if let Some(kind) = self.broken.lock().unwrap().get(path.as_str()) {
                    return Err(fault(*kind, Again::Never));
                }
                let prefix = match path.is_root() {
                    true => String::new(),
                    false => format!("{}/", path.as_str()),
                };
                if !path.is_root() && !keys.contains_key(&prefix) {
                    return Err(fault(ErrorKind::NotFound, Again::Never));
                }
                let mut rows: Vec<_> = keys
                    .iter()
                    .filter_map(|(key, content)| {
                        let rest = key.strip_prefix(&prefix)?;
                        let name = rest.strip_suffix('/').unwrap_or(rest);
                        (!name.is_empty() && !name.contains('/'))
                            .then(|| listed(name, key, content))
                    })
                    .collect();
                // In no order of use to anybody.
                rows.sort_by_key(|listed| listed.name.bytes().rev().collect::<Vec<_>>());
                Ok(rows)
            }
        }
    }
}

impl Fake {
    /// Brings the keys into the order in which they are listed.
    fn disturb(&self, rows: &mut Vec<Listed>, lists: Lists, after: Option<&str>) {
        let place = |key: &str| -> Vec<u16> {
            let first = |byte: u8| if byte == b'/' { 0 } else { u16::from(byte) + 1 };
            key.bytes().map(first).collect()
        };
        match lists {
            Lists::Bytes => {}
            Lists::Folders | Lists::EndsEarly => {
                rows.sort_by_key(|listed| place(&listed.name));
                if let Some(after) = after {
                    let below = format!("{}/", after.trim_end_matches('/'));
                    let kept = after.ends_with('/');
                    rows.retain(|listed| {
                        place(&listed.name) > place(after)
                            && (kept || !listed.name.starts_with(&below))
                    });
                }
                if lists == Lists::EndsEarly {
                    end_early(rows, self.page);
                }
            }
            Lists::Backwards => rows.reverse(),
            Lists::Shuffled => {
                let mut dice = Dice(self.pulse.sent.load(SeqCst) as u64 + 99);
                for at in (1..rows.len()).rev() {
                    rows.swap(at, dice.below(at + 1));
                }
            }
            Lists::Circle => {
                let first: Vec<_> = rows.iter().take(self.page).cloned().collect();
                *rows = first
                    .iter()
                    .cycle()
                    .take(first.len() * 1000)
                    .cloned()
                    .collect();
            }
            Lists::Overlap => {
                let mut told = Vec::new();
                for page in rows.chunks(self.page.max(2) - 1) {
                    told.extend(told.last().cloned());
                    told.extend_from_slice(page);
                }
                *rows = told;
            }
        }
    }
}

fn end_early(rows: &mut Vec<Listed>, page: usize) {
    let ends: Vec<usize> = (page..rows.len()).step_by(page).collect();
    for end in ends {
        let below = format!("{}/", rows[end - 1].name.trim_end_matches('/'));
        if rows[end..].iter().all(|row| row.name.starts_with(&below)) {
            rows.truncate(end);
            return;
        }
    }
}

fn unused<T>() -> Outcome<T> {
    Err(fault(ErrorKind::Unsupported, Again::Never))
}

#[async_trait]
impl Store for Fake {
    fn facts(&self) -> &Facts {
        &self.facts
    }
    fn location(&self) -> &str {
        "fake://here"
    }
    fn identity(&self) -> &str {
        "fake"
    }
    fn server(&self) -> &str {
        "fake"
    }
    fn refuses(&self, path: &SyncPath) -> Option<String> {
        let bad = |part: &str| part.ends_with(' ');
        path.as_str()
            .split('/')
            .any(bad)
            .then(|| "ends with a blank; rename it".to_owned())
    }

    async fn list(&self, list: List<'_>) -> Outcome<Box<dyn Pages>> {
        if let List::Keys { prefix, after } = list {
            let start = format!("{prefix}|{}", after.unwrap_or_default());
            self.starts.lock().unwrap().push(start);
        }
        let lists = *self.lists.lock().unwrap();
        let mut rows = match (lists, list) {
            (Lists::Bytes | Lists::Circle, _) | (_, List::Folder(_)) => self.rows(list)?,
            (_, List::Keys { prefix, .. }) => {
                let after = None;
                self.rows(List::Keys { prefix, after })?
            }
        };
        if let List::Keys { after, .. } = list {
            self.disturb(&mut rows, lists, after);
        }
        let rows = rows.into_iter();
        Ok(Box::new(FakePages {
            pulse: Arc::clone(&self.pulse),
            told: Arc::clone(&self.told),
            page: self.page,
            rows,
        }))
    }

    async fn stat(&self, path: &SyncPath) -> Outcome<Option<Found>> {
        self.pulse.request()?;
        let keys = self.keys.lock().unwrap();
        let marker = format!("{}/", path.as_str());
        if let Some(content) = keys.get(path.as_str()) {
            return Ok(Some(self.found(path.as_str(), content)));
        }
        let folder = keys.keys().any(|key| key.starts_with(&marker)) || path.is_root();
        Ok(folder.then(|| self.found(&marker, b"")))
    }

    async fn read(
        &self,
        path: &SyncPath,
        range: Range<u64>,
        tag: Option<&str>,
    ) -> Outcome<Reading> {
        let now = self.now_reading.fetch_add(1, SeqCst) + 1;
        self.most_reading.fetch_max(now, SeqCst);
        tokio::task::yield_now().await;
        self.now_reading.fetch_sub(1, SeqCst);
        let slow = *self.slow.lock().unwrap();
        if let Some((waits, other)) = slow {
            if range.start == waits {
                self.was_read.notified().await;
            } else if range.start == other {
                self.was_read.notify_one();
            }
        }
        self.pulse.request()?;
        let keys = self.keys.lock().unwrap();
        let Some(content) = keys.get(path.as_str()) else {
            return Err(fault(ErrorKind::NotFound, Again::Never));
        };
        let found = self.found(path.as_str(), content);
        if tag.is_some() && found.tag.as_deref() != tag {
            return Err(fault(ErrorKind::Busy, Again::Never));
        }
        let end = (range.end as usize).min(content.len());
        let mut part = content[(range.start as usize).min(end)..end].to_vec();
        if self.cut.load(SeqCst) > 0 {
            self.cut.fetch_sub(1, SeqCst);
            part.pop();
        }
        let pieces: Vec<_> = part
            .chunks(300)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        Ok(Reading {
            found: self.tagged.then_some(found),
            pieces: futures::stream::iter(pieces).boxed(),
        })
    }

    async fn put(&self, _: Put<'_>) -> Outcome<Found> {
        unused()
    }
    async fn upload(&self, _: UploadRequest<'_>) -> Outcome<Box<dyn Upload>> {
        unused()
    }
    async fn put_link(&self, _: &SyncPath, _: &str) -> Outcome<Found> {
        unused()
    }
    async fn remove(&self, _: &SyncPath, _: &Condition) -> Outcome<()> {
        unused()
    }
    async fn copy(&self, _: &SyncPath, _: Option<&str>, _: &SyncPath, _: bool) -> Outcome<Found> {
        unused()
    }
    async fn rename(&self, _: &SyncPath, _: &Condition, _: &SyncPath) -> Outcome<Found> {
        unused()
    }
    async fn make_folder(&self, _: &SyncPath, _: Option<Mode>) -> Outcome<Found> {
        unused()
    }
    async fn remove_folder(&self, _: &SyncPath) -> Outcome<()> {
        unused()
    }
    async fn set_mode(&self, _: &SyncPath, _: Mode) -> Outcome<Found> {
        unused()
    }
}

/// All rows, as texts: keys, with `?` absent, `!` excluded, `~` unknown, `^` unrepresentable.
pub(super) async fn rows(remote: &Arc<Remote>, request: ListRequest) -> Result<Vec<String>> {
    let mut listing = super::super::listing::list(remote, request)?;
    let mut rows = Vec::new();
    while let Some(batch) = listing.next().await? {
        rows.extend(batch);
    }
    let place = |row: &&Row| {
        !matches!(
            row,
            Row::Unrepresentable { .. } | Row::Unknown { subtree: true, .. }
        )
    };
    let keys: Vec<_> = rows.iter().filter(place).map(Row::key).collect();
    let unsorted = keys.windows(2).find(|two| two[0] >= two[1]);
    assert!(unsorted.is_none(), "out of order or twice: {unsorted:?}");
    Ok(rows.iter().map(text).collect())
}

fn text(row: &Row) -> String {
    let key = row.key().to_text();
    match row {
        Row::Present(_) => key,
        Row::Absent(_) => format!("?{key}"),
        Row::Excluded(_) => format!("!{key}"),
        Row::Unknown { .. } => format!("~{key}"),
        Row::Skipped(_) => format!("-{key}"),
        Row::Unrepresentable { name, .. } => format!("^{key} {name}"),
    }
}

pub(super) fn everything() -> ListRequest {
    ListRequest::everything(std::env::temp_dir())
}

/// Numbers that look random and are the same each time.
pub(super) struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit
    }
}
