//! All small trees: depth 2, three contents, both sides and the baseline, every direction.

use std::collections::BTreeSet;

use wl_core::model::{Direction, Outcome, RunReport};
use wl_test_trees::oracle::expect;
use wl_test_trees::{Node, Tree};

use crate::world::{World, edit_to, read};

fn file(content: &str) -> Node {
    Node::File(content.into())
}

fn folder(name: &str, node: Option<Node>) -> Node {
    Node::Folder(
        node.map(|node| (name.to_owned(), node))
            .into_iter()
            .collect(),
    )
}

/// What can be at one path: nothing, three contents, a link, an empty folder, a folder with each of these.
fn shapes() -> Vec<Option<Node>> {
    let contents = ["one", "two", "4567"].map(|content| Some(file(content)));
    let mut shapes = vec![None];
    shapes.extend(contents.clone());
    shapes.push(Some(Node::Link("there".into())));
    shapes.push(Some(folder("b", None)));
    shapes.extend(contents.map(|content| Some(folder("b", content))));
    shapes.push(Some(folder("b", Some(folder("c", None)))));
    shapes
}

fn tree(shape: Option<&Node>) -> Tree {
    // A neighbour that never changes, so that no side is ever empty, and names that sort between `a` and `a/`.
    let mut tree = Tree::from([("a-".to_owned(), file("neighbour"))]);
    tree.extend(shape.map(|node| ("a".to_owned(), node.clone())));
    tree
}

async fn check(world: &World, direction: Direction, base: &Tree, source: &Tree, target: &Tree) {
    let case = format!("{direction:?}\nbase   {base:?}\nsource {source:?}\ntarget {target:?}");
    begin(world, base).await;
    edit_to(&world.storages.source, source);
    edit_to(&world.storages.target, target);
    let rehearsed = rehearse(world, direction, &case, source, target).await;

    let expected = expect(direction, base, source, target);
    let report = world.sync(direction).await;
    assert_eq!(
        read(&world.storages.source),
        expected.source,
        "source of\n{case}\n{report:?}"
    );
    assert_eq!(
        read(&world.storages.target),
        expected.target,
        "target of\n{case}\n{report:?}"
    );
    let conflicts: BTreeSet<_> = report.conflicts.iter().map(|c| c.path.clone()).collect();
    assert_eq!(
        conflicts, expected.conflicts,
        "conflicts of\n{case}\n{report:?}"
    );
    assert!(
        report.problems.is_empty(),
        "problems of\n{case}\n{report:?}"
    );
    assert_eq!(
        rehearsed.changes, report.changes,
        "the dry run counted otherwise\n{case}"
    );
    assert_eq!(rehearsed.conflicts.len(), report.conflicts.len(), "{case}");

    let again = world.sync(direction).await;
    assert_eq!(
        again.changes,
        Default::default(),
        "a second run changed something\n{case}"
    );
    assert_eq!(
        again.conflicts.len(),
        report.conflicts.len(),
        "a conflict went away\n{case}"
    );
}

/// Both sides agree on `base` and nothing else.
async fn begin(world: &World, base: &Tree) {
    edit_to(&world.storages.source, base);
    edit_to(&world.storages.target, base);
    world.forget();
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
}

/// A dry run, which must not touch anything.
async fn rehearse(
    world: &World,
    direction: Direction,
    case: &str,
    source: &Tree,
    target: &Tree,
) -> RunReport {
    let mut rehearsal = World::options(direction);
    rehearsal.dry_run = true;
    let report = world.run(rehearsal).await.unwrap();
    assert_eq!(
        read(&world.storages.source),
        *source,
        "a dry run changed the source\n{case}"
    );
    assert_eq!(
        read(&world.storages.target),
        *target,
        "a dry run changed the target\n{case}"
    );
    report
}

async fn all(direction: Direction) {
    let shapes = shapes();
    for base in &shapes {
        for source in &shapes {
            let world = World::new();
            for target in &shapes {
                let [base, source, target] = [base, source, target].map(|s| tree(s.as_ref()));
                check(&world, direction, &base, &source, &target).await;
            }
        }
    }
}

#[tokio::test]
async fn two_way() {
    all(Direction::TwoWay).await;
}

#[tokio::test]
async fn one_way() {
    all(Direction::OneWay).await;
}

#[tokio::test]
async fn mirror() {
    all(Direction::Mirror).await;
}
