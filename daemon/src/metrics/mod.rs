//! Metrics for Prometheus, over HTTP, for this machine only.

mod text;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::events::Hub;
use crate::jobs::Jobs;

/// Scrapes at one time; others wait.
const MOST_SCRAPES: usize = 16;
/// How long a client may take to say what it wants: one that is silent keeps others waiting.
const REQUEST_PATIENCE: Duration = Duration::from_secs(1);
/// How long a scrape may take, its reader's time included.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the daemon counts.
#[derive(Debug)]
pub(crate) struct Counts {
    since: Instant,
    connections: AtomicU64,
    requests: AtomicU64,
    refused: AtomicU64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            connections: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }
}

impl Counts {
    /// Counts a client.
    pub(crate) fn connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request, and whether it was refused.
    pub(crate) fn request(&self, refused: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.refused
            .fetch_add(u64::from(refused), Ordering::Relaxed);
    }
}

/// Where metrics are asked for.
#[derive(Debug)]
pub(crate) struct Metrics {
    listener: TcpListener,
}

/// What is told of.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    pub(crate) jobs: Jobs,
    pub(crate) hub: Arc<Hub>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) version: String,
}

impl Metrics {
    /// Listens. The address must be one that only this machine reaches.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        if !address.ip().to_canonical().is_loopback() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "other machines can reach this address, and metrics are for this one only",
            ));
        }
        Ok(Self {
            listener: TcpListener::bind(address).await?,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until it is dropped.
    pub(crate) async fn serve(self, sources: Sources) {
        let mut scrapes = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if scrapes.len() < MOST_SCRAPES => match accepted {
                    Ok((stream, _)) => {
                        scrapes.spawn(scrape(stream, sources.clone()));
                    }
                    // Out of file descriptors, most likely: asking again at once would only burn time.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                },
                Some(_) = scrapes.join_next() => {}
            }
        }
    }
}

async fn scrape(stream: TcpStream, sources: Sources) {
    let answer = service_fn(|request| answer(request, &sources));
    let connection = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_PATIENCE)
        .serve_connection(TokioIo::new(stream), answer);
    // A reader that is slow or went away asks again.
    let _ = tokio::time::timeout(PATIENCE, connection).await;
}

async fn answer(
    request: Request<Incoming>,
    sources: &Sources,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let said = |status: StatusCode, text: String| {
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        response
    };
    if request.uri().path() != "/metrics" {
        let text = "metrics are at /metrics\n".to_owned();
        return Ok(said(StatusCode::NOT_FOUND, text));
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = said(StatusCode::METHOD_NOT_ALLOWED, String::new());
        let allowed = hyper::header::HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return Ok(response);
    }
    let Some(jobs) = sources.jobs.figures().await else {
        let text = "the daemon is ending\n".to_owned();
        return Ok(said(StatusCode::SERVICE_UNAVAILABLE, text));
    };
    let counts = &sources.counts;
    let daemon = text::Daemon {
        version: &sources.version,
        uptime: counts.since.elapsed().as_secs_f64(),
        connections: counts.connections.load(Ordering::Relaxed),
        requests: counts.requests.load(Ordering::Relaxed),
        refused: counts.refused.load(Ordering::Relaxed),
        events: sources.hub.published(),
    };
    let mut response = said(StatusCode::OK, text::of(&daemon, &jobs));
    let form = hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, form);
    Ok(response)
}
