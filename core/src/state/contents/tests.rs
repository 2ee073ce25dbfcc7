//! That a content is found wherever it is, and that no statement looks through all rows for it.

use rusqlite::Connection;
use tempfile::TempDir;

use super::super::tests::{PAIR, REVERSED, path, put, remove_file, row};
use super::super::{RowChange, pending};
use super::*;
use crate::model::{FileId, Key, Side, Sides};

fn opened(dir: &TempDir) -> PairState {
    PairState::open(dir.path(), PAIR).unwrap()
}

fn file(dir: &TempDir) -> std::path::PathBuf {
    let is_db = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "db");
    let entries = std::fs::read_dir(dir.path()).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .find(is_db)
        .unwrap()
}

/// The paths that have this content, in order.
fn places(state: &PairState, content: &str) -> Vec<String> {
    let hash = ContentHash::of(content.as_bytes());
    let rows = state.rows_with_hash(&hash, 100).unwrap();
    let mut paths: Vec<_> = rows.iter().map(|row| row.path.to_string()).collect();
    paths.sort();
    paths
}

fn recent(state: &PairState) -> Vec<String> {
    let mut keys = state.recent_keys(1_000_000).unwrap();
    keys.sort();
    keys
}

fn remove(state: &mut PairState, at: &str) {
    let key = Key {
        path: path(at),
        folder: false,
    };
    state.apply(&[RowChange::Delete(key)]).unwrap();
}

/// Rows of the first sync, and others of after it.
fn of_two_ages(dir: &TempDir) -> PairState {
    let mut state = opened(dir);
    put(
        &mut state,
        &[row("d/old", "x"), row("d/older", "x"), row("other", "y")],
    );
    state.index().unwrap();
    put(&mut state, &[row("d/new", "x"), row("newer", "z")]);
    state
}

#[test]
fn what_the_first_sync_brings_is_never_recent() {
    let dir = TempDir::new().unwrap();
    let state = of_two_ages(&dir);
    assert_eq!(recent(&state), ["d/new", "newer"]);
}

#[test]
fn a_content_is_found_whenever_it_came() {
    let dir = TempDir::new().unwrap();
    let mut state = of_two_ages(&dir);
    let check = |state: &PairState| {
        assert_eq!(places(state, "x"), ["d/new", "d/old", "d/older"]);
        assert_eq!(places(state, "z"), ["newer"]);
        let hash = ContentHash::of(b"x");
        for limit in 0..=4 {
            let found = state.rows_with_hash(&hash, limit).unwrap().len();
            assert_eq!(found, limit.min(3) as usize);
        }
    };
    check(&state);
    for batch in [1, 2, 3] {
        drop(state);
        let dir = TempDir::new().unwrap();
        state = of_two_ages(&dir);
        state.merge_if_more_than(1, batch).unwrap();
        assert_eq!(recent(&state), [""; 0]);
        check(&state);
        drop(state);
        state = opened(&dir);
        check(&state);
    }
}

/// What a process leaves that is killed now: its files as they are, and nothing is closed.
fn killed(dir: &TempDir) -> TempDir {
    let left = TempDir::new().unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        // Memory that processes share is of no use to one that comes after them.
        if !entry.path().to_string_lossy().ends_with("-shm") {
            std::fs::copy(entry.path(), left.path().join(entry.file_name())).unwrap();
        }
    }
    left
}

#[test]
fn a_merge_that_is_killed_anywhere_loses_nothing_and_the_next_one_ends_it() {
    for batches in 0..=4 {
        for amid in [false, true] {
            let dir = TempDir::new().unwrap();
            let mut state = of_two_ages(&dir);
            put(&mut state, &[row("d/newest", "x"), row("newest", "z")]);
            for _ in 0..batches {
                assert!(state.merge_batch(1).unwrap());
            }
            if amid {
                let begin = "BEGIN IMMEDIATE; UPDATE rows SET recent = 0";
                state.db().execute_batch(begin).unwrap();
                state.db().cache_flush().unwrap();
            }
            let left = killed(&dir);
            let mut state = opened(&left);
            assert!(state.set_aside().is_none());
            let check = |state: &PairState, still_recent: usize| {
                assert_eq!(recent(state).len(), still_recent, "{batches} {amid}");
                let all = ["d/new", "d/newest", "d/old", "d/older"];
                assert_eq!(places(state, "x"), all, "{batches} {amid}");
                assert_eq!(places(state, "z"), ["newer", "newest"]);
            };
            check(&state, 4 - batches);
            state.merge_if_more_than(0, 3).unwrap();
            check(&state, 0);
        }
    }
}

#[test]
fn what_changes_is_recent_and_what_goes_is_not_found_any_more() {
    let dir = TempDir::new().unwrap();
    let mut state = of_two_ages(&dir);
    put(&mut state, &[row("d/old", "z"), row("d/new", "y")]);
    remove(&mut state, "newer");
    assert_eq!(places(&state, "x"), ["d/older"]);
    assert_eq!(places(&state, "y"), ["d/new", "other"]);
    assert_eq!(places(&state, "z"), ["d/old"]);
    state.merge_if_more_than(0, 10).unwrap();
    remove(&mut state, "d/older");
    assert_eq!(places(&state, "x"), [""; 0]);
    state.forget_tree(&path("d")).unwrap();
    assert_eq!(places(&state, "y"), ["other"]);
    assert_eq!(places(&state, "z"), [""; 0]);
}

#[test]
fn a_little_of_it_stays_recent_and_a_rehearsal_merges_nothing() {
    let dir = TempDir::new().unwrap();
    let mut state = of_two_ages(&dir);
    state.merge_recent().unwrap();
    state.merge_if_more_than(2, 10).unwrap();
    assert_eq!(recent(&state), ["d/new", "newer"]);
    state.begin_rehearsal().unwrap();
    state.merge_if_more_than(1, 10).unwrap();
    assert_eq!(recent(&state), ["d/new", "newer"]);
    state.end_rehearsal().unwrap();
    state.merge_if_more_than(1, 10).unwrap();
    assert_eq!(recent(&state), [""; 0]);
}

#[test]
fn a_run_that_brings_much_merges_on_its_way() {
    let dir = TempDir::new().unwrap();
    let mut state = of_two_ages(&dir);
    let copies = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
                  INSERT INTO rows SELECT printf('many/%06d', i), kind, randomblob(32), link, a_token, a_settled, NULL, a_size, \
                  a_mtime, a_mode, b_token, b_settled, NULL, b_size, b_mtime, b_mode, 1 FROM n, rows WHERE key = 'other'";
    state.db().execute(copies, [MOST]).unwrap();
    state.contents.put.set(2 * MOST as usize - 1);
    put(&mut state, &[row("last but one", "1")]);
    assert_eq!(recent(&state).len(), MOST as usize + 3);
    put(&mut state, &[row("last", "2")]);
    assert_eq!(recent(&state), [""; 0]);
    assert_eq!(state.contents.put.get(), 0);
    assert_eq!(places(&state, "2"), ["last"]);
}

#[test]
fn lost_contents_are_counted_whenever_they_came() {
    for merged in [false, true] {
        let dir = TempDir::new().unwrap();
        let mut state = of_two_ages(&dir);
        if merged {
            state.merge_if_more_than(0, 10).unwrap();
        }
        let lost = |state: &PairState| state.lost_contents(Side::Target).unwrap();
        for (at, count) in [("d/new", 0), ("d/old", 0), ("d/older", 1)] {
            state.add_pending(&[remove_file(at, "x")]).unwrap();
            assert_eq!(lost(&state), count, "{at}");
        }
        state.add_pending(&[remove_file("newer", "z")]).unwrap();
        assert_eq!(lost(&state), 2);
    }
}

#[test]
fn the_contents_of_a_part_are_those_of_its_files() {
    let dir = TempDir::new().unwrap();
    let state = of_two_ages(&dir);
    let in_part = |from: &str, to: &str, limit: u32| {
        let files = state.files_in(from, to, limit).unwrap();
        let names =
            [b"x", b"y", b"z"].map(|content| (ContentHash::of(content), content[0] as char));
        let name = |file: &KnownFile| names.iter().find(|(of, _)| *of == file.hash).unwrap().1;
        files.iter().map(name).collect::<String>()
    };
    assert_eq!(in_part("d/", "d0", 9), "xxx");
    assert_eq!(in_part("d/", "d0", 2), "xx");
    assert_eq!(in_part("newer", "newer\0", 9), "z");
    assert_eq!(in_part("e", "p", 9), "zy");
    assert_eq!(in_part("e", "f", 9), "");
    for (pair, ids) in [(PAIR, [u64::MAX, 2]), (REVERSED, [2, u64::MAX])] {
        let dir = TempDir::new().unwrap();
        let mut state = PairState::open(dir.path(), PAIR).unwrap();
        put(&mut state, &[row("a", "x")]);
        drop(state);
        let state = PairState::open(dir.path(), pair).unwrap();
        let [file] = state.files_in("", "b", 9).unwrap()[..] else {
            panic!("one file");
        };
        let [source, target] = ids.map(|id| Some(FileId(id)));
        assert_eq!(file.ids, Sides::new(source, target));
    }
}

#[test]
fn no_statement_looks_through_all_rows() {
    let dir = TempDir::new().unwrap();
    let state = of_two_ages(&dir);
    state.rows_with_hash(&ContentHash::of(b"x"), 1).unwrap();
    let plan = |sql: &str| -> Vec<String> {
        let mut statement = state
            .db()
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap();
        let values: Vec<_> = (0..statement.parameter_count()).map(|_| 1).collect();
        let values = rusqlite::params_from_iter(values);
        let steps = statement.query_map(values, |row| row.get(3)).unwrap();
        steps.map(Result::unwrap).collect()
    };
    let by_content = BOTH.map(|part| format!("SELECT * FROM rows {}", with_hash(part)));
    let steps = plan(FILES_IN);
    assert!(
        steps[0].contains("PRIMARY KEY (key>? AND key<?)"),
        "{steps:?}"
    );
    let lost = pending::lost_sql();
    for sql in by_content.iter().chain([&lost]) {
        let steps = plan(sql);
        let of_rows = |step: &&String| step.contains("rows") || step.contains(" r ");
        let of_rows: Vec<_> = steps.iter().filter(of_rows).collect();
        assert!(!of_rows.is_empty(), "{steps:?}");
        for step in of_rows {
            assert!(step.contains("(hash=?)"), "{sql}: {steps:?}");
        }
    }
}

/// What the first version made, with the rows that it had.
const FIRST_VERSION: &str = "
CREATE TABLE rows (
    key TEXT PRIMARY KEY COLLATE BINARY, kind INTEGER NOT NULL, hash BLOB, link TEXT,
    a_token TEXT NOT NULL, a_settled INTEGER NOT NULL, a_file_id INTEGER, a_size INTEGER NOT NULL, a_mtime INTEGER, a_mode INTEGER,
    b_token TEXT NOT NULL, b_settled INTEGER NOT NULL, b_file_id INTEGER, b_size INTEGER NOT NULL, b_mtime INTEGER, b_mode INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX rows_by_hash ON rows (hash) WHERE hash IS NOT NULL;
CREATE INDEX rows_by_a_file_id ON rows (a_file_id) WHERE a_file_id IS NOT NULL;
CREATE INDEX rows_by_b_file_id ON rows (b_file_id) WHERE b_file_id IS NOT NULL;";

#[test]
fn the_state_of_the_first_version_is_brought_up_with_all_that_it_knows() {
    let dir = TempDir::new().unwrap();
    let rows = [row("a", "x"), row("d/b", "x"), row("d/c", "y")];
    let mut state = opened(&dir);
    put(&mut state, &rows);
    drop(state);
    let db = Connection::open(file(&dir)).unwrap();
    db.execute_batch(&format!(
        "ALTER TABLE rows RENAME TO of_now; DROP INDEX IF EXISTS rows_by_hash; DROP INDEX IF EXISTS rows_by_recent_hash; \
         DROP INDEX IF EXISTS rows_by_a_file_id; DROP INDEX IF EXISTS rows_by_b_file_id; {FIRST_VERSION} \
         ALTER TABLE of_now DROP COLUMN recent; INSERT INTO rows SELECT * FROM of_now; DROP TABLE of_now; PRAGMA user_version = 1;"
    ))
    .unwrap();
    drop(db);
    for _ in 0..2 {
        let mut state = opened(&dir);
        assert!(state.set_aside().is_none());
        assert_eq!(state.rows_in("", None, 10).unwrap(), rows);
        assert_eq!(places(&state, "x"), ["a", "d/b"]);
        put(&mut state, &[row("a", "x")]);
        assert_eq!(recent(&state), ["a"]);
    }
    let db = Connection::open(file(&dir)).unwrap();
    let ask = "SELECT user_version FROM pragma_user_version";
    assert_eq!(db.query_row(ask, [], |row| row.get(0)), Ok(2));
}
