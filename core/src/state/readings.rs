//! What reads many rows, or asks whether there are any.

use tempfile::TempDir;

use super::tests::{PAIR, path, put, row};
use super::*;

/// Nobody else's commit comes between two statements, and the locks are taken once.
#[test]
fn what_is_read_in_one_reading_is_of_one_moment() {
    let dir = TempDir::new().unwrap();
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    put(&mut state, &[row("f", "one")]);
    let mut other = PairState::peek(dir.path(), PAIR).unwrap().unwrap();
    let at = |state: &PairState| state.row_at(&path("f")).unwrap().unwrap().hash;
    let one = at(&state);
    let reading = state.reading().unwrap();
    assert_eq!(at(&state), one);
    put(&mut other, &[row("f", "two")]);
    assert_eq!(at(&state), one);
    drop(reading);
    assert_ne!(at(&state), one);
    put(&mut state, &[row("f", "one")]);
    drop(state);
    let state = PairState::open(dir.path(), PAIR).unwrap();
    assert_eq!(at(&state), one, "what is written after a reading is kept");
}

#[test]
fn rows_in_a_range_and_below_a_path_are_found() {
    let dir = TempDir::new().unwrap();
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    put(
        &mut state,
        &[row("a-wal", "x"), row("b/c", "y"), row("e", "z")],
    );
    let cases = [
        ("a", false),
        ("a-wal", true),
        ("b", true),
        ("b/c", true),
        ("e", true),
        ("d", false),
    ];
    for (at, holds) in cases {
        let at = path(at);
        assert_eq!(state.holds_at_or_below(&at).unwrap(), holds, "{at}");
    }
    assert!(state.has_rows_in("a-", "a.").unwrap());
    assert!(!state.has_rows_in("b-", "b.").unwrap());
}
