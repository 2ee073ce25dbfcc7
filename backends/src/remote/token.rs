//! Tokens: made of what listings tell, and told apart by it.

use std::time::{SystemTime, UNIX_EPOCH};

use wl_core::model::{Kind, Meta, Timestamp, Token};

use super::store::{Facts, Found};

/// What the clock says.
pub(super) fn now() -> Timestamp {
    // Before 1970 nothing is ever settled.
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = since.unwrap_or_default();
    Timestamp {
        secs: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: since.subsec_nanos(),
    }
}

/// The same as one number, since 1970.
pub(super) fn nanoseconds(at: Timestamp) -> i64 {
    let whole = at.secs.saturating_mul(1_000_000_000);
    whole.saturating_add(i64::from(at.nanos))
}

/// The attributes of what was found, with its token. `now` is what the storage's clock had reached before it was asked.
pub(super) fn meta(found: &Found, facts: &Facts, now: Timestamp) -> Meta {
    if found.kind == Kind::Folder {
        return folder(found, facts);
    }
    Meta {
        kind: found.kind,
        size: match found.kind {
            Kind::File => found.size,
            _ => 0,
        },
        mtime: found.noted.mtime.or(found.modified),
        mode: found.mode.filter(|_| found.kind == Kind::File),
        token: token(found),
        settled: settled(found, facts, now),
        file_id: found.file_id,
        hash: None,
        link: found.link.clone(),
    }
}

/// A folder of a storage without mounts in it: the token is that of the root's own file system. Where folders are only implied they have no
/// attributes at all, so that a listing and a stat say the same.
fn folder(found: &Found, facts: &Facts) -> Meta {
    let mut meta = implied_folder();
    if !facts.flat {
        meta.mtime = found.modified;
        meta.mode = found.mode;
        meta.file_id = found.file_id;
    }
    meta
}

/// A folder that exists because something is in it.
pub(super) fn implied_folder() -> Meta {
    Meta {
        kind: Kind::Folder,
        size: 0,
        mtime: None,
        mode: None,
        token: Token::new(""),
        settled: true,
        file_id: None,
        hash: None,
        link: None,
    }
}

/// A tag names a version at once. A time does when it is older than two ticks of the clock that wrote it (`now` is what that has reached):
/// until then another content may come to have it. A time in the future is read once more, which costs time and nothing else.
fn settled(found: &Found, facts: &Facts, now: Timestamp) -> bool {
    let nanoseconds = |at: Timestamp| i128::from(at.secs) * 1_000_000_000 + i128::from(at.nanos);
    match (&found.tag, found.modified) {
        (Some(_), _) => true,
        (None, Some(at)) => nanoseconds(now) - nanoseconds(at) > 2 * i128::from(facts.clock),
        (None, None) => false,
    }
}

/// `TAG SIZE`, or without a tag `@SECONDS.NANOSECONDS SIZE`. That of a folder is empty.
pub(super) fn token(found: &Found) -> Token {
    if found.kind == Kind::Folder {
        return Token::new("");
    }
    match &found.tag {
        Some(tag) => Token::new(format!("{tag} {}", found.size)),
        None => token_of_time(found),
    }
}

fn token_of_time(found: &Found) -> Token {
    let version = match found.modified {
        Some(at) => format!("@{}.{:09}", at.secs, at.nanos),
        None => "@".to_owned(),
    };
    Token::new(format!("{version} {}", found.size))
}

/// So many seconds on either side are the same time, if one version takes another's place.
const NEAR: i64 = 60;

/// The time that a file of `size` gets where times and sizes are all that tells versions apart, and `was` is what it replaces: one that
/// nobody has seen there, even if both came with the same time (out of an archive, say).
pub(super) fn own_time(mtime: Option<Timestamp>, size: u64, was: &Found) -> Option<Timestamp> {
    let (Some(new), Some(old)) = (mtime, was.modified) else {
        return mtime;
    };
    let ahead = old.secs.saturating_sub(new.secs);
    let alike = was.kind == Kind::File && was.size == size && (0..=NEAR).contains(&ahead);
    if was.tag.is_some() || !alike {
        return mtime;
    }
    Some(Timestamp {
        secs: old.secs.saturating_add(1),
        nanos: 0,
    })
}

/// Whether what was found is the file that was given this token. A token from before there was a tag is compared by time.
pub(super) fn is_same(wanted: &Token, found: &Found) -> bool {
    found.kind == Kind::File
        && (token(found) == *wanted || (tag(wanted).is_none() && token_of_time(found) == *wanted))
}

/// The tag in a token; `None` if it was made without one.
pub(super) fn tag(token: &Token) -> Option<&str> {
    let (version, _) = token.as_str().rsplit_once(' ')?;
    (!version.starts_with('@')).then_some(version)
}

#[cfg(test)]
mod tests {
    use wl_core::storage::Noted;

    use super::*;
    use crate::remote::tests::READ_ONLY;

    fn found(tag: Option<&str>, modified: Option<i64>) -> Found {
        Found {
            kind: Kind::File,
            size: 5,
            tag: tag.map(Into::into),
            modified: modified.map(|secs| Timestamp { secs, nanos: 7 }),
            mode: None,
            link: None,
            file_id: None,
            noted: Noted::default(),
            operation: None,
        }
    }

    #[test]
    fn a_token_settles_by_tag_or_by_age() {
        let settled = |found: &Found, secs| {
            let now = Timestamp { secs, nanos: 7 };
            meta(found, &READ_ONLY, now).settled
        };
        assert!(settled(&found(Some("x"), None), 0));
        assert!(!settled(&found(None, None), i64::MAX));
        let old = found(None, Some(100));
        assert!(!settled(&old, 50) && !settled(&old, 100) && !settled(&old, 102));
        assert!(settled(&old, 103));
    }

    #[test]
    fn a_version_gets_a_time_of_its_own() {
        let at = |secs| Some(Timestamp { secs, nanos: 7 });
        let own = |secs, size, was| own_time(at(secs), size, was).unwrap().secs;
        let timed = found(None, Some(100));
        assert_eq!(own(100, 5, &timed), 101);
        assert_eq!(own(98, 5, &timed), 101, "the third of one time");
        assert_eq!(own(100, 6, &timed), 100);
        assert_eq!(own(101, 5, &timed), 101);
        assert_eq!(own(3, 5, &timed), 3, "an old version comes back");
        assert_eq!(own(100, 5, &found(Some("x"), Some(100))), 100);
        assert_eq!(own_time(None, 5, &timed), None);
    }

    #[test]
    fn tags_come_back_out_of_tokens() {
        for text in ["x", "\"a b\"", "W/\"1 2\"", ""] {
            let token = token(&found(Some(text), None));
            assert_eq!(tag(&token), Some(text));
        }
        let timed = token(&found(None, Some(9)));
        assert_eq!((timed.as_str(), tag(&timed)), ("@9.000000007 5", None));
        assert_eq!(tag(&token(&found(None, None))), None);
        let folder = Found {
            kind: Kind::Folder,
            ..found(Some("x"), Some(1))
        };
        assert_eq!(token(&folder).as_str(), "");
    }

    #[test]
    fn a_file_is_known_again_by_its_tag_or_its_time() {
        let tagged = found(Some("x"), Some(1));
        let timed = found(None, Some(1));
        assert!(is_same(&token(&tagged), &tagged) && is_same(&token(&timed), &timed));
        assert!(is_same(&token(&timed), &tagged), "the tag came later");
        assert!(!is_same(&token(&tagged), &timed));
        assert!(!is_same(&token(&tagged), &found(Some("y"), Some(1))));
        assert!(!is_same(&token(&timed), &found(None, Some(2))));
        assert!(!is_same(
            &token(&timed),
            &Found {
                size: 6,
                ..timed.clone()
            }
        ));
        assert!(!is_same(
            &token(&timed),
            &Found {
                kind: Kind::Link,
                ..timed.clone()
            }
        ));
    }
}
