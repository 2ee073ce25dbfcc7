//! Reading a range: several requests on their way at once.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, StreamExt};
use wl_core::storage::ErrorKind;

use super::client::{clear, fault, found, is_file};
use super::connection::{Answered, Connection, Handle, strange};
use super::packet::{self, Attrs, Body};
use super::site::Site;
use crate::remote::store::{Outcome, Reading};

/// Bytes that are asked for at once.
const WINDOW: u64 = 2 * 1024 * 1024;

/// A file that is open for reading.
struct Open {
    connection: Arc<Connection>,
    handle: Handle,
    before: Attrs,
}

/// Opens a file and starts to read a range of it.
pub(super) async fn read(site: &Site, path: &str, range: Range<u64>) -> Outcome<Reading> {
    let connection = site.connection("read").await?;
    let broken = |trouble| fault("read", trouble);
    // The protocol cannot open without following a link, so it is looked at first.
    match connection.lstat(path).await.map_err(broken)? {
        Some(attrs) if is_file(attrs) => {}
        Some(_) => {
            let reason = "what is there is no regular file any more";
            return Err(clear("read", ErrorKind::Changed, reason));
        }
        None => return Err(clear("read", ErrorKind::NotFound, "nothing is there")),
    }
    let opened = connection
        .open_file(path, packet::TO_READ, &Attrs::default())
        .await;
    let handle = opened.map_err(broken)?;
    let before = connection.fstat(&handle).await.map_err(broken)?;
    let end = range.end.min(before.size.unwrap_or(range.end));
    let step = u64::from(connection.offers().read);
    let open = Arc::new(Open {
        connection,
        handle,
        before,
    });
    let at_once = usize::try_from(WINDOW / step).unwrap_or(1).max(1);
    let last = Arc::clone(&open);
    let starts = stream::iter((range.start..end).step_by(usize::try_from(step).unwrap_or(1)));
    let pieces = starts
        .map(move |start| {
            let open = Arc::clone(&open);
            async move { open.piece(start, step.min(end - start)).await }
        })
        .buffered(at_once);
    let after = stream::once(async move { last.unchanged().await });
    // The last look yields a fault or nothing.
    let after = after.filter_map(|looked| async move { looked.err().map(Err) });
    Ok(Reading {
        found: found(before, None),
        pieces: pieces.chain(after).boxed(),
    })
}

impl Open {
    /// One piece; shorter only at the end of the file.
    async fn piece(&self, start: u64, length: u64) -> Outcome<Bytes> {
        let piece = self.read_all(start, length).await;
        piece.map_err(|trouble| fault("read", trouble))
    }

    async fn read_all(&self, start: u64, length: u64) -> Answered<Bytes> {
        let first = self.read_once(start, length).await?;
        if first.len() as u64 == length || first.is_empty() {
            return Ok(first);
        }
        // A server may give less than it was asked for.
        let mut whole = BytesMut::from(first);
        while (whole.len() as u64) < length {
            let done = whole.len() as u64;
            let more = self.read_once(start + done, length - done).await?;
            if more.is_empty() {
                break;
            }
            whole.extend_from_slice(&more);
        }
        Ok(whole.freeze())
    }

    async fn read_once(&self, start: u64, length: u64) -> Answered<Bytes> {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let answer = self.connection.ask(packet::READ, |packet| {
            packet.string(self.handle.name()).u64(start).u32(length)
        });
        match answer.body().await {
            Ok(Body::Data(data)) if data.len() as u64 <= u64::from(length) => Ok(data),
            Ok(_) => Err(strange()),
            Err(trouble) if trouble.is(packet::EOF) => Ok(Bytes::new()),
            Err(trouble) => Err(trouble),
        }
    }

    /// Whether the file is still what it was when it was opened.
    async fn unchanged(&self) -> Outcome<()> {
        let after = self.connection.fstat(&self.handle).await;
        let after = after.map_err(|trouble| fault("read", trouble))?;
        if (after.size, after.mtime) == (self.before.size, self.before.mtime) {
            return Ok(());
        }
        let reason = "it was written while it was read";
        Err(clear("read", ErrorKind::Busy, reason))
    }
}
