//! Two readers of one storage: each gets what it would get alone, and the storage is read once where that is possible.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::plugins::memory::{MemoryBackend, MemorySettings};
use wl_core::model::ContentHash;
use wl_core::storage::{ErrorKind, StorageError};
use wl_core::testing::{Call, Observer, Operation, observe};

use super::*;

const MIB: usize = 1024 * 1024;

/// Counts what is read, and fails the reads that it is told to.
#[derive(Debug, Default)]
struct Counter {
    small: AtomicU64,
    opened: AtomicU64,
    pieces: AtomicU64,
    failing: AtomicU64,
    faults: AtomicU64,
}

impl Observer for Counter {
    fn before(&self, call: &Call) -> Result<()> {
        let counter = match call.operation {
            Operation::ReadSmall => &self.small,
            Operation::Read => &self.opened,
            Operation::ReadNext => &self.pieces,
            _ => return Ok(()),
        };
        counter.fetch_add(1, SeqCst);
        let due = |left: &AtomicU64| {
            let one_less = |left: u64| left.checked_sub(1);
            left.fetch_update(SeqCst, SeqCst, one_less).is_ok()
        };
        assert!(!due(&self.faults), "a fault");
        match due(&self.failing) {
            true => Err(StorageError::new(ErrorKind::Busy, "read", "not now")),
            false => Ok(()),
        }
    }
}

struct World {
    memory: MemoryBackend,
    counter: Arc<Counter>,
    readers: [Arc<dyn StorageBackend>; 2],
}

impl World {
    fn new() -> Self {
        let memory = MemoryBackend::private(MemorySettings::default());
        let counter = Arc::new(Counter::default());
        let library = Library::default();
        let reader = || {
            let inner = Arc::new(memory.clone());
            library.share(observe(inner, Arc::clone(&counter) as _))
        };
        Self {
            readers: [reader(), reader()],
            memory,
            counter,
        }
    }

    async fn request(&self, path: &str) -> ReadRequest {
        let path = SyncPath::new(path).unwrap();
        let meta = self.readers[0].stat(&path).await.unwrap().unwrap();
        ReadRequest { path, meta }
    }
}

async fn rest(reader: &mut Box<dyn ContentReader>) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(piece) = reader.next().await.unwrap() {
        content.extend_from_slice(&piece);
    }
    content
}

#[tokio::test]
async fn small_files_are_read_once_for_both() {
    let world = World::new();
    let mut requests = Vec::new();
    for name in ["a", "b", "c"] {
        world.memory.write_file(name, name).unwrap();
        requests.push(world.request(name).await);
    }
    let (one, two) = tokio::join!(
        world.readers[0].read_small(requests.clone()),
        world.readers[1].read_small(requests.clone())
    );
    let later = world.readers[1].read_small(requests).await;
    for reads in [one, two, later] {
        let hashes: Vec<_> = reads.into_iter().map(|read| read.unwrap().hash).collect();
        assert_eq!(
            hashes,
            ["a", "b", "c"].map(|text| ContentHash::of(text.as_bytes()))
        );
    }
    assert_eq!(world.counter.small.load(SeqCst), 3);
}

#[tokio::test]
async fn another_version_is_another_file_and_a_failure_is_ones_own() {
    let world = World::new();
    world.memory.write_file("a", "1").unwrap();
    let old = world.request("a").await;
    world.readers[0].read_small(vec![old.clone()]).await;
    world.memory.write_file("a", "2").unwrap();
    let new = world.request("a").await;
    let read = world.readers[1]
        .read_small(vec![new.clone()])
        .await
        .remove(0);
    assert_eq!(&read.unwrap().content[..], b"2");

    world.memory.write_file("b", "b").unwrap();
    let request = world.request("b").await;
    world.counter.failing.store(1, SeqCst);
    let (one, two) = tokio::join!(
        world.readers[0].read_small(vec![request.clone()]),
        world.readers[1].read_small(vec![request])
    );
    let failed = [&one[0], &two[0]]
        .iter()
        .filter(|read| read.is_err())
        .count();
    assert_eq!(failed, 1, "{one:?} {two:?}");
}

#[tokio::test]
async fn a_reader_that_is_given_up_leaves_nobody_waiting() {
    let world = World::new();
    world.memory.write_file("a", "1").unwrap();
    let request = world.request("a").await;
    // Claimed, and never read.
    world.counter.faults.store(1, SeqCst);
    let (reader, mine) = (Arc::clone(&world.readers[0]), vec![request.clone()]);
    let given_up = tokio::spawn(async move { reader.read_small(mine).await });
    assert!(given_up.await.unwrap_err().is_panic());
    let read = world.readers[1].read_small(vec![request]).await.remove(0);
    assert_eq!(&read.unwrap().content[..], b"1");
}

#[tokio::test]
async fn a_large_file_is_read_once_by_readers_that_keep_together() {
    let world = World::new();
    let content: Vec<u8> = (0..6 * MIB).map(|at| (at / 7) as u8).collect();
    world.memory.write_file("a", content.clone()).unwrap();
    let request = world.request("a").await;
    let mut one = world.readers[0].read(request.clone()).await.unwrap();
    let mut two = world.readers[1].read(request).await.unwrap();
    let (mut from_one, mut from_two) = (Vec::new(), Vec::new());
    while from_two.len() < content.len() {
        from_one.extend(one.next().await.unwrap().unwrap());
        from_two.extend(two.next().await.unwrap().unwrap());
    }
    assert!(one.next().await.unwrap().is_none() && two.next().await.unwrap().is_none());
    assert!(from_one == content && from_two == content);
    assert_eq!(world.counter.opened.load(SeqCst), 1);
}

#[tokio::test]
async fn who_is_too_slow_or_comes_late_reads_for_itself_and_holds_nobody_up() {
    let world = World::new();
    let content: Vec<u8> = (0..9 * MIB).map(|at| (at / 11) as u8).collect();
    world.memory.write_file("a", content.clone()).unwrap();
    let request = world.request("a").await;
    let mut fast = world.readers[0].read(request.clone()).await.unwrap();
    let mut slow = world.readers[1].read(request.clone()).await.unwrap();
    let mut begun = slow.next().await.unwrap().unwrap().to_vec();
    // The slow one does nothing meanwhile.
    assert!(rest(&mut fast).await == content);
    let mut late = world.readers[1].read(request).await.unwrap();
    begun.extend(rest(&mut slow).await);
    assert!(begun == content);
    assert!(rest(&mut late).await == content);
    assert_eq!(world.counter.opened.load(SeqCst), 3);
}

#[tokio::test]
async fn a_broken_stream_is_left_by_all_and_errors_are_told() {
    let world = World::new();
    world.memory.write_file("a", vec![7; 3 * MIB]).unwrap();
    let request = world.request("a").await;
    let mut one = world.readers[0].read(request.clone()).await.unwrap();
    let mut two = world.readers[1].read(request).await.unwrap();
    let first = one.next().await.unwrap().unwrap().len();
    // The stream fails, and so does the first attempt to read alone.
    world.counter.failing.store(2, SeqCst);
    assert_eq!(one.next().await.unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(rest(&mut two).await.len(), 3 * MIB);
    assert_eq!(first + rest(&mut one).await.len(), 3 * MIB);
}

#[tokio::test]
async fn a_reader_alone_keeps_nothing() {
    let world = World::new();
    let [alone, other] = world.readers;
    drop(other);
    world.memory.write_file("a", "1").unwrap();
    let path = SyncPath::new("a").unwrap();
    let meta = alone.stat(&path).await.unwrap().unwrap();
    for _ in 0..2 {
        let request = ReadRequest {
            path: path.clone(),
            meta: meta.clone(),
        };
        alone.read_small(vec![request]).await.remove(0).unwrap();
    }
    assert_eq!(world.counter.small.load(SeqCst), 2);
}
