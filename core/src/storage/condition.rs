//! What a change expects to find.

use serde::{Deserialize, Serialize};

use crate::model::{ContentHash, Kind, Meta, Token};

/// The state that a change expects to replace. There is no "whatever is there".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing is there.
    Absent,
    /// This version is there.
    Is(Expected),
}

/// A version as the caller knows it. The storage compares what it finds by token, or by hash where the token says nothing (it
/// differs, is not settled, or the storage cannot tell it unchanged after its own rename). For a link the target decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// File, folder or link.
    pub kind: Kind,
    /// The token it had when it was last seen.
    pub token: Option<Token>,
    /// The content's hash, if it is known. With neither hash nor token nothing matches.
    pub hash: Option<ContentHash>,
    /// Where the link points.
    pub link: Option<Box<str>>,
}

impl Expected {
    /// The version that `meta` describes, with the hash if the caller knows it. A token that was not settled when it was seen
    /// is left out: another content may get the same token within the tick, and nobody could tell later.
    pub fn of(meta: &Meta, hash: Option<ContentHash>) -> Self {
        Self {
            kind: meta.kind,
            token: meta.settled.then(|| meta.token.clone()),
            hash: hash.or(meta.hash),
            link: meta.link.clone(),
        }
    }
}
