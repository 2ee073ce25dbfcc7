//! Pages of listings.

use std::ops::Bound;

use s3s::{S3Result, s3_error};

use super::store::{Object, Objects, hex};

/// What a fault attaches to a listing whose pages shall be small.
#[derive(Clone)]
pub(crate) struct PageSize(pub(crate) usize);

/// What a fault attaches to a page that shall say that it is the last one.
#[derive(Clone)]
pub(crate) struct LastPage;

/// Where a listing goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Behind a key.
    Key(String),
    /// Behind all keys that begin so.
    Prefix(String),
    /// Where folders come first: directly behind a key that was told, before what is in the folder of its name.
    Told(String),
}

impl After {
    pub(crate) fn token(&self) -> String {
        match self {
            Self::Key(key) => format!("k{}", hex(key.as_bytes())),
            Self::Prefix(prefix) => format!("p{}", hex(prefix.as_bytes())),
            Self::Told(key) => format!("t{}", hex(key.as_bytes())),
        }
    }

    pub(crate) fn parse(token: &str) -> S3Result<Self> {
        let parsed = || {
            let (kind, digits) = token.split_at_checked(1)?;
            let digits: Vec<char> = digits.chars().collect();
            let byte = |pair: &[char]| u8::from_str_radix(&String::from_iter(pair), 16).ok();
            let bytes = digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>()?;
            let text = String::from_utf8(bytes).ok()?;
            match kind {
                "k" => Some(Self::Key(text)),
                "p" => Some(Self::Prefix(text)),
                "t" => Some(Self::Told(text)),
                _ => None,
            }
        };
        parsed().ok_or_else(|| s3_error!(InvalidArgument, "The continuation token is not ours"))
    }

    /// Whether a server whose folders come first lists `key` behind this. What starts behind a file leaves out the folder of its name.
    fn is_before(&self, key: &str) -> bool {
        let below = |name: &str| {
            key.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        match self {
            Self::Key(name) => place(key) > place(name) && !below(name),
            Self::Prefix(prefix) => place(key) > place(prefix) && !key.starts_with(prefix),
            Self::Told(name) => place(key) > place(name),
        }
    }
}

/// What is listed.
pub(crate) struct Query {
    pub(crate) prefix: String,
    pub(crate) delimiter: Option<String>,
    pub(crate) after: Option<After>,
    pub(crate) most: usize,
    /// Folder by folder, instead of the order of bytes.
    pub(crate) folders: bool,
}

/// One page.
#[derive(Default)]
pub(crate) struct Page {
    pub(crate) objects: Vec<(String, Object)>,
    pub(crate) prefixes: Vec<String>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<After>,
}

impl Page {
    pub(crate) fn of(objects: &Objects, query: &Query) -> Self {
        let mut page = Self::default();
        let mut after = query.after.clone();
        let mut last = None;
        let first = if query.folders {
            first_in_folders
        } else {
            first_behind
        };
        while let Some((key, object)) = first(objects, &query.prefix, after.as_ref()) {
            if page.objects.len() + page.prefixes.len() == query.most {
                page.next = last;
                break;
            }
            let rest = &key[query.prefix.len()..];
            let cut = query
                .delimiter
                .as_ref()
                .and_then(|delimiter| rest.find(delimiter).map(|at| at + delimiter.len()));
            let here = if let Some(cut) = cut {
                let prefix = key[..query.prefix.len() + cut].to_owned();
                page.prefixes.push(prefix.clone());
                After::Prefix(prefix)
            } else {
                page.objects.push((key.clone(), object.clone()));
                match query.folders {
                    true => After::Told(key.clone()),
                    false => After::Key(key.clone()),
                }
            };
            last = Some(here.clone());
            after = Some(here);
        }
        page
    }
}

/// Where a key is if folders come first: `/` before everything else.
fn place(key: &str) -> Vec<(bool, u8)> {
    key.bytes().map(|byte| (byte != b'/', byte)).collect()
}

fn first_in_folders<'a>(
    objects: &'a Objects,
    prefix: &str,
    after: Option<&After>,
) -> Option<(&'a String, &'a Object)> {
    let listed = objects.iter().filter(|(key, _)| {
        key.starts_with(prefix) && after.is_none_or(|after| after.is_before(key))
    });
    listed.min_by_key(|(key, _)| place(key))
}

fn first_behind<'a>(
    objects: &'a Objects,
    prefix: &str,
    after: Option<&After>,
) -> Option<(&'a String, &'a Object)> {
    let from: Bound<String> = match after {
        Some(After::Key(key)) if key.as_str() >= prefix => Bound::Excluded(key.clone()),
        Some(After::Prefix(done)) if done.as_str() >= prefix => match behind(done) {
            Some(end) => Bound::Included(end),
            None => return None,
        },
        _ => Bound::Included(prefix.to_owned()),
    };
    let (key, object) = objects.range((from, Bound::Unbounded)).next()?;
    key.starts_with(prefix).then_some((key, object))
}

/// The first text behind all that begin with `prefix`.
fn behind(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            _ => char::from_u32(last as u32 + 1),
        };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

/// A key as a listing with `encoding-type=url` writes it.
pub(crate) fn url_encoded(key: &str) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/*".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn all(keys: &[&str], query: impl Fn(Option<After>) -> Query) -> (Vec<String>, usize) {
        let (mut seen, pages) = all_as_told(keys, query);
        seen.sort();
        (seen, pages)
    }

    fn all_as_told(keys: &[&str], query: impl Fn(Option<After>) -> Query) -> (Vec<String>, usize) {
        let object = |key: &&str| ((*key).to_owned(), Object::new(Bytes::new(), String::new()));
        let objects: Objects = keys.iter().map(object).collect();
        let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = Page::of(&objects, &query(after));
            let mut names: Vec<String> = page.objects.into_iter().map(|(key, _)| key).collect();
            names.extend(page.prefixes);
            seen.extend(names);
            pages += 1;
            let Some(next) = page.next else {
                return (seen, pages);
            };
            after = Some(After::parse(&next.token()).unwrap());
        }
    }

    #[test]
    fn pages_of_every_size_hold_the_same() {
        let keys = [
            "a",
            "a/1",
            "a/2",
            "a//b",
            "b",
            "b-",
            "b/x/y",
            "b0",
            "é",
            "\u{10ffff}",
        ];
        for most in 1..12 {
            for delimiter in [None, Some("/")] {
                let (seen, pages) = all(&keys, |after| Query {
                    prefix: String::new(),
                    delimiter: delimiter.map(str::to_owned),
                    after,
                    most,
                    folders: false,
                });
                let mut expected: Vec<&str> = match delimiter {
                    None => keys.to_vec(),
                    Some(_) => vec!["a", "a/", "b", "b-", "b/", "b0", "é", "\u{10ffff}"],
                };
                expected.sort_unstable();
                assert_eq!(seen, expected, "{most} {delimiter:?}");
                assert_eq!(pages, expected.len().div_ceil(most));
            }
        }
    }

    #[test]
    fn a_prefix_and_a_start_limit_what_is_listed() {
        let keys = ["a", "a/1", "a/2", "a/3", "b"];
        let (seen, _) = all(&keys, |after| Query {
            prefix: "a/".into(),
            delimiter: None,
            after: after.or(Some(After::Key("a/1".into()))),
            most: 1,
            folders: false,
        });
        assert_eq!(seen, ["a/2", "a/3"]);
    }

    /// As SeaweedFS 4.48 answered.
    #[test]
    fn folders_come_first_where_that_is_wanted() {
        let keys = ["a", "a-b", "a!", "a.b/c", "a/b", "a/c-x", "a/c/x", "a0"];
        let from = |start: Option<&str>, most| {
            let start = start.map(|start| After::Key(start.to_owned()));
            let (seen, _) = all_as_told(&keys, |after| Query {
                prefix: String::new(),
                delimiter: None,
                after: after.or(start.clone()),
                most,
                folders: true,
            });
            seen
        };
        let whole = ["a", "a/b", "a/c/x", "a/c-x", "a!", "a-b", "a.b/c", "a0"];
        for most in 1..9 {
            assert_eq!(from(None, most), whole);
            assert_eq!(from(Some("a"), most), whole[4..]);
            assert_eq!(from(Some("a/c"), most), whole[3..]);
            assert_eq!(from(Some("a/\u{10ffff}"), most), whole[4..]);
            assert_eq!(from(Some("a/c/x"), most), whole[3..]);
        }
    }
}
