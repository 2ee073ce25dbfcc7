//! Tokens: made of what listings tell, and told apart by it.

use wl_core::model::{Meta, Timestamp, Token};

use super::store::{Facts, Found};

/// The attributes of what was found, with its token. `now` is what the clock says.
pub(super) fn meta(found: &Found, facts: &Facts, now: Timestamp) -> Meta {
    let _ = now;
    Meta {
        kind: found.kind,
        size: found.size,
        mtime: found.noted.mtime.or(found.modified),
        mode: found.mode,
        token: token(found),
        settled: found.tag.is_some() || facts.clock == 0,
        file_id: found.file_id,
        hash: None,
        link: found.link.clone(),
    }
}

/// `TAG SIZE`, or without a tag `@SECONDS.NANOSECONDS SIZE`.
pub(super) fn token(found: &Found) -> Token {
    let version = match (&found.tag, found.modified) {
        (Some(tag), _) => tag.to_string(),
        (None, Some(at)) => format!("@{}.{:09}", at.secs, at.nanos),
        (None, None) => "@".to_owned(),
    };
    Token::new(format!("{version} {}", found.size))
}

/// The tag in a token; `None` if it was made without one.
pub(super) fn tag(token: &Token) -> Option<&str> {
    let (version, _) = token.as_str().rsplit_once(' ')?;
    (!version.starts_with('@')).then_some(version)
}
