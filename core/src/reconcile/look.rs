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

/// What a run was about to do on one side, and did not live to record: to make visible what the other side held then, or to remove what the
/// other side had not any more. If the side shows it now, both agreed on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Announced {
    /// The side that was to get it.
    pub to: Side,
    /// What stands for what is there then ([`Announced::content`]); `None`: nothing.
    pub hash: Option<ContentHash>,
    /// Bytes of content.
    pub size: u64,
    /// The permission bits that the other side had.
    pub mode: Option<Mode>,
    /// What stood for what was agreed on before, if anything was. Of another baseline it says nothing.
    pub was: Option<ContentHash>,
    /// What the other side held then it has not lost by itself since: if it is not there any more somebody took it away.
    pub sure: bool,
}

impl Announced {
    /// What stands for what is agreed on at a path: a file's content, where a link leads, that it is a folder.
    pub fn content(
        kind: Kind,
        hash: Option<&ContentHash>,
        link: Option<&str>,
    ) -> Option<ContentHash> {
        match kind {
            Kind::File => hash.copied(),
            Kind::Link => link.map(|link| ContentHash::of(format!("link\0{link}").as_bytes())),
            Kind::Folder => Some(ContentHash::of(b"folder\0")),
        }
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
