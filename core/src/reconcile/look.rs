//! What is known about a path when a decision is due.

use crate::model::{ContentHash, Direction, Kind, Mode, Side, Sides};

/// What decides when both sides differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Changes travel both ways; different changes of both are a conflict.
    TwoWay,
    /// Changes travel from source to target; the target's own are drift.
    OneWay,
    /// The other side is made equal to this one.
    Master(Side),
}

impl From<Direction> for Policy {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::TwoWay => Policy::TwoWay,
            Direction::OneWay => Policy::OneWay,
            Direction::Mirror => Policy::Master(Side::Source),
        }
    }
}

/// What is known of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// The token says: the same as in the baseline.
    Same,
    /// It was read, or the storage told it.
    Hash(ContentHash),
    /// Only the size is known.
    Unread,
}

/// A file, folder or link that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Item<'a> {
    /// What it is.
    pub kind: Kind,
    /// What is known of its content; looked at for files only.
    pub content: Content,
    /// Bytes of content.
    pub size: u64,
    /// Where a link points.
    pub link: Option<&'a str>,
    /// Permission bits, where the storage keeps them.
    pub mode: Option<Mode>,
}

/// What a run was about to make visible on one side, and did not live to record: content that the other side held then. If the side holds it
/// now, both agreed on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Announced {
    /// The side that was to get it.
    pub to: Side,
    /// What stands for the content ([`Announced::content`]).
    pub hash: ContentHash,
    /// Bytes of it.
    pub size: u64,
    /// What stood for what was agreed on before, if anything was. Of another baseline it says nothing.
    pub was: Option<ContentHash>,
}

impl Announced {
    /// What stands for a file's content, or for where a link leads.
    pub fn content(hash: Option<&ContentHash>, link: Option<&str>) -> Option<ContentHash> {
        let of_link = || link.map(|link| ContentHash::of(format!("link\0{link}").as_bytes()));
        hash.copied().or_else(of_link)
    }
}

/// What was found at a path on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Look<'a> {
    /// Proof that nothing is there.
    Absent,
    /// There is an entry.
    There(Item<'a>),
    /// It could not be found out, or the storage cannot say (an absent folder where folders cannot be empty).
    Unknown,
    /// Something is there that wl leaves alone: excluded, or a special file.
    LeftAlone,
}

/// What both sides last agreed on at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Base<'a> {
    /// File, folder or link.
    pub kind: Kind,
    /// The content's hash; for files.
    pub hash: Option<ContentHash>,
    /// Where the link points; for links.
    pub link: Option<&'a str>,
    /// The size that each side told.
    pub sizes: Sides<u64>,
    /// The permission bits that each side had.
    pub modes: Sides<Option<Mode>>,
}
