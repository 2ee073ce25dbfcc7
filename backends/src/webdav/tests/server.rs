//! `dav-server` in this process, with faults in front of it.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dav_server::body::Body;
use dav_server::{DavHandler, fakels::FakeLs, memfs::MemFs, memls::MemLs};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;

/// What happens to a request.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// It is carried out, and the connection ends without an answer.
    LoseReply,
    /// The connection ends before anything is done.
    LoseRequest,
    /// Half of its body arrives.
    Torn,
    /// It is carried out when a permit is added; the first one tells that it has arrived.
    Hold(Arc<Semaphore>, Arc<Semaphore>),
    /// This answer, and nothing is done.
    Answer(u16, &'static str, &'static str),
}

/// A server that ends with its runtime.
pub(super) struct Server {
    pub(super) url: String,
    faults: Arc<Mutex<Vec<(&'static str, Fault)>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Locking {
    Real,
    /// Locks are given to everybody.
    Fake,
    None,
}

impl Server {
    pub(super) async fn start(locking: Locking) -> Self {
        let mut handler = DavHandler::builder()
            .filesystem(MemFs::new())
            .autoindex(true);
        handler = match locking {
            Locking::Real => handler.locksystem(MemLs::new()),
            Locking::Fake => handler.locksystem(FakeLs::new()),
            Locking::None => handler,
        };
        let handler = handler.build_handler();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            faults: Arc::default(),
            seen: Arc::default(),
        };
        let (faults, seen) = (this.faults.clone(), this.seen.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let (handler, faults, seen) = (handler.clone(), faults.clone(), seen.clone());
                let service = service_fn(move |request| {
                    answer(handler.clone(), faults.clone(), seen.clone(), request)
                });
                tokio::spawn(async move {
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        this
    }

    /// The next request of this method meets this fault. Faults of one method fire one after the other.
    pub(super) fn fault(&self, method: &'static str, fault: Fault) {
        self.faults.lock().unwrap().push((method, fault));
    }

    /// All planned faults have happened.
    pub(super) fn spent(&self) -> bool {
        self.faults.lock().unwrap().is_empty()
    }

    /// The requests since the last call: method and path.
    pub(super) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

type Reply = Response<Body>;

async fn answer(
    handler: DavHandler,
    faults: Arc<Mutex<Vec<(&'static str, Fault)>>>,
    seen: Arc<Mutex<Vec<String>>>,
    request: Request<Incoming>,
) -> Result<Reply, std::io::Error> {
    let line = format!("{} {}", request.method(), request.uri().path());
    seen.lock().unwrap().push(line);
    let fault = {
        let mut faults = faults.lock().unwrap();
        let at = faults
            .iter()
            .position(|(method, _)| request.method().as_str() == *method);
        at.map(|at| faults.remove(at).1)
    };
    let dropped = || std::io::Error::other("dropped as planned");
    let (mut head, body) = request.into_parts();
    let mut body = body.collect().await.map_err(|_| dropped())?.to_bytes();
    match &fault {
        Some(Fault::LoseRequest) => return Err(dropped()),
        Some(Fault::Torn) => {
            body.truncate(body.len() / 2);
            head.headers.remove(http::header::CONTENT_LENGTH);
        }
        Some(Fault::Hold(arrived, go)) => {
            arrived.add_permits(1);
            go.acquire().await.map_err(|_| dropped())?.forget();
        }
        Some(Fault::Answer(status, name, value)) => {
            let reply = Response::builder().status(*status).header(*name, *value);
            return Ok(reply.body(Body::from("refused")).unwrap());
        }
        Some(Fault::LoseReply) | None => {}
    }
    let request = Request::from_parts(head, Full::new(body));
    let reply = handler.handle(request).await;
    match fault {
        Some(Fault::LoseReply | Fault::Torn) => Err(dropped()),
        _ => Ok(reply),
    }
}

type Full = http_body_util::Full<Bytes>;
