//! What the watcher and the system say to each other: events, what is to be done, what came of it.

use rustix::fs::inotify::ReadFlags;
use wl_core::model::SyncPath;

use super::tree::Wd;

/// An event as the system gives it.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) wd: Wd,
    pub(super) mask: ReadFlags,
    pub(super) cookie: u32,
    /// Empty for the watched folder itself.
    pub(super) name: Vec<u8>,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Watch the folder at this path, then read the names of the folders in it; say what came of it.
    Look {
        /// The path.
        path: SyncPath,
        /// Whether the folders below it that are known are looked at again as well.
        deep: bool,
    },
    /// Count the folders in a folder that cannot be watched: their names.
    Count {
        /// The folder.
        path: SyncPath,
        /// The topmost folder that cannot be watched.
        top: SyncPath,
    },
    /// Give up a watch.
    Forget(Wd),
}

/// What was found at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// A folder: watched from now on, then read.
    Folder {
        /// The number of the watch.
        wd: Wd,
        /// The names of the folders in it.
        folders: Vec<Box<str>>,
    },
    /// No folder.
    Nothing,
    /// A folder that cannot be watched.
    Unwatched {
        /// Why.
        why: Why,
        /// The names of the folders in it, where they are cheap to find out.
        folders: Vec<Box<str>>,
    },
    /// A folder that cannot be read: what is in it is unknown to everybody.
    Unreadable,
}

/// Why a folder is not watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// There can be no more watches.
    Limit,
    /// Its file system sends no events.
    Silent(&'static str),
    /// The same folder is mounted elsewhere in the tree and watched there.
    Twice,
    /// The system refused.
    Refused(String),
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Limit => f.write_str("the limit of watches is reached"),
            Self::Silent(name) => write!(f, "{name} sends no events"),
            Self::Twice => f.write_str("it is mounted twice"),
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}
