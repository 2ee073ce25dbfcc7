//! What a storage can do, as plain facts.

use serde::{Deserialize, Serialize};

/// How strong a storage's compare-and-swap is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CasGrade {
    /// There is no check: a version written by someone else may be overwritten.
    None,
    /// Verified just before the change; a version written in that window may be overwritten.
    Checked,
    /// A racing version is detected after the change and put back or kept; nothing is lost.
    Recoverable,
    /// The storage enforces the condition.
    Atomic,
}

/// The order in which a storage's listing arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListOrder {
    /// The order of [`crate::model::Key`].
    Key,
    /// No order that can be relied on: the listing goes through a spill sort.
    None,
}

/// What a storage can do. A field is a noun or a verb that is true of the storage as it was probed, never of its protocol:
/// a claim that is false must make the conformance suite fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// How strong [`super::WriteSession::replace`], `remove` and `rename` are. The weakest of them counts.
    pub cas: CasGrade,
    /// The order of listings.
    pub list_order: ListOrder,
    /// What a complete listing does not show is not there. If not (the storage may answer from the past, or a server may end a
    /// listing early and not say so), a look at the path is wanted before anything is removed for it.
    pub listing_proves_absence: bool,
    /// Keeps folders that hold nothing.
    pub empty_folders: bool,
    /// Keeps symbolic links.
    pub links: bool,
    /// Keeps permission bits.
    pub modes: bool,
    /// Keeps modification times, as they were given, to this many nanoseconds; `None`: it does not.
    pub mtime_resolution: Option<u64>,
    /// Renames a file without sending its content.
    pub rename: bool,
    /// Has a trash, from which removed and replaced versions come back.
    pub trash: bool,
    /// `a` and `A` are the same name.
    pub folds_case: bool,
    /// Keeps staged content apart until it is published, so that a batch can be made durable first. Where it does not, small
    /// staged content waits in memory, and batches are kept small.
    pub stages: bool,
    /// May be written to at all.
    pub writable: bool,
}
