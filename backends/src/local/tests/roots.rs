//! The root itself: which folder it is, and that it stays the same one.

use std::fs;

use wl_core::storage::{ErrorKind, Expect, ListRequest, RootChange, StorageBackend};

use super::kit::{Lab, kind, options, p, put, run_name};
use crate::local::LocalBackend;

fn open(path: &std::path::Path) -> LocalBackend {
    LocalBackend::open(path.to_str().unwrap()).unwrap()
}

#[tokio::test]
async fn the_marker_tells_folders_apart_and_stays_with_a_rename() {
    let lab = Lab::new();
    let (root, away) = (lab.at("root"), lab.at("away"));
    fs::create_dir(&root).unwrap();
    let first = open(&root).root_marker().await.unwrap();
    assert!(
        first.folder.is_some() && !first.file_system.is_empty(),
        "{first:?}"
    );
    fs::rename(&root, &away).unwrap();
    let renamed = open(&away).root_marker().await.unwrap();
    assert_eq!(renamed, first);
    fs::create_dir(&root).unwrap();
    let beside = open(&root).root_marker().await.unwrap();
    assert_eq!(beside.since(&first), RootChange::Folder, "{beside:?}");
    // Deleted and made anew: many file systems give it the old inode number.
    fs::remove_dir(&root).unwrap();
    fs::create_dir(&root).unwrap();
    let anew = open(&root).root_marker().await.unwrap();
    assert_eq!(
        anew.since(&beside),
        RootChange::Folder,
        "{anew:?} {beside:?}"
    );
}

/// A folder on a disk, where inode numbers come again at once.
#[tokio::test]
async fn a_folder_that_got_the_old_inode_number_is_another_one() {
    let dir = tempfile::TempDir::with_prefix("wl-test-").unwrap();
    let root = dir.path().join("root");
    let mut known = None;
    for _ in 0..3 {
        fs::create_dir(&root).unwrap();
        let now = open(&root).root_marker().await.unwrap();
        if now
            .folder
            .as_deref()
            .is_none_or(|folder| !folder.contains("born"))
        {
            println!("SKIPPED: the file system here tells no time of birth");
            return;
        }
        if let Some(known) = known.replace(now.clone()) {
            assert_eq!(now.since(&known), RootChange::Folder);
        }
        fs::remove_dir(&root).unwrap();
    }
}

/// A run that began in one folder does not go on in another.
#[tokio::test]
async fn a_root_that_is_exchanged_under_a_run_is_unavailable_until_it_is_back() {
    let lab = Lab::new();
    let (root, away) = (lab.at("root"), lab.at("away"));
    fs::create_dir(&root).unwrap();
    fs::write(root.join("f"), "content").unwrap();
    let backend = open(&root);
    let marker = backend.root_marker().await.unwrap();
    let session = backend.begin(options(&run_name())).await.unwrap();
    fs::rename(&root, &away).unwrap();
    fs::create_dir(&root).unwrap();
    let everything = || ListRequest::everything(lab.dir.path());
    assert_eq!(
        kind(backend.list(everything()).await.map(|_| ())),
        ErrorKind::Unavailable
    );
    assert_eq!(kind(backend.stat(&p("f")).await), ErrorKind::Unavailable);
    assert_eq!(
        kind(backend.begin(options(&run_name())).await.map(|_| ())),
        ErrorKind::Unavailable
    );
    // What is behind the root is told all the same.
    let now = backend.root_marker().await.unwrap();
    assert_eq!(now.since(&marker), RootChange::Folder);
    // A session stays with the folder that it began in.
    put(&*session, "g", b"new", Expect::Absent).await.unwrap();
    session.finish().await.unwrap();
    assert!(away.join("g").exists() && fs::read_dir(&root).unwrap().next().is_none());
    fs::remove_dir(&root).unwrap();
    fs::rename(&away, &root).unwrap();
    assert!(backend.stat(&p("f")).await.unwrap().is_some());
    assert_eq!(backend.root_marker().await.unwrap(), marker);
}

#[tokio::test]
async fn another_mount_at_the_root_is_another_file_system() {
    let lab = Lab::new();
    let root = lab.at("m");
    fs::create_dir(&root).unwrap();
    let backend = open(&root);
    let plain = backend.root_marker().await.unwrap();
    let Some(mount) = super::staging::Mount::new(&root, "64k") else {
        return;
    };
    let mounted = backend.root_marker().await.unwrap();
    assert_eq!(mounted.since(&plain), RootChange::FileSystem);
    assert_eq!(kind(backend.stat(&p("f")).await), ErrorKind::Unavailable);
    drop(mount);
    assert_eq!(backend.root_marker().await.unwrap(), plain);
}

/// Where the path that names a storage leads now is another storage, or none.
#[tokio::test]
async fn a_link_that_leads_elsewhere_is_told_until_it_is_put_back() {
    let lab = Lab::new();
    for folder in ["one/photos", "two/photos"] {
        fs::create_dir_all(lab.at(folder)).unwrap();
    }
    let lead = |link: &str, to: &str| {
        let _ = fs::remove_file(lab.at(link));
        std::os::unix::fs::symlink(lab.at(to), lab.at(link)).unwrap();
    };
    for (link, named, right, wrong) in [
        ("end", "end", "one/photos", "two/photos"),
        ("above", "above/photos", "one", "two"),
    ] {
        lead(link, right);
        let backend = open(&lab.at(named));
        let marker = backend.root_marker().await.unwrap();
        lead(link, wrong);
        let error = backend.root_marker().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Elsewhere, "{error}");
        let leads = lab.at("two/photos").canonicalize().unwrap();
        for said in [lab.at(named).to_str().unwrap(), leads.to_str().unwrap()] {
            assert!(error.reason().contains(said), "{error}");
        }
        lead(link, "nowhere");
        let error = backend.root_marker().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        lead(link, right);
        assert_eq!(backend.root_marker().await.unwrap(), marker);
    }
}
