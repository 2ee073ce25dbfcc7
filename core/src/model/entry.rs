//! What a storage holds at a path.

use serde::{Deserialize, Serialize};

use super::{ContentHash, FileId, Mode, SyncPath, Timestamp, Token};

/// What kind of thing an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
}

/// An entry's attributes, as a listing or a stat gives them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// File, folder or link.
    pub kind: Kind,
    /// Bytes of content; 0 for folders and links.
    pub size: u64,
    /// Time of the last change of content, where the storage tells it.
    pub mtime: Option<Timestamp>,
    /// Permission bits, where the storage keeps them; `None` for links.
    pub mode: Option<Mode>,
    /// Of a file or link: changes when it changes. Of a folder: names its file system, and stays; see [`Token`].
    pub token: Token,
    /// Whether an equal token later proves equal content. False while the token is younger than the storage's time resolution.
    pub settled: bool,
    /// Stays when the storage moves the file.
    pub file_id: Option<FileId>,
    /// The content's hash, if the storage told it by itself.
    pub hash: Option<ContentHash>,
    /// Where a link points, as it is written in the link.
    pub link: Option<Box<str>>,
}

/// An entry: a path and what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub path: SyncPath,
    /// What it is.
    pub meta: Meta,
}

impl Kind {
    /// The kind's name, as in reports.
    pub fn name(self) -> &'static str {
        match self {
            Kind::File => "file",
            Kind::Folder => "folder",
            Kind::Link => "link",
        }
    }
}

impl Entry {
    /// The entry's place in a listing.
    pub fn key(&self) -> super::Key {
        super::Key {
            path: self.path.clone(),
            folder: self.meta.kind == Kind::Folder,
        }
    }
}
