//! The trash: what was given up can be had back.

use super::Harness;
use super::kit::{Kit, Pen, options, path, refused};
use crate::model::{ContentHash, Kind};
use crate::storage::{ErrorKind, Expect, TrashItem, TrashKeep, TrashState};
use crate::tree;

fn with_trash(harness: &dyn Harness) -> Option<Kit<'_>> {
    Kit::writing(harness).filter(|kit| kit.caps.trash)
}

fn check(item: &TrashItem, state: TrashState, content: &[u8]) {
    assert_eq!(item.state, state);
    assert_eq!(
        (item.kind, item.size),
        (Some(Kind::File), content.len() as u64)
    );
    let hash = ContentHash::of(content);
    assert!(item.hash.is_none_or(|told| told == hash), "another hash");
}

/// Every version that is replaced is in the trash and comes back, the oldest first.
pub async fn replaced_versions_are_in_the_trash(harness: &dyn Harness) {
    let Some(kit) = with_trash(harness) else {
        return;
    };
    let pen = kit.pen().await;
    pen.create("f", "one").await;
    for content in ["two!", "three"] {
        let known = kit.known("f").await;
        pen.put("f", content, Expect::Is(known)).await.unwrap();
    }
    assert_eq!(pen.finish().await.versions, 2);
    let trashed = kit.trashed("f").await;
    let contents: Vec<_> = trashed
        .iter()
        .map(|(_, content)| content.as_slice())
        .collect();
    assert_eq!(contents, [b"one".as_slice(), b"two!"]);
    for (item, content) in &trashed {
        check(item, TrashState::Replaced, content);
        assert_eq!(item.path.as_ref(), Some(&path("f")));
    }
    tree! { "f" => "three" }.assert_is(&kit.backend).await;
}

/// Every version that is removed is in the trash and comes back, folders above it made again.
pub async fn removed_versions_are_in_the_trash(harness: &dyn Harness) {
    let Some(kit) = with_trash(harness) else {
        return;
    };
    kit.editor.write("d/f", b"precious").await;
    let pen = kit.pen().await;
    let known = kit.known("d/f").await;
    pen.remove("d/f", known).await.unwrap();
    assert_eq!(pen.finish().await.versions, 1);
    let items = kit.backend.trash_list().await.unwrap();
    assert_eq!(items.len(), 1);
    check(&items[0], TrashState::Removed, b"precious");
    let to = path("new/deep/f");
    kit.backend.trash_restore(&items[0].id, &to).await.unwrap();
    assert_eq!(kit.text("new/deep/f").await.as_deref(), Some("precious"));
}

/// Nothing is overwritten by what comes back; it stays in the trash. What the trash does not have is not found.
pub async fn restore_refuses_what_is_there(harness: &dyn Harness) {
    let Some(kit) = with_trash(harness) else {
        return;
    };
    kit.editor.write("f", b"old").await;
    let pen = kit.pen().await;
    let known = kit.known("f").await;
    pen.remove("f", known).await.unwrap();
    pen.finish().await;
    kit.editor.write("f", b"new").await;
    kit.editor.write("d/x", b"full").await;
    let before = kit.tree().await;
    let id = kit.backend.trash_list().await.unwrap().remove(0).id;
    for to in ["f", "d"] {
        let restored = kit.backend.trash_restore(&id, &path(to)).await;
        refused(restored, &[ErrorKind::Changed]);
    }
    let restored = kit.backend.trash_restore(&id, &path("f/below")).await;
    assert!(restored.is_err(), "restored below a file");
    let restored = kit.backend.trash_restore(&id, &path(".wl/x")).await;
    refused(restored, &[ErrorKind::Unrepresentable]);
    kit.assert_unchanged(&before).await;
    let none = crate::storage::TrashId("no-run/1".to_owned());
    let restored = kit.backend.trash_restore(&none, &path("g")).await;
    refused(restored, &[ErrorKind::NotFound]);
    kit.backend.trash_restore(&id, &path("g")).await.unwrap();
    assert_eq!(kit.text("g").await.as_deref(), Some("old"));
}

/// Also a trash that is to keep nothing keeps a version until the end of the next run, and gives it up then.
pub async fn the_trash_keeps_until_the_next_run_has_ended(harness: &dyn Harness) {
    let Some(kit) = with_trash(harness) else {
        return;
    };
    let begin = async || {
        let mut options = options();
        options.trash_keep = TrashKeep::None;
        Pen(kit.backend.begin(options).await.unwrap())
    };
    let held = async || kit.backend.trash_list().await.unwrap().len();
    kit.editor.write("f", b"old").await;
    let pen = begin().await;
    let known = kit.known("f").await;
    pen.remove("f", known).await.unwrap();
    pen.finish().await;
    drop(pen);
    assert_eq!(held().await, 1, "given up by the run that displaced it");
    let pen = begin().await;
    assert_eq!(held().await, 1, "given up when the next run began");
    pen.finish().await;
    assert_eq!(held().await, 0, "kept for longer than asked");
}

/// A trash is emptied when that is asked, by a session that writes nothing; what is younger than asked for stays.
pub async fn the_trash_is_emptied_when_that_is_asked(harness: &dyn Harness) {
    let Some(kit) = with_trash(harness) else {
        return;
    };
    kit.editor.write("f", b"old").await;
    kit.editor.write("d/g", b"stays").await;
    let pen = kit.pen().await;
    let known = kit.known("f").await;
    pen.remove("f", known).await.unwrap();
    pen.finish().await;
    drop(pen);
    let before = kit.tree().await;
    let week = TrashKeep::For(std::time::Duration::from_secs(7 * 24 * 3600));
    for (keep, left) in [(week, 1), (TrashKeep::None, 0), (TrashKeep::None, 0)] {
        let mut options = options();
        options.trash_keep = keep;
        kit.backend.trash_empty(options).await.unwrap();
        let items = kit.backend.trash_list().await.unwrap();
        assert_eq!(items.len(), left, "{keep:?}: {items:?}");
    }
    kit.assert_unchanged(&before).await;
}
