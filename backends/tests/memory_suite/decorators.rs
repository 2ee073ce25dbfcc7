//! The decorators of `wl_core::testing`, on the memory backend.

use std::sync::Arc;

use bytes::Bytes;
use wl_backends::memory::{MemoryBackend, MemorySettings};
use wl_core::model::{ContentHash, SyncPath};
use wl_core::storage::*;
use wl_core::testing::conformance::{Editor, Harness, PROMISES};
use wl_core::testing::{Fault, Faults, Operation, Recording, Strict, Tree, When};
use wl_core::tree;

use super::{Memory, MemoryEditor, settings};

fn store() -> (MemoryBackend, Arc<dyn StorageBackend>) {
    let store = MemoryBackend::private(MemorySettings::default());
    (store.clone(), Arc::new(store))
}

fn options(durability: Durability) -> SessionOptions {
    SessionOptions {
        run: "run".to_owned(),
        durability,
        trash_keep: TrashKeep::default(),
        cancel: tokio_util::sync::CancellationToken::new(),
    }
}

fn path(text: &str) -> SyncPath {
    SyncPath::new(text).unwrap()
}

fn file(at: &str) -> StageRequest {
    StageRequest {
        path: path(at),
        payload: Payload::Bytes(Bytes::from_static(b"x")),
        hash: ContentHash::of(b"x"),
        mtime: None,
        mode: None,
    }
}

/// Two files staged, flushed and published: 7 calls.
async fn run(backend: &Arc<dyn StorageBackend>) -> Vec<Option<ErrorKind>> {
    let kind = |error: StorageError| Some(error.kind());
    let session = match backend.begin(options(Durability::Batch)).await {
        Ok(session) => session,
        Err(error) => return vec![kind(error)],
    };
    let mut replacing = Vec::new();
    let mut kinds = Vec::new();
    for (at, staged) in ["a", "b"]
        .iter()
        .zip(session.stage(vec![file("a"), file("b")]).await)
    {
        match staged {
            Ok(staged) => replacing.push(ReplaceRequest {
                path: path(at),
                staged,
                expect: Expect::Absent,
                listed: false,
            }),
            Err(error) => kinds.push(kind(error)),
        }
    }
    kinds.extend(session.flush().await.err().map(kind));
    let published = session.replace(replacing).await;
    kinds.extend(published.into_iter().filter_map(Result::err).map(kind));
    kinds.extend(session.finish().await.err().map(kind));
    kinds
}

#[tokio::test]
async fn every_call_can_be_failed_before_and_after() {
    let counting = Faults::new([]);
    assert_eq!(run(&counting.over(store().1)).await, []);
    assert_eq!(counting.calls(), 7);
    for number in 1..=counting.calls() {
        for when in [When::Before, When::After] {
            let kind = ErrorKind::Denied;
            let faults = Faults::new([Fault::Call { number, kind, when }]);
            let (memory, inner) = store();
            let kinds = run(&faults.over(inner)).await;
            assert_eq!(kinds, [Some(kind)], "call {number}, {when:?}");
            faults.assert_all_fired();
            let published = memory.snapshot().len();
            let lost = (number == 1 || number == 5 || number == 6) && when == When::Before;
            let unstaged = number == 2 || number == 3;
            let wanted = match number {
                1 => 0,
                _ if lost || unstaged => 1,
                _ => 2,
            };
            assert_eq!(published, wanted, "call {number}, {when:?}");
        }
    }
}

#[tokio::test]
async fn a_fault_that_does_not_fire_is_told() {
    let fault = Fault::Call {
        number: 8,
        kind: ErrorKind::Full,
        when: When::Before,
    };
    let faults = Faults::new([fault]);
    run(&faults.over(store().1)).await;
    assert_eq!(faults.unfired(), [fault]);
    let asserted = std::panic::catch_unwind(|| faults.assert_all_fired());
    assert!(asserted.is_err());
}

#[tokio::test]
async fn a_listing_is_cut_where_it_is_planned() {
    for rows in 0..=3 {
        let (memory, inner) = store();
        let editor = MemoryEditor(memory);
        tree! { "a" => "1", "b" => "2", "c" => "3" }
            .fill(&editor as &dyn Editor)
            .await;
        let kind = ErrorKind::Unavailable;
        let listing = 1;
        let cut = Fault::CutListing {
            listing,
            rows,
            kind,
        };
        let faults = Faults::new([cut]);
        let backend = faults.over(inner);
        let mut listing = backend.list(ListRequest::everything("/tmp")).await.unwrap();
        let mut seen = 0;
        let error = loop {
            match listing.next().await {
                Ok(Some(batch)) => seen += batch.len(),
                Ok(None) => panic!("the listing says that it is complete"),
                Err(error) => break error,
            }
        };
        assert_eq!((seen, error.kind()), (rows, kind));
        faults.assert_all_fired();
    }
}

#[tokio::test]
async fn a_recording_tells_what_was_done() {
    let recording = Recording::new();
    run(&recording.over(store().1)).await;
    assert_eq!(
        (
            recording.requests(Operation::Stage),
            recording.calls(Operation::Stage)
        ),
        (2, 1)
    );
    assert_eq!(recording.paths(Operation::Replace), ["a", "b"]);
    assert_eq!(recording.changes().len(), 2);
    recording.clear();
    assert_eq!(
        (recording.changes(), recording.calls(Operation::Flush)),
        (vec![], 0)
    );
}

/// Whether `work` panics.
async fn panics(work: impl Future<Output = ()> + Send + 'static) -> bool {
    tokio::spawn(work)
        .await
        .is_err_and(|error| error.is_panic())
}

#[tokio::test]
async fn strict_lets_the_correct_pass() {
    assert_eq!(run(&Strict::over(store().1)).await, []);
}

#[tokio::test]
async fn strict_stops_each_misuse() {
    let begin = async |durability| {
        let backend = Strict::over(store().1);
        backend.begin(options(durability)).await.unwrap()
    };
    let replace = |staged| ReplaceRequest {
        path: path("a"),
        staged,
        expect: Expect::Absent,
        listed: false,
    };
    let session = begin(Durability::Batch).await;
    let unflushed = async move {
        let staged = session.stage(vec![file("a")]).await.remove(0).unwrap();
        drop(session.replace(vec![replace(staged)]).await);
    };
    assert!(panics(unflushed).await, "published before it was flushed");
    let session = begin(Durability::None).await;
    let twice = async move {
        drop(session.stage(vec![file("a"), file("a")]).await);
    };
    assert!(panics(twice).await, "one path twice in a call");
    let session = begin(Durability::None).await;
    let reused = async move {
        let staged = session.stage(vec![file("a")]).await.remove(0).unwrap();
        let copy = Staged {
            note: staged.note.clone(),
            ..staged
        };
        drop(session.replace(vec![replace(staged)]).await);
        drop(session.replace(vec![replace(copy)]).await);
    };
    assert!(panics(reused).await, "staged content used twice");
    let session = begin(Durability::None).await;
    let ended = async move {
        session.finish().await.unwrap();
        drop(session.make_folder(&path("d"), None).await);
    };
    assert!(panics(ended).await, "used after its end");
}

/// A harness whose every handle goes through all decorators.
struct Decorated(Memory);

impl Harness for Decorated {
    fn backend(&self) -> Arc<dyn StorageBackend> {
        Faults::new([]).over(Recording::new().over(Strict::over(self.0.backend())))
    }

    fn second(&self) -> Arc<dyn StorageBackend> {
        self.backend()
    }

    fn editor(&self) -> Arc<dyn Editor> {
        self.0.editor()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn decorators_change_nothing() {
    for promise in PROMISES {
        (promise.run)(&Decorated(Memory::with(settings()))).await;
    }
}

#[tokio::test]
async fn trees_fill_compare_and_read() {
    let (memory, backend) = store();
    let wanted = tree! { "a/b.txt" => "1", "d/", "l" -> "a", "z" => vec![0xff; 100] };
    wanted.fill(&MemoryEditor(memory.clone())).await;
    wanted.assert_is(&backend).await;
    memory.write_file("a/b.txt", "2").unwrap();
    memory.remove("d").unwrap();
    memory.write_file("new", "3").unwrap();
    let diff = wanted.diff(&Tree::read(&backend).await);
    assert_eq!(
        diff,
        "  \"a/b.txt\": \"2\" instead of \"1\"\n  \"d/\": missing (folder)\n  \"new\": not wanted (\"3\")\n"
    );
}
