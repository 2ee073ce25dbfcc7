//! What a continuous run tells while it goes on.

use tokio::sync::mpsc;

use super::SyncError;
use crate::model::{RunReport, Sides};
use crate::storage::WatchHealth;

/// What happened in a continuous run.
#[derive(Debug)]
pub enum News {
    /// How each side is watched from now on.
    Watching(Sides<WatchHealth>),
    /// A look at the storages begins; how far it is, is in the job's [`super::Progress`].
    Looking,
    /// It ended, and found and did this.
    Looked(Box<RunReport>),
    /// The run ended by itself, because of this; nothing is told after it.
    Ended(SyncError),
    /// The run ended by a fault in the program; nothing is told after it.
    Panicked(String),
}

/// Where news go. Whoever does not listen gets none, and holds nothing back.
#[derive(Clone, Debug, Default)]
pub struct NewsSender(Option<mpsc::Sender<News>>);

impl NewsSender {
    /// Tells `listener`; it is waited for while its queue is full.
    pub fn to(listener: mpsc::Sender<News>) -> Self {
        Self(Some(listener))
    }

    /// Tells something. A listener that went away is no error.
    pub async fn tell(&self, news: News) {
        if let Some(listener) = &self.0 {
            let _ = listener.send(news).await;
        }
    }
}
