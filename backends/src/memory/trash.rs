//! The trash of a store.

use wl_core::model::{ContentHash, SyncPath};
use wl_core::planted::{Bug, planted};
use wl_core::storage::{
    ErrorKind, Result, StorageError, StrandedVersion, TrashId, TrashItem, TrashKeep, TrashState,
};

use super::state::{Body, Node, State, changed};

/// A version in the trash.
#[derive(Debug)]
pub(super) struct Trashed {
    pub run: String,
    /// The session that displaced it.
    pub session: u64,
    pub path: SyncPath,
    pub state: TrashState,
    pub since: i64,
    /// The content's hash when it came here.
    pub hash: Option<ContentHash>,
    pub node: Node,
}

impl State {
    /// Puts a displaced version into the trash.
    pub fn trash_put(
        &mut self,
        session: u64,
        path: &SyncPath,
        node: Node,
        state: TrashState,
    ) -> TrashId {
        let run = self.live_sessions.get(&session).cloned();
        let item = Trashed {
            run: run.unwrap_or_else(|| session.to_string()),
            session,
            path: path.clone(),
            state,
            since: self.now(),
            hash: match &node.body {
                Body::File { hash, .. } => Some(*hash),
                _ => None,
            },
            node,
        };
        let number = self.trash.keys().next_back().map_or(1, |last| last + 1);
        let number = number.max(self.tick());
        let id = id(number, &item);
        self.trash.insert(number, item);
        id
    }

    pub fn trash_items(&mut self) -> Vec<TrashItem> {
        self.trash
            .iter()
            .map(|(number, item)| TrashItem {
                id: id(*number, item),
                path: Some(item.path.clone()),
                kind: Some(item.node.body.kind()),
                state: item.state,
                size: item.node.body.size(),
                hash: item.hash,
                since: item.since,
            })
            .collect()
    }

    pub fn trash_number(&self, wanted: &TrashId) -> Option<u64> {
        self.trash
            .iter()
            .find(|(number, item)| id(**number, item) == *wanted)
            .map(|(number, _)| *number)
    }

    pub fn trash_restore(&mut self, wanted: &TrashId, to: &SyncPath) -> Result<()> {
        let Some(number) = self.trash_number(wanted) else {
            return Err(StorageError::new(
                ErrorKind::NotFound,
                "restore",
                format!("the trash has no `{wanted}`; list the trash to see what it has"),
            ));
        };
        if self.find(to).is_some() {
            return Err(changed("restore", "something is there"));
        }
        let place = self.place("restore", to, true)?;
        let version = self.tick();
        if let Some(item) = self.trash.remove(&number) {
            self.insert(
                place,
                Node {
                    version,
                    ..item.node
                },
            );
        }
        Ok(())
    }

    /// Versions that were written to after they were displaced become versions of their own.
    pub fn trash_find_late(&mut self) -> Vec<StrandedVersion> {
        if planted(Bug::LateWriteIsMissed) {
            return Vec::new();
        }
        let mut found = Vec::new();
        for (number, item) in &mut self.trash {
            let now = match &item.node.body {
                Body::File { hash, .. } => Some(*hash),
                _ => None,
            };
            if now == item.hash || item.state == TrashState::Late {
                continue;
            }
            item.state = TrashState::Late;
            item.hash = now;
            found.push(StrandedVersion {
                path: Some(item.path.clone()),
                kept: format!("in the trash as {}", id(*number, item)),
                reason: "it was written to after it had been displaced".to_owned(),
            });
        }
        found
    }

    /// Gives up what is too old, seen by the end of session `session`.
    pub fn trash_expire(&mut self, session: u64, keep: TrashKeep) {
        let now = self.now();
        let live = &self.live_sessions;
        self.trash.retain(|_, item| {
            let held = item.session >= session || live.contains_key(&item.session);
            let kept = matches!(item.state, TrashState::Rescued | TrashState::Late)
                && !planted(Bug::ClaimExpires);
            let young = match keep {
                TrashKeep::None => false,
                TrashKeep::For(time) => {
                    now.saturating_sub(item.since)
                        < i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
                }
            };
            held || kept || young
        });
    }
}

fn id(number: u64, item: &Trashed) -> TrashId {
    TrashId(format!("{}/{number}", item.run))
}
