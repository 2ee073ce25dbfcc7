//! Files that were renamed because nothing but their id, size and time says what is in them: a program can keep all three and write
//! something else. They are read once, when the other side is renamed already.

use super::Pass;
use super::publish::commit;
use crate::model::Side;
use crate::state::{BaselineRow, RowChange};
use crate::storage::{ErrorKind, StorageError};
use crate::sync::SyncError;

impl Pass {
    /// Reads what is not known of what came to `to` by a rename. What is another content than was believed stays unconfirmed: the next
    /// pass decides about it.
    pub(super) async fn confirm_moves(
        &self,
        to: Side,
        renamed: Vec<RowChange>,
    ) -> Result<(), SyncError> {
        let from = to.other();
        let mut known = Vec::new();
        for change in renamed {
            let RowChange::Put(mut row) = change else {
                continue;
            };
            if row.sides[from].settled {
                continue;
            }
            self.context.check_going()?;
            match self.read_again(from, &row).await {
                Ok(settled) => {
                    row.sides[from].settled = settled;
                    known.push(RowChange::Put(row));
                }
                Err(error) => self.context.file_error(from, &row.path, &error),
            }
        }
        commit(&self.context, known).await
    }

    /// Whether the token of what was read can be believed from now on.
    async fn read_again(&self, side: Side, row: &BaselineRow) -> Result<bool, StorageError> {
        let storage = &self.context.job.storages[side];
        let read = storage.hash(&row.path, &self.context.job.cancel).await?;
        self.context.tally().bytes.read += read.meta.size;
        match read.meta.token == row.sides[side].token && Some(read.hash) == row.hash {
            true => Ok(read.meta.settled),
            false => Err(StorageError::new(
                ErrorKind::Busy,
                "hash",
                "it was changed before it was renamed, and has the time and size of before",
            )
            .at(&row.path)),
        }
    }
}
