//! Removing: only the version that was named, and never more than it.

use super::Harness;
use super::kit::{Kit, refused};
use crate::storage::{ErrorKind, Expected};
use crate::tree;

/// What is known is removed; a folder when it is empty. Its folder stays, where folders are kept.
pub async fn remove_takes_the_version_it_knows(harness: &dyn Harness) {
    let Some(kit) = Kit::writing(harness) else {
        return;
    };
    kit.editor.write("d/f", b"1").await;
    kit.editor.write("d/g", b"2").await;
    let pen = kit.pen().await;
    let known = kit.known("d/f").await;
    pen.remove("d/f", known).await.unwrap();
    tree! { "d/g" => "2" }.assert_is(&kit.backend).await;
    let known = kit.known("d/g").await;
    pen.remove("d/g", known).await.unwrap();
    if kit.caps.empty_folders {
        tree! { "d/" }.assert_is(&kit.backend).await;
        let known = kit.known("d").await;
        pen.remove("d", known).await.unwrap();
    }
    pen.finish().await;
    tree! {}.assert_is(&kit.backend).await;
}

/// A version that is not the one named stays.
pub async fn remove_refuses_another_version(harness: &dyn Harness) {
    let Some(kit) = Kit::checking(harness) else {
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
        refused(pen.remove("f", old.clone()).await, &[ErrorKind::Changed]);
        let stale = Expected { hash: None, ..old };
        refused(pen.remove("f", stale).await, &[ErrorKind::Changed]);
        tree! { "f" => "new" }.assert_is(&kit.backend).await;
    }
    let file = kit.known("f").await;
    kit.editor.remove("f").await;
    kit.editor.make_folder("f").await;
    assert!(
        pen.remove("f", file).await.is_err(),
        "a folder went as a file"
    );
    assert_eq!(kit.stat("f").await.is_some(), kit.caps.empty_folders);
    pen.finish().await;
    assert_eq!(kit.stat("f").await.is_some(), kit.caps.empty_folders);
}

/// What is gone already is not found.
pub async fn remove_of_nothing_is_not_found(harness: &dyn Harness) {
    let Some(kit) = Kit::writing(harness) else {
        return;
    };
    kit.editor.write("f", b"1").await;
    let known = kit.known("f").await;
    let pen = kit.pen().await;
    refused(
        pen.remove("none", known.clone()).await,
        &[ErrorKind::NotFound],
    );
    refused(
        pen.remove("none/x", known.clone()).await,
        &[ErrorKind::NotFound],
    );
    pen.remove("f", known.clone()).await.unwrap();
    refused(pen.remove("f", known).await, &[ErrorKind::NotFound]);
    pen.finish().await;
}

/// A folder with something in it, of whatever kind, stays with all of it.
pub async fn remove_refuses_a_full_folder(harness: &dyn Harness) {
    let Some(kit) = Kit::writing(harness) else {
        return;
    };
    kit.editor.write("file/x", b"1").await;
    kit.editor.make_folder("folder/inner").await;
    if kit.caps.links {
        kit.editor.make_link("link/l", "nowhere").await;
    }
    let before = kit.tree().await;
    let pen = kit.pen().await;
    for at in ["file", "folder", "link"] {
        if kit.stat(at).await.is_some() {
            let known = kit.known(at).await;
            refused(pen.remove(at, known).await, &[ErrorKind::NotEmpty]);
        }
    }
    pen.finish().await;
    kit.assert_unchanged(&before).await;
}
