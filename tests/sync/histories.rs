//! Random histories: both sides are edited, a run follows, the oracle says what must be there; again and again with the baseline
//! that the runs before have left.

use proptest::prelude::*;
use wl_core::filter::{MaxSize, Origin, Rule};
use wl_core::model::{Direction, Outcome, RunReport, Side, Sides};
use wl_core::sync::SyncOptions;
use wl_test_trees::oracle::{Expected, expect};
use wl_test_trees::{Node, Tree, put, take};

use crate::world::{World, edit_to, read};

/// Few names, so that histories meet; odd ones, so that the order is tried.
const NAMES: [&str; 6] = ["a", "a-", "a b", "é", "-n\n", "z.txt"];

/// What some runs leave out at the roots: a file in one moment, a folder in the next.
const LEFT_OUT: &str = "z.txt";

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
    /// A run that leaves out what is at [`LEFT_OUT`].
    Filtered,
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
        1 => Just(Step::Filtered),
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
            Step::Filtered => base = filtered(&world, direction, base).await,
        }
    }
}

async fn sync(world: &World, direction: Direction, base: Tree) -> Tree {
    let (source, target) = (read(&world.storages.source), read(&world.storages.target));
    let expected = expect(direction, &base, &source, &target);
    let report = world.sync(direction).await;
    check(world, &report, &[&base, &source, &target], &expected);
    if report.result == Outcome::Synced && direction != Direction::OneWay {
        assert_eq!(expected.source, expected.target, "synced, but not equal");
    }
    expected.base
}

/// A run that leaves something out is one without it on either side; its baseline is as it was.
async fn filtered(world: &World, direction: Direction, mut base: Tree) -> Tree {
    let (mut source, mut target) = (read(&world.storages.source), read(&world.storages.target));
    let left_out = [&mut source, &mut target, &mut base].map(|tree| tree.remove(LEFT_OUT));
    let mut expected = expect(direction, &base, &source, &target);
    let report = world
        .run(without(direction, &format!("/{LEFT_OUT}")))
        .await
        .unwrap();
    let [of_source, of_target, of_base] = left_out;
    // What is gone on both sides is forgotten.
    let kept = of_base.filter(|_| of_source.is_some() || of_target.is_some());
    for (tree, node) in [
        (&mut expected.source, of_source),
        (&mut expected.target, of_target),
        (&mut expected.base, kept),
    ] {
        tree.extend(node.map(|node| (LEFT_OUT.to_owned(), node)));
    }
    let inputs = [&base, &source, &target];
    check(world, &report, &inputs, &expected);
    expected.base
}

fn without(direction: Direction, line: &str) -> SyncOptions {
    let mut options = World::options(direction);
    options.exclude.rules = vec![Rule::exclude(line, Origin::CommandLine)];
    options
}

/// Whether a run came to what it must come to.
fn check(
    world: &World,
    report: &RunReport,
    [base, source, target]: &[&Tree; 3],
    expected: &Expected,
) {
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
}

/// What lies at or below names that are left out, or is larger than `max`.
fn left_out(at: &str, tree: &Tree, max: usize) -> Vec<(String, Node)> {
    let mut found = Vec::new();
    for (name, node) in tree {
        let path = format!("{at}/{name}");
        match node {
            _ if name == LEFT_OUT => found.push((path, node.clone())),
            Node::File(content) if content.len() > max => found.push((path, node.clone())),
            Node::Folder(inside) => found.extend(left_out(&path, inside, max)),
            _ => {}
        }
    }
    found
}

/// Runs that leave out names and large files anywhere: those stay as they are on each side, and a second run finds nothing to do.
async fn play_nested(world: World, direction: Direction, history: Vec<Step>) {
    let max = 3;
    let mut options = without(direction, LEFT_OUT);
    options.exclude.max_size = Some(MaxSize(max));
    let all = |side| left_out("", &read(&world.storages[side]), max as usize);
    for step in history.into_iter().chain([Step::Filtered]) {
        match step {
            Step::Edit(source, edit) => {
                let side = if source { Side::Source } else { Side::Target };
                let mut tree = read(&world.storages[side]);
                apply(&mut tree, &edit);
                edit_to(&world.storages[side], &tree);
            }
            Step::Forget => world.forget(),
            Step::Sync => drop(world.sync(direction).await),
            Step::Filtered => {
                let before = Sides::from_fn(all);
                let first = world.run(options.clone()).await.unwrap();
                assert_eq!(Sides::from_fn(all), before, "{first:?}");
                assert!(first.problems.is_empty(), "{first:?}");
                let second = world.run(options.clone()).await.unwrap();
                assert_eq!(
                    second.changes,
                    Sides::default(),
                    "after {first:?}\n{second:?}"
                );
                assert_eq!(Sides::from_fn(all), before, "{second:?}");
            }
        }
    }
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

fn run_nested(direction: Direction, history: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(play_nested(World::new(), direction, history));
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
    fn what_is_left_out_anywhere_stays_as_it_is(history in history(), way in 0..3_usize) {
        let ways = [Direction::TwoWay, Direction::OneWay, Direction::Mirror];
        run_nested(ways[way], history);
    }

    #[test]
    fn copied_by_the_storages(history in history()) {
        run_in(World::copying(), Direction::TwoWay, without_touches(history));
    }
}
