//! Copies within a server, from another bucket too.

use http::{HeaderValue, Method};
use wl_core::storage::ErrorKind;

use super::client::{Answer, Ask, Client, encode, refused};
use super::multipart::condition_headers;
use super::xml;
use crate::remote::store::{Condition, Outcome};

/// The most that one request copies: 5 GiB.
const MOST: u64 = 5 << 30;

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
        if request.size > MOST {
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
        let header = |text: &str| {
            HeaderValue::from_str(text)
                .map_err(|_| refused(ErrorKind::Unrepresentable, "the key fits no header"))
        };
        ask.headers.insert("x-amz-copy-source", header(&source)?);
        if let Some(tag) = request.tag {
            ask.headers
                .insert("x-amz-copy-source-if-match", header(tag)?);
        }
        let answer = self.send(ask).await?;
        tag_of_copy(&answer)
    }
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
