//! The trash: late writers, expiry, coming back.

use std::io::Write;
use std::time::Duration;

use wl_core::storage::{
    ErrorKind, Expect, SessionOptions, StorageBackend, TrashId, TrashKeep, TrashState,
};

use super::kit::{Lab, kind, options, p, put, run_name, take};

async fn empty_run(lab: &Lab, keep: TrashKeep) -> Vec<wl_core::storage::StrandedVersion> {
    let options = SessionOptions {
        trash_keep: keep,
        ..options(&run_name())
    };
    let session = lab.backend.begin(options).await.unwrap();
    session.finish().await.unwrap();
    session.stranded().await
}

#[tokio::test]
async fn a_late_writer_is_noticed_and_kept() {
    let lab = Lab::new();
    lab.write("f", b"old");
    lab.write("g", b"old too");
    let mut open = std::fs::OpenOptions::new()
        .append(true)
        .open(lab.at("f"))
        .unwrap();
    let session = lab.begin().await;
    let expected = lab.expected("f").await;
    put(&*session, "f", b"new", Expect::Is(expected))
        .await
        .unwrap();
    take(&*session, "g", lab.expected("g").await).await.unwrap();
    session.finish().await.unwrap();
    open.write_all(b" and more").unwrap();
    let late = empty_run(&lab, TrashKeep::None).await;
    assert_eq!(late.len(), 1);
    assert_eq!(late[0].path, Some(p("f")));
    assert!(late[0].reason.contains("still had the old version open"));
    for _ in 0..2 {
        let trash = lab.trash().await;
        assert_eq!(trash.len(), 1, "g is given up, f never is");
        assert_eq!(trash[0].0.state, TrashState::Late);
        assert_eq!(trash[0].1, b"old and more");
        assert!(
            empty_run(&lab, TrashKeep::None).await.is_empty(),
            "told once"
        );
    }
}

#[tokio::test]
async fn versions_stay_as_long_as_they_should() {
    let lab = Lab::new();
    lab.write("f", b"old");
    let session = lab.begin().await;
    take(&*session, "f", lab.expected("f").await).await.unwrap();
    assert_eq!(session.finish().await.unwrap().versions, 1);
    let week = TrashKeep::For(Duration::from_secs(7 * 24 * 3600));
    for _ in 0..2 {
        empty_run(&lab, week).await;
        assert_eq!(lab.trash().await.len(), 1);
    }
    empty_run(&lab, TrashKeep::For(Duration::ZERO)).await;
    assert!(lab.trash().await.is_empty());
    assert_eq!(std::fs::read_dir(lab.at(".wl/trash")).unwrap().count(), 0);
}

#[tokio::test]
async fn the_trash_of_a_living_session_is_not_touched() {
    let lab = Lab::new();
    lab.write("f", b"old");
    let living = lab.begin().await;
    take(&*living, "f", lab.expected("f").await).await.unwrap();
    empty_run(&lab, TrashKeep::None).await;
    assert_eq!(lab.trash().await.len(), 1);
    living.finish().await.unwrap();
    empty_run(&lab, TrashKeep::None).await;
    assert!(lab.trash().await.is_empty());
}

#[tokio::test]
async fn a_version_comes_back_with_its_folders() {
    let lab = Lab::new();
    lab.write("a/b/f", b"old");
    let session = lab.begin().await;
    take(&*session, "a/b/f", lab.expected("a/b/f").await)
        .await
        .unwrap();
    session.finish().await.unwrap();
    std::fs::remove_dir_all(lab.at("a")).unwrap();
    let item = lab.trash().await.pop().unwrap().0;
    lab.write("taken", b"");
    let refused = lab.backend.trash_restore(&item.id, &p("taken")).await;
    assert_eq!(kind(refused), ErrorKind::Changed);
    lab.backend
        .trash_restore(&item.id, &p("a/b/f"))
        .await
        .unwrap();
    assert_eq!(lab.read("a/b/f").unwrap(), b"old");
    assert!(lab.trash().await.is_empty());
    let gone = lab.backend.trash_restore(&item.id, &p("x")).await;
    assert_eq!(kind(gone), ErrorKind::NotFound);
}

#[tokio::test]
async fn only_names_of_versions_are_taken() {
    let lab = Lab::new();
    lab.write("f", b"old");
    let session = lab.begin().await;
    take(&*session, "f", lab.expected("f").await).await.unwrap();
    session.finish().await.unwrap();
    let run = lab.trash().await.pop().unwrap().0.id.0;
    let run = run.split('/').next().unwrap();
    let ids = [
        "",
        "/",
        "../stage/0",
        "x/../../lock",
        "a/b/c",
        "..//0",
        ".wl/0",
        &format!("{run}/index"),
        &format!("{run}/../{run}/0"),
        &format!("{run}/"),
        &format!("{run}/+0"),
    ];
    for id in ids {
        let id = TrashId(id.to_owned());
        let restored = lab.backend.trash_restore(&id, &p("out")).await;
        assert_eq!(kind(restored), ErrorKind::NotFound, "{id}");
    }
    assert!(!lab.at("out").exists());
    let id = TrashId(format!("{run}/0"));
    let reserved = lab.backend.trash_restore(&id, &p(".wl/x")).await;
    assert_eq!(kind(reserved), ErrorKind::Unrepresentable);
}

#[tokio::test]
async fn a_torn_index_line_hides_no_other() {
    let lab = Lab::new();
    for path in ["a", "b", "c"] {
        lab.write(path, path.as_bytes());
    }
    let session = lab.begin().await;
    take(&*session, "a", lab.expected("a").await).await.unwrap();
    let run = lab.trash().await.pop().unwrap().0.id.0;
    let index = lab.at(&format!(
        ".wl/trash/{}/index",
        run.split('/').next().unwrap()
    ));
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(index)
        .unwrap();
    file.write_all(b"{\"n\":77,\"pa").unwrap();
    take(&*session, "b", lab.expected("b").await).await.unwrap();
    session.finish().await.unwrap();
    let paths: Vec<_> = lab
        .trash()
        .await
        .into_iter()
        .map(|(item, _)| item.path)
        .collect();
    assert_eq!(paths, [Some(p("a")), Some(p("b"))]);
}
