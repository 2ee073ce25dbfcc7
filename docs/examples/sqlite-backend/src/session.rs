//! Sessions: what is staged lies in a temporary table; what is published is one transaction a call.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, params};
use wl_core::model::{ContentHash, Key, Kind, Mode, SyncPath};
use wl_core::storage::{
    ContentWriter, Displaced, ErrorKind, Expect, Expected, Payload, Published, RemoveRequest,
    RenameRequest, ReplaceRequest, Result, SessionOptions, StageRequest, Staged, StorageError,
    StrandedVersion, TrashKeep, TrashState, WriteSession,
};

use crate::Draft;
use crate::file::{During as _, File, check_name};
use crate::node::{Node, changed, check_parent, find, find_expected, make_folder, now, tick};

#[derive(Clone, Debug)]
pub(crate) struct SqliteSession(Arc<Shared>);

/// What a session and its writers share.
#[derive(Debug)]
struct Shared {
    file: Arc<File>,
    number: i64,
    options: SessionOptions,
    /// What was asked for, by the number of what is staged.
    staged: Mutex<HashMap<u64, StageRequest>>,
    last: AtomicI64,
    displaced: AtomicU64,
    ended: AtomicBool,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // What cannot be dropped now is gone with the connection.
        let drop = "DELETE FROM staged WHERE session = ?1";
        let _ = self
            .file
            .read("end", |c| c.execute(drop, [self.number]).during("end"));
    }
}

impl SqliteSession {
    pub fn begin(file: &Arc<File>, options: SessionOptions) -> Result<Self> {
        let number = file.write("begin", |tx| tick(tx))?;
        Ok(Self(Arc::new(Shared {
            file: Arc::clone(file),
            number,
            options,
            staged: Mutex::default(),
            last: AtomicI64::new(0),
            displaced: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        })))
    }

    /// Whether the session may go on, with this path.
    fn check(&self, operation: &'static str, path: &SyncPath) -> Result<()> {
        let stop = |kind, reason| Err(StorageError::new(kind, operation, reason).at(path));
        if self.0.options.cancel.is_cancelled() {
            return stop(ErrorKind::Cancelled, "told to stop");
        }
        if self.0.ended.load(SeqCst) {
            return stop(ErrorKind::Other, "the session has ended; begin another");
        }
        check_name(operation, path)
    }

    /// Does all requests of one call in one transaction. One that fails leaves nothing, and the others alone.
    fn all<R, T>(
        &self,
        operation: &'static str,
        requests: Vec<R>,
        path: impl Fn(&R) -> &SyncPath,
        work: impl Fn(&Connection, &R) -> Result<T>,
    ) -> Vec<Result<T>> {
        let done = self.0.file.write(operation, |tx| {
            let results = requests.iter().map(|request| {
                let one = || {
                    self.check(operation, path(request))?;
                    let savepoint = tx.savepoint().during(operation)?;
                    let done = work(&savepoint, request)?;
                    savepoint.commit().during(operation)?;
                    Ok(done)
                };
                let mut one = one;
                one().map_err(|error: StorageError| {
                    error.at(path(request)).on(&self.0.file.location)
                })
            });
            Ok(results.collect())
        });
        done.unwrap_or_else(|error| {
            requests
                .iter()
                .map(|request| Err(error.repeat().at(path(request))))
                .collect()
        })
    }

    fn one<T>(
        &self,
        operation: &'static str,
        path: &SyncPath,
        work: impl Fn(&Connection) -> Result<T>,
    ) -> Result<T> {
        let mut done = self.all(operation, vec![path], |path| path, |on, _| work(on));
        done.pop()
            .unwrap_or_else(|| Err(changed(operation, "nothing was asked for")))
    }

    fn add(&self, number: i64, part: i64, bytes: &[u8]) -> Result<()> {
        let add = "INSERT INTO staged VALUES (?1, ?2, ?3, ?4)";
        let row = params![self.0.number, number, part, bytes];
        self.0
            .file
            .read("stage", |on| on.execute(add, row).during("stage").map(drop))
    }

    fn keep(&self, number: i64, request: StageRequest, hash: ContentHash, size: u64) -> Staged {
        let staged = Staged {
            number: number.cast_unsigned(),
            kind: match request.payload {
                Payload::Link(_) => Kind::Link,
                Payload::Bytes(_) => Kind::File,
            },
            hash,
            size,
            note: "".into(),
        };
        let mut all = self.0.staged.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(staged.number, request);
        staged
    }

    fn stage_one(&self, request: StageRequest) -> Result<Staged> {
        self.check("stage", &request.path)?;
        let number = self.0.last.fetch_add(1, SeqCst) + 1;
        let (size, hash) = match &request.payload {
            Payload::Link(_) => (0, request.hash),
            Payload::Bytes(bytes) => {
                check_hash(ContentHash::of(bytes), request.hash)
                    .map_err(|error| error.at(&request.path))?;
                self.add(number, 0, bytes)
                    .map_err(|error| error.at(&request.path))?;
                (bytes.len() as u64, request.hash)
            }
        };
        Ok(self.keep(number, request, hash, size))
    }

    /// Whether what is expected is there; what is there, if something is.
    fn condition(&self, on: &Connection, request: &ReplaceRequest) -> Result<Option<Node>> {
        let there = find(on, &request.path)?;
        match (&request.expect, &there) {
            (Expect::Absent, None) => Ok(there),
            (Expect::Is(expected), Some(node))
                if node.kind() != Kind::Folder && node.is(expected, self.draft()) =>
            {
                Ok(there)
            }
            _ => Err(changed("replace", "what is there is not what was expected")),
        }
    }

    fn publish(
        &self,
        on: &Connection,
        request: &ReplaceRequest,
        old: Option<Node>,
    ) -> Result<Published> {
        check_parent(on, "replace", &request.path)?;
        let staged = self
            .0
            .staged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&request.staged.number);
        let staged = staged.ok_or_else(|| {
            StorageError::new(
                ErrorKind::Other,
                "replace",
                "this session has not staged that; stage it again",
            )
        })?;
        if let Some(old) = old {
            old.to_trash(on, self.0.number, TrashState::Replaced)?;
            self.0.displaced.fetch_add(1, SeqCst);
        }
        let (content, number) = (tick(on)?, request.staged.number.cast_signed());
        let pieces = "INSERT INTO piece SELECT ?1, part, bytes FROM staged WHERE session = ?2 AND number = ?3";
        on.execute(pieces, [content, self.0.number, number])
            .during("replace")?;
        let tidy = "DELETE FROM staged WHERE session = ?1 AND number = ?2";
        on.execute(tidy, [self.0.number, number])
            .during("replace")?;
        let link = match staged.payload {
            Payload::Link(target) => Some(target),
            Payload::Bytes(_) => None,
        };
        let node = Node {
            key: Key::file(request.path.clone()).to_text(),
            id: tick(on)?,
            version: tick(on)?,
            size: request.staged.size.cast_signed(),
            hash: Some(request.staged.hash).filter(|_| link.is_none()),
            mtime: staged.mtime.unwrap_or_else(now),
            mode: link
                .is_none()
                .then(|| staged.mode.unwrap_or(Mode::new(0o644))),
            content: Some(content),
            link,
        };
        node.put(on)?;
        Ok(node.published(self.draft()))
    }

    fn draft(&self) -> Draft {
        self.0.file.draft
    }
}

fn check_hash(found: ContentHash, told: ContentHash) -> Result<()> {
    if found == told {
        return Ok(());
    }
    let reason = "the content does not have the hash that was given; read it again";
    Err(StorageError::new(ErrorKind::Other, "stage", reason))
}

fn remove(on: &Connection, request: &RemoveRequest, session: &SqliteSession) -> Result<()> {
    let node = find_expected(
        on,
        "remove",
        &request.path,
        &request.expected,
        session.draft(),
    )?;
    if node.kind() != Kind::Folder {
        node.to_trash(on, session.0.number, TrashState::Removed)?;
        session.0.displaced.fetch_add(1, SeqCst);
        return node.take(on);
    }
    let inside = "SELECT EXISTS (SELECT 1 FROM entry WHERE key > ?1 AND key < ?2)";
    let behind = format!("{}0", request.path.as_str());
    let full: bool = on
        .query_row(inside, [&node.key, &behind], |row| row.get(0))
        .during("remove")?;
    if full {
        let reason = "the folder is not empty; nothing was removed";
        return Err(StorageError::new(ErrorKind::NotEmpty, "remove", reason));
    }
    node.take(on)
}

fn rename(on: &Connection, request: &RenameRequest, draft: Draft) -> Result<Published> {
    let RenameRequest { from, expected, to } = request;
    check_name("rename", to)?;
    let node = find_expected(on, "rename", from, expected, draft)?;
    if node.kind() == Kind::Folder {
        let reason = "folders are not renamed here; rename what is in it";
        return Err(StorageError::new(ErrorKind::Unsupported, "rename", reason));
    }
    if find(on, to)?.is_some() {
        return Err(changed("rename", "something is at the new path"));
    }
    check_parent(on, "rename", to)?;
    node.take(on)?;
    let key = Key::file(to.clone()).to_text();
    let node = Node {
        key,
        version: tick(on)?,
        ..node
    };
    node.put(on)?;
    Ok(node.published(draft))
}

#[async_trait]
impl WriteSession for SqliteSession {
    async fn stage(&self, requests: Vec<StageRequest>) -> Vec<Result<Staged>> {
        let stage = |request| self.stage_one(request);
        requests.into_iter().map(stage).collect()
    }

    async fn stage_large(
        &self,
        request: StageRequest,
        _: u64,
        _: &Expect,
    ) -> Result<Box<dyn ContentWriter>> {
        self.check("stage", &request.path)?;
        Ok(Box::new(Writer {
            number: self.0.last.fetch_add(1, SeqCst) + 1,
            session: self.clone(),
            request,
            parts: 0,
            size: 0,
        }))
    }

    async fn flush(&self) -> Result<()> {
        // What is committed is durable.
        self.check("flush", &SyncPath::root())
    }

    async fn replace(&self, requests: Vec<ReplaceRequest>) -> Vec<Result<Published>> {
        match self.draft() {
            Draft::First | Draft::Second => {
                let each = requests.iter().map(|request| {
                    let look = |on: &Connection| self.condition(on, request);
                    let old = self.0.file.read("replace", look)?;
                    let publish = |on: &Connection| self.publish(on, request, old.clone());
                    self.one("replace", &request.path, publish)
                });
                each.collect()
            }
            Draft::Mended => self.all(
                "replace",
                requests,
                |request| &request.path,
                |on, request| {
                    let old = self.condition(on, request)?;
                    self.publish(on, request, old)
                },
            ),
        }
    }

    async fn remove(&self, requests: Vec<RemoveRequest>) -> Vec<Result<()>> {
        let work = |on: &Connection, request: &RemoveRequest| remove(on, request, self);
        self.all("remove", requests, |request| &request.path, work)
    }

    async fn rename(&self, requests: Vec<RenameRequest>) -> Vec<Result<Published>> {
        let work = |on: &Connection, request: &RenameRequest| rename(on, request, self.draft());
        self.all("rename", requests, |request| &request.from, work)
    }

    async fn make_folder(&self, path: &SyncPath, mode: Option<Mode>) -> Result<Published> {
        self.one("make folder", path, |on| {
            if find(on, path)?.is_some() {
                return Err(changed("make folder", "something is there"));
            }
            check_parent(on, "make folder", path)?;
            Ok(make_folder(on, path, mode)?.published(self.draft()))
        })
    }

    async fn set_mode(
        &self,
        path: &SyncPath,
        expected: &Expected,
        mode: Mode,
    ) -> Result<Published> {
        self.one("set mode", path, |on| {
            let node = find_expected(on, "set mode", path, expected, self.draft())?;
            if node.kind() == Kind::Link {
                let reason = "a link has no permission bits";
                return Err(StorageError::new(
                    ErrorKind::Unsupported,
                    "set mode",
                    reason,
                ));
            }
            let node = Node {
                mode: Some(mode),
                version: tick(on)?,
                ..node
            };
            node.put(on)?;
            Ok(node.published(self.draft()))
        })
    }

    async fn stranded(&self) -> Vec<StrandedVersion> {
        // No version of anybody's is ever in our hands: a transaction has it or has it not.
        Vec::new()
    }

    async fn finish(&self) -> Result<Displaced> {
        let before = match self.0.options.trash_keep {
            TrashKeep::None => i64::MAX,
            TrashKeep::For(time) => now().secs.saturating_sub_unsigned(time.as_secs()),
        };
        self.0.file.write("finish", |tx| {
            // What this run displaced is kept until the end of the next.
            let expire = "DELETE FROM trash WHERE session < ?1 AND since < ?2 RETURNING content";
            let mut expire = tx.prepare(expire).during("finish")?;
            let gone = expire
                .query_map([self.0.number, before], |row| row.get(0))
                .during("finish")?;
            let gone: Vec<Option<i64>> = gone.collect::<rusqlite::Result<_>>().during("finish")?;
            for content in gone.into_iter().flatten() {
                tx.execute("DELETE FROM piece WHERE content = ?1", [content])
                    .during("finish")?;
            }
            Ok(())
        })?;
        self.0.ended.store(true, SeqCst);
        let versions = self.0.displaced.load(SeqCst);
        Ok(Displaced { versions })
    }
}

/// Content that arrives in pieces.
struct Writer {
    session: SqliteSession,
    request: StageRequest,
    number: i64,
    parts: i64,
    size: u64,
}

#[async_trait]
impl ContentWriter for Writer {
    async fn write(&mut self, piece: Bytes) -> Result<()> {
        self.session.check("stage", &self.request.path)?;
        self.session.add(self.number, self.parts, &piece)?;
        self.parts += 1;
        self.size += piece.len() as u64;
        Ok(())
    }

    async fn finish(self: Box<Self>, hash: ContentHash) -> Result<Staged> {
        self.session.check("stage", &self.request.path)?;
        let payload = Payload::Bytes(Bytes::new());
        let request = StageRequest {
            payload,
            ..self.request
        };
        Ok(self.session.keep(self.number, request, hash, self.size))
    }
}
