//! Races: sessions against each other, and against programs that know of no lock. Every version is accounted for.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use wl_core::model::ContentHash;
use wl_core::storage::{ErrorKind, Expect, Expected, RenameRequest, StorageBackend, WriteSession};

use super::kit::{Lab, WEAK, options, p, put, run_name, take};

async fn sessions(lab: &Lab) -> [Arc<dyn WriteSession>; 2] {
    [
        lab.begin().await,
        lab.second().begin(options(&run_name())).await.unwrap(),
    ]
}

/// All contents that are still somewhere.
async fn versions(lab: &Lab) -> HashSet<Vec<u8>> {
    let mut all: HashSet<_> = lab.trash().await.into_iter().map(|(_, c)| c).collect();
    for entry in std::fs::read_dir(lab.dir.path()).unwrap() {
        all.extend(std::fs::read(entry.unwrap().path()));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_sessions_wins_and_no_version_is_lost() {
    for limit in WEAK {
        let lab = Lab::limited(limit);
        lab.write("f", b"0");
        let pair = sessions(&lab).await;
        let mut written = HashSet::from([b"0".to_vec()]);
        for round in 0..150 {
            let expected = lab.expected("f").await;
            let contents = [0, 1].map(|who| format!("{round} by {who}").into_bytes());
            let (one, two) = tokio::join!(
                put(&*pair[0], "f", &contents[0], Expect::Is(expected.clone())),
                put(&*pair[1], "f", &contents[1], Expect::Is(expected)),
            );
            assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
            let loser = if one.is_ok() {
                two
            } else {
                one.map(|_| two.unwrap())
            };
            assert_eq!(loser.map_err(|e| e.kind()).unwrap_err(), ErrorKind::Changed);
            written.insert(lab.read("f").unwrap());
        }
        assert_eq!(written.len(), 151);
        assert!(versions(&lab).await.is_superset(&written));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_remove_and_rename_have_one_winner() {
    for limit in WEAK {
        let lab = Lab::limited(limit);
        let pair = sessions(&lab).await;
        for round in 0..100 {
            let name = format!("f{round}");
            let (one, two) = tokio::join!(
                put(&*pair[0], &name, b"one", Expect::Absent),
                put(&*pair[1], &name, b"two", Expect::Absent),
            );
            assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
            let expected = lab.expected(&name).await;
            let rename = RenameRequest {
                from: p(&name),
                expected: expected.clone(),
                to: p(&format!("{name}-moved")),
            };
            let (removed, mut renamed) = tokio::join!(
                take(&*pair[0], &name, expected),
                pair[1].rename(vec![rename]),
            );
            let renamed = renamed.pop().unwrap();
            assert!(
                removed.is_ok() != renamed.is_ok(),
                "{removed:?} {renamed:?}"
            );
            let moved = lab.read(&format!("{name}-moved")).is_some();
            assert_eq!(moved, renamed.is_ok());
        }
    }
}

/// How an editor saves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Save {
    ByRename,
    InPlace,
}

/// What an editor wrote: the last version, and the last in each file that it wrote into.
#[derive(Default)]
struct Written {
    last: Vec<u8>,
    in_file: HashMap<u64, Vec<u8>>,
}

/// Saves numbered versions as fast as it can until it is told to stop; one at least.
fn edit(folder: &Path, save: Save, stop: &AtomicBool) -> Written {
    let mut written = Written::default();
    let path = folder.join("f");
    let new = folder.with_extension("new");
    let mut number = 0;
    while number == 0 || !stop.load(Ordering::Relaxed) {
        number += 1;
        let content = format!("editor {number:09}");
        match save {
            Save::ByRename => {
                std::fs::write(&new, &content).unwrap();
                std::fs::rename(&new, &path).unwrap();
            }
            Save::InPlace => {
                let mut file = std::fs::OpenOptions::new()
                    .create(true)
                    .write(true)
                    .truncate(true)
                    .open(&path)
                    .unwrap();
                file.write_all(content.as_bytes()).unwrap();
                let inode = file.metadata().unwrap().ino();
                written.in_file.insert(inode, content.clone().into_bytes());
            }
        }
        written.last = content.into_bytes();
        if number % 4 == 0 {
            thread::yield_now();
        }
    }
    written
}

/// Replaces what it has just read, over and over. A version that it took away without having read it must be in the trash.
async fn against_an_editor(save: Save, rounds: usize) {
    let lab = Lab::new();
    lab.write("f", b"start");
    let session = lab.begin().await;
    let stop = Arc::new(AtomicBool::new(false));
    let editor = {
        let (stop, folder) = (Arc::clone(&stop), lab.dir.path().to_owned());
        thread::spawn(move || edit(&folder, save, &stop))
    };
    let mut won = 0;
    for round in 0..rounds {
        let (Ok(Some(meta)), Some(seen)) = (lab.backend.stat(&p("f")).await, lab.read("f")) else {
            continue;
        };
        let expected = Expected::of(&meta, Some(ContentHash::of(&seen)));
        let ours = format!("ours {round:09}");
        let result = put(&*session, "f", ours.as_bytes(), Expect::Is(expected)).await;
        match result {
            Ok(_) => won += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Changed, "{error}"),
        }
    }
    stop.store(true, Ordering::Relaxed);
    let written = editor.join().unwrap();
    let stranded = session.stranded().await;
    let displaced = session.finish().await.unwrap();
    let all = versions(&lab).await;
    println!(
        "{save:?}: {won} of {rounds} won, {} kept aside",
        stranded.len()
    );
    assert!(
        all.contains(&written.last),
        "the editor's last version is gone"
    );
    for content in written.in_file.values() {
        let text = String::from_utf8_lossy(content);
        assert!(all.contains(content), "{text}, written in place, is gone");
    }
    assert!(displaced.versions >= won);
    // What was displaced knowingly is what its record says; anything else was noticed.
    let next = lab.begin().await;
    next.finish().await.unwrap();
    for (item, content) in lab.trash().await {
        let vouched = item.hash == Some(ContentHash::of(&content));
        let noticed = item.hash.is_none();
        assert!(
            vouched || noticed,
            "{item:?} holds {:?}",
            String::from_utf8_lossy(&content)
        );
    }
    assert!(!lab.at(".wl/stage").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_save_by_rename_is_destroyed_unseen() {
    against_an_editor(Save::ByRename, 2_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_save_in_place_is_destroyed_unseen() {
    against_an_editor(Save::InPlace, 2_000).await;
}

/// An editor whose every save depends on nothing: each version that a removal took away unseen is still somewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_version_is_removed_unseen() {
    for limit in WEAK {
        let lab = Lab::limited(limit);
        let session = lab.begin().await;
        for round in 0..300 {
            let first = format!("first {round}");
            lab.write("f", first.as_bytes());
            let expected = lab.expected("f").await;
            let (path, new) = (lab.at("f"), lab.dir.path().with_extension("new"));
            let second = format!("second {round}");
            let saved = second.clone();
            let editor = thread::spawn(move || {
                std::fs::write(&new, saved).unwrap();
                std::fs::rename(&new, &path).unwrap();
            });
            let removed = take(&*session, "f", expected).await;
            editor.join().unwrap();
            let now = lab.read("f");
            let stranded = session.stranded().await;
            let kept = now.as_deref() == Some(second.as_bytes())
                || stranded.iter().any(|version| version.path == Some(p("f")));
            assert!(kept, "{removed:?} {now:?}");
        }
        session.finish().await.unwrap();
        let all = versions(&lab).await;
        assert!(all.contains(b"second 299".as_slice()));
    }
}

/// Folders are moved about and swapped for links while files are created in them: nothing ends up outside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_escapes_through_a_parent_that_flickers() {
    let lab = Lab::new();
    let outside = super::kit::folder();
    std::fs::create_dir(lab.at("d")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let flicker = {
        let (stop, d, away) = (Arc::clone(&stop), lab.at("d"), lab.at("away"));
        let outside = outside.path().to_owned();
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                std::fs::rename(&d, &away).unwrap();
                std::os::unix::fs::symlink(&outside, &d).unwrap();
                std::fs::remove_file(&d).unwrap();
                std::fs::rename(&away, &d).unwrap();
            }
        })
    };
    let session = lab.begin().await;
    let mut made = 0;
    for round in 0..1_500 {
        let path = format!("d/f{round}");
        match put(&*session, &path, b"x", Expect::Absent).await {
            Ok(_) => made += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::NoParent, "{error}"),
        }
    }
    stop.store(true, Ordering::Relaxed);
    flicker.join().unwrap();
    session.finish().await.unwrap();
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(lab.at("d")).unwrap().count(), made);
}
