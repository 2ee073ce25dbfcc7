//! Every call of a run fails in turn, before it is done and after (a lost reply); every listing is cut at every row. Nothing is lost,
//! and the next run heals without help.

use std::collections::BTreeSet;

use wl_backends::memory::{MemoryBackend, MemoryNode};
use wl_core::model::{Direction, Outcome, Side, SyncPath};
use wl_core::storage::{ErrorKind, StorageBackend};
use wl_core::testing::{Fault, Faults, When};
use wl_test_trees::oracle::{Expected, expect};
use wl_test_trees::{Node, Tree};

use crate::world::{World, edit_to, read};

fn file(content: &str) -> Node {
    Node::File(content.into())
}

fn folder<const N: usize>(nodes: [(&str, Node); N]) -> Node {
    Node::Folder(nodes.map(|(name, node)| (name.to_owned(), node)).into())
}

fn tree<const N: usize>(nodes: [(&str, Node); N]) -> Tree {
    nodes.map(|(name, node)| (name.to_owned(), node)).into()
}

fn large(mark: char) -> Node {
    Node::File(mark.to_string().repeat(300 * 1024))
}

/// What both agreed on, and what each side made of it: every kind of step is in it.
fn story() -> (Tree, Tree, Tree) {
    let base = tree([
        ("edited", file("1")),
        ("removed", file("2")),
        ("moved", file("3")),
        ("touched", file("4")),
        ("kept", folder([("edited", file("5")), ("gone", file("6"))])),
        (
            "gone",
            folder([("a", file("7")), ("b", folder([("c", file("8"))]))]),
        ),
        ("becomes a folder", file("9")),
        ("becomes a file", folder([("x", file("10"))])),
        ("large", large('a')),
        ("link", Node::Link("here".into())),
    ]);
    let source = tree([
        ("edited", file("1 by source")),
        ("new place", folder([("moved", file("3"))])),
        ("touched", file("4")),
        ("becomes a folder", folder([("y", file("11"))])),
        ("becomes a file", file("12")),
        ("large", large('b')),
        ("link", Node::Link("there".into())),
        ("new by source", file("13")),
    ]);
    let mut target = base.clone();
    target.insert(
        "kept".into(),
        folder([("edited", file("5 by target")), ("gone", file("6"))]),
    );
    target.insert("new by target".into(), large('c'));
    (base, source, target)
}

async fn begin() -> (World, Expected) {
    let (base, source, target) = story();
    let world = World::new();
    edit_to(&world.storages.source, &base);
    edit_to(&world.storages.target, &base);
    assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
    edit_to(&world.storages.source, &source);
    edit_to(&world.storages.target, &target);
    // The same content again: a new token, no change.
    world.storages.source.write_file("touched", "4").unwrap();
    (world, expect(Direction::TwoWay, &base, &source, &target))
}

/// Every content that is somewhere: in a tree or in a trash.
async fn contents(world: &World) -> BTreeSet<Vec<u8>> {
    let mut all = BTreeSet::new();
    for side in Side::BOTH {
        all.extend(tree_contents(&world.storages[side]));
        let storage = &world.storages[side];
        for item in storage.trash_list().await.unwrap() {
            let to = SyncPath::new(format!("restored {}", item.id.0.replace('/', " "))).unwrap();
            let scratch = storage.clone();
            scratch.trash_restore(&item.id, &to).await.unwrap();
        }
        all.extend(tree_contents(storage));
    }
    all
}

fn tree_contents(storage: &MemoryBackend) -> Vec<Vec<u8>> {
    let files = storage.snapshot().into_values();
    files
        .filter_map(|node| match node {
            MemoryNode::File { content, .. } => Some(content.to_vec()),
            _ => None,
        })
        .collect()
}

async fn check_nothing_lost(world: &World, before: &BTreeSet<Vec<u8>>, case: &str) {
    let after = contents(world).await;
    let lost: Vec<_> = before
        .difference(&after)
        .map(|content| content.len())
        .collect();
    assert!(
        lost.is_empty(),
        "{case}: contents of these lengths are nowhere: {lost:?}"
    );
}

async fn heals(world: &World, expected: &Expected, case: &str) {
    let mut report = world.sync(Direction::TwoWay).await;
    if report.result != Outcome::Synced {
        report = world.sync(Direction::TwoWay).await;
    }
    assert_eq!(report.result, Outcome::Synced, "{case}: {report:?}");
    assert!(
        read(&world.storages.source) == expected.source,
        "{case}: the source did not heal"
    );
    assert!(
        read(&world.storages.target) == expected.target,
        "{case}: the target did not heal"
    );
    let again = world.sync(Direction::TwoWay).await;
    assert_eq!(
        again.changes,
        Default::default(),
        "{case}: it was not at rest"
    );
}

/// Runs with `fault`; returns whether it fired.
async fn strike(fault: Fault) -> bool {
    let case = format!("{fault:?}");
    let faults = Faults::new([fault]);
    let (world, expected) = begin().await;
    let before: BTreeSet<_> = Side::BOTH
        .into_iter()
        .flat_map(|side| tree_contents(&world.storages[side]))
        .collect();
    let result = world
        .run_over(World::options(Direction::TwoWay), |_, s| faults.over(s))
        .await;
    let fired = faults.unfired().is_empty();
    if fired && let Ok(report) = &result {
        let healed = read(&world.storages.source) == read(&world.storages.target);
        assert!(
            report.result != Outcome::Synced || healed,
            "{case}: SYNCED was not true"
        );
    }
    heals(&world, &expected, &case).await;
    check_nothing_lost(&world, &before, &case).await;
    fired
}

#[tokio::test]
async fn every_call_fails_before_it_is_done() {
    every_call(When::Before, 1).await;
}

#[tokio::test]
async fn every_reply_is_lost() {
    every_call(When::After, 1).await;
}

async fn every_call(when: When, least: u64) {
    let faults = Faults::new([]);
    let (world, _) = begin().await;
    world
        .run_over(World::options(Direction::TwoWay), |_, s| faults.over(s))
        .await
        .unwrap();
    let calls = faults.calls();
    let mut fired = 0;
    for number in 1..=calls {
        for kind in [ErrorKind::Other, ErrorKind::Full] {
            fired += u64::from(strike(Fault::Call { number, kind, when }).await);
        }
    }
    // Which call has which number depends on who is first; a run that ends early has fewer.
    assert!(
        calls > 40 && fired >= least * calls,
        "{fired} of {calls} fired"
    );
}

#[tokio::test]
async fn every_listing_is_cut_at_every_row() {
    let (world, _) = begin().await;
    let most = Side::BOTH
        .map(|side| world.storages[side].snapshot().len())
        .into_iter()
        .max();
    for side in Side::BOTH {
        for rows in 0..=most.unwrap() {
            cut(side, rows).await;
        }
    }
}

async fn cut(side: Side, rows: usize) {
    let cut = Fault::CutListing {
        listing: 1,
        rows,
        kind: ErrorKind::Other,
    };
    let faults = Faults::new([cut]);
    let (world, _) = begin().await;
    let before = [read(&world.storages.source), read(&world.storages.target)];
    let options = World::options(Direction::TwoWay);
    let around = |at, storage| {
        if at == side {
            faults.over(storage)
        } else {
            storage
        }
    };
    let report = world.run_over(options, around).await.unwrap();
    faults.assert_all_fired();
    assert_eq!(report.result, Outcome::Failed, "{cut:?}");
    let removed = report.changes.source.removed + report.changes.target.removed;
    assert_eq!(removed, 0, "{cut:?}: a removal without proof of absence");
    let after = [read(&world.storages.source), read(&world.storages.target)];
    for (before, after) in before.iter().zip(&after) {
        assert!(
            before.keys().all(|name| after.contains_key(name)),
            "{cut:?}"
        );
    }
    let (world, expected) = begin().await;
    let faults = Faults::new([cut]);
    let around = |at, storage| {
        if at == side {
            faults.over(storage)
        } else {
            storage
        }
    };
    world
        .run_over(World::options(Direction::TwoWay), around)
        .await
        .unwrap();
    heals(&world, &expected, &format!("{cut:?}")).await;
}
