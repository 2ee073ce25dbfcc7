//! What a bucket holds, asked without any of the tools: a tool must not be its own witness.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::Result;
use crate::bench::tree::{self, Files};

/// How many objects are read at a time.
const CONNECTIONS: usize = 4;

/// A bucket that everybody may read.
pub struct Objects {
    address: String,
    bucket: String,
}

/// An answer's head.
struct Answer {
    status: u16,
    length: Option<u64>,
}

impl Objects {
    pub fn new(address: &str, bucket: &str) -> Self {
        Self {
            address: address.to_owned(),
            bucket: bucket.to_owned(),
        }
    }

    pub fn make_bucket(&self) -> Result<()> {
        self.short("PUT", &format!("/{}", self.bucket), "")
            .map(drop)
    }

    /// Some server makes the files for its data at the first object: no tool shall be the one that waits.
    pub fn warm_up(&self) -> Result<()> {
        let path = format!("/{}/warm-up", self.bucket);
        self.short("PUT", &path, &"x".repeat(1 << 16)).map(drop)
    }

    /// The objects below a prefix by the rest of their keys, without folders and without what tools keep for themselves.
    pub fn below(&self, prefix: &str) -> Result<Files> {
        let keys = self.keys(prefix)?;
        let share = keys.len().div_ceil(CONNECTIONS).max(1);
        thread::scope(|scope| {
            let parts: Vec<_> = keys
                .chunks(share)
                .map(|keys| scope.spawn(|| self.digests(keys).map_err(|error| error.to_string())))
                .collect();
            let mut below = Files::new();
            for part in parts {
                let digests = part.join().map_err(|_| "a reader of objects stopped")??;
                below.extend(
                    digests
                        .into_iter()
                        .map(|(key, digest)| (key[prefix.len()..].to_owned(), digest)),
                );
            }
            Ok(below)
        })
    }

    fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        let mut from = String::new();
        loop {
            let prefix = encoded(prefix);
            let page = self.short(
                "GET",
                &format!("/{}?list-type=2&prefix={prefix}{from}", self.bucket),
                "",
            )?;
            keys.extend(tags(&page, "Key"));
            match tags(&page, "NextContinuationToken").next() {
                Some(token) if page.contains("<IsTruncated>true<") => {
                    from = format!("&continuation-token={}", encoded(&token));
                }
                _ => break,
            }
        }
        keys.retain(|key| !key.ends_with('/') && !key[prefix.len()..].starts_with(".wl/"));
        Ok(keys)
    }

    /// All over one connection.
    fn digests(&self, keys: &[String]) -> Result<Vec<(String, u64)>> {
        let mut connection = BufReader::with_capacity(1 << 16, self.connect()?);
        let mut digests = Vec::new();
        for key in keys {
            let path = format!("/{}/{}", self.bucket, encoded(key));
            let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
            connection.get_mut().write_all(head.as_bytes())?;
            let answer = Answer::read(&mut connection)?;
            let length = answer.length.filter(|_| answer.status == 200);
            let length = length.ok_or_else(|| format!("GET {path}: {}", answer.status))?;
            let mut content = connection.by_ref().take(length);
            digests.push((key.clone(), tree::digest(&mut content)?));
            if content.limit() > 0 {
                return Err(format!("GET {path}: the content ends early").into());
            }
        }
        Ok(digests)
    }

    /// A request whose answer is text, over a connection of its own: HTTP/1.0 knows no chunks.
    fn short(&self, method: &str, path: &str, body: &str) -> Result<String> {
        let mut connection = self.connect()?;
        let (host, length) = (&self.address, body.len());
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        connection.write_all(head.as_bytes())?;
        let mut connection = BufReader::new(connection);
        let answer = Answer::read(&mut connection)?;
        let mut text = String::new();
        connection.read_to_string(&mut text)?;
        match answer.status {
            200 => Ok(text),
            status => Err(format!("{method} {path}: {status} {text}").into()),
        }
    }

    fn connect(&self) -> Result<TcpStream> {
        let connection = TcpStream::connect(&self.address)?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(connection)
    }
}

impl Answer {
    fn read(from: &mut impl BufRead) -> Result<Self> {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|word| word.trim().parse().ok());
        let status = status.ok_or("the server's answer is not HTTP")?;
        let mut length = None;
        loop {
            line.clear();
            from.read_line(&mut line)?;
            match line.trim().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().ok();
                }
                Some(_) => {}
                None => return Ok(Self { status, length }),
            }
        }
    }
}

/// What is between a tag and its end, each time. Our keys have nothing in them that XML writes differently.
pub fn tags<'a>(xml: &'a str, tag: &str) -> impl Iterator<Item = String> + use<'a> {
    let (begin, end) = (format!("<{tag}>"), format!("</{tag}>"));
    let parts: Vec<&str> = xml.split(&begin).skip(1).collect();
    parts
        .into_iter()
        .filter_map(move |part| Some(part.split_once(&end)?.0.to_owned()))
}

/// As it may stand in a path or behind a `=`.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Answers each request with what the test says for its first line.
    fn serve(answer: fn(&str) -> &'static str) -> Objects {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let connection = connection.unwrap();
                thread::spawn(move || {
                    let mut reader = BufReader::new(connection);
                    let mut request = String::new();
                    while reader.read_line(&mut request).unwrap() > 0 {
                        if !request.ends_with("\r\n\r\n") {
                            continue;
                        }
                        let body = answer(request.lines().next().unwrap());
                        let length = body.len();
                        write!(
                            reader.get_mut(),
                            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
                        )
                        .unwrap();
                        if request.contains("HTTP/1.0") {
                            break;
                        }
                        request.clear();
                    }
                });
            }
        });
        Objects::new(&address, "b")
    }

    #[test]
    fn all_pages_are_read_and_what_is_no_file_is_left_out() {
        let objects = serve(|request| match request {
            "GET /b?list-type=2&prefix=p/ HTTP/1.0" => {
                "<IsTruncated>true</IsTruncated><Key>p/a</Key><Key>p/.wl/x</Key><Key>p/f/</Key>\
                 <NextContinuationToken>p/f =</NextContinuationToken>"
            }
            "GET /b?list-type=2&prefix=p/&continuation-token=p/f%20%3D HTTP/1.0" => {
                "<IsTruncated>false</IsTruncated><Key>p/f/b</Key>"
            }
            "GET /b/p/a HTTP/1.1" => "content",
            "GET /b/p/f/b HTTP/1.1" => "",
            _ => "unexpected",
        });
        let digest = |content: &str| tree::digest(content.as_bytes()).unwrap();
        let expected = [("a", digest("content")), ("f/b", digest(""))];
        let expected = expected.map(|(key, digest)| (key.to_owned(), digest));
        assert_eq!(objects.below("p/").unwrap(), Files::from(expected));
    }
}
