//! What is kept beside content: times, permission bits, links. What is not kept is not claimed.

use super::Harness;
use super::kit::{Kit, file, link, path, refused};
use crate::model::{Mode, Timestamp};
use crate::storage::{ErrorKind, Expect, Expected};
use crate::tree;

/// A modification time arrives as it was given, to the declared resolution, before 1970 too.
pub async fn modification_times_are_kept(harness: &dyn Harness) {
    let Some(kit) = Kit::writing(harness) else {
        return;
    };
    let Some(resolution) = kit.caps.mtime_resolution else {
        return;
    };
    let pen = kit.pen().await;
    for (number, (secs, nanos)) in [(1_234_567_890, 123_456_789), (0, 0), (-5, 250_000_000)]
        .into_iter()
        .enumerate()
    {
        let at = format!("f{number}");
        let mut given = Timestamp { secs, nanos };
        let mut request = file(&at, b"x");
        request.mtime = Some(given);
        let published = pen.write(request, Expect::Absent).await.unwrap();
        if secs < 0 && !kit.harness.keeps_times_before_1970() {
            given = Timestamp { secs: 0, nanos: 0 };
        }
        let nanoseconds = |t: Timestamp| i128::from(t.secs) * 1_000_000_000 + i128::from(t.nanos);
        for kept in [published.mtime, kit.meta(&at).await.mtime] {
            let kept = kept.expect("who keeps times tells them");
            let off = (nanoseconds(kept) - nanoseconds(given)).unsigned_abs();
            assert!(
                off < u128::from(resolution.max(1)),
                "{given:?} became {kept:?}"
            );
        }
    }
    pen.finish().await;
}

/// Permission bits arrive as given and are changed by `set_mode`, of files and folders; who keeps none shows and sets none.
pub async fn modes_are_kept(harness: &dyn Harness) {
    let Some(kit) = Kit::writing(harness) else {
        return;
    };
    let pen = kit.pen().await;
    for bits in [0o640, 0o600, 0o755, 0o444, 0o777] {
        let (at, mode) = (format!("f{bits:o}"), Mode::new(bits));
        let mut request = file(&at, b"x");
        request.mode = Some(mode);
        let published = pen.write(request, Expect::Absent).await.unwrap();
        let kept = Some(mode).filter(|_| kit.caps.modes);
        assert_eq!((published.mode, kit.meta(&at).await.mode), (kept, kept));
    }
    let known = kit.known("f640").await;
    let set = pen
        .0
        .set_mode(&path("f640"), &known, Mode::new(0o604))
        .await;
    if !kit.caps.modes {
        return refused(set, &[ErrorKind::Unsupported]);
    }
    assert_eq!(set.unwrap().mode, Some(Mode::new(0o604)));
    assert_eq!(kit.meta("f640").await.mode, Some(Mode::new(0o604)));
    assert_eq!(kit.text("f640").await.as_deref(), Some("x"));
    kit.editor.write("d/x", b"").await;
    let known = kit.known("d").await;
    let set = pen.0.set_mode(&path("d"), &known, Mode::new(0o750)).await;
    set.unwrap();
    assert_eq!(kit.meta("d").await.mode, Some(Mode::new(0o750)));
    pen.finish().await;
}

/// A mode is not set on a version other than the one named.
pub async fn set_mode_refuses_another_version(harness: &dyn Harness) {
    let Some(kit) = Kit::checking(harness).filter(|kit| kit.caps.modes) else {
        return;
    };
    kit.editor.write("f", b"old").await;
    kit.harness.settle().await;
    let old = kit.known("f").await;
    kit.editor.write("f", b"new").await;
    let mode = kit.meta("f").await.mode;
    let pen = kit.pen().await;
    let stale = Expected {
        hash: None,
        ..old.clone()
    };
    for expected in [old.clone(), stale] {
        let set = pen
            .0
            .set_mode(&path("f"), &expected, Mode::new(0o601))
            .await;
        refused(set, &[ErrorKind::Changed]);
    }
    let set = pen.0.set_mode(&path("none"), &old, Mode::new(0o601)).await;
    refused(set, &[ErrorKind::NotFound]);
    pen.finish().await;
    assert_eq!(kit.meta("f").await.mode, mode);
}

/// Links are kept as they are written, wherever they lead, and never followed; who keeps none refuses them.
pub async fn links_are_kept(harness: &dyn Harness) {
    let Some(kit) = Kit::writing(harness) else {
        return;
    };
    kit.editor.write("d/x", b"inside").await;
    let pen = kit.pen().await;
    if !kit.caps.links {
        let staged = pen.stage(link("l", "d")).await;
        refused(
            staged,
            &[ErrorKind::Unrepresentable, ErrorKind::Unsupported],
        );
        return tree! { "d/x" => "inside" }.assert_is(&kit.backend).await;
    }
    let links = [
        ("l1", "d"),
        ("l2", "/nowhere"),
        ("l3", "../.."),
        ("l4", "l4"),
    ];
    let mut wanted = tree! { "d/x" => "inside" };
    for (at, target) in links {
        pen.write(link(at, target), Expect::Absent).await.unwrap();
        wanted.link(at, target);
    }
    wanted.assert_is(&kit.backend).await;
    assert!(
        kit.stat("l1/x").await.is_none(),
        "a path leads through a link"
    );
    let through = pen.put("l1/new", "x", Expect::Absent).await;
    refused(through, &[ErrorKind::NoParent]);
    let through = pen.remove("l1/x", kit.known("d/x").await).await;
    assert!(through.is_err(), "a removal went through a link");
    pen.finish().await;
    wanted.assert_is(&kit.backend).await;
}

/// A link is known by its target, whatever its token; another target is another version.
pub async fn links_are_compared_by_target(harness: &dyn Harness) {
    let Some(kit) = Kit::checking(harness).filter(|kit| kit.caps.links) else {
        return;
    };
    kit.editor.make_link("l", "old").await;
    let old = kit.known("l").await;
    kit.editor.remove("l").await;
    kit.editor.make_link("l", "new").await;
    let pen = kit.pen().await;
    let ours = || link("l", "ours");
    refused(
        pen.write(ours(), Expect::Is(old.clone())).await,
        &[ErrorKind::Changed],
    );
    refused(pen.remove("l", old.clone()).await, &[ErrorKind::Changed]);
    tree! { "l" -> "new" }.assert_is(&kit.backend).await;
    kit.editor.remove("l").await;
    kit.editor.make_link("l", "old").await;
    pen.write(ours(), Expect::Is(old)).await.unwrap();
    tree! { "l" -> "ours" }.assert_is(&kit.backend).await;
    let ours = kit.known("l").await;
    pen.put("l", "a file", Expect::Is(ours)).await.unwrap();
    pen.finish().await;
    tree! { "l" => "a file" }.assert_is(&kit.backend).await;
}
