//! Chunks are read and staged while the batch before them is published.

use std::sync::Arc;

use tokio::task::{JoinHandle, JoinSet};
use tracing::Instrument as _;

use super::context::Context;
use super::item::Item;
use super::publish::{Aftermath, Batch, broken, commit, flush, publish};
use super::work::work_on;
use crate::model::Side;
use crate::storage::SMALL_FILE;
use crate::sync::SyncError;

/// A chunk is worked on as one: so many paths, so many bytes in memory.
const CHUNK_ITEMS: usize = 64;
const CHUNK_BYTES: u64 = 1 << 20;

/// Chunks that are worked on at once.
const CHUNKS_AT_ONCE: usize = 4;

/// The way of a path from its decision to the baseline.
pub(super) struct Pipeline {
    context: Arc<Context>,
    chunk: Vec<Item>,
    chunk_bytes: u64,
    chunks: JoinSet<Result<Vec<Item>, SyncError>>,
    /// What is published next.
    pub(super) batch: Batch,
    publishing: Option<JoinHandle<Result<Aftermath, SyncError>>>,
    after: Aftermath,
    /// Whether a side that is written to keeps staged content in memory.
    in_memory: bool,
}

impl Pipeline {
    pub(super) fn new(context: Arc<Context>) -> Self {
        let keeps_in_memory = |side: &Side| {
            context.sessions[*side].is_some() && !context.job.storages[*side].capabilities().stages
        };
        Self {
            in_memory: Side::BOTH.iter().any(keeps_in_memory),
            context,
            chunk: Vec::new(),
            chunk_bytes: 0,
            chunks: JoinSet::new(),
            batch: Batch::default(),
            publishing: None,
            after: Aftermath::default(),
        }
    }

    /// Adds a path that needs reading or copying. Returns paths that are through with it.
    pub(super) async fn push(&mut self, item: Item) -> Result<Vec<Item>, SyncError> {
        let size = item.size();
        self.context.job.progress.found(1, size);
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
        match self.chunks.join_next().await {
            None => Ok(Vec::new()),
            Some(Ok(done)) => done,
            Some(Err(error)) => Err(broken(&error).into()),
        }
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

    /// Publishes the batch in the background, if it is full.
    pub(super) async fn publish_if_full(&mut self) -> Result<(), SyncError> {
        if self.batch.is_full(self.in_memory) {
            self.publish().await
        } else {
            Ok(())
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
        if let Some(publishing) = self.publishing.take() {
            let mut after = match publishing.await {
                Ok(after) => after?,
                Err(error) => return Err(broken(&error).into()),
            };
            self.after.rows.append(&mut after.rows);
        }
        Ok(())
    }

    /// The pass ends early. Nothing goes on behind its back, and what was published is recorded if it can be made durable;
    /// if not the next run finds it equal on both sides.
    pub(super) async fn abandon(&mut self) {
        self.chunk.clear();
        self.chunks.shutdown().await;
        self.batch = Batch::default();
        if self.settle().await.is_err() {
            return;
        }
        let rows = std::mem::take(&mut self.after.rows);
        if !rows.is_empty() && flush(&self.context).await.is_ok() {
            // The error that ended the pass is told; this one would only follow from it.
            let _ = commit(&self.context, rows).await;
        }
    }

    /// Publishes what is left, and records all of it once it is durable. Nothing may be on its way.
    pub(super) async fn complete(&mut self) -> Result<(), SyncError> {
        if !self.batch.is_empty() {
            self.publish().await?;
        }
        self.settle().await?;
        let rows = std::mem::take(&mut self.after.rows);
        if !rows.is_empty() {
            flush(&self.context).await?;
            commit(&self.context, rows).await?;
        }
        Ok(())
    }
}
