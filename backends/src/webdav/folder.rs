//! Folders, copies and renames.

use http::Method;
use url::Url;
use wl_core::model::{Kind, SyncPath};
use wl_core::storage::{ErrorKind, StorageError};

use super::lock::{DEPTH, Held, IF, done, method, no_dav};
use super::write::{absent, changed, holds, lost_lock, no_folder, unclear};
use super::{Dav, is_folder, listing};
use crate::remote::store::{Condition, Fault, Found, Outcome, Pages};
use crate::remote::web::{Request, answer};

impl Dav {
    /// Removes a scratch file, if it can.
    pub(super) async fn discard(&self, scratch: &SyncPath) {
        let request = Request::new(Method::DELETE, self.client.url(scratch, false));
        let _ = self.client.send(request).await;
    }

    /// Makes a folder.
    pub(super) async fn make(&self, path: &SyncPath) -> Outcome<Found> {
        // There are servers (rclone) that say of one that was there already that they made it.
        if self.look(path, path.is_root()).await?.is_some() {
            return Err(changed("something is there already"));
        }
        let request = Request::new(method("MKCOL"), self.client.url(path, true));
        match self.go(request, path).await {
            Ok(()) => Ok(answer::plain(Kind::Folder, 0)),
            Err(fault) if fault.unclear || fault.error.kind() == ErrorKind::NoParent => Err(fault),
            Err(fault) => {
                // Servers have many ways to say that something is there.
                Err(match self.look(path, path.is_root()).await? {
                    Some(_) => changed("something is there already"),
                    None => fault,
                })
            }
        }
    }

    /// Makes the storage's own folder, if it is missing. Those above it are not ours to make.
    pub(super) async fn make_root(&self) -> Outcome<()> {
        let root = SyncPath::root();
        if self.look(&root, true).await?.is_some() {
            return Ok(());
        }
        let fault = match self.make(&root).await {
            Ok(_) => return Ok(()),
            // Another run was faster.
            Err(fault) if fault.error.kind() == ErrorKind::Changed => return Ok(()),
            Err(fault) => fault,
        };
        let Some(missing) = self.missing_above().await else {
            return Err(fault);
        };
        let reason = format!(
            "the folder {missing} is not there, and only the last folder of `url` is made; make it on the server, or correct `url`"
        );
        Err(StorageError::new(ErrorKind::Unavailable, "make folder", reason).into())
    }

    /// The address of the first folder on the way to the storage that is not there.
    async fn missing_above(&self) -> Option<Url> {
        let mut url = self.client.url(&SyncPath::root(), true);
        let mut missing = None;
        loop {
            // The path ends in `/`: behind it is an empty segment.
            url.path_segments_mut().ok()?.pop_if_empty().pop().push("");
            if url.path() == "/" {
                return missing;
            }
            let request = Request::new(method("PROPFIND"), url.clone()).header(DEPTH, "0");
            let reply = self.client.send(request).await.ok()?;
            // A folder above may be hidden from us and be there all the same.
            if !matches!(reply.status().as_u16(), 404 | 409 | 410) {
                return missing;
            }
            missing = Some(url.clone());
        }
    }

    /// Removes a folder with nothing in it. With a lock nothing can come into it meanwhile.
    pub(super) async fn remove_empty(&self, path: &SyncPath) -> Outcome<()> {
        // Without `/` at the end: Apache refuses to tell of a file under a folder's address.
        match self.look(path, false).await? {
            None => return Err(absent()),
            found if !is_folder(found.as_ref()) => return Err(changed("it is no folder")),
            Some(_) => {}
        }
        let held = match self.lock(path, true, false).await {
            Ok(held) => Some(held),
            // Checked only: what appears between the look and the DELETE goes with it.
            Err(fault) if fault.error.kind() == ErrorKind::Unsupported => None,
            Err(fault) => return Err(fault),
        };
        let outcome = self.remove_looked_at(path, held.as_ref()).await;
        if let Some(held) = &held {
            self.release(held).await;
        }
        outcome
    }

    async fn remove_looked_at(&self, path: &SyncPath, held: Option<&Held>) -> Outcome<()> {
        let reply = self.client.send(self.propfind(path, true, "1")).await?;
        if reply.status().as_u16() != 207 {
            return Err(no_dav(&reply));
        }
        let root = self.client.url(&SyncPath::root(), true);
        let parts = listing::folder_parts(root.path(), path);
        if listing::Folder::new(reply, parts).next().await?.is_some() {
            return Err(StorageError::new(
                ErrorKind::NotEmpty,
                "remove",
                "the folder is not empty",
            )
            .into());
        }
        self.forget_folders();
        let mut request = Request::new(Method::DELETE, self.client.url(path, true));
        if let Some(held) = held {
            request = request.header(IF, held.tagged());
        }
        done(self.client.send(request).await?)
            .await
            .map_err(lost_lock)
    }

    /// Copies a file.
    pub(super) async fn duplicate(
        &self,
        from: &SyncPath,
        tag: Option<Box<str>>,
        to: &SyncPath,
        absent_only: bool,
    ) -> Outcome<Found> {
        let condition = tag.map_or(Condition::None, Condition::Is);
        let before = self.look(from, false).await?.ok_or_else(absent)?;
        no_folder(Some(&before))?;
        holds(&condition, Some(&before))?;
        let target = self.look(to, false).await?;
        no_folder(target.as_ref())?;
        if absent_only {
            holds(&Condition::Absent, target.as_ref())?;
        }
        let request = self.moving("COPY", from, to, !absent_only, &[]);
        self.go(request, to).await?;
        // It is of that version if the version is there afterwards as well.
        let after = self.look(from, false).await?;
        if let Err(fault) = holds(&condition, after.as_ref()) {
            if absent_only {
                self.discard(to).await;
            }
            return Err(fault);
        }
        let copy = self.look(to, false).await?;
        let size = before.size;
        copy.filter(|copy| copy.size == size)
            .ok_or_else(|| unclear("the copy is not what was copied; look again"))
    }

    /// Moves a file to where nothing is.
    pub(super) async fn relocate(
        &self,
        from: &SyncPath,
        condition: &Condition,
        to: &SyncPath,
    ) -> Outcome<Found> {
        let before = self.look(from, false).await?.ok_or_else(absent)?;
        no_folder(Some(&before))?;
        holds(condition, Some(&before))?;
        holds(&Condition::Absent, self.look(to, false).await?.as_ref())?;
        if *condition == Condition::None {
            let request = self.moving("MOVE", from, to, false, &[]);
            self.go(request, to).await?;
            return self.moved(to, &before).await;
        }
        let source = self.lock(from, false, false).await?;
        let outcome = match self.lock(to, false, true).await {
            Ok(target) => {
                let outcome = self
                    .relocate_locked((from, to), condition, &source, &target)
                    .await;
                self.release(&target).await;
                outcome
            }
            Err(fault) => Err(fault),
        };
        // Where it was, nothing is now; where it was not moved, its lock is given back.
        self.release(&source).await;
        outcome
    }

    async fn relocate_locked(
        &self,
        (from, to): (&SyncPath, &SyncPath),
        condition: &Condition,
        source: &Held,
        target: &Held,
    ) -> Outcome<Found> {
        let before = self.look(from, false).await?;
        let there = self.look(to, false).await?;
        let ours = target.made
            && there
                .as_ref()
                .is_some_and(|there| there.kind == Kind::File && there.size == 0);
        let vanished = source.made && before.as_ref().is_some_and(|before| before.size == 0);
        let fine = match holds(condition, before.as_ref()) {
            Ok(()) if there.is_none() || ours => Ok(()),
            Ok(()) => Err(changed("something is there already")),
            Err(fault) => Err(fault),
        };
        if let Err(fault) = fine {
            self.take_back(to, target, ours).await;
            self.take_back(from, source, vanished).await;
            return Err(fault);
        }
        let request = self.moving("MOVE", from, to, ours, &[source, target]);
        let outcome = self.go(request, to).await;
        let before = before.ok_or_else(absent)?;
        match outcome {
            Ok(()) => self.moved(to, &before).await,
            Err(fault) if fault.unclear => match self.look(from, false).await {
                // Nobody else could: it was moved.
                Ok(None) => self.moved(to, &before).await,
                Ok(Some(_)) => {
                    self.take_back(to, target, ours).await;
                    Err(Fault {
                        unclear: false,
                        ..fault
                    })
                }
                Err(_) => Err(fault),
            },
            Err(fault) => {
                self.take_back(to, target, ours).await;
                Err(lost_lock(fault))
            }
        }
    }

    async fn moved(&self, to: &SyncPath, before: &Found) -> Outcome<Found> {
        let found = self.look(to, false).await?;
        found
            .filter(|found| found.kind == Kind::File && found.size == before.size)
            .ok_or_else(|| unclear("it was moved, and then something else was there; look again"))
    }
}
