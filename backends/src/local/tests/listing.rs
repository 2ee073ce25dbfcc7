//! Listings: order, what is not text, what cannot be read, very wide and very deep trees.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, mkdirat, openat};
use wl_core::model::{Key, Kind, Meta};
use wl_core::storage::{ErrorKind, Expected, Filter, ListRequest, Row, Scope, StorageBackend};

use super::kit::{Lab, kind, p};
use crate::local::LocalBackend;
use crate::local::model::{Machine, Op, Rules, When};
use crate::local::sys::Renames;
use crate::local::walk::IN_MEMORY;

fn scope(lab: &Lab, paths: &[&str]) -> ListRequest {
    ListRequest {
        scope: Scope::Subtrees(paths.iter().map(|path| p(path)).collect()),
        ..ListRequest::everything(lab.dir.path())
    }
}

#[tokio::test]
async fn rows_come_in_the_order_of_keys() {
    let lab = Lab::new();
    for path in ["a", "a-b", "a.d/x", "b/c", "b-", "b0/é", ".wl/stage/x"] {
        lab.write(path, b"");
    }
    symlink("../out", lab.at("b/link")).unwrap();
    let rows = lab.list_all().await;
    let due = [
        "a",
        "a-b",
        "a.d/",
        "a.d/x",
        "b-",
        "b/",
        "b/c",
        "b/link -> ../out",
        "b0/",
        "b0/é",
    ];
    assert_eq!(rows, due);
}

#[tokio::test]
async fn what_is_not_text_is_told_after_its_folder() {
    let lab = Lab::new();
    lab.write("d/a", b"");
    std::fs::write(lab.at("d").join(OsStr::from_bytes(b"x\xff\x1b[0m")), b"").unwrap();
    symlink(OsStr::from_bytes(b"\xfe"), lab.at("d/link")).unwrap();
    let rows = lab.list_all().await;
    // The link is there, whatever it says: nobody may take the path for empty.
    let due = [
        "d/",
        "unrepresentable d/ x\\xff\\x1b[0m",
        "d/a",
        "unknown d/link false Unrepresentable",
    ];
    assert_eq!(rows, due);
    let rows = lab.list(scope(&lab, &["d/link"])).await;
    assert_eq!(rows, ["unknown d/link false Unrepresentable"]);
}

#[tokio::test]
async fn special_files_are_skipped_and_links_are_never_followed() {
    let lab = Lab::new();
    lab.write("real/inner", b"");
    symlink("real", lab.at("alias")).unwrap();
    symlink("/", lab.at("slash")).unwrap();
    let root = rustix::fs::open(lab.dir.path(), OFlags::PATH, Mode::empty()).unwrap();
    rustix::fs::mkfifoat(&root, "pipe", Mode::RUSR).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(lab.at("socket")).unwrap();
    let rows = lab.list_all().await;
    let due = [
        "alias -> real",
        "skipped pipe",
        "real/",
        "real/inner",
        "slash -> /",
        "skipped socket",
    ];
    assert_eq!(rows, due);
    let paths = [
        "alias/inner",
        "missing/x",
        "pipe",
        "real/inner/x",
        "slash/tmp",
    ];
    let due = [
        "absent alias/inner",
        "absent missing/x",
        "skipped pipe",
        "absent real/inner/x",
        "absent slash/tmp",
    ];
    assert_eq!(lab.list(scope(&lab, &paths)).await, due);
}

#[tokio::test]
async fn a_scope_of_a_file_and_a_folder_keeps_the_order_of_keys() {
    let lab = Lab::new();
    for path in ["a/x", "a-b", "c"] {
        lab.write(path, b"");
    }
    let rows = lab.list(scope(&lab, &["a", "a-b", "b", "c"])).await;
    assert_eq!(rows, ["a-b", "a/", "a/x", "absent b", "c"]);
}

#[tokio::test]
async fn a_listing_can_start_in_the_middle_of_a_folder() {
    let lab = Lab::new();
    for path in ["a/1", "b/1", "b/2/x", "b/3", "c"] {
        lab.write(path, b"");
    }
    let all = lab.list_all().await;
    for (at, row) in all.iter().enumerate() {
        let request = ListRequest {
            start_after: Some(Key::from_text(row).unwrap()),
            ..ListRequest::everything(lab.dir.path())
        };
        assert_eq!(lab.list(request).await, all[at + 1..], "after {row}");
    }
}

#[derive(Debug)]
struct NoModules;

impl Filter for NoModules {
    fn excludes(&self, path: &wl_core::model::SyncPath, folder: bool) -> bool {
        folder && path.name() == "node_modules"
    }
}

#[tokio::test]
async fn an_excluded_folder_is_not_looked_into() {
    let lab = Lab::new();
    lab.write("p/node_modules/x", b"");
    lab.write("q/node_modules", b"a file");
    let request = ListRequest {
        filter: Arc::new(NoModules),
        ..ListRequest::everything(lab.dir.path())
    };
    let rows = lab.list(request).await;
    assert_eq!(
        rows,
        ["p/", "excluded p/node_modules/", "q/", "q/node_modules"]
    );
}

#[tokio::test]
async fn a_folder_of_very_many_names_is_sorted_on_disk() {
    let lab = Lab::new();
    let count = IN_MEMORY + 1_500;
    std::fs::create_dir(lab.at("wide")).unwrap();
    for number in 0..count {
        let path = lab.at(&format!("wide/{:07}", number * 7_919 % count));
        if number % 1000 == 0 {
            std::fs::create_dir(path).unwrap();
        } else {
            std::fs::File::create(path).unwrap();
        }
    }
    let rows = lab.list_all().await;
    assert_eq!(rows.len(), count + 1);
    assert!(rows.is_sorted());
}

/// Makes a chain of folders with a file and a later folder in each; paths become longer than the system takes.
fn deep(lab: &Lab, levels: usize, name: &str) {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at: OwnedFd = rustix::fs::open(lab.dir.path(), flags, Mode::empty()).unwrap();
    for _ in 0..levels {
        mkdirat(&at, name, Mode::RWXU).unwrap();
        mkdirat(&at, "z", Mode::RWXU).unwrap();
        at = openat(&at, name, flags, Mode::empty()).unwrap();
    }
    openat(&at, "end", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).unwrap();
}

#[tokio::test]
async fn trees_deeper_than_a_path_may_be_are_walked() {
    let lab = Lab::new();
    let (levels, name) = (1_500, "n".repeat(40));
    deep(&lab, levels, &name);
    let mut listing = lab
        .backend
        .list(ListRequest::everything(lab.dir.path()))
        .await
        .unwrap();
    let (mut rows, mut last, mut bad) = (0, None, 0);
    while let Some(batch) = listing.next().await.unwrap() {
        for row in batch {
            let key = row.key();
            assert!(last.as_ref() < Some(&key));
            bad += usize::from(!matches!(row, wl_core::storage::Row::Present(_)));
            last = Some(key);
            rows += 1;
        }
    }
    assert_eq!((rows, bad), (2 * levels + 1, 0));
    let end = format!("{}end", format!("{name}/").repeat(levels));
    let meta: Option<Meta> = lab.backend.stat(&p(&end)).await.unwrap();
    assert!(meta.is_some(), "a path of {} bytes is reached", end.len());
    let session = lab.begin().await;
    let new = format!("{end}2");
    super::kit::put(&*session, &new, b"x", wl_core::storage::Expect::Absent)
        .await
        .unwrap();
    session.finish().await.unwrap();
    assert_eq!(lab.list(scope(&lab, &[&new])).await, [new]);
}

#[tokio::test]
async fn a_root_that_is_gone_is_unavailable() {
    let lab = Lab::new();
    let root = lab.at("root");
    std::fs::create_dir(&root).unwrap();
    let backend = LocalBackend::open(root.to_str().unwrap()).unwrap();
    std::fs::remove_dir(&root).unwrap();
    let listed = backend.list(ListRequest::everything(lab.dir.path())).await;
    assert_eq!(listed.err().map(|e| e.kind()), Some(ErrorKind::Unavailable));
    assert_eq!(kind(backend.root_marker().await), ErrorKind::Unavailable);
    std::fs::write(&root, b"").unwrap();
    assert!(
        backend
            .list(ListRequest::everything(lab.dir.path()))
            .await
            .is_err()
    );
    let opened = LocalBackend::open(lab.at("nowhere").to_str().unwrap());
    assert_eq!(kind(opened), ErrorKind::Unavailable);
}

/// Where it went the walk may have been already: that it is not at its path proves nothing.
#[tokio::test]
async fn a_folder_that_is_renamed_while_its_parent_is_walked_is_unknown() {
    let disk = Machine::default().disk("disk", Rules::Loose);
    disk.user().write("a/1", b"").unwrap();
    disk.user().write("z/1", b"").unwrap();
    let backend = LocalBackend::on_model(&disk).unwrap();
    let user = disk.clone();
    disk.machine().on_call(move |call| {
        if call.op == Op::Open && call.when == When::Before && call.name == "z" {
            user.user().rename("z", "y").unwrap();
        }
    });
    let spill = tempfile::tempdir().unwrap();
    let request = ListRequest::everything(spill.path());
    let mut listing = backend.list(request).await.unwrap();
    let mut rows = Vec::new();
    while let Some(batch) = listing.next().await.unwrap() {
        rows.extend(batch.iter().map(super::kit::row_text));
    }
    let due = ["a/", "a/1", "z/", "unknown z/ true Busy"];
    assert_eq!(rows, due);
}

/// A root swapped for a link to elsewhere is not followed.
#[tokio::test]
async fn a_root_that_became_a_link_is_unavailable() {
    let lab = Lab::new();
    std::fs::create_dir(lab.at("root")).unwrap();
    std::fs::create_dir(lab.at("other")).unwrap();
    let backend = LocalBackend::open(lab.at("root").to_str().unwrap()).unwrap();
    std::fs::remove_dir(lab.at("root")).unwrap();
    symlink("other", lab.at("root")).unwrap();
    assert_eq!(kind(backend.root_marker().await), ErrorKind::Unavailable);
}

#[tokio::test]
async fn another_file_system_in_the_tree_shows_in_its_folders_token() {
    let lab = Lab::new();
    std::fs::create_dir(lab.at("m")).unwrap();
    let target = lab.at("m");
    assert_eq!(lab.meta("m").await.token.as_str(), "");
    let Some(_mount) = super::staging::Mount::new(&target, "64k") else {
        return;
    };
    let token = lab.meta("m").await.token;
    assert_ne!(token.as_str(), "");
    let mut listing = lab
        .backend
        .list(ListRequest::everything(lab.dir.path()))
        .await
        .unwrap();
    let rows = listing.next().await.unwrap().unwrap();
    let Row::Present(entry) = &rows[0] else {
        panic!("a folder was due")
    };
    assert_eq!(entry.meta.token, token);
}

/// The tokens of all folders: listed, looked at by their paths, and alone; all three say the same.
async fn folder_tokens(lab: &Lab, folders: &[&str]) -> Vec<String> {
    let everything = ListRequest::everything(lab.dir.path());
    let mut by_paths = everything.clone();
    by_paths.scope = Scope::Paths(folders.iter().map(|path| p(path)).collect());
    let mut subtrees = everything.clone();
    subtrees.scope = Scope::Subtrees(folders.iter().map(|path| p(path)).collect());
    let mut told = Vec::new();
    for path in folders {
        told.push(lab.meta(path).await.token.as_str().to_owned());
    }
    for request in [everything, by_paths, subtrees] {
        let mut listing = lab.backend.list(request).await.unwrap();
        let mut tokens = std::collections::BTreeMap::new();
        while let Some(rows) = listing.next().await.unwrap() {
            for row in rows {
                if let Row::Present(entry) = row
                    && entry.meta.kind == Kind::Folder
                {
                    let token = entry.meta.token.as_str().to_owned();
                    tokens.insert(entry.path.as_str().to_owned(), token);
                }
            }
        }
        for (path, told) in folders.iter().zip(&told) {
            assert_eq!(tokens.get(*path), Some(told), "{path} {tokens:?}");
        }
    }
    told
}

#[tokio::test]
async fn a_bind_mount_on_the_same_file_system_shows_in_its_folders_token() {
    let (lab, other) = (Lab::new(), Lab::new());
    lab.write("b/in/f", b"1");
    lab.write("m/below", b"1");
    other.write("d/f", b"1");
    assert_eq!(folder_tokens(&lab, &["b", "b/in", "m"]).await, [""; 3]);
    let Some(mount) = super::staging::Mount::bind(other.dir.path(), &lab.at("m")) else {
        return;
    };
    let folders = ["b", "b/in", "m", "m/d"];
    let bound = ["", "", "bind", "bind"];
    assert_eq!(folder_tokens(&lab, &folders).await, bound);
    // What a session makes or changes there has the token that a look finds.
    let session = lab.begin().await;
    let made = session.make_folder(&p("m/new"), None).await.unwrap();
    assert_eq!(made.token.as_str(), "bind");
    let expected = Expected::of(&lab.meta("m/new").await, None);
    let mode = wl_core::model::Mode::new(0o711);
    let changed = session
        .set_mode(&p("m/new"), &expected, mode)
        .await
        .unwrap();
    assert_eq!(changed.token.as_str(), "bind");
    let made = session.make_folder(&p("b/new"), None).await.unwrap();
    assert_eq!(made.token.as_str(), "");
    session.finish().await.unwrap();
    drop(mount);
    assert_eq!(folder_tokens(&lab, &["b", "b/in", "m"]).await, [""; 3]);
    // A root that is itself a bind mount has no other one below it; its number after the next mount is another one.
    let at = lab.at("root");
    std::fs::create_dir(&at).unwrap();
    for _ in 0..2 {
        let _mount = super::staging::Mount::bind(other.dir.path(), &at);
        let root = super::kit::open(&at, Renames::ALL);
        let meta = root.stat(&p("d")).await.unwrap().unwrap();
        assert_eq!(meta.token.as_str(), "");
    }
}

/// Not a test of correctness: run with `--release -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn how_long_a_walk_takes() {
    let lab = Lab::new();
    for folder in 0..5_000 {
        for file in 0..20 {
            lab.write(
                &format!("d{:02}/f{folder}/file-{file}.txt", folder % 70),
                b"x",
            );
        }
    }
    for _ in 0..5 {
        let start = std::time::Instant::now();
        let mut listing = lab
            .backend
            .list(ListRequest::everything(lab.dir.path()))
            .await
            .unwrap();
        let mut rows = 0;
        while let Some(batch) = listing.next().await.unwrap() {
            rows += batch.len();
        }
        println!("{rows} rows in {:?}", start.elapsed());
    }
}
