//! A WebDAV server in memory, with locks.
//!
//! Its faults are those of [`crate::faults`], where an operation is the HTTP method (`PROPFIND`, `PUT`, `LOCK`), and those of
//! [`WebDavFaults`].

mod fault;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::thread;
use std::time::Duration;

use ::http::{HeaderValue, Request, Response, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dav_server::DavHandler;
use dav_server::davpath::DavPath;
use dav_server::fs::DavFileSystem;
use dav_server::memfs::MemFs;
use dav_server::memls::MemLs;
use http_body_util::Full;
use tokio::runtime::Handle;

use crate::faults::Refusal;
use crate::http::{App, Served, collect};
use crate::record::{Record, Seen};

pub use fault::WebDavFaults;

/// A server that is not started yet.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    auth: Option<(String, String)>,
}

impl Builder {
    /// Asks for a user and a password.
    #[must_use]
    pub fn basic_auth(mut self, user: &str, password: &str) -> Self {
        self.auth = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// Starts it.
    pub async fn start(self) -> WebDavServer {
        self.start_blocking()
    }

    /// Starts it, from a test without a runtime.
    #[must_use]
    pub fn start_blocking(self) -> WebDavServer {
        let files = MemFs::new();
        let locks = MemLs::new();
        let handler = DavHandler::builder()
            .filesystem(files.clone())
            .autoindex(true)
            .locksystem(locks)
            .build_handler();
        let neighbour = handler.clone();
        let editor = DavHandler::builder()
            .filesystem(files.clone())
            .build_handler();
        let wanted = self.auth.map(|(user, password)| {
            let word = STANDARD.encode(format!("{user}:{password}"));
            format!("Basic {word}")
        });
        let served = Served::start(DavApp {
            handler,
            files: files.clone(),
            wanted,
        });
        WebDavServer {
            faults: WebDavFaults::new(served.faults().clone()),
            editor: Editor {
                handler: editor,
                runtime: served.handle(),
            },
            neighbour: Editor {
                handler: neighbour,
                runtime: served.handle(),
            },
            served,
        }
    }
}

/// A running WebDAV server. It ends when this is dropped.
pub struct WebDavServer {
    served: Served,
    faults: WebDavFaults,
    editor: Editor,
    neighbour: Editor,
}

impl WebDavServer {
    /// Starts an empty server.
    pub async fn start() -> Self {
        Self::start_blocking()
    }

    /// Starts an empty server, from a test without a runtime.
    #[must_use]
    pub fn start_blocking() -> Self {
        Self::builder().start_blocking()
    }

    /// A server that shall be somehow special.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// `http://127.0.0.1:PORT/`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/", self.served.url())
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.served.port()
    }

    /// What goes wrong here.
    #[must_use]
    pub fn faults(&self) -> &WebDavFaults {
        &self.faults
    }

    /// What was asked.
    #[must_use]
    pub fn record(&self) -> &Record {
        self.served.record()
    }

    /// How often each method was used.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.record().counts()
    }

    /// Forgets what was asked so far.
    pub fn reset_counts(&self) {
        self.record().reset();
    }

    /// Goes past faults, record, locks and passwords: as somebody on the server's own machine.
    #[must_use]
    pub fn editor(&self) -> Editor {
        self.editor.clone()
    }

    /// Goes past faults, record and passwords, but waits while a file is locked: as another client of the server.
    #[must_use]
    pub fn neighbour(&self) -> Editor {
        self.neighbour.clone()
    }

    /// [`Editor::put`].
    pub fn put(&self, path: &str, content: impl Into<Bytes>) {
        self.editor.put(path, content);
    }

    /// [`Editor::get`].
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Bytes> {
        self.editor.get(path)
    }

    /// [`Editor::delete`].
    pub fn delete(&self, path: &str) -> bool {
        self.editor.delete(path)
    }
}

/// Changes files past the server. Paths are escaped as in a URL, with or without a `/` in front.
#[derive(Clone)]
pub struct Editor {
    handler: DavHandler,
    runtime: Handle,
}

impl Editor {
    /// Writes a file; folders on the way are made.
    pub fn put(&self, path: &str, content: impl Into<Bytes>) {
        let path = path.trim_start_matches('/');
        for (at, _) in path.match_indices('/') {
            self.make_folder(&path[..at]);
        }
        let reply = self.send("PUT", path, content.into());
        assert!(reply.status().is_success(), "{path}: {}", reply.status());
    }

    /// Makes a folder, if it is not there.
    pub fn make_folder(&self, path: &str) {
        self.send("MKCOL", path, Bytes::new());
    }

    /// What is in a file.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Bytes> {
        let reply = self.send("GET", path, Bytes::new());
        reply.status().is_success().then(|| reply.into_body())
    }

    /// Removes a file or a folder with all that is in it; says whether it was there.
    pub fn delete(&self, path: &str) -> bool {
        let reply = self.send("DELETE", path, Bytes::new());
        reply.status().is_success()
    }

    /// The paths of a folder and of all that is in it, escaped and from the server's root; those of folders end with `/`.
    #[must_use]
    pub fn paths(&self, folder: &str) -> Vec<String> {
        let reply = self.send("PROPFIND", folder, Bytes::new());
        let text = String::from_utf8_lossy(reply.body()).into_owned();
        let hrefs = text.split("<D:href>").skip(1);
        let hrefs = hrefs.filter_map(|rest| rest.split_once("</D:href>"));
        let mut paths = Vec::new();
        for (path, _) in hrefs {
            let own = path.trim_matches('/') == folder.trim_matches('/');
            match path.ends_with('/') && !own {
                true => paths.extend(self.paths(path)),
                false => paths.push(path.to_owned()),
            }
        }
        paths
    }

    /// On a thread of its own: the caller may be in a runtime, also in that of the server.
    fn send(&self, method: &str, path: &str, body: Bytes) -> Response<Bytes> {
        let path = path.trim_start_matches('/');
        let attempt = async || {
            let request = Request::builder().method(method).uri(format!("/{path}"));
            let request = request.body(Full::new(body.clone()));
            let request = request.expect("an escaped path");
            collect(self.handler.handle(request).await).await
        };
        let work = async {
            loop {
                let reply = attempt().await;
                if reply.status() != StatusCode::LOCKED {
                    return reply;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        thread::scope(|scope| {
            let thread = scope.spawn(|| self.runtime.block_on(work));
            thread.join().expect("the handler")
        })
    }
}

struct DavApp {
    handler: DavHandler,
    files: Box<MemFs>,
    /// The `Authorization` that is asked for.
    wanted: Option<String>,
}

impl App for DavApp {
    fn operation(&self, request: &Request<()>) -> String {
        request.method().to_string()
    }

    fn refusal(&self, _: &Seen, refusal: &Refusal) -> Response<Bytes> {
        Response::new(Bytes::from(refusal.code.clone()))
    }

    fn call(
        &self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send + '_>> {
        Box::pin(async move {
            let given = request.headers().get(header::AUTHORIZATION);
            let is_let_in = self.wanted.as_ref().is_none_or(|wanted| {
                given.is_some_and(|given| given.as_bytes() == wanted.as_bytes())
            });
            if !is_let_in {
                let mut reply = Response::new(Bytes::new());
                *reply.status_mut() = StatusCode::UNAUTHORIZED;
                let realm = HeaderValue::from_static("Basic realm=\"test\"");
                reply.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
                return reply;
            }
            if is_below_a_file(&self.files, request.uri().path()).await {
                let mut reply = Response::new(Bytes::new());
                *reply.status_mut() = match request.method().as_str() {
                    "PUT" | "MKCOL" | "LOCK" => StatusCode::CONFLICT,
                    _ => StatusCode::NOT_FOUND,
                };
                return reply;
            }
            collect(self.handler.handle(request.map(Full::new)).await).await
        })
    }
}

/// The files in memory take `file/below` for `file`, which no other server does.
async fn is_below_a_file(files: &MemFs, path: &str) -> bool {
    for (at, _) in path.trim_end_matches('/').match_indices('/').skip(1) {
        let Ok(above) = DavPath::new(&path[..at]) else {
            return false;
        };
        let meta = DavFileSystem::metadata(files, &above).await;
        if meta.is_ok_and(|meta| meta.is_file()) {
            return true;
        }
    }
    false
}
