//! Names: all that a path can say, and the one that is reserved.

use tokio_util::sync::CancellationToken;

use super::Harness;
use super::kit::{Kit, everything, file, path, refused};
use crate::model::{Mode, RESERVED};
use crate::storage::{ErrorKind, Expect, ReadRequest};

const REFUSED: &[ErrorKind] = &[ErrorKind::Unrepresentable];

/// Every operation refuses the reserved name, and what is below it, as its own or as its other path.
pub async fn the_reserved_name_is_refused(harness: &dyn Harness) {
    let kit = Kit::new(harness);
    kit.editor.write("a", b"1").await;
    let known = kit.known("a").await;
    let meta = kit.meta("a").await;
    for text in [RESERVED, ".wl/x", ".wl/stage/x"] {
        let at = &path(text);
        refused(kit.backend.stat(at).await, REFUSED);
        refused(kit.backend.file_token(at).await, REFUSED);
        refused(
            kit.backend.hash(at, &CancellationToken::new()).await,
            REFUSED,
        );
        let request = ReadRequest {
            path: at.clone(),
            meta: meta.clone(),
        };
        let mut small = kit.backend.read_small(vec![request.clone()]).await;
        refused(small.remove(0), REFUSED);
        refused(kit.backend.read(request).await.map(|_| ()), REFUSED);
        if !kit.caps.writable {
            continue;
        }
        let pen = kit.pen().await;
        refused(pen.stage(file(text, b"x")).await, REFUSED);
        refused(
            pen.0
                .stage_large(file(text, b""), 1, &Expect::Absent)
                .await
                .map(|_| ()),
            REFUSED,
        );
        let staged = pen.stage(file("b", b"x")).await.unwrap();
        refused(pen.publish(text, staged, Expect::Absent).await, REFUSED);
        refused(pen.remove(text, known.clone()).await, REFUSED);
        refused(pen.rename(text, known.clone(), "b").await, REFUSED);
        if kit.caps.rename {
            refused(pen.rename("a", known.clone(), text).await, REFUSED);
        }
        refused(pen.0.make_folder(at, None).await, REFUSED);
        refused(pen.0.set_mode(at, &known, Mode::new(0o600)).await, REFUSED);
        pen.finish().await;
    }
    assert_eq!(kit.keys(everything()).await, ["a"]);
    assert_eq!(kit.text("a").await.as_deref(), Some("1"));
}

/// A name arrives byte for byte, or is refused as unrepresentable; it is never changed on the way.
pub async fn names_arrive_as_they_are(harness: &dyn Harness) {
    let Some(kit) = Kit::writing(harness) else {
        return;
    };
    let long = "x".repeat(255);
    let wide = "é".repeat(127);
    let names = [
        "a b",
        " lead",
        "trail ",
        "-rf",
        "--",
        "new\nline",
        "tab\t",
        "bell\u{7}",
        "ünïcödé",
        "e\u{301}",
        "日本語",
        "😀",
        "a\\b",
        "*?",
        "\"q'",
        "%41",
        "#x",
        "a:b",
        "...",
        "..a",
        ".hidden",
        "trail.",
        "con",
        ".wlx",
        "~",
        "$HOME",
        long.as_str(),
        wide.as_str(),
    ];
    let pen = kit.pen().await;
    let mut wanted = Vec::new();
    for name in names {
        match pen.put(name, name, Expect::Absent).await {
            Ok(_) => wanted.push(name.to_owned()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unrepresentable, "{error:?}"),
        }
    }
    pen.finish().await;
    wanted.sort();
    assert!(
        wanted.len() > names.len() / 2,
        "only {wanted:?} can be named"
    );
    assert_eq!(kit.keys(everything()).await, wanted);
    for name in &wanted {
        assert_eq!(kit.text(name).await.as_ref(), Some(name));
        assert!(kit.stat(name).await.is_some());
    }
}

/// `a` and `A` are one name or two, as is claimed; where they are one, neither takes the other's place, and the reserved name is
/// reserved in any case.
pub async fn case_counts_as_declared(harness: &dyn Harness) {
    let Some(kit) = Kit::checking(harness) else {
        return;
    };
    let pen = kit.pen().await;
    pen.create("name", "small").await;
    let second = pen.put("NAME", "large", Expect::Absent).await;
    if kit.caps.folds_case {
        refused(second, &[ErrorKind::Changed]);
        assert!(kit.stat("Name").await.is_some());
        assert_eq!(kit.keys(everything()).await, ["name"]);
        assert_eq!(kit.text("name").await.as_deref(), Some("small"));
        refused(kit.backend.stat(&path(".WL/stage")).await, REFUSED);
        refused(pen.put(".Wl", "x", Expect::Absent).await, REFUSED);
    } else {
        second.unwrap();
        assert_eq!(kit.keys(everything()).await, ["NAME", "name"]);
        assert_eq!(kit.text("name").await.as_deref(), Some("small"));
        assert_eq!(kit.text("NAME").await.as_deref(), Some("large"));
    }
    pen.finish().await;
}
