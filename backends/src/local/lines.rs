//! Files of JSON lines that only grow: the journal and the index of the trash.

use std::io::{BufRead, BufReader};

use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wl_core::model::{ContentHash, Kind, SyncPath, Timestamp};
use wl_core::storage::{Expected, TrashState};

use super::kernel::Fd;
use super::sys::{self, Stamp, Sys};

/// What was about to happen to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Operation {
    Replace,
    Remove,
    /// Staged content goes where nothing is.
    Create,
    /// A rename by way of the staging folder, where the system has none that refuses to replace.
    Rename,
}

/// A line of the journal: durable before anybody's version is displaced, or anybody can write to ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Intent {
    pub(super) n: u64,
    pub(super) op: Operation,
    pub(super) path: SyncPath,
    /// Where it was to go, for `rename`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<SyncPath>,
    /// The version that is expected there.
    pub(super) kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hash: Option<ContentHash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) link: Option<String>,
    /// The version that is to be there, for `replace` and `create`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) new: Option<Ours>,
}

/// What identifies staged content of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ours {
    pub(super) ino: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hash: Option<ContentHash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) link: Option<String>,
}

impl Intent {
    /// Content that goes where nothing is.
    pub(super) fn create(n: u64, path: &SyncPath, kind: Kind, new: Ours) -> Self {
        Self {
            n,
            op: Operation::Create,
            path: path.clone(),
            to: None,
            kind,
            hash: None,
            token: None,
            link: None,
            new: Some(new),
        }
    }

    pub(super) fn new(n: u64, op: Operation, path: &SyncPath, expected: &Expected) -> Self {
        Self {
            n,
            op,
            path: path.clone(),
            to: None,
            kind: expected.kind,
            hash: expected.hash,
            token: expected.token.as_ref().map(|t| t.as_str().to_owned()),
            link: expected.link.as_deref().map(str::to_owned),
            new: None,
        }
    }
}

/// A line of the trash's index. For one `n` the last line counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Displacement {
    pub(super) n: u64,
    pub(super) path: Option<SyncPath>,
    pub(super) kind: Option<Kind>,
    pub(super) hash: Option<ContentHash>,
    pub(super) state: TrashState,
    pub(super) size: u64,
    pub(super) since: i64,
    pub(super) ino: u64,
    pub(super) secs: i64,
    pub(super) nanos: u32,
}

impl Displacement {
    /// What the version looked like when it was displaced.
    pub(super) fn stamp(&self) -> Stamp {
        Stamp {
            ino: self.ino,
            size: self.size,
            mtime: Timestamp {
                secs: self.secs,
                nanos: self.nanos,
            },
        }
    }

    pub(super) fn set_stamp(&mut self, stamp: Stamp) {
        self.ino = stamp.ino;
        self.size = stamp.size;
        self.secs = stamp.mtime.secs;
        self.nanos = stamp.mtime.nanos;
    }
}

/// Adds `records` in one write. It begins with an empty line, so that a line torn earlier spoils no other.
pub(super) fn append<T: Serialize>(file: &Fd, records: &[T]) -> Sys<()> {
    let mut text = vec![b'\n'];
    for record in records {
        serde_json::to_writer(&mut text, record).map_err(|_| Errno::INVAL)?;
        text.push(b'\n');
    }
    sys::write_all(file, &text)
}

/// Reads line by line. Lines that are torn or not understood are passed over.
pub(super) fn read<T: DeserializeOwned>(
    folder: &Fd,
    name: &str,
) -> Sys<impl Iterator<Item = Sys<T>> + use<T>> {
    let file = match sys::open_file(folder, name) {
        Ok(file) => Some(file),
        Err(Errno::NOENT) => None,
        Err(errno) => return Err(errno),
    };
    let lines = file
        .into_iter()
        .flat_map(|file| BufReader::new(file).split(b'\n'));
    Ok(lines.filter_map(|line| match line {
        Ok(line) => serde_json::from_slice(&line).ok().map(Ok),
        Err(error) => Some(Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))),
    }))
}
