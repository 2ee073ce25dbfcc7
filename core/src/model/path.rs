//! Paths and the order in which every listing arrives.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A path inside a storage: relative, `/`-separated, UTF-8, without empty, `.` or `..` parts and without NUL.
///
/// The empty path is the root.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SyncPath(Box<str>);

/// Why a text is no [`SyncPath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It starts with `/`.
    #[error("the path starts with `/`; give it relative to the storage's root")]
    Absolute,
    /// A part between two slashes is empty.
    #[error("the path has an empty part (`//` or a `/` at the end)")]
    EmptyPart,
    /// A part is `.` or `..`.
    #[error("the path has a part `{0}`; write it out")]
    DotPart(String),
    /// It holds a NUL byte.
    #[error("the path holds a NUL byte")]
    Nul,
}

impl SyncPath {
    /// The root of a storage.
    pub fn root() -> Self {
        Self("".into())
    }

    /// Checks `text` and makes a path of it. The empty text is the root.
    pub fn new(text: impl Into<Box<str>>) -> Result<Self, PathError> {
        let text = text.into();
        if text.is_empty() {
            return Ok(Self(text));
        }
        if text.starts_with('/') {
            return Err(PathError::Absolute);
        }
        for part in text.split('/') {
            match part {
                "" => return Err(PathError::EmptyPart),
                "." | ".." => return Err(PathError::DotPart(part.to_owned())),
                _ if part.contains('\0') => return Err(PathError::Nul),
                _ => {}
            }
        }
        Ok(Self(text))
    }

    /// The child `name` of this path. `name` is one part.
    pub fn join(&self, name: &str) -> Result<Self, PathError> {
        match name {
            "" => return Err(PathError::EmptyPart),
            "." | ".." => return Err(PathError::DotPart(name.to_owned())),
            _ if name.contains('\0') => return Err(PathError::Nul),
            _ if name.contains('/') => return Err(PathError::EmptyPart),
            _ => {}
        }
        if self.is_root() {
            return Ok(Self(name.into()));
        }
        let mut text = String::with_capacity(self.0.len() + 1 + name.len());
        text.push_str(&self.0);
        text.push('/');
        text.push_str(name);
        Ok(Self(text.into_boxed_str()))
    }

    /// The text of the path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The folder that holds this path; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        Some(Self(
            self.0.rfind('/').map_or("", |at| &self.0[..at]).into(),
        ))
    }

    /// The last part; empty for the root.
    pub fn name(&self) -> &str {
        self.0.rfind('/').map_or(&self.0, |at| &self.0[at + 1..])
    }

    /// Whether `self` is `ancestor` or lies below it.
    pub fn is_within(&self, ancestor: &Self) -> bool {
        ancestor.is_root()
            || (self.0.starts_with(&*ancestor.0)
                && (self.0.len() == ancestor.0.len()
                    || self.0.as_bytes()[ancestor.0.len()] == b'/'))
    }

    /// Where this path is once `from`, which holds it or is it, has become `to`. `None` if it is not within `from`.
    pub fn moved(&self, from: &Self, to: &Self) -> Option<Self> {
        if from.is_root() || !self.is_within(from) {
            return None;
        }
        let rest = &self.0[from.0.len()..];
        Some(Self(format!("{}{rest}", to.0).into_boxed_str()))
    }

    /// The folders above this path, topmost first, without the root and without the path itself.
    pub fn ancestors(&self) -> impl Iterator<Item = SyncPath> + '_ {
        self.0
            .match_indices('/')
            .map(|(at, _)| Self(self.0[..at].into()))
    }

    /// Whether this is the reserved name at the root or lies below it.
    pub fn is_reserved(&self) -> bool {
        self.0.split('/').next() == Some(super::RESERVED)
    }
}

impl From<SyncPath> for String {
    fn from(path: SyncPath) -> Self {
        path.0.into_string()
    }
}

impl TryFrom<String> for SyncPath {
    type Error = PathError;
    fn try_from(text: String) -> Result<Self, PathError> {
        Self::new(text)
    }
}

impl fmt::Display for SyncPath {
    /// The path with control characters escaped, so that a hostile name cannot write to a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for c in self.0.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?
            } else {
                write!(f, "{c}")?
            }
        }
        Ok(())
    }
}

impl fmt::Debug for SyncPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// A row's place in the one order of all listings: `p` for files and links, `p/` for folders, by bytes.
///
/// So `a`, `a-b`, `a/`, `a/b`: a folder comes directly before what it holds.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Key {
    /// The path.
    pub path: SyncPath,
    /// Whether the row is a folder.
    pub folder: bool,
}

impl Key {
    /// The key of a file or link at `path`.
    pub fn file(path: SyncPath) -> Self {
        Self {
            path,
            folder: false,
        }
    }

    /// The key of a folder at `path`.
    pub fn folder(path: SyncPath) -> Self {
        Self { path, folder: true }
    }

    /// The key as text: the path, with `/` after a folder. Sorts by bytes as the key does.
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(self.path.as_str().len() + 1);
        text.push_str(self.path.as_str());
        if self.folder {
            text.push('/');
        }
        text
    }

    /// The inverse of [`Key::to_text`].
    pub fn from_text(text: &str) -> Result<Self, PathError> {
        match text.strip_suffix('/') {
            Some(path) => Ok(Self::folder(SyncPath::new(path)?)),
            None => Ok(Self::file(SyncPath::new(text)?)),
        }
    }

    fn bytes(&self) -> (&[u8], &[u8]) {
        (
            self.path.as_str().as_bytes(),
            if self.folder { b"/" } else { b"" },
        )
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((a, a_end), (b, b_end)) = (self.bytes(), other.bytes());
        let shared = a.len().min(b.len());
        match a[..shared].cmp(&b[..shared]) {
            Ordering::Equal => a[shared..]
                .iter()
                .chain(a_end)
                .cmp(b[shared..].iter().chain(b_end)),
            unequal => unequal,
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::from_text(text).unwrap()
    }

    #[test]
    fn refuses_what_is_no_path() {
        assert_eq!(SyncPath::new("/a"), Err(PathError::Absolute));
        assert_eq!(SyncPath::new("a//b"), Err(PathError::EmptyPart));
        assert_eq!(SyncPath::new("a/"), Err(PathError::EmptyPart));
        assert_eq!(
            SyncPath::new("a/../b"),
            Err(PathError::DotPart("..".into()))
        );
        assert_eq!(SyncPath::new("."), Err(PathError::DotPart(".".into())));
        assert_eq!(SyncPath::new("a\0b"), Err(PathError::Nul));
        assert!(SyncPath::root().join("a/b").is_err());
        assert!(SyncPath::new("...").is_ok());
    }

    #[test]
    fn keys_sort_as_their_texts() {
        let texts = [
            "a", "a b", "a-b", "a-b/", "a-b/x", "a.txt", "a/", "a/b", "a/b/", "a0", "é", "é/",
        ];
        for (i, one) in texts.iter().enumerate() {
            for (j, two) in texts.iter().enumerate() {
                assert_eq!(key(one).cmp(&key(two)), i.cmp(&j), "{one} against {two}");
                assert_eq!(one.as_bytes().cmp(two.as_bytes()), i.cmp(&j));
            }
        }
    }

    #[test]
    fn within_is_by_parts() {
        let (a, ab, a_b) = (
            SyncPath::new("a").unwrap(),
            SyncPath::new("a/b").unwrap(),
            SyncPath::new("ab").unwrap(),
        );
        assert!(ab.is_within(&a) && a.is_within(&a) && ab.is_within(&SyncPath::root()));
        assert!(!a_b.is_within(&a) && !a.is_within(&ab));
        let deep = SyncPath::new("x/y/z").unwrap();
        assert_eq!(
            deep.ancestors()
                .map(|p| p.as_str().to_owned())
                .collect::<Vec<_>>(),
            ["x", "x/y"]
        );
    }

    #[test]
    fn a_name_cannot_write_to_the_terminal() {
        assert_eq!(
            SyncPath::new("a\n\u{1b}[31m").unwrap().to_string(),
            "a\\n\\u{1b}[31m"
        );
    }

    #[test]
    fn only_the_root_name_is_reserved() {
        assert!(SyncPath::new(".wl").unwrap().is_reserved());
        assert!(SyncPath::new(".wl/x").unwrap().is_reserved());
        assert!(!SyncPath::new(".wlx").unwrap().is_reserved());
        assert!(!SyncPath::new("a/.wl").unwrap().is_reserved());
    }
}
