//! What storages over plain HTTP share: one small client, its addresses, and what answers mean.
//!
//! Nothing here tries again. Redirects are followed for questions only, and only on the same server: a login is never sent elsewhere.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderName, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use reqwest::{Body, Response};
use url::Url;
use wl_core::model::SyncPath;
use wl_core::storage::{ErrorKind, Result, StorageError};

use super::proxy;
use super::store::{Again, Fault, Outcome};
use super::token::{nanoseconds, now};

pub(crate) mod answer;
pub(crate) mod content;
#[cfg(test)]
pub(crate) mod hand;
pub(crate) mod login;
pub(crate) mod text;

/// A server that says nothing for so long is not there.
const PATIENCE: Duration = Duration::from_secs(60);
const REDIRECTS: usize = 5;
/// What a reply told of the server's clock is told anew after this.
const CLOCK_FOR: Duration = Duration::from_secs(60);

/// A client of one server, below one address.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    /// Its path ends without `/`, unless it is the server's root.
    base: Url,
    login: Option<HeaderValue>,
    /// How far the server's clock is ahead of ours at the least, in nanoseconds, and when a reply told that.
    ahead: Arc<Mutex<Option<(i64, Instant)>>>,
}

/// A request, made to be sent more than once.
#[derive(Debug)]
pub(crate) struct Request {
    method: Method,
    url: Url,
    headers: Vec<(HeaderName, String)>,
    body: Option<Body>,
    patience: Option<Duration>,
}

impl Request {
    /// A request without body.
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: Vec::new(),
            body: None,
            patience: Some(PATIENCE),
        }
    }

    /// With this header.
    #[must_use]
    pub(crate) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With this body.
    #[must_use]
    pub(crate) fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// However long it takes: the body arrives at somebody else's pace.
    #[must_use]
    pub(crate) fn patient(mut self) -> Self {
        self.patience = None;
        self
    }
}

impl Client {
    /// A client below `address`.
    pub(crate) fn new(address: &str, login: Option<HeaderValue>) -> Result<Self> {
        let base = base(address)?;
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(15))
            .user_agent(concat!("wl/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| {
                let reason = format!("no HTTP client could be made: {}", error.without_url());
                StorageError::new(ErrorKind::Other, "connect", reason)
            })?;
        Ok(Self {
            http,
            base,
            login,
            ahead: Arc::default(),
        })
    }

    /// The address, without a login.
    pub(crate) fn location(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// `SCHEME://HOST:PORT`.
    pub(crate) fn server(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        let port = self.base.port_or_known_default().unwrap_or_default();
        format!("{}://{host}:{port}", self.base.scheme())
    }

    /// `SCHEME://HOST:PORT|/PATH`, without `/` at the end.
    pub(crate) fn identity(&self) -> String {
        let path = self.base.path().trim_end_matches('/');
        format!("{}|{path}", self.server())
    }

    /// The address of `path`; that of a folder ends in `/`.
    pub(crate) fn url(&self, path: &SyncPath, folder: bool) -> Url {
        let mut text = self.base.path().trim_end_matches('/').to_owned();
        if !path.is_root() {
            for part in path.as_str().split('/') {
                text.push('/');
                text::encode(part, &mut text);
            }
        }
        if folder || text.is_empty() {
            text.push('/');
        }
        let mut url = self.base.clone();
        url.set_path(&text);
        url
    }

    /// Sends a request; every answer that arrives is `Ok`, whatever its status.
    pub(crate) async fn send(&self, mut request: Request) -> Outcome<Response> {
        let question = matches!(
            request.method.as_str(),
            "GET" | "HEAD" | "PROPFIND" | "OPTIONS"
        );
        for _ in 0..REDIRECTS {
            let answer = self.once(&mut request, question).await?;
            if !answer.status().is_redirection() || answer.status() == StatusCode::NOT_MODIFIED {
                return Ok(answer);
            }
            request.url = self.redirect(&request.url, &answer, question)?;
        }
        Err(refused(
            "the server redirects in a circle; give the address where the storage really is",
        ))
    }

    async fn once(&self, request: &mut Request, question: bool) -> Outcome<Response> {
        let mut builder = self
            .http
            .request(request.method.clone(), request.url.clone())
            .header(ACCEPT_ENCODING, "identity");
        if let Some(login) = &self.login {
            builder = builder.header(AUTHORIZATION, login.clone());
        }
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        // Only the body of a question is sent again, after a redirect; it is never a stream.
        let body = match &mut request.body {
            Some(body) if question => body.as_bytes().map(|bytes| Body::from(bytes.to_vec())),
            body => body.take(),
        };
        if let Some(body) = body {
            builder = builder.body(body);
        }
        let sent = match request.patience {
            Some(patience) => match tokio::time::timeout(patience, builder.send()).await {
                Ok(sent) => sent,
                Err(_) => return Err(silent()),
            },
            None => builder.send().await,
        };
        let reply = sent.map_err(|error| broken(error, true))?;
        if let Some(at) = answer::date(reply.headers()) {
            let ahead = nanoseconds(at).saturating_sub(nanoseconds(now()));
            let mut known = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
            // Replies tell whole seconds, and some take long: the best of a minute is nearest.
            if known.is_none_or(|(best, told)| ahead > best || told.elapsed() > CLOCK_FOR) {
                *known = Some((ahead, Instant::now()));
            }
        }
        Ok(reply)
    }

    /// What [`Store::ahead`](super::store::Store::ahead) asks for.
    pub(crate) fn ahead(&self) -> Option<i64> {
        let known = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        known.map(|(ahead, _)| ahead)
    }

    fn redirect(&self, from: &Url, answer: &Response, question: bool) -> Outcome<Url> {
        let to = answer.headers().get(LOCATION);
        let to = to
            .and_then(|to| to.to_str().ok())
            .and_then(|to| from.join(to).ok());
        match to {
            Some(to) if question && to.origin() == from.origin() => Ok(to),
            Some(mut to) => {
                let _ = to.set_password(None);
                let _ = to.set_username("");
                to.set_query(None);
                Err(refused(&format!(
                    "the server sends this on to {to}; if that is the storage, give its address as `url`"
                )))
            }
            None => Err(refused("the server redirects to nowhere; check `url`")),
        }
    }
}

fn base(address: &str) -> Result<Url> {
    let config = |reason: &str| StorageError::new(ErrorKind::Config, "connect", reason);
    let mut url = Url::parse(address)
        .map_err(|_| config("`url` is no address; write it as https://HOST:PORT/PATH"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(config(
            "`url` must begin with https:// or http:// and a host",
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(config(
            "`url` holds a login, and addresses are shown; give it as `credentials` or `credentials_file`",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(config(
            "`url` must end with its path; write `?` and `#` in it as %3F and %23",
        ));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

fn refused(reason: &str) -> Fault {
    StorageError::new(ErrorKind::Unavailable, "request", reason).into()
}

fn silent() -> Fault {
    let reason = format!(
        "the server did not answer within {} s; see whether it is overloaded",
        PATIENCE.as_secs()
    );
    Fault {
        error: StorageError::new(ErrorKind::Temporary, "request", reason),
        again: Again::After(None),
        unclear: true,
    }
}

/// A broken connection. `sent`: the request may have arrived.
pub(crate) fn broken(error: reqwest::Error, sent: bool) -> Fault {
    let proxy = error.url().and_then(proxy::suspect);
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        reason = match error.is_connect() {
            // What is at the bottom says all.
            true => format!("no connection: {inner}"),
            false => format!("{reason}: {inner}"),
        };
        source = inner.source();
    }
    if reason.contains("certificate") {
        let error = StorageError::new(ErrorKind::Unavailable, "connect", reason);
        return error
            .with_advice("the server cannot prove who it is; check `url`, or install its authority's certificate")
            .into();
    }
    let connect = error.is_connect();
    let speaks_otherwise = reason.contains("InvalidContentType");
    let (kind, advice) = if speaks_otherwise {
        (
            ErrorKind::Unavailable,
            "the server does not speak https there; write webdav:// or http:// if that is meant, or give its https port",
        )
    } else if connect {
        (
            ErrorKind::Unavailable,
            "check `url`, and that the server runs and can be reached",
        )
    } else {
        (ErrorKind::Temporary, "the connection broke; try again")
    };
    let proxy = proxy.filter(|_| connect);
    let advice = proxy.as_deref().unwrap_or(advice);
    Fault {
        error: StorageError::new(kind, "request", reason).with_advice(advice),
        again: match speaks_otherwise {
            true => Again::Never,
            false => Again::After(None),
        },
        unclear: sent && !connect,
    }
}
