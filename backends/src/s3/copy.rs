//! Copies within a server, from another bucket too; large ones inside a bucket part by part.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, HeaderValue, Method, header};
use wl_core::storage::ErrorKind;

use super::client::{Answer, Ask, Client, encode, refused};
use super::multipart::{at_least, condition_headers, part_query};
use super::xml;
use crate::remote::store::{Condition, Fault, Outcome};

/// So many parts of an object are copied at once.
const AT_ONCE: usize = 4;
/// What an object keeps when it is copied, beside `x-amz-meta-...`.
const KEPT: [header::HeaderName; 6] = [
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::EXPIRES,
];

/// How much is copied at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copies {
    /// The most that one request copies.
    pub(crate) most: u64,
    /// The size of parts of larger objects.
    pub(crate) part: u64,
}

impl Default for Copies {
    fn default() -> Self {
        Self {
            most: 5 << 30,
            part: 256 << 20,
        }
    }
}

/// What to copy.
#[derive(Debug)]
pub(crate) struct CopyRequest<'a> {
    /// The bucket to copy from.
    pub(crate) bucket: &'a str,
    /// The whole key there.
    pub(crate) key: &'a str,
    /// The version that is meant: its entity tag.
    pub(crate) tag: Option<&'a str>,
    /// Its size.
    pub(crate) size: u64,
    /// Where to, below the prefix of the client's storage.
    pub(crate) to: &'a str,
    /// What must hold there.
    pub(crate) condition: &'a Condition,
}

impl Client {
    /// Copies an object with what was noted beside it; gives the new entity tag. `Busy` if the source is another version,
    /// `Changed` if the condition does not hold.
    pub(crate) async fn copy_from(&self, request: CopyRequest<'_>) -> Outcome<Box<str>> {
        if request.size > self.copies.most {
            return Err(refused(
                ErrorKind::Unsupported,
                "a server copies up to 5 GiB at once; sync it with --syncer general",
            ));
        }
        let source = format!(
            "/{}/{}",
            encode(request.bucket, false),
            encode(request.key, true)
        );
        let mut ask = Ask::new(Method::PUT, request.to);
        ask.headers = condition_headers(request.condition)?;
        ask.headers.extend(source_headers(&source, request.tag)?);
        let answer = self.send(ask).await?;
        tag_of_copy(&answer)
    }

    /// Copies an object of this storage, whatever its size, with what was noted beside it; gives the new entity tag. `Changed` if the
    /// source is another version or the condition does not hold.
    pub(crate) async fn copy_within(
        &self,
        from: &str,
        tag: Option<&str>,
        to: &str,
        condition: &Condition,
    ) -> Outcome<Box<str>> {
        let endpoint = self.endpoint();
        let request = CopyRequest {
            bucket: &endpoint.bucket,
            key: &format!("{}{from}", endpoint.prefix),
            tag,
            // Not known: the server says it if it is too much.
            size: 0,
            to,
            condition,
        };
        let fault = match self.copy_from(request).await {
            Err(fault) if may_be_too_large(&fault) => fault,
            done => return done,
        };
        let source = self.source(from, tag).await?;
        match source.size > self.copies.most {
            true => self.copy_in_parts(from, &source, to, condition).await,
            false => Err(fault),
        }
    }

    /// What is to be copied, by a look.
    async fn source(&self, from: &str, tag: Option<&str>) -> Outcome<Source> {
        let mut ask = Ask::new(Method::HEAD, from);
        if let Some(tag) = tag {
            ask.headers.insert(header::IF_MATCH, value(tag)?);
        }
        let answer = self.send(ask).await?;
        let why = "the server does not tell the size and the entity tag of what is to be copied";
        let size = answer.headers.get(header::CONTENT_LENGTH);
        let size = size.and_then(|size| size.to_str().ok()?.parse().ok());
        let (Some(size), Some(tag)) = (size, answer.etag()) else {
            return Err(refused(ErrorKind::Other, why));
        };
        let kept = answer
            .headers
            .iter()
            .filter(|(name, _)| name.as_str().starts_with("x-amz-meta-") || KEPT.contains(name));
        Ok(Source {
            size,
            tag,
            beside: kept
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        })
    }

    /// Every part is of the one version that was looked at, and nothing is seen before the last request, which has the condition.
    async fn copy_in_parts(
        &self,
        from: &str,
        source: &Source,
        to: &str,
        condition: &Condition,
    ) -> Outcome<Box<str>> {
        // Nothing is there before it is completed, whatever became of a request.
        let unseen = |fault| Fault {
            unclear: false,
            ..fault
        };
        let created = self.create_with(to, source.beside.clone()).await;
        let upload = created.map_err(unseen)?;
        let done = match self.copy_parts(from, source, to, &upload).await {
            Ok(parts) => {
                let tags = parts.iter().map(|(number, tag)| (*number, &**tag));
                self.complete(to, &upload, tags, condition).await
            }
            Err(fault) => Err(unseen(fault)),
        };
        if done.is_err() {
            // What stays is not seen by anybody.
            self.abort(to, &upload).await.ok();
        }
        done
    }

    async fn copy_parts(
        &self,
        from: &str,
        source: &Source,
        to: &str,
        upload: &str,
    ) -> Outcome<BTreeMap<u32, Box<str>>> {
        let part = at_least(self.copies.part, source.size);
        let starts = (0..source.size).step_by(usize::try_from(part).unwrap_or(usize::MAX));
        let parts = (1..).zip(starts).map(|(number, start)| async move {
            let end = source.size.min(start + part) - 1;
            let attempt = || self.copy_part(from, &source.tag, to, (upload, number), (start, end));
            let tag = self.patiently(attempt).await?;
            Ok((number, tag))
        });
        // Collected first: a stream of borrowing closures is not `Send` for all lifetimes.
        let parts: Vec<_> = parts.collect();
        stream::iter(parts)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn copy_part(
        &self,
        from: &str,
        tag: &str,
        to: &str,
        (upload, number): (&str, u32),
        (start, end): (u64, u64),
    ) -> Outcome<Box<str>> {
        let endpoint = self.endpoint();
        let whole = format!("{}{from}", endpoint.prefix);
        let source = format!(
            "/{}/{}",
            encode(&endpoint.bucket, false),
            encode(&whole, true)
        );
        let mut ask = Ask::new(Method::PUT, to);
        ask.query = part_query(upload, number);
        ask.headers = source_headers(&source, Some(tag))?;
        let range = value(&format!("bytes={start}-{end}"))?;
        ask.headers.insert("x-amz-copy-source-range", range);
        tag_of_copy(&self.send(ask).await?)
    }
}

/// What is to be copied in parts.
struct Source {
    size: u64,
    tag: Box<str>,
    /// The headers that the copy gets too.
    beside: HeaderMap,
}

/// Servers have several words for it.
fn may_be_too_large(fault: &Fault) -> bool {
    !fault.unclear && matches!(fault.error.kind(), ErrorKind::Full | ErrorKind::Other)
}

fn value(text: &str) -> Outcome<HeaderValue> {
    HeaderValue::from_str(text)
        .map_err(|_| refused(ErrorKind::Unrepresentable, "the key fits no header"))
}

/// What is copied, and which version of it.
fn source_headers(source: &str, tag: Option<&str>) -> Outcome<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-copy-source", value(source)?);
    if let Some(tag) = tag {
        headers.insert("x-amz-copy-source-if-match", value(tag)?);
    }
    Ok(headers)
}

/// The server answers 200 before it has copied: an error may be in the body.
fn tag_of_copy(answer: &Answer) -> Outcome<Box<str>> {
    let text = String::from_utf8_lossy(&answer.body);
    match xml::first(&text, "ETag") {
        Some(tag) => Ok(tag.into()),
        None => {
            let code = xml::first(&text, "Code").unwrap_or_default();
            let mut fault = refused(
                ErrorKind::Temporary,
                format!("the server began to copy and failed: {code}"),
            );
            fault.again = crate::remote::store::Again::After(None);
            fault.unclear = true;
            Err(fault)
        }
    }
}
