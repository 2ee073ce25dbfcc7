//! The seam of remote stores.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use wl_core::model::{Kind, Mode, SyncPath};
use wl_core::storage::{ErrorKind, StorageError};

use super::change::{self, link_failed};
use super::client::{clear, fault, found, is_folder, is_link};
use super::connection::Connection;
use super::dial::Dial;
use super::site::Site;
use super::{list, packet, read, write};
use crate::remote::store::{
    Condition, Facts, Found, List, Outcome, Pages, Put, Reading, Store, Upload, UploadRequest,
};

/// A folder on an SFTP server.
#[derive(Clone, Debug)]
pub(super) struct SftpStore(Arc<Site>);

impl SftpStore {
    /// Connects. `server` is `user@host:port` as far as given, `folder` absolute or relative to the home folder.
    pub(super) async fn open(
        dial: Box<dyn Dial>,
        server: String,
        folder: &str,
    ) -> Result<Self, StorageError> {
        let site = Site::open(dial, server, folder).await?;
        Ok(Self(Arc::new(site)))
    }

    /// Ends the connection; the next operation makes another.
    #[cfg(test)]
    pub(super) async fn hang_up(&self) {
        self.0.hang_up().await;
    }

    async fn found(&self, operation: &'static str, path: &SyncPath) -> Outcome<Option<Found>> {
        let connection = self.0.connection(operation).await?;
        // Asked together, so that the depth costs no time. The server would follow a link on the way.
        let above = path.ancestors().map(|folder| self.0.full(&folder));
        let above: Vec<String> = above.collect();
        let above = join_all(above.iter().map(|folder| connection.lstat(folder)));
        let full = self.0.full(path);
        let (above, found) = futures::join!(above, found_at(&connection, operation, &full));
        for folder in above {
            match folder.map_err(|trouble| fault(operation, trouble))? {
                Some(attrs) if is_folder(attrs) => {}
                _ => return Ok(None),
            }
        }
        found
    }
}

/// What is at `path`, a link with its target.
pub(super) async fn found_at(
    connection: &Connection,
    operation: &'static str,
    path: &str,
) -> Outcome<Option<Found>> {
    let attrs = connection.lstat(path).await;
    let Some(attrs) = attrs.map_err(|trouble| fault(operation, trouble))? else {
        return Ok(None);
    };
    let mut link = None;
    if is_link(attrs) {
        link = match connection.readlink(path).await {
            Ok(Some(target)) => Some(target),
            Ok(None) => {
                let reason = "the link's target is no UTF-8";
                return Err(clear(operation, ErrorKind::Unrepresentable, reason));
            }
            Err(trouble) => return Err(fault(operation, trouble)),
        };
    }
    let reason = "it is a device, a socket or a pipe; these are not synced";
    let special = || clear(operation, ErrorKind::Unrepresentable, reason);
    found(attrs, link).map(Some).ok_or_else(special)
}

/// Only [`Condition::None`] is offered here.
fn no_condition(operation: &'static str, condition: &Condition) -> Outcome<()> {
    if *condition == Condition::None {
        return Ok(());
    }
    let reason = "SFTP has no such condition";
    Err(clear(operation, ErrorKind::Unsupported, reason))
}

#[async_trait]
impl Store for SftpStore {
    fn facts(&self) -> &Facts {
        &self.0.facts
    }

    fn location(&self) -> &str {
        &self.0.location
    }

    fn identity(&self) -> &str {
        &self.0.identity
    }

    fn server(&self) -> &str {
        &self.0.server
    }

    fn refuses(&self, path: &SyncPath) -> Option<String> {
        if path.as_str().contains('\0') {
            return Some("the name holds a NUL character; rename it".to_owned());
        }
        let long = path.as_str().split('/').any(|name| name.len() > 255);
        long.then(|| "the name is longer than 255 bytes; shorten it".to_owned())
    }

    async fn list(&self, list: List<'_>) -> Outcome<Box<dyn Pages>> {
        match list {
            List::Folder(path) => list::list(&self.0, self.0.full(path)).await,
            List::Keys { .. } => {
                let reason = "SFTP lists folders";
                Err(clear("list", ErrorKind::Unsupported, reason))
            }
        }
    }

    async fn stat(&self, path: &SyncPath) -> Outcome<Option<Found>> {
        self.found("stat", path).await
    }

    async fn read(
        &self,
        path: &SyncPath,
        range: Range<u64>,
        tag: Option<&str>,
    ) -> Outcome<Reading> {
        if tag.is_some() {
            return Err(clear("read", ErrorKind::Unsupported, "SFTP has no tags"));
        }
        read::read(&self.0, &self.0.full(path), range).await
    }

    async fn put(&self, put: Put<'_>) -> Outcome<Found> {
        write::put(&self.0, put).await
    }

    async fn upload(&self, request: UploadRequest<'_>) -> Outcome<Box<dyn Upload>> {
        write::upload(&self.0, request).await
    }

    async fn put_link(&self, path: &SyncPath, target: &str) -> Outcome<Found> {
        let connection = self.0.connection("link").await?;
        let full = self.0.full(path);
        if let Err(trouble) = connection.symlink(&full, target).await {
            return Err(link_failed(&connection, "link", &full, trouble).await);
        }
        made(&connection, "link", &full).await
    }

    async fn remove(&self, path: &SyncPath, condition: &Condition) -> Outcome<()> {
        no_condition("remove", condition)?;
        let connection = self.0.connection("remove").await?;
        let full = self.0.full(path);
        let Err(trouble) = connection.unlink(&full).await else {
            return Ok(());
        };
        // A folder is a plain failure; some systems even call it a denial.
        if (trouble.is(packet::FAILURE) || trouble.is(packet::DENIED))
            && matches!(connection.lstat(&full).await, Ok(Some(attrs)) if is_folder(attrs))
        {
            let reason = "a folder is there by now";
            return Err(clear("remove", ErrorKind::Changed, reason));
        }
        Err(fault("remove", trouble))
    }

    async fn copy(
        &self,
        from: &SyncPath,
        tag: Option<&str>,
        to: &SyncPath,
        absent: bool,
    ) -> Outcome<Found> {
        if tag.is_some() {
            return Err(clear("copy", ErrorKind::Unsupported, "SFTP has no tags"));
        }
        change::copy(&self.0, from, to, absent).await
    }

    async fn rename(
        &self,
        from: &SyncPath,
        condition: &Condition,
        to: &SyncPath,
    ) -> Outcome<Found> {
        no_condition("move", condition)?;
        change::rename(&self.0, from, to).await
    }

    async fn make_folder(&self, path: &SyncPath, mode: Option<Mode>) -> Outcome<Found> {
        let connection = self.0.connection("make folder").await?;
        let full = self.0.full(path);
        let bits = mode.map(Mode::bits);
        if let Err(trouble) = connection.mkdir(&full, bits).await {
            return Err(link_failed(&connection, "make folder", &full, trouble).await);
        }
        if let Some(mode) = mode {
            // The server's mask took bits away.
            let set = connection.chmod(&full, mode).await;
            set.map_err(|trouble| fault("make folder", trouble))?;
        }
        made(&connection, "make folder", &full).await
    }

    async fn remove_folder(&self, path: &SyncPath) -> Outcome<()> {
        let connection = self.0.connection("remove folder").await?;
        let full = self.0.full(path);
        let Err(trouble) = connection.path(packet::RMDIR, &full).done().await else {
            return Ok(());
        };
        if trouble.is(packet::FAILURE) {
            match connection.lstat(&full).await {
                Ok(Some(attrs)) if is_folder(attrs) => {
                    let reason = "it is not empty";
                    return Err(clear("remove folder", ErrorKind::NotEmpty, reason));
                }
                Ok(Some(_)) => {
                    let reason = "what is there is no folder any more";
                    return Err(clear("remove folder", ErrorKind::Changed, reason));
                }
                _ => {}
            }
        }
        Err(fault("remove folder", trouble))
    }

    async fn set_mode(&self, path: &SyncPath, mode: Mode) -> Outcome<Found> {
        let connection = self.0.connection("set permissions").await?;
        let full = self.0.full(path);
        let there = found_at(&connection, "set permissions", &full).await?;
        match there.map(|found| found.kind) {
            Some(Kind::Link) => {
                let reason = "a link has no permissions of its own";
                return Err(clear("set permissions", ErrorKind::Unsupported, reason));
            }
            Some(_) => {}
            None => {
                let reason = "nothing is there";
                return Err(clear("set permissions", ErrorKind::NotFound, reason));
            }
        }
        let set = connection.chmod(&full, mode).await;
        set.map_err(|trouble| fault("set permissions", trouble))?;
        made(&connection, "set permissions", &full).await
    }
}

/// What was just made or changed at `path`.
async fn made(connection: &Connection, operation: &'static str, path: &str) -> Outcome<Found> {
    let made = found_at(connection, operation, path).await;
    let gone = || clear(operation, ErrorKind::Changed, "it has gone again already");
    match made {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(crate::remote::store::Fault {
            unclear: true,
            ..gone()
        }),
        // It was done; only what came of it is not known.
        Err(fault) => Err(crate::remote::store::Fault {
            unclear: true,
            ..fault
        }),
    }
}
