//! Writing: first beside, then published in one step.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use wl_core::model::SyncPath;
use wl_core::storage::ErrorKind;

use super::client::{clear, fault, found, is_file, is_folder, is_link, seconds};
use super::connection::{Answer, Connection, Handle, Trouble};
use super::packet::{self, Attrs};
use super::site::Site;
use super::store::found_at;
use crate::remote::store::{
    Attributes, Condition, Fault, Found, Outcome, Put, Upload, UploadRequest,
};

/// Bytes of content that are on their way unanswered.
const WINDOW: usize = 4 * 1024 * 1024;

/// A file that is being written below the reserved name.
#[derive(Debug)]
struct Staged {
    connection: Arc<Connection>,
    path: String,
    handle: Option<Handle>,
    offset: u64,
    /// Writes that are not answered yet, with their bytes.
    unanswered: VecDeque<(usize, Answer)>,
    underway: usize,
    attributes: Attrs,
}

/// Writes a small file.
pub(super) async fn put(site: &Site, put: Put<'_>) -> Outcome<Found> {
    let mut staged = begin(site, put.scratch, put.attributes).await?;
    let written = async {
        staged.write(put.content).await?;
        staged.finish().await
    };
    let published = match written.await {
        Ok(found) => {
            let target = site.full(put.path);
            match still_there(&staged.connection, &target, put.seen).await {
                Ok(()) => publish(&staged.connection, &staged.path, &target, put.condition)
                    .await
                    .map(|()| found),
                Err(fault) => Err(not_published(fault)),
            }
        }
        Err(fault) => Err(not_published(fault)),
    };
    if published.as_ref().is_err_and(|fault| !fault.unclear) {
        staged.discard().await;
    }
    published
}

/// Looks whether what was `seen` at `target` is there still: several requests went by since.
async fn still_there(connection: &Connection, target: &str, seen: Option<&Found>) -> Outcome<()> {
    let Some(seen) = seen else {
        return Ok(());
    };
    let now = found_at(connection, "write", target).await?;
    match now.is_some_and(|now| alike(seen, &now)) {
        true => Ok(()),
        false => Err(clear(
            "write",
            ErrorKind::Changed,
            "another version is there by now",
        )),
    }
}

/// Whether both are one version, as far as the protocol tells.
fn alike(one: &Found, other: &Found) -> bool {
    let told = |found: &Found| (found.kind, found.size, found.modified, found.link.clone());
    told(one) == told(other)
}

/// Starts a large file.
pub(super) async fn upload(
    site: &Arc<Site>,
    request: UploadRequest<'_>,
) -> Outcome<Box<dyn Upload>> {
    Ok(Box::new(Large {
        staged: begin(site, request.scratch, request.attributes).await?,
        found: None,
        condition: request.condition.clone(),
        target: site.full(request.path),
        site: Arc::clone(site),
    }))
}

#[derive(Debug)]
struct Large {
    site: Arc<Site>,
    staged: Staged,
    /// What was written, once it is whole.
    found: Option<Found>,
    condition: Condition,
    target: String,
}

#[async_trait]
impl Upload for Large {
    async fn write(&mut self, piece: Bytes) -> Outcome<()> {
        self.staged.write(piece).await.map_err(not_published)
    }

    async fn finish(&mut self) -> Outcome<()> {
        self.found = Some(self.staged.finish().await.map_err(not_published)?);
        Ok(())
    }

    async fn commit(&mut self) -> Outcome<Found> {
        let Some(found) = self.found.clone() else {
            return Err(clear("commit", ErrorKind::Other, "it is not whole"));
        };
        let connection = self.site.connection("commit").await?;
        publish(
            &connection,
            &self.staged.path,
            &self.target,
            &self.condition,
        )
        .await?;
        Ok(found)
    }

    async fn abort(&mut self) -> Outcome<()> {
        self.staged.handle = None;
        let connection = self.site.connection("abort").await?;
        match connection.unlink(&self.staged.path).await {
            Ok(()) => Ok(()),
            Err(trouble) if trouble.is(packet::NO_SUCH_FILE) => Ok(()),
            Err(trouble) => Err(fault("abort", trouble)),
        }
    }
}

/// Nothing has been seen at the path yet, whatever became of the request.
fn not_published(mut fault: Fault) -> Fault {
    fault.unclear = false;
    fault
}

/// Creates the file beside which nobody else uses, with its folder if that is missing.
async fn begin(site: &Site, scratch: &SyncPath, attributes: &Attributes) -> Outcome<Staged> {
    let connection = site.connection("write").await?;
    let wanted = Attrs {
        size: None,
        mode: attributes.mode.map(wl_core::model::Mode::bits),
        mtime: attributes.mtime.map(seconds),
    };
    let new = Attrs {
        // Nobody but the owner sees it before it has its own permissions.
        mode: wanted.mode.map(|_| 0o600),
        ..Attrs::default()
    };
    let first = site.full(scratch);
    let mut path = first.clone();
    for attempt in 1..=3 {
        let opened = connection
            .open_file(&path, packet::TO_WRITE_NEW, &new)
            .await;
        match opened {
            Ok(handle) => {
                return Ok(Staged {
                    connection,
                    path,
                    handle: Some(handle),
                    offset: 0,
                    unanswered: VecDeque::new(),
                    underway: 0,
                    attributes: wanted,
                });
            }
            Err(trouble) if trouble.is(packet::NO_SUCH_FILE) && attempt == 1 => {
                make_folders(site, &connection, scratch).await;
            }
            // A leftover of a broken connection. It is not written to: a server that lags behind may still publish it.
            Err(trouble)
                if trouble.is(packet::FAILURE)
                    && attempt < 3
                    && matches!(connection.lstat(&path).await, Ok(Some(_))) =>
            {
                path = format!("{first}-{}", site.serial());
            }
            Err(trouble) => {
                let fault = connection.fault("write", &path, trouble).await;
                return Err(not_published(fault));
            }
        }
    }
    Err(clear("write", ErrorKind::Other, "no room to stage it"))
}

/// Makes the folders above `scratch`. What fails here shows when the file is made.
pub(super) async fn make_folders(site: &Site, connection: &Connection, scratch: &SyncPath) {
    let mut folders = Vec::new();
    let mut above = scratch.parent();
    while let Some(folder) = above.filter(|folder| !folder.is_root()) {
        above = folder.parent();
        folders.push(site.full(&folder));
    }
    for folder in folders.iter().rev() {
        let _ = connection.mkdir(folder, Some(0o700)).await;
    }
}

impl Staged {
    /// Sends a piece; waits while too much is unanswered.
    async fn write(&mut self, mut piece: Bytes) -> Outcome<()> {
        let most = self.connection.offers().write as usize;
        while !piece.is_empty() {
            while self.underway >= WINDOW {
                self.settle_one().await?;
            }
            let part = piece.split_to(most.min(piece.len()));
            let Some(handle) = &self.handle else {
                return Err(clear("write", ErrorKind::Other, "it failed before"));
            };
            let answer = self.connection.ask(packet::WRITE, |packet| {
                packet.string(handle.name()).u64(self.offset).string(&part)
            });
            self.offset += part.len() as u64;
            self.underway += part.len();
            self.unanswered.push_back((part.len(), answer));
        }
        Ok(())
    }

    /// Waits for the oldest write. A refused one spoils the file for good.
    async fn settle_one(&mut self) -> Outcome<()> {
        let Some((bytes, answer)) = self.unanswered.front_mut() else {
            return Ok(());
        };
        let (bytes, done) = (*bytes, answer.done().await);
        self.unanswered.pop_front();
        self.underway -= bytes;
        match done {
            Ok(()) => Ok(()),
            Err(trouble) => {
                self.handle = None;
                Err(self.connection.fault("write", &self.path, trouble).await)
            }
        }
    }

    /// Sets what goes with the content, makes it durable, and closes. What is returned are the attributes of this very file,
    /// not of what lies at some path.
    async fn finish(&mut self) -> Outcome<Found> {
        let connection = Arc::clone(&self.connection);
        let Some(handle) = self.handle.take() else {
            return Err(clear("write", ErrorKind::Other, "it failed before"));
        };
        // Sent at once; a server answers and carries out in order what concerns one file.
        let wanted = &self.attributes;
        let set = (wanted.mode.is_some() || wanted.mtime.is_some())
            .then(|| connection.fsetstat(&handle, wanted));
        let sync = connection.offers().fsync.then(|| {
            connection.ask_extended("fsync@openssh.com", |packet| packet.string(handle.name()))
        });
        while !self.unanswered.is_empty() {
            self.settle_one().await?;
        }
        let mut failed = None;
        if let Some(mut set) = set {
            failed = set.done().await.err();
        }
        if let Some(mut sync) = sync {
            failed = failed.or(sync.done().await.err());
        }
        let attrs = connection.fstat(&handle).await;
        failed = failed.or(handle.close(&connection).await.err());
        let attrs = match (failed, attrs) {
            (None, Ok(attrs)) => attrs,
            (Some(trouble), _) | (None, Err(trouble)) => {
                return Err(connection.fault("write", &self.path, trouble).await);
            }
        };
        if attrs.size.is_some_and(|size| size != self.offset) {
            let reason = "the server kept another number of bytes than were sent";
            return Err(clear("write", ErrorKind::Other, reason));
        }
        found(attrs, None).ok_or_else(|| {
            let reason = "the server tells no attributes of what it made";
            clear("write", ErrorKind::Other, reason)
        })
    }

    /// Removes what was begun, as far as that works: what is left is found with the other leftovers.
    async fn discard(&mut self) {
        self.handle = None;
        let _ = self.connection.unlink(&self.path).await;
    }
}

/// Puts `scratch` at `target`.
async fn publish(
    connection: &Connection,
    scratch: &str,
    target: &str,
    condition: &Condition,
) -> Outcome<()> {
    match condition {
        Condition::Absent => publish_new(connection, "write", scratch, target).await,
        Condition::None => publish_over(connection, "write", scratch, target).await,
        Condition::Is(_) => {
            let reason = "SFTP has no versions to replace";
            Err(clear("write", ErrorKind::Unsupported, reason))
        }
    }
}

/// Puts `from` at `to` where nothing is. What was there stays, and it is `Changed`.
pub(super) async fn publish_new(
    connection: &Connection,
    operation: &'static str,
    from: &str,
    to: &str,
) -> Outcome<()> {
    if connection.offers().hardlink {
        match connection.hard_link(from, to).await {
            Ok(()) => {
                // If this fails, both names stay: a leftover, and no harm.
                let _ = connection.unlink(from).await;
                return Ok(());
            }
            Err(trouble @ Trouble::Broken(_)) => return Err(fault(operation, trouble)),
            Err(trouble) => {
                if let Some(fault) = obstacle(connection, operation, to, &trouble).await? {
                    return Err(fault);
                }
                // Nothing is in the way: perhaps this file system has no hard links.
            }
        }
    }
    match connection.rename_new(from, to).await {
        Ok(()) => Ok(()),
        Err(trouble @ Trouble::Broken(_)) => Err(fault(operation, trouble)),
        Err(trouble) => match obstacle(connection, operation, to, &trouble).await? {
            Some(fault) => Err(fault),
            None => Err(connection.fault(operation, to, trouble).await),
        },
    }
}

/// What is in the way at `path`, if anything.
async fn obstacle(
    connection: &Connection,
    operation: &'static str,
    path: &str,
    trouble: &Trouble,
) -> Outcome<Option<Fault>> {
    let there = connection.lstat(path).await;
    Ok(match there.map_err(|trouble| fault(operation, trouble))? {
        Some(_) => Some(clear(
            operation,
            ErrorKind::Changed,
            "something is there by now",
        )),
        None if trouble.is(packet::NO_SUCH_FILE) => {
            Some(no_parent(connection, operation, path).await)
        }
        None => None,
    })
}

/// `NO_SUCH_FILE` for a change: the folder is missing, or what was to be moved.
async fn no_parent(connection: &Connection, operation: &'static str, path: &str) -> Fault {
    let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
    let folder = if folder.is_empty() { "/" } else { folder };
    match connection.lstat(folder).await {
        // Perhaps an earlier try, whose answer was lost, has put it there already.
        Ok(Some(attrs)) if is_folder(attrs) => Fault {
            unclear: true,
            ..clear(
                operation,
                ErrorKind::NotFound,
                "what was to be put here is gone",
            )
        },
        Ok(_) => clear(
            operation,
            ErrorKind::NoParent,
            "the folder that should hold it is missing",
        ),
        Err(trouble) => fault(operation, trouble),
    }
}

/// Puts `from` at `to`, in the place of a file or a link that is there.
pub(super) async fn publish_over(
    connection: &Connection,
    operation: &'static str,
    from: &str,
    to: &str,
) -> Outcome<()> {
    let there = connection.lstat(to).await;
    let there = there.map_err(|trouble| not_published(fault(operation, trouble)))?;
    if there.is_some_and(|attrs| !is_file(attrs) && !is_link(attrs)) {
        let reason = "what is there is neither a file nor a link any more";
        return Err(clear(operation, ErrorKind::Changed, reason));
    }
    if connection.offers().posix_rename {
        return match connection.rename_over(from, to).await {
            Ok(()) => Ok(()),
            Err(trouble) if trouble.is(packet::NO_SUCH_FILE) => {
                Err(no_parent(connection, operation, to).await)
            }
            Err(trouble) => Err(connection.fault(operation, to, trouble).await),
        };
    }
    if there.is_none() {
        return publish_new(connection, operation, from, to).await;
    }
    // Without a rename that replaces, the old file steps aside for a moment; it comes back if the new one cannot take its place.
    let aside = format!("{from}.old");
    let moved = connection.rename_new(to, &aside).await;
    moved.map_err(|trouble| fault(operation, trouble))?;
    let published = publish_new(connection, operation, from, to).await;
    let _ = match &published {
        Ok(()) => connection.unlink(&aside).await,
        Err(_) => connection.rename_new(&aside, to).await,
    };
    published
}
