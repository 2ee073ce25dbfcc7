//! What a pass holds back until every listing has ended. It lives as long as the pass: what it could not finish is found again by
//! the next.

use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use super::StateError;
use super::contents;
use super::pair::PairState;
use crate::model::{Conflict, ContentHash, Key, Kind, Meta, Mode, Side, SyncPath};
use crate::planted::{Bug, planted};
use crate::storage::Expected;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PendingAction {
    /// Remove a file or link.
    RemoveFile(Expected),
    /// Remove a folder, if nothing in it survives.
    RemoveFolder(Box<Meta>),
    /// Copy a file or link from the other side; nothing is there on this one (any more).
    Create(Box<Meta>),
    /// Make a folder, with this mode.
    CreateFolder(Box<Meta>),
    /// Set a folder's mode, when it is filled.
    FolderMode(Expected, Mode),
    /// Something goes with the rest of its group, and is here only to be judged.
    RemoveTogether(Expected),
}

/// Something that is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its number, in the order of arrival; 0 for one that is not stored yet.
    pub id: i64,
    /// Where.
    pub path: SyncPath,
    /// On which side.
    pub side: Side,
    /// What.
    pub action: PendingAction,
    /// The content that is removed or created, if it is known.
    pub hash: Option<ContentHash>,
    /// The path whose change of type this belongs to.
    pub group: Option<SyncPath>,
}

pub(super) const CREATE_PENDING: &str = "
CREATE TEMP TABLE pending (
    id INTEGER PRIMARY KEY,
    stage INTEGER NOT NULL,
    key TEXT NOT NULL,
    side TEXT NOT NULL,
    action TEXT NOT NULL,
    hash BLOB,
    grp TEXT,
    done INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX pending_by_stage ON pending (stage, key);
CREATE INDEX pending_by_hash ON pending (hash, stage, side, done, key);
CREATE INDEX pending_by_group ON pending (grp);
CREATE TEMP TABLE groups (path TEXT PRIMARY KEY, from_side TEXT NOT NULL, report TEXT NOT NULL, ended INTEGER NOT NULL DEFAULT 0);";

/// Finds a removal that nobody claimed. The index has to lead to it: through the stage's, each would pass all that are claimed already.
pub(super) const UNCLAIMED: &str = "
SELECT id, key, side, action, hash, grp FROM pending INDEXED BY pending_by_hash
WHERE hash = ?1 AND stage = ?2 AND side = ?3 AND done = 0 AND grp IS NULL ORDER BY key LIMIT 1";

/// Counts what would be nowhere.
pub(super) fn lost_sql() -> String {
    format!("SELECT count(*) FROM {}", lost_known())
}

/// The contents that would be nowhere. Each is looked for once, however many files have it.
fn lost_known() -> String {
    let nowhere = nowhere("p.hash");
    format!(
        "(SELECT DISTINCT hash FROM pending \
         WHERE stage IN (?1, ?4) AND side = ?2 AND done = 0 AND hash IS NOT NULL) p WHERE {nowhere}"
    )
}

/// The removals of unknown content (a mirror's, without a baseline).
const LOST_UNKNOWN: &str = "pending WHERE stage IN (?1, ?4) AND side = ?2 AND done = 0 AND hash IS NULL \
     AND action NOT LIKE '%\"kind\":\"link\"%' AND action NOT LIKE '%\"kind\":\"folder\"%'";

/// That this content will be nowhere: nothing brings it, and all rows that have it are to be removed (in the stages 1 and 4; 3 brings).
fn nowhere(hash: &str) -> String {
    let stays = contents::BOTH.map(|part| {
        format!(
            "AND NOT EXISTS (SELECT 1 FROM rows r WHERE r.hash = {hash} AND r.{part} AND NOT EXISTS \
             (SELECT 1 FROM pending q WHERE q.stage IN (?1, ?4) AND q.key = r.key AND q.done = 0))"
        )
    });
    let brought =
        format!("EXISTS (SELECT 1 FROM pending c WHERE c.hash = {hash} AND c.stage = ?3)");
    format!("NOT {brought} {}", stays.concat())
}

/// Removes from the ledger what is somewhere now.
pub(super) fn found_again() -> String {
    let agreed = contents::BOTH.map(|part| {
        format!("EXISTS (SELECT 1 FROM rows r WHERE r.hash = lost.what AND r.{part}) OR ")
    });
    format!(
        "DELETE FROM lost WHERE side = ?1 AND ({} EXISTS (SELECT 1 FROM pending p WHERE p.hash = lost.what) \
         OR EXISTS (SELECT 1 FROM pending p WHERE p.stage IN (?2, ?3) AND p.key = lost.what AND p.side = ?4 AND p.hash IS NULL))",
        agreed.concat()
    )
}

/// A page of a stage. What is behind the last page is found through the index: no page passes those before it.
pub(super) fn page_sql(stage: PendingStage, goes_on: bool) -> String {
    let (compare, order) = match stage.deepest_first() {
        true => ("<", "DESC"),
        false => (">", "ASC"),
    };
    // Without a page before this one nothing is compared, but the values are bound all the same.
    let behind = match goes_on {
        true => format!("(key, id) {compare} (?2, ?3)"),
        false => "?2 IS NULL AND ?3 = 0".to_owned(),
    };
    format!(
        "SELECT id, key, side, action, hash, grp FROM pending WHERE stage = ?1 AND done = 0 AND {behind} \
         ORDER BY key {order}, id {order} LIMIT ?4"
    )
}

const REMOVE_FILE: i64 = 1;
const REMOVE_FOLDER: i64 = 2;
const CREATE: i64 = 3;
const CREATE_FOLDER: i64 = 4;
const FOLDER_MODE: i64 = 5;
const REMOVE_TOGETHER: i64 = 6;
/// The same, where nobody gives up a content by it.
const SWEEP_TOGETHER: i64 = 7;

impl PendingAction {
    fn stage(&self) -> i64 {
        match self {
            Self::RemoveFile(_) => REMOVE_FILE,
            Self::RemoveFolder(_) => REMOVE_FOLDER,
            Self::Create(_) => CREATE,
            Self::CreateFolder(_) => CREATE_FOLDER,
            Self::FolderMode(..) => FOLDER_MODE,
            Self::RemoveTogether(_) => REMOVE_TOGETHER,
        }
    }

    fn is_folder(&self) -> bool {
        match self {
            Self::RemoveFolder(_) | Self::CreateFolder(_) | Self::FolderMode(..) => true,
            Self::RemoveTogether(expected) => expected.kind == Kind::Folder,
            Self::RemoveFile(_) | Self::Create(_) => false,
        }
    }
}

fn side_name(side: Side) -> &'static str {
    match side {
        Side::Source => "source",
        Side::Target => "target",
    }
}

fn side_of(name: &str) -> Side {
    if name == "source" {
        Side::Source
    } else {
        Side::Target
    }
}

/// Which of the pending things are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingStage {
    /// File removals.
    RemoveFiles,
    /// Folder removals, deepest first.
    RemoveFolders,
    /// Creations that belong to a change of type or may be moves.
    Create,
    /// Folders of a change of type, topmost first.
    CreateFolders,
    /// Folder modes, deepest first.
    FolderModes,
    /// Removals that are carried out with the rest of a group.
    RemoveTogether,
}

impl PendingStage {
    fn number(self) -> i64 {
        match self {
            Self::RemoveFiles => REMOVE_FILE,
            Self::RemoveFolders => REMOVE_FOLDER,
            Self::Create => CREATE,
            Self::CreateFolders => CREATE_FOLDER,
            Self::FolderModes => FOLDER_MODE,
            Self::RemoveTogether => REMOVE_TOGETHER,
        }
    }

    fn deepest_first(self) -> bool {
        matches!(self, Self::RemoveFolders | Self::FolderModes)
    }
}

/// Why a change of type does not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupEnd {
    /// Something that is left out keeps the folder: the rest of it goes, and nothing takes its place.
    Stays,
    /// Something at or under it is unknown: the next pass looks again.
    Wait,
    /// The other side changed something at or under it.
    Conflict,
    /// It is a conflict that was told already.
    Told,
}

impl GroupEnd {
    fn number(self) -> i64 {
        match self {
            Self::Stays => 1,
            Self::Wait => 2,
            Self::Conflict => 3,
            Self::Told => 4,
        }
    }
}

impl PairState {
    /// Forgets what an earlier pass of this process held back.
    pub fn clear_pending(&self) -> Result<(), StateError> {
        if planted(Bug::PendingIsKept) {
            return Ok(());
        }
        Ok(self
            .db()
            .execute_batch("DELETE FROM pending; DELETE FROM groups")?)
    }

    /// Holds these back.
    pub fn add_pending(&mut self, all: &[Pending]) -> Result<(), StateError> {
        self.in_transaction(|this| {
            let mut insert = this.db().prepare_cached(
                "INSERT INTO pending (stage, key, side, action, hash, grp) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for one in all {
                let key = Key { path: one.path.clone(), folder: one.action.is_folder() };
                let action = serde_json::to_string(&one.action)
                    .map_err(|_| this.damaged("a pending action"))?;
                insert.execute(params![
                    one.action.stage(),
                    key.to_text(),
                    side_name(one.side),
                    action,
                    one.hash.map(|hash| hash.as_bytes().to_vec()),
                    one.group.as_ref().map(SyncPath::as_str),
                ])?;
            }
            Ok(())
        })
    }

    /// Notes that at `path` the type changed on `from`; what belongs to it is held back until it is known whether the other
    /// side changed anything at or under it. `report` is the conflict that it then is.
    pub fn add_group(
        &self,
        path: &SyncPath,
        from: Side,
        report: &Conflict,
    ) -> Result<(), StateError> {
        let report = serde_json::to_string(report).map_err(|_| self.damaged("a conflict"))?;
        self.db()
            .prepare_cached(
                "INSERT OR IGNORE INTO groups (path, from_side, report) VALUES (?1, ?2, ?3)",
            )?
            .execute([path.as_str(), side_name(from), &report])?;
        Ok(())
    }

    /// The side whose type changed at `path`.
    pub fn group_side(&self, path: &SyncPath) -> Result<Option<Side>, StateError> {
        Ok(self
            .db()
            .prepare_cached("SELECT from_side FROM groups WHERE path = ?1")?
            .query_row([path.as_str()], |row| row.get::<_, String>(0))
            .optional()?
            .map(|name| side_of(&name)))
    }

    /// The change of type at `path` does not happen in this pass.
    pub fn end_group(&self, path: &SyncPath, end: GroupEnd) -> Result<(), StateError> {
        self.db()
            .prepare_cached("UPDATE groups SET ended = max(ended, ?2) WHERE path = ?1")?
            .execute(params![path.as_str(), end.number()])?;
        Ok(())
    }

    /// Something that is left out at `path` keeps the folders above it, in the change of type at `group`.
    pub fn keep_in_group(&self, group: &SyncPath, path: &SyncPath) -> Result<(), StateError> {
        for folder in path.ancestors().filter(|folder| folder.is_within(group)) {
            self.db()
                .prepare_cached("DELETE FROM pending WHERE stage = ?1 AND key = ?2")?
                .execute(params![REMOVE_FOLDER, Key::folder(folder).to_text()])?;
        }
        self.end_group(group, GroupEnd::Stays)
    }

    /// Drops what belongs to changes of type that do not happen.
    pub fn drop_ended_groups(&self) -> Result<(), StateError> {
        let stays = GroupEnd::Stays.number();
        self.db().execute(
            "DELETE FROM pending WHERE grp IN (SELECT path FROM groups WHERE ended > ?1)",
            [stays],
        )?;
        self.db().execute(
            "DELETE FROM pending WHERE stage IN (?2, ?3) AND grp IN (SELECT path FROM groups WHERE ended = ?1)",
            [stays, CREATE, CREATE_FOLDER],
        )?;
        Ok(())
    }

    /// No change of type happens in this pass.
    pub fn end_all_groups(&self) -> Result<(), StateError> {
        self.db().execute(
            "UPDATE groups SET ended = max(ended, ?1)",
            [GroupEnd::Wait.number()],
        )?;
        self.drop_ended_groups()
    }

    /// The changes of type that ended so (`None`: that happen), by path: the side whose type changed, and the conflict.
    pub fn groups(&self, end: Option<GroupEnd>) -> Result<Vec<(Side, Conflict)>, StateError> {
        let mut statement = self
            .db()
            .prepare("SELECT from_side, report FROM groups WHERE ended = ?1 ORDER BY path")?;
        let mut found = statement.query([end.map_or(0, GroupEnd::number)])?;
        let mut groups = Vec::new();
        while let Some(row) = found.next()? {
            let report = serde_json::from_str(&row.get::<_, String>(1)?)
                .map_err(|_| self.damaged("a conflict"))?;
            groups.push((side_of(&row.get::<_, String>(0)?), report));
        }
        Ok(groups)
    }

    /// Something at or below `path` survives: neither the folder there nor those above it are removed. Returns what was
    /// pending, topmost first.
    pub fn keep_folders(&self, path: &SyncPath) -> Result<Vec<Pending>, StateError> {
        let mut kept = Vec::new();
        for folder in path.ancestors().chain([path.clone()]) {
            let mut statement = self.db().prepare_cached(
                "DELETE FROM pending WHERE stage = ?1 AND key = ?2 AND grp IS NULL \
                 RETURNING id, key, side, action, hash, grp",
            )?;
            let mut found =
                statement.query(params![REMOVE_FOLDER, Key::folder(folder).to_text()])?;
            while let Some(row) = found.next()? {
                kept.push(self.decode_pending(row)?);
            }
        }
        Ok(kept)
    }

    /// Up to `limit` of a stage that are not done, from `after` (the id and key of the last one) on.
    pub fn pending(
        &self,
        stage: PendingStage,
        after: Option<&Pending>,
        limit: u32,
    ) -> Result<Vec<Pending>, StateError> {
        let sql = page_sql(stage, after.is_some());
        let key = after.map(|last| {
            Key {
                path: last.path.clone(),
                folder: last.action.is_folder(),
            }
            .to_text()
        });
        let mut statement = self.db().prepare_cached(&sql)?;
        let mut found = statement.query(params![
            stage.number(),
            key,
            after.map_or(0, |last| last.id),
            limit
        ])?;
        let mut all = Vec::new();
        while let Some(row) = found.next()? {
            all.push(self.decode_pending(row)?);
        }
        Ok(all)
    }

    fn decode_pending(&self, row: &Row<'_>) -> Result<Pending, StateError> {
        let key = Key::from_text(&row.get::<_, String>(1)?).map_err(|_| self.damaged("pending"))?;
        let group = row.get::<_, Option<String>>(5)?;
        Ok(Pending {
            id: row.get(0)?,
            path: key.path,
            side: side_of(&row.get::<_, String>(2)?),
            action: serde_json::from_str(&row.get::<_, String>(3)?)
                .map_err(|_| self.damaged("a pending action"))?,
            hash: row
                .get::<_, Option<[u8; 32]>>(4)?
                .map(ContentHash::from_bytes),
            group: group
                .map(SyncPath::new)
                .transpose()
                .map_err(|_| self.damaged("a pending group"))?,
        })
    }

    /// A removal on `side` of a file with this content that no move has claimed yet and that belongs to no change of type; it
    /// is claimed.
    pub fn claim_removal(
        &self,
        side: Side,
        hash: &ContentHash,
    ) -> Result<Option<Pending>, StateError> {
        // Most new files were not moved: to find that out must not begin a transaction.
        let mut statement = self.db().prepare_cached(UNCLAIMED)?;
        let mut found = statement.query(params![
            hash.as_bytes().as_slice(),
            REMOVE_FILE,
            side_name(side)
        ])?;
        let Some(row) = found.next()? else {
            return Ok(None);
        };
        let removal = self.decode_pending(row)?;
        self.set_done(removal.id, true)?;
        Ok(Some(removal))
    }

    /// Takes a claim back.
    pub fn unclaim_removal(&self, id: i64) -> Result<(), StateError> {
        self.set_done(id, false)
    }

    fn set_done(&self, id: i64, done: bool) -> Result<(), StateError> {
        self.db()
            .prepare_cached("UPDATE pending SET done = ?2 WHERE id = ?1")?
            .execute(params![id, done])?;
        Ok(())
    }

    /// What is held back to be removed with a group does not count until it is known that it goes. `keys`: from each of them on, up to the
    /// other, the group is. Whether there is anything of it.
    pub fn put_off_together(&self, keys: &[(String, String)]) -> Result<bool, StateError> {
        let mut put_off = 0;
        for (from, to) in keys {
            put_off += self
                .db()
                .prepare_cached(
                    "UPDATE pending SET done = 1 WHERE stage IN (?1, ?2) AND key >= ?3 AND key < ?4",
                )?
                .execute(params![REMOVE_TOGETHER, SWEEP_TOGETHER, from, to])?;
        }
        Ok(put_off > 0)
    }

    /// The removal of this with the rest of its group counts, or does not any more: it was done. Whether it is held back, and was not
    /// dropped since.
    pub fn count_together(&self, key: &Key, side: Side, counts: bool) -> Result<bool, StateError> {
        let counted = self
            .db()
            .prepare_cached(
                "UPDATE pending SET done = ?1 WHERE stage IN (?2, ?3) AND key = ?4 AND side = ?5",
            )?
            .execute(params![
                !counts,
                REMOVE_TOGETHER,
                SWEEP_TOGETHER,
                key.to_text(),
                side_name(side)
            ])?;
        Ok(counted > 0)
    }

    /// Whether the removal of this with the rest of its group counts, and was not dropped since.
    pub fn goes_together(&self, key: &Key, side: Side) -> Result<bool, StateError> {
        let mut statement = self.db().prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM pending WHERE stage IN (?1, ?2) AND key = ?3 AND side = ?4 AND done = 0)",
        )?;
        let (stages, key) = ([REMOVE_TOGETHER, SWEEP_TOGETHER], key.to_text());
        let held = params![stages[0], stages[1], key, side_name(side)];
        Ok(statement.query_row(held, |row| row.get(0))?)
    }

    /// What is removed below `path` with a group is no loss of contents.
    pub fn sweep_together(&self, path: &SyncPath) -> Result<(), StateError> {
        self.db()
            .prepare_cached(
                "UPDATE pending SET stage = ?1 WHERE stage = ?2 AND key > ?3 AND key < ?4",
            )?
            .execute(params![
                SWEEP_TOGETHER,
                REMOVE_TOGETHER,
                format!("{}/", path.as_str()),
                format!("{}0", path.as_str())
            ])?;
        Ok(())
    }

    /// Drops one.
    pub fn drop_pending(&self, id: i64) -> Result<(), StateError> {
        self.db()
            .prepare_cached("DELETE FROM pending WHERE id = ?1")?
            .execute([id])?;
        Ok(())
    }

    /// Drops all pending removals.
    pub fn drop_removals(&self) -> Result<(), StateError> {
        self.db().execute(
            "DELETE FROM pending WHERE stage IN (?1, ?2, ?3, ?4)",
            [REMOVE_FILE, REMOVE_FOLDER, REMOVE_TOGETHER, SWEEP_TOGETHER],
        )?;
        Ok(())
    }

    /// One of the paths that are to be removed on `side`: one of the root itself, if there is any.
    pub fn first_removal(&self, side: Side) -> Result<Option<SyncPath>, StateError> {
        let key: Option<String> = self
            .db()
            .query_row(
                "SELECT key FROM pending WHERE stage IN (?1, ?2, ?3) AND side = ?4 AND done = 0 \
                 ORDER BY instr(rtrim(key, '/'), '/') > 0 LIMIT 1",
                params![REMOVE_FILE, REMOVE_FOLDER, REMOVE_TOGETHER, side_name(side)],
                |row| row.get(0),
            )
            .optional()?;
        Ok(key.and_then(|key| SyncPath::new(key.trim_end_matches('/')).ok()))
    }

    /// How many distinct contents the pending removals on `side` would make exist nowhere: content that no other row of the
    /// baseline holds and no pending creation brings back. One that is not known counts as one of its own.
    pub fn lost_contents(&self, side: Side) -> Result<u64, StateError> {
        self.index()?;
        let values = params![REMOVE_FILE, side_name(side), CREATE, REMOVE_TOGETHER];
        let count = |sql: &str| -> Result<i64, StateError> {
            let mut statement = self.db().prepare_cached(sql)?;
            Ok(statement.query_row(values, |row| row.get(0))?)
        };
        let unknown = count(&format!("SELECT count(*) FROM {LOST_UNKNOWN}"))?;
        Ok((count(&lost_sql())? + unknown) as u64)
    }

    /// Puts them on the ledger of the losses of a storage, which is not the side it has in this run.
    pub(super) fn note_lost(&self, side: Side, storage: &str) -> Result<(), StateError> {
        let (known, unknown) = (lost_known(), LOST_UNKNOWN);
        let side = side_name(side);
        let values = params![REMOVE_FILE, side, CREATE, REMOVE_TOGETHER, storage];
        for what in [
            format!("p.hash FROM {known}"),
            format!("key FROM {unknown}"),
        ] {
            let note = format!("INSERT OR IGNORE INTO lost SELECT ?5, {what}");
            self.db().prepare_cached(&note)?.execute(values)?;
        }
        Ok(())
    }

    /// Takes off that ledger what is somewhere: in the baseline, or about to be brought, or to be removed and so counted by the removal.
    pub(super) fn unnote_lost(&self, side: Side, storage: &str) -> Result<(), StateError> {
        self.index()?;
        let values = params![storage, REMOVE_FILE, REMOVE_TOGETHER, side_name(side)];
        self.db().prepare_cached(&found_again())?.execute(values)?;
        Ok(())
    }
}
