//! Stricter than any real storage: panics when the caller breaks its side of the contract.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::observed::observe;
use super::observer::{Call, Observer, Operation};
use crate::model::SyncPath;
use crate::storage::{Durability, Result, SessionOptions, StorageBackend};

/// Panics when
///
/// - two requests of one call, or of two overlapping changing calls, name the same path;
/// - staged content is used twice, or in a session that did not stage it;
/// - staged content is published before it was flushed, in a session of [`Durability::Batch`] or [`Durability::Full`];
/// - a session is used after it was finished.
#[derive(Debug, Default)]
pub struct Strict {
    sessions: Mutex<BTreeMap<u64, Session>>,
    busy: Arc<Mutex<BTreeSet<(u64, SyncPath)>>>,
}

#[derive(Debug)]
struct Session {
    must_flush: bool,
    finished: bool,
    /// Staged content, and whether it was flushed.
    staged: BTreeMap<u64, bool>,
    /// What the flush that runs will have flushed.
    flushing: BTreeSet<u64>,
}

/// The paths of a call in flight.
struct Busy {
    all: Arc<Mutex<BTreeSet<(u64, SyncPath)>>>,
    mine: Vec<(u64, SyncPath)>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        self.mine.iter().for_each(|path| {
            all.remove(path);
        });
    }
}

impl Strict {
    /// `inner`, guarded.
    pub fn over(inner: Arc<dyn StorageBackend>) -> Arc<dyn StorageBackend> {
        observe(inner, Arc::new(Self::default()))
    }
}

impl Observer for Strict {
    fn enter(
        &self,
        session: Option<u64>,
        operation: Operation,
        paths: &[&SyncPath],
    ) -> Option<Box<dyn Send>> {
        let Some(session) = session else {
            let distinct: BTreeSet<_> = paths.iter().collect();
            assert_eq!(
                distinct.len(),
                paths.len(),
                "{operation:?} names a path twice in one call: {paths:?}"
            );
            return None;
        };
        let mut busy = Busy {
            all: Arc::clone(&self.busy),
            mine: Vec::new(),
        };
        for path in paths {
            let path = (session, SyncPath::clone(path));
            let free = self.busy.lock().unwrap().insert(path.clone());
            assert!(
                free,
                "{operation:?} names a path that is being changed: {path:?}"
            );
            busy.mine.push(path);
        }
        Some(Box::new(busy))
    }

    fn began(&self, session: u64, options: &SessionOptions) {
        let fresh = Session {
            must_flush: options.durability != Durability::None,
            finished: false,
            staged: BTreeMap::new(),
            flushing: BTreeSet::new(),
        };
        self.sessions.lock().unwrap().insert(session, fresh);
    }

    fn before(&self, call: &Call) -> Result<()> {
        let mut sessions = self.sessions.lock().unwrap();
        let Some(session) = call.session.and_then(|number| sessions.get_mut(&number)) else {
            return Ok(());
        };
        let operation = call.operation;
        assert!(
            !session.finished,
            "{operation:?} after the session was finished"
        );
        match operation {
            Operation::Flush => session.flushing = session.staged.keys().copied().collect(),
            Operation::Replace => {
                let number = call.staged.expect("what is published was staged");
                let flushed = session.staged.remove(&number);
                let flushed = flushed.unwrap_or_else(|| {
                    panic!("staged content {number} is used twice, or is not this session's")
                });
                assert!(
                    flushed || !session.must_flush,
                    "staged content {number} is published before it was flushed"
                );
            }
            _ => {}
        }
        Ok(())
    }

    fn after(&self, call: &Call) -> Result<()> {
        let mut sessions = self.sessions.lock().unwrap();
        let Some(session) = call.session.and_then(|number| sessions.get_mut(&number)) else {
            return Ok(());
        };
        match (call.operation, call.staged) {
            (Operation::Stage | Operation::WriterFinish, Some(number)) => {
                session.staged.insert(number, false);
            }
            (Operation::Flush, _) => {
                for number in std::mem::take(&mut session.flushing) {
                    session
                        .staged
                        .entry(number)
                        .and_modify(|flushed| *flushed = true);
                }
            }
            (Operation::Finish, _) => session.finished = true,
            _ => {}
        }
        Ok(())
    }
}
