//! Signed requests.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::opendal::{Buffer, HttpTransporter};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use reqsign_aws_v4::{
    Credential, DefaultCredentialProvider, RequestSigner, StaticCredentialProvider,
};
use reqsign_core::{Context, OsEnv, Signer};
use reqsign_file_read_tokio::TokioFileRead;
use wl_core::storage::{ErrorKind, StorageError};

use super::copy::Copies;
use super::xml;
use crate::opendal::{about_credentials, unanswered};
use crate::remote::store::{Again, Fault, Outcome};

/// Where a bucket is.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// `https://host[:port]`, without a `/` at the end.
    pub(crate) url: String,
    /// The bucket.
    pub(crate) bucket: String,
    /// What all keys of the storage begin with: empty, or ends with `/`.
    pub(crate) prefix: String,
    /// The bucket is a part of the host's name instead of the path.
    pub(crate) virtual_host: bool,
    /// The region that requests are signed for.
    pub(crate) region: String,
}

/// Who asks.
#[derive(Clone)]
pub(crate) enum Keys {
    /// Nobody: requests are not signed.
    Anonymous,
    /// The environment, the profile files, or the machine's role.
    Usual {
        /// The profile; `None`: the usual one.
        profile: Option<String>,
    },
    /// These.
    Fixed {
        /// The access key.
        access: String,
        /// The secret key.
        secret: String,
        /// The session's token, of temporary keys.
        session: Option<String>,
    },
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Keys::Anonymous => "Anonymous",
            Keys::Usual { .. } => "Usual",
            Keys::Fixed { .. } => "Fixed",
        })
    }
}

/// A connection to a bucket.
#[derive(Clone)]
pub(crate) struct Client {
    http: HttpTransporter,
    signer: Option<Signer<Credential>>,
    endpoint: Arc<Endpoint>,
    pub(super) copies: Copies,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.endpoint).finish()
    }
}

/// An answer that was a success.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    /// The entity tag, as conditions want it.
    pub(super) fn etag(&self) -> Option<Box<str>> {
        let text = self.headers.get(http::header::ETAG)?.to_str().ok()?;
        Some(text.into())
    }
}

/// A request to make.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// The key, below the endpoint's prefix.
    pub(super) key: &'a str,
    /// After the `?`; percent-encoded.
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Ask<'_> {
    pub(super) fn new(method: Method, key: &str) -> Ask<'_> {
        Ask {
            method,
            key,
            query: String::new(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }
}

impl Client {
    /// A client for the bucket at `endpoint` over the connections of `http`. Nothing is sent yet.
    pub(crate) fn new(endpoint: Endpoint, keys: Keys, http: HttpTransporter) -> Self {
        let signer = signer(&http, &endpoint.region, keys);
        Self {
            http,
            signer,
            endpoint: Arc::new(endpoint),
            copies: Copies::default(),
        }
    }

    /// With smaller copies than servers take.
    #[cfg(test)]
    pub(crate) fn copying(self, copies: Copies) -> Self {
        Self { copies, ..self }
    }

    /// Where it is.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn url(&self, key: &str, query: &str) -> String {
        let Endpoint {
            url,
            bucket,
            prefix,
            virtual_host,
            ..
        } = &*self.endpoint;
        let path = encode(&format!("{prefix}{key}"), true);
        let base = match url.split_once("://") {
            Some((scheme, host)) if *virtual_host => format!("{scheme}://{bucket}.{host}"),
            _ => format!("{url}/{}", encode(bucket, false)),
        };
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{base}/{path}{mark}{query}")
    }

    /// Sends a request once. What is not a success is a fault with what the server said.
    pub(super) async fn send(&self, ask: Ask<'_>) -> Outcome<Answer> {
        let mut request = Request::builder()
            .method(ask.method)
            .uri(self.url(ask.key, &ask.query))
            .body(ask.body)
            .map_err(|_| refused(ErrorKind::Unrepresentable, "the key makes no request"))?;
        request.headers_mut().extend(ask.headers);
        let (mut parts, body) = request.into_parts();
        if let Some(signer) = &self.signer {
            signer.sign(&mut parts, None).await.map_err(|_| {
                refused(
                    ErrorKind::Credentials,
                    "the request could not be signed; give credentials by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a \
                     credentials file",
                )
            })?;
        }
        parts.headers.remove(http::header::HOST);
        let request = Request::from_parts(parts, Buffer::from(body));
        let reply = self.http.send(request).await;
        let (parts, body) = reply.map_err(|error| unanswered(&error))?.into_parts();
        let body = body.to_bytes();
        if parts.status.is_success() {
            let headers = parts.headers;
            return Ok(Answer { headers, body });
        }
        Err(refusal(parts.status, &parts.headers, &body))
    }
}

fn signer(http: &HttpTransporter, region: &str, keys: Keys) -> Option<Signer<Credential>> {
    let context = Context::new()
        .with_file_read(TokioFileRead)
        .with_env(OsEnv)
        .with_http_send(http.clone());
    let request = RequestSigner::new("s3", region);
    Some(match keys {
        Keys::Anonymous => return None,
        Keys::Usual { profile } => {
            let builder = DefaultCredentialProvider::builder();
            let builder = match profile {
                Some(profile) => builder.with_profile(profile),
                None => builder,
            };
            Signer::new(context, builder.build(), request)
        }
        Keys::Fixed {
            access,
            secret,
            session,
        } => {
            let fixed = StaticCredentialProvider::new(&access, &secret);
            let fixed = match session {
                Some(token) => fixed.with_session_token(&token),
                None => fixed,
            };
            Signer::new(context, fixed, request)
        }
    })
}

/// Percent-encodes all but the unreserved characters; with `slashes` also not `/`.
pub(super) fn encode(text: &str, slashes: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if plain || (slashes && byte == b'/') {
            encoded.push(byte as char);
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

pub(super) fn refused(kind: ErrorKind, reason: impl Into<String>) -> Fault {
    StorageError::new(kind, "", reason).into()
}

/// What the server said, as a kind and what to do.
fn refusal(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Fault {
    let text = String::from_utf8_lossy(body);
    let said = |tag: &str| xml::first(&text, tag).unwrap_or_default();
    let (code, message) = (said("Code"), said("Message"));
    let kind = match (status.as_u16(), &*code) {
        (412, _) | (409, "ConditionalRequestConflict") => ErrorKind::Changed,
        (_, "NoSuchBucket") => ErrorKind::Unavailable,
        (404, _) => ErrorKind::NotFound,
        (401 | 403, _) => ErrorKind::Denied,
        (501 | 405, _) => ErrorKind::Unsupported,
        (507, _) | (_, "EntityTooLarge" | "QuotaExceeded") => ErrorKind::Full,
        (429 | 500..=599, _) => ErrorKind::Temporary,
        _ => ErrorKind::Other,
    };
    let again = if kind == ErrorKind::Temporary || code == "RequestTimeout" {
        let pause = headers.get(http::header::RETRY_AFTER);
        let pause = pause.and_then(|value| value.to_str().ok()?.parse().ok());
        Again::After(pause.map(Duration::from_secs))
    } else {
        Again::Never
    };
    if let Some((kind, reason)) = about_credentials(&code) {
        return refused(kind, reason);
    }
    let reason = match (code.is_empty(), message.is_empty()) {
        (true, _) => format!("the server answered {status}"),
        (false, true) => format!("the server answered {status} ({code})"),
        (false, false) => format!("the server answered {code}: {message}"),
    };
    Fault {
        error: StorageError::new(kind, "", reason),
        again,
        unclear: status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED,
    }
}
