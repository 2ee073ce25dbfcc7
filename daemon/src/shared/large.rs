//! Large files: one stream for all who are about equally far.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex as Short, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Mutex;
use wl_core::storage::{ContentReader, Noted, ReadRequest, Result, StorageBackend};

use super::{Version, lock};

/// Pieces (of up to 1 MiB) that a stream keeps for those who are behind.
const WINDOW: usize = 4;

/// The streams that are open.
#[derive(Debug, Default)]
pub(super) struct Larges(Short<HashMap<Version, Weak<Stream>>>);

/// A file that is being read for several.
struct Stream {
    state: Mutex<State>,
}

struct State {
    reader: Box<dyn ContentReader>,
    /// The last pieces; the first of them is the piece number `first`.
    pieces: VecDeque<Bytes>,
    first: usize,
    ended: bool,
    /// A read was begun and given up in the middle, or failed: nobody knows what the reader gives next.
    broken: bool,
}

/// What a stream has for a reader.
enum Piece {
    Content(Option<Bytes>, Noted),
    /// It is too late for it, or the stream is broken.
    Gone,
}

impl Stream {
    /// Piece `number`. Whoever is the first to want it reads it for all.
    async fn piece(&self, number: usize) -> Piece {
        let mut state = self.state.lock().await;
        loop {
            let Some(behind) = number.checked_sub(state.first) else {
                return Piece::Gone;
            };
            if let Some(piece) = state.pieces.get(behind) {
                return Piece::Content(Some(piece.clone()), state.reader.noted());
            }
            if state.ended {
                return Piece::Content(None, state.reader.noted());
            }
            if state.broken {
                return Piece::Gone;
            }
            // If this future is dropped while it reads, it stays so.
            state.broken = true;
            match state.reader.next().await {
                Ok(Some(piece)) => {
                    state.pieces.push_back(piece);
                    if state.pieces.len() > WINDOW {
                        state.pieces.pop_front();
                        state.first += 1;
                    }
                }
                Ok(None) => state.ended = true,
                Err(_) => return Piece::Gone,
            }
            state.broken = false;
        }
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

impl Larges {
    /// Reads with those who read this version at the moment, or begins a stream that others can join.
    pub(super) async fn read(
        &self,
        inner: &Arc<dyn StorageBackend>,
        version: Version,
        request: ReadRequest,
    ) -> Result<Box<dyn ContentReader>> {
        let open = lock(&self.0).get(&version).and_then(Weak::upgrade);
        let stream = match open {
            Some(stream) => stream,
            None => {
                let state = Mutex::new(State {
                    reader: inner.read(request.clone()).await?,
                    pieces: VecDeque::new(),
                    first: 0,
                    ended: false,
                    broken: false,
                });
                let stream = Arc::new(Stream { state });
                let mut all = lock(&self.0);
                all.retain(|_, stream| stream.strong_count() > 0);
                all.insert(version, Arc::downgrade(&stream));
                stream
            }
        };
        Ok(Box::new(Follower {
            inner: Arc::clone(inner),
            request,
            stream: Some(stream),
            own: None,
            next: 0,
            passed: 0,
            noted: Noted::default(),
        }))
    }
}

/// One of those who read a stream.
struct Follower {
    inner: Arc<dyn StorageBackend>,
    request: ReadRequest,
    stream: Option<Arc<Stream>>,
    /// Its own reader, once it could not follow any more.
    own: Option<Box<dyn ContentReader>>,
    next: usize,
    /// Bytes that it has got.
    passed: u64,
    noted: Noted,
}

impl Follower {
    /// Reads for itself, from the place that it had come to.
    async fn alone(&mut self) -> Result<Option<Bytes>> {
        let reader = match &mut self.own {
            Some(reader) => reader,
            None => {
                self.stream = None;
                let mut reader = self.inner.read(self.request.clone()).await?;
                let mut skip = self.passed;
                while skip > 0 {
                    let Some(mut piece) = reader.next().await? else {
                        break;
                    };
                    if piece.len() as u64 > skip {
                        let rest = piece.split_off(skip as usize);
                        self.own = Some(reader);
                        return Ok(Some(rest));
                    }
                    skip -= piece.len() as u64;
                }
                self.own.insert(reader)
            }
        };
        let piece = reader.next().await?;
        self.noted = reader.noted();
        Ok(piece)
    }
}

#[async_trait]
impl ContentReader for Follower {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(stream) = &self.stream {
            match stream.piece(self.next).await {
                Piece::Content(piece, noted) => {
                    self.next += 1;
                    self.passed += piece.as_ref().map_or(0, |piece| piece.len() as u64);
                    self.noted = noted;
                    return Ok(piece);
                }
                Piece::Gone => {}
            }
        }
        self.alone().await
    }

    fn noted(&self) -> Noted {
        self.noted
    }
}
