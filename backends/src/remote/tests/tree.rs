//! Folders to rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use wl_core::model::{Key, SyncPath};
use wl_core::storage::*;

use super::super::store::{Again, Facts};
use super::kit::{Dice, Fake, READ_ONLY, everything, rows};

const FOLDERS: Facts = Facts {
    flat: false,
    start_after: false,
    ..READ_ONLY
};

/// A tree of folders and files; no name is both.
fn tree(dice: &mut Dice) -> BTreeSet<String> {
    const NAMES: [&str; 7] = ["a", "a-b", "a.txt", "b", "é", "b0", ".wl"];
    let mut keys = BTreeSet::new();
    let mut folders = vec![String::new()];
    for _ in 0..dice.below(40) {
        let parent = folders[dice.below(folders.len())].clone();
        let path = format!("{parent}{}", NAMES[dice.below(7)]);
        if keys.contains(&path) || keys.contains(&format!("{path}/")) {
            continue;
        }
        if dice.below(2) == 0 {
            folders.push(format!("{path}/"));
            keys.insert(format!("{path}/"));
        } else {
            keys.insert(path);
        }
    }
    keys
}

fn fake(keys: &BTreeSet<String>, page: usize) -> Arc<Fake> {
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    Fake::new(FOLDERS, &keys, page)
}

fn wanted(keys: &BTreeSet<String>) -> Vec<String> {
    let ours = |key: &&String| key.as_str() != ".wl" && !key.starts_with(".wl/");
    keys.iter().filter(ours).cloned().collect()
}

#[tokio::test]
async fn a_tree_is_told_in_order_and_whole() {
    let mut dice = Dice(3);
    for _ in 0..150 {
        let keys = tree(&mut dice);
        for page in [1, 3, 100] {
            let fake = fake(&keys, page);
            let found = rows(&fake.remote(), everything()).await.unwrap();
            assert_eq!(found, wanted(&keys));
            for after in &found {
                let mut request = everything();
                request.start_after = Some(Key::from_text(after).unwrap());
                let rest = rows(&fake.remote(), request).await.unwrap();
                let wanted: Vec<_> = found.iter().filter(|key| *key > after).collect();
                assert_eq!(rest.iter().collect::<Vec<_>>(), wanted, "after {after:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_fault_at_any_page_is_tried_again_or_told() {
    let mut dice = Dice(5);
    for _ in 0..12 {
        let keys = tree(&mut dice);
        let calm = fake(&keys, 2);
        let whole = rows(&calm.remote(), everything()).await.unwrap();
        for at in 0..calm.pulse.sent.load(std::sync::atomic::Ordering::SeqCst) {
            let again = fake(&keys, 2);
            again
                .pulse
                .faults
                .lock()
                .unwrap()
                .insert(at, Again::After(None));
            assert_eq!(rows(&again.remote(), everything()).await.unwrap(), whole);
            let never = fake(&keys, 2);
            never.pulse.faults.lock().unwrap().insert(at, Again::Never);
            // The root cannot be done without; a folder says that it is unknown.
            if let Ok(found) = rows(&never.remote(), everything()).await {
                let unknown = found.iter().filter(|row| row.starts_with('~')).count();
                assert_eq!(unknown, 1, "{found:?}");
                assert!(whole.iter().all(|row| {
                    let hidden = |dark: &String| {
                        dark.strip_prefix('~')
                            .is_some_and(|dark| row.starts_with(dark))
                    };
                    found.contains(row) || found.iter().any(hidden)
                }));
            }
        }
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_listed_is_unknown_and_one_that_went_is_none() {
    let keys = ["a/", "a/x", "b/", "b/y", "c/", "c/z"].map(str::to_owned);
    let fake = fake(&keys.into(), 10);
    let broken = |path: &str, kind| fake.broken.lock().unwrap().insert(path.into(), kind);
    broken("a", ErrorKind::Denied);
    broken("b", ErrorKind::NotFound);
    let found = rows(&fake.remote(), everything()).await.unwrap();
    assert_eq!(found, ["a/", "~a/", "c/", "c/z"]);
    broken("c", ErrorKind::Unavailable);
    let error = rows(&fake.remote(), everything()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    broken("", ErrorKind::NotFound);
    assert!(rows(&fake.remote(), everything()).await.unwrap().is_empty());
    broken("", ErrorKind::Denied);
    assert!(rows(&fake.remote(), everything()).await.is_err());
}

#[tokio::test]
async fn scopes_and_names_that_are_refused() {
    let keys = [
        "a/",
        "a/x",
        "a-b",
        "d/",
        "d/blank ",
        "d/blank  /",
        "d/blank  /x",
        "e",
    ]
    .map(str::to_owned);
    let fake = fake(&keys.into(), 10);
    let paths = ["a", "a-b", "d", "gone"].map(|text| SyncPath::new(text).unwrap());
    let scope = Scope::Subtrees(paths.into());
    let found = rows(
        &fake.remote(),
        ListRequest {
            scope,
            ..everything()
        },
    )
    .await
    .unwrap();
    assert_eq!(
        found,
        [
            "a-b",
            "a/",
            "a/x",
            "d/",
            "~d/blank ",
            "d/blank  /",
            "~d/blank  /",
            "?gone"
        ]
    );
}

#[tokio::test]
async fn a_huge_folder_goes_through_the_disk() {
    let mut keys: BTreeSet<_> = (0..3000).map(|n| format!("big/{n}")).collect();
    keys.insert("big/".to_owned());
    keys.insert("big/7-/".to_owned());
    keys.insert("big/7-/x".to_owned());
    let found = rows(&fake(&keys, 500).remote(), everything())
        .await
        .unwrap();
    assert_eq!(found, wanted(&keys));
}

#[tokio::test]
async fn a_listing_that_is_dropped_or_stopped_ends() {
    let keys: BTreeSet<_> = (0..4000).map(|n| format!("f{n}")).collect();
    let fake = fake(&keys, 100);
    let request = everything();
    let cancel = request.cancel.clone();
    let remote = fake.remote();
    let mut listing = super::super::listing::list(&remote, request).unwrap();
    listing.next().await.unwrap();
    cancel.cancel();
    assert_eq!(
        listing.next().await.unwrap_err().kind(),
        ErrorKind::Cancelled
    );
    drop(listing);
}

#[tokio::test]
async fn what_is_special_is_skipped() {
    let keys = ["a", "d/", "d/socket", "d/z"].map(str::to_owned);
    let fake = fake(&keys.into(), 1);
    let found = rows(&fake.remote(), everything()).await.unwrap();
    assert_eq!(found, ["a", "d/", "-d/socket", "d/z"]);
}
