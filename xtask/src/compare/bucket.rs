//! The second side in a bucket: people fetch it, edit, and put back what they changed, under the condition that it is still
//! what they fetched.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use super::effects::is_of_people;
use super::ledger::Shared;
use super::world::each_file;
use crate::Result;
use crate::bench_s3::objects::{encoded, tags};

/// A prefix in a bucket that everybody may write to.
#[derive(Clone, Debug)]
pub struct Bucket {
    address: String,
    bucket: String,
    pub prefix: String,
    /// As last fetched: what says that an object is still the same, and its content.
    known: BTreeMap<String, (String, Vec<u8>)>,
}

struct Answer {
    status: u16,
    etag: String,
    body: Vec<u8>,
}

impl Bucket {
    pub fn new(address: &str, bucket: &str, prefix: String) -> Self {
        Self {
            address: address.to_owned(),
            bucket: bucket.to_owned(),
            prefix,
            known: BTreeMap::new(),
        }
    }

    /// Makes a folder equal to the bucket; looks at all that is new.
    pub fn pull(&mut self, root: &Path, ledger: &Shared) -> Result<()> {
        let listed = self.list()?;
        let mut known = BTreeMap::new();
        for (key, etag) in listed {
            let old = self.known.remove(&key).filter(|old| old.0 == etag);
            let found = match old {
                Some(old) => Some(old),
                None => self.get(&key)?,
            };
            if let Some(found) = found {
                if is_of_people(Path::new(&key)) {
                    ledger.hold().look(&key, &found.1);
                }
                known.insert(key, found);
            }
        }
        self.known = known;
        fs::remove_dir_all(root)?;
        fs::create_dir(root)?;
        for (key, (_, content)) in &self.known {
            let at = root.join(key);
            fs::create_dir_all(at.parent().unwrap_or(root))?;
            fs::write(at, content)?;
        }
        Ok(())
    }

    /// Puts into the bucket what was changed in the folder since it was fetched. What the tool was faster with did not happen: the ledger is put right.
    pub fn push(&self, root: &Path, ledger: &Shared, moved: bool) -> Result<()> {
        let mut now = BTreeMap::new();
        each_file(root, &mut |key, content| {
            now.insert(key.to_owned(), content);
        });
        let is_new = |(key, content): &(&String, &Vec<u8>)| {
            self.known
                .get(*key)
                .is_none_or(|known| known.1 != **content)
        };
        let puts: Vec<_> = now.iter().filter(is_new).collect();
        let gone = self.known.keys().filter(|key| !now.contains_key(*key));
        let clashes = |key: &str| {
            puts.iter().any(|(put, _)| {
                put.starts_with(&format!("{key}/")) || key.starts_with(&format!("{put}/"))
            })
        };
        // A file makes room for a folder first, and the other way round; else a move is copy, then removal.
        let (before, after): (Vec<_>, Vec<_>) = gone.partition(|key| clashes(key));
        let is_put = |content: &Vec<u8>| puts.iter().any(|put| put.1 == content);
        let remove = |key: &String, really: bool| -> Result<()> {
            let (etag, content) = &self.known[key];
            let removed = really && self.delete(key, etag)?;
            if !(removed || moved && is_put(content)) {
                ledger.hold().write(content, format!("B:{key}"));
            }
            Ok(())
        };
        for key in before {
            remove(key, true)?;
        }
        let mut all = true;
        for (key, content) in &puts {
            let old = self.known.get(*key);
            if self.put(key, content, old.map(|old| old.0.as_str()))? {
                continue;
            }
            all = false;
            let mut ledger = ledger.hold();
            if !moved {
                ledger.give_up(content);
            }
            if let Some((_, old)) = old {
                ledger.write(old, format!("B:{key}"));
            }
        }
        for key in after {
            remove(key, all || !moved)?;
        }
        Ok(())
    }

    /// All keys below the prefix and their tags, without folders.
    fn list(&self) -> Result<Vec<(String, String)>> {
        let (mut listed, mut from) = (Vec::new(), String::new());
        loop {
            let path = format!("?list-type=2&prefix={}/{from}", self.prefix);
            let answer = self.send("GET", &path, "", b"")?;
            let page = String::from_utf8_lossy(&answer.body).into_owned();
            if answer.status != 200 {
                return Err(format!("list {path}: {} {page}", answer.status).into());
            }
            for entry in tags(&page, "Contents") {
                let (key, etag) = (tags(&entry, "Key").next(), tags(&entry, "ETag").next());
                let key = key.unwrap_or_default();
                let key = key.strip_prefix(&format!("{}/", self.prefix));
                if let Some(key) = key.filter(|key| !key.is_empty() && !key.ends_with('/')) {
                    let etag = etag.unwrap_or_default().replace("&quot;", "\"");
                    listed.push((key.to_owned(), etag.replace("&#34;", "\"")));
                }
            }
            match tags(&page, "NextContinuationToken").next() {
                Some(token) if page.contains("<IsTruncated>true<") => {
                    from = format!("&continuation-token={}", encoded(&token));
                }
                _ => return Ok(listed),
            }
        }
    }

    fn at(&self, key: &str) -> String {
        format!("/{}/{}", self.prefix, encoded(key))
    }

    fn get(&self, key: &str) -> Result<Option<(String, Vec<u8>)>> {
        let answer = self.send("GET", &self.at(key), "", b"")?;
        match answer.status {
            200 => Ok(Some((answer.etag, answer.body))),
            404 => Ok(None),
            status => Err(format!("GET {key}: {status}").into()),
        }
    }

    pub fn has(&self, key: &str) -> Result<bool> {
        Ok(self.get(key)?.is_some())
    }

    /// Whether it was still `old` (a tag; none: nothing was there) and is now this.
    pub fn put(&self, key: &str, content: &[u8], old: Option<&str>) -> Result<bool> {
        let condition = match old {
            Some(tag) => format!("If-Match: {tag}\r\n"),
            None => "If-None-Match: *\r\n".to_owned(),
        };
        self.change("PUT", key, &condition, content)
    }

    fn delete(&self, key: &str, tag: &str) -> Result<bool> {
        self.change("DELETE", key, &format!("If-Match: {tag}\r\n"), b"")
    }

    fn change(&self, method: &str, key: &str, condition: &str, content: &[u8]) -> Result<bool> {
        let answer = self.send(method, &self.at(key), condition, content)?;
        match answer.status {
            200 | 204 => Ok(true),
            // Another was there, or is just being written.
            404 | 409 | 412 => Ok(false),
            status => {
                let why = String::from_utf8_lossy(&answer.body).into_owned();
                Err(format!("{method} {key}: {status} {why}").into())
            }
        }
    }

    /// Over a connection of its own: HTTP/1.0 knows no chunks.
    fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Result<Answer> {
        let mut connection = TcpStream::connect(&self.address)?;
        connection.set_read_timeout(Some(Duration::from_secs(60)))?;
        let head = format!(
            "{method} /{}{path} HTTP/1.0\r\nHost: {}\r\n{headers}Content-Length: {}\r\n\r\n",
            self.bucket,
            self.address,
            body.len()
        );
        connection.write_all(&[head.as_bytes(), body].concat())?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|end| end == b"\r\n\r\n");
        let end = end.ok_or("the server's answer is not HTTP")?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        let etag = fields.find(|(name, _)| name.eq_ignore_ascii_case("etag"));
        Ok(Answer {
            status: status.ok_or("the server's answer has no status")?,
            etag: etag.map_or(String::new(), |(_, tag)| tag.to_owned()),
            body: answer.split_off(end + 4),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    type Objects = Arc<Mutex<BTreeMap<String, String>>>;

    /// A bucket `b` that obeys conditions; an object's tag is its content.
    fn serve() -> (Bucket, Objects) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let objects = Objects::default();
        let shared = Arc::clone(&objects);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                answer(connection.unwrap(), &mut shared.lock().unwrap());
            }
        });
        (Bucket::new(&address, "b", "p".to_owned()), objects)
    }

    fn answer(connection: TcpStream, objects: &mut BTreeMap<String, String>) {
        let mut reader = BufReader::new(connection);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            reader.read_line(&mut head).unwrap();
        }
        let field = |name: &str| {
            let mut lines = head.lines();
            lines.find_map(|line| Some(line.strip_prefix(name)?.to_owned()))
        };
        let length: usize = field("Content-Length: ").unwrap().parse().unwrap();
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let key = path.strip_prefix("/b/p/").unwrap_or_default();
        let old = objects.get(key).cloned();
        let holds = match (field("If-Match: "), &old) {
            (Some(tag), old) => Some(&tag) == old.as_ref(),
            (None, old) => field("If-None-Match: ").is_none() || old.is_none(),
        };
        let rows = objects
            .iter()
            .map(|(key, tag)| format!("<Contents><Key>p/{key}</Key><ETag>{tag}</ETag></Contents>"));
        let (status, text) = match (method, key) {
            ("GET", "") => (200, rows.collect()),
            ("GET", _) => old.clone().map_or((404, String::new()), |old| (200, old)),
            _ if !holds => (412, String::new()),
            ("PUT", _) => {
                objects.insert(key.to_owned(), String::from_utf8(body).unwrap());
                (200, String::new())
            }
            _ => {
                objects.remove(key);
                (204, String::new())
            }
        };
        let tag = old.unwrap_or_default();
        write!(
            reader.get_mut(),
            "HTTP/1.0 {status} X\r\nETag: {tag}\r\n\r\n{text}"
        )
        .unwrap();
    }

    #[test]
    fn what_the_tool_was_faster_with_did_not_happen() {
        let (mut bucket, objects) = serve();
        let set = |key: &str, content: &str| {
            objects
                .lock()
                .unwrap()
                .insert(key.to_owned(), content.to_owned());
        };
        let ledger = Shared::default();
        for (key, content) in [("ant", "old ant"), ("bee", "old bee"), ("cat", "old cat")] {
            set(key, content);
            ledger.hold().write(content.as_bytes(), key.to_owned());
        }
        let root = std::env::temp_dir().join(format!("wl-bucket-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        bucket.pull(&root, &ledger).unwrap();
        // A person replaces two and removes one; the tool was there first for the first and the last.
        for (key, content) in [("ant", "new ant"), ("bee", "new bee")] {
            fs::write(root.join(key), content).unwrap();
            ledger.hold().write(content.as_bytes(), key.to_owned());
        }
        fs::remove_file(root.join("cat")).unwrap();
        for old in ["old ant", "old bee", "old cat"] {
            ledger.hold().give_up(old.as_bytes());
        }
        set("ant", "tool's ant");
        set("cat", "tool's cat");
        bucket.push(&root, &ledger, false).unwrap();
        bucket.pull(&root, &ledger).unwrap();
        let read = |key: &str| fs::read_to_string(root.join(key)).unwrap();
        assert_eq!(
            ["ant", "bee", "cat"].map(read),
            ["tool's ant", "new bee", "tool's cat"]
        );
        fs::remove_dir_all(&root).unwrap();
        let ledger = ledger.hold();
        let needed = ledger.needed();
        let is_needed =
            |content: &str| needed.contains_key(&ledger.id(content.as_bytes()).unwrap());
        assert!(is_needed("old ant") && is_needed("new bee") && is_needed("old cat"));
        assert!(!is_needed("new ant") && !is_needed("old bee"));
        assert_eq!(
            ledger.torn.len(),
            2,
            "nobody here wrote what the tool wrote"
        );
    }
}
