//! Contents that were read but did not become agreed on: a conflict, a drift. Remembered by token, so that the next look need not
//! read them again. Nothing but time is lost with it.

use rusqlite::{OptionalExtension, params};

use super::StateError;
use super::pair::PairState;
use crate::model::{ContentHash, Side, SyncPath, Token};
use crate::planted::{Bug, planted};

pub(super) const CREATE_LEARNT: &str = "
CREATE TABLE IF NOT EXISTS learnt (
    path TEXT NOT NULL, storage TEXT NOT NULL, token TEXT NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (path, storage)
) STRICT, WITHOUT ROWID;";

/// What this pass used or learnt. It costs no disk that has to be waited for.
pub(super) const CREATE_LEARNT_NOW: &str = "
CREATE TEMP TABLE learnt_now (
    path TEXT NOT NULL, storage TEXT NOT NULL, token TEXT NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (path, storage)
) STRICT, WITHOUT ROWID;";

impl PairState {
    /// Whether anything is remembered.
    pub fn has_learnt(&self) -> Result<bool, StateError> {
        let any = "SELECT EXISTS (SELECT 1 FROM learnt)";
        Ok(self.db().query_row(any, [], |row| row.get(0))?)
    }

    /// The content that `side` was found to hold at `path` when it had this token.
    pub fn learnt(
        &self,
        path: &SyncPath,
        side: Side,
        token: &Token,
    ) -> Result<Option<ContentHash>, StateError> {
        Ok(self
            .db()
            .prepare_cached(match planted(Bug::LearntIsBelieved) {
                true => "SELECT hash FROM learnt WHERE path = ?1 AND storage = ?2 AND ?3 <> ''",
                false => "SELECT hash FROM learnt WHERE path = ?1 AND storage = ?2 AND token = ?3",
            })?
            .query_row([path.as_str(), self.column(side), token.as_str()], |row| {
                row.get(0)
            })
            .optional()?
            .map(ContentHash::from_bytes))
    }

    /// Notes what `side` holds at `path`, for [`PairState::keep_learnt`]. The token must prove its content.
    pub fn learn(
        &self,
        path: &SyncPath,
        side: Side,
        token: &Token,
        hash: &ContentHash,
    ) -> Result<(), StateError> {
        self.db()
            .prepare_cached("INSERT OR REPLACE INTO learnt_now VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![
                path.as_str(),
                self.column(side),
                token.as_str(),
                hash.as_bytes().as_slice()
            ])?;
        Ok(())
    }

    /// Remembers what this pass noted. After a pass over everything (`whole`) nothing else is remembered: what was agreed on or is
    /// gone since is dropped, so that there is never more than the last look left undecided. What is as before is not written.
    pub fn keep_learnt(&mut self, whole: bool) -> Result<(), StateError> {
        self.in_transaction(|this| {
            if whole {
                this.db().execute(
                    "DELETE FROM learnt WHERE (path, storage) NOT IN (SELECT path, storage FROM learnt_now)",
                    [],
                )?;
            }
            this.db().execute_batch(
                "INSERT OR REPLACE INTO learnt SELECT * FROM learnt_now EXCEPT SELECT * FROM learnt; \
                 DELETE FROM learnt_now;",
            )?;
            Ok(())
        })
    }
}
