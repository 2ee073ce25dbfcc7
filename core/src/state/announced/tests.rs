//! What becomes of the note, over runs that die.

use tempfile::TempDir;

use super::*;
use crate::model::Sides;
use crate::storage::RootMarker;

const PAIR: Sides<&str> = Sides {
    source: "memory:a",
    target: "memory:b",
};
const REVERSED: Sides<&str> = Sides {
    source: "memory:b",
    target: "memory:a",
};

fn path(text: &str) -> SyncPath {
    SyncPath::new(text).unwrap()
}

fn one(at: &str, to: Side, content: &str, was: Option<&str>) -> (SyncPath, Announced) {
    let hash = |content: &str| ContentHash::of(content.as_bytes());
    let one = Announced {
        to,
        hash: (!content.is_empty()).then(|| hash(content)),
        size: content.len() as u64,
        mode: content.is_empty().then(|| Mode::new(0o640)),
        was: was.map(hash),
        sure: true,
    };
    (path(at), one)
}

/// Opens it as the next run does: what was open in this one dies with it.
fn next(dir: &std::path::Path, was: Option<PairState>) -> PairState {
    drop(was);
    opened(dir, PAIR, ["start", "start"])
}

fn opened(dir: &std::path::Path, pair: Sides<&str>, starts: [&str; 2]) -> PairState {
    let mut state = PairState::open(dir, pair).unwrap();
    let starts = starts.map(|start| Some(start.to_owned()));
    let [source, target] = starts;
    state.read_announced(Sides::new(source, target));
    state
}

fn note(dir: &TempDir) -> PathBuf {
    let mut files = fs::read_dir(dir.path())
        .unwrap()
        .map(|it| it.unwrap().path());
    let is_note = |path: &PathBuf| path.extension().is_some_and(|end| end == "db-announced");
    files.find(is_note).unwrap()
}

fn outlives(dir: &std::path::Path) {
    let mut state = next(dir, None);
    assert!(state.left_announced().is_empty());
    let first = [
        one("a\nb", Side::Target, "1", None),
        one("c", Side::Source, "22", Some("2")),
    ];
    state.announce(&first);
    assert!(state.left_announced().is_empty(), "this run knows itself");
    let mut state = next(dir, Some(state));
    let left = state.left_announced();
    assert_eq!(left.len(), 2);
    for (at, one) in &first {
        assert_eq!(left[at], [*one]);
    }
    // The next batches of the next run, of which the last is not recorded either.
    state.announce(&[one("c", Side::Source, "3", Some("2"))]);
    state.end_announced(1);
    state.announce(&[one("c", Side::Target, "4", Some("2"))]);
    let state = next(dir, Some(state));
    let two = [first[1].1, one("c", Side::Target, "4", Some("2")).1];
    assert_eq!(state.left_announced()[&path("c")], two);
    assert_eq!(state.left_announced().len(), 2);
    // Whichever side is the source.
    drop(state);
    let state = opened(dir, REVERSED, ["start", "start"]);
    let turned = two.map(|one| one.to.other());
    let found = &state.left_announced()[&path("c")];
    assert_eq!(found.iter().map(|one| one.to).collect::<Vec<_>>(), turned);
    let mut state = next(dir, Some(state));
    // What is not decided yet stays.
    state.settle_announced(|at| *at == path("c"));
    assert_eq!(state.left_announced()[&path("c")], two);
    assert_eq!(state.left_announced().len(), 1);
    let mut state = next(dir, Some(state));
    assert_eq!(state.left_announced()[&path("c")], two);
    state.settle_announced(|_| false);
    let state = next(dir, Some(state));
    assert!(state.left_announced().is_empty());
}

#[test]
fn what_is_announced_outlives_the_run_until_it_is_recorded() {
    let dir = TempDir::new().unwrap();
    outlives(dir.path());
    assert_eq!(fs::read(note(&dir)).unwrap(), b"");
    #[cfg(feature = "testing")]
    outlives(crate::state::MemoryStates::default().dir());
}

/// With a batch open, or none; and what is beside stays.
#[test]
fn what_is_announced_in_a_tree_ends_with_its_rows() {
    for is_open in [false, true] {
        let dir = TempDir::new().unwrap();
        let mut state = next(dir.path(), None);
        let at = |at| one(at, Side::Target, "1", None);
        state.announce(&[at("d"), at("d/in/it"), at("d-not")]);
        let mut state = next(dir.path(), Some(state));
        if is_open {
            state.announce(&[at("new")]);
        }
        state.forget_tree(&path("d")).unwrap();
        if is_open {
            state.end_announced(1);
        }
        for _ in 0..2 {
            let left = state.left_announced();
            assert_eq!(left.keys().collect::<Vec<_>>(), [&path("d-not")]);
            state = next(dir.path(), Some(state));
        }
        state.begin_rehearsal().unwrap();
        state.forget_tree(&path("d-not")).unwrap();
        let state = next(dir.path(), Some(state));
        assert_eq!(state.left_announced().len(), 1, "nothing was done");
    }
}

#[test]
fn batches_may_end_in_any_order() {
    let dir = TempDir::new().unwrap();
    let mut state = next(dir.path(), None);
    state.announce(&[one("a", Side::Target, "1", None)]);
    state.announce(&[one("b", Side::Target, "1", None)]);
    state.end_announced(1);
    assert!(!fs::read(note(&dir)).unwrap().is_empty(), "one is open");
    state.end_announced(1);
    assert!(fs::read(note(&dir)).unwrap().is_empty());
}

#[test]
fn a_damaged_note_is_as_good_as_none() {
    let dir = TempDir::new().unwrap();
    let mut state = next(dir.path(), None);
    state.announce(&[one("a", Side::Target, "1", None)]);
    let at = note(&dir);
    let whole = fs::read(&at).unwrap();
    // A write that was cut off, and another run behind it.
    for cut in 0..whole.len() {
        fs::write(&at, &whole[..cut]).unwrap();
        let mut cut_off = next(dir.path(), Some(state));
        let left = cut_off.left_announced();
        assert!(left.is_empty() || cut == whole.len() - 1, "{cut}");
        cut_off.announce(&[one("b", Side::Target, "2", None)]);
        state = next(dir.path(), Some(cut_off));
        assert!(state.left_announced().contains_key(&path("b")), "{cut}");
    }
    for rubbish in [
        vec![0; 5000],
        vec![0xff; 7],
        b"[[1]]\n{}\n[]\nnull".to_vec(),
    ] {
        fs::write(&at, rubbish).unwrap();
        state = next(dir.path(), Some(state));
        assert!(state.left_announced().is_empty());
    }
    drop(state);
    fs::remove_file(&at).unwrap();
    fs::create_dir(&at).unwrap();
    let mut state = next(dir.path(), None);
    state.announce(&[one("a", Side::Target, "1", None)]);
    state.end_announced(1);
}

#[test]
fn there_is_never_more_of_it_than_a_few_batches() {
    let dir = TempDir::new().unwrap();
    let mut state = next(dir.path(), None);
    let batch: Vec<_> = (0..10_000)
        .map(|number| one(&format!("some/folder/{number}"), Side::Target, "1", None))
        .collect();
    for _ in 0..7 {
        state.announce(&batch);
        let len = fs::metadata(note(&dir)).unwrap().len();
        assert!(len < MOST + (2 << 20), "{len}");
        state = next(dir.path(), Some(state));
    }
    assert!(!state.left_announced().is_empty());
}

/// What a storage may have lost by itself nobody has removed for sure. It is about the side that had it first.
#[test]
fn after_another_start_nothing_is_sure() {
    let dir = TempDir::new().unwrap();
    let mut state = next(dir.path(), None);
    let all = [
        one("to target", Side::Target, "1", None),
        one("to source", Side::Source, "", Some("1")),
    ];
    state.announce(&all);
    drop(state);
    let sure = |starts, pair| {
        let state = opened(dir.path(), pair, starts);
        let left = state.left_announced();
        ["to target", "to source"].map(|at| left[&path(at)][0].sure)
    };
    assert_eq!(sure(["start", "start"], PAIR), [true, true]);
    assert_eq!(sure(["other", "start"], PAIR), [false, true]);
    assert_eq!(sure(["start", "other"], PAIR), [true, false]);
    assert_eq!(sure(["start", "other"], REVERSED), [false, true]);
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    state.read_announced(Sides::default());
    assert!(state.left_announced().values().all(|all| !all[0].sure));
    assert!(!state.has_sure_arrivals());
    drop(state);
    // What stays because of trouble does not become sure with that.
    let mut state = opened(dir.path(), PAIR, ["other", "start"]);
    state.settle_announced(|_| true);
    drop(state);
    assert_eq!(sure(["start", "start"], PAIR), [false, true]);
    assert_eq!(sure(["other", "start"], PAIR), [false, true]);
}

#[test]
fn a_run_that_goes_wrong_doubts_what_it_announced() {
    let dir = TempDir::new().unwrap();
    let mut state = next(dir.path(), None);
    state.announce(&[one("a", Side::Target, "1", None)]);
    state.end_announced(1);
    state.doubt_announced();
    assert_eq!(fs::read(note(&dir)).unwrap(), b"", "nothing is open");
    state.announce(&[one("a", Side::Target, "1", None)]);
    state.doubt_announced();
    let mut state = next(dir.path(), Some(state));
    assert!(!state.left_announced()[&path("a")][0].sure);
    assert!(!state.has_sure_arrivals());
    state.announce(&[one("b", Side::Target, "1", None)]);
    let state = next(dir.path(), Some(state));
    assert!(state.has_sure_arrivals(), "what came after it is");
}

/// Once there is a row again, or none for good, an old word must not be held against something that looks the same.
#[test]
fn what_is_recorded_since_is_over() {
    let dir = TempDir::new().unwrap();
    let mut state = next(dir.path(), None);
    let all = ["a", "b", "c"].map(|at| one(at, Side::Target, "1", None));
    state.announce(&all);
    let row = |at| RowChange::Delete(crate::model::Key::file(path(at)));
    let mut state = next(dir.path(), Some(state));
    state.end_announced_of(&[row("a"), row("x")]);
    let keys = |state: &PairState| {
        let left = state.left_announced();
        let mut keys: Vec<_> = left.keys().map(|path| path.as_str().to_owned()).collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(&state), ["b", "c"]);
    let mut state = next(dir.path(), Some(state));
    assert_eq!(keys(&state), ["b", "c"]);
    // While something else is open, which is cut off later.
    state.announce(&[one("d", Side::Target, "1", None)]);
    state.end_announced_of(&[row("b")]);
    let mut state = next(dir.path(), Some(state));
    assert_eq!(keys(&state), ["c", "d"]);
    state.announce(&[one("e", Side::Target, "1", None)]);
    state.end_announced_of(&[row("c")]);
    state.end_announced(1);
    let mut state = next(dir.path(), Some(state));
    assert_eq!(keys(&state), ["d"]);
    state.end_announced_of(&[row("d")]);
    let mut state = next(dir.path(), Some(state));
    assert_eq!(keys(&state), [""; 0]);
    state.announce(&all);
    assert_eq!(keys(&next(dir.path(), Some(state))), ["a", "b", "c"]);
}

#[test]
fn a_rehearsal_announces_and_forgets_nothing() {
    let dir = TempDir::new().unwrap();
    let mut state = next(dir.path(), None);
    state.announce(&[one("a", Side::Target, "1", None)]);
    let mut state = next(dir.path(), Some(state));
    let before = fs::read(note(&dir)).unwrap();
    state.begin_rehearsal().unwrap();
    state.announce(&[one("b", Side::Target, "1", None)]);
    state.end_announced(1);
    let roots = Sides::from_fn(|_| RootMarker {
        file_system: "another".to_owned(),
        folder: None,
        renumbered: false,
        start: None,
    });
    state.set_root_markers(&roots, true).unwrap();
    state.settle_announced(|_| false);
    let row = RowChange::Delete(crate::model::Key::file(path("a")));
    state.end_announced_of(&[row]);
    state.doubt_announced();
    state.end_rehearsal().unwrap();
    assert_eq!(fs::read(note(&dir)).unwrap(), before);
    // Of other roots it says nothing.
    state.set_root_markers(&roots, true).unwrap();
    assert!(next(dir.path(), Some(state)).left_announced().is_empty());
}

/// It speaks of a baseline: without that it says nothing.
#[test]
fn a_note_goes_with_its_database() {
    let dir = TempDir::new().unwrap();
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    state.announce(&[one("a", Side::Target, "1", None)]);
    drop(state);
    let note = note(&dir);
    assert!(fs::metadata(&note).unwrap().len() > 0);
    fs::remove_file(note.with_extension("db")).unwrap();
    drop(PairState::open(dir.path(), PAIR).unwrap());
    assert_eq!(fs::metadata(&note).map_or(0, |found| found.len()), 0);
}

/// What a link leads to is somebody else's.
#[test]
fn a_link_in_the_place_of_the_note_is_let_alone() {
    let dir = TempDir::new().unwrap();
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    state.announce(&[one("a", Side::Target, "1", None)]);
    drop(state);
    let (note, theirs) = (note(&dir), dir.path().join("theirs"));
    fs::remove_file(&note).unwrap();
    fs::write(&theirs, "theirs").unwrap();
    std::os::unix::fs::symlink(&theirs, &note).unwrap();
    let mut state = PairState::open(dir.path(), PAIR).unwrap();
    state.announce(&[one("a", Side::Target, "1", None)]);
    state.end_announced(1);
    assert_eq!(fs::read(&theirs).unwrap(), b"theirs");
}
