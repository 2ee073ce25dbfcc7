//! Single requests on paths, and what is made of a refusal.

use std::time::Duration;

use wl_core::model::{Kind, Mode, Timestamp};
use wl_core::storage::{ErrorKind, Noted, StorageError};

use super::connection::{Answer, Answered, Connection, Handle, Trouble, strange};
use super::packet::{self, Attrs, Body, Taker};
use crate::remote::store::{Again, Fault, Found};

const TYPE_FILE: u32 = 0o100_000;
const TYPE_FOLDER: u32 = 0o040_000;
const TYPE_LINK: u32 = 0o120_000;

impl Connection {
    /// What is at `path` itself, a link not followed; `None` if nothing is.
    pub(super) async fn lstat(&self, path: &str) -> Answered<Option<Attrs>> {
        match attrs(self.path(packet::LSTAT, path)).await {
            Ok(attrs) => Ok(Some(attrs)),
            Err(trouble) if trouble.is(packet::NO_SUCH_FILE) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// What is open.
    pub(super) async fn fstat(&self, handle: &Handle) -> Answered<Attrs> {
        attrs(self.on_handle(packet::FSTAT, handle)).await
    }

    /// A request that has nothing but a path.
    pub(super) fn path(&self, kind: u8, path: &str) -> Answer {
        self.ask(kind, |packet| packet.string(path.as_bytes()))
    }

    /// A request that has nothing but a handle.
    pub(super) fn on_handle(&self, kind: u8, handle: &Handle) -> Answer {
        self.ask(kind, |packet| packet.string(handle.name()))
    }

    /// Opens a file with these flags; `attrs` are for a new one.
    pub(super) async fn open_file(
        &self,
        path: &str,
        flags: u32,
        attrs: &Attrs,
    ) -> Answered<Handle> {
        let answer = self.ask(packet::OPEN, |packet| {
            packet.string(path.as_bytes()).u32(flags).attrs(attrs)
        });
        answer.handle().await
    }

    /// Sets attributes of what is open.
    pub(super) fn fsetstat(&self, handle: &Handle, attrs: &Attrs) -> Answer {
        self.ask(packet::FSETSTAT, |packet| {
            packet.string(handle.name()).attrs(attrs)
        })
    }

    pub(super) async fn unlink(&self, path: &str) -> Answered<()> {
        self.path(packet::REMOVE, path).done().await
    }

    pub(super) async fn mkdir(&self, path: &str, mode: Option<u32>) -> Answered<()> {
        let attrs = Attrs {
            mode,
            ..Attrs::default()
        };
        let mut answer = self.ask(packet::MKDIR, |packet| {
            packet.string(path.as_bytes()).attrs(&attrs)
        });
        answer.done().await
    }

    pub(super) async fn chmod(&self, path: &str, mode: Mode) -> Answered<()> {
        let attrs = Attrs {
            mode: Some(mode.bits()),
            ..Attrs::default()
        };
        let mut answer = self.ask(packet::SETSTAT, |packet| {
            packet.string(path.as_bytes()).attrs(&attrs)
        });
        answer.done().await
    }

    /// A second name for a file. Fails if something is at `to`.
    pub(super) async fn hard_link(&self, from: &str, to: &str) -> Answered<()> {
        let mut answer = self.ask_extended("hardlink@openssh.com", |packet| {
            packet.string(from.as_bytes()).string(to.as_bytes())
        });
        answer.done().await
    }

    /// Moves over what is at `to`, in one step.
    pub(super) async fn rename_over(&self, from: &str, to: &str) -> Answered<()> {
        let mut answer = self.ask_extended("posix-rename@openssh.com", |packet| {
            packet.string(from.as_bytes()).string(to.as_bytes())
        });
        answer.done().await
    }

    /// Moves. The protocol forbids to do that over something.
    pub(super) async fn rename_new(&self, from: &str, to: &str) -> Answered<()> {
        let mut answer = self.ask(packet::RENAME, |packet| {
            packet.string(from.as_bytes()).string(to.as_bytes())
        });
        answer.done().await
    }

    /// Makes a link. OpenSSH has target and path the other way round than the draft of the protocol, and the other servers follow OpenSSH.
    pub(super) async fn symlink(&self, path: &str, target: &str) -> Answered<()> {
        let mut answer = self.ask(packet::SYMLINK, |packet| {
            packet.string(target.as_bytes()).string(path.as_bytes())
        });
        answer.done().await
    }

    /// A link's target; `None` if it is no UTF-8.
    pub(super) async fn readlink(&self, path: &str) -> Answered<Option<Box<str>>> {
        one_name(self.path(packet::READLINK, path)).await
    }

    /// The absolute path without links; `None` if it is no UTF-8.
    pub(super) async fn realpath(&self, path: &str) -> Answered<Option<Box<str>>> {
        one_name(self.path(packet::REALPATH, path)).await
    }

    /// Whether the file system that holds `path` is full; servers call that a failure and no more.
    pub(super) async fn is_full(&self, path: &str) -> bool {
        if !self.offers().statvfs {
            return false;
        }
        let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
        let folder = if folder.is_empty() { "/" } else { folder };
        let answer = self.ask_extended("statvfs@openssh.com", |packet| {
            packet.string(folder.as_bytes())
        });
        let Ok(Body::Extended(bytes)) = answer.body().await else {
            return false;
        };
        let mut taker = Taker(bytes);
        let mut fields = [0; 8];
        for field in &mut fields {
            *field = taker.u64().unwrap_or(u64::MAX);
        }
        let [_, unit, _, _, blocks, files, _, names] = fields;
        blocks.saturating_mul(unit) < 256 * 1024 || (files > 0 && names == 0)
    }

    /// A refusal as a fault, for what was being done at `path`.
    pub(super) async fn fault(
        &self,
        operation: &'static str,
        path: &str,
        trouble: Trouble,
    ) -> Fault {
        if trouble.is(packet::FAILURE) && self.is_full(path).await {
            let reason = "the disk of the server is full; make room there";
            return StorageError::new(ErrorKind::Full, operation, reason).into();
        }
        fault(operation, trouble)
    }
}

async fn attrs(answer: Answer) -> Answered<Attrs> {
    match answer.body().await? {
        Body::Attrs(attrs) => Ok(attrs),
        _ => Err(strange()),
    }
}

async fn one_name(answer: Answer) -> Answered<Option<Box<str>>> {
    let Body::Names(names) = answer.body().await? else {
        return Err(strange());
    };
    let name = names.into_iter().next().ok_or_else(strange)?;
    Ok(std::str::from_utf8(&name.name).ok().map(Into::into))
}

/// Trouble as a fault, as far as it says itself what it is.
pub(super) fn fault(operation: &'static str, trouble: Trouble) -> Fault {
    let (kind, reason) = match trouble {
        Trouble::Broken(reason) => {
            let error = StorageError::new(ErrorKind::Temporary, operation, reason);
            return Fault {
                error: error.with_advice("it is opened again for the next operation"),
                again: Again::After(None),
                unclear: true,
            };
        }
        Trouble::NotConnected(failure) => {
            let again = if failure.passes {
                Again::After(Some(Duration::from_secs(2)))
            } else {
                Again::Never
            };
            return Fault {
                error: StorageError::new(failure.kind, operation, failure.reason.clone()),
                again,
                unclear: false,
            };
        }
        Trouble::Refused { code, message } => match code {
            packet::NO_SUCH_FILE => (ErrorKind::NotFound, "nothing is there".to_owned()),
            packet::DENIED => (
                ErrorKind::Denied,
                "the server denies it; check owner and permissions there".to_owned(),
            ),
            packet::UNSUPPORTED => (
                ErrorKind::Unsupported,
                "the server cannot do this".to_owned(),
            ),
            packet::FAILURE => (
                ErrorKind::Other,
                format!(
                    "the server says only \"{}\"; check its disk, quota and log",
                    plain(&message)
                ),
            ),
            _ => (
                ErrorKind::Other,
                format!("the server refuses: {}", plain(&message)),
            ),
        },
    };
    StorageError::new(kind, operation, reason).into()
}

/// A server's words in one line.
fn plain(message: &str) -> String {
    let line = message.chars().take(200);
    line.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A fault that says what was found out by looking.
pub(super) fn clear(operation: &'static str, kind: ErrorKind, reason: &str) -> Fault {
    StorageError::new(kind, operation, reason).into()
}

/// Attributes as the engine wants them; `None` for devices, sockets and pipes.
pub(super) fn found(attrs: Attrs, link: Option<Box<str>>) -> Option<Found> {
    let kind = match attrs.kind() {
        Some(TYPE_FILE) => Kind::File,
        Some(TYPE_FOLDER) => Kind::Folder,
        Some(TYPE_LINK) => Kind::Link,
        _ => return None,
    };
    Some(Found {
        kind,
        size: attrs.size.unwrap_or(0),
        tag: None,
        modified: attrs.mtime.map(|secs| Timestamp {
            secs: i64::from(secs),
            nanos: 0,
        }),
        mode: attrs.mode.map(Mode::new),
        link,
        file_id: None,
        noted: Noted::default(),
        operation: None,
    })
}

/// Whether it is a regular file.
pub(super) fn is_file(attrs: Attrs) -> bool {
    attrs.kind() == Some(TYPE_FILE)
}

/// Whether it is a folder.
pub(super) fn is_folder(attrs: Attrs) -> bool {
    attrs.kind() == Some(TYPE_FOLDER)
}

/// Whether it is a symbolic link.
pub(super) fn is_link(attrs: Attrs) -> bool {
    attrs.kind() == Some(TYPE_LINK)
}

/// A time as the protocol has it: whole seconds from 1970 to 2106.
pub(super) fn seconds(time: Timestamp) -> u32 {
    u32::try_from(time.secs.max(0)).unwrap_or(u32::MAX)
}
