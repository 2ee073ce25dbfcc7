//! Random histories on pairs of storages with different capabilities: both sides are edited behind wl's back, the oracle says what
//! must be there.

use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use wl_daemon::model::Direction;
use wl_daemon::sync::SyncOptions;
use wl_test_trees::oracle::expect;
use wl_test_trees::{Node, Tree, put, take};

use crate::places::{Place, pruned};
use crate::world::{World, conflicts, problems, s3_server, set};
use wl_test_servers::webdav::WebDavServer;

/// Few names, so that histories meet; odd ones, so that order and escapes are tried.
const NAMES: [&str; 7] = ["a", "a-", "a b", "\u{e9}", "A", "+%2F&=", "z.txt"];
/// Never a file's name: what S3 cannot hold stays where it is, and out of the way of everything else.
const HOLLOW: &str = "hollow";
const LINK: &str = "link";

#[derive(Clone, Debug)]
enum Edit {
    Write(Vec<usize>, String),
    Remove(Vec<usize>),
    Move(Vec<usize>, Vec<usize>),
    /// An empty folder comes or goes.
    Hollow,
    /// A link comes or goes.
    Link,
}

#[derive(Clone, Debug)]
enum Step {
    Edit(bool, Edit),
    Sync,
    Forget,
}

fn path() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..NAMES.len(), 1..4)
}

fn history() -> impl Strategy<Value = Vec<Step>> {
    let content = prop_oneof![3 => "[ab]{3}", 1 => Just(String::new()), 1 => "[ab]{1,5}"];
    let edit = prop_oneof![
        8 => (path(), content).prop_map(|(path, content)| Edit::Write(path, content)),
        5 => path().prop_map(Edit::Remove),
        5 => (path(), path()).prop_map(|(from, to)| Edit::Move(from, to)),
        1 => Just(Edit::Hollow),
        1 => Just(Edit::Link),
    ];
    let step = prop_oneof![
        12 => (any::<bool>(), edit).prop_map(|(source, edit)| Step::Edit(source, edit)),
        3 => Just(Step::Sync),
        1 => Just(Step::Forget),
    ];
    prop::collection::vec(step, 3..16)
}

fn names(path: &[usize]) -> Vec<&'static str> {
    path.iter().map(|&name| NAMES[name]).collect()
}

fn apply(tree: &mut Tree, edit: &Edit, full: bool) {
    match edit {
        Edit::Write(path, content) => {
            put(tree, &names(path), Node::File(content.clone()));
        }
        Edit::Remove(path) => drop(take(tree, &names(path))),
        Edit::Move(from, to) => {
            if let Some(node) = take(tree, &names(from)) {
                put(tree, &names(to), node);
            }
        }
        Edit::Hollow if full => toggle(tree, HOLLOW, Node::Folder(Tree::new())),
        Edit::Link if full => toggle(tree, LINK, Node::Link("a".into())),
        Edit::Hollow | Edit::Link => {}
    }
    tidy(tree);
}

/// What is out of the way stays, other folders do not stay empty: S3 has none.
fn tidy(tree: &mut Tree) {
    let kept = [HOLLOW, LINK].map(|name| (name, tree.get(name).cloned()));
    *tree = pruned(tree);
    for (name, node) in kept {
        tree.extend(node.map(|node| (name.to_owned(), node)));
    }
}

fn toggle(tree: &mut Tree, name: &str, node: Node) {
    if tree.remove(name).is_none() {
        tree.insert(name.to_owned(), node);
    }
}

/// Two storages; the source may hold what the target cannot.
struct Pair {
    world: World,
    source: Place,
    target: Place,
    /// The source holds links and empty folders.
    full: bool,
}

fn play(pair: &Pair, direction: Direction, history: Vec<Step>) {
    let mut base = Tree::new();
    for step in history.into_iter().chain([Step::Sync, Step::Sync]) {
        match step {
            Step::Edit(source, edit) => {
                let place = if source { &pair.source } else { &pair.target };
                let mut tree = place.read();
                apply(&mut tree, &edit, pair.full && source);
                place.edit_to(&tree);
            }
            Step::Forget => {
                // Without a baseline an empty folder that S3 could not agree on is a type of its own.
                for place in [&pair.source, &pair.target] {
                    let mut tree = place.read();
                    tidy(&mut tree);
                    place.edit_to(&tree);
                }
                pair.world.forget();
                base = Tree::new();
            }
            Step::Sync => base = sync(pair, direction, &base),
        }
    }
}

fn sync(pair: &Pair, direction: Direction, base: &Tree) -> Tree {
    let (source, target) = (pair.source.read(), pair.target.read());
    let expected = expect(direction, base, &pruned(&source), &pruned(&target));
    let options = SyncOptions {
        direction,
        ..World::daring()
    };
    let report = pair
        .world
        .run(&pair.source.spec, &pair.target.spec, options);
    let case = || format!("base {base:?}\nsource {source:?}\ntarget {target:?}\n{report:#?}");
    let now = (pair.source.read(), pair.target.read());
    assert_eq!(pruned(&now.0), expected.source, "source of\n{}", case());
    assert_eq!(pruned(&now.1), expected.target, "target of\n{}", case());
    assert_eq!(conflicts(&report), expected.conflicts, "{}", case());
    for name in [HOLLOW, LINK] {
        assert_eq!(now.0.get(name), source.get(name), "{}", case());
    }
    let linked = match source.contains_key(LINK) {
        true => set([LINK]),
        false => set([]),
    };
    assert_eq!(problems(&report), linked, "{}", case());
    expected.base
}

static NUMBER: AtomicU64 = AtomicU64::new(0);

fn run(direction: Direction, cases: u32, pair: impl Fn(World, &str) -> Pair) {
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    // The server is tried out once; each history knows what came out.
    let known = World::new();
    let result = runner.run(&history(), |history| {
        let name = format!("h{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let world = World::new();
        let servers = known.at("servers.json");
        let state = world.folder("base/state");
        if servers.exists() {
            std::fs::copy(&servers, state.join("servers.json")).unwrap();
        }
        let pair = pair(world, &name);
        play(&pair, direction, history);
        if let Err(error) = std::fs::copy(pair.world.at("base/state/servers.json"), &servers) {
            panic!("nothing is known of the server: {error}");
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

fn local_and_s3(direction: Direction, cases: u32) {
    let server = s3_server();
    run(direction, cases, |world, name| Pair {
        source: Place::local(&world.folder("a")),
        target: Place::s3(&server, name),
        full: true,
        world,
    });
}

#[test]
fn two_way_local_and_s3() {
    local_and_s3(Direction::TwoWay, 40);
}

#[test]
fn one_way_local_and_s3() {
    local_and_s3(Direction::OneWay, 15);
}

#[test]
fn mirror_local_and_s3() {
    local_and_s3(Direction::Mirror, 15);
}

#[test]
fn two_way_s3_and_webdav() {
    let (server, webdav) = (s3_server(), WebDavServer::start_blocking());
    run(Direction::TwoWay, 25, |world, name| Pair {
        source: Place::s3(&server, name),
        target: Place::webdav(&webdav, name),
        full: false,
        world,
    });
}

#[test]
fn two_way_s3_and_s3() {
    let (server, other) = (s3_server(), s3_server());
    run(Direction::TwoWay, 15, |world, name| Pair {
        source: Place::s3(&server, name),
        target: Place::s3(&other, name),
        full: false,
        world,
    });
}
