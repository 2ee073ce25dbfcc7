//! Folders.

use super::Harness;
use super::kit::{Kit, everything, path, refused};
use crate::model::{Kind, Mode, Token};
use crate::storage::{ErrorKind, Row};
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

/// A folder's token names the file system that the folder lies on, and stays whatever becomes of the folder and of what is in it: with another one
/// the folder counts as another file system's, and nothing in it is synced any more.
pub async fn a_folders_token_stays(harness: &dyn Harness) {
    let kit = Kit::new(harness);
    kit.editor.write("d/a", b"1").await;
    let before = folder_token(&kit, "d").await;
    kit.editor.write("d/a", b"22").await;
    kit.editor.write("d/e/b", b"3").await;
    let now = folder_token(&kit, "d").await;
    assert_eq!(now, before, "something in it changed");
    if !kit.caps.writable || !kit.caps.empty_folders {
        return;
    }
    let pen = kit.pen().await;
    let made = pen.0.make_folder(&path("new"), None).await.unwrap();
    let listed = folder_token(&kit, "new").await;
    assert_eq!(made.token, listed, "it was just made");
    if kit.caps.modes {
        let (known, mode) = (kit.known("d").await, Mode::new(0o711));
        let set = pen.0.set_mode(&path("d"), &known, mode).await.unwrap();
        let now = folder_token(&kit, "d").await;
        assert_eq!(
            (&set.token, now),
            (&before, before.clone()),
            "its mode changed"
        );
    }
    pen.finish().await;
}

/// That of a folder, as a listing tells it.
async fn folder_token(kit: &Kit<'_>, at: &str) -> Token {
    let rows = kit.rows(everything()).await.unwrap();
    let tokens = rows.into_iter().filter_map(|row| match row {
        Row::Present(entry) if entry.path.as_str() == at => Some(entry.meta.token),
        _ => None,
    });
    tokens.last().expect("the folder is listed")
}
