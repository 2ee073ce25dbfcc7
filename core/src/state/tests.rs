//! What the state promises: one owner, one row a path, all or nothing, and nothing that could not be deleted.

use rusqlite::StatementStatus;
use tempfile::TempDir;

use super::*;
use crate::model::{
    Conflict, ContentHash, FileId, Key, Kind, Meta, Mode, Side, Sides, SyncPath, Timestamp, Token,
};
use crate::storage::{Expected, RootMarker};

pub(crate) const PAIR: Sides<&str> = Sides {
    source: "memory:a",
    target: "memory:b",
};
pub(super) const REVERSED: Sides<&str> = Sides {
    source: "memory:b",
    target: "memory:a",
};

pub(crate) fn path(text: &str) -> SyncPath {
    SyncPath::new(text).unwrap()
}

fn record(token: &str, id: u64) -> SideRecord {
    SideRecord {
        token: Token::new(token),
        settled: true,
        file_id: Some(FileId(id)),
        size: 3,
        mtime: Some(Timestamp { secs: -5, nanos: 7 }),
        mode: Some(Mode::new(0o640)),
    }
}

pub(crate) fn row(at: &str, content: &str) -> BaselineRow {
    BaselineRow {
        path: path(at),
        kind: Kind::File,
        hash: Some(ContentHash::of(content.as_bytes())),
        link: None,
        sides: Sides::new(record("source", u64::MAX), record("target", 2)),
    }
}

fn folder(at: &str) -> BaselineRow {
    BaselineRow {
        kind: Kind::Folder,
        hash: None,
        ..row(at, "")
    }
}

pub(crate) fn put(state: &mut PairState, rows: &[BaselineRow]) {
    let changes: Vec<_> = rows.iter().cloned().map(RowChange::Put).collect();
    state.apply(&changes).unwrap();
}

fn keys(state: &PairState) -> Vec<String> {
    let rows = state.rows_in("", None, 1000).unwrap();
    rows.iter().map(|row| row.key().to_text()).collect()
}

#[test]
fn rows_come_back_as_they_were_in_the_order_of_keys() {
    let dir = TempDir::new().unwrap();
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    let rows = ["a", "a b", "a-b", "a.txt", "a0", "é"].map(|at| row(at, at));
    let mut rows = rows.to_vec();
    rows.insert(4, row("b/c", "x"));
    rows.push(folder("b"));
    put(&mut state, &rows);
    assert_eq!(
        keys(&state),
        ["a", "a b", "a-b", "a.txt", "a0", "b/", "b/c", "é"]
    );
    assert_eq!(
        state.row_at(&path("a-b")).unwrap().unwrap(),
        row("a-b", "a-b")
    );
    assert_eq!(state.row_at(&path("b")).unwrap().unwrap(), folder("b"));
    assert_eq!(state.count_files().unwrap(), 7);
    for (most, counted) in [(0, 0), (3, 3), (7, 7), (8, 7), (u64::MAX, 7)] {
        assert_eq!(state.count_files_up_to(most).unwrap(), counted);
    }
    let below: Vec<_> = state.rows_in("b/", Some("b0"), 1000).unwrap();
    assert_eq!(below.len(), 2);
}

#[test]
fn a_path_is_a_file_or_a_folder_never_both() {
    let dir = TempDir::new().unwrap();
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    put(&mut state, &[row("a", "1")]);
    put(&mut state, &[folder("a")]);
    assert_eq!(keys(&state), ["a/"]);
    put(&mut state, &[row("a", "1")]);
    assert_eq!(keys(&state), ["a"]);
}

#[test]
fn the_pair_has_one_state_whichever_is_the_source() {
    let dir = TempDir::new().unwrap();
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    put(&mut state, &[row("a", "1")]);
    let roots = Sides::new("a", "b").map(|name| RootMarker {
        file_system: format!("fs of {name}"),
        folder: Some(format!("root of {name}")),
        renumbered: false,
        start: None,
    });
    state.set_root_markers(&roots, false).unwrap();
    let conflict = Conflict {
        path: "x".into(),
        reason: "r".into(),
        source: Some(crate::model::ConflictSide {
            kind: "file".into(),
            size: Some(1),
            hash: None,
            link: None,
            mtime: None,
        }),
        target: None,
        ancestor: None,
    };
    state
        .store_conflicts(std::slice::from_ref(&conflict))
        .unwrap();
    drop(state);

    let state = PairState::open(dir.path(), REVERSED).unwrap();
    let found = state.row_at(&path("a")).unwrap().unwrap();
    assert_eq!(found.sides.source.token.as_str(), "target");
    assert_eq!(found.sides.target.file_id, Some(FileId(u64::MAX)));
    let [source, target] = Side::BOTH.map(|side| state.root_marker(side).unwrap());
    assert_eq!(source, Some(roots.target));
    assert_eq!(target, Some(roots.source));
    let reversed = state.conflicts().unwrap().pop().unwrap();
    assert_eq!(
        (reversed.source, reversed.target),
        (conflict.target, conflict.source)
    );
}

#[test]
fn two_conflicts_at_one_path_are_both_kept() {
    let dir = TempDir::new().unwrap();
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    let conflict = |path: &str, reason: &str| Conflict {
        path: path.into(),
        reason: reason.into(),
        source: None,
        target: None,
        ancestor: None,
    };
    let open = [("a", "r"), ("a", "s"), ("a-b", "r"), ("a/b", "r")];
    let open = open.map(|(path, reason)| conflict(path, reason));
    state.store_conflicts(&open).unwrap();
    assert_eq!(state.conflicts().unwrap(), open);
    // What an older wl has stored is read, and replaced.
    let old = serde_json::to_string(&conflict("old", "r")).unwrap();
    let insert = "INSERT INTO conflicts VALUES ('old', ?1)";
    state.db().execute(insert, [old]).unwrap();
    assert_eq!(state.conflicts().unwrap().len(), 5);
    state.store_conflicts(&open).unwrap();
    assert_eq!(state.conflicts().unwrap(), open);
}

#[test]
fn only_one_run_at_a_time() {
    let dir = TempDir::new().unwrap();
    let state = PairState::open(dir.path(), PAIR).unwrap();
    assert!(!state.is_wanted());
    let error = PairState::open(dir.path(), REVERSED).unwrap_err();
    assert!(matches!(error, StateError::Locked(_)), "{error}");
    assert!(state.is_wanted());
    drop(state);
    let state = PairState::open(dir.path(), REVERSED).unwrap();
    assert!(!state.is_wanted(), "who wanted it has it");
}

#[test]
fn a_damaged_file_is_set_aside_and_a_newer_one_refused() {
    let dir = TempDir::new().unwrap();
    drop(PairState::open(dir.path(), PAIR).unwrap());
    let file = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "db"))
        .unwrap();
    std::fs::write(
        &file,
        "this is no database, however long it goes on".repeat(100),
    )
    .unwrap();
    let state = PairState::open(dir.path(), PAIR).unwrap();
    assert!(state.is_empty().unwrap());
    assert!(state.set_aside().unwrap().exists());
    state
        .db()
        .execute_batch("PRAGMA user_version = 99")
        .unwrap();
    drop(state);
    let error = PairState::open(dir.path(), PAIR).unwrap_err();
    assert!(
        matches!(error, StateError::Newer { version: 99, .. }),
        "{error}"
    );
}

#[test]
fn a_rehearsal_leaves_nothing_behind() {
    let dir = TempDir::new().unwrap();
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    put(&mut state, &[row("a", "1")]);
    state.begin_rehearsal().unwrap();
    put(&mut state, &[row("b", "2")]);
    state
        .apply(&[RowChange::Delete(Key::file(path("a")))])
        .unwrap();
    assert_eq!(keys(&state), ["b"]);
    state.end_rehearsal().unwrap();
    assert_eq!(keys(&state), ["a"]);
}

fn album_moves(on: Side) -> FolderMove {
    FolderMove {
        from: path("album"),
        to: path("holiday"),
        on,
        id: FileId(u64::MAX),
    }
}

#[test]
fn a_folder_that_is_renamed_is_known_until_that_is_recorded_by_whichever_role() {
    let dir = TempDir::new().unwrap();
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    put(
        &mut state,
        &[folder("album"), row("album/f", "1"), row("album 2", "2")],
    );
    assert_eq!(state.move_under_way().unwrap(), None);
    state.begin_move(&album_moves(Side::Target)).unwrap();
    drop(state);
    let mut state = PairState::open(dir.path(), REVERSED).unwrap();
    let moved = state.move_under_way().unwrap().unwrap();
    assert_eq!(moved, album_moves(Side::Source), "the same storage");
    state.end_move(&moved, false).unwrap();
    assert_eq!(state.move_under_way().unwrap(), None);
    assert_eq!(keys(&state), ["album 2", "album/", "album/f"]);
    state.begin_move(&moved).unwrap();
    state.end_move(&moved, true).unwrap();
    assert_eq!(state.move_under_way().unwrap(), None);
    assert_eq!(keys(&state), ["album 2", "holiday/", "holiday/f"]);
}

#[test]
fn a_rename_in_roots_that_are_gone_is_forgotten_with_them() {
    let dir = TempDir::new().unwrap();
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    put(&mut state, &[folder("album")]);
    state.begin_move(&album_moves(Side::Target)).unwrap();
    let markers = Sides::from_fn(|_| RootMarker::default());
    state.set_root_markers(&markers, false).unwrap();
    assert!(state.move_under_way().unwrap().is_some());
    state.set_root_markers(&markers, true).unwrap();
    assert_eq!(state.move_under_way().unwrap(), None);
}

#[test]
fn moves_are_found_by_content_and_by_file_id() {
    let dir = TempDir::new().unwrap();
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    put(&mut state, &[row("a", "1"), row("b", "2")]);
    state.index().unwrap();
    let found = state.rows_with_hash(&ContentHash::of(b"2"), 9).unwrap();
    assert_eq!(found, [row("b", "2")]);
    let time = Timestamp { secs: -5, nanos: 7 };
    let by_id = |side, id, size| {
        state
            .rows_with_file_id(side, FileId(id), size, time)
            .unwrap()
            .len()
    };
    assert_eq!(by_id(Side::Source, u64::MAX, 3), 2);
    assert_eq!(by_id(Side::Target, u64::MAX, 3), 0);
    assert_eq!(by_id(Side::Target, 2, 4), 0);
}

pub(super) fn expected(content: &str) -> Expected {
    Expected {
        kind: Kind::File,
        token: None,
        hash: Some(ContentHash::of(content.as_bytes())),
        link: None,
    }
}

pub(super) fn meta(kind: Kind) -> Box<Meta> {
    Box::new(Meta {
        kind,
        size: 0,
        mtime: None,
        mode: None,
        token: Token::new("t"),
        settled: true,
        file_id: None,
        hash: None,
        link: None,
    })
}

pub(super) fn pending(at: &str, action: PendingAction, content: Option<&str>) -> Pending {
    Pending {
        id: 0,
        path: path(at),
        side: Side::Target,
        action,
        hash: content.map(|content| ContentHash::of(content.as_bytes())),
        group: None,
    }
}

pub(super) fn remove_file(at: &str, content: &str) -> Pending {
    pending(
        at,
        PendingAction::RemoveFile(expected(content)),
        Some(content),
    )
}

fn remove_folder(at: &str) -> Pending {
    pending(at, PendingAction::RemoveFolder(meta(Kind::Folder)), None)
}

#[test]
fn folders_are_removed_deepest_first_page_by_page() {
    let dir = TempDir::new().unwrap();
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    let folders = ["a", "a/b", "a/b/c", "a-", "z"].map(remove_folder);
    state.add_pending(&folders).unwrap();
    let (mut last, mut seen) = (None, Vec::new());
    loop {
        let page = state
            .pending(PendingStage::RemoveFolders, last.as_ref(), 2)
            .unwrap();
        let Some(end) = page.last() else { break };
        last = Some(end.clone());
        seen.extend(page.iter().map(|one| one.path.as_str().to_owned()));
    }
    assert_eq!(seen, ["z", "a/b/c", "a/b", "a", "a-"]);
}

#[test]
fn what_survives_keeps_the_folders_above_it_and_no_others() {
    let dir = TempDir::new().unwrap();
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    state
        .add_pending(&["a", "a/b", "a/b/c", "a/x"].map(remove_folder))
        .unwrap();
    let kept = state.keep_folders(&path("a/b/file")).unwrap();
    let kept: Vec<_> = kept.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(kept, ["a", "a/b"]);
    let left = state.pending(PendingStage::RemoveFolders, None, 9).unwrap();
    let left: Vec<_> = left.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(left, ["a/x", "a/b/c"]);
}

#[test]
fn a_removal_is_claimed_once() {
    let dir = TempDir::new().unwrap();
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    state
        .add_pending(&[remove_file("a", "1"), remove_file("b", "2")])
        .unwrap();
    let hash = ContentHash::of(b"1");
    assert!(state.claim_removal(Side::Source, &hash).unwrap().is_none());
    let claimed = state.claim_removal(Side::Target, &hash).unwrap().unwrap();
    assert_eq!(claimed.path.as_str(), "a");
    assert!(state.claim_removal(Side::Target, &hash).unwrap().is_none());
    assert_eq!(
        state
            .pending(PendingStage::RemoveFiles, None, 9)
            .unwrap()
            .len(),
        1
    );
    state.unclaim_removal(claimed.id).unwrap();
    assert_eq!(
        state
            .pending(PendingStage::RemoveFiles, None, 9)
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn lost_is_what_would_exist_nowhere() {
    let dir = TempDir::new().unwrap();
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    let rows = [
        row("a", "1"),
        row("b", "1"),
        row("c", "2"),
        row("d", "3"),
        row("e", "3"),
    ];
    put(&mut state, &rows);
    let lost = |state: &PairState| state.lost_contents(Side::Target).unwrap();
    // A second copy stays.
    state.add_pending(&[remove_file("a", "1")]).unwrap();
    assert_eq!(lost(&state), 0);
    // The last copy, and both copies of one content: two contents.
    let more = [
        remove_file("c", "2"),
        remove_file("d", "3"),
        remove_file("e", "3"),
    ];
    state.add_pending(&more).unwrap();
    assert_eq!(lost(&state), 2);
    // A creation brings one back.
    let creation = pending("new", PendingAction::Create(meta(Kind::File)), Some("2"));
    state.add_pending(&[creation]).unwrap();
    assert_eq!(lost(&state), 1);
    assert_eq!(state.lost_contents(Side::Source).unwrap(), 0);
}

/// What an older wl wrote has no word of the folder.
#[test]
fn a_marker_of_the_file_system_alone_is_read_and_widened() {
    let dir = TempDir::new().unwrap();
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    assert_eq!(state.root_marker(Side::Source).unwrap(), None);
    let old = "INSERT INTO meta VALUES ('root a', 'fs-1'), ('root b', '')";
    state.db().execute(old, []).unwrap();
    let known = state.root_marker(Side::Source).unwrap().unwrap();
    assert_eq!((&*known.file_system, known.folder), ("fs-1", None));
    let mut markers = Sides::from_fn(|_| RootMarker::default());
    markers.source = RootMarker {
        file_system: "fs-1".into(),
        folder: Some("5 born-7".into()),
        renumbered: false,
        start: None,
    };
    put(&mut state, &[row("a", "1")]);
    state.set_root_markers(&markers, false).unwrap();
    assert!(!state.is_empty().unwrap());
    for side in Side::BOTH {
        assert_eq!(
            state.root_marker(side).unwrap().as_ref(),
            Some(&markers[side])
        );
    }
    let older = "SELECT value FROM meta WHERE name = 'root a'";
    let older: String = state.db().query_row(older, [], |row| row.get(0)).unwrap();
    assert_eq!(older, "fs-1", "an older wl still knows it");
    state.set_root_markers(&markers, true).unwrap();
    assert!(state.is_empty().unwrap());
}

#[test]
fn what_was_learnt_is_kept_by_token_until_a_whole_pass_has_no_use_for_it() {
    let dir = TempDir::new().unwrap();
    let (one, two) = (Token::new("1"), Token::new("2"));
    let hash = ContentHash::of(b"x");
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    assert!(!state.has_learnt().unwrap());
    for at in ["a", "b"] {
        state.learn(&path(at), Side::Source, &one, &hash).unwrap();
    }
    state.keep_learnt(true).unwrap();
    drop(state);

    let mut state = PairState::open(dir.path(), REVERSED).unwrap();
    let knows = |state: &PairState, at: &str, side, token| {
        state.learnt(&path(at), side, token).unwrap() == Some(hash)
    };
    assert!(knows(&state, "a", Side::Target, &one));
    assert!(!knows(&state, "a", Side::Source, &one));
    assert!(!knows(&state, "a", Side::Target, &two));
    // A pass over a part says nothing of the rest.
    state.learn(&path("a"), Side::Target, &two, &hash).unwrap();
    state.keep_learnt(false).unwrap();
    assert!(knows(&state, "a", Side::Target, &two));
    assert!(!knows(&state, "a", Side::Target, &one));
    assert!(knows(&state, "b", Side::Target, &one));
    // The same again is not written again.
    let before = state.db().total_changes();
    for (at, token) in [("a", &two), ("b", &one)] {
        state.learn(&path(at), Side::Target, token, &hash).unwrap();
    }
    state.keep_learnt(true).unwrap();
    let temporary = 4;
    assert_eq!(state.db().total_changes() - before, temporary);
    state.learn(&path("b"), Side::Target, &one, &hash).unwrap();
    state.keep_learnt(true).unwrap();
    assert!(!knows(&state, "a", Side::Target, &two));
    assert!(knows(&state, "b", Side::Target, &one));
    state.keep_learnt(true).unwrap();
    assert!(!state.has_learnt().unwrap());
}

/// What the statements of `pending` cost so far, in steps of SQLite's machine.
fn steps(state: &PairState, sql: &str) -> i32 {
    let statement = state.db().prepare_cached(sql).unwrap();
    statement.get_status(StatementStatus::VmStep)
}

/// A state in which `files` removals wait, of files that all have one content.
fn removals_of_one_content(dir: &TempDir, files: usize) -> PairState {
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    let names: Vec<_> = (0..files).map(|n| format!("old/{n:05}")).collect();
    let rows: Vec<_> = names.iter().map(|name| row(name, "same")).collect();
    put(&mut state, &rows);
    let removals: Vec<_> = names.iter().map(|name| remove_file(name, "same")).collect();
    state.add_pending(&removals).unwrap();
    state
}

#[test]
fn the_work_grows_with_the_number_of_removals_and_not_with_its_square() {
    const FILES: usize = 3000;
    const EACH: i32 = 300;
    let most = EACH * FILES as i32;
    let dir = TempDir::new().unwrap();
    let state = removals_of_one_content(&dir, FILES);

    assert_eq!(state.lost_contents(Side::Target).unwrap(), 1);
    let took = steps(&state, &pending::lost_sql());
    assert!((1..most).contains(&took), "judging took {took} steps");

    let (mut last, mut seen) = (None, 0);
    loop {
        let page = state
            .pending(PendingStage::RemoveFiles, last.as_ref(), 10)
            .unwrap();
        let Some(end) = page.last() else { break };
        last = Some(end.clone());
        seen += page.len();
    }
    assert_eq!(seen, FILES);
    let took = steps(&state, &pending::page_sql(PendingStage::RemoveFiles, true));
    assert!((1..most).contains(&took), "reading took {took} steps");

    let hash = ContentHash::of(b"same");
    for n in 0..FILES {
        let claimed = state.claim_removal(Side::Target, &hash).unwrap().unwrap();
        assert_eq!(claimed.path, path(&format!("old/{n:05}")));
    }
    assert!(state.claim_removal(Side::Target, &hash).unwrap().is_none());
    let took = steps(&state, pending::UNCLAIMED);
    assert!((1..most).contains(&took), "claiming took {took} steps");
}

#[test]
fn statements_are_planned_once_whatever_is_bound_to_them() {
    let dir = TempDir::new().unwrap();
    let mut state = removals_of_one_content(&dir, 3);
    for n in 0..5 {
        let hash = ContentHash::of(&[n]);
        put(&mut state, &[row(&format!("new{n}"), "same")]);
        assert!(state.claim_removal(Side::Target, &hash).unwrap().is_none());
        assert!(state.rows_with_hash(&hash, 4).unwrap().is_empty());
    }
    let by_hash = contents::BOTH.map(contents::with_hash);
    let [recent, others] = by_hash.map(|condition| format!("{} {condition}", row::SELECT));
    for sql in [pending::UNCLAIMED, row::PUT, &recent, &others] {
        let statement = state.db().prepare_cached(sql).unwrap();
        let status = |of| statement.get_status(of);
        assert!(status(StatementStatus::Run) >= 5, "{sql}");
        assert_eq!(status(StatementStatus::RePrepare), 0, "{sql}");
    }
}

#[test]
fn a_removal_is_claimed_once_and_can_be_given_back() {
    let dir = TempDir::new().unwrap();
    let state = removals_of_one_content(&dir, 1);
    let (same, other) = (ContentHash::of(b"same"), ContentHash::of(b"other"));
    assert!(state.claim_removal(Side::Target, &other).unwrap().is_none());
    let claimed = state.claim_removal(Side::Target, &same).unwrap().unwrap();
    assert!(state.claim_removal(Side::Target, &same).unwrap().is_none());
    state.unclaim_removal(claimed.id).unwrap();
    assert_eq!(
        state.claim_removal(Side::Target, &same).unwrap(),
        Some(claimed)
    );
}

#[test]
fn content_that_survives_elsewhere_is_not_lost_however_many_files_have_it() {
    let dir = TempDir::new().unwrap();
    let mut state = removals_of_one_content(&dir, 50);
    put(&mut state, &[row("kept", "same"), row("gone", "other")]);
    state.add_pending(&[remove_file("gone", "other")]).unwrap();
    assert_eq!(state.lost_contents(Side::Target).unwrap(), 1);
}
