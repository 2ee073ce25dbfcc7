//! The rename of a folder that is under way: a run that dies between the rename and its record must not leave the next one with rows
//! under a name that the folder has not any more.

use super::StateError;
use super::pair::PairState;
use crate::model::{FileId, Side, SyncPath};

/// Where it is kept. Cleared it is empty: one row of `meta`, for ever.
const UNDER_WAY: &str = "folder move";

/// A folder that one side renamed, and that is renamed on the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderMove {
    /// Where it was.
    pub from: SyncPath,
    /// Where it belongs.
    pub to: SyncPath,
    /// The side that has it at the old path.
    pub on: Side,
    /// The folder there.
    pub id: FileId,
}

impl PairState {
    /// The folder is about to be renamed on its side; durable when this returns. One is under way at a time: ended by
    /// [`PairState::end_move`].
    pub fn begin_move(&self, moved: &FolderMove) -> Result<(), StateError> {
        let FolderMove { from, to, on, id } = moved;
        let noted = (self.column(*on), id.0, from.as_str(), to.as_str());
        let noted = serde_json::to_string(&noted).map_err(|_| self.damaged("a folder's move"))?;
        self.set_meta(UNDER_WAY, &noted)
    }

    /// The rename that was begun and not ended, if there is one.
    pub fn move_under_way(&self) -> Result<Option<FolderMove>, StateError> {
        let Some(noted) = self.meta(UNDER_WAY)?.filter(|noted| !noted.is_empty()) else {
            return Ok(None);
        };
        let damaged = || self.damaged("a folder's move");
        let (column, id, from, to): (String, u64, String, String) =
            serde_json::from_str(&noted).map_err(|_| damaged())?;
        let mut sides = Side::BOTH.into_iter();
        Ok(Some(FolderMove {
            from: SyncPath::new(from).map_err(|_| damaged())?,
            to: SyncPath::new(to).map_err(|_| damaged())?,
            on: sides
                .find(|&side| self.column(side) == column)
                .ok_or_else(damaged)?,
            id: FileId(id),
        }))
    }

    /// The rename was done, and what is known of the folder goes along; or it was not, and nothing changes.
    pub fn end_move(&mut self, moved: &FolderMove, done: bool) -> Result<(), StateError> {
        self.in_transaction(|this| {
            if done {
                this.move_tree(&moved.from, &moved.to)?;
            }
            this.forget_move()
        })
    }

    pub(super) fn forget_move(&self) -> Result<(), StateError> {
        match self.meta(UNDER_WAY)? {
            Some(_) => self.set_meta(UNDER_WAY, ""),
            None => Ok(()),
        }
    }
}
