//! An HTTP server on the loopback with a runtime of its own; faults and the record sit between it and what it serves.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ::http::{Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::runtime::Runtime;

use crate::faults::{Action, Faults, Refusal};
use crate::record::{Outcome, Record, Seen};

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What is served.
pub(crate) trait App: Send + Sync + 'static {
    /// The name of what a request asks for.
    fn operation(&self, request: &Request<()>) -> String;
    /// An error answer as the protocol writes it.
    fn refusal(&self, seen: &Seen, refusal: &Refusal) -> Response<Bytes>;
    /// Does the work.
    fn call(
        &self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send + '_>>;
}

/// A running server; it ends when this is dropped.
pub(crate) struct Served {
    address: SocketAddr,
    runtime: Option<Runtime>,
    faults: Faults,
    record: Record,
}

/// Why there is no reply: the connection is dropped.
#[derive(Debug)]
struct Dropped;

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is dropped as planned")
    }
}

impl std::error::Error for Dropped {}

impl Served {
    pub(crate) fn start(app: impl App) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on the loopback");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("a bound socket");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("test-server")
            .enable_all()
            .build()
            .expect("a runtime");
        let (faults, record) = (Faults::default(), Record::default());
        let desk = Arc::new(Desk {
            app,
            faults: faults.clone(),
            record: record.clone(),
        });
        runtime.spawn(listen(listener, desk));
        Self {
            address,
            runtime: Some(runtime),
            faults,
            record,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its runtime.
    pub(crate) fn handle(&self) -> tokio::runtime::Handle {
        let runtime = self.runtime.as_ref().expect("it runs until it is dropped");
        runtime.handle().clone()
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    pub(crate) fn record(&self) -> &Record {
        &self.record
    }
}

impl Drop for Served {
    /// A runtime may not be waited for inside another one: a thread does it. Once it is over, nobody listens any more.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            let end = move || runtime.shutdown_timeout(Duration::from_secs(2));
            let _ = std::thread::spawn(end).join();
        }
    }
}

async fn listen(listener: TcpListener, desk: Arc<Desk<impl App>>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listening socket");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        // Without this, small replies wait for the client's delayed acknowledgement: 40 ms each.
        let _ = stream.set_nodelay(true);
        let desk = desk.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| desk.answer(request));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // It ends with an error when a fault drops it or the client goes away: both are no news.
            let _ = connection.await;
        });
    }
}

/// Where requests pass on their way in and replies on their way out.
struct Desk<A> {
    app: A,
    faults: Faults,
    record: Record,
}

impl<A: App> Desk<A> {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Dropped> {
        let (parts, body) = request.into_parts();
        let head = Request::from_parts(parts, ());
        let seen = Seen {
            operation: self.app.operation(&head),
            method: head.method().to_string(),
            path: head.uri().path().to_owned(),
            query: head.uri().query().unwrap_or_default().to_owned(),
            headers: head.headers().clone(),
        };
        let number = self.record.arrived(&seen);
        let mut entry = Entry {
            record: &self.record,
            number,
            outcome: Outcome::Dropped,
        };
        // The body is read even when nothing is done with it: a reply in the middle of it would be a lost connection.
        let body = body.collect().await.map_err(|_| Dropped)?.to_bytes();
        let request = head.map(|()| body);
        let reply = self.through_faults(&seen, request).await?;
        entry.outcome = Outcome::Status(reply.status().as_u16());
        Ok(reply)
    }

    async fn through_faults(
        &self,
        seen: &Seen,
        mut request: Request<Bytes>,
    ) -> Result<Response<Body>, Dropped> {
        for action in self.faults.before(seen) {
            match action {
                Action::Refuse(refusal) => return Ok(whole(self.refuse(seen, &refusal))),
                Action::LoseRequest => return Err(Dropped),
                Action::Delay(time) => tokio::time::sleep(time).await,
                Action::Hold(gate) => gate.pass().await,
                Action::Before(hook) => hook(seen),
                Action::ChangeRequest(change) => change(&mut request),
                _ => {}
            }
        }
        let mut reply = self.app.call(request).await;
        let mut is_cut = false;
        for action in self.faults.after(seen, &reply) {
            match action {
                Action::LoseReply => return Err(Dropped),
                Action::CutBody => is_cut = true,
                Action::After(hook) => hook(seen),
                Action::ChangeReply(change) => change(seen, &mut reply),
                _ => {}
            }
        }
        Ok(if is_cut { cut(reply) } else { whole(reply) })
    }

    fn refuse(&self, seen: &Seen, refusal: &Refusal) -> Response<Bytes> {
        let mut reply = self.app.refusal(seen, refusal);
        *reply.status_mut() = StatusCode::from_u16(refusal.status).expect("an HTTP status");
        if let Some(seconds) = refusal.retry_after {
            reply
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        if seen.method == Method::HEAD.as_str() {
            *reply.body_mut() = Bytes::new();
        }
        reply
    }
}

/// Writes the end of a request into the record, also when the client went away before.
struct Entry<'a> {
    record: &'a Record,
    number: usize,
    outcome: Outcome,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.record.ended(self.number, self.outcome);
    }
}

fn whole(reply: Response<Bytes>) -> Response<Body> {
    reply.map(|body| {
        Full::new(body)
            .map_err(|never: Infallible| match never {})
            .boxed_unsync()
    })
}

fn cut(mut reply: Response<Bytes>) -> Response<Body> {
    let all = reply.body().clone();
    reply
        .headers_mut()
        .insert(header::CONTENT_LENGTH, all.len().into());
    let half = all.slice(..all.len() / 2);
    let first = stream::iter([Ok(Frame::data(half))]);
    // The pause lets hyper flush the head and the half: with the error at once the client may see neither.
    let end = stream::once(async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(io::Error::other(Dropped))
    });
    reply.map(|_| BodyExt::boxed_unsync(StreamBody::new(first.chain(end))))
}

/// The reply of a handler, whole in memory.
pub(crate) async fn collect<B>(reply: Response<B>) -> Response<Bytes>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let (mut parts, body) = reply.into_parts();
    parts.headers.remove(header::TRANSFER_ENCODING);
    let body = body.collect().await.expect("a body from memory").to_bytes();
    Response::from_parts(parts, body)
}
