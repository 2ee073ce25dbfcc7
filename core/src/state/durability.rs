//! What a crash leaves of the state: the content of some commit, and the last one that returned is among what cannot be lost.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::model::{ContentHash, Kind, Sides, SyncPath, Token};

const PAIR: Sides<&str> = Sides {
    source: "memory:a",
    target: "memory:b",
};

/// In memory where the machine has such a place: many are made, and each commit is synced.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = match memory.is_dir() {
        true => TempDir::new_in(memory),
        false => TempDir::new(),
    };
    made.unwrap()
}

fn row(at: &str) -> RowChange {
    RowChange::Put(BaselineRow {
        path: SyncPath::new(at).unwrap(),
        kind: Kind::File,
        hash: Some(ContentHash::of(at.as_bytes())),
        link: None,
        sides: Sides::from_fn(|_| record()),
    })
}

fn record() -> SideRecord {
    SideRecord {
        token: Token::new("token"),
        settled: true,
        file_id: None,
        size: 3,
        mtime: None,
        mode: None,
    }
}

/// Decision 18 stands on this: with FULL the log is synced before a commit returns.
#[test]
fn every_commit_is_synced() {
    let dir = TempDir::new().unwrap();
    let state = PairState::open(dir.path(), PAIR).unwrap();
    let pragma = |name: &str| -> String {
        let ask = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
        let told = state.db().query_row(&ask, [], |row| row.get(0));
        told.unwrap()
    };
    assert_eq!(pragma("journal_mode"), "wal");
    assert_eq!(pragma("synchronous"), "2", "FULL");
}

/// The pieces of the log that was written last are lost in any order: what is left is a whole commit, and no earlier one than what was
/// durable.
#[test]
fn a_torn_log_is_an_earlier_commit() {
    let dir = folder();
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    for batch in 0..4 {
        state
            .apply(&[row(&format!("a{batch}")), row(&format!("b{batch}"))])
            .unwrap();
    }
    let files = |end: &str| {
        let mut all = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path());
        all.find(|path| path.to_str().unwrap().ends_with(end))
            .unwrap()
    };
    let (db, log) = (files(".db"), files(".db-wal"));
    let whole = fs::read(&log).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for cut in (0..=whole.len()).step_by(2039).chain([whole.len()]) {
        let mut torn = whole.clone();
        torn.truncate(cut);
        seen.insert(batches(&db, &torn));
        // The size made it, the content did not.
        torn.resize(whole.len(), 0);
        batches(&db, &torn);
    }
    assert_eq!(batches(&db, &whole), 4);
    assert!(seen.len() > 2, "the cuts were not in the log: {seen:?}");
}

/// How many batches a database with this log holds, none of them in part.
fn batches(db: &Path, log: &[u8]) -> usize {
    let dir = folder();
    let copy = dir.path().join(db.file_name().unwrap());
    fs::copy(db, &copy).unwrap();
    fs::write(copy.with_extension("db-wal"), log).unwrap();
    let state = PairState::open(dir.path(), PAIR).unwrap();
    assert_eq!(state.set_aside(), None);
    let has = |at: String| state.row_at(&SyncPath::new(at).unwrap()).unwrap().is_some();
    let mut count = 0;
    for batch in 0..4 {
        let whole = has(format!("a{batch}"));
        assert_eq!(whole, has(format!("b{batch}")), "half of batch {batch}");
        assert!(
            !whole || count == batch,
            "a batch before {batch} is missing"
        );
        count += usize::from(whole);
    }
    count
}
