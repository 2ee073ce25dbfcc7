//! Tokens and file ids: they save reading, nothing else.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A string that changes when the file changes. Only ever compared with an earlier token of the same storage.
///
/// For a folder it names the file system that holds it; empty where that is the root's own. It stays whatever becomes of the folder and of what
/// is in it: a folder with another one is taken for another file system's, and is left alone.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(Box<str>);

impl Token {
    /// A token with this text.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stays the same when a storage moves a file (locally: the inode). Two files of one storage can have the same id at
/// different times, so it is believed only together with an equal size and modification time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileId(pub u64);
