//! A storage that tells an observer of every call, before and after; the observer may fail it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::When;
use super::observer::{Call, Observer, Operation, WithoutEnter};
use crate::model::{ContentHash, FileId, Meta, Mode, SyncPath, Token};
use crate::storage::*;

/// `inner`, with `observer` told of every call.
pub fn observe(
    inner: Arc<dyn StorageBackend>,
    observer: Arc<dyn Observer>,
) -> Arc<dyn StorageBackend> {
    Arc::new(Observed {
        inner,
        eye: Eye {
            observer,
            session: None,
        },
        listings: AtomicU64::new(0),
        sessions: AtomicU64::new(0),
    })
}

#[derive(Clone, Debug)]
struct Eye {
    observer: Arc<dyn Observer>,
    session: Option<u64>,
}

impl Eye {
    fn call(&self, operation: Operation, path: Option<&SyncPath>) -> Call {
        Call {
            operation,
            path: path.cloned(),
            session: self.session,
            staged: None,
        }
    }

    /// Does one request.
    async fn one<T>(
        &self,
        operation: Operation,
        path: Option<&SyncPath>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let paths: Vec<_> = path.into_iter().collect();
        let _inside = self.observer.enter(self.session, operation, &paths);
        let call = self.call(operation, path);
        self.pause(When::Before, &call).await;
        self.observer.before(&call)?;
        let result = work.await;
        let result = match result {
            Ok(result) => self.observer.after(&call).map(|()| result),
            failed => failed,
        };
        self.pause(When::After, &call).await;
        result
    }

    async fn pause(&self, when: When, call: &Call) {
        if let Some(pause) = self.observer.pause(when, call) {
            pause.await;
        }
    }

    /// Does many requests with one call; those that `before` refuses are left out of it.
    async fn many<Q, T, F: Future<Output = Vec<Result<T>>>>(
        &self,
        operation: Operation,
        requests: Vec<Q>,
        seen: impl Fn(&Q) -> (&SyncPath, Option<u64>),
        told: impl Fn(&T) -> Option<u64>,
        work: impl Fn(Vec<Q>) -> F,
    ) -> Vec<Result<T>> {
        let paths: Vec<_> = requests.iter().map(|request| seen(request).0).collect();
        let _inside = self.observer.enter(self.session, operation, &paths);
        let Some(order) = self.observer.apart(operation, requests.len()) else {
            return self.at_once(operation, requests, seen, told, work).await;
        };
        let mut requests: Vec<_> = requests.into_iter().map(Some).collect();
        let mut results: Vec<_> = requests.iter().map(|_| None).collect();
        for at in order {
            let request = requests[at].take().into_iter().collect();
            let done = self.at_once(operation, request, &seen, &told, &work).await;
            results[at] = done.into_iter().next();
        }
        results.into_iter().map(Option::unwrap).collect()
    }

    async fn at_once<Q, T, F: Future<Output = Vec<Result<T>>>>(
        &self,
        operation: Operation,
        requests: Vec<Q>,
        seen: impl Fn(&Q) -> (&SyncPath, Option<u64>),
        told: impl Fn(&T) -> Option<u64>,
        work: impl FnOnce(Vec<Q>) -> F,
    ) -> Vec<Result<T>> {
        let whole = self.call(operation, requests.first().map(|first| seen(first).0));
        self.pause(When::Before, &whole).await;
        let mut calls = Vec::with_capacity(requests.len());
        let mut passed = Vec::new();
        for request in requests {
            let (path, staged) = seen(&request);
            let call = Call {
                staged,
                ..self.call(operation, Some(path))
            };
            let verdict = self.observer.before(&call);
            if verdict.is_ok() {
                passed.push(request);
            }
            calls.push((call, verdict));
        }
        let expected = passed.len();
        let results = work(passed).await;
        assert_eq!(
            results.len(),
            expected,
            "{operation:?}: one result a request"
        );
        let mut results = results.into_iter();
        let finish = |(call, verdict): (Call, Result<()>)| {
            verdict?;
            let result = results.next().unwrap()?;
            let staged = told(&result).or(call.staged);
            self.observer.after(&Call { staged, ..call })?;
            Ok(result)
        };
        let results = calls.into_iter().map(finish).collect();
        self.pause(When::After, &whole).await;
        results
    }
}

#[derive(Debug)]
struct Observed {
    inner: Arc<dyn StorageBackend>,
    eye: Eye,
    listings: AtomicU64,
    sessions: AtomicU64,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StorageBackend for Observed {
    fn type_name(&self) -> &'static str {
        self.inner.type_name()
    }

    fn location(&self) -> &str {
        self.inner.location()
    }

    fn identity(&self) -> &str {
        self.inner.identity()
    }

    async fn root_marker(&self) -> Result<RootMarker> {
        let work = self.inner.root_marker();
        self.eye.one(Operation::RootMarker, None, work).await
    }

    async fn lies_in(&self) -> Result<Vec<MachineFolder>> {
        self.inner.lies_in().await
    }

    async fn exists(&self) -> Result<bool> {
        self.inner.exists().await
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn list(&self, request: ListRequest) -> Result<Box<dyn Listing>> {
        let work = self.inner.list(request);
        let inner = self.eye.one(Operation::List, None, work).await?;
        Ok(Box::new(ObservedListing {
            inner,
            eye: self.eye.clone(),
            number: self.listings.fetch_add(1, SeqCst) + 1,
            broken: None,
        }))
    }

    async fn stat(&self, path: &SyncPath) -> Result<Option<Meta>> {
        let work = self.inner.stat(path);
        self.eye.one(Operation::Stat, Some(path), work).await
    }

    async fn file_token(&self, path: &SyncPath) -> Result<Option<Token>> {
        let work = self.inner.file_token(path);
        self.eye.one(Operation::FileToken, Some(path), work).await
    }

    async fn hash(&self, path: &SyncPath, cancel: &CancellationToken) -> Result<Hashed> {
        let work = self.inner.hash(path, cancel);
        self.eye.one(Operation::Hash, Some(path), work).await
    }

    async fn read(&self, request: ReadRequest) -> Result<Box<dyn ContentReader>> {
        let path = request.path.clone();
        let work = self.inner.read(request);
        let inner = self.eye.one(Operation::Read, Some(&path), work).await?;
        Ok(Box::new(ObservedReader {
            inner,
            eye: self.eye.clone(),
            path,
        }))
    }

    async fn read_small(&self, requests: Vec<ReadRequest>) -> Vec<Result<SmallRead>> {
        self.eye
            .many(
                Operation::ReadSmall,
                requests,
                |request| (&request.path, None),
                |_| None,
                |requests| self.inner.read_small(requests),
            )
            .await
    }

    fn may_be_lost(&self, meta: &Meta) -> bool {
        self.inner.may_be_lost(meta)
    }

    // No request of a run's own: whoever counts or fails those need not know of it.
    async fn make_durable(&self, paths: Vec<SyncPath>) -> Result<()> {
        self.inner.make_durable(paths).await
    }

    fn copy_source(&self) -> Option<CopySource> {
        self.inner.copy_source()
    }

    fn copies_from(&self, source: &CopySource) -> bool {
        self.inner.copies_from(source)
    }

    async fn begin(&self, options: SessionOptions) -> Result<Arc<dyn WriteSession>> {
        let number = self.sessions.fetch_add(1, SeqCst) + 1;
        let work = self.inner.begin(options.clone());
        let inner = self.eye.one(Operation::Begin, None, work).await?;
        self.eye.observer.began(number, &options);
        Ok(Arc::new(ObservedSession {
            inner,
            eye: Eye {
                session: Some(number),
                ..self.eye.clone()
            },
        }))
    }

    async fn watcher(&self, request: WatchRequest) -> Result<Option<Box<dyn StorageWatcher>>> {
        let work = self.inner.watcher(request);
        let own = self.eye.one(Operation::Watcher, None, work).await?;
        Ok(self.eye.observer.watch().or(own))
    }

    async fn free_space(&self) -> Option<u64> {
        self.inner.free_space().await
    }

    async fn trash_list(&self) -> Result<Vec<TrashItem>> {
        let work = self.inner.trash_list();
        self.eye.one(Operation::TrashList, None, work).await
    }

    async fn trash_claimed(&self) -> Result<Vec<TrashItem>> {
        let work = self.inner.trash_claimed();
        self.eye.one(Operation::TrashList, None, work).await
    }

    async fn trash_restore(&self, id: &TrashId, to: &SyncPath) -> Result<()> {
        let work = self.inner.trash_restore(id, to);
        self.eye.one(Operation::TrashRestore, Some(to), work).await
    }

    async fn trash_empty(&self, options: SessionOptions) -> Result<()> {
        let work = self.inner.trash_empty(options);
        self.eye.one(Operation::TrashEmpty, None, work).await
    }
}

struct ObservedListing {
    inner: Box<dyn Listing>,
    eye: Eye,
    number: u64,
    broken: Option<StorageError>,
}

#[async_trait]
impl Listing for ObservedListing {
    async fn next(&mut self) -> Result<Option<Vec<Row>>> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        let work = self.inner.next();
        let mut rows = self.eye.one(Operation::ListNext, None, work).await?;
        if let Some(rows) = &mut rows {
            rows.retain(|row| !self.eye.observer.hides(row));
        }
        let count = rows.as_ref().map_or(0, Vec::len);
        let Some((kept, error)) = self.eye.observer.cut(self.number, count) else {
            return Ok(rows);
        };
        match &mut rows {
            Some(rows) if kept > 0 => rows.truncate(kept),
            _ => return Err(error),
        }
        self.broken = Some(error);
        Ok(rows)
    }
}

struct ObservedReader {
    inner: Box<dyn ContentReader>,
    eye: Eye,
    path: SyncPath,
}

#[async_trait]
impl ContentReader for ObservedReader {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let work = self.inner.next();
        let operation = Operation::ReadNext;
        self.eye.one(operation, Some(&self.path), work).await
    }

    fn noted(&self) -> Noted {
        self.inner.noted()
    }
}

struct ObservedWriter {
    inner: Box<dyn ContentWriter>,
    eye: Eye,
    path: SyncPath,
}

#[async_trait]
impl ContentWriter for ObservedWriter {
    async fn write(&mut self, piece: Bytes) -> Result<()> {
        let work = self.inner.write(piece);
        let operation = Operation::WriterWrite;
        self.eye.one(operation, Some(&self.path), work).await
    }

    async fn finish(self: Box<Self>, hash: ContentHash) -> Result<Staged> {
        let call = self.eye.call(Operation::WriterFinish, Some(&self.path));
        self.eye.pause(When::Before, &call).await;
        self.eye.observer.before(&call)?;
        let staged = self.inner.finish(hash).await?;
        self.eye.observer.after(&Call {
            staged: Some(staged.number),
            ..call
        })?;
        Ok(staged)
    }
}

#[derive(Debug)]
struct ObservedSession {
    inner: Arc<dyn WriteSession>,
    eye: Eye,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl WriteSession for ObservedSession {
    async fn stage(&self, requests: Vec<StageRequest>) -> Vec<Result<Staged>> {
        self.eye
            .many(
                Operation::Stage,
                requests,
                |request| (&request.path, None),
                |staged: &Staged| Some(staged.number),
                |requests| self.inner.stage(requests),
            )
            .await
    }

    async fn stage_large(
        &self,
        request: StageRequest,
        size: u64,
        expect: &Expect,
    ) -> Result<Box<dyn ContentWriter>> {
        let path = request.path.clone();
        let work = self.inner.stage_large(request, size, expect);
        let operation = Operation::StageLarge;
        let inner = self.eye.one(operation, Some(&path), work).await?;
        Ok(Box::new(ObservedWriter {
            inner,
            eye: self.eye.clone(),
            path,
        }))
    }

    async fn stage_copy(&self, request: StageRequest, from: CopyFrom) -> Result<Staged> {
        let results = self
            .eye
            .many(
                Operation::Stage,
                vec![(request, from)],
                |(request, _)| (&request.path, None),
                |staged: &Staged| Some(staged.number),
                async |requests| {
                    let mut results = Vec::new();
                    for (request, from) in requests {
                        results.push(self.inner.stage_copy(request, from).await);
                    }
                    results
                },
            )
            .await;
        results.into_iter().next().unwrap_or_else(|| {
            let error = "an observed call had no result";
            Err(StorageError::new(ErrorKind::Other, "copy", error))
        })
    }

    async fn flush(&self) -> Result<()> {
        let work = self.inner.flush();
        self.eye.one(Operation::Flush, None, work).await
    }

    async fn replace(&self, requests: Vec<ReplaceRequest>) -> Vec<Result<Published>> {
        self.eye
            .many(
                Operation::Replace,
                requests,
                |request| (&request.path, Some(request.staged.number)),
                |_| None,
                |requests| self.inner.replace(requests),
            )
            .await
    }

    async fn remove(&self, requests: Vec<RemoveRequest>) -> Vec<Result<()>> {
        self.eye
            .many(
                Operation::Remove,
                requests,
                |request| (&request.path, None),
                |()| None,
                |requests| self.inner.remove(requests),
            )
            .await
    }

    async fn rename(&self, requests: Vec<RenameRequest>) -> Vec<Result<Published>> {
        let mut both = Vec::new();
        for request in &requests {
            both.push(request.from.clone());
            both.extend(Some(&request.to).filter(|to| **to != request.from).cloned());
        }
        let both: Vec<_> = both.iter().collect();
        let eye = &self.eye;
        let _inside = eye.observer.enter(eye.session, Operation::Rename, &both);
        let eye = Eye {
            observer: Arc::new(WithoutEnter(Arc::clone(&eye.observer))),
            session: eye.session,
        };
        eye.many(
            Operation::Rename,
            requests,
            |request| (&request.from, None),
            |_| None,
            |requests| self.inner.rename(requests),
        )
        .await
    }

    async fn rename_folder(&self, from: &SyncPath, id: FileId, to: &SyncPath) -> Result<()> {
        let work = self.inner.rename_folder(from, id, to);
        let eye = &self.eye;
        let _inside = eye
            .observer
            .enter(eye.session, Operation::Rename, &[from, to]);
        let eye = Eye {
            observer: Arc::new(WithoutEnter(Arc::clone(&eye.observer))),
            session: eye.session,
        };
        eye.one(Operation::Rename, Some(from), work).await
    }

    async fn make_folder(&self, path: &SyncPath, mode: Option<Mode>) -> Result<Published> {
        let work = self.inner.make_folder(path, mode);
        self.eye.one(Operation::MakeFolder, Some(path), work).await
    }

    async fn set_mode(
        &self,
        path: &SyncPath,
        expected: &Expected,
        mode: Mode,
    ) -> Result<Published> {
        let work = self.inner.set_mode(path, expected, mode);
        self.eye.one(Operation::SetMode, Some(path), work).await
    }

    async fn stranded(&self) -> Vec<StrandedVersion> {
        self.inner.stranded().await
    }

    async fn finish(&self) -> Result<Displaced> {
        let work = self.inner.finish();
        self.eye.one(Operation::Finish, None, work).await
    }
}
