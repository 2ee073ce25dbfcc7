//! PURE: what becomes of a version that a dead session had in its hands.

use wl_core::storage::TrashState;

use crate::local::lines::{Intent, Operation};
use crate::local::sys::Stat;

/// Whose version it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Our own content: the source has it.
    Ours,
    /// What was agreed to be displaced.
    Expected,
    /// Somebody's, or it cannot be told.
    Somebodys,
}

/// A version in a swap, and all that decides on it.
pub(super) struct Caught {
    pub(super) n: u64,
    pub(super) stat: Stat,
    /// What was about to happen, if that can be read.
    pub(super) intent: Option<Intent>,
    /// Staged content of the same number is still there: the version was moved aside, and ours not yet moved in.
    pub(super) part: bool,
    /// It has another name, where it was to go.
    pub(super) is_elsewhere: bool,
    pub(super) whose: Whose,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is unlinked.
    Goes,
    /// It is displaced, as was agreed.
    ToTrash(TrashState),
    /// Back to its path, if ours is there; else it is kept in the trash.
    Exchanged,
    /// Back to its path, if nothing is there; else to the trash, as was agreed or as somebody's.
    Back { or: Option<TrashState> },
    /// It is kept in the trash: nobody knows where it was.
    Kept,
}

impl Caught {
    pub(super) fn fate(&self) -> Fate {
        if self.is_elsewhere {
            return Fate::Goes;
        }
        let Some(intent) = &self.intent else {
            return Fate::Kept;
        };
        match (self.whose, intent.op) {
            (Whose::Ours, Operation::Replace) if !self.part => Fate::Goes,
            (Whose::Expected, op) if !self.is_aside() => Fate::ToTrash(agreed(op)),
            (Whose::Somebodys, Operation::Replace) if !self.part => Fate::Exchanged,
            (Whose::Expected, Operation::Replace) => Fate::Back {
                or: Some(TrashState::Replaced),
            },
            _ => Fate::Back { or: None },
        }
    }

    /// Whether nobody misses it until there is room for it.
    pub(super) fn may_wait(&self) -> bool {
        !self.is_aside() && matches!(self.fate(), Fate::Goes | Fate::ToTrash(_))
    }

    /// Whether it may have been moved aside: then it is at no path, and nothing is where it was.
    fn is_aside(&self) -> bool {
        let renamed = |intent: &Intent| intent.op == Operation::Rename;
        self.part || self.intent.as_ref().is_some_and(renamed)
    }
}

/// What was agreed to be displaced is this in the trash.
pub(super) fn agreed(op: Operation) -> TrashState {
    match op {
        Operation::Replace | Operation::Create => TrashState::Replaced,
        Operation::Remove | Operation::Rename => TrashState::Removed,
    }
}

#[cfg(test)]
mod tests {
    use wl_core::model::{Kind, SyncPath, Timestamp};
    use wl_core::storage::Expected;

    use super::*;

    const TIME: Timestamp = Timestamp { secs: 1, nanos: 0 };
    const STAT: Stat = Stat {
        ino: 1,
        size: 1,
        mtime: TIME,
        ctime: TIME,
        mode: 0o100_644,
        dev: 1,
        born: 1,
        mount: 1,
    };

    fn caught(op: Option<Operation>, part: bool, whose: Whose) -> Caught {
        let expected = Expected {
            kind: Kind::File,
            token: None,
            hash: None,
            link: None,
        };
        let path = SyncPath::new("f").unwrap();
        Caught {
            n: 1,
            stat: STAT,
            intent: op.map(|op| Intent::new(1, op, &path, &expected)),
            part,
            is_elsewhere: false,
            whose,
        }
    }

    #[test]
    fn what_becomes_of_a_version_follows_from_whose_it_is_and_how_far_we_were() {
        use Operation::{Remove, Rename, Replace};
        use TrashState::{Removed, Replaced};
        use Whose::{Expected, Ours, Somebodys};
        let back = Fate::Back { or: None };
        for (op, part, whose, due) in [
            // Before the exchange, after it, and after it met another one.
            (Replace, false, Ours, Fate::Goes),
            (Replace, false, Expected, Fate::ToTrash(Replaced)),
            (Replace, false, Somebodys, Fate::Exchanged),
            // Moved aside, ours not yet in its place.
            (Replace, true, Ours, back),
            (Replace, true, Expected, Fate::Back { or: Some(Replaced) }),
            (Replace, true, Somebodys, back),
            (Remove, false, Expected, Fate::ToTrash(Removed)),
            (Remove, false, Somebodys, back),
            // Not yet at its new path.
            (Rename, false, Expected, back),
            (Rename, false, Somebodys, back),
        ] {
            let mut caught = caught(Some(op), part, whose);
            assert_eq!(caught.fate(), due, "{op:?} {part} {whose:?}");
            let agreed = whose == Expected || (op, whose) == (Replace, Ours);
            assert_eq!(caught.may_wait(), agreed && !part && op != Rename);
            caught.is_elsewhere = true;
            assert_eq!(caught.fate(), Fate::Goes);
        }
        let nobodys = caught(None, false, Somebodys);
        assert_eq!(nobodys.fate(), Fate::Kept);
        assert!(!nobodys.may_wait());
    }
}
