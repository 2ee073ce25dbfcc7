//! Replacing: only the version that was named.

use super::Harness;
use super::kit::{Kit, file, refused};
use crate::model::{ContentHash, Kind};
use crate::storage::{ErrorKind, Expect, Expected};
use crate::tree;

/// The version that is known, by token alone or by hash alone, is replaced.
pub async fn replace_takes_the_version_it_knows(harness: &dyn Harness) {
    let Some(kit) = Kit::writing(harness) else {
        return;
    };
    kit.editor.write("d/f", b"1").await;
    kit.harness.settle().await;
    let by_token = Expected {
        hash: None,
        ..kit.known("d/f").await
    };
    let pen = kit.pen().await;
    let published = pen.put("d/f", "2", Expect::Is(by_token)).await.unwrap();
    if published.settled {
        assert_eq!(published.token, kit.meta("d/f").await.token);
    }
    let by_hash = Expected {
        kind: Kind::File,
        token: None,
        hash: Some(ContentHash::of(b"2")),
        link: None,
    };
    pen.put("d/f", "3", Expect::Is(by_hash)).await.unwrap();
    pen.finish().await;
    tree! { "d/f" => "3" }.assert_is(&kit.backend).await;
}

/// A version that is not the one named stays: an edit (in place, beside, of the same size), an older token, a wrong hash.
pub async fn replace_refuses_another_version(harness: &dyn Harness) {
    let Some(kit) = Kit::checking(harness) else {
        return;
    };
    let pen = kit.pen().await;
    for (round, in_place) in [true, false].into_iter().enumerate() {
        let at = &format!("f{round}");
        kit.editor.write(at, b"old").await;
        kit.harness.settle().await;
        let old = kit.known(at).await;
        let staged = pen.stage(file(at, b"ours")).await.unwrap();
        if in_place {
            kit.editor.write_in_place(at, b"new").await;
        } else {
            kit.editor.write(at, b"new").await;
        }
        let before = kit.tree().await;
        let result = pen.publish(at, staged, Expect::Is(old.clone())).await;
        refused(result, &[ErrorKind::Changed]);
        kit.assert_unchanged(&before).await;
        let stale = Expected { hash: None, ..old };
        refused(
            pen.put(at, "ours", Expect::Is(stale.clone())).await,
            &[ErrorKind::Changed],
        );
        let wrong = Expected {
            hash: Some(ContentHash::of(b"never")),
            ..stale
        };
        refused(
            pen.put(at, "ours", Expect::Is(wrong)).await,
            &[ErrorKind::Changed],
        );
        kit.assert_unchanged(&before).await;
    }
    let before = kit.tree().await;
    pen.finish().await;
    kit.assert_unchanged(&before).await;
}

/// With neither token nor hash nothing matches, nor does another kind.
pub async fn replace_refuses_without_knowledge(harness: &dyn Harness) {
    let Some(kit) = Kit::checking(harness) else {
        return;
    };
    kit.editor.write("f", b"1").await;
    kit.harness.settle().await;
    let known = kit.known("f").await;
    let nothing = Expected {
        token: None,
        hash: None,
        ..known.clone()
    };
    let link = Expected {
        kind: Kind::Link,
        link: Some("f".into()),
        ..known.clone()
    };
    let folder = Expected {
        kind: Kind::Folder,
        ..known
    };
    let pen = kit.pen().await;
    for expected in [nothing, link, folder] {
        let result = pen.put("f", "ours", Expect::Is(expected.clone())).await;
        refused(result, &[ErrorKind::Changed]);
        refused(pen.remove("f", expected).await, &[ErrorKind::Changed]);
    }
    pen.finish().await;
    tree! { "f" => "1" }.assert_is(&kit.backend).await;
}

/// A file that was only touched is still the version with that hash.
pub async fn replace_believes_the_hash_after_a_touch(harness: &dyn Harness) {
    let Some(kit) = Kit::writing(harness) else {
        return;
    };
    kit.editor.write("f", b"same").await;
    let known = kit.known("f").await;
    kit.editor.write("f", b"same").await;
    let pen = kit.pen().await;
    pen.put("f", "new", Expect::Is(known)).await.unwrap();
    pen.finish().await;
    tree! { "f" => "new" }.assert_is(&kit.backend).await;
}

/// A version that is gone is not replaced: nothing is created in its stead.
pub async fn replace_of_nothing_creates_nothing(harness: &dyn Harness) {
    let Some(kit) = Kit::checking(harness) else {
        return;
    };
    kit.editor.write("f", b"1").await;
    let known = kit.known("f").await;
    kit.editor.remove("f").await;
    let pen = kit.pen().await;
    let result = pen.put("f", "2", Expect::Is(known)).await;
    refused(result, &[ErrorKind::Changed, ErrorKind::NotFound]);
    pen.finish().await;
    tree! {}.assert_is(&kit.backend).await;
}

/// A file or link never takes a folder's place, empty or not, whatever is expected.
pub async fn a_file_never_replaces_a_folder(harness: &dyn Harness) {
    let Some(kit) = Kit::checking(harness) else {
        return;
    };
    kit.editor.write("full/x", b"1").await;
    kit.editor.make_folder("empty").await;
    let before = kit.tree().await;
    let pen = kit.pen().await;
    for at in ["full", "empty"] {
        if kit.stat(at).await.is_none() {
            continue;
        }
        let folder = kit.known(at).await;
        let hash = Some(ContentHash::of(b"1"));
        let file = Expected {
            kind: Kind::File,
            hash,
            ..folder.clone()
        };
        for expect in [Expect::Is(folder), Expect::Is(file), Expect::Absent] {
            assert!(
                pen.put(at, "ours", expect).await.is_err(),
                "{at} is replaced"
            );
            kit.assert_unchanged(&before).await;
        }
    }
    pen.finish().await;
    kit.assert_unchanged(&before).await;
}
