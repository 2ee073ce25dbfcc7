//! Counts requests: a proxy between a tool and the server.
//!
//! Requests are passed on as they came, with the host they were signed for. What the server says is not looked at.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::Result;

/// A listing has at least one of these in its query.
const LISTING: [&str; 4] = ["list-type", "prefix", "delimiter", "max-keys"];

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    List,
    Get,
    Head,
    Put,
    Copy,
    Part,
    Multipart,
    Delete,
    DeleteMany,
    Bucket,
    Other,
}

impl Kind {
    pub const ALL: [Kind; 11] = [
        Kind::List,
        Kind::Get,
        Kind::Head,
        Kind::Put,
        Kind::Copy,
        Kind::Part,
        Kind::Multipart,
        Kind::Delete,
        Kind::DeleteMany,
        Kind::Bucket,
        Kind::Other,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::List => "LIST",
            Kind::Get => "GET",
            Kind::Head => "HEAD",
            Kind::Put => "PUT",
            Kind::Copy => "COPY",
            Kind::Part => "part",
            Kind::Multipart => "multipart",
            Kind::Delete => "DELETE",
            Kind::DeleteMany => "delete many",
            Kind::Bucket => "bucket",
            Kind::Other => "other",
        }
    }

    fn of(head: &Head) -> Self {
        let (path, query) = head.target.split_once('?').unwrap_or((&head.target, ""));
        let has = |name: &str| {
            let mut names = query.split('&').map(|pair| pair.split('=').next());
            names.any(|found| found == Some(name))
        };
        let (_, key) = path
            .trim_start_matches('/')
            .split_once('/')
            .unwrap_or_default();
        let of_object = !key.is_empty();
        match head.method.as_str() {
            "GET" if has("uploads") || has("uploadId") => Kind::Multipart,
            "GET" if !of_object && LISTING.into_iter().any(has) => Kind::List,
            "GET" | "HEAD" | "PUT" if !of_object => Kind::Bucket,
            "GET" => Kind::Get,
            "HEAD" => Kind::Head,
            "PUT" if has("uploadId") => Kind::Part,
            "PUT" if head.copies => Kind::Copy,
            "PUT" => Kind::Put,
            "POST" if has("delete") => Kind::DeleteMany,
            "POST" if has("uploads") || has("uploadId") => Kind::Multipart,
            "DELETE" if has("uploadId") => Kind::Multipart,
            "DELETE" => Kind::Delete,
            _ => Kind::Other,
        }
    }
}

pub type Counts = BTreeMap<Kind, u64>;

/// The proxy; it lasts as long as the program.
pub struct Proxy {
    /// `127.0.0.1:PORT`.
    pub address: String,
    counts: Arc<Mutex<Counts>>,
}

impl Proxy {
    pub fn start(server: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let counts = Arc::new(Mutex::new(Counts::new()));
        let (server, counted) = (server.to_owned(), Arc::clone(&counts));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (server, counts) = (server.clone(), Arc::clone(&counted));
                // A connection that breaks is the tool's to report.
                thread::spawn(move || pass_on(client, &server, &counts));
            }
        });
        Ok(Self { address, counts })
    }

    /// What was counted since it was last asked.
    pub fn take(&self) -> Counts {
        std::mem::take(&mut lock(&self.counts))
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pass_on(client: TcpStream, server: &str, counts: &Mutex<Counts>) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut answers, mut answered) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut answers, &mut answered);
        let _ = answered.shutdown(Shutdown::Both);
    });
    let done = requests(
        &mut BufReader::with_capacity(1 << 16, client),
        &server,
        counts,
    );
    let _ = server.shutdown(Shutdown::Write);
    done
}

/// Until the client has no more.
fn requests(from: &mut impl BufRead, mut to: impl Write, counts: &Mutex<Counts>) -> io::Result<()> {
    while let Some(head) = Head::read(from)? {
        *lock(counts).entry(Kind::of(&head)).or_default() += 1;
        to.write_all(&head.bytes)?;
        match head.length {
            Some(length) => drop(io::copy(&mut from.take(length), &mut to)?),
            None if head.chunked => chunks(from, &mut to)?,
            None => {}
        }
    }
    Ok(())
}

/// A body in chunks, up to and with the empty line at its end.
fn chunks(from: &mut impl BufRead, to: &mut impl Write) -> io::Result<()> {
    loop {
        let line = line(from)?;
        to.write_all(&line)?;
        let text = String::from_utf8_lossy(&line);
        let digits = text.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16).map_err(io::Error::other)?;
        if size == 0 {
            break;
        }
        io::copy(&mut from.take(size + 2), to)?;
    }
    loop {
        let trailer = line(from)?;
        to.write_all(&trailer)?;
        if trailer.trim_ascii().is_empty() {
            return Ok(());
        }
    }
}

fn line(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line)?;
    Ok(line)
}

/// A request's head.
#[derive(Default)]
struct Head {
    bytes: Vec<u8>,
    method: String,
    target: String,
    length: Option<u64>,
    chunked: bool,
    /// It names an object to copy from.
    copies: bool,
}

impl Head {
    /// `None` if there is no more.
    fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let first = line(from)?;
        if first.is_empty() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&first).into_owned();
        let mut words = text.split_whitespace().map(str::to_owned);
        let mut head = Head {
            bytes: first,
            method: words.next().unwrap_or_default(),
            target: words.next().unwrap_or_default(),
            ..Head::default()
        };
        loop {
            let line = line(from)?;
            head.bytes.extend_from_slice(&line);
            let text = String::from_utf8_lossy(&line).to_ascii_lowercase();
            let Some((name, value)) = text.split_once(':') else {
                return Ok(Some(head));
            };
            match (name, value.trim()) {
                ("content-length", value) => head.length = value.parse().ok(),
                ("transfer-encoding", value) => head.chunked = value.contains("chunked"),
                ("x-amz-copy-source", _) => head.copies = true,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(method: &str, target: &str, copies: bool) -> Kind {
        Kind::of(&Head {
            method: method.to_owned(),
            target: target.to_owned(),
            copies,
            ..Head::default()
        })
    }

    #[test]
    fn requests_are_told_apart() {
        for (method, target, expected) in [
            ("GET", "/b?list-type=2&prefix=p", Kind::List),
            ("GET", "/b/?delimiter=&max-keys=1000&prefix=", Kind::List),
            ("GET", "/b?location=", Kind::Bucket),
            ("HEAD", "/b", Kind::Bucket),
            ("GET", "/b/p/key", Kind::Get),
            ("GET", "/b/p/key?x-id=GetObject", Kind::Get),
            ("GET", "/b/p/key?uploadId=1", Kind::Multipart),
            ("HEAD", "/b/p/key", Kind::Head),
            ("PUT", "/b/p/key?x-id=PutObject", Kind::Put),
            ("PUT", "/b/p/key?partNumber=1&uploadId=2", Kind::Part),
            ("POST", "/b/p/key?uploads=", Kind::Multipart),
            ("POST", "/b/p/key?uploadId=2", Kind::Multipart),
            ("POST", "/b?delete=", Kind::DeleteMany),
            ("DELETE", "/b/p/key", Kind::Delete),
            ("OPTIONS", "/", Kind::Other),
        ] {
            assert_eq!(kind(method, target, false), expected, "{method} {target}");
        }
        assert_eq!(kind("PUT", "/b/p/key", true), Kind::Copy);
    }

    #[test]
    fn requests_with_bodies_are_passed_on_unchanged() {
        let sent = "PUT /b/a HTTP/1.1\r\nContent-Length: 20\r\n\r\nGET /b/x HTTP/1.1\r\n\r\
                    PUT /b/c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n0\r\nx: y\r\n\r\n\
                    GET /b/a HTTP/1.1\r\n\r\n";
        let (mut passed, counts) = (Vec::new(), Mutex::new(Counts::new()));
        requests(&mut sent.as_bytes(), &mut passed, &counts).unwrap();
        assert_eq!(String::from_utf8(passed).unwrap(), sent);
        let expected = Counts::from([(Kind::Put, 2), (Kind::Get, 1)]);
        assert_eq!(*lock(&counts), expected);
    }
}
