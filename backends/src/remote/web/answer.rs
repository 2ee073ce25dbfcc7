//! What the status of an answer means.

use std::time::Duration;

use http::StatusCode;
use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use wl_core::model::{Kind, Timestamp};
use wl_core::storage::{ErrorKind, Noted, StorageError};

use super::super::store::{Again, Fault, Found};
use super::text;

/// The fault that a refusal is.
pub(crate) fn fault(status: StatusCode, headers: &HeaderMap) -> Fault {
    let (kind, advice) = match status.as_u16() {
        401 => (ErrorKind::Credentials, login(headers)),
        403 => (
            ErrorKind::Denied,
            "the server does not allow this to us; check the account's rights there",
        ),
        404 | 410 => (ErrorKind::NotFound, "nothing is there"),
        405 | 501 => (
            ErrorKind::Unsupported,
            "the server cannot do this here; check that `url` is what the server offers",
        ),
        407 => (
            ErrorKind::Credentials,
            "a proxy wants a login; give it in the address that HTTPS_PROXY or HTTP_PROXY holds",
        ),
        409 => (
            ErrorKind::NoParent,
            "the folder that should hold it is missing",
        ),
        412 => (ErrorKind::Changed, "what is there is not what was expected"),
        413 | 507 => (
            ErrorKind::Full,
            "make room on the server, or have its limit raised",
        ),
        414 => (
            ErrorKind::Unrepresentable,
            "the server does not take so long a path; rename it",
        ),
        423 => (
            ErrorKind::Temporary,
            "somebody else is working on it; it should be free in two minutes",
        ),
        408 | 425 | 429 | 500 | 502 | 503 | 504 => (
            ErrorKind::Temporary,
            "see whether the server is overloaded, and its log",
        ),
        _ => (ErrorKind::Other, "look into the server's log"),
    };
    let name = status.canonical_reason().unwrap_or("unknown");
    let reason = format!("the server answers {} {name}", status.as_u16());
    let again = match status.as_u16() {
        408 | 423 | 425 | 429 | 500 | 502 | 503 | 504 => Again::After(pause(headers)),
        _ => Again::Never,
    };
    Fault {
        error: StorageError::new(kind, "request", reason).with_advice(advice),
        again,
        // These say that something broke on the way or half way through, not that nothing was done.
        unclear: matches!(status.as_u16(), 408 | 500 | 502 | 504),
    }
}

fn login(headers: &HeaderMap) -> &'static str {
    let asks = |scheme: &str| {
        let mut all = headers.get_all(WWW_AUTHENTICATE).iter();
        all.any(|value| {
            value
                .to_str()
                .is_ok_and(|text| text.to_ascii_lowercase().contains(scheme))
        })
    };
    if asks("digest") && !asks("basic") && !asks("bearer") {
        return "the server wants a Digest login, which is not supported; have it offer Basic over https";
    }
    "give a valid login as `credentials` or `credentials_file`"
}

fn pause(headers: &HeaderMap) -> Option<Duration> {
    header(headers, &RETRY_AFTER)?
        .trim()
        .parse()
        .ok()
        .map(Duration::from_secs)
}

/// A header's text.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The file that an answer to GET or HEAD tells of; `None` if its size is not told.
pub(crate) fn found(status: StatusCode, headers: &HeaderMap) -> Option<Found> {
    let size = if status == StatusCode::PARTIAL_CONTENT {
        header(headers, &CONTENT_RANGE)?.rsplit_once('/')?.1.trim()
    } else {
        header(headers, &CONTENT_LENGTH)?.trim()
    };
    let modified = header(headers, &LAST_MODIFIED).and_then(text::date);
    Some(Found {
        tag: tag(header(headers, &ETAG), modified, date(headers)),
        modified,
        ..plain(Kind::File, size.parse().ok()?)
    })
}

/// When the server answered, by its own clock.
pub(crate) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    header(headers, &DATE).and_then(text::date)
}

/// The tag, if it proves something: it is strong, and not made of a second that another version may still share (WsgiDAV, nginx).
pub(crate) fn tag(
    text: Option<&str>,
    modified: Option<Timestamp>,
    now: Option<Timestamp>,
) -> Option<Box<str>> {
    let tag = text.and_then(text::tag)?;
    let (Some(modified), Some(now)) = (modified, now) else {
        return Some(tag);
    };
    let young = now.secs.saturating_sub(modified.secs) < 2;
    let (decimal, hex) = (modified.secs.to_string(), format!("{:x}", modified.secs));
    let mut words = tag.split(|c: char| !c.is_ascii_alphanumeric());
    let of_seconds = words.any(|word| word == decimal || word.eq_ignore_ascii_case(&hex));
    (!young || !of_seconds).then_some(tag)
}

/// Something of which no more is known.
pub(crate) fn plain(kind: Kind, size: u64) -> Found {
    Found {
        kind,
        size,
        tag: None,
        modified: None,
        mode: None,
        link: None,
        file_id: None,
        noted: Noted::default(),
        operation: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_of_seconds_proves_nothing_until_they_are_over() {
        let at = |secs| Some(Timestamp { secs, nanos: 0 });
        let modified = at(1_795_282_800);
        for of_seconds in ["\"6b019-1795282800-3\"", "\"6b01d770-3\"", "\"6B01D770\""] {
            for (now, proves) in [
                (1_795_282_800, false),
                (1_795_282_801, false),
                (1_795_282_802, true),
            ] {
                let told = tag(Some(of_seconds), modified, at(now));
                assert_eq!(told.is_some(), proves, "{of_seconds} {now}");
            }
        }
        for finer in ["\"3-660cb1795282800\"", "\"1795282800123456\"", "\"x\""] {
            assert!(tag(Some(finer), modified, modified).is_some(), "{finer}");
        }
        assert!(tag(Some("\"1795282800\""), None, modified).is_some());
        assert_eq!(tag(Some("W/\"x\""), modified, at(9)), None);
    }

    #[test]
    fn a_refusal_is_of_the_right_kind() {
        let cases = [
            (404, ErrorKind::NotFound, Again::Never),
            (409, ErrorKind::NoParent, Again::Never),
            (412, ErrorKind::Changed, Again::Never),
            (507, ErrorKind::Full, Again::Never),
            (423, ErrorKind::Temporary, Again::After(None)),
            (
                503,
                ErrorKind::Temporary,
                Again::After(Some(Duration::from_secs(7))),
            ),
        ];
        for (status, kind, again) in cases {
            let mut headers = HeaderMap::new();
            if status == 503 {
                headers.insert(RETRY_AFTER, http::HeaderValue::from_static("7"));
            }
            let fault = fault(StatusCode::from_u16(status).unwrap(), &headers);
            assert_eq!((fault.error.kind(), fault.again), (kind, again), "{status}");
        }
    }

    #[test]
    fn a_server_that_wants_digest_is_told_apart() {
        let mut headers = HeaderMap::new();
        let value = http::HeaderValue::from_static("Digest realm=\"x\", nonce=\"y\"");
        headers.insert(WWW_AUTHENTICATE, value);
        let digest = fault(StatusCode::UNAUTHORIZED, &headers);
        assert!(digest.error.reason().contains("Digest"));
        let basic = fault(StatusCode::UNAUTHORIZED, &HeaderMap::new());
        assert!(basic.error.reason().contains("credentials"));
    }
}
