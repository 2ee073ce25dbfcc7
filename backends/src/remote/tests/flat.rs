//! Flat keys to rows: whatever the keys are, wherever pages end, whichever request fails.

use std::collections::BTreeSet;
use std::sync::Arc;

use wl_core::model::{Key, SyncPath};
use wl_core::storage::*;

use super::super::store::{Again, Facts};
use super::kit::{Dice, Fake, READ_ONLY, everything, rows};

pub(super) const NO_START: Facts = Facts {
    start_after: false,
    ..READ_ONLY
};

pub(super) fn keys(dice: &mut Dice) -> Vec<String> {
    const PARTS: [&str; 13] = [
        "a", "a-b", "a.txt", "b", "é", "", ".", "..", ".wl", ".wl", "blank ", "b0", "n\0",
    ];
    let mut keys = BTreeSet::new();
    for _ in 0..dice.below(30) {
        let parts: Vec<_> = (0..=dice.below(4)).map(|_| PARTS[dice.below(13)]).collect();
        keys.insert(parts.join("/"));
    }
    keys.remove("");
    keys.into_iter().collect()
}

/// What the rows should be, told key by key.
fn wanted(keys: &[String], content: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut rows = BTreeSet::new();
    let bad = |part: &str| SyncPath::root().join(part).is_err();
    'keys: for key in keys {
        let parts: Vec<_> = key.split('/').collect();
        if parts[0] == ".wl" {
            continue;
        }
        let mut here = String::new();
        for (at, part) in parts.iter().enumerate() {
            let last = at + 1 == parts.len();
            if last && part.is_empty() {
                // `a/` is a folder; with content it is none, and the root has no marker.
                if here.is_empty() || content(key) {
                    let text = if here.is_empty() {
                        "^/ /".into()
                    } else {
                        format!("^{here} ")
                    };
                    rows.insert(text);
                }
                continue 'keys;
            }
            if bad(part) {
                let rest = parts[at..].join("/").replace('\0', "\\u{0}");
                let rest = if rest.is_empty() { "/".into() } else { rest };
                let parent = if here.is_empty() { "/" } else { &here };
                rows.insert(format!("^{parent} {rest}"));
                continue 'keys;
            }
            here.push_str(part);
            if last {
                let mark = if part.ends_with(' ') { "~" } else { "" };
                rows.insert(format!("{mark}{here}"));
                continue 'keys;
            }
            here.push('/');
            rows.insert(here.clone());
            if part.ends_with(' ') {
                rows.insert(format!("~{here}"));
                continue 'keys;
            }
        }
    }
    rows
}

fn with_content(key: &str) -> bool {
    !key.ends_with('/') || key.len().is_multiple_of(2)
}

pub(super) fn fake(facts: Facts, keys: &[String], page: usize) -> Arc<Fake> {
    let fake = Fake::new(facts, &[], page);
    for key in keys {
        fake.set(key, if with_content(key) { b"content" } else { b"" });
    }
    fake
}

#[tokio::test]
async fn no_key_is_lost_and_no_row_comes_twice() {
    let mut dice = Dice(7);
    for round in 0..150 {
        let keys = keys(&mut dice);
        let wanted = wanted(&keys, with_content);
        for page in [1, 2, 3, 7, 1000] {
            for facts in [READ_ONLY, NO_START] {
                let fake = fake(facts, &keys, page);
                let rows = rows(&fake.remote(), everything()).await.unwrap();
                let set: BTreeSet<_> = rows.iter().cloned().collect();
                assert_eq!(set, wanted, "round {round}, page {page}: {keys:?}");
                assert_eq!(set.len(), rows.len(), "twice: {rows:?}");
                let told = fake.told.lock().unwrap();
                let ours = told.iter().filter(|key| key.starts_with(".wl/")).count();
                assert!(!facts.start_after || ours <= page, "{ours} keys of our own");
            }
        }
    }
}

#[tokio::test]
async fn a_fault_anywhere_costs_time_or_ends_in_an_error() {
    let mut dice = Dice(11);
    for _ in 0..25 {
        let keys = keys(&mut dice);
        for facts in [READ_ONLY, NO_START] {
            let whole = rows(&fake(facts, &keys, 2).remote(), everything()).await;
            let whole = whole.unwrap();
            for at in 0..keys.len() + 2 {
                let again = fake(facts, &keys, 2);
                again
                    .pulse
                    .faults
                    .lock()
                    .unwrap()
                    .insert(at, Again::After(None));
                assert_eq!(rows(&again.remote(), everything()).await.unwrap(), whole);
                let never = fake(facts, &keys, 2);
                never.pulse.faults.lock().unwrap().insert(at, Again::Never);
                let result = rows(&never.remote(), everything()).await;
                let fired = never.pulse.faults.lock().unwrap().is_empty();
                assert_eq!(result.is_err(), fired, "request {at} of {keys:?}");
            }
        }
    }
}

#[tokio::test]
async fn trouble_that_does_not_end_ends_in_an_error_that_says_so() {
    let keys: Vec<_> = (0..10).map(|n| format!("k{n}")).collect();
    let fake = fake(READ_ONLY, &keys, 2);
    let faults = (3..100).map(|at| (at, Again::After(None)));
    fake.pulse.faults.lock().unwrap().extend(faults);
    let error = rows(&fake.remote(), everything()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Temporary);
    assert!(error.to_string().contains("run again"), "{error}");
}

#[tokio::test]
async fn a_listing_starts_behind_any_row() {
    let mut dice = Dice(13);
    for _ in 0..40 {
        let keys = keys(&mut dice);
        for facts in [READ_ONLY, NO_START] {
            let fake = fake(facts, &keys, 3);
            let whole = rows(&fake.remote(), everything()).await.unwrap();
            let plain = |row: &&String| !row.starts_with(['^', '~']);
            for after in whole.iter().filter(plain) {
                let mut request = everything();
                request.start_after = Some(Key::from_text(after).unwrap());
                let found = rows(&fake.remote(), request).await.unwrap();
                let found: Vec<_> = found.iter().filter(plain).collect();
                let wanted: Vec<_> = whole
                    .iter()
                    .filter(plain)
                    .filter(|row| *row > after)
                    .collect();
                assert_eq!(found, wanted, "after {after:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_scope_is_the_part_of_the_whole() {
    let mut dice = Dice(17);
    for _ in 0..60 {
        let keys = keys(&mut dice);
        let fake = fake(READ_ONLY, &keys, 3);
        let whole = rows(&fake.remote(), everything()).await.unwrap();
        let plain = |row: &&String| !row.starts_with(['^', '~']);
        for top in ["a", "a-b", "b", "é", "b0", "gone"] {
            let path = SyncPath::new(top).unwrap();
            let scope = Scope::Subtrees(vec![path]);
            let found = rows(
                &fake.remote(),
                ListRequest {
                    scope,
                    ..everything()
                },
            )
            .await
            .unwrap();
            let found: Vec<_> = found.iter().filter(plain).cloned().collect();
            let below = format!("{top}/");
            let within = |row: &&String| row.as_str() == top || row.starts_with(&below);
            let mut wanted: Vec<_> = whole.iter().filter(plain).filter(within).cloned().collect();
            if wanted.is_empty() {
                wanted.push(format!("?{top}"));
            }
            assert_eq!(found, wanted, "{top} in {keys:?}");
        }
    }
}

#[derive(Debug)]
pub(super) struct Without(pub &'static str);

impl Filter for Without {
    fn excludes(&self, path: &SyncPath, folder: bool) -> bool {
        folder && path.name() == self.0
    }
}

#[tokio::test]
async fn what_is_excluded_is_not_asked_for() {
    let mut keys: Vec<_> = (0..100).map(|n| format!("a/x/{n:03}")).collect();
    keys.extend(["a/w".to_owned(), "a/x0".to_owned(), "x".to_owned()]);
    let fake = fake(READ_ONLY, &keys, 10);
    let request = ListRequest {
        filter: Arc::new(Without("x")),
        ..everything()
    };
    let found = rows(&fake.remote(), request).await.unwrap();
    assert_eq!(found, ["a/", "a/w", "!a/x/", "a/x0", "x"]);
    assert!(fake.told.lock().unwrap().len() < 15);
}

#[tokio::test]
async fn nobody_reads_far_ahead_of_whoever_takes_the_rows() {
    let keys: Vec<_> = (0..20_000).map(|n| format!("d{}/{n:05}", n % 7)).collect();
    let fake = fake(READ_ONLY, &keys, 500);
    let mut listing = super::super::listing::list(&fake.remote(), everything()).unwrap();
    let told = async || {
        for _ in 0..5000 {
            tokio::task::yield_now().await;
        }
        fake.told.lock().unwrap().len()
    };
    // Two batches wait, one is in hand, one page is open.
    let first = told().await;
    assert!(first <= 3 * 1024 + 2 * 500, "{first} keys for no row");
    let batch = listing.next().await.unwrap().unwrap();
    assert!(batch.len() <= 1024);
    let second = told().await;
    assert!(
        second > first && second <= first + 1024 + 500,
        "{second} after {first}"
    );
    drop(listing);
    let end = told().await;
    assert!(end <= second + 500, "it goes on after it was dropped");
    assert_eq!(told().await, end);
}

#[tokio::test]
async fn a_file_beside_its_own_folder_hides_neither() {
    let fake = Fake::new(READ_ONLY, &["a", "a-b", "a/b"], 1);
    assert_eq!(
        rows(&fake.remote(), everything()).await.unwrap(),
        ["a", "a-b", "a/", "a/b"]
    );
    let scope = Scope::Subtrees(vec![
        SyncPath::new("a").unwrap(),
        SyncPath::new("a-b").unwrap(),
    ]);
    let found = rows(
        &fake.remote(),
        ListRequest {
            scope,
            ..everything()
        },
    )
    .await
    .unwrap();
    assert_eq!(found, ["a", "a-b", "a/", "a/b"]);
}

#[tokio::test]
async fn a_name_that_is_not_utf8_is_told_and_ends_nothing() {
    let fake = Fake::new(READ_ONLY, &["a/b", "a/\u{FFFD}", "b"], 1);
    let found = rows(&fake.remote(), everything()).await.unwrap();
    assert_eq!(found, ["a/", "a/b", "^a/ \u{FFFD}", "b"]);
}
