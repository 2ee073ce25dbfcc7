//! What counts as lost lately, told as what comes and goes.

use tempfile::TempDir;

use super::LOSSES_TOGETHER;
use crate::model::{ContentHash, Key, Kind, Side};
use crate::state::tests::{PAIR, REVERSED, expected, meta, path, pending, put, remove_file, row};
use crate::state::{PairState, PendingAction, RowChange};

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Both sides have this content at this path.
    Has(&'static str, &'static str),
    /// It is removed, and counted before that.
    Loses(&'static str, &'static str),
    /// Its removal is counted and does not happen.
    Spares(&'static str, &'static str),
    /// The same of a content that nobody knows and no row speaks of.
    LosesUnknown(&'static str),
    /// It is about to be removed in the pass that asks.
    IsToGo(&'static str, &'static str),
    /// The same of a content that nobody knows.
    IsToGoUnknown(&'static str),
    /// It is about to be brought in the pass that asks.
    IsToCome(&'static str, &'static str),
}
use Step::{Has, IsToCome, IsToGo, IsToGoUnknown, Loses, LosesUnknown, Spares};

const NOW: u64 = 1_000_000;

fn unknown(at: &str) -> crate::state::Pending {
    let mut expected = expected("x");
    expected.hash = None;
    pending(at, PendingAction::RemoveFile(expected), None)
}

impl Step {
    fn play(self, state: &mut PairState) {
        let count = |state: &mut PairState, removal| {
            state.clear_pending().unwrap();
            state.add_pending(&[removal]).unwrap();
            state.add_losses(Side::Target, NOW).unwrap();
            state.clear_pending().unwrap();
        };
        match self {
            Has(at, content) => put(state, &[row(at, content)]),
            Loses(at, content) => {
                count(state, remove_file(at, content));
                let gone = RowChange::Delete(Key::file(path(at)));
                state.apply(&[gone]).unwrap();
            }
            Spares(at, content) => count(state, remove_file(at, content)),
            LosesUnknown(at) => count(state, unknown(at)),
            IsToGo(at, content) => state.add_pending(&[remove_file(at, content)]).unwrap(),
            IsToGoUnknown(at) => state.add_pending(&[unknown(at)]).unwrap(),
            IsToCome(at, content) => {
                let creation = PendingAction::Create(meta(Kind::File));
                state
                    .add_pending(&[pending(at, creation, Some(content))])
                    .unwrap();
            }
        }
    }
}

#[test]
fn what_is_somewhere_again_was_not_lost() {
    let cases: [(&[Step], u64); 14] = [
        (&[Has("a", "1"), Loses("a", "1")], 1),
        (&[Has("a", "1"), Loses("a", "1"), Has("a", "1")], 0),
        (&[Has("a", "1"), Loses("a", "1"), Has("b", "1")], 0),
        // Another content in its place does not bring it back.
        (&[Has("a", "1"), Loses("a", "1"), Has("a", "2")], 1),
        (
            &[
                Has("a", "1"),
                Loses("a", "1"),
                Has("b", "2"),
                Loses("b", "2"),
            ],
            2,
        ),
        // To and fro.
        (
            &[
                Has("a", "1"),
                Loses("a", "1"),
                Has("a", "1"),
                Loses("a", "1"),
                Has("a", "1"),
                Loses("a", "1"),
            ],
            1,
        ),
        // All replaced, again and again.
        (
            &[
                Has("a", "1"),
                Loses("a", "1"),
                Has("a", "2"),
                Loses("a", "2"),
                Has("a", "3"),
                Loses("a", "3"),
            ],
            3,
        ),
        // A copy is left: it never was lost.
        (&[Has("a", "1"), Has("b", "1"), Loses("a", "1")], 0),
        (&[Has("a", "1"), Spares("a", "1"), Spares("a", "1")], 0),
        // Whoever asks counts it by itself.
        (&[Has("a", "1"), Spares("a", "1"), IsToGo("a", "1")], 0),
        (&[Has("a", "1"), Loses("a", "1"), IsToCome("b", "1")], 0),
        (
            &[LosesUnknown("a"), LosesUnknown("a"), LosesUnknown("b")],
            2,
        ),
        (
            &[LosesUnknown("a"), LosesUnknown("b"), IsToGoUnknown("a")],
            1,
        ),
        // Nobody knows whether it is the same.
        (&[LosesUnknown("a"), Has("a", "1")], 1),
    ];
    for (steps, due) in cases {
        let dir = TempDir::new().unwrap();
        let mut state = PairState::open(dir.path(), PAIR).unwrap();
        state.index().unwrap();
        steps.iter().for_each(|step| step.play(&mut state));
        state.take_off_losses(Side::Target).unwrap();
        let lost = |side| state.recent_losses(side, NOW).unwrap();
        assert_eq!(lost(Side::Target), due, "{steps:?}");
        assert_eq!(lost(Side::Source), 0, "{steps:?}");
    }
}

/// It is the storage that lost it, whichever side it is then.
#[test]
fn losses_are_a_storages_until_they_are_old_or_allowed() {
    let dir = TempDir::new().unwrap();
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    for step in [Has("a", "1"), Has("b", "2"), Loses("a", "1")] {
        step.play(&mut state);
    }
    let old = NOW + LOSSES_TOGETHER;
    drop(state);
    let mut state = PairState::open(dir.path(), REVERSED).unwrap();
    let lost = |state: &PairState, now| state.recent_losses(Side::Source, now).unwrap();
    assert_eq!((lost(&state, old - 1), lost(&state, old)), (1, 0));
    state.hold_losses(Side::Source, old - 1).unwrap();
    assert_eq!(lost(&state, old), 1);
    state.forgive_losses(Side::Source).unwrap();
    assert_eq!(lost(&state, old), 0);
    drop(state);

    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    state.hold_losses(Side::Target, NOW).unwrap();
    Loses("b", "2").play(&mut state);
    let lost = state.recent_losses(Side::Target, NOW).unwrap();
    assert_eq!(lost, 1, "what was allowed does not come back");
}

/// An older wl counted without saying what.
#[test]
fn what_was_counted_without_a_name_counts_until_it_is_old() {
    let dir = TempDir::new().unwrap();
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    let older = format!("INSERT INTO meta VALUES ('lost b', '30 {NOW}')");
    state.db().execute(&older, []).unwrap();
    for step in [Has("a", "1"), Loses("a", "1"), Has("a", "1")] {
        step.play(&mut state);
    }
    let lost = |state: &PairState| state.recent_losses(Side::Target, NOW).unwrap();
    assert_eq!(lost(&state), 31);
    state.take_off_losses(Side::Target).unwrap();
    assert_eq!(lost(&state), 30);
}

/// However many contents the ledger holds, each of them is looked for and no more.
#[test]
fn what_came_back_is_found_by_an_index() {
    let dir = TempDir::new().unwrap();
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    let names: Vec<_> = (0..2000).map(|n| format!("{n:05}")).collect();
    let rows: Vec<_> = names.iter().map(|name| row(name, name)).collect();
    put(&mut state, &rows);
    state.index().unwrap();
    let removals: Vec<_> = names.iter().map(|name| remove_file(name, name)).collect();
    state.add_pending(&removals).unwrap();
    state.add_losses(Side::Target, NOW).unwrap();
    assert_eq!(state.recent_losses(Side::Target, NOW).unwrap(), 2000);
    state.clear_pending().unwrap();
    let sql = crate::state::pending::found_again();
    let plan = format!("EXPLAIN QUERY PLAN {sql}");
    let mut plan = state.db().prepare(&plan).unwrap();
    let lines = plan.query_map(rusqlite::params!["b", 1, 6, "target"], |row| {
        row.get::<_, String>(3)
    });
    for line in lines.unwrap().map(Result::unwrap) {
        assert!(!line.starts_with("SCAN"), "{line}");
    }
    state.take_off_losses(Side::Target).unwrap();
    assert_eq!(state.recent_losses(Side::Target, NOW).unwrap(), 0);
    assert!(
        state
            .rows_with_hash(&ContentHash::of(b"00007"), 1)
            .unwrap()
            .len()
            == 1
    );
}
