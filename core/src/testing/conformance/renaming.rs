//! Renaming: the version that was named, to where nothing is.

use super::Harness;
use super::kit::{Kit, path, refused};
use crate::storage::{ErrorKind, Expected};
use crate::tree;

/// What is known is moved with its content; who cannot rename says so and moves nothing.
pub async fn rename_moves_the_version_it_knows(harness: &dyn Harness) {
    let Some(kit) = Kit::writing(harness) else {
        return;
    };
    kit.editor.write("d/f", b"1").await;
    kit.editor.write("e/g", b"2").await;
    let known = kit.known("d/f").await;
    let pen = kit.pen().await;
    let renamed = pen.rename("d/f", known.clone(), "e/f").await;
    if !kit.caps.rename {
        refused(renamed, &[ErrorKind::Unsupported]);
        return tree! { "d/f" => "1", "e/g" => "2" }
            .assert_is(&kit.backend)
            .await;
    }
    let published = renamed.unwrap();
    if published.settled {
        assert_eq!(published.token, kit.meta("e/f").await.token);
    }
    refused(
        pen.rename("d/f", known, "e/h").await,
        &[ErrorKind::NotFound],
    );
    pen.finish().await;
    let found = kit.tree().await.without_folders();
    assert_eq!(
        found,
        tree! { "e/f" => "1", "e/g" => "2" }.without_folders()
    );
    assert_eq!(kit.stat("d").await.is_some(), kit.caps.empty_folders);
}

/// Something at the new path, of whatever kind or content, stays; so does what was to be moved.
pub async fn rename_refuses_what_is_there(harness: &dyn Harness) {
    let Some(kit) = Kit::checking(harness).filter(|kit| kit.caps.rename) else {
        return;
    };
    kit.editor.write("f", b"same").await;
    kit.editor.write("same", b"same").await;
    kit.editor.write("other", b"other").await;
    kit.editor.write("full/x", b"1").await;
    kit.editor.make_folder("empty").await;
    if kit.caps.links {
        kit.editor.make_link("link", "nowhere").await;
    }
    let before = kit.tree().await;
    let pen = kit.pen().await;
    for to in ["f", "same", "other", "full", "empty", "link"] {
        if kit.stat(to).await.is_none() {
            continue;
        }
        let known = kit.known("f").await;
        refused(pen.rename("f", known, to).await, &[ErrorKind::Changed]);
        kit.assert_unchanged(&before).await;
    }
    pen.finish().await;
    kit.assert_unchanged(&before).await;
}

/// A version that is not the one named stays where it is.
pub async fn rename_refuses_another_version(harness: &dyn Harness) {
    let Some(kit) = Kit::checking(harness).filter(|kit| kit.caps.rename) else {
        return;
    };
    let pen = kit.pen().await;
    for in_place in [true, false] {
        kit.editor.write("f", b"old").await;
        kit.harness.settle().await;
        let old = kit.known("f").await;
        if in_place {
            kit.editor.write_in_place("f", b"new").await;
        } else {
            kit.editor.write("f", b"new").await;
        }
        refused(
            pen.rename("f", old.clone(), "g").await,
            &[ErrorKind::Changed],
        );
        let stale = Expected { hash: None, ..old };
        refused(pen.rename("f", stale, "g").await, &[ErrorKind::Changed]);
        tree! { "f" => "new" }.assert_is(&kit.backend).await;
    }
    pen.finish().await;
    tree! { "f" => "new" }.assert_is(&kit.backend).await;
}

/// The new path's folder must be there, where folders do not come with their files.
pub async fn rename_needs_its_folder(harness: &dyn Harness) {
    let Some(kit) = Kit::writing(harness).filter(|kit| kit.caps.rename) else {
        return;
    };
    kit.editor.write("f", b"1").await;
    kit.editor.write("g", b"2").await;
    let before = kit.tree().await;
    let known = kit.known("f").await;
    let pen = kit.pen().await;
    if kit.caps.empty_folders {
        let no_parent = &[ErrorKind::NoParent];
        refused(pen.rename("f", known.clone(), "none/f").await, no_parent);
        refused(pen.rename("f", known, "g/f").await, no_parent);
        kit.assert_unchanged(&before).await;
    } else {
        pen.rename("f", known, "new/deep/f").await.unwrap();
        assert_eq!(kit.text("new/deep/f").await.as_deref(), Some("1"));
    }
    pen.finish().await;
}

/// A folder is renamed whole or not at all: not over anything, not into nothing, not another one than was meant. What is in it keeps
/// its tokens, so that nothing has to be read again.
pub async fn a_folder_is_renamed_whole(harness: &dyn Harness) {
    let Some(kit) = Kit::checking(harness).filter(|kit| kit.caps.empty_folders) else {
        return;
    };
    kit.editor.write("d/f", b"1").await;
    kit.editor.write("d/deep/g", b"22").await;
    kit.editor.write("e/x", b"3").await;
    kit.editor.make_folder("empty").await;
    let (Some(id), Some(other)) = (kit.meta("d").await.file_id, kit.meta("e").await.file_id) else {
        return;
    };
    let before = kit.tree().await;
    let tokens = [
        kit.meta("d/f").await.token,
        kit.meta("d/deep/g").await.token,
    ];
    let pen = kit.pen().await;
    let [from, to] = [path("d"), path("e/moved")];
    let first = pen.0.rename_folder(&from, other, &to).await;
    if let Err(error) = &first
        && error.kind() == ErrorKind::Unsupported
    {
        return kit.assert_unchanged(&before).await;
    }
    refused(first, &[ErrorKind::Changed]);
    for taken in ["e", "e/x", "empty"] {
        let over = pen.0.rename_folder(&from, id, &path(taken)).await;
        refused(over, &[ErrorKind::Changed]);
    }
    let nowhere = pen.0.rename_folder(&from, id, &path("gone/d")).await;
    refused(nowhere, &[ErrorKind::NoParent]);
    assert!(
        pen.0
            .rename_folder(&from, id, &path("d/inside"))
            .await
            .is_err()
    );
    let gone = pen.0.rename_folder(&path("gone"), id, &to).await;
    refused(gone, &[ErrorKind::Changed, ErrorKind::NotFound]);
    kit.assert_unchanged(&before).await;

    pen.0.rename_folder(&from, id, &to).await.unwrap();
    let after = [
        kit.meta("e/moved/f").await.token,
        kit.meta("e/moved/deep/g").await.token,
    ];
    assert_eq!(after, tokens);
    assert_eq!(kit.meta("e/moved").await.file_id, Some(id));
    pen.finish().await;
    let found = kit.tree().await.without_folders();
    let expected = tree! { "e/moved/f" => "1", "e/moved/deep/g" => "22", "e/x" => "3" };
    assert_eq!(found, expected.without_folders());
    assert!(kit.stat("d").await.is_none());
}
