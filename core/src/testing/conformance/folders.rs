//! Folders.

use super::Harness;
use super::kit::{Kit, path, refused};
use crate::model::{Kind, Mode};
use crate::storage::ErrorKind;
use crate::tree;

/// A folder is made and kept; who keeps no empty folders refuses to make one.
pub async fn make_folder_makes_one(harness: &dyn Harness) {
    let Some(kit) = Kit::writing(harness) else {
        return;
    };
    let pen = kit.pen().await;
    let made = pen.0.make_folder(&path("d"), None).await;
    if !kit.caps.empty_folders {
        refused(made, &[ErrorKind::Unsupported]);
        return tree! {}.assert_is(&kit.backend).await;
    }
    made.unwrap();
    // Its mode is there from the start, with all rights for its owner.
    for (bits, wanted) in [(0o750, 0o750), (0o550, 0o750)] {
        let at = path("d").join(&format!("{bits:o}")).unwrap();
        let made = pen.0.make_folder(&at, Some(Mode::new(bits))).await.unwrap();
        let mode = kit.caps.modes.then(|| Mode::new(wanted));
        assert_eq!((made.mode, kit.meta(at.as_str()).await.mode), (mode, mode));
    }
    assert_eq!(kit.meta("d/750").await.kind, Kind::Folder);
    pen.finish().await;
    tree! { "d/", "d/550/", "d/750/" }
        .assert_is(&kit.backend)
        .await;
    tree! { "d/", "d/550/", "d/750/" }
        .assert_is(&harness.second())
        .await;
}

/// A folder is not made where something is, not even twice.
pub async fn make_folder_refuses_what_is_there(harness: &dyn Harness) {
    let Some(kit) = Kit::writing(harness).filter(|kit| kit.caps.empty_folders) else {
        return;
    };
    kit.editor.write("f", b"1").await;
    kit.editor.write("d/x", b"2").await;
    if kit.caps.links {
        kit.editor.make_link("l", "d").await;
    }
    let before = kit.tree().await;
    let pen = kit.pen().await;
    for at in ["f", "d", "l"] {
        if kit.stat(at).await.is_some() {
            refused(
                pen.0.make_folder(&path(at), None).await,
                &[ErrorKind::Changed],
            );
        }
    }
    kit.assert_unchanged(&before).await;
    pen.0.make_folder(&path("new"), None).await.unwrap();
    refused(
        pen.0.make_folder(&path("new"), None).await,
        &[ErrorKind::Changed],
    );
    pen.finish().await;
}
