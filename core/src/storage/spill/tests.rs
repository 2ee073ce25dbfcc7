use std::io;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{FAN_IN, SpillSorter};

type Pair = (Vec<u8>, Vec<u8>);

fn sort(pairs: &[Pair], memory_limit: usize) -> Vec<Pair> {
    let dir = tempfile::tempdir().unwrap();
    let mut sorter = SpillSorter::new(dir.path(), memory_limit);
    for (key, value) in pairs {
        sorter.push(key, value).unwrap();
    }
    let sorted = sorter.finish().unwrap().collect::<io::Result<_>>().unwrap();
    let left = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 0, "the temporary files have no name");
    sorted
}

fn plain_sort(pairs: &[Pair]) -> Vec<Pair> {
    let mut pairs = pairs.to_vec();
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    pairs
}

/// Names in an order that is neither sorted nor reversed, with the number as the value.
fn scattered(count: u64) -> Vec<Pair> {
    let name = |n: u64| format!("name-{:05}", n.wrapping_mul(7919) % count).into_bytes();
    (0..count)
        .map(|n| (name(n), n.to_be_bytes().to_vec()))
        .collect()
}

proptest! {
    /// Few different keys, so that many are equal; limits from one pair a run to everything in memory.
    #[test]
    fn sorts_as_a_stable_sort_does(
        pairs in vec((vec(0u8..3, 0..4), vec(any::<u8>(), 0..6)), 0..300),
        limit in prop_oneof![Just(0), 1usize..64, 64usize..4096],
    ) {
        prop_assert_eq!(sort(&pairs, limit), plain_sort(&pairs));
    }
}

#[test]
fn nothing_sorts_to_nothing() {
    assert_eq!(sort(&[], 1000), []);
}

#[test]
fn empty_keys_and_values_stay() {
    let pair = |key: &[u8], value: &[u8]| (key.to_vec(), value.to_vec());
    let pairs = [
        pair(b"a", b""),
        pair(b"", b"2"),
        pair(b"", b""),
        pair(b"", b"1"),
    ];
    for limit in [0, 1000] {
        let sorted = sort(&pairs, limit);
        assert_eq!(
            sorted,
            [
                pair(b"", b"2"),
                pair(b"", b""),
                pair(b"", b"1"),
                pair(b"a", b"")
            ]
        );
    }
}

#[test]
fn keys_sort_by_bytes() {
    let pairs: Vec<Pair> = ["a/b", "a", "a-b", "é", "a/", "B"]
        .map(|key| (key.into(), Vec::new()))
        .into();
    let keys: Vec<Vec<u8>> = sort(&pairs, 20).into_iter().map(|pair| pair.0).collect();
    assert_eq!(
        keys,
        ["B", "a", "a-b", "a/", "a/b", "é"].map(|key| key.as_bytes().to_vec())
    );
}

/// One pair a run, so the levels above the first are in use, and the last merge has more runs than the fan-in.
#[test]
fn more_runs_than_are_merged_at_once() {
    for count in [
        FAN_IN - 1,
        FAN_IN,
        FAN_IN + 1,
        FAN_IN * FAN_IN - 1,
        FAN_IN * FAN_IN + 70,
    ] {
        let pairs = scattered(count as u64);
        assert!(sort(&pairs, 0) == plain_sort(&pairs), "{count} runs");
    }
}

#[test]
fn a_pair_larger_than_the_limit_is_sorted_too() {
    let pairs = [
        (vec![9; 300_000], vec![1; 200_000]),
        (vec![8; 10], vec![2; 500_000]),
        (vec![7], vec![]),
    ];
    assert!(sort(&pairs, 1000) == plain_sort(&pairs));
}

#[test]
fn memory_is_bounded_by_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let limit = 64 * 1024;
    let mut sorter = SpillSorter::new(dir.path(), limit);
    for (key, value) in scattered(50_000) {
        sorter.push(&key, &value).unwrap();
        assert!(sorter.arena.allocated() <= limit + limit / 4);
    }
}

#[test]
fn a_million_short_names_need_few_bytes_beside_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut sorter = SpillSorter::new(dir.path(), 18_000_000);
    for n in (0..1_000_000).rev() {
        sorter.push(format!("name-{n:06}").as_bytes(), b"").unwrap();
    }
    assert!(sorter.levels.is_empty(), "11 bytes and 6 each fit");
    let sorted = sorter.finish().unwrap();
    let in_order = sorted
        .enumerate()
        .all(|(n, pair)| pair.unwrap().0 == format!("name-{n:06}").as_bytes());
    assert!(in_order);
}

#[test]
fn a_folder_that_is_gone_is_an_error() {
    let mut sorter = SpillSorter::new(Path::new("/nowhere/at/all"), 0);
    sorter.push(b"a", b"").unwrap();
    let error = sorter.push(b"b", b"").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[cfg(target_os = "linux")]
mod full_disk {
    use std::cell::Cell;
    use std::fs::OpenOptions;

    use super::*;

    thread_local! {
        /// How many more files have a disk with room.
        static GOOD_FILES: Cell<usize> = const { Cell::new(0) };
    }

    /// From now on only so many temporary files can be written.
    fn fill_after(sorter: &mut SpillSorter, good_files: usize) {
        GOOD_FILES.set(good_files);
        sorter.make_file = |dir| {
            if GOOD_FILES.get() > 0 {
                GOOD_FILES.set(GOOD_FILES.get() - 1);
                return tempfile::tempfile_in(dir);
            }
            OpenOptions::new().read(true).write(true).open("/dev/full")
        };
    }

    #[test]
    fn is_returned_and_ends_the_sorter() {
        let mut sorter = SpillSorter::new(&std::env::temp_dir(), 0);
        fill_after(&mut sorter, 0);
        sorter.push(b"a", b"1").unwrap();
        let error = sorter.push(b"b", b"2").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        sorter.push(b"c", b"3").unwrap_err();
        sorter.finish().unwrap_err();
    }

    #[test]
    fn during_a_merge_is_returned_and_ends_the_sorter() {
        let mut sorter = SpillSorter::new(&std::env::temp_dir(), 0);
        fill_after(&mut sorter, FAN_IN);
        for (key, value) in scattered(FAN_IN as u64) {
            sorter.push(&key, &value).unwrap();
        }
        let error = sorter.push(b"z", b"").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(
            GOOD_FILES.get(),
            0,
            "all runs were written, the merge was not"
        );
        sorter.finish().unwrap_err();
    }

    #[test]
    fn at_the_end_is_returned() {
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = SpillSorter::new(dir.path(), 0);
        sorter.push(b"a", b"1").unwrap();
        sorter.push(b"b", b"2").unwrap();
        fill_after(&mut sorter, 0);
        let error = sorter.finish().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}

/// A run that is shorter than what was written must not look like the end of the list: files would seem to be gone.
#[test]
fn a_run_that_was_cut_short_is_an_error_not_an_end() {
    let dir = tempfile::tempdir().unwrap();
    for cut in 0..40 {
        let mut sorter = SpillSorter::new(dir.path(), 80);
        for (key, value) in scattered(10) {
            sorter.push(&key, &value).unwrap();
        }
        sorter.levels[0][0].truncate(cut);
        let sorted = sorter
            .finish()
            .and_then(|sorted| sorted.collect::<io::Result<Vec<_>>>());
        assert!(sorted.is_err(), "cut to {cut} bytes");
    }
}

#[test]
fn the_iterator_ends_after_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut sorter = SpillSorter::new(dir.path(), 100_000);
    for (key, value) in scattered(20_000) {
        sorter.push(&key, &value).unwrap();
    }
    sorter.levels[0][0].truncate(50_000);
    let mut sorted = sorter.finish().unwrap();
    let read = sorted.by_ref().take_while(Result::is_ok).count();
    assert!(read > 0 && read < 20_000);
    assert!(sorted.next().is_none());
}
