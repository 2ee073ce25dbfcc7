//! Listings: complete, in order, and never saying "nothing" of what was not looked at.

use std::sync::Arc;

use super::Harness;
use super::kit::{Kit, everything, path, refused, subtrees};
use crate::model::{Key, SyncPath};
use crate::storage::{ErrorKind, Filter, ListRequest, Row, Scope};
use crate::tree;

/// Names that a listing by path instead of by key gets wrong.
const TREACHEROUS: [&str; 9] = [
    "a", "a-b", "a.txt", "a/b", "a/b0", "a/b/c", "a0", "b!", "b/x",
];

/// An empty storage gives the end mark and no row.
pub async fn an_empty_storage_lists_nothing(harness: &dyn Harness) {
    let kit = Kit::new(harness);
    assert_eq!(kit.keys(everything()).await, [""; 0]);
    assert!(kit.stat("a").await.is_none());
}

/// Every entry is a row, once, at its place: `a-b`, `a.txt`, `a/`, `a/b`, `a0`.
pub async fn a_listing_is_complete_and_in_order(harness: &dyn Harness) {
    let kit = Kit::new(harness);
    let mut tree = tree! { "b!" => "1", "b/x" => "2", "a0" => "3", "a/b/c" => "4", "a/b0" => "5",
    "a/b-" => "6", "a.txt" => "7", "a-b" => "8", "a-b-/y" => "9", "é/z" => "10" };
    tree.fill(&*kit.editor).await;
    kit.keys(everything()).await;
    tree.assert_is(&kit.backend).await;
    kit.editor.remove("a/b").await;
    tree.0.retain(|key, _| !key.starts_with("a/b/"));
    tree.file("a/b", "now a file");
    kit.editor.write("a/b", b"now a file").await;
    tree.assert_is(&kit.backend).await;
}

/// A listing longer than a batch loses no row between two, in the root or below.
pub async fn a_long_listing_comes_in_batches(harness: &dyn Harness) {
    let kit = Kit::new(harness);
    let mut wanted = Vec::new();
    for number in 0..1100 {
        let (top, below) = (format!("f{number}"), format!("m/f{number}"));
        kit.editor.write(&top, b"").await;
        kit.editor.write(&below, b"").await;
        wanted.extend([top, below]);
    }
    wanted.push("m/".to_owned());
    wanted.sort();
    let found = kit.keys(everything()).await;
    assert_eq!(found.len(), wanted.len());
    assert!(found == wanted, "the rows are not the files");
}

/// A scope gives what is named and what is below it, and nothing beside it.
pub async fn a_scope_lists_only_itself(harness: &dyn Harness) {
    let kit = Kit::new(harness);
    for name in TREACHEROUS
        .iter()
        .filter(|name| !["a", "a/b"].contains(name))
    {
        kit.editor.write(name, b"x").await;
    }
    assert_eq!(
        kit.keys(subtrees(&["a"])).await,
        ["a/", "a/b/", "a/b/c", "a/b0"]
    );
    assert_eq!(kit.keys(subtrees(&["a/b"])).await, ["a/b/", "a/b/c"]);
    assert_eq!(kit.keys(subtrees(&["a.txt"])).await, ["a.txt"]);
    let both = kit.keys(subtrees(&["a", "a-b", "a0"])).await;
    assert_eq!(both, ["a-b", "a/", "a/b/", "a/b/c", "a/b0", "a0"]);
    assert_eq!(kit.keys(subtrees(&[])).await, [""; 0]);
    let whole = ListRequest {
        scope: Scope::Subtrees(vec![SyncPath::root()]),
        ..everything()
    };
    assert_eq!(kit.keys(whole).await, kit.keys(everything()).await);
}

/// Where nothing is, the row says so: also below nothing, below a file, and among others.
pub async fn an_absent_scope_is_told(harness: &dyn Harness) {
    let kit = Kit::new(harness);
    kit.editor.write("f", b"x").await;
    kit.editor.write("d/x", b"x").await;
    assert_eq!(kit.keys(subtrees(&["gone"])).await, ["?gone"]);
    assert_eq!(kit.keys(subtrees(&["gone/a/b"])).await, ["?gone/a/b"]);
    assert_eq!(kit.keys(subtrees(&["d/gone"])).await, ["?d/gone"]);
    assert_eq!(kit.keys(subtrees(&["f/below"])).await, ["?f/below"]);
    let mixed = kit.keys(subtrees(&["c", "d", "e", "f"])).await;
    assert_eq!(mixed, ["?c", "d/", "d/x", "?e", "f"]);
}

/// Paths are looked at by themselves: in order, with what the whole listing tells of them, and without what is below them.
pub async fn paths_are_looked_at_alone(harness: &dyn Harness) {
    let kit = Kit::new(harness);
    for name in ["a/b/c", "a/x", "a-b", "f", "other"] {
        kit.editor.write(name, name.as_bytes()).await;
    }
    let named = [
        "a", "a-b", "a/b", "a/b/c", "a/gone", "f", "f/below", "gone/x",
    ];
    let request = ListRequest {
        scope: Scope::Paths(named.iter().map(|text| path(text)).collect()),
        ..everything()
    };
    let expected = [
        "a-b", "a/", "a/b/", "a/b/c", "?a/gone", "f", "?f/below", "?gone/x",
    ];
    assert_eq!(kit.keys(request.clone()).await, expected);
    let entries = |rows: Vec<Row>| -> Vec<_> {
        let there = rows.into_iter().filter_map(|row| match row {
            Row::Present(entry) => Some((entry.key(), entry.meta.kind, entry.meta.token)),
            _ => None,
        });
        there.collect()
    };
    let alone = entries(kit.rows(request).await.expect("paths are listed"));
    let all = entries(kit.rows(everything()).await.expect("everything is listed"));
    for entry in alone {
        assert!(all.contains(&entry), "{entry:?} is not in {all:?}");
    }
}

/// Rows up to and including `start_after` are not given, whether it is there or not.
pub async fn a_listing_starts_after_a_row(harness: &dyn Harness) {
    let kit = Kit::new(harness);
    for name in ["a-b", "a/b", "a/c/d", "a0", "z"] {
        kit.editor.write(name, b"x").await;
    }
    let whole = kit.keys(everything()).await;
    for after in [
        "a", "a-b", "a/", "a/b", "a/bb", "a/c", "a/c/", "a/c/d", "a0", "y/", "z", "zz",
    ] {
        let request = |request: ListRequest| ListRequest {
            start_after: Some(Key::from_text(after).unwrap()),
            ..request
        };
        let wanted: Vec<_> = whole.iter().filter(|key| key.as_str() > after).collect();
        let found = kit.keys(request(everything())).await;
        assert_eq!(found.iter().collect::<Vec<_>>(), wanted, "after {after:?}");
        let found = kit.keys(request(subtrees(&["a", "a-b", "a0", "z"]))).await;
        assert_eq!(
            found.iter().collect::<Vec<_>>(),
            wanted,
            "scoped, after {after:?}"
        );
    }
}

#[derive(Debug)]
struct Excludes(&'static str);

impl Filter for Excludes {
    fn excludes(&self, path: &SyncPath, _: bool) -> bool {
        path.name() == self.0
    }
}

fn without(name: &'static str, request: ListRequest) -> ListRequest {
    ListRequest {
        filter: Arc::new(Excludes(name)),
        ..request
    }
}

/// An excluded entry is a row at its own place, and nothing below it is.
pub async fn what_is_excluded_keeps_its_place(harness: &dyn Harness) {
    let kit = Kit::new(harness);
    for name in ["a/x/deep/er", "a/y", "a-b", "x", "z/x"] {
        kit.editor.write(name, b"1").await;
    }
    assert_eq!(
        kit.keys(without("x", everything())).await,
        ["a-b", "a/", "!a/x/", "a/y", "!x", "z/", "!z/x"]
    );
    assert_eq!(kit.keys(without("x", subtrees(&["x"]))).await, ["!x"]);
    assert_eq!(kit.keys(without("x", subtrees(&["a/x"]))).await, ["!a/x/"]);
}

/// A scope inside an excluded folder is neither listed nor called absent.
pub async fn a_scope_below_an_excluded_folder_is_no_absence(harness: &dyn Harness) {
    let kit = Kit::new(harness);
    kit.editor.write("x/deep/er", b"1").await;
    for scope in ["x/deep", "x/deep/er", "x/nothing"] {
        let found = kit.keys(without("x", subtrees(&[scope]))).await;
        let excluded = found.iter().all(|key| key.starts_with('!'));
        assert!(excluded, "{scope:?} is looked at: {found:?}");
    }
}

/// A listing that is told to stop ends in an error, never in an end mark.
pub async fn a_listing_stops_when_told(harness: &dyn Harness) {
    let kit = Kit::new(harness);
    for number in 0..1500 {
        kit.editor
            .write(&format!("d{}/f{number}", number % 3), b"")
            .await;
    }
    let request = everything();
    request.cancel.cancel();
    refused(kit.rows(request).await, &[ErrorKind::Cancelled]);
    let request = everything();
    let cancel = request.cancel.clone();
    let mut listing = kit.backend.list(request).await.unwrap();
    listing.next().await.unwrap();
    cancel.cancel();
    loop {
        match listing.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a listing that was stopped says that it is complete"),
            Err(error) => return assert_eq!(error.kind(), ErrorKind::Cancelled),
        }
    }
}

/// What wl keeps for itself is in no listing, also while a session runs and after it.
pub async fn the_reserved_name_is_not_listed(harness: &dyn Harness) {
    let Some(kit) = Kit::writing(harness) else {
        return;
    };
    let pen = kit.pen().await;
    pen.create("a", "1").await;
    let staged = pen.stage(super::kit::file("b", b"2")).await.unwrap();
    assert_eq!(kit.keys(everything()).await, ["a"]);
    pen.remove("a", kit.known("a").await).await.unwrap();
    drop(staged);
    assert_eq!(kit.keys(everything()).await, [""; 0]);
    pen.finish().await;
    assert_eq!(kit.keys(everything()).await, [""; 0]);
    let scoped = kit.rows(subtrees(&[".wl"])).await;
    refused(scoped, &[ErrorKind::Unrepresentable]);
    let after = path("a");
    kit.editor.write(after.as_str(), b"x").await;
    assert_eq!(kit.keys(subtrees(&["a"])).await, ["a"]);
}

/// What is behind the root is the same for every handle, and stays so whatever is written, replaced and removed: a marker that
/// changes by itself would stop every job.
pub async fn the_root_marker_stays(harness: &dyn Harness) {
    let kit = Kit::new(harness);
    let before = kit.backend.root_marker().await.unwrap();
    kit.editor.write("d/f", b"an editor's").await;
    assert_eq!(kit.backend.root_marker().await.unwrap(), before);
    if let Some(kit) = Kit::writing(harness) {
        let pen = kit.pen().await;
        pen.create("g", "ours").await;
        let known = kit.known("g").await;
        pen.remove("g", known).await.unwrap();
        pen.finish().await;
    }
    kit.editor.remove("d/f").await;
    let second = harness.second();
    assert_eq!(second.root_marker().await.unwrap(), before);
    assert_eq!(kit.backend.root_marker().await.unwrap(), before);
}
