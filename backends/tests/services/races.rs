//! Two writers with connections of their own, at the same paths at the same time.

use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use wl_core::model::{ContentHash, SyncPath};
use wl_core::storage::{
    CasGrade, Durability, ErrorKind, Expect, Expected, Payload, Published, RemoveRequest,
    ReplaceRequest, Result, SessionOptions, StageRequest, StorageBackend, TrashKeep, WriteSession,
};

use crate::servers::Server;

const ROUNDS: usize = 210;

async fn session(backend: &Arc<dyn StorageBackend>, run: &str) -> Arc<dyn WriteSession> {
    let options = SessionOptions {
        run: run.to_owned(),
        durability: Durability::None,
        trash_keep: TrashKeep::default(),
        cancel: CancellationToken::new(),
    };
    backend.begin(options).await.unwrap()
}

async fn put(
    session: &dyn WriteSession,
    path: &SyncPath,
    content: &str,
    expect: Expect,
) -> Result<Published> {
    let content = Bytes::copy_from_slice(content.as_bytes());
    let request = StageRequest {
        path: path.clone(),
        hash: ContentHash::of(&content),
        payload: Payload::Bytes(content),
        mtime: None,
        mode: None,
    };
    let staged = session.stage(vec![request]).await.remove(0)?;
    session.flush().await?;
    let path = path.clone();
    let request = ReplaceRequest {
        path,
        staged,
        expect,
        listed: false,
    };
    session.replace(vec![request]).await.remove(0)
}

/// What one of the writers does.
#[derive(Clone, Copy, Debug)]
enum Change {
    Write(&'static str),
    Remove,
}

async fn make(
    session: &dyn WriteSession,
    path: &SyncPath,
    known: Option<Expected>,
    change: Change,
) -> Result<()> {
    match (change, known) {
        (Change::Write(content), None) => {
            put(session, path, content, Expect::Absent).await.map(drop)
        }
        (Change::Write(content), Some(known)) => put(session, path, content, Expect::Is(known))
            .await
            .map(drop),
        (Change::Remove, Some(expected)) => {
            let path = path.clone();
            let request = RemoveRequest { path, expected };
            session.remove(vec![request]).await.remove(0)
        }
        (Change::Remove, None) => unreachable!("there is always something to remove"),
    }
}

/// Whether a refusal is an honest one.
fn honest(result: &Result<()>) -> bool {
    use ErrorKind::{Busy, Changed, NotFound};
    result
        .as_ref()
        .err()
        .is_none_or(|error| [Busy, Changed, NotFound].contains(&error.kind()))
}

/// Rounds, and how many acknowledged changes were lost. None may be where the grade is atomic.
pub async fn all(server: &Server) -> String {
    let place = server.place("races");
    let (first, second) = (server.connect(&place).await, server.connect(&place).await);
    let atomic = first.capabilities().cas == CasGrade::Atomic;
    let (one, two) = (session(&first, "one").await, session(&second, "two").await);
    let (mut lost, mut nobody) = (0, 0);
    for round in 0..ROUNDS {
        let path = SyncPath::new(format!("f{round}")).unwrap();
        let (mine, theirs) = match round % 3 {
            0 => (Change::Write("mine"), Change::Write("theirs")),
            1 => (Change::Write("mine, new"), Change::Write("theirs, new")),
            _ => (Change::Write("mine, new"), Change::Remove),
        };
        let mut known = None;
        if round % 3 > 0 {
            let made = put(&*one, &path, "base", Expect::Absent).await;
            made.unwrap_or_else(|error| panic!("round {round}: {error}"));
            let meta = first.stat(&path).await.unwrap().unwrap();
            known = Some(Expected::of(&meta, Some(ContentHash::of(b"base"))));
        }
        let (a, b) = tokio::join!(
            make(&*one, &path, known.clone(), mine),
            make(&*two, &path, known.clone(), theirs)
        );
        assert!(honest(&a) && honest(&b), "round {round}: {a:?}, {b:?}");
        let there = place.editor.read(path.as_str()).await;
        let there = there.map(|content| String::from_utf8(content).unwrap());
        let won = |change, there: Option<&str>| match change {
            Change::Write(content) => there == Some(content),
            Change::Remove => there.is_none(),
        };
        let is_kept = match (&a, &b) {
            (Ok(()), Ok(())) => false,
            (Ok(()), Err(_)) => won(mine, there.as_deref()),
            (Err(_), Ok(())) => won(theirs, there.as_deref()),
            (Err(_), Err(_)) => {
                nobody += 1;
                there.as_deref() == known.as_ref().map(|_| "base")
            }
        };
        if !is_kept {
            lost += 1;
            let what =
                format!("round {round}: {mine:?} {a:?}, {theirs:?} {b:?}, and {there:?} is there");
            assert!(!atomic, "{what}");
            assert!(matches!((&a, &b), (Ok(()), Ok(()))), "{what}");
        }
    }
    for session in [one, two] {
        session.finish().await.unwrap();
    }
    format!("{ROUNDS}, lost {lost}, nobody won {nobody}")
}
