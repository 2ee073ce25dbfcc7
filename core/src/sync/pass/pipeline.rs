//! Chunks are read and staged while the batch before them is published.

use std::sync::Arc;

use tokio::task::{JoinError, JoinHandle, JoinSet};
use tracing::Instrument as _;

use super::context::Context;
use super::item::Item;
use super::publish::{Aftermath, Batch, broken, commit, commit_and_announce, flush, publish};
use super::work::work_on;
use crate::model::{Side, Sides};
use crate::planted::{Bug, planted};
use crate::reconcile::Verdict;
use crate::storage::SMALL_FILE;
use crate::sync::SyncError;

/// A chunk is worked on as one: so many paths, so many bytes in memory.
const CHUNK_ITEMS: usize = 64;
const CHUNK_BYTES: u64 = 1 << 20;

/// Chunks that are worked on at once.
const CHUNKS_AT_ONCE: usize = 4;

/// So many files are worth the syncs that a batch costs, if nothing else is published meanwhile.
const WORTH_IT: usize = 1024;

/// How a task ended.
type Joined<T> = Result<Result<T, SyncError>, JoinError>;

fn chunk(done: Joined<Vec<Item>>) -> Result<Vec<Item>, SyncError> {
    done.unwrap_or_else(|error| Err(broken(&error).into()))
}

/// The end of the batch that is being published, if there is one.
async fn ended(
    publishing: &mut Option<JoinHandle<Result<Aftermath, SyncError>>>,
) -> Option<Joined<Aftermath>> {
    match publishing {
        Some(publishing) => Some(publishing.await),
        None => None,
    }
}

/// The way of a path from its decision to the baseline.
pub(super) struct Pipeline {
    context: Arc<Context>,
    chunk: Vec<Item>,
    chunk_bytes: u64,
    chunks: JoinSet<Result<Vec<Item>, SyncError>>,
    /// Paths that were pushed and did not come back yet.
    on_their_way: usize,
    /// What is published next.
    pub(super) batch: Batch,
    publishing: Option<JoinHandle<Result<Aftermath, SyncError>>>,
    after: Aftermath,
    /// Somebody waits for each path: batches are no larger than what comes while the one before is published.
    pub(super) hurries: bool,
    /// The sides that are written to and keep staged content in memory.
    in_memory: Sides<bool>,
}

impl Pipeline {
    pub(super) fn new(context: Arc<Context>) -> Self {
        let keeps_in_memory = |side: Side| {
            context.sessions[side].is_some() && !context.job.storages[side].capabilities().stages
        };
        Self {
            in_memory: Sides::from_fn(keeps_in_memory),
            context,
            chunk: Vec::new(),
            chunk_bytes: 0,
            chunks: JoinSet::new(),
            on_their_way: 0,
            batch: Batch::default(),
            publishing: None,
            after: Aftermath::default(),
            hurries: false,
        }
    }

    /// Adds a path that needs reading or copying. Returns paths that are through with it.
    pub(super) async fn push(&mut self, item: Item) -> Result<Vec<Item>, SyncError> {
        let size = item.size();
        self.on_their_way += 1;
        // To confirm what is known is no work that anybody should hear of.
        if !(matches!(item.verdict, Verdict::Read(_)) && item.node.is_to_be_confirmed()) {
            self.context.job.progress.found(1, size);
        }
        if size > SMALL_FILE {
            self.chunks
                .spawn(work_on(Arc::clone(&self.context), vec![item]).in_current_span());
        } else {
            self.chunk.push(item);
            self.chunk_bytes += size;
            if self.chunk.len() >= CHUNK_ITEMS || self.chunk_bytes >= CHUNK_BYTES {
                self.start_chunk();
            }
        }
        let mut done = Vec::new();
        while self.chunks.len() >= CHUNKS_AT_ONCE {
            done.append(&mut self.next_chunk().await?);
        }
        Ok(done)
    }

    fn start_chunk(&mut self) {
        let chunk = std::mem::take(&mut self.chunk);
        self.chunk_bytes = 0;
        if !chunk.is_empty() {
            self.chunks
                .spawn(work_on(Arc::clone(&self.context), chunk).in_current_span());
        }
    }

    async fn next_chunk(&mut self) -> Result<Vec<Item>, SyncError> {
        let done = match self.chunks.join_next().await {
            None => Vec::new(),
            Some(done) => chunk(done)?,
        };
        self.on_their_way -= done.len();
        Ok(done)
    }

    /// The next paths that are through with reading and staging; empty when none is on its way.
    pub(super) async fn drain(&mut self) -> Result<Vec<Item>, SyncError> {
        self.start_chunk();
        while !self.chunks.is_empty() {
            let done = self.next_chunk().await?;
            if !done.is_empty() {
                return Ok(done);
            }
        }
        Ok(Vec::new())
    }

    /// Publishes the batch in the background, if it is full, or large enough for whoever waits for it.
    pub(super) async fn publish_if_full(&mut self) -> Result<(), SyncError> {
        let in_memory = Side::BOTH.iter().any(|&side| self.in_memory[side]);
        match self.batch.is_full(in_memory) || self.is_worth_it() {
            true => self.publish().await,
            false => Ok(()),
        }
    }

    /// Whether somebody waits for what is staged and nothing is published meanwhile: the rest is staged while the disk is waited for.
    fn is_worth_it(&self) -> bool {
        let idle = self.publishing.as_ref().is_none_or(JoinHandle::is_finished);
        self.hurries && idle && self.batch.files.len() >= WORTH_IT
    }

    /// Works on while a listing is waited for: starts what was pushed, and ends with paths that are through, or without when a batch is
    /// published. Does not end when there is nothing to do. May be dropped at any time.
    pub(super) async fn meanwhile(&mut self) -> Result<Vec<Item>, SyncError> {
        let remote = Side::BOTH.iter().any(|&side| self.in_memory[side]);
        if !remote {
            // Nothing of this side is far away: a batch that is small costs more than it gains.
            return std::future::pending().await;
        }
        self.start_chunk();
        tokio::select! {
            biased;
            Some(done) = self.chunks.join_next() => {
                let done = chunk(done)?;
                self.on_their_way -= done.len();
                Ok(done)
            }
            Some(done) = ended(&mut self.publishing) => {
                self.publishing = None;
                self.published(done)?;
                Ok(Vec::new())
            }
            else => std::future::pending().await,
        }
    }

    /// Publishes what is staged if nothing is gained by waiting: no batch is on its way, and no disk has to be waited for.
    pub(super) async fn publish_early(&mut self) -> Result<(), SyncError> {
        let files = &self.batch.files;
        let early = self.publishing.is_none()
            && !files.is_empty()
            && files.iter().all(|(_, to, _)| self.in_memory[*to]);
        match early {
            true => self.publish().await,
            false => Ok(()),
        }
    }

    async fn publish(&mut self) -> Result<(), SyncError> {
        self.settle().await?;
        let batch = std::mem::take(&mut self.batch);
        let before = std::mem::take(&mut self.after);
        let publish = publish(Arc::clone(&self.context), batch, before);
        self.publishing = Some(tokio::spawn(publish.in_current_span()));
        Ok(())
    }

    /// Waits for the batch that is being published.
    async fn settle(&mut self) -> Result<(), SyncError> {
        match self.publishing.take() {
            Some(publishing) => self.published(publishing.await),
            None => Ok(()),
        }
    }

    fn published(&mut self, done: Joined<Aftermath>) -> Result<(), SyncError> {
        let mut after = match done {
            Ok(after) => after?,
            Err(error) => return Err(broken(&error).into()),
        };
        self.after.rows.append(&mut after.rows);
        self.after.announced += after.announced;
        Ok(())
    }

    /// The pass ends early. Nothing goes on behind its back, and what was published is recorded if it can be made durable;
    /// if not the next run finds it equal on both sides.
    pub(super) async fn abandon(&mut self) {
        self.break_off().await;
        self.context.state().doubt_announced();
    }

    async fn break_off(&mut self) {
        self.chunk.clear();
        self.chunks.shutdown().await;
        let batch = std::mem::take(&mut self.batch);
        self.context.leave(self.on_their_way + batch.len());
        if self.settle().await.is_err() {
            return;
        }
        let Aftermath { rows, announced } = std::mem::take(&mut self.after);
        if !rows.is_empty() && flush(&self.context).await.is_ok() {
            // The error that ended the pass is told; this one would only follow from it.
            let _ = commit_and_announce(&self.context, rows, announced, Vec::new()).await;
        }
    }

    /// Publishes what is left, and records all of it once it is durable. Nothing may be on its way.
    pub(super) async fn complete(&mut self) -> Result<(), SyncError> {
        if !self.batch.is_empty() {
            self.publish().await?;
        }
        self.settle().await?;
        let Aftermath { rows, announced } = std::mem::take(&mut self.after);
        if !rows.is_empty() {
            if planted(Bug::RecordedBeforeDurable) {
                commit(&self.context, rows.clone()).await?;
            }
            flush(&self.context).await?;
        }
        commit_and_announce(&self.context, rows, announced, Vec::new()).await?;
        Ok(())
    }
}
