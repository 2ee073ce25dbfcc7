//! Large uploads: in parts, a few at once, and carried on where a run before was cut off.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use md5::{Digest, Md5};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wl_core::model::Kind;
use wl_core::storage::{ErrorKind, Noted};

use super::client::{Ask, Client, encode, refused};
use super::note::Note;
use super::xml;
use crate::remote::retry::Patience;
use crate::remote::store::{Again, Attributes, Condition, Fault, Found, Outcome, Upload};

/// Parts of this size, or larger ones where a file would have more than [`MOST_PARTS`].
const PART: u64 = 8 << 20;
/// The server takes 10,000.
const MOST_PARTS: u64 = 9_000;
/// Uploads from this size on are noted, so that they can be carried on.
const NOTED: u64 = 64 << 20;

/// How many parts may be in memory at once, in all uploads together.
#[derive(Clone, Debug)]
pub(crate) struct Parts(Arc<Semaphore>);

impl Parts {
    /// A budget of `count` parts.
    pub(crate) fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }
}

/// What the server has of a part, or gets of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    tag: String,
    size: u64,
}

/// A large file on its way.
#[derive(Debug)]
pub(crate) struct MultipartUpload {
    client: Client,
    key: String,
    size: u64,
    part: u64,
    upload: String,
    condition: Condition,
    parts: Parts,
    /// What the server had when the upload was carried on.
    there: BTreeMap<u32, Part>,
    /// What was sent or found right.
    done: BTreeMap<u32, Part>,
    sending: JoinSet<Outcome<(u32, Part)>>,
    /// The part that is being filled, and the right to hold it in memory.
    open: Option<(BytesMut, OwnedSemaphorePermit)>,
    /// The number of the last part that was begun.
    number: u32,
    committed: bool,
    noted: Noted,
    operation: Box<str>,
}

/// The headers of a condition on what is at the key.
pub(super) fn condition_headers(condition: &Condition) -> Outcome<HeaderMap> {
    let mut headers = HeaderMap::new();
    match condition {
        Condition::None => {}
        Condition::Absent => {
            headers.insert(http::header::IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        Condition::Is(tag) => {
            let value = HeaderValue::from_str(tag)
                .map_err(|_| refused(ErrorKind::Other, "the entity tag fits no header"))?;
            headers.insert(http::header::IF_MATCH, value);
        }
    }
    Ok(headers)
}

fn part_size(size: u64) -> u64 {
    at_least(PART, size)
}

/// Parts of `part` bytes, or as much larger as a file of this size needs them.
pub(super) fn at_least(part: u64, size: u64) -> u64 {
    match size.div_ceil(MOST_PARTS) {
        least if least > part => least.next_multiple_of(1 << 20),
        _ => part,
    }
}

/// What names a part in a request.
pub(super) fn part_query(upload: &str, number: u32) -> String {
    format!("partNumber={number}&uploadId={}", encode(upload, false))
}

impl MultipartUpload {
    /// Begins an upload to `key`, or carries one on that a run before was cut off in. `metadata` is what is noted beside it.
    pub(crate) async fn begin(
        client: Client,
        key: &str,
        size: u64,
        attributes: &Attributes,
        metadata: &[(String, String)],
        condition: Condition,
        parts: Parts,
    ) -> Outcome<Self> {
        let part = part_size(size);
        let lasting = |(name, _): &&(String, String)| matches!(&**name, "mtime" | "mode");
        let beside: BTreeMap<_, _> = metadata.iter().filter(lasting).cloned().collect();
        let resumed = match size {
            NOTED.. => client.resume(key, size, part, &beside).await?,
            _ => None,
        };
        let (upload, there) = match resumed {
            Some(found) => found,
            None => {
                let upload = client.create(key, metadata).await?;
                if size >= NOTED {
                    let upload = upload.clone();
                    let note = Note {
                        upload,
                        size,
                        part,
                        beside,
                    };
                    client.set_note(key, &note).await?;
                }
                (upload, BTreeMap::new())
            }
        };
        Ok(Self {
            client,
            key: key.to_owned(),
            size,
            part,
            upload,
            condition,
            parts,
            there,
            done: BTreeMap::new(),
            sending: JoinSet::new(),
            open: None,
            number: 0,
            committed: false,
            noted: Noted {
                mtime: attributes.mtime,
                mode: attributes.mode,
            },
            operation: attributes.operation.clone(),
        })
    }

    /// Sends the part that is full, unless the server has it.
    async fn close_part(&mut self) -> Outcome<()> {
        let Some((content, permit)) = self.open.take() else {
            return Ok(());
        };
        self.number += 1;
        let (number, content) = (self.number, content.freeze());
        let size = content.len() as u64;
        if let Some(there) = self.there.remove(&number) {
            if there.size == size && there.tag.trim_matches('"') == hex(&Md5::digest(&content)) {
                self.done.insert(number, there);
                return Ok(());
            }
            return self.give_up_resuming().await;
        }
        let (client, key, upload) = (self.client.clone(), self.key.clone(), self.upload.clone());
        self.sending.spawn(async move {
            let _held = permit;
            let tag = client.part(&key, &upload, number, content).await?;
            Ok((number, Part { tag, size }))
        });
        while let Some(sent) = self.sending.try_join_next() {
            self.take(sent)?;
        }
        Ok(())
    }

    /// The upload that was carried on holds another content: it was changed since, and its time and size say nothing of it. Not every
    /// server takes another content for a part that it has, so that the next attempt begins a new upload.
    async fn give_up_resuming(&self) -> Outcome<()> {
        self.client.drop_note(&self.key).await?;
        self.client.abort(&self.key, &self.upload).await?;
        let reason = "it changed since a run that was cut off began to send it; it is sent anew";
        Err(refused(ErrorKind::Busy, reason))
    }

    fn take(&mut self, sent: Result<Outcome<(u32, Part)>, tokio::task::JoinError>) -> Outcome<()> {
        let (number, part) = sent.map_err(|error| {
            refused(ErrorKind::Other, format!("a part was not sent: {error}"))
        })??;
        self.done.insert(number, part);
        Ok(())
    }

    /// The entity tag that the object will have, as servers make it of those of the parts; only good to recognise an own write.
    fn tag(&self) -> Option<String> {
        let mut all = Md5::new();
        for part in self.done.values() {
            all.update(unhex(part.tag.trim_matches('"'))?);
        }
        Some(format!("\"{}-{}\"", hex(&all.finalize()), self.done.len()))
    }

    fn found(&self, tag: Box<str>) -> Found {
        Found {
            kind: Kind::File,
            size: self.size,
            tag: Some(tag),
            modified: None,
            mode: None,
            link: None,
            file_id: None,
            noted: self.noted,
            operation: Some(self.operation.clone()),
        }
    }

    /// Another run, on another machine perhaps, may have found the note and sent its own parts. Not every server looks at the tags of
    /// the parts when it puts them together.
    async fn check_own(&self) -> Outcome<()> {
        let there = match self.client.parts(&self.key, &self.upload).await {
            Ok(there) => there,
            // Nothing was put together by this request.
            Err(fault) if fault.again != Again::Never => {
                return Err(Fault {
                    unclear: false,
                    ..fault
                });
            }
            // It may be completed already, or nobody may ask: then the server has to look at the tags.
            Err(_) => return Ok(()),
        };
        let foreign = |(number, part): (&u32, &Part)| {
            there.get(number).is_some_and(|there| {
                let tags = [&part.tag, &there.tag].map(|tag| unhex(tag.trim_matches('"')));
                there.size != part.size || matches!(&tags, [Some(a), Some(b)] if a != b)
            })
        };
        if self.done.iter().any(foreign) {
            let reason = "another run sends another content to the same path; run again";
            return Err(refused(ErrorKind::Busy, reason));
        }
        Ok(())
    }

    /// A reply was lost, and the server does not know the upload any more: whether what is there is what was sent.
    async fn arrived(&self) -> Outcome<Option<Box<str>>> {
        let answer = match self.client.send(Ask::new(Method::HEAD, &self.key)).await {
            Ok(answer) => answer,
            Err(fault) if fault.error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let tag = answer.etag();
        Ok(tag.filter(|tag| Some(&**tag) == self.tag().as_deref()))
    }
}

#[async_trait]
impl Upload for MultipartUpload {
    async fn write(&mut self, mut piece: Bytes) -> Outcome<()> {
        while !piece.is_empty() {
            if self.open.is_none() {
                let permit = Arc::clone(&self.parts.0).acquire_owned().await;
                let permit =
                    permit.map_err(|_| refused(ErrorKind::Other, "the storage is closed"))?;
                self.open = Some((BytesMut::with_capacity(self.part as usize), permit));
            }
            if let Some((content, _)) = &mut self.open {
                let room = self.part as usize - content.len();
                content.extend_from_slice(&piece.split_to(room.min(piece.len())));
                if content.len() as u64 == self.part {
                    self.close_part().await?;
                }
            }
        }
        Ok(())
    }

    async fn finish(&mut self) -> Outcome<()> {
        self.close_part().await?;
        while let Some(sent) = self.sending.join_next().await {
            self.take(sent)?;
        }
        let sent: u64 = self.done.values().map(|part| part.size).sum();
        if sent == self.size {
            return Ok(());
        }
        Err(refused(
            ErrorKind::Busy,
            format!("{} bytes were announced, {sent} came", self.size),
        ))
    }

    async fn commit(&mut self) -> Outcome<Found> {
        if self.size >= NOTED {
            self.check_own().await?;
        }
        let tags = self.done.iter().map(|(number, part)| (*number, &*part.tag));
        let done = self
            .client
            .complete(&self.key, &self.upload, tags, &self.condition);
        let tag = match done.await {
            Ok(tag) => tag,
            // It was completed before, and nobody heard of it; or it is gone for good.
            Err(fault) if fault.error.kind() == ErrorKind::NotFound => {
                match self.arrived().await? {
                    Some(tag) => tag,
                    None => return Err(fault),
                }
            }
            Err(fault) => return Err(fault),
        };
        self.committed = true;
        if self.size >= NOTED {
            // What is left behind is found to be of no use by the next upload to this path.
            let _left = self.client.drop_note(&self.key).await;
        }
        Ok(self.found(tag))
    }

    async fn abort(&mut self) -> Outcome<()> {
        self.sending.shutdown().await;
        self.open = None;
        // A long one may be carried on by the next run.
        if self.committed || self.size >= NOTED {
            return Ok(());
        }
        self.client.abort(&self.key, &self.upload).await
    }
}

impl Client {
    async fn create(&self, key: &str, metadata: &[(String, String)]) -> Outcome<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in metadata {
            let name = HeaderName::try_from(format!("x-amz-meta-{name}"));
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
                headers.insert(name, value);
            }
        }
        self.create_with(key, headers).await
    }

    /// Begins an upload of an object that will have these headers; gives the server's name for it.
    pub(super) async fn create_with(&self, key: &str, headers: HeaderMap) -> Outcome<String> {
        let mut ask = Ask::new(Method::POST, key);
        ask.query = "uploads=".to_owned();
        ask.headers = headers;
        let answer = self.send(ask).await?;
        let text = String::from_utf8_lossy(&answer.body);
        xml::first(&text, "UploadId").ok_or_else(|| {
            let why = "the server began an upload and did not say its name";
            refused(ErrorKind::Other, why)
        })
    }

    /// An upload to `key` that a run before began and that can be carried on, with the parts that the server has.
    async fn resume(
        &self,
        key: &str,
        size: u64,
        part: u64,
        beside: &BTreeMap<String, String>,
    ) -> Outcome<Option<(String, BTreeMap<u32, Part>)>> {
        let Some(note) = self.note(key).await? else {
            return Ok(None);
        };
        if note.size == size && note.part == part && note.beside == *beside {
            match self.parts(key, &note.upload).await {
                Ok(parts) => return Ok(Some((note.upload, parts))),
                // It is gone, or nobody may ask for its parts: then it is begun anew.
                Err(fault) if fault.again == Again::Never => {}
                Err(fault) => return Err(fault),
            }
        } else if let Err(fault) = self.abort(key, &note.upload).await
            && fault.error.kind() != ErrorKind::NotFound
        {
            return Err(fault);
        }
        Ok(None)
    }

    async fn parts(&self, key: &str, upload: &str) -> Outcome<BTreeMap<u32, Part>> {
        let mut parts = BTreeMap::new();
        loop {
            let after = parts.keys().next_back().copied().unwrap_or(0);
            let mut ask = Ask::new(Method::GET, key);
            ask.query = format!(
                "part-number-marker={after}&uploadId={}",
                encode(upload, false)
            );
            let answer = self.send(ask).await?;
            let text = String::from_utf8_lossy(&answer.body);
            let (mut number, mut tag) = (0, String::new());
            let before = parts.len();
            xml::each(&text, |path, text| match path {
                [_, part, name] if part == "Part" => match &**name {
                    "PartNumber" => number = text.parse().unwrap_or(0),
                    "ETag" => tag = text.to_owned(),
                    "Size" => {
                        let size = text.parse().unwrap_or(0);
                        let tag = std::mem::take(&mut tag);
                        parts.insert(number, Part { tag, size });
                    }
                    _ => {}
                },
                _ => {}
            });
            let more = xml::first(&text, "IsTruncated").as_deref() == Some("true");
            if !more || parts.len() == before {
                // Elements may come in any order: a part without a tag is sent again.
                return Ok(parts);
            }
        }
    }

    /// Sends a part.
    async fn part(&self, key: &str, upload: &str, number: u32, content: Bytes) -> Outcome<String> {
        let attempt = || async {
            let mut ask = Ask::new(Method::PUT, key);
            ask.query = part_query(upload, number);
            ask.body = content.clone();
            let answer = self.send(ask).await?;
            let why = "the server took a part and gave no tag for it";
            let tag = answer.etag();
            let tag = tag.ok_or_else(|| refused(ErrorKind::Other, why))?;
            Ok(tag.into())
        };
        self.patiently(attempt).await
    }

    /// Makes a part; tried again while trouble is temporary: a part that is made twice is one part.
    pub(super) async fn patiently<T, R: Future<Output = Outcome<T>>>(
        &self,
        attempt: impl Fn() -> R,
    ) -> Outcome<T> {
        let mut patience = Patience::default();
        loop {
            let fault = match attempt().await {
                Ok(done) => return Ok(done),
                Err(fault) => fault,
            };
            patience.wait(fault, &CancellationToken::new()).await?;
        }
    }

    /// Makes the object of its parts, under the condition.
    pub(super) async fn complete<'a>(
        &self,
        key: &str,
        upload: &str,
        parts: impl Iterator<Item = (u32, &'a str)>,
        condition: &Condition,
    ) -> Outcome<Box<str>> {
        let mut body = String::from("<CompleteMultipartUpload>");
        for (number, tag) in parts {
            let tag = tag.replace('&', "&amp;").replace('"', "&quot;");
            body.push_str(&format!(
                "<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"
            ));
        }
        body.push_str("</CompleteMultipartUpload>");
        let mut ask = Ask::new(Method::POST, key);
        ask.query = format!("uploadId={}", encode(upload, false));
        ask.headers = condition_headers(condition)?;
        ask.body = body.into();
        let answer = self.send(ask).await?;
        // The server answers 200 before it is done: an error may be in the body.
        let text = String::from_utf8_lossy(&answer.body);
        if let Some(tag) = xml::first(&text, "ETag") {
            return Ok(tag.into());
        }
        let code = xml::first(&text, "Code").unwrap_or_default();
        let kind = match &*code {
            "PreconditionFailed" | "ConditionalRequestConflict" => ErrorKind::Changed,
            _ => ErrorKind::Temporary,
        };
        let mut fault = refused(
            kind,
            format!("the server could not put the parts together: {code}"),
        );
        if kind == ErrorKind::Temporary {
            fault.again = Again::After(None);
            fault.unclear = true;
        }
        Err(fault)
    }

    pub(super) async fn abort(&self, key: &str, upload: &str) -> Outcome<()> {
        let mut ask = Ask::new(Method::DELETE, key);
        ask.query = format!("uploadId={}", encode(upload, false));
        self.send(ask).await.map(drop)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if digits.len() != 32 {
        return None;
    }
    let digit = |byte: u8| (byte as char).to_digit(16);
    let pairs = digits.chunks_exact(2);
    pairs
        .map(|pair| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8))
        .collect()
}
