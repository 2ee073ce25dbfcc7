//! Ending conflicts, one by one, as somebody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use wl_backends::memory::{MemoryBackend, MemoryNode};
use wl_core::model::{Direction, Mode, Outcome, RunReport, Side, Sides, SyncPath, Timestamp};
use wl_core::storage::{ErrorKind, StorageError};
use wl_core::sync::{DeleteBudget, Keep};
use wl_core::testing::{Call, Observer, Operation, observe};
use wl_test_trees::{Node, Tree};

use crate::world::{World, edit_to, read};

fn file(content: &str) -> Node {
    Node::File(content.into())
}

fn tree<const N: usize>(nodes: [(&str, Node); N]) -> Tree {
    nodes.map(|(name, node)| (name.to_owned(), node)).into()
}

async fn conflict(base: &Tree, source: &Tree, target: &Tree) -> World {
    let world = World::new();
    edit_to(&world.storages.source, base);
    edit_to(&world.storages.target, base);
    assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
    edit_to(&world.storages.source, source);
    edit_to(&world.storages.target, target);
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Conflicts, "{report:?}");
    assert_eq!(report.conflicts.len(), 1, "{report:?}");
    world
}

async fn resolve(world: &World, path: &str, keep: Keep) -> RunReport {
    let mut options = World::options(Direction::TwoWay);
    options.resolve = vec![(SyncPath::new(path).unwrap(), keep)];
    world.run(options).await.unwrap()
}

fn both(world: &World) -> Tree {
    let (source, target) = (read(&world.storages.source), read(&world.storages.target));
    assert_eq!(source, target);
    source
}

#[tokio::test]
async fn one_side_is_taken_whole() {
    let folder = |content: &str| Node::Folder(tree([("x", file(content))]));
    let pairs = [
        // Equal and unequal lengths; a link; types, each way round.
        (file("base"), file("one!"), file("two!")),
        (file("base"), file("one"), file("other")),
        (file("base"), Node::Link("one".into()), file("two!")),
        (file("base"), folder("one"), file("two!")),
        (folder("base"), file("one!"), folder("two!")),
    ];
    for (base, source, target) in pairs {
        let rest = ("rest", file("r"));
        let [base, source, target] = [base, source, target].map(|n| tree([("a", n), rest.clone()]));
        for (keep, kept) in [(Keep::Source, &source), (Keep::Target, &target)] {
            let world = conflict(&base, &source, &target).await;
            let report = resolve(&world, "a", keep).await;
            assert_eq!(
                report.result,
                Outcome::Synced,
                "{keep:?} {source:?} {target:?}: {report:?}"
            );
            assert_eq!(both(&world), *kept, "{keep:?}");
            assert_eq!(
                world.sync(Direction::TwoWay).await.changes,
                Default::default()
            );
        }
    }
}

/// A listing that breaks off.
#[derive(Debug)]
struct BreaksOff;

impl Observer for BreaksOff {
    fn before(&self, call: &Call) -> wl_core::storage::Result<()> {
        match call.operation {
            Operation::ListNext => Err(StorageError::new(ErrorKind::Other, "list", "it broke off")),
            _ => Ok(()),
        }
    }
}

/// What was refused changed nothing: each side's edits and removals are still told from the other's.
#[tokio::test]
async fn what_could_not_be_ended_is_not_forgotten() {
    let with = |d: Node| tree([("d", d), ("rest", file("r"))]);
    let mut inside: Tree = (0..60)
        .map(|n| (n.to_string(), file(&format!("content {n}"))))
        .collect();
    let base = with(Node::Folder(inside.clone()));
    let mut edited = inside.clone();
    edited.insert("3".into(), file("edited on the target"));
    let world = conflict(&base, &with(file("a file")), &with(Node::Folder(edited))).await;

    let mut options = World::options(Direction::TwoWay);
    options.resolve = vec![(SyncPath::new("d").unwrap(), Keep::Source)];
    let over = |side, storage| match side {
        Side::Target => observe(storage, Arc::new(BreaksOff)),
        Side::Source => storage,
    };
    let report = world.run_over(options, over).await.unwrap();
    assert_eq!(report.changes, Sides::default(), "{report:?}");
    assert!(!report.problems.is_empty(), "{report:?}");

    inside.remove("9");
    inside.insert("7".into(), file("edited on the source"));
    edit_to(&world.storages.source, &with(Node::Folder(inside.clone())));
    let report = world.sync(Direction::TwoWay).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    inside.insert("3".into(), file("edited on the target"));
    assert_eq!(both(&world), with(Node::Folder(inside)));
}

/// Takes this file of all that comes into a folder, and nothing else.
#[derive(Debug)]
struct TakesOnly(&'static str);

impl Observer for TakesOnly {
    fn before(&self, call: &Call) -> wl_core::storage::Result<()> {
        let path = call.path.as_ref().map(SyncPath::as_str);
        match call.operation {
            Operation::Replace if path != Some(self.0) => Err(StorageError::new(
                ErrorKind::Other,
                "replace",
                "not this one",
            )),
            _ => Ok(()),
        }
    }
}

/// What did not come yet was not removed where it is not.
#[tokio::test]
async fn a_folder_that_wins_comes_whole_though_the_run_breaks_off() {
    for keep in [Keep::Target, Keep::Both] {
        let inside: Tree = (0..9)
            .map(|n| (n.to_string(), file(&format!("content {n}"))))
            .collect();
        let with = |d: Node| tree([("d", d), ("rest", file("r"))]);
        let mut edited = inside.clone();
        edited.insert("3".into(), file("edited on the target"));
        let target = with(Node::Folder(edited.clone()));
        let world = conflict(&with(Node::Folder(inside)), &with(file("a file")), &target).await;
        let mut options = World::options(Direction::TwoWay);
        options.resolve = vec![(SyncPath::new("d").unwrap(), keep)];
        let around = |side, storage| match side {
            Side::Source => observe(storage, Arc::new(TakesOnly("d/5"))),
            Side::Target => storage,
        };
        let report = world.run_over(options, around).await.unwrap();
        assert_eq!(report.result, Outcome::Failed, "{report:?}");
        assert!(world.storages.source.read_file("d/5").is_some());
        assert!(world.storages.source.read_file("d/6").is_none());
        world.sync(Direction::TwoWay).await;
        assert_eq!(both(&world)["d"], Node::Folder(edited), "{keep:?}");
    }
}

/// Somebody who leaves everything out by the source's rules while the target is listed.
#[derive(Debug)]
struct LeavesOut {
    source: MemoryBackend,
    armed: AtomicBool,
}

impl Observer for LeavesOut {
    fn before(&self, call: &Call) -> wl_core::storage::Result<()> {
        if call.operation == Operation::List && self.armed.swap(false, SeqCst) {
            self.source.write_file(".wlignore", "*\n").unwrap();
        }
        Ok(())
    }
}

/// What is left out is not touched, though the rule came while the run went on.
#[tokio::test]
async fn a_conflict_that_a_rule_leaves_out_meanwhile_is_not_ended() {
    for (name, keep) in [
        ("a.txt", Keep::Source),
        ("a.txt", Keep::Target),
        ("a.txt", Keep::Both),
        ("a.txt", Keep::Newer),
        (".git", Keep::Source),
        (".git", Keep::Target),
    ] {
        let [base, mut source, target] = ["base", "one!", "two"].map(|content| match name {
            ".git" => tree([(".git", Node::Folder(tree([("config", file(content))])))]),
            name => tree([(name, file(content))]),
        });
        let world = conflict(&base, &source, &target).await;
        let leaves = Arc::new(LeavesOut {
            source: world.storages.source.clone(),
            armed: AtomicBool::new(true),
        });
        let mut options = World::options(Direction::TwoWay);
        options.resolve = vec![(SyncPath::new(name).unwrap(), keep)];
        let over = |side, storage| match side {
            Side::Target => observe(storage, Arc::clone(&leaves) as _),
            Side::Source => storage,
        };
        let report = world.run_over(options, over).await.unwrap();
        assert!(!leaves.armed.load(SeqCst));
        assert_eq!(report.problems.len(), 1, "{report:?}");
        assert!(report.problems[0].reason.contains("left out"), "{report:?}");
        source.insert(".wlignore".into(), file("*\n"));
        assert_eq!(read(&world.storages.source), source, "{keep:?}");
        assert_eq!(read(&world.storages.target), target, "{keep:?}");
    }
}

#[tokio::test]
async fn both_are_kept_beside_each_other() {
    let contents = tree([("a.txt", file("base"))]);
    let [source, target] = ["one!", "two!"].map(|content| tree([("a.txt", file(content))]));
    let world = conflict(&contents, &source, &target).await;
    let report = resolve(&world, "a.txt", Keep::Both).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    let kept = both(&world);
    assert_eq!(kept["a.txt"], file("one!"));
    let (name, node) = kept.iter().find(|(name, _)| *name != "a.txt").unwrap();
    assert!(
        name.starts_with("a.conflict-") && name.ends_with(".txt"),
        "{name}"
    );
    assert_eq!(*node, file("two!"));

    // The same version comes again: the name is taken, and the next one is not.
    edit_to(
        &world.storages.source,
        &tree([("a.txt", file("three")), (name, node.clone())]),
    );
    edit_to(
        &world.storages.target,
        &tree([("a.txt", file("two!")), (name, node.clone())]),
    );
    assert_eq!(
        world.sync(Direction::TwoWay).await.result,
        Outcome::Conflicts
    );
    let report = resolve(&world, "a.txt", Keep::Both).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    let again = both(&world);
    assert_eq!(again.len(), 3, "{again:?}");
    assert_eq!(again.values().filter(|it| *it == node).count(), 2);

    // A folder stays where it is; the file goes beside it.
    let folder = tree([("a.txt", Node::Folder(tree([("x", file("in"))])))]);
    let world = conflict(&contents, &source, &folder).await;
    let report = resolve(&world, "a.txt", Keep::Both).await;
    assert_eq!(report.result, Outcome::Synced, "{report:?}");
    let kept = both(&world);
    assert_eq!(kept["a.txt"], folder["a.txt"]);
    assert_eq!(
        kept.values().filter(|node| **node == file("one!")).count(),
        1
    );
}

#[tokio::test]
async fn the_newer_is_kept_where_that_can_be_told() {
    let base = tree([("a", file("base"))]);
    let [source, target] = ["one!", "two!"].map(|content| tree([("a", file(content))]));
    let time = |secs| Timestamp { secs, nanos: 0 };
    for (of_source, of_target, wanted) in [(1, 2, Some("two!")), (2, 1, Some("one!")), (1, 1, None)]
    {
        let world = conflict(&base, &source, &target).await;
        world.storages.source.touch("a", time(of_source)).unwrap();
        world.storages.target.touch("a", time(of_target)).unwrap();
        let report = resolve(&world, "a", Keep::Newer).await;
        match wanted {
            Some(content) => assert_eq!(both(&world), tree([("a", file(content))]), "{report:?}"),
            None => {
                assert_eq!(report.result, Outcome::Failed, "{report:?}");
                assert_eq!(
                    (report.conflicts.len(), report.problems.len()),
                    (1, 1),
                    "{report:?}"
                );
            }
        }
    }
}

fn mode(world: &World, side: Side) -> Option<u32> {
    match &world.storages[side].snapshot()["a"] {
        MemoryNode::File { mode, .. } => mode.map(Mode::bits),
        _ => None,
    }
}

#[tokio::test]
async fn modes_are_taken_from_one_side() {
    for (keep, bits) in [(Keep::Source, 0o600), (Keep::Target, 0o666)] {
        let world = World::new();
        world.storages.source.write_file("a", "1").unwrap();
        world.storages.source.chmod("a", Mode::new(0o640)).unwrap();
        assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
        world.storages.source.chmod("a", Mode::new(0o600)).unwrap();
        world.storages.target.chmod("a", Mode::new(0o666)).unwrap();
        assert_eq!(
            world.sync(Direction::TwoWay).await.result,
            Outcome::Conflicts
        );
        let report = resolve(&world, "a", keep).await;
        assert_eq!(report.result, Outcome::Synced, "{keep:?}: {report:?}");
        for side in Side::BOTH {
            assert_eq!(mode(&world, side), Some(bits), "{keep:?} on the {side}");
        }
    }
}

/// A folder with permissions in conflict, one file in it edited on both sides, and four that the source has removed.
async fn bits_in_conflict() -> World {
    let world = World::new();
    let Sides { source, target } = &world.storages;
    for number in 0..5 {
        let path = format!("d/{number}");
        source.write_file(&path, path.as_bytes()).unwrap();
    }
    source.write_file("rest", "r").unwrap();
    source.chmod("d", Mode::new(0o755)).unwrap();
    assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
    source.chmod("d", Mode::new(0o700)).unwrap();
    target.chmod("d", Mode::new(0o750)).unwrap();
    (0..4).for_each(|number| assert!(source.remove(&format!("d/{number}")).unwrap()));
    source.write_file("d/4", "one").unwrap();
    target.write_file("d/4", "the other").unwrap();
    world
}

/// Who chose permissions gave up nothing that lies below, whatever is ended beside it.
#[tokio::test]
async fn the_end_of_a_conflict_of_modes_gives_up_no_content() {
    for wishes in [&["d"][..], &["d", "d/4"], &["d/4", "d"]] {
        for (most, removed) in [(3, 0), (4, 4)] {
            let world = bits_in_conflict().await;
            let wish = |path: &&str| (SyncPath::new(*path).unwrap(), Keep::Target);
            let mut options = World::options(Direction::TwoWay);
            options.resolve = wishes.iter().map(wish).collect();
            options.max_delete = DeleteBudget::Count(most);
            let report = world.run(options).await.unwrap();
            let class = report.error.as_ref().map(|error| &*error.class);
            let wanted = (removed == 0).then_some("delete-budget");
            assert_eq!(class, wanted, "{wishes:?} {report:?}");
            assert_eq!(report.changes.target.removed, removed, "{report:?}");
            let content = match wishes.len() {
                1 => "one",
                _ => "the other",
            };
            let source = &world.storages.source;
            assert_eq!(source.read_file("d/4").unwrap(), content.as_bytes());
        }
    }
}

/// It is said that nothing was changed.
#[tokio::test]
async fn nothing_happens_below_a_folder_without_a_conflict() {
    let world = bits_in_conflict().await;
    let bits = Mode::new(0o755);
    world
        .storages
        .as_ref()
        .map(|side| side.chmod("d", bits).unwrap());
    let before = world.storages.as_ref().map(read);
    let report = resolve(&world, "d", Keep::Target).await;
    assert_eq!(report.problems.len(), 1, "{report:?}");
    assert_eq!(report.changes, Sides::default(), "{report:?}");
    assert_eq!(world.storages.as_ref().map(read), before);
}

/// It goes to the other side with the next run, and nothing of it is undone.
#[tokio::test]
async fn a_change_of_type_that_is_no_conflict_is_not_ended() {
    let new: Tree = (0..40)
        .map(|n| (n.to_string(), file(&format!("new {n}"))))
        .collect();
    for side in Side::BOTH {
        for keep in [Keep::Source, Keep::Target, Keep::Both, Keep::Newer] {
            let base = tree([("p", file("base")), ("rest", file("r"))]);
            let retyped = tree([("p", Node::Folder(new.clone())), ("rest", file("r"))]);
            let world = World::new();
            edit_to(&world.storages.source, &base);
            assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
            edit_to(&world.storages[side], &retyped);
            let report = resolve(&world, "p", keep).await;
            assert_eq!(report.problems.len(), 1, "{report:?}");
            assert!(report.problems[0].reason.contains("no conflict"));
            assert_eq!(read(&world.storages[side]), retyped);
            assert_eq!(read(&world.storages[side.other()]), base);
            assert_eq!(world.sync(Direction::TwoWay).await.result, Outcome::Synced);
            assert_eq!(both(&world), retyped);
        }
    }
}

/// Names that leave no room for what would lie beside a database, and paths that are named twice or in any order.
#[tokio::test]
async fn conflicts_are_ended_whatever_their_names_and_order() {
    let long = "n".repeat(252);
    for wishes in [
        vec![&*long, "d/x", "a"],
        vec!["a", "a", "d/x", &*long, "a"],
        vec!["d/x", "a", "d/x", &*long],
    ] {
        let with = |content: &str| {
            let inside = tree([("x", file(content))]);
            tree([
                (&*long, file(content)),
                ("d", Node::Folder(inside)),
                ("a", file(content)),
            ])
        };
        let world = World::new();
        edit_to(&world.storages.source, &with("base"));
        world.sync(Direction::TwoWay).await;
        edit_to(&world.storages.source, &with("one"));
        edit_to(&world.storages.target, &with("the other"));
        assert_eq!(world.sync(Direction::TwoWay).await.conflicts.len(), 3);
        let mut options = World::options(Direction::TwoWay);
        let wish = |path: &str| (SyncPath::new(path).unwrap(), Keep::Target);
        options.resolve = wishes.into_iter().map(wish).collect();
        let refuses = |_, storage| observe(storage, Arc::new(NoLongName));
        let report = world.run_over(options, refuses).await.unwrap();
        assert_eq!(report.result, Outcome::Synced, "{report:?}");
        assert_eq!(both(&world), with("the other"));
    }
}

/// As file systems do.
#[derive(Debug)]
struct NoLongName;

impl Observer for NoLongName {
    fn before(&self, call: &Call) -> wl_core::storage::Result<()> {
        match &call.path {
            Some(path) if path.name().len() > 255 => Err(StorageError::new(
                ErrorKind::Unrepresentable,
                "list",
                "too long",
            )),
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn what_was_not_chosen_is_in_the_trash() {
    use wl_core::storage::StorageBackend;
    let base = tree([("a", file("base"))]);
    let [source, target] = ["one!", "two!"].map(|content| tree([("a", file(content))]));
    let world = conflict(&base, &source, &target).await;
    resolve(&world, "a", Keep::Source).await;
    let items = world.storages.target.trash_list().await.unwrap();
    let lost = wl_core::model::ContentHash::of(b"two!");
    assert!(
        items.iter().any(|item| item.hash == Some(lost)),
        "{items:?}"
    );
}

#[tokio::test]
async fn a_path_without_a_conflict_is_told_and_nothing_is_changed() {
    let base = tree([("a", file("base")), ("b", file("same")), ("d", file("old"))]);
    let source = tree([("a", file("one")), ("b", file("same")), ("d", file("new"))]);
    let target = tree([("a", file("two!")), ("b", file("same")), ("d", file("old"))]);
    for path in ["b", "d", "nothing", "a/x"] {
        let world = conflict_beside(&base, &source, &target).await;
        for keep in [Keep::Source, Keep::Target, Keep::Both, Keep::Newer] {
            let before = world.storages.as_ref().map(read);
            let report = resolve(&world, path, keep).await;
            assert_eq!(report.result, Outcome::Failed, "{path} {keep:?}");
            assert_eq!(report.problems.len(), 1, "{report:?}");
            assert_eq!(report.problems[0].path, path);
            assert!(report.problems[0].reason.contains("no conflict"));
            assert_eq!(world.storages.as_ref().map(read), before);
            assert_eq!(report.conflicts.len(), 1, "the other stays open");
        }
        // What is named beside it is done.
        let mut options = World::options(Direction::TwoWay);
        options.resolve = [path, "a"]
            .map(|at| (SyncPath::new(at).unwrap(), Keep::Source))
            .into();
        let report = world.run(options).await.unwrap();
        assert_eq!(report.problems.len(), 1, "{report:?}");
        assert_eq!(report.conflicts, []);
        assert_eq!(world.storages.target.read_file("a").unwrap(), "one");
    }
}

/// A conflict at `a`, and `d` that only the source changed since.
async fn conflict_beside(base: &Tree, source: &Tree, target: &Tree) -> World {
    let mut before = source.clone();
    before.insert("d".to_owned(), base["d"].clone());
    let world = conflict(base, &before, target).await;
    edit_to(&world.storages.source, source);
    world
}
