//! The way to the server: patience has an end, and trouble says what it is.

use std::error::Error as _;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::opendal::raw::{OpStat, Service as _};
use ::opendal::{
    Buffer, Error, ErrorKind, HttpBody, HttpTransport, HttpTransporter, OperationContext, Operator,
};
use futures::{Stream, StreamExt};
use http::{Request, Response, Uri};
use opendal_http_transport_reqwest::ReqwestTransport;
use tokio::time::{Instant, Sleep};
use url::Url;

use crate::remote::proxy;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// How long nothing may come.
const SILENCE: Duration = Duration::from_secs(60);
/// The slowest line on which content is sent, in bytes a second.
const SLOWEST: u64 = 16 * 1024;
/// The address at which a machine in a cloud learns who it is. Elsewhere nobody answers.
const METADATA_SERVER: &str = "169.254.169.254";
const METADATA_PATIENCE: Duration = Duration::from_secs(2);

/// What went wrong on the way. The source of opendal's error, found again by [`super::errors`].
#[derive(Debug)]
pub(super) enum Trouble {
    /// No connection came about: nothing was sent. With what is to be said of the proxy, if it went through one.
    Connect(String, Option<String>),
    /// Nothing came for too long.
    Silence(Duration),
    /// The connection broke.
    Broken(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(why, _) => write!(f, "no connection: {why}"),
            Self::Silence(time) => write!(f, "no answer for {} s", time.as_secs()),
            Self::Broken(why) => write!(f, "the connection broke: {why}"),
        }
    }
}

impl std::error::Error for Trouble {}

impl Trouble {
    /// Whether it may be gone at the next try. A certificate stays what it is.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Connect(why, _) => {
                !why.contains("certificate") && !why.contains("InvalidContentType")
            }
            Self::Silence(_) | Self::Broken(_) => true,
        }
    }
}

/// `operator` with our transport.
pub(super) fn with_patience(operator: Operator) -> Result<Operator, Error> {
    let context = operator.context().with_http_transport(patient()?);
    Ok(operator.with_context(context))
}

/// Our transport: connections of its own, and patience.
pub(crate) fn patient() -> Result<HttpTransporter, Error> {
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .user_agent(concat!("wl/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| {
            Error::new(
                ErrorKind::ConfigInvalid,
                "the HTTP client could not be made",
            )
            .set_source(error)
        })?;
    Ok(HttpTransporter::new(Patient(ReqwestTransport::new(client))))
}

struct Patient(ReqwestTransport);

impl HttpTransport for Patient {
    async fn fetch(&self, request: Request<Buffer>) -> Result<Response<HttpBody>, Error> {
        let (patience, to) = (patience(&request), request.uri().clone());
        let answer = tokio::time::timeout(patience, self.0.fetch(request)).await;
        let response = answer
            .map_err(|_| trouble(Trouble::Silence(patience)))?
            .map_err(|error| explained(error, Some(&to)))?;
        Ok(response.map(|body| body.map_inner(|stream| Box::new(Watched::new(stream)))))
    }
}

/// How long the head of the answer may take: content has to be sent first.
fn patience(request: &Request<Buffer>) -> Duration {
    if request.uri().host() == Some(METADATA_SERVER) {
        return METADATA_PATIENCE;
    }
    SILENCE + Duration::from_secs(request.body().len() as u64 / SLOWEST)
}

fn trouble(trouble: Trouble) -> Error {
    Error::new(ErrorKind::Unexpected, trouble.to_string())
        .set_temporary()
        .set_source(trouble)
}

/// The same error, with [`Trouble`] as its source if the connection is to blame. `to`: where a connection was wanted.
fn explained(error: Error, to: Option<&Uri>) -> Error {
    let mut source = error.source();
    while let Some(at) = source {
        if let Some(cause) = at.downcast_ref::<reqwest::Error>() {
            return trouble(told(cause, to));
        }
        source = at.source();
    }
    error
}

fn told(error: &reqwest::Error, to: Option<&Uri>) -> Trouble {
    let why = innermost(error);
    if error.is_connect() {
        // The error itself tells its address no more.
        let to = to.and_then(|to| Url::parse(&to.to_string()).ok());
        Trouble::Connect(why, to.as_ref().and_then(proxy::suspect))
    } else {
        Trouble::Broken(why)
    }
}

/// The cause at the bottom says most: `Connection refused`, not `error sending request`.
fn innermost(error: &reqwest::Error) -> String {
    let mut at: &dyn std::error::Error = error;
    while let Some(next) = at.source() {
        at = next;
    }
    at.to_string()
}

type Pieces = Box<dyn Stream<Item = Result<Buffer, Error>> + Send + Sync + Unpin>;

/// Content whose next piece must come in time. Only waiting counts: whoever takes the pieces may be slow.
struct Watched {
    pieces: Pieces,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    fn new(pieces: Pieces) -> Self {
        Self {
            pieces,
            waiting: None,
        }
    }
}

impl Stream for Watched {
    type Item = Result<Buffer, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Poll::Ready(piece) = this.pieces.poll_next_unpin(cx) {
            this.waiting = None;
            return Poll::Ready(piece.map(|piece| piece.map_err(|error| explained(error, None))));
        }
        let waiting = this
            .waiting
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + SILENCE)));
        ready!(waiting.as_mut().poll(cx));
        this.waiting = None;
        Poll::Ready(Some(Err(trouble(Trouble::Silence(SILENCE)))))
    }
}

/// `operator` for one copy of the version `tag`: the request that copies names in `header` what opendal saw at the source a moment ago,
/// and does not leave if that is another version.
pub(super) fn guarded(operator: &Operator, header: &'static str, tag: &str) -> Operator {
    let context: &OperationContext = operator.context();
    let guard = Guard {
        inner: context.http_transport().clone(),
        header,
        tag: tag.into(),
    };
    let context = context.with_http_transport(HttpTransporter::new(guard));
    operator.clone().with_context(context)
}

struct Guard {
    inner: HttpTransporter,
    header: &'static str,
    tag: Box<str>,
}

impl HttpTransport for Guard {
    async fn fetch(&self, request: Request<Buffer>) -> Result<Response<HttpBody>, Error> {
        let named = request.headers().get(self.header);
        let named = named.and_then(|value| value.to_str().ok());
        if named.is_some_and(|named| super::found::normal(named).as_deref() != Some(&*self.tag)) {
            let reason = "the source of the copy is another version";
            return Err(Error::new(ErrorKind::ConditionNotMatch, reason));
        }
        self.inner.fetch(request).await
    }
}

/// The bytes at a key that ends in `/`, which opendal takes for a folder and says nothing more of.
pub(super) async fn length(operator: &Operator, key: &str) -> Result<Option<u64>, Error> {
    let context = operator.context();
    let seen = Arc::new(AtomicU64::new(u64::MAX));
    let measure = Measure {
        inner: context.http_transport().clone(),
        seen: Arc::clone(&seen),
    };
    let context = context.with_http_transport(HttpTransporter::new(measure));
    // Past opendal's own idea of a folder, which would list instead of looking.
    let stat = operator
        .base_service()
        .stat(&context, key, OpStat::default());
    let stat = stat.await;
    match stat {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = seen.load(Ordering::Relaxed);
    Ok((length != u64::MAX).then_some(length))
}

struct Measure {
    inner: HttpTransporter,
    seen: Arc<AtomicU64>,
}

impl HttpTransport for Measure {
    async fn fetch(&self, request: Request<Buffer>) -> Result<Response<HttpBody>, Error> {
        let looks = request.method() == http::Method::HEAD;
        let response = self.inner.fetch(request).await?;
        let length = response.headers().get(http::header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
        if let (true, Some(length)) = (looks, length) {
            self.seen.store(length, Ordering::Relaxed);
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_line_has_time_for_what_it_has_to_carry() {
        let asked = |uri: &str, bytes: usize| {
            let body = Buffer::from(vec![0; bytes]);
            patience(&Request::put(uri).body(body).unwrap())
        };
        assert_eq!(asked("http://h/k", 0), SILENCE);
        // A part of 8 MiB over 16 KiB a second takes 512 s.
        let part = asked("http://h/k", 8 << 20);
        assert_eq!(part, SILENCE + Duration::from_secs(512));
        let nobody = asked("http://169.254.169.254/latest", 0);
        assert_eq!(nobody, METADATA_PATIENCE);
    }
}
