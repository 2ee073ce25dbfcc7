//! Displaced versions: kept in the trash before they are displaced, given back if they were not.

use std::sync::atomic::Ordering::SeqCst;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use wl_core::model::{ContentHash, Kind, SyncPath};
use wl_core::storage::{
    ContentReader, ErrorKind, ReadRequest, Result, SMALL_FILE, StorageError, StrandedVersion,
    TrashState,
};

use super::judge::alike;
use super::{Shared, lock};
use crate::remote::store::{
    Again, Attributes, Condition, Fault, Found, Outcome, Put, Upload, UploadRequest,
};
use crate::remote::trash::{self, Label};
use crate::remote::{read, token};

/// The version that a change is to displace.
#[derive(Clone, Debug, Default)]
pub(super) struct Version {
    /// Its tag; conditions are made of it.
    pub(super) tag: Option<Box<str>>,
    /// The hash of its content, if anybody knows.
    pub(super) hash: Option<ContentHash>,
    /// What the look showed; `None`: there was none, the storage compares.
    pub(super) found: Option<Found>,
}

/// A version in the trash that is still at its path, or was.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) at: SyncPath,
    tag: Option<Box<str>>,
}

/// What became of keeping a version.
pub(super) enum Keeping {
    Kept(Kept),
    /// The storage has no way to keep it.
    No,
    /// Another version is there by now.
    Changed,
}

pub(super) fn refused(fault: &Fault) -> bool {
    let kinds = [ErrorKind::Changed, ErrorKind::NotFound];
    !fault.unclear && kinds.contains(&fault.error.kind())
}

impl Shared {
    /// A new place in the trash.
    pub(super) fn trash_place(
        &self,
        path: &SyncPath,
        state: TrashState,
        hash: Option<ContentHash>,
    ) -> Result<SyncPath> {
        let label = Label {
            since: self.began,
            run: self.options.run.clone(),
            number: self.number(),
            state,
            hash,
            path: Some(path.clone()),
        };
        trash::place(&label)
    }

    /// Keeps the version, if it is still there. `enforced`: the change that follows is refused by the storage if it is not.
    pub(super) async fn keep(
        &self,
        operation: &'static str,
        path: &SyncPath,
        version: &Version,
        enforced: bool,
        state: TrashState,
    ) -> Result<Keeping> {
        let at = self.trash_place(path, state, version.hash)?;
        let kept = if self.facts().copies && !is_link(version) {
            self.keep_copy(path, version, &at).await
        } else if self.facts().renames {
            self.keep_content(operation, path, version, &at).await?
        } else {
            return Ok(Keeping::No);
        };
        match kept {
            Ok(()) => {}
            Err(fault) if refused(&fault) => return Ok(Keeping::Changed),
            Err(fault) => return Err(self.not_kept(operation, path, fault)),
        }
        let kept = Kept {
            at,
            tag: version.tag.clone(),
        };
        // Nobody but us compares: what was copied is the version that was looked at only if that is still there.
        if let (false, Some(before)) = (enforced, &version.found) {
            let after = self.remote.wire.stat(path).await?;
            if after.is_none_or(|after| token::token(&after) != token::token(before)) {
                self.unkeep(Some(kept)).await;
                return Ok(Keeping::Changed);
            }
        }
        Ok(Keeping::Kept(kept))
    }

    /// A version that cannot be kept is not displaced either.
    fn not_kept(&self, operation: &'static str, path: &SyncPath, fault: Fault) -> StorageError {
        let temporary = fault.again != Again::Never;
        let error = self.error(operation, path, fault);
        if temporary {
            return error;
        }
        let reason = format!(
            "the version there cannot be kept in the trash: {}",
            error.reason()
        );
        let error = StorageError::new(error.kind(), operation, reason);
        self.named(error, path)
            .with_advice("nothing was changed; move that version elsewhere and run again")
    }

    async fn keep_copy(&self, path: &SyncPath, version: &Version, at: &SyncPath) -> Outcome<()> {
        let copy = |tag| async move { self.store().copy(path, tag, at, false).await.map(drop) };
        let tag = version.tag.as_deref();
        match self.with_folders(at, || copy(tag)).await {
            // The server copies, but takes no condition on what it copies. The change that follows tells whether it was this version:
            // by the server's own comparison, or by a look.
            Err(fault) if fault.error.kind() == ErrorKind::Unsupported && tag.is_some() => {
                self.with_folders(at, || copy(None)).await
            }
            copied => copied,
        }
    }

    /// Where nothing is copied without passing here the content is read and written once more.
    async fn keep_content(
        &self,
        operation: &'static str,
        path: &SyncPath,
        version: &Version,
        at: &SyncPath,
    ) -> Result<Outcome<()>> {
        let found = match &version.found {
            Some(found) => Some(found.clone()),
            None => self.remote.wire.stat(path).await?,
        };
        let Some(found) = found.filter(|found| found.tag == version.tag) else {
            return Ok(Err(self.moved_on()));
        };
        if let (Kind::Link, Some(target)) = (found.kind, &found.link) {
            let put = || async { self.store().put_link(at, target).await.map(drop) };
            return Ok(self.with_folders(at, put).await);
        }
        let attributes = Attributes {
            mtime: found.modified,
            mode: found.mode,
            operation: format!("{}-{}", self.options.run, self.number()).into(),
            ..Attributes::default()
        };
        let scratch = self.scratch()?;
        if found.size > SMALL_FILE {
            return self
                .keep_large(path, &found, at, attributes, &scratch)
                .await;
        }
        let Some(content) = self.content(operation, path, &found).await? else {
            return Ok(Err(self.moved_on()));
        };
        let attributes = Attributes {
            hash: Some(ContentHash::of(&content)),
            ..attributes
        };
        let put = || async {
            let put = Put {
                path: at,
                content: content.clone(),
                attributes: &attributes,
                condition: &Condition::None,
                seen: None,
                scratch: &scratch,
            };
            self.store().put(put).await.map(drop)
        };
        Ok(self.with_folders(at, put).await)
    }

    /// A large version goes through in pieces.
    async fn keep_large(
        &self,
        path: &SyncPath,
        found: &Found,
        at: &SyncPath,
        attributes: Attributes,
        scratch: &SyncPath,
    ) -> Result<Outcome<()>> {
        let start = || async {
            let request = UploadRequest {
                path: at,
                size: found.size,
                attributes: &attributes,
                condition: &Condition::None,
                scratch,
            };
            self.store().upload(request).await
        };
        let mut upload = match self.with_folders(at, start).await {
            Ok(upload) => upload,
            Err(fault) => return Ok(Err(fault)),
        };
        let passed = self.pass_through(path, found, &mut *upload).await;
        if !matches!(passed, Ok(Ok(()))) {
            let _turn = self.remote.wire.turn(0).await;
            // What stays is swept up later.
            upload.abort().await.ok();
        }
        passed
    }

    async fn pass_through(
        &self,
        path: &SyncPath,
        found: &Found,
        upload: &mut dyn Upload,
    ) -> Result<Outcome<()>> {
        let wire = &self.remote.wire;
        let request = ReadRequest {
            path: path.clone(),
            meta: wire.meta(found, token::now()),
        };
        let moved_on =
            |error: &StorageError| matches!(error.kind(), ErrorKind::Busy | ErrorKind::NotFound);
        let mut reader = match read::open(&self.remote, request).await {
            Ok(reader) => reader,
            Err(error) if moved_on(&error) => return Ok(Err(self.moved_on())),
            Err(error) => return Err(error),
        };
        loop {
            let piece = match reader.next().await {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(error) if moved_on(&error) => return Ok(Err(self.moved_on())),
                Err(error) => return Err(error),
            };
            let _turn = wire.turn(piece.len() as u64).await;
            if let Err(fault) = upload.write(piece).await {
                return Ok(Err(fault));
            }
        }
        let _turn = wire.turn(0).await;
        if let Err(fault) = upload.finish().await {
            return Ok(Err(fault));
        }
        Ok(upload.commit().await.map(drop))
    }

    /// A small file's content; `None` if it is another version by now.
    async fn content(
        &self,
        operation: &'static str,
        path: &SyncPath,
        found: &Found,
    ) -> Result<Option<Bytes>> {
        let mut content = BytesMut::new();
        if found.size == 0 {
            return Ok(Some(content.freeze()));
        }
        let wire = &self.remote.wire;
        let reading = wire.read(path, 0..found.size, found.tag.as_deref()).await;
        let mut pieces = match reading {
            Ok(reading) => reading.pieces,
            Err(error) if matches!(error.kind(), ErrorKind::Busy | ErrorKind::NotFound) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|fault| self.error(operation, path, fault))?;
            content.extend_from_slice(&piece);
        }
        Ok(Some(content.freeze()).filter(|content| content.len() as u64 == found.size))
    }

    /// Does what needs the folders above `at`, which are ours.
    pub(super) async fn with_folders<T, F: Future<Output = Outcome<T>>>(
        &self,
        at: &SyncPath,
        request: impl Fn() -> F,
    ) -> Outcome<T> {
        self.parents.make_above(self, at).await?;
        let done = self.repeat_fault(0, &request).await;
        match done {
            // Another run has tidied them away.
            Err(fault) if fault.error.kind() == ErrorKind::NoParent && !self.facts().flat => {
                self.parents.forget_made().await;
                self.parents.make_above(self, at).await?;
                self.repeat_fault(0, request).await
            }
            done => done,
        }
    }

    /// The version is still at its path: what was kept is a copy too many. If it stays, it only takes room.
    pub(super) async fn unkeep(&self, kept: Option<Kept>) {
        if let Some(Kept { at, .. }) = kept {
            let remove = || self.store().remove(&at, &Condition::None);
            // A copy too many harms nobody, and is given up with the trash.
            self.repeat_fault(0, remove).await.ok();
        }
    }

    pub(super) fn count_displaced(&self, kept: bool) {
        self.displaced.fetch_add(u64::from(kept), SeqCst);
    }

    /// Something else than the version that was meant was moved to `at`: it goes back, or it is kept as nobody's to give up.
    pub(super) async fn give_back(&self, path: &SyncPath, at: &SyncPath) {
        let back = || self.store().rename(at, &Condition::None, path);
        if self.repeat_fault(0, back).await.is_ok() {
            return;
        }
        let mut kept = at.clone();
        if let Ok(claimed) = self.trash_place(path, TrashState::Rescued, None) {
            let claim = || self.store().rename(at, &Condition::None, &claimed);
            if self.with_folders(&claimed, claim).await.is_ok() {
                kept = claimed;
            }
        }
        let id = trash::id(&kept).map_or_else(|| kept.to_string(), |id| id.to_string());
        lock(&self.stranded).push(StrandedVersion {
            path: Some(path.clone()),
            kept: format!("in the trash as {id}"),
            reason: "it was written while its path was changed by wl, and yet another version came after it"
                .to_owned(),
        });
    }

    /// Whether what was moved to `at` is the version that was meant.
    pub(super) async fn is_version(
        &self,
        at: &SyncPath,
        moved: &Found,
        version: &Version,
    ) -> Result<bool> {
        if version
            .found
            .as_ref()
            .is_some_and(|found| alike(found, moved))
        {
            return Ok(true);
        }
        let Some(hash) = version.hash.filter(|_| moved.kind == Kind::File) else {
            return Ok(false);
        };
        Ok(self.hash(at, moved).await? == Some(hash))
    }
}

impl Kept {
    pub(super) fn is(&self, version: &Version) -> bool {
        self.tag.is_some() && self.tag == version.tag
    }
}

fn is_link(version: &Version) -> bool {
    let found = version.found.as_ref();
    found.is_some_and(|found| found.kind == Kind::Link)
}
