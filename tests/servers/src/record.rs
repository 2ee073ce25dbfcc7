//! What a server was asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::http::HeaderMap;

/// One request as it came: before anything decided what to do with it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What the request asks for: `PutObject`, `ListObjectsV2`, `PROPFIND`.
    pub operation: String,
    /// The HTTP method.
    pub method: String,
    /// The path as sent, with its escapes.
    pub path: String,
    /// The query as sent, without the `?`.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is still worked on.
    Open,
    /// It was answered with this status.
    Status(u16),
    /// The connection was dropped in the place of an answer.
    Dropped,
}

/// One line of the log.
#[derive(Clone, Debug)]
pub struct Logged {
    /// The request.
    pub seen: Seen,
    /// Its end.
    pub outcome: Outcome,
}

#[derive(Default)]
struct State {
    lines: Vec<Logged>,
    /// Lines with a smaller number were cleared.
    first: usize,
    open: usize,
    most: usize,
}

/// All requests of a server, in the order in which they came.
#[derive(Clone, Default)]
pub struct Record(Arc<Mutex<State>>);

impl Record {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn arrived(&self, seen: &Seen) -> usize {
        let mut state = self.state();
        state.lines.push(Logged {
            seen: seen.clone(),
            outcome: Outcome::Open,
        });
        state.open += 1;
        state.most = state.most.max(state.open);
        state.first + state.lines.len() - 1
    }

    pub(crate) fn ended(&self, number: usize, outcome: Outcome) {
        let mut state = self.state();
        state.open -= 1;
        let at = number.checked_sub(state.first);
        if let Some(line) = at.and_then(|at| state.lines.get_mut(at)) {
            line.outcome = outcome;
        }
    }

    /// How often each operation was asked for.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for line in &self.state().lines {
            *counts.entry(line.seen.operation.clone()).or_default() += 1;
        }
        counts
    }

    /// How often one operation was asked for.
    #[must_use]
    pub fn count(&self, operation: &str) -> u64 {
        self.counts().get(operation).copied().unwrap_or_default()
    }

    /// All requests since the start or the last [`Record::reset`].
    #[must_use]
    pub fn requests(&self) -> Vec<Logged> {
        self.state().lines.clone()
    }

    /// `METHOD path?query` of all requests, for assertions that can be read.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let line = |Logged { seen, .. }: &Logged| match seen.query.as_str() {
            "" => format!("{} {}", seen.method, seen.path),
            query => format!("{} {}?{query}", seen.method, seen.path),
        };
        self.state().lines.iter().map(line).collect()
    }

    /// The most requests that were worked on at the same time.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        self.state().most
    }

    /// Forgets what was asked so far.
    pub fn reset(&self) {
        let mut state = self.state();
        state.first += state.lines.len();
        state.lines.clear();
        state.most = state.open;
    }
}
