//! The faults that only a WebDAV server can have.

use std::ops::Deref;

use ::http::{HeaderMap, HeaderValue, Request, Response, header};
use bytes::Bytes;

use crate::faults::{Action, Fault, Faults, Refusal, When, Which};

const OPEN: &str = "<D:getetag>";
const CLOSE: &str = "</D:getetag>";

/// The faults of a WebDAV server: those of [`Faults`] and its own.
#[derive(Clone)]
pub struct WebDavFaults(Faults);

impl WebDavFaults {
    pub(crate) fn new(faults: Faults) -> Self {
        Self(faults)
    }

    /// Knows no locks: `LOCK` and `UNLOCK` are 405, and `OPTIONS` does not offer them.
    pub fn no_locks(&self) -> Fault {
        let options = Action::change_reply(|_, reply| {
            keep_words(reply.headers_mut(), "allow", |word| {
                word != "LOCK" && word != "UNLOCK"
            });
            keep_words(reply.headers_mut(), "dav", |word| word != "2");
        });
        self.add(Which::operation("OPTIONS"), When::Always, options);
        let which = Which::operations(["LOCK", "UNLOCK"]);
        self.refuse(which, When::Always, Refusal::new(405, "Method Not Allowed"))
    }

    /// Does not look at ETags in `If-Match`, `If-None-Match` and `If`. Lock tokens count as before.
    pub fn ignore_conditions(&self) -> Fault {
        let conditions = ["if", "if-match", "if-none-match"];
        let which = Which::any().and(move |seen| {
            let mut names = conditions.iter();
            names.any(|name| seen.headers.contains_key(*name))
        });
        let strip = |request: &mut Request<Bytes>| {
            let headers = request.headers_mut();
            headers.remove(header::IF_MATCH);
            headers.remove(header::IF_NONE_MATCH);
            if let Some(list) = headers.remove("if") {
                let left = without_etags(list.to_str().unwrap_or_default());
                if let Some(left) = left.and_then(|left| left.parse().ok()) {
                    headers.insert("if", left);
                }
            }
        };
        self.add(which, When::Always, Action::change_request(strip))
    }

    /// Says of every ETag that it is weak, in headers and in properties: then no `If-Match` ever holds.
    pub fn weak_etags(&self, when: When) -> Fault {
        let weaken = |reply: &mut Response<Bytes>| {
            let etag = reply.headers().get(header::ETAG);
            let weak = etag.and_then(|etag| format!("W/{}", etag.to_str().ok()?).parse().ok());
            if let Some(weak) = weak {
                reply.headers_mut().insert(header::ETAG, weak);
            }
            change_text(reply, weak_properties);
        };
        self.add(
            Which::any(),
            when,
            Action::change_reply(move |_, reply| weaken(reply)),
        )
    }

    /// Has no ETags, neither in headers nor in properties.
    pub fn no_etags(&self) -> Fault {
        let remove = Action::change_reply(|_, reply| {
            reply.headers_mut().remove(header::ETAG);
            change_text(reply, without_etag_properties);
        });
        self.add(Which::any(), When::Always, remove)
    }
}

impl Deref for WebDavFaults {
    type Target = Faults;

    fn deref(&self) -> &Faults {
        &self.0
    }
}

/// Keeps some of the words of a header.
fn keep_words(headers: &mut HeaderMap, name: &'static str, is_kept: impl Fn(&str) -> bool) {
    let Some(value) = headers.get(name).and_then(|value| value.to_str().ok()) else {
        return;
    };
    let words = value.split(',').map(str::trim);
    let kept: Vec<&str> = words.filter(|word| is_kept(word)).collect();
    if let Ok(value) = HeaderValue::from_str(&kept.join(",")) {
        headers.insert(name, value);
    }
}

/// Changes the text of a `PROPFIND`'s reply.
fn change_text(reply: &mut Response<Bytes>, change: impl Fn(&str) -> String) {
    if reply.status().as_u16() != 207 {
        return;
    }
    let text = change(&String::from_utf8_lossy(reply.body()));
    reply.headers_mut().remove(header::CONTENT_LENGTH);
    *reply.body_mut() = Bytes::from(text);
}

/// dav-server writes properties without the quotes; Apache, whose weak ETags these are, has them.
fn weak_properties(text: &str) -> String {
    let mut pieces = text.split(OPEN);
    let mut weak = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (tag, behind) = piece.split_once(CLOSE).unwrap_or((piece, ""));
        let tag = tag.trim_matches('"');
        weak.push_str(&format!("{OPEN}W/\"{tag}\"{CLOSE}{behind}"));
    }
    weak
}

fn without_etag_properties(text: &str) -> String {
    let mut pieces = text.split(OPEN);
    let mut left = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        left.push_str(piece.split_once(CLOSE).map_or("", |(_, behind)| behind));
    }
    left
}

/// An `If` header without its `["etag"]`s; nothing, if nothing is left.
fn without_etags(list: &str) -> Option<String> {
    let mut pieces = list.split('[');
    let mut left = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        left.push_str(piece.split_once(']').map_or("", |(_, behind)| behind));
    }
    // A list of which only the brackets are left would never hold.
    let left = left
        .replace("(Not )", "")
        .replace("( )", "")
        .replace("()", "");
    left.contains('(').then_some(left)
}

#[test]
fn etags_are_taken_out_of_conditions() {
    for (list, left) in [
        ("([\"a\"])", None),
        ("(<urn:x> [\"a\"])", Some("(<urn:x> )")),
        ("<http://h/p> (<urn:x>)", Some("<http://h/p> (<urn:x>)")),
    ] {
        assert_eq!(without_etags(list).as_deref(), left);
    }
}
