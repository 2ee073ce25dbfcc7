//! The life of a session: what it sends when, what it leaves, what it tidies away.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use wl_core::model::{ContentHash, SyncPath, Timestamp};
use wl_core::storage::*;

use super::conformance::connect;
use crate::remote::RemoteBackend;
use crate::remote::fake::{Body, FakeSettings, FakeStore, Trouble};
use crate::remote::store::Attributes;
use crate::remote::token;
use crate::remote::trash::{self, Label};

pub(super) fn path(text: &str) -> SyncPath {
    SyncPath::new(text).unwrap()
}

fn options(run: &str, trash_keep: TrashKeep) -> SessionOptions {
    SessionOptions {
        run: run.to_owned(),
        durability: Durability::None,
        trash_keep,
        cancel: CancellationToken::new(),
    }
}

pub(super) async fn begin(backend: &RemoteBackend, run: &str) -> Arc<dyn WriteSession> {
    let week = TrashKeep::default();
    backend.begin(options(run, week)).await.unwrap()
}

async fn stage(session: &dyn WriteSession, at: &str, content: &'static [u8]) -> Result<Staged> {
    let request = StageRequest {
        path: path(at),
        payload: Payload::Bytes(Bytes::from_static(content)),
        hash: ContentHash::of(content),
        mtime: None,
        mode: None,
    };
    session.stage(vec![request]).await.remove(0)
}

pub(super) async fn create(
    session: &dyn WriteSession,
    at: &str,
    content: &'static [u8],
) -> Result<Published> {
    let staged = stage(session, at, content).await?;
    let request = ReplaceRequest {
        path: path(at),
        staged,
        expect: Expect::Absent,
        listed: false,
    };
    session.replace(vec![request]).await.remove(0)
}

fn names(store: &FakeStore, prefix: &str) -> Vec<String> {
    let world = store.world();
    let names = world.nodes().filter(|node| node.body != Body::Folder);
    let names = names.map(|node| node.name.clone());
    names.filter(|name| name.starts_with(prefix)).collect()
}

/// A run that changes nothing sends nothing; in an empty flat store a creation is one request, after the first.
#[tokio::test]
async fn nothing_is_sent_for_nothing() {
    for settings in [
        FakeSettings::s3(),
        FakeSettings::webdav(),
        FakeSettings::sftp(),
    ] {
        let store = FakeStore::new(settings);
        let backend = connect(&store).await;
        store.quiet();
        let session = begin(&backend, "run").await;
        session.flush().await.unwrap();
        session.finish().await.unwrap();
        assert_eq!(store.calls().0, Vec::<String>::new());
    }
    let store = FakeStore::new(FakeSettings::s3());
    let backend = connect(&store).await;
    let session = begin(&backend, "run").await;
    create(&*session, "first", b"1").await.unwrap();
    store.quiet();
    for name in ["a", "b/c", "b/d", "b/e/f"] {
        create(&*session, name, b"1").await.unwrap();
    }
    assert_eq!(
        store.calls().0,
        ["put a", "put b/c", "put b/d", "put b/e/f"]
    );
}

/// In a flat store that holds much a new file costs at most one more request for each folder.
#[tokio::test]
async fn a_folder_is_looked_at_once() {
    let store = FakeStore::new(FakeSettings::s3());
    for number in 0..2000 {
        store.world().edit(&format!("many/{number}"), b"1");
    }
    let backend = connect(&store).await;
    let session = begin(&backend, "run").await;
    create(&*session, "many/x", b"1").await.unwrap();
    store.quiet();
    for name in ["many/y", "many/z"] {
        create(&*session, name, b"1").await.unwrap();
    }
    assert_eq!(store.calls().0, ["put many/y", "put many/z"]);
    let below = create(&*session, "many/1/x", b"1").await;
    assert_eq!(below.unwrap_err().kind(), ErrorKind::NoParent);
}

/// Whoever has listed the folder has looked already; nobody else is believed.
#[tokio::test]
async fn what_was_listed_is_not_looked_at() {
    let store = FakeStore::new(FakeSettings::s3());
    for number in 0..2000 {
        store.world().edit(&format!("many/{number}"), b"1");
    }
    let backend = connect(&store).await;
    let session = begin(&backend, "run").await;
    store.quiet();
    let request = |staged, at: &str| ReplaceRequest {
        path: path(at),
        staged,
        expect: Expect::Absent,
        listed: true,
    };
    let staged = stage(&*session, "many/x", b"1").await.unwrap();
    let created = session.replace(vec![request(staged, "many/x")]).await;
    assert!(created.into_iter().all(|created| created.is_ok()));
    assert_eq!(store.calls().0, ["put many/x"]);
    // What has come there since is not overwritten.
    let staged = stage(&*session, "many/1", b"2").await.unwrap();
    let created = session
        .replace(vec![request(staged, "many/1")])
        .await
        .remove(0);
    assert_eq!(created.unwrap_err().kind(), ErrorKind::Changed);
}

fn old(hours: i64) -> Attributes {
    Attributes {
        mtime: Some(Timestamp {
            secs: token::now().secs - hours * 3600,
            nanos: 0,
        }),
        ..Attributes::default()
    }
}

/// What dead runs left is tidied away when it is old enough, what is young or of nobody knows when stays.
#[tokio::test]
async fn old_leftovers_go() {
    for flat in [true, false] {
        let mut settings = if flat {
            FakeSettings::s3()
        } else {
            FakeSettings::webdav()
        };
        settings.facts.mtime_resolution = Some(1);
        let store = FakeStore::new(settings);
        let backend = connect(&store).await;
        {
            let mut world = store.world();
            for (name, hours) in [
                ("stage/dead", 25),
                ("stage/live", 23),
                ("probe/dead", 2),
                ("probe/live", 0),
            ] {
                let at = format!(".wl/{name}");
                world.make_folders(&at);
                world.insert(&format!("{at}/1"), Body::File(Bytes::new()), &old(hours));
                if !flat {
                    world.insert(&at, Body::Folder, &old(hours));
                }
            }
        }
        let session = begin(&backend, "run").await;
        assert_eq!(names(&store, ".wl/").len(), 4, "before the first change");
        create(&*session, "f", b"1").await.unwrap();
        session.finish().await.unwrap();
        assert_eq!(
            names(&store, ".wl/"),
            [".wl/probe/live/1", ".wl/stage/live/1"]
        );
    }
}

/// The trash keeps as long as it was told, and what is claimed for ever.
#[tokio::test]
async fn the_trash_expires_by_age() {
    for settings in [FakeSettings::s3(), FakeSettings::sftp()] {
        let store = FakeStore::new(settings);
        let backend = connect(&store).await;
        let since = token::now().secs;
        for (number, hours) in [(1, 3), (2, 1)] {
            for state in [
                TrashState::Removed,
                TrashState::Replaced,
                TrashState::Rescued,
            ] {
                let label = Label {
                    since: since - hours * 3600,
                    run: format!("run-{hours}"),
                    number,
                    state,
                    hash: None,
                    path: Some(path("d/f")),
                };
                let at = trash::place(&label).unwrap();
                store.world().edit(at.as_str(), b"1");
            }
        }
        let keep = TrashKeep::For(Duration::from_secs(2 * 3600));
        let session = backend.begin(options("run", keep)).await.unwrap();
        create(&*session, "f", b"1").await.unwrap();
        assert_eq!(backend.trash_list().await.unwrap().len(), 6);
        session.finish().await.unwrap();
        let left = backend.trash_list().await.unwrap();
        let left: Vec<_> = left
            .iter()
            .map(|item| (item.state, since - item.since))
            .collect();
        let (three, one) = (3 * 3600, 3600);
        assert_eq!(left.len(), 4, "{left:?}");
        assert_eq!(left[0], (TrashState::Rescued, three));
        assert!(left[1..].iter().all(|(_, age)| *age == one), "{left:?}");
        assert_eq!(backend.trash_claimed().await.unwrap().len(), 2);
    }
}

/// A file that never was published is given up, and a piece too few is no file.
#[tokio::test]
async fn an_upload_that_is_not_published_is_given_up() {
    let store = FakeStore::new(FakeSettings::s3());
    let backend = connect(&store).await;
    let session = begin(&backend, "run").await;
    let request = || StageRequest {
        path: path("large"),
        payload: Payload::Bytes(Bytes::new()),
        hash: ContentHash::of(b""),
        mtime: None,
        mode: None,
    };
    let started = session.stage_large(request(), 10, &Expect::Absent).await;
    let mut short = started.unwrap();
    short.write(Bytes::from_static(b"12345")).await.unwrap();
    let short = short.finish(ContentHash::of(b"12345")).await;
    assert_eq!(short.unwrap_err().kind(), ErrorKind::Busy);
    let started = session.stage_large(request(), 5, &Expect::Absent).await;
    drop(started.unwrap());
    store.quiet();
    session.finish().await.unwrap();
    let (calls, _) = store.calls();
    let aborted = calls.iter().filter(|call| *call == "abort large").count();
    assert_eq!(aborted, 2, "{calls:?}");
    assert_eq!(names(&store, ""), Vec::<String>::new());
}

/// What a name in the trash says is read back, whatever the path; one that is too long is not told.
#[test]
fn names_in_the_trash_are_read_back() {
    let long = "x".repeat(200);
    let paths = [
        "f",
        "d/f",
        "%2F",
        "a.b/c.d",
        "%",
        "ä/ö",
        "1.removed.-/x",
        &long,
    ];
    for state in [
        TrashState::Replaced,
        TrashState::Removed,
        TrashState::Rescued,
        TrashState::Late,
    ] {
        for hash in [None, Some(ContentHash::of(b"x"))] {
            for text in paths {
                let label = Label {
                    since: 1_700_000_000,
                    run: "a-run-2".to_owned(),
                    number: 7,
                    state,
                    hash,
                    path: Some(path(text)),
                };
                let at = trash::place(&label).unwrap();
                let id = trash::id(&at).unwrap();
                assert_eq!(trash::label(&id.0), Some(label), "{at}");
                // One folder for a run, as long as the name is not too long.
                assert!(text.len() > 100 || id.0.matches('/').count() == 2, "{at}");
            }
        }
    }
    // Versions that an earlier wl kept are still told.
    let before = trash::label("trash/000000000001-r/2.removed.-/d/f").unwrap();
    assert_eq!(before.path, Some(path("d/f")));
    let deep = vec!["folder"; 200].join("/");
    let label = Label {
        since: 1,
        run: "r".to_owned(),
        number: 1,
        state: TrashState::Removed,
        hash: None,
        path: Some(path(&deep)),
    };
    let at = trash::place(&label).unwrap();
    assert!(at.as_str().len() <= 1000);
    let id = trash::id(&at).unwrap();
    assert_eq!(trash::label(&id.0).unwrap().path, None);
}

/// Where the storage does not compare, another client can move our version aside, see that it is none that it meant, and put it back.
/// Who looks in between must not report that nothing was written.
#[tokio::test]
async fn what_was_written_and_is_away_for_a_moment_is_waited_for() {
    let settings = FakeSettings {
        honoured: crate::remote::fake::NONE,
        ..FakeSettings::webdav()
    };
    let store = FakeStore::new(settings);
    let backend = connect(&store).await;
    let session = begin(&backend, "run").await;
    let replace = async |at: &str| {
        store.world().edit(at, b"base");
        let meta = backend.stat(&path(at)).await.unwrap().unwrap();
        let request = StageRequest {
            path: path(at),
            payload: Payload::Bytes(Bytes::from_static(b"ours")),
            hash: ContentHash::of(b"ours"),
            mtime: None,
            mode: None,
        };
        let staged = session.stage(vec![request]).await.remove(0).unwrap();
        let request = ReplaceRequest {
            path: path(at),
            staged,
            expect: Expect::Is(Expected::of(&meta, Some(ContentHash::of(b"base")))),
            listed: false,
        };
        session.replace(vec![request]).await.remove(0)
    };
    // The first change of a session makes folders; the second shows where the write is.
    replace("first").await.unwrap();
    store.quiet();
    replace("second").await.unwrap();
    let calls = store.calls().0;
    let put = calls.iter().position(|call| call == "put second").unwrap();
    store.quiet();
    store.trouble(put, Trouble::LostReply);
    store.before(put + 1, |world| world.delete("third"));
    store.before(put + 4, |world| world.edit("third", b"ours"));
    replace("third").await.unwrap();
    assert_eq!(store.calls().1, 3);
    assert_eq!(store.world().content("third"), Some(b"ours".to_vec()));
}
