//! What a continuous run tells while it goes on.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::SyncError;
use crate::model::{RunReport, Sides, SyncPath};
use crate::storage::{MOST_PLACES, Parts, WatchHealth};

/// What happened in a continuous run.
#[derive(Debug)]
pub enum News {
    /// How each side is watched from now on.
    Watching(Sides<WatchHealth>),
    /// A look at the storages begins; how far it is, is in the job's [`super::Progress`].
    Looking,
    /// It ended, and found and did this.
    Looked(Box<RunReport>),
    /// This changed and waits for its time from now on, in place of what was told to wait before; it may be nothing.
    Pending(Pending),
    /// A look does not get on, for this reason; `None`: it does again. That it has ended says the next [`News::Looked`].
    Silent(Option<String>),
    /// The run ended by itself, because of this; nothing is told after it.
    Ended(SyncError),
    /// The run ended by a fault in the program; nothing is told after it.
    Panicked(String),
}

/// So many paths that wait are named.
const MOST_NAMED: usize = 20;

/// What changed, or may have changed, and is not looked at before its time: nobody may say meanwhile that both sides are in sync.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// How many paths.
    pub paths: u64,
    /// The first of them.
    pub first: Vec<SyncPath>,
    /// Something may have changed anywhere, and nobody knows where: a watcher lost sight of its storage, or what is left out is another.
    pub anywhere: bool,
    /// When the last of it is looked at; later, if it goes on changing.
    pub until: Option<Instant>,
}

impl Pending {
    /// This path waits, too.
    pub fn add(&mut self, path: SyncPath, until: Instant) {
        if self.first.len() < MOST_NAMED {
            self.first.push(path);
        }
        self.add_more(1, until);
    }

    /// So many more wait that have no name.
    pub fn add_more(&mut self, paths: u64, until: Instant) {
        self.paths += paths;
        self.until = self.until.max(Some(until));
    }

    /// All of this waits, too. What is named already is not counted once more.
    pub fn add_parts(&mut self, parts: &Parts, until: Instant) {
        if parts.stands_for_many() {
            return self.add_more(MOST_PLACES as u64, until);
        }
        for path in parts.subtrees().iter().chain(parts.paths()) {
            if !self.first.contains(path) {
                self.add(path.clone(), until);
            }
        }
    }

    /// What waits may be anywhere.
    pub fn add_anywhere(&mut self, until: Instant) {
        self.anywhere = true;
        self.until = self.until.max(Some(until));
    }

    /// Whether anything waits.
    pub fn is_some(&self) -> bool {
        self.paths > 0 || self.anywhere
    }
}

/// Who is told news.
#[async_trait]
pub trait Listener: Debug + Send + Sync {
    /// Takes `news`, in the order in which they are told; the run goes on when this returns.
    async fn hear(&self, news: News);
}

/// A queue; it is waited for while it is full, and it is no error if nobody reads it any more.
#[async_trait]
impl Listener for mpsc::Sender<News> {
    async fn hear(&self, news: News) {
        let _ = self.send(news).await;
    }
}

/// Where news go. Whoever does not listen gets none, and holds nothing back.
#[derive(Clone, Debug, Default)]
pub struct NewsSender(Option<Arc<dyn Listener>>);

impl NewsSender {
    /// Tells `listener`.
    pub fn to(listener: impl Listener + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    /// Tells something.
    pub async fn tell(&self, news: News) {
        if let Some(listener) = &self.0 {
            listener.hear(news).await;
        }
    }
}
