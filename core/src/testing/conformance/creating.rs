//! Creating: only where nothing is.

use super::Harness;
use super::kit::{Kit, link, refused};
use crate::model::Kind;
use crate::storage::{ErrorKind, Expect};
use crate::tree;

/// A creation creates, and tells the token that the next look finds.
pub async fn absent_creates(harness: &dyn Harness) {
    let Some(kit) = Kit::writing(harness) else {
        return;
    };
    let pen = kit.pen().await;
    let published = pen.create("a", "1").await;
    let meta = kit.meta("a").await;
    if published.settled {
        assert_eq!(published.token, meta.token);
    }
    assert_eq!(published.mode, meta.mode);
    assert_eq!(meta.kind, Kind::File);
    pen.finish().await;
    tree! { "a" => "1" }.assert_is(&kit.backend).await;
    tree! { "a" => "1" }.assert_is(&harness.second()).await;
}

/// A creation never touches what is there: a file (even an equal one), a folder, a link (even one that leads nowhere).
pub async fn absent_refuses_what_is_there(harness: &dyn Harness) {
    let Some(kit) = Kit::checking(harness) else {
        return;
    };
    kit.editor.write("f", b"theirs").await;
    kit.editor.write("d/x", b"theirs").await;
    if kit.caps.links {
        kit.editor.make_link("l", "nowhere").await;
    }
    let before = kit.tree().await;
    let pen = kit.pen().await;
    for at in ["f", "d", "l"] {
        if at == "l" && !kit.caps.links {
            continue;
        }
        for content in ["ours", "theirs", ""] {
            refused(
                pen.put(at, content, Expect::Absent).await,
                &[ErrorKind::Changed],
            );
        }
        if kit.caps.links {
            let result = pen.write(link(at, "elsewhere"), Expect::Absent).await;
            refused(result, &[ErrorKind::Changed]);
        }
        kit.assert_unchanged(&before).await;
    }
    pen.finish().await;
    kit.assert_unchanged(&before).await;
}

/// A file needs its folder. Where folders come with their files, only a file in the way is an error.
pub async fn a_missing_folder_is_no_parent(harness: &dyn Harness) {
    let Some(kit) = Kit::checking(harness) else {
        return;
    };
    kit.editor.write("f", b"file").await;
    let before = kit.tree().await;
    let pen = kit.pen().await;
    if kit.caps.empty_folders {
        for at in ["none/a", "none/deep/a"] {
            refused(
                pen.put(at, "x", Expect::Absent).await,
                &[ErrorKind::NoParent],
            );
        }
        let folder = crate::testing::tree::path("none/deep");
        refused(
            pen.0.make_folder(&folder, None).await,
            &[ErrorKind::NoParent],
        );
        refused(
            pen.put("f/below", "x", Expect::Absent).await,
            &[ErrorKind::NoParent],
        );
        kit.assert_unchanged(&before).await;
    } else {
        pen.create("new/deep/a", "x").await;
    }
    assert_eq!(kit.text("f").await.as_deref(), Some("file"));
    pen.finish().await;
}
