//! Staging and sessions: nothing is seen before it is published.

use super::Harness;
use super::kit::{Kit, Pen, everything, file, options, path, refused};
use crate::storage::{ErrorKind, Expect, RemoveRequest, ReplaceRequest};
use crate::tree;

/// Staged content is seen by nobody, flushed or not, until it is published.
pub async fn staged_content_is_invisible(harness: &dyn Harness) {
    let Some(kit) = Kit::writing(harness) else {
        return;
    };
    kit.editor.write("there", b"old").await;
    let before = kit.tree().await;
    let pen = kit.pen().await;
    let fresh = pen.stage(file("fresh", b"new")).await.unwrap();
    let over = pen.stage(file("there", b"new")).await.unwrap();
    kit.assert_unchanged(&before).await;
    pen.0.flush().await.unwrap();
    kit.assert_unchanged(&before).await;
    before.assert_is(&harness.second()).await;
    let known = kit.known("there").await;
    pen.publish("fresh", fresh, Expect::Absent).await.unwrap();
    pen.publish("there", over, Expect::Is(known)).await.unwrap();
    tree! { "fresh" => "new", "there" => "new" }
        .assert_is(&kit.backend)
        .await;
    pen.finish().await;
    tree! { "fresh" => "new", "there" => "new" }
        .assert_is(&kit.backend)
        .await;
}

/// A session that is dropped without its end leaves what it published and nothing else; the next begins and finds nobody's
/// version among the leftovers.
pub async fn a_dropped_session_leaves_nothing(harness: &dyn Harness) {
    let Some(kit) = Kit::writing(harness) else {
        return;
    };
    let pen = kit.pen().await;
    pen.create("kept", "1").await;
    let staged = pen.stage(file("lost", b"2")).await.unwrap();
    let mut writer = pen
        .0
        .stage_large(file("half", b""), 10, &Expect::Absent)
        .await
        .unwrap();
    writer
        .write(bytes::Bytes::from_static(b"12345"))
        .await
        .unwrap();
    drop((staged, writer, pen));
    assert_eq!(kit.keys(everything()).await, ["kept"]);
    let pen = kit.second_pen().await;
    assert_eq!(pen.0.stranded().await, []);
    assert_eq!(kit.keys(everything()).await, ["kept"]);
    pen.create("lost", "mine").await;
    pen.finish().await;
    tree! { "kept" => "1", "lost" => "mine" }
        .assert_is(&kit.backend)
        .await;
}

/// Results are in the order of the requests, and one request's failure is its own.
pub async fn results_are_in_the_order_of_requests(harness: &dyn Harness) {
    let Some(kit) = Kit::checking(harness) else {
        return;
    };
    kit.editor.write("taken", b"theirs").await;
    // Of another size: where a version is a time and a size, two small files of one second are one version.
    let names = ["z", "taken", "a", ".wl/x", "mm"];
    let pen = kit.pen().await;
    let requests = names.iter().map(|name| file(name, name.as_bytes()));
    let staged = pen.0.stage(requests.collect()).await;
    assert_eq!(staged.len(), names.len());
    let mut replacing = Vec::new();
    for (name, staged) in names.iter().zip(staged) {
        if *name == ".wl/x" {
            refused(staged, &[ErrorKind::Unrepresentable]);
            continue;
        }
        let staged = staged.unwrap();
        assert_eq!(staged.hash, crate::model::ContentHash::of(name.as_bytes()));
        replacing.push(ReplaceRequest {
            path: path(name),
            staged,
            expect: Expect::Absent,
            listed: false,
        });
    }
    let published = pen.0.replace(replacing).await;
    let done: Vec<_> = published.iter().map(Result::is_ok).collect();
    assert_eq!(done, [true, false, true, true]);
    let wanted = tree! { "z" => "z", "a" => "a", "mm" => "mm", "taken" => "theirs" };
    wanted.assert_is(&kit.backend).await;
    let mut removing = Vec::new();
    for (at, known) in [("mm", "mm"), ("none", "mm"), ("a", "mm"), ("z", "z")] {
        let expected = kit.known(known).await;
        let path = path(at);
        removing.push(RemoveRequest { path, expected });
    }
    let removed = pen.0.remove(removing).await;
    let kinds = removed
        .into_iter()
        .map(|result| result.map_err(|e| e.kind()));
    let (gone, changed) = (Err(ErrorKind::NotFound), Err(ErrorKind::Changed));
    assert_eq!(kinds.collect::<Vec<_>>(), [Ok(()), gone, changed, Ok(())]);
    pen.finish().await;
    tree! { "a" => "a", "taken" => "theirs" }
        .assert_is(&kit.backend)
        .await;
}

/// A session that is told to stop changes nothing more.
pub async fn a_cancelled_session_changes_nothing(harness: &dyn Harness) {
    let Some(kit) = Kit::writing(harness) else {
        return;
    };
    kit.editor.write("there", b"1").await;
    let known = kit.known("there").await;
    let options = options();
    let cancel = options.cancel.clone();
    let pen = Pen(kit.backend.begin(options).await.unwrap());
    let staged = pen.stage(file("new", b"2")).await.unwrap();
    cancel.cancel();
    let stop = &[ErrorKind::Cancelled];
    refused(pen.stage(file("other", b"3")).await, stop);
    refused(pen.publish("new", staged, Expect::Absent).await, stop);
    refused(pen.remove("there", known).await, stop);
    tree! { "there" => "1" }.assert_is(&kit.backend).await;
}

/// Where nothing may be written no session begins.
pub async fn what_is_not_writable_is_refused(harness: &dyn Harness) {
    let kit = Kit::new(harness);
    let begun = kit.backend.begin(options()).await;
    if kit.caps.writable {
        begun.unwrap().finish().await.unwrap();
    } else {
        refused(begun, &[ErrorKind::Unsupported, ErrorKind::Denied]);
    }
}
