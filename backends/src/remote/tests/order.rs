//! Servers that list their keys in another order than they should, or anyhow: the rows are the same, or there is an error.

use std::sync::Arc;

use wl_core::model::{Key, SyncPath};
use wl_core::storage::*;

use super::super::order::Order;
use super::super::store::{Again, Facts};
use super::flat::{NO_START, Without, fake, keys};
use super::kit::{Dice, Fake, Lists, READ_ONLY, everything, rows};

const BELIEVED: [Order; 3] = [Order::Bytes, Order::Folders, Order::Unknown];
const LISTS: [Lists; 6] = [
    Lists::Bytes,
    Lists::Folders,
    Lists::Backwards,
    Lists::Shuffled,
    Lists::Overlap,
    Lists::EndsEarly,
];

fn listing_as(fake: Arc<Fake>, lists: Lists, believed: Order) -> Arc<Fake> {
    *fake.lists.lock().unwrap() = lists;
    *fake.believed.lock().unwrap() = believed;
    fake
}

/// A server that ends early is only known where its order is.
fn is_possible(lists: Lists, believed: Order) -> bool {
    lists != Lists::EndsEarly || believed != Order::Bytes
}

fn requests() -> Vec<ListRequest> {
    let scope = |tops: &[&str]| {
        let paths = tops.iter().map(|top| SyncPath::new(*top).unwrap());
        Scope::Subtrees(paths.collect())
    };
    vec![
        everything(),
        ListRequest {
            scope: scope(&["a", "a-b", "b"]),
            ..everything()
        },
        ListRequest {
            filter: Arc::new(Without("a")),
            ..everything()
        },
        ListRequest {
            start_after: Some(Key::from_text("a-b/").unwrap()),
            ..everything()
        },
    ]
}

/// Every order, whatever is believed of it, wherever pages end: the same rows.
#[tokio::test]
async fn the_rows_are_the_same_in_every_order() {
    let mut dice = Dice(23);
    for round in 0..8 {
        let keys = keys(&mut dice);
        for request in requests() {
            let model = fake(READ_ONLY, &keys, 1000).remote();
            let told = rows(&model, request.clone()).await.unwrap();
            for (lists, believed) in pairs() {
                // Such a server may end with the marker of what is listed, if pages have one key.
                let least = 1 + usize::from(lists == Lists::EndsEarly);
                for (facts, page) in [(READ_ONLY, least), (READ_ONLY, 3), (NO_START, 3)] {
                    let fake = listing_as(fake(facts, &keys, page), lists, believed);
                    let found = rows(&fake.remote(), request.clone()).await;
                    let what = format!("{lists:?} {believed:?} {page} {round}: {keys:?}");
                    match found {
                        Ok(found) => {
                            let places = |rows: &[String]| placed(rows, &request, lists);
                            assert_eq!(places(&found), places(&told), "{what}");
                        }
                        Err(error) => assert_eq!(lists, Lists::Overlap, "{error}: {what}"),
                    }
                }
            }
        }
    }
}

/// A listing that starts somewhere may tell problems from before, or not; and nobody asks what is below a name that is no path.
fn placed(rows: &[String], request: &ListRequest, lists: Lists) -> Vec<String> {
    let mut rows = rows.to_vec();
    if request.start_after.is_some() || lists == Lists::EndsEarly {
        rows.retain(|row| !row.starts_with('^'));
    }
    rows
}

fn pairs() -> Vec<(Lists, Order)> {
    let all = LISTS
        .iter()
        .flat_map(|lists| BELIEVED.map(|believed| (*lists, believed)));
    all.filter(|(lists, believed)| is_possible(*lists, *believed))
        .collect()
}

/// A listing that breaks off anywhere goes on without a hole.
#[tokio::test]
async fn a_fault_anywhere_leaves_no_hole() {
    let mut dice = Dice(29);
    for _ in 0..4 {
        let keys = keys(&mut dice);
        let model = fake(READ_ONLY, &keys, 1000).remote();
        let wanted = rows(&model, everything()).await.unwrap();
        for (lists, believed) in pairs() {
            for facts in [READ_ONLY, NO_START] {
                for at in 0..keys.len() + 2 {
                    broken_at(at, facts, &keys, lists, believed, &wanted).await;
                }
            }
        }
    }
}

async fn broken_at(
    at: usize,
    facts: Facts,
    keys: &[String],
    lists: Lists,
    believed: Order,
    wanted: &[String],
) {
    let what = format!("{lists:?} {believed:?} request {at}: {keys:?}");
    for again in [Again::After(None), Again::Never] {
        let fake = listing_as(fake(facts, keys, 2), lists, believed);
        fake.pulse.faults.lock().unwrap().insert(at, again);
        let found = rows(&fake.remote(), everything()).await;
        let fired = fake.pulse.faults.lock().unwrap().is_empty();
        match found {
            Ok(found) => {
                assert!(!fired || again != Again::Never, "{what}");
                let places = |rows: &[String]| placed(rows, &everything(), lists);
                assert_eq!(places(&found), places(wanted), "{what}");
            }
            Err(error) => {
                let fault = fired && again == Again::Never;
                assert!(fault || lists == Lists::Overlap, "{error}: {what}");
            }
        }
    }
}

/// A request that fails for ever ends the listing, however often it begins anew.
#[tokio::test]
async fn a_page_that_never_comes_is_an_error() {
    for believed in BELIEVED {
        let keys: Vec<_> = (0..40).map(|n| format!("k{n:02}")).collect();
        let fake = listing_as(fake(NO_START, &keys, 10), Lists::Bytes, believed);
        // Two pages come each time, the third does not.
        let faults = (0..10_000).map(|n| (n * 3 + 2, Again::After(None)));
        fake.pulse.faults.lock().unwrap().extend(faults);
        let error = rows(&fake.remote(), everything()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Temporary, "{believed:?}: {error}");
    }
}

#[tokio::test]
async fn pages_that_come_again_and_again_are_an_error() {
    for believed in BELIEVED {
        for page in 1..9 {
            let keys: Vec<_> = (0..20).map(|n| format!("k{n:02}")).collect();
            let fake = listing_as(fake(READ_ONLY, &keys, page), Lists::Circle, believed);
            let found = rows(&fake.remote(), everything()).await;
            assert!(found.is_err(), "{believed:?} {page}: {found:?}");
        }
    }
}

/// Rows were handed over already: an error, and from then on the order is not believed any more.
#[tokio::test]
async fn what_was_believed_too_long_is_an_error_and_is_not_believed_again() {
    let mut keys: Vec<_> = (0..5000).map(|n| format!("d/{n:05}")).collect();
    keys.push("d-".to_owned());
    let fake = listing_as(fake(READ_ONLY, &keys, 1000), Lists::Folders, Order::Bytes);
    let remote = fake.remote();
    let error = rows(&remote, everything()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Temporary, "{error}");
    assert!(error.to_string().contains("run again"), "{error}");
    let found = rows(&remote, everything()).await.unwrap();
    assert_eq!(found.len(), 5002);
    assert_eq!(found[..3], ["d-", "d/", "d/00000"]);
}

/// Where folders come first, what is not wanted is not asked for, and a listing that breaks off does not begin anew.
#[tokio::test]
async fn the_order_of_folders_saves_requests() {
    let mut keys: Vec<_> = (0..100).map(|n| format!("a/x/{n:03}")).collect();
    keys.extend((0..100).map(|n| format!("b/{n:03}")));
    keys.extend(["a/w", "a/x-", "b-", "x"].map(str::to_owned));
    let fake = listing_as(fake(READ_ONLY, &keys, 10), Lists::Folders, Order::Folders);
    let again = Again::After(None);
    fake.pulse.faults.lock().unwrap().insert(10, again);
    let request = ListRequest {
        filter: Arc::new(Without("x")),
        ..everything()
    };
    let found = rows(&fake.remote(), request).await.unwrap();
    assert_eq!(found[..4], ["a/", "a/w", "a/x-", "!a/x/"]);
    assert_eq!(found.len(), 107);
    let told = fake.told.lock().unwrap().len();
    assert!(told < 140, "{told}");
}

/// A sort that does not fit in memory says the same.
#[tokio::test]
async fn many_keys_are_sorted_on_disk() {
    let mut dice = Dice(31);
    let mut keys: Vec<_> = (0..60_000)
        .map(|n| format!("{}/{}{}", n % 7, ["-", "/", "."][dice.below(3)], n))
        .filter(|key| SyncPath::new(key.as_str()).is_ok())
        .collect();
    keys.extend((0..7).map(|n| format!("{n}-")));
    let model = fake(READ_ONLY, &keys, 1000).remote();
    let wanted = rows(&model, everything()).await.unwrap();
    for (lists, believed) in [
        (Lists::Folders, Order::Folders),
        (Lists::Backwards, Order::Unknown),
    ] {
        let fake = listing_as(fake(READ_ONLY, &keys, 1000), lists, believed);
        let found = rows(&fake.remote(), everything()).await.unwrap();
        assert!(found == wanted, "{lists:?}");
    }
}
