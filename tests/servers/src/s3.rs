//! An S3 server in memory.
//!
//! Signatures (SigV4), conditions, listings and multipart uploads are real; nothing is written to a disk. Keys are kept as they
//! are. All changes happen under one lock, so that a condition and the change behind it are one step.
//!
//! ```no_run
//! # async fn example() {
//! use wl_test_servers::faults::{Refusal, When, Which};
//! use wl_test_servers::s3::S3Server;
//!
//! let server = S3Server::start().await;
//! server.create_bucket("bucket");
//! let slow = server.faults().refuse(Which::any(), When::Every(3), Refusal::slow_down());
//! // ... a client works with server.endpoint(), server.access_key() and server.secret_key() ...
//! assert!(slow.fired() > 0);
//! assert_eq!(server.counts().get("PutObject"), Some(&1));
//! # }
//! ```

mod condition;
mod content;
mod convert;
mod fault;
mod list;
mod multipart;
mod operation;
mod service;
mod store;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::pin::Pin;

use ::http::{Request, Response, header};
use bytes::Bytes;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};

use crate::faults::Refusal;
use crate::http::{App, Served, collect};
use crate::record::{Record, Seen};

pub use condition::IfMatchOnAbsent;
pub use content::Sums;
pub use fault::{Conditional, S3Faults};
pub(crate) use store::hex;
pub use store::{Object, Part, Store, Upload};

const ACCESS_KEY: &str = "test-access-key";
const SECRET_KEY: &str = "test-secret-key";

/// How a server shall be.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) if_match_on_absent: IfMatchOnAbsent,
    pub(crate) min_part_size: usize,
    pub(crate) max_copy: usize,
    pub(crate) folders_first: bool,
    pub(crate) keeps_emptied: bool,
}

/// A server that is not started yet.
#[derive(Clone, Debug)]
pub struct Builder {
    options: Options,
    buckets: Vec<String>,
}

impl Builder {
    /// Makes a bucket from the start.
    #[must_use]
    pub fn bucket(mut self, name: &str) -> Self {
        self.buckets.push(name.to_owned());
        self
    }

    /// How a write with `If-Match` to a key without an object is answered.
    #[must_use]
    pub fn if_match_on_absent(mut self, answer: IfMatchOnAbsent) -> Self {
        self.options.if_match_on_absent = answer;
        self
    }

    /// The least size of a part that is not the last one; 5 MiB unless told.
    #[must_use]
    pub fn min_part_size(mut self, bytes: usize) -> Self {
        self.options.min_part_size = bytes;
        self
    }

    /// The most that one request copies; 5 GiB unless told.
    #[must_use]
    pub fn max_copy(mut self, bytes: usize) -> Self {
        self.options.max_copy = bytes;
        self
    }

    /// Lists folder by folder, `a/b` before `a-b`, as `SeaweedFS` does it, instead of in the order of bytes.
    #[must_use]
    pub fn folders_first(mut self) -> Self {
        self.options.folders_first = true;
        self
    }

    /// Keeps a folder when its last object goes, as `SeaweedFS` does for two minutes: `HEAD q/` finds it, listings show it only where
    /// they cut at `/`, and no new object may take its name until somebody removes `q/`, and before that what emptied in it.
    #[must_use]
    pub fn keeps_emptied_folders(mut self) -> Self {
        self.options.keeps_emptied = true;
        self
    }

    /// Starts it.
    pub async fn start(self) -> S3Server {
        self.start_blocking()
    }

    /// Starts it, from a test without a runtime.
    #[must_use]
    pub fn start_blocking(self) -> S3Server {
        let store = Store::default();
        for bucket in &self.buckets {
            store.create_bucket(bucket);
            if self.options.keeps_emptied {
                store.keep_emptied_folders(bucket);
            }
        }
        let service = service::Service {
            store: store.clone(),
            options: self.options,
        };
        let mut builder = S3ServiceBuilder::new(service);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let served = Served::start(S3App(builder.build()));
        S3Server {
            faults: S3Faults::new(served.faults().clone(), store.clone()),
            served,
            store,
        }
    }
}

/// A running S3 server. It ends when this is dropped. What editors and assertions need is in [`Store`].
pub struct S3Server {
    served: Served,
    store: Store,
    faults: S3Faults,
}

impl S3Server {
    /// Starts a server without buckets.
    pub async fn start() -> Self {
        Self::start_blocking()
    }

    /// Starts a server without buckets, from a test without a runtime.
    #[must_use]
    pub fn start_blocking() -> Self {
        Self::builder().start_blocking()
    }

    /// A server that shall be somehow special.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            options: Options {
                if_match_on_absent: IfMatchOnAbsent::default(),
                min_part_size: 5 << 20,
                max_copy: 5 << 30,
                folders_first: false,
                keeps_emptied: false,
            },
            buckets: Vec::new(),
        }
    }

    /// `http://127.0.0.1:PORT`; buckets are the first segment of the path.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.served.url()
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.served.port()
    }

    /// The region to sign for; any other is accepted too.
    #[must_use]
    pub fn region(&self) -> &'static str {
        "us-east-1"
    }

    /// The only access key.
    #[must_use]
    pub fn access_key(&self) -> &'static str {
        ACCESS_KEY
    }

    /// Its secret.
    #[must_use]
    pub fn secret_key(&self) -> &'static str {
        SECRET_KEY
    }

    /// The content, as a handle of its own: for hooks of faults and for threads.
    #[must_use]
    pub fn store(&self) -> Store {
        self.store.clone()
    }

    /// What goes wrong here.
    #[must_use]
    pub fn faults(&self) -> &S3Faults {
        &self.faults
    }

    /// What was asked.
    #[must_use]
    pub fn record(&self) -> &Record {
        self.served.record()
    }

    /// How often each operation was asked for.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.record().counts()
    }

    /// Forgets what was asked so far.
    pub fn reset_counts(&self) {
        self.record().reset();
    }
}

impl Deref for S3Server {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

struct S3App(S3Service);

impl App for S3App {
    fn operation(&self, request: &Request<()>) -> String {
        operation::operation(request).to_owned()
    }

    fn refusal(&self, seen: &Seen, refusal: &Refusal) -> Response<Bytes> {
        let code = &refusal.code;
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
             <Message>A planned fault</Message><Resource>{}</Resource></Error>",
            seen.path
        );
        let mut reply = Response::new(Bytes::from(text));
        let kind = header::HeaderValue::from_static("application/xml");
        reply.headers_mut().insert(header::CONTENT_TYPE, kind);
        reply
    }

    fn call(
        &self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send + '_>> {
        Box::pin(async move {
            let reply = self.0.call(request.map(s3s::Body::from)).await;
            collect(reply.expect("s3s answers every request")).await
        })
    }
}
