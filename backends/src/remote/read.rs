//! Reading: whole small files, many at a time; large ones in ranges, some of them ahead.
//!
//! What is read is the version that was asked for, whole, or an error. A storage with tags sees to that with every request; without
//! tags it is looked at before and after.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::future::join_all;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wl_core::model::{ContentHash, Hasher, Kind, SyncPath};
use wl_core::storage::{
    ContentReader, ErrorKind, Hashed, Noted, ReadRequest, Result, SmallRead, StorageError,
};

use super::store::{Again, Fault, Found, Outcome};
use super::{Remote, names, token};

/// The largest piece that is handed out.
const PIECE: usize = 1 << 20;
const CHANGED: &str = "the file changed while it was read; the next look reads it again";

/// Reads many small files at once.
pub(super) async fn read_small(
    remote: &Arc<Remote>,
    requests: Vec<ReadRequest>,
) -> Vec<Result<SmallRead>> {
    let parallel = remote.wire.facts().parallel.max(1);
    let reads = requests.into_iter().map(|request| {
        let file = File::new(remote, request);
        async move { file.whole().await }
    });
    futures::stream::iter(reads)
        .buffered(parallel)
        .collect()
        .await
}

/// Opens a file to be read in pieces.
pub(super) async fn open(remote: &Arc<Remote>, request: ReadRequest) -> Result<Reader> {
    let file = Arc::new(File::new(remote, request));
    let mut reader = Reader {
        ahead: VecDeque::new(),
        here: Bytes::new(),
        reached: 0,
        next: 0,
        noted: Noted::default(),
        ended: false,
        held: None,
        file,
    };
    let file = &reader.file;
    file.usable()?;
    let first = file.part_from(0);
    if first.is_empty() {
        reader.noted = file.check().await?.noted;
        return Ok(reader);
    }
    let part = file.part(first.clone()).await?;
    let noted = file.noted(part.found.as_ref()).await?;
    reader.noted = noted;
    reader.here = part.content;
    reader.reached = first.end;
    reader.next = first.end;
    Ok(reader)
}

/// What is at `path`. Where there are links, a path that leads through one has nothing at it: it may lead out of the root.
pub(super) async fn look(remote: &Remote, path: &SyncPath) -> Result<Option<Found>> {
    if !remote.wire.facts().links {
        return remote.wire.stat(path).await;
    }
    let above: Vec<_> = path.ancestors().collect();
    let above = join_all(above.iter().map(|above| remote.wire.stat(above)));
    // All at once: it takes no longer than one look.
    let (found, above) = futures::join!(remote.wire.stat(path), above);
    // From the top: what is asked through a link may be answered with an error.
    for folder in above {
        if folder?.is_none_or(|folder| folder.kind != Kind::Folder) {
            return Ok(None);
        }
    }
    found
}

/// The hash of the file at `path` and its attributes, equal before and after.
pub(super) async fn hash(
    remote: &Arc<Remote>,
    path: &SyncPath,
    cancel: &CancellationToken,
) -> Result<Hashed> {
    names::usable(remote, "hash", path)?;
    let told = || {
        let error = StorageError::new(ErrorKind::Cancelled, "hash", "told to stop");
        error.at(path).on(&remote.location)
    };
    let hashing = async {
        let now = token::now();
        let refuse = |kind, reason: &str| {
            StorageError::new(kind, "hash", reason)
                .at(path)
                .on(&remote.location)
        };
        let found = look(remote, path).await?;
        let found = found.ok_or_else(|| refuse(ErrorKind::NotFound, "it is gone"))?;
        if found.kind != Kind::File {
            return Err(refuse(ErrorKind::Changed, "it is not a file"));
        }
        let meta = remote.wire.meta(&found, now);
        if let Some(hash) = verified(remote, path, &found).await {
            return Ok(Hashed { hash, meta });
        }
        let request = ReadRequest {
            path: path.clone(),
            meta: meta.clone(),
        };
        let mut reader = open(remote, request).await?;
        let mut hasher = Hasher::new();
        while let Some(piece) = reader.next().await? {
            hasher.update(&piece);
            if cancel.is_cancelled() {
                return Err(told());
            }
        }
        let hash = hasher.finish();
        Ok(Hashed { hash, meta })
    };
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(told()),
        hashed = hashing => hashed,
    }
}

/// The hash as the storage has verified and kept it, of just this version. What stands in the way of that is no trouble: the content
/// is read then.
async fn verified(remote: &Remote, path: &SyncPath, found: &Found) -> Option<ContentHash> {
    let tag = found.tag.as_deref().filter(|_| remote.verifies)?;
    let _turn = remote.wire.turn(0).await;
    let hash = remote.wire.store().verified_hash(path, tag).await;
    hash.ok().flatten()
}

/// The version of a file that is meant.
struct File {
    remote: Arc<Remote>,
    request: ReadRequest,
}

/// A range's content, and the version as the reply told it.
struct Part {
    found: Option<Found>,
    content: Bytes,
}

impl File {
    fn new(remote: &Arc<Remote>, request: ReadRequest) -> Self {
        Self {
            remote: Arc::clone(remote),
            request,
        }
    }

    fn usable(&self) -> Result<()> {
        names::usable(&self.remote, "read", &self.request.path)
    }

    fn tag(&self) -> Option<&str> {
        token::tag(&self.request.meta.token)
    }

    fn refuse(&self, kind: ErrorKind, reason: &str) -> StorageError {
        StorageError::new(kind, "read", reason)
            .at(&self.request.path)
            .on(&self.remote.location)
    }

    /// What is there now, if it is the version that is meant.
    async fn check(&self) -> Result<Found> {
        let found = self.remote.wire.stat(&self.request.path).await?;
        let found = found.ok_or_else(|| self.refuse(ErrorKind::NotFound, "it is gone"))?;
        match token::is_same(&self.request.meta.token, &found) {
            true => Ok(found),
            false => Err(self.refuse(ErrorKind::Busy, CHANGED)),
        }
    }

    async fn whole(&self) -> Result<SmallRead> {
        self.usable()?;
        let size = self.request.meta.size;
        if size == 0 {
            let noted = self.check().await?.noted;
            return Ok(SmallRead {
                hash: ContentHash::of(b""),
                content: Bytes::new(),
                noted,
            });
        }
        let part = self.part(0..size).await?;
        let noted = self.noted(part.found.as_ref()).await?;
        if self.tag().is_none() && part.found.is_some() {
            // The listing saw this version before; the last look must see it too.
            self.check().await?;
        }
        Ok(SmallRead {
            hash: ContentHash::of(&part.content),
            content: part.content,
            noted,
        })
    }

    /// What was noted beside the content: told by the reply, or else looked up. Without a tag this look is also the one that sees
    /// whether it is still the version that the listing saw.
    async fn noted(&self, told: Option<&Found>) -> Result<Noted> {
        match told {
            Some(found) => Ok(found.noted),
            None if self.tag().is_some() && !self.remote.wire.facts().notes => Ok(Noted::default()),
            None => Ok(self.check().await?.noted),
        }
    }

    /// The range that begins at `start`.
    fn part_from(&self, start: u64) -> Range<u64> {
        let size = self.request.meta.size;
        let length = self.remote.wire.facts().range.max(1);
        start..size.min(start.saturating_add(length))
    }

    /// Reads a range, whole.
    async fn part(&self, range: Range<u64>) -> Result<Part> {
        let wire = &self.remote.wire;
        let attempt = || self.part_once(range.clone());
        wire.again("read", &self.request.path, attempt).await
    }

    async fn part_once(&self, range: Range<u64>) -> Outcome<Part> {
        let read = self.receive(range).await;
        let Err(fault) = read else { return read };
        // A file that was cut or replaced answers strangely; whoever looks sees why.
        let kind = fault.error.kind();
        if matches!(
            kind,
            ErrorKind::NotFound | ErrorKind::Busy | ErrorKind::Denied
        ) {
            return Err(fault);
        }
        let found = self.remote.wire.store().stat(&self.request.path).await;
        match found {
            Ok(Some(found)) if token::is_same(&self.request.meta.token, &found) => Err(fault),
            Ok(Some(_)) => Err(self.refuse(ErrorKind::Busy, CHANGED).into()),
            Ok(None) => Err(self.refuse(ErrorKind::NotFound, "it is gone").into()),
            Err(_) => Err(fault),
        }
    }

    async fn receive(&self, range: Range<u64>) -> Outcome<Part> {
        let wire = &self.remote.wire;
        let path = &self.request.path;
        let length = range.end - range.start;
        let mut reading = wire.store().read(path, range, self.tag()).await?;
        let found = reading.found.take();
        if let Some(found) = &found
            && !token::is_same(&self.request.meta.token, found)
        {
            return Err(self.refuse(ErrorKind::Busy, CHANGED).into());
        }
        let mut content = BytesMut::new();
        while let Some(piece) = reading.pieces.next().await {
            let piece = piece?;
            wire.receive(piece.len() as u64).await;
            if content.len() as u64 + piece.len() as u64 > length {
                return Err(self.unlike(length, "more"));
            }
            if content.is_empty() {
                content.reserve(usize::try_from(length).unwrap_or_default());
            }
            content.extend_from_slice(&piece);
        }
        if (content.len() as u64) < length {
            return Err(self.unlike(length, "less"));
        }
        Ok(Part {
            found,
            content: content.freeze(),
        })
    }

    fn unlike(&self, length: u64, than: &str) -> Fault {
        let reason = format!("the reply holds {than} than the {length} bytes that were asked for");
        Fault {
            error: self.refuse(ErrorKind::Temporary, &reason),
            again: Again::After(None),
            unclear: false,
        }
    }
}

/// A part that is on its way; dropping it gives it up.
struct Coming {
    part: JoinHandle<Result<Part>>,
    held: Option<OwnedSemaphorePermit>,
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.part.abort();
    }
}

/// A large file that is read in pieces. The part that is handed out is always its own; those ahead share a budget with all readers, and
/// nobody waits for it: so readers never wait for one another.
pub(super) struct Reader {
    file: Arc<File>,
    ahead: VecDeque<Coming>,
    here: Bytes,
    /// Where `here` ends in the file.
    reached: u64,
    /// Where what is not yet asked for begins.
    next: u64,
    noted: Noted,
    ended: bool,
    /// What the part that is handed out took from the budget.
    held: Option<OwnedSemaphorePermit>,
}

impl Reader {
    fn look_ahead(&mut self) {
        while self.next < self.file.request.meta.size {
            let Some(held) = self.file.remote.wire.part_ahead() else {
                return;
            };
            let range = self.file.part_from(self.next);
            self.next = range.end;
            let file = Arc::clone(&self.file);
            let part = tokio::spawn(async move { file.part(range).await });
            self.ahead.push_back(Coming {
                part,
                held: Some(held),
            });
        }
    }

    /// The next part; empty at the end. After an error nothing is skipped: the same part is next.
    async fn advance(&mut self) -> Result<()> {
        self.held = None;
        let range = self.file.part_from(self.reached);
        if range.is_empty() {
            return Ok(());
        }
        let part = self.take(range.clone()).await;
        if part.is_err() {
            self.ahead.clear();
            self.next = self.reached;
        }
        self.here = part?.content;
        self.reached = range.end;
        self.next = self.next.max(range.end);
        Ok(())
    }

    async fn take(&mut self, range: Range<u64>) -> Result<Part> {
        let Some(coming) = self.ahead.front_mut() else {
            return self.file.part(range).await;
        };
        let part = (&mut coming.part).await;
        self.held = coming.held.take();
        self.ahead.pop_front();
        part.map_err(|_| {
            let reason = "the reading broke off; run again";
            self.file.refuse(ErrorKind::Other, reason)
        })?
    }
}

#[async_trait]
impl ContentReader for Reader {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        if self.here.is_empty() {
            self.advance().await?;
        }
        if self.here.is_empty() {
            // Every part was of the version; here is told that it still is the one. An empty file was looked at when it was opened.
            if self.file.tag().is_none() || self.file.request.meta.size > 0 {
                self.file.check().await?;
            }
            self.ended = true;
            return Ok(None);
        }
        self.look_ahead();
        Ok(Some(self.here.split_to(self.here.len().min(PIECE))))
    }

    fn noted(&self) -> Noted {
        self.noted
    }
}
