//! Objects in one request, with the SHA-256 that the server compares and keeps.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use wl_core::model::{ContentHash, Kind};
use wl_core::storage::{ErrorKind, Noted};

use super::client::{Ask, Client, refused};
use super::multipart::condition_headers;
use crate::remote::store::{Attributes, Condition, Found, Outcome, Upload};

const SUM: HeaderName = HeaderName::from_static("x-amz-checksum-sha256");
const KIND: HeaderName = HeaderName::from_static("x-amz-checksum-type");

/// What to put, and where.
#[derive(Clone, Debug)]
pub(crate) struct PutRequest {
    /// The key, below the prefix of the client's storage.
    pub(crate) key: String,
    /// What is noted beside it.
    pub(crate) notes: Vec<(String, String)>,
    /// What goes with it.
    pub(crate) attributes: Attributes,
    /// What must hold there.
    pub(crate) condition: Condition,
}

impl Client {
    /// Writes an object that the server refuses if its SHA-256 is not `hash`.
    pub(crate) async fn put(
        &self,
        request: &PutRequest,
        content: Bytes,
        hash: ContentHash,
    ) -> Outcome<Found> {
        let size = content.len() as u64;
        let mut ask = Ask::new(Method::PUT, &request.key);
        ask.headers = condition_headers(&request.condition)?;
        for (name, value) in &request.notes {
            let name = HeaderName::try_from(format!("x-amz-meta-{name}"));
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
                ask.headers.insert(name, value);
            }
        }
        let sum = HeaderValue::from_str(&STANDARD.encode(hash.as_bytes()))
            .map_err(|_| refused(ErrorKind::Other, "the hash fits no header"))?;
        ask.headers.insert(SUM, sum);
        ask.body = content;
        let answer = self.send(ask).await?;
        let attributes = &request.attributes;
        Ok(Found {
            kind: Kind::File,
            size,
            tag: answer.etag(),
            modified: None,
            mode: None,
            link: None,
            file_id: None,
            noted: Noted {
                mtime: attributes.mtime,
                mode: attributes.mode,
            },
            operation: Some(attributes.operation.clone()),
        })
    }

    /// Whether the server has something at this very key, listed or not.
    pub(crate) async fn has(&self, key: &str) -> Outcome<bool> {
        match self.send(Ask::new(Method::HEAD, key)).await {
            Ok(_) => Ok(true),
            Err(fault) if fault.error.kind() == ErrorKind::NotFound => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// The SHA-256 that the server keeps of the whole object, and the entity tag of the version that it is of.
    pub(crate) async fn sum(&self, key: &str) -> Outcome<Option<(ContentHash, Box<str>)>> {
        let mut ask = Ask::new(Method::HEAD, key);
        let mode = HeaderName::from_static("x-amz-checksum-mode");
        ask.headers
            .insert(mode, HeaderValue::from_static("ENABLED"));
        let answer = match self.send(ask).await {
            Ok(answer) => answer,
            Err(fault) if fault.error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(fault) => return Err(fault),
        };
        Ok(whole(&answer.headers).zip(answer.etag()))
    }
}

/// The hash of a whole object. A composite one is that of the hashes of its parts, and says nothing of the content.
fn whole(headers: &HeaderMap) -> Option<ContentHash> {
    if headers.get(KIND)? != "FULL_OBJECT" {
        return None;
    }
    let sum = STANDARD.decode(headers.get(SUM)?.as_bytes()).ok()?;
    Some(ContentHash::from_bytes(sum.try_into().ok()?))
}

/// A file that is too large to be staged as one piece and small enough for one request. It waits in memory, so that its hash is known
/// when it is sent.
#[derive(Debug)]
pub(crate) struct OnePut {
    client: Client,
    request: PutRequest,
    size: u64,
    content: BytesMut,
    /// All of it, once it is whole, with its hash.
    whole: Option<(Bytes, ContentHash)>,
}

impl OnePut {
    /// An upload of `size` bytes. Nothing is sent before the commit.
    pub(crate) fn new(client: Client, request: PutRequest, size: u64) -> Self {
        Self {
            client,
            request,
            size,
            content: BytesMut::new(),
            whole: None,
        }
    }
}

#[async_trait]
impl Upload for OnePut {
    async fn write(&mut self, piece: Bytes) -> Outcome<()> {
        let all = self.content.len() as u64 + piece.len() as u64;
        if all > self.size {
            return Err(refused(
                ErrorKind::Busy,
                format!("{} bytes were announced, {all} came", self.size),
            ));
        }
        self.content.extend_from_slice(&piece);
        Ok(())
    }

    async fn finish(&mut self) -> Outcome<()> {
        let content = std::mem::take(&mut self.content).freeze();
        if content.len() as u64 != self.size {
            return Err(refused(
                ErrorKind::Busy,
                format!("{} bytes were announced, {} came", self.size, content.len()),
            ));
        }
        let hash = ContentHash::of(&content);
        self.whole = Some((content, hash));
        Ok(())
    }

    async fn commit(&mut self) -> Outcome<Found> {
        let Some((content, hash)) = &self.whole else {
            return Err(refused(ErrorKind::Other, "the file is not whole"));
        };
        self.client.put(&self.request, content.clone(), *hash).await
    }

    async fn abort(&mut self) -> Outcome<()> {
        (self.content, self.whole) = (BytesMut::new(), None);
        Ok(())
    }
}
