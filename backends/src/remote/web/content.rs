//! Reading a range of a file.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, BoxStream, StreamExt};
use http::Method;
use http::header::{CONTENT_RANGE, ETAG, IF_MATCH, RANGE};
use reqwest::Response;
use url::Url;
use wl_core::storage::{ErrorKind, StorageError};

use super::super::store::{Again, Fault, Found, Outcome, Reading};
use super::{Client, Request, answer, broken, text};

/// A body that stands still for so long will not go on.
const STILL: Duration = Duration::from_secs(60);

/// Starts to read. Servers that ignore `If-Match` or `Range` are seen through; where the answer names no version it is in
/// `found`, and the caller has to look.
pub(crate) async fn read(
    client: &Client,
    url: Url,
    range: Range<u64>,
    tag: Option<&str>,
) -> Outcome<Reading> {
    let mut request = Request::new(Method::GET, url);
    if range.start < range.end {
        let span = format!("bytes={}-{}", range.start, range.end - 1);
        request = request.header(RANGE, span);
    }
    if let Some(tag) = tag {
        request = request.header(IF_MATCH, format!("\"{tag}\""));
    }
    let reply = client.send(request).await?;
    let status = reply.status();
    let skip = match status.as_u16() {
        200 => range.start,
        206 if begins(&reply) == Some(range.start) => 0,
        206 => return Err(busy("the server sends another range than it was asked for")),
        412 => return Err(busy("it was replaced before it was read")),
        416 => return Err(busy("it is shorter than it was")),
        _ => return Err(answer::fault(status, reply.headers())),
    };
    if let (Some(tag), Some(now)) = (tag, answer::header(reply.headers(), &ETAG))
        && text::inner(now).as_deref() != Some(tag)
    {
        return Err(busy("it was replaced before it was read"));
    }
    let found = answer::found(status, reply.headers());
    if found.as_ref().is_some_and(|found| found.size < range.end) {
        return Err(busy("it is shorter than it was"));
    }
    Ok(Reading {
        found,
        pieces: cut(pieces(reply), skip, range.end.saturating_sub(range.start)),
    })
}

fn begins(reply: &Response) -> Option<u64> {
    let span = answer::header(reply.headers(), &CONTENT_RANGE)?;
    span.trim()
        .strip_prefix("bytes")?
        .trim()
        .split_once('-')?
        .0
        .parse()
        .ok()
}

fn busy(reason: &str) -> Fault {
    StorageError::new(ErrorKind::Busy, "read", reason).into()
}

/// The pieces of a body.
pub(crate) fn pieces(reply: Response) -> BoxStream<'static, Outcome<Bytes>> {
    let next = |reply: Option<Response>| async move {
        let mut reply = reply?;
        match tokio::time::timeout(STILL, reply.chunk()).await {
            Ok(Ok(Some(piece))) => Some((Ok(piece), Some(reply))),
            Ok(Ok(None)) => None,
            Ok(Err(error)) => Some((Err(broken(error, false)), None)),
            Err(_) => Some((Err(stalled()), None)),
        }
    };
    stream::unfold(Some(reply), next).boxed()
}

fn stalled() -> Fault {
    let reason = format!(
        "the server stopped sending for {} s; try again",
        STILL.as_secs()
    );
    Fault {
        error: StorageError::new(ErrorKind::Temporary, "read", reason),
        again: Again::After(None),
        unclear: false,
    }
}

/// At most `length` bytes after the first `skip`: a server that ignores ranges sends the whole file.
fn cut(
    pieces: BoxStream<'static, Outcome<Bytes>>,
    skip: u64,
    length: u64,
) -> BoxStream<'static, Outcome<Bytes>> {
    let next = |(mut pieces, mut skip, mut left): (
        BoxStream<'static, Outcome<Bytes>>,
        u64,
        u64,
    )| async move {
        while left > 0 {
            let mut piece = match pieces.next().await? {
                Ok(piece) => piece,
                Err(fault) => return Some((Err(fault), (pieces, skip, 0))),
            };
            let jump = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len());
            let _ = piece.split_to(jump);
            skip -= jump as u64;
            piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            if !piece.is_empty() {
                left -= piece.len() as u64;
                return Some((Ok(piece), (pieces, skip, left)));
            }
        }
        None
    };
    stream::unfold((pieces, skip, length), next).boxed()
}

/// The tag and the look that are still to come, the pieces, and the one that is held back.
type Checked = (
    Option<(Box<str>, BoxFuture<'static, Outcome<Option<Found>>>)>,
    BoxStream<'static, Outcome<Bytes>>,
    Option<Bytes>,
);

/// The same pieces; the last one only after another `look`, which must find the same tag. Servers that write in place send what is half
/// written, in full length and under the old tag: `dav-server` zeros, rclone a mixture.
pub(crate) fn unchanged(
    pieces: BoxStream<'static, Outcome<Bytes>>,
    tag: Box<str>,
    look: impl Future<Output = Outcome<Option<Found>>> + Send + 'static,
) -> BoxStream<'static, Outcome<Bytes>> {
    let state = (Some((tag, look.boxed())), pieces, None);
    let next = |(check, mut pieces, mut held): Checked| async move {
        let (tag, look) = check?;
        loop {
            match (pieces.next().await, held.take()) {
                (Some(Ok(piece)), None) => held = Some(piece),
                (Some(Ok(piece)), Some(before)) => {
                    return Some((Ok(before), (Some((tag, look)), pieces, Some(piece))));
                }
                (Some(Err(fault)), _) => return Some((Err(fault), (None, pieces, None))),
                (None, last) => {
                    let last = last?;
                    let last = match look.await {
                        Ok(Some(Found { tag: Some(now), .. })) if now == tag => Ok(last),
                        Ok(_) => Err(busy("it was replaced while it was read")),
                        Err(fault) => Err(fault),
                    };
                    return Some((last, (None, pieces, None)));
                }
            }
        }
    };
    stream::unfold(state, next).boxed()
}

/// A whole small body; more than `limit` bytes are an error.
pub(crate) async fn whole(reply: Response, limit: usize) -> Outcome<Vec<u8>> {
    let mut pieces = pieces(reply);
    let mut body = Vec::new();
    while let Some(piece) = pieces.next().await {
        body.extend_from_slice(&piece?);
        if body.len() > limit {
            let reason = "the server's answer is far too long; check that `url` is right";
            return Err(StorageError::new(ErrorKind::Other, "request", reason).into());
        }
    }
    Ok(body)
}
