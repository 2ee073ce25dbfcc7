//! Random histories: both sides are edited, a run follows, the oracle says what must be there; again and again with the baseline
//! that the runs before have left.

use proptest::prelude::*;
use wl_core::model::{Direction, Outcome, Side};
use wl_test_trees::oracle::expect;
use wl_test_trees::{Node, Tree, put, take};

use crate::world::{World, edit_to, read};

/// Few names, so that histories meet; odd ones, so that the order is tried.
const NAMES: [&str; 6] = ["a", "a-", "a b", "é", "-n\n", "z.txt"];

#[derive(Clone, Debug)]
pub enum Edit {
    Write(Vec<usize>, String),
    Link(Vec<usize>, String),
    Folder(Vec<usize>),
    Remove(Vec<usize>),
    Move(Vec<usize>, Vec<usize>),
}

#[derive(Clone, Debug)]
pub enum Step {
    Edit(bool, Edit),
    Sync,
    /// The baseline is lost.
    Forget,
}

fn path() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..NAMES.len(), 1..4)
}

fn edit() -> impl Strategy<Value = Edit> {
    // Equal lengths with unequal content, equal content at several paths, and nothing at all.
    let content = prop_oneof!["[ab]{3}", Just(String::new()), "[ab]{1,5}"];
    prop_oneof![
        4 => (path(), content).prop_map(|(path, content)| Edit::Write(path, content)),
        1 => (path(), "[ab]").prop_map(|(path, target)| Edit::Link(path, target)),
        1 => path().prop_map(Edit::Folder),
        3 => path().prop_map(Edit::Remove),
        3 => (path(), path()).prop_map(|(from, to)| Edit::Move(from, to)),
    ]
}

pub fn history() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (any::<bool>(), edit()).prop_map(|(source, edit)| Step::Edit(source, edit)),
        2 => Just(Step::Sync),
        1 => Just(Step::Forget),
    ];
    prop::collection::vec(step, 1..24)
}

thread_local! {
    /// The names that edits mean on this thread.
    static IN_USE: std::cell::Cell<[&'static str; 6]> = const { std::cell::Cell::new(NAMES) };
}

/// Does `work` with other names.
pub fn with_names(names: [&'static str; 6], work: impl FnOnce()) {
    IN_USE.set(names);
    work();
    IN_USE.set(NAMES);
}

pub fn names(path: &[usize]) -> Vec<&'static str> {
    path.iter().map(|&name| IN_USE.get()[name]).collect()
}

pub fn apply(tree: &mut Tree, edit: &Edit) {
    let mut put = |path: &[usize], node| put(tree, &names(path), node);
    match edit {
        Edit::Write(path, content) => put(path, Node::File(content.clone())),
        Edit::Link(path, target) => put(path, Node::Link(target.clone())),
        Edit::Folder(path) => put(path, Node::Folder(Tree::new())),
        Edit::Remove(path) => {
            take(tree, &names(path));
        }
        Edit::Move(from, to) => {
            if let Some(node) = take(tree, &names(from)) {
                wl_test_trees::put(tree, &names(to), node);
            }
        }
    }
}

async fn play(world: World, direction: Direction, history: Vec<Step>) {
    let mut base = Tree::new();
    for step in history.into_iter().chain([Step::Sync]) {
        match step {
            Step::Edit(source, edit) => {
                let side = if source { Side::Source } else { Side::Target };
                let mut tree = read(&world.storages[side]);
                apply(&mut tree, &edit);
                edit_to(&world.storages[side], &tree);
            }
            Step::Forget => {
                world.forget();
                base = Tree::new();
            }
            Step::Sync => base = sync(&world, direction, base).await,
        }
    }
}

async fn sync(world: &World, direction: Direction, base: Tree) -> Tree {
    let (source, target) = (read(&world.storages.source), read(&world.storages.target));
    let expected = expect(direction, &base, &source, &target);
    let report = world.sync(direction).await;
    let case = || format!("base {base:?}\nsource {source:?}\ntarget {target:?}\n{report:?}");
    assert_eq!(
        read(&world.storages.source),
        expected.source,
        "source of\n{}",
        case()
    );
    assert_eq!(
        read(&world.storages.target),
        expected.target,
        "target of\n{}",
        case()
    );
    let conflicts: std::collections::BTreeSet<_> = report
        .conflicts
        .iter()
        .map(|conflict| conflict.path.clone())
        .collect();
    assert_eq!(conflicts, expected.conflicts, "conflicts of\n{}", case());
    assert!(report.problems.is_empty(), "problems of\n{}", case());
    let in_sync = report.result == Outcome::Synced;
    assert_eq!(in_sync, conflicts.is_empty(), "{}", case());
    if in_sync && direction != Direction::OneWay {
        assert_eq!(
            expected.source,
            expected.target,
            "synced, but not equal\n{}",
            case()
        );
    }
    expected.base
}

pub fn run(direction: Direction, history: Vec<Step>) {
    run_in(World::new(), direction, history);
}

fn run_in(world: World, direction: Direction, history: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(play(world, direction, history));
}

/// The history with a content of its own in every edit. What was never read cannot be told to be the same as before: a version with
/// the old content is a change to storages that copy by themselves.
fn without_touches(history: Vec<Step>) -> Vec<Step> {
    let steps = history.into_iter().enumerate();
    let steps = steps.filter_map(|(number, step)| match step {
        Step::Edit(source, Edit::Write(path, content)) => {
            let content = format!("{content}{number}");
            Some(Step::Edit(source, Edit::Write(path, content)))
        }
        Step::Edit(_, Edit::Move(..)) => None,
        step => Some(step),
    });
    steps.collect()
}

pub fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    }
}

/// Histories for as many minutes as `WL_SOAK_MINUTES` says.
#[test]
#[ignore = "runs for minutes: cargo xtask soak --minutes N"]
fn soak_histories() {
    let minutes = std::env::var("WL_SOAK_MINUTES")
        .ok()
        .and_then(|text| text.parse().ok());
    let end =
        std::time::Instant::now() + std::time::Duration::from_secs(60 * minutes.unwrap_or(1_u64));
    let mut runner = proptest::test_runner::TestRunner::new(config(500));
    while std::time::Instant::now() < end {
        for direction in [Direction::TwoWay, Direction::OneWay, Direction::Mirror] {
            runner
                .run(&history(), |history| {
                    run(direction, history);
                    Ok(())
                })
                .unwrap();
        }
    }
}

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn two_way(history in history()) {
        run(Direction::TwoWay, history);
    }

    #[test]
    fn one_way(history in history()) {
        run(Direction::OneWay, history);
    }

    #[test]
    fn mirror(history in history()) {
        run(Direction::Mirror, history);
    }
    #[test]
    fn copied_by_the_storages(history in history()) {
        run_in(World::copying(), Direction::TwoWay, without_touches(history));
    }
}
