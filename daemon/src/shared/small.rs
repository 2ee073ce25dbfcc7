//! Small files: read once, kept for a while.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Mutex;

use tokio::sync::Notify;
use wl_core::storage::{ReadRequest, Result, SmallRead, StorageBackend};

use super::{Version, lock};

/// Bytes of content that are kept of a storage.
const KEPT: usize = 16 * 1024 * 1024;

/// Small files that were read last, and those that are being read.
#[derive(Debug, Default)]
pub(super) struct Smalls {
    state: Mutex<State>,
    /// Something that was being read is there, or will not come.
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    kept: HashMap<Version, SmallRead>,
    order: VecDeque<Version>,
    bytes: usize,
    pending: HashSet<Version>,
}

impl State {
    fn keep(&mut self, version: Version, read: SmallRead) {
        let size = read.content.len();
        if size > KEPT || self.kept.contains_key(&version) {
            return;
        }
        self.bytes += size;
        self.order.push_back(version.clone());
        self.kept.insert(version, read);
        while self.bytes > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some(read) = self.kept.remove(&oldest) {
                self.bytes -= read.content.len();
            }
        }
    }
}

/// Files that this reader said it would read. Dropped in any way, nobody waits for them any more.
struct Claim<'a> {
    smalls: &'a Smalls,
    versions: Vec<Version>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.smalls.state);
        for version in &self.versions {
            state.pending.remove(version);
        }
        drop(state);
        self.smalls.news.notify_waiters();
    }
}

impl Smalls {
    /// Reads all; what others have read or are reading is not read again. The results are in the order of the requests.
    pub(super) async fn read(
        &self,
        inner: &dyn StorageBackend,
        requests: Vec<ReadRequest>,
    ) -> Vec<Result<SmallRead>> {
        let mut results: Vec<Option<Result<SmallRead>>> = requests.iter().map(|_| None).collect();
        let mut mine = Vec::new();
        let mut theirs = Vec::new();
        let mut claim = Claim {
            smalls: self,
            versions: Vec::new(),
        };
        {
            let mut state = lock(&self.state);
            for (at, request) in requests.iter().enumerate() {
                let Some(version) = Version::of(request) else {
                    mine.push(at);
                    continue;
                };
                if let Some(read) = state.kept.get(&version) {
                    results[at] = Some(Ok(read.clone()));
                } else if state.pending.contains(&version) {
                    theirs.push((at, version));
                } else {
                    state.pending.insert(version.clone());
                    claim.versions.push(version);
                    mine.push(at);
                }
            }
        }
        let wanted: Vec<_> = mine.iter().map(|at| requests[*at].clone()).collect();
        for (at, read) in mine.into_iter().zip(inner.read_small(wanted).await) {
            if let (Some(version), Ok(read)) = (Version::of(&requests[at]), &read) {
                lock(&self.state).keep(version, read.clone());
            }
            results[at] = Some(read);
        }
        drop(claim);
        let mut left = Vec::new();
        for (at, version) in theirs {
            match self.wait_for(&version).await {
                Some(read) => results[at] = Some(Ok(read)),
                None => left.push(at),
            }
        }
        // What others failed to read is read here, so that this reader has an error of its own.
        let wanted: Vec<_> = left.iter().map(|at| requests[*at].clone()).collect();
        if !wanted.is_empty() {
            for (at, read) in left.into_iter().zip(inner.read_small(wanted).await) {
                results[at] = Some(read);
            }
        }
        results.into_iter().flatten().collect()
    }

    /// What somebody else is reading; `None` if it did not come of it.
    async fn wait_for(&self, version: &Version) -> Option<SmallRead> {
        loop {
            let news = self.news.notified();
            {
                let state = lock(&self.state);
                if let Some(read) = state.kept.get(version) {
                    return Some(read.clone());
                }
                if !state.pending.contains(version) {
                    return None;
                }
            }
            news.await;
        }
    }
}
