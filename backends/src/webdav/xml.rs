//! What a PROPFIND answers, read as a stream: a folder of a hundred thousand entries is never held as one tree.

use std::io::{BufRead, Read};

use quick_xml::NsReader;
use quick_xml::events::Event;
use quick_xml::name::ResolveResult;
use wl_core::model::Timestamp;

use crate::remote::web::text;

/// What is asked for. Asking for everything is slow on many servers.
pub(super) const ASK: &str = concat!(
    r#"<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop>"#,
    "<resourcetype/><getcontentlength/><getetag/><getlastmodified/></prop></propfind>"
);

/// The locks that are on something.
pub(super) const ASK_LOCKS: &str = concat!(
    r#"<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop>"#,
    "<lockdiscovery/></prop></propfind>"
);

/// More than this for one entry is no honest answer.
const LONGEST: u64 = 1 << 20;

/// One resource of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resource {
    /// As the server wrote it.
    pub(super) href: String,
    /// Of the resource as a whole, if it is told so.
    pub(super) status: Option<u16>,
    pub(super) folder: bool,
    pub(super) size: Option<u64>,
    /// As the server wrote it.
    pub(super) etag: Option<String>,
    pub(super) modified: Option<Timestamp>,
    /// Owner and token of each lock.
    pub(super) locks: Vec<(String, String)>,
    /// The server's answer held properties at all.
    pub(super) told: bool,
}

/// A reader that counts, so that one entry cannot fill the memory.
#[derive(Debug)]
struct Counted<R>(R, u64);

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let got = self.0.read(into)?;
        self.1 += got as u64;
        Ok(got)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.1 > LONGEST {
            return Err(std::io::Error::other(
                "one entry of the answer is far too long",
            ));
        }
        self.0.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.1 += amount as u64;
        self.0.consume(amount);
    }
}

/// The resources of an answer, one by one.
#[derive(Debug)]
pub(super) struct Answer<R> {
    xml: NsReader<Counted<R>>,
    buffer: Vec<u8>,
    /// Names of the open elements; those that are none of DAV's are empty.
    open: Vec<String>,
    text: String,
    /// The document's own element was closed: nothing is missing.
    whole: bool,
    now: Resource,
    stat: Stat,
}

/// Properties, believed once their status is known.
#[derive(Debug, Default)]
struct Stat {
    status: Option<u16>,
    folder: bool,
    size: Option<u64>,
    etag: Option<String>,
    modified: Option<Timestamp>,
    locks: Vec<(String, String)>,
    owner: String,
    token: String,
}

enum Step {
    Open(String),
    Empty(String),
    Close,
    Text(String),
    Other,
    End,
}

impl<R: BufRead> Answer<R> {
    pub(super) fn new(body: R) -> Self {
        Self {
            xml: NsReader::from_reader(Counted(body, 0)),
            buffer: Vec::new(),
            open: Vec::new(),
            text: String::new(),
            whole: false,
            now: Resource::default(),
            stat: Stat::default(),
        }
    }

    /// The next resource; `None` at the end. An answer that was cut short is an error: what is not told would be taken for gone.
    pub(super) fn next(&mut self) -> Result<Option<Resource>, String> {
        loop {
            match self.step()? {
                Step::Open(name) => {
                    if self.open.len() > 64 {
                        return Err("the answer is nested too deeply".to_owned());
                    }
                    self.opened(&name);
                    self.open.push(name);
                }
                Step::Empty(name) => self.opened(&name),
                Step::Text(text) => self.text.push_str(&text),
                Step::Close => {
                    let name = self.open.pop().unwrap_or_default();
                    self.whole |= self.open.is_empty() && name == "multistatus";
                    if let Some(done) = self.closed(&name) {
                        self.xml.get_mut().1 = 0;
                        return Ok(Some(done));
                    }
                }
                Step::Other => {}
                Step::End if self.whole => return Ok(None),
                Step::End => {
                    return Err("the answer was cut short, or is no multi-status".to_owned());
                }
            }
        }
    }

    fn step(&mut self) -> Result<Step, String> {
        self.buffer.clear();
        let read = self.xml.read_resolved_event_into(&mut self.buffer);
        let (namespace, event) = read.map_err(|error| format!("the answer is no XML: {error}"))?;
        let ours = match namespace {
            ResolveResult::Bound(namespace) => namespace.0 == "DAV:",
            // Some servers forget to say which namespace they mean.
            ResolveResult::Unbound | ResolveResult::Unknown(_) => true,
        };
        let name = |local: &str| {
            if ours {
                local.to_ascii_lowercase()
            } else {
                String::new()
            }
        };
        Ok(match event {
            Event::Start(tag) => Step::Open(name(tag.local_name().as_ref())),
            Event::Empty(tag) => Step::Empty(name(tag.local_name().as_ref())),
            Event::End(_) => Step::Close,
            Event::Text(text) => Step::Text(text.xml10_content().into_owned()),
            Event::CData(text) => Step::Text(text.xml10_content().into_owned()),
            Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                Ok(Some(c)) => Step::Text(c.to_string()),
                _ => match quick_xml::escape::resolve_predefined_entity(&reference.xml10_content())
                {
                    Some(text) => Step::Text(text.to_owned()),
                    None => {
                        return Err("the answer holds an entity that XML does not know".to_owned());
                    }
                },
            },
            Event::Eof => Step::End,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => Step::Other,
        })
    }

    fn opened(&mut self, name: &str) {
        self.text.clear();
        match name {
            "response" => self.now = Resource::default(),
            "propstat" => self.stat = Stat::default(),
            "activelock" => {
                self.stat.owner.clear();
                self.stat.token.clear();
            }
            "collection"
                if self
                    .open
                    .last()
                    .is_some_and(|above| above == "resourcetype") =>
            {
                self.stat.folder = true;
            }
            _ => {}
        }
    }

    fn closed(&mut self, name: &str) -> Option<Resource> {
        let text = std::mem::take(&mut self.text);
        let within = |above: &str| self.open.last().is_some_and(|open| open == above);
        match name {
            "href" if within("response") => self.now.href = text.trim().to_owned(),
            "href" if within("locktoken") => self.stat.token = text.trim().to_owned(),
            "owner" => self.stat.owner = text,
            "activelock" => {
                let lock = (self.stat.owner.clone(), self.stat.token.clone());
                self.stat.locks.push(lock);
            }
            "status" if within("propstat") => self.stat.status = code(&text),
            "status" if within("response") => self.now.status = code(&text),
            "getcontentlength" => self.stat.size = text.trim().parse().ok(),
            "getetag" => {
                self.stat.etag = Some(text.trim().to_owned()).filter(|tag| !tag.is_empty())
            }
            "getlastmodified" => self.stat.modified = text::date(&text),
            "propstat" => self.believe(),
            "response" => return Some(std::mem::take(&mut self.now)),
            _ => {}
        }
        None
    }

    fn believe(&mut self) {
        let stat = std::mem::take(&mut self.stat);
        if !stat
            .status
            .is_none_or(|status| (200..300).contains(&status))
        {
            return;
        }
        self.now.told = true;
        self.now.folder |= stat.folder;
        self.now.size = stat.size.or(self.now.size);
        self.now.etag = stat.etag.or(self.now.etag.take());
        self.now.modified = stat.modified.or(self.now.modified);
        self.now.locks.extend(stat.locks);
    }
}

/// `HTTP/1.1 200 OK`.
fn code(text: &str) -> Option<u16> {
    text.split_whitespace().nth(1)?.parse().ok()
}

/// The parts of an href's path, each as it was before it was escaped, and whether any was no UTF-8.
pub(super) fn parts(href: &str) -> (Vec<String>, bool) {
    let path = match href.split_once("://") {
        // An address; its path begins after the host.
        Some((scheme, rest)) if !scheme.contains('/') => {
            rest.find('/').map_or("", |at| &rest[at..])
        }
        _ => href,
    };
    let mut lossy = false;
    let parts = path.split('/').filter(|part| !part.is_empty());
    let parts = parts.map(|part| {
        let (part, odd) = text::decode(part);
        lossy |= odd;
        part
    });
    (parts.collect(), lossy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<Resource>, String> {
        let mut answer = Answer::new(text.as_bytes());
        let mut all = Vec::new();
        while let Some(resource) = answer.next()? {
            all.push(resource);
        }
        Ok(all)
    }

    const APACHE: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<D:multistatus xmlns:D="DAV:" xmlns:ns0="DAV:">
<D:response xmlns:lp1="DAV:" xmlns:lp2="http://apache.org/dav/props/">
<D:href>/a%20&amp;&#98;.txt</D:href>
<D:propstat><D:prop><lp1:resourcetype/><lp1:getcontentlength>5</lp1:getcontentlength>
<lp1:getetag>W/"5-660cb142f7230"</lp1:getetag><lp2:getetag>"not it"</lp2:getetag>
<lp1:getlastmodified>Sat, 21 Nov 2026 15:33:13 GMT</lp1:getlastmodified></D:prop>
<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>
<D:response><D:href>/f/</D:href><D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype></D:prop>
<D:status>HTTP/1.1 200 OK</D:status></D:propstat><D:propstat><D:prop><D:getcontentlength>9</D:getcontentlength></D:prop>
<D:status>HTTP/1.1 404 Not Found</D:status></D:propstat></D:response>
<D:response><D:href>/gone</D:href><D:status>HTTP/1.1 403 Forbidden</D:status></D:response>
</D:multistatus>"#;

    #[test]
    fn an_answer_of_apache() {
        let all = all(APACHE).unwrap();
        assert_eq!(parts(&all[0].href), (vec!["a &b.txt".to_owned()], false));
        assert_eq!((all[0].folder, all[0].size), (false, Some(5)));
        assert_eq!(all[0].etag.as_deref(), Some("W/\"5-660cb142f7230\""));
        assert_eq!(all[0].modified.map(|at| at.secs), Some(1_795_275_193));
        assert_eq!((all[1].folder, all[1].size), (true, None));
        assert_eq!((all[2].status, all[2].told), (Some(403), false));
    }

    #[test]
    fn an_answer_that_is_cut_short_is_an_error() {
        for end in 1..APACHE.len() - 1 {
            assert!(all(&APACHE[..end]).is_err(), "{}", &APACHE[..end]);
        }
        assert!(all("<html><body>Login</body></html>").is_err());
        let long = format!(
            "<multistatus xmlns='DAV:'><response><href>{}",
            "x".repeat(4 << 20)
        );
        assert!(all(&long).unwrap_err().contains("far too long"));
    }

    #[test]
    fn hrefs_are_addresses_or_paths_escaped_or_not() {
        let one = |href| parts(href).0;
        for href in ["http://h:1/a/b%20c/", "/a/b%20c", "/a//b c/", "a/b%20c"] {
            assert_eq!(one(href), ["a", "b c"], "{href}");
        }
        assert_eq!(one("/a%2Fb"), ["a/b"]);
        assert_eq!(one("/x/http://y"), ["x", "http:", "y"]);
        assert_eq!(parts("/%FF"), (vec!["\u{fffd}".to_owned()], true));
    }
}
