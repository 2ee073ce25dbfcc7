//! Staging: holes, full disks, failing writers, names that are refused.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use wl_core::model::{ContentHash, Hasher};
use wl_core::storage::{
    ErrorKind, Expect, ReadRequest, ReplaceRequest, SMALL_FILE, SessionOptions, StorageBackend,
};

use super::kit::{Lab, content, kind, open, options, p, put, run_name, stage};
use crate::local::sys::Renames;

/// A small file system in memory; only root may mount one.
pub struct Mount(PathBuf);

impl Mount {
    /// Shows the folder `from` at `at` as well.
    pub fn bind(from: &Path, at: &Path) -> Option<Self> {
        if rustix::mount::mount_bind(from, at).is_ok() {
            return Some(Self(at.to_owned()));
        }
        println!("SKIPPED: a folder cannot be mounted here");
        None
    }

    pub fn new(at: &Path, size: &str) -> Option<Self> {
        // No program is started for this: a fork copies the locks of all other tests for a moment.
        let options = std::ffi::CString::new(format!("size={size}")).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        if rustix::mount::mount("wl-test", at, "tmpfs", flags, &*options).is_ok() {
            return Some(Self(at.to_owned()));
        }
        println!("SKIPPED: a file system cannot be mounted here");
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[tokio::test]
async fn what_is_free_is_known() {
    let dir = super::kit::folder();
    let Some(_mount) = Mount::new(dir.path(), "1m") else {
        return;
    };
    let backend = open(dir.path(), Renames::ALL);
    assert_eq!(backend.free_space().await, Some(1 << 20));
    std::fs::write(dir.path().join("a"), vec![1; 1 << 20]).unwrap();
    assert_eq!(backend.free_space().await, Some(0));
    std::fs::remove_file(dir.path().join("a")).unwrap();
    assert_eq!(backend.free_space().await, Some(1 << 20));
}

#[tokio::test]
async fn a_full_disk_is_told_and_leaves_nothing() {
    let dir = super::kit::folder();
    let Some(_mount) = Mount::new(dir.path(), "1m") else {
        return;
    };
    let backend = open(dir.path(), Renames::ALL);
    let session = backend.begin(options(&run_name())).await.unwrap();
    put(&*session, "kept", b"old", Expect::Absent)
        .await
        .unwrap();
    let big = vec![1; SMALL_FILE as usize];
    let mut staged = Vec::new();
    let full = loop {
        match stage(&*session, content("new", &big)).await {
            Ok(one) => staged.push(one),
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), ErrorKind::Full);
    assert!(full.reason().ends_with("free some space"), "{full}");
    let mut writer = session
        .stage_large(content("l", b""), 1 << 20, &Expect::Absent)
        .await
        .unwrap();
    let failed = writer.write(Bytes::from(vec![1; 1 << 20])).await;
    assert_eq!(kind(failed), ErrorKind::Full);
    assert!(writer.write(Bytes::from_static(b"x")).await.is_err());
    drop(writer);
    // With the disk full a version can still be replaced and removed, or is left alone.
    let meta = backend.stat(&p("kept")).await.unwrap().unwrap();
    let expected = wl_core::storage::Expected::of(&meta, Some(ContentHash::of(b"old")));
    let request = ReplaceRequest {
        path: p("kept"),
        staged: staged.pop().unwrap(),
        expect: Expect::Is(expected),
        listed: false,
    };
    let replaced = session.replace(vec![request]).await.pop().unwrap();
    let now = std::fs::read(dir.path().join("kept")).unwrap();
    assert_eq!(
        now,
        if replaced.is_ok() {
            big
        } else {
            b"old".to_vec()
        }
    );
    session.finish().await.unwrap();
    let kept = backend.trash_list().await.unwrap().len();
    assert_eq!(kept, usize::from(replaced.is_ok()));
    assert!(!dir.path().join(".wl/stage").exists());
}

#[tokio::test]
async fn a_large_sparse_file_stays_sparse() {
    let lab = Lab::new();
    let size: u64 = 512 << 20;
    let source = std::fs::File::create(lab.at("source")).unwrap();
    source.set_len(size).unwrap();
    std::os::unix::fs::FileExt::write_at(&source, b"in the middle", size / 2 + 5).unwrap();
    let meta = lab.meta("source").await;
    let session = lab.begin().await;
    let request = ReadRequest {
        path: p("source"),
        meta: meta.clone(),
    };
    let mut reader = lab.backend.read(request).await.unwrap();
    let mut writer = session
        .stage_large(content("copy", b""), size, &Expect::Absent)
        .await
        .unwrap();
    let mut hasher = Hasher::new();
    while let Some(piece) = reader.next().await.unwrap() {
        assert!(!piece.is_empty() && piece.len() <= 1 << 20);
        hasher.update(&piece);
        writer.write(piece).await.unwrap();
    }
    let hash = hasher.finish();
    let staged = writer.finish(hash).await.unwrap();
    assert_eq!(staged.size, size);
    let request = ReplaceRequest {
        path: p("copy"),
        staged,
        expect: Expect::Absent,
        listed: false,
    };
    session.replace(vec![request]).await.pop().unwrap().unwrap();
    session.finish().await.unwrap();
    let copy = std::fs::metadata(lab.at("copy")).unwrap();
    assert_eq!(copy.size(), size);
    assert!(copy.blocks() * 512 < 1 << 20, "{} blocks", copy.blocks());
    let cancel = tokio_util::sync::CancellationToken::new();
    let hashed = lab.backend.hash(&p("copy"), &cancel).await.unwrap();
    assert_eq!(hashed.hash, hash);
}

#[tokio::test]
async fn a_dropped_writer_leaves_nothing() {
    let lab = Lab::new();
    let session = lab.begin().await;
    let mut writer = session
        .stage_large(content("l", b""), 3, &Expect::Absent)
        .await
        .unwrap();
    writer.write(Bytes::from_static(b"abc")).await.unwrap();
    drop(writer);
    let left = std::fs::read_dir(lab.at(".wl/stage"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let mut names: Vec<_> = std::fs::read_dir(left.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["journal", "lock"]);
    session.finish().await.unwrap();
    assert!(!lab.at(".wl/stage").exists());
}

#[tokio::test]
async fn a_session_that_writes_nothing_makes_nothing() {
    let lab = Lab::new();
    let session = lab.begin().await;
    session.flush().await.unwrap();
    session.finish().await.unwrap();
    assert!(!lab.at(".wl").exists());
    assert!(put(&*session, "a", b"", Expect::Absent).await.is_err());
}

#[tokio::test]
async fn a_file_or_link_in_our_folders_place_is_refused() {
    let lab = Lab::new();
    let elsewhere = super::kit::folder();
    std::os::unix::fs::symlink(elsewhere.path(), lab.at(".wl")).unwrap();
    let begun = lab.backend.begin(options(&run_name())).await;
    let error = begun.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Other, "nobody gave a wrong word");
    assert!(error.to_string().contains("move `.wl` away"), "{error}");
    std::fs::remove_file(lab.at(".wl")).unwrap();
    std::fs::write(lab.at(".wl"), b"mine").unwrap();
    let begun = lab.backend.begin(options(&run_name())).await;
    assert_eq!(begun.err().map(|e| e.kind()), Some(ErrorKind::Other));
    assert_eq!(lab.read(".wl").unwrap(), b"mine");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn run_names_are_checked_and_not_used_twice() {
    let lab = Lab::new();
    for name in ["", "a/b", "..", "a b", "é"] {
        let begun = lab.backend.begin(options(name)).await;
        assert_eq!(
            begun.err().map(|e| e.kind()),
            Some(ErrorKind::Config),
            "{name}"
        );
    }
    let one = lab.backend.begin(options("same")).await.unwrap();
    put(&*one, "a", b"1", Expect::Absent).await.unwrap();
    let two = lab.second().begin(options("same")).await.unwrap();
    let refused = put(&*two, "b", b"2", Expect::Absent).await;
    assert_eq!(kind(refused), ErrorKind::Config);
}

#[tokio::test]
async fn full_durability_and_none_work_alike() {
    use wl_core::storage::Durability;
    for durability in [Durability::Full, Durability::Batch, Durability::None] {
        let lab = Lab::new();
        let options = SessionOptions {
            durability,
            ..options(&run_name())
        };
        let session = lab.backend.begin(options).await.unwrap();
        for number in 0..40 {
            put(&*session, &format!("f{number}"), b"1", Expect::Absent)
                .await
                .unwrap();
            session.flush().await.unwrap();
        }
        let expected = lab.expected("f7").await;
        put(&*session, "f7", b"2", Expect::Is(expected))
            .await
            .unwrap();
        assert_eq!(session.finish().await.unwrap().versions, 1);
        assert_eq!(lab.read("f7").unwrap(), b"2");
    }
}
