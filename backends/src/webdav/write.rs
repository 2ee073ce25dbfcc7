//! Writing under conditions: lock, look, write, look, unlock.
//!
//! Whatever has begun goes on to its end, whether somebody still waits or not: a request that is broken off leaves half a file on
//! simple servers, and a lock behind.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::HeaderName;
use wl_core::model::{Kind, SyncPath, Timestamp};
use wl_core::storage::{ErrorKind, StorageError};

use super::Dav;
use super::lock::{Held, IF, done, method};
use crate::remote::store::{Again, Condition, Fault, Found, Outcome};
use crate::remote::web::Request;

const DESTINATION: HeaderName = HeaderName::from_static("destination");
const OVERWRITE: HeaderName = HeaderName::from_static("overwrite");
const MTIME: HeaderName = HeaderName::from_static("x-oc-mtime");

/// Where content comes from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Small: sent under the lock.
    Content(Bytes, Option<Timestamp>),
    /// Large, and on the server already: moved under the lock.
    Scratch(SyncPath, u64),
}

impl Source {
    fn size(&self) -> u64 {
        match self {
            Self::Content(content, _) => content.len() as u64,
            Self::Scratch(_, size) => *size,
        }
    }
}

/// Runs `work` to its end, even if nobody waits for it any more.
pub(super) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Outcome<T>> + Send + 'static,
) -> Outcome<T> {
    match tokio::spawn(work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(unclear("the work on it was broken off; look again")),
    }
}

impl Dav {
    /// Makes `source` what is at `path`.
    pub(super) async fn publish(
        self: &Arc<Self>,
        path: SyncPath,
        source: Source,
        condition: Condition,
    ) -> Outcome<Found> {
        let dav = self.clone();
        to_the_end(async move {
            match condition {
                Condition::None => dav.plainly(&path, &source).await,
                condition => dav.under_lock(&path, &source, &condition).await,
            }
        })
        .await
    }

    /// Without condition and lock.
    async fn plainly(&self, path: &SyncPath, source: &Source) -> Outcome<Found> {
        let before = self.look(path, false).await?;
        no_folder(before.as_ref())?;
        self.send(path, source, before.is_some(), None).await?;
        self.check(path, source).await
    }

    async fn under_lock(
        &self,
        path: &SyncPath,
        source: &Source,
        condition: &Condition,
    ) -> Outcome<Found> {
        // Looked at before it is locked: where nothing is, a lock can make an empty file.
        let before = self.look(path, false).await?;
        holds(condition, before.as_ref())?;
        let held = self.lock(path, false, before.is_none()).await?;
        let outcome = self.locked(path, source, condition, &held).await;
        self.release(&held).await;
        outcome
    }

    async fn locked(
        &self,
        path: &SyncPath,
        source: &Source,
        condition: &Condition,
        held: &Held,
    ) -> Outcome<Found> {
        let before = self.look(path, false).await?;
        // Nothing was there, the lock says that it made something, and there is nothing in it: it is ours.
        let ours = held.made && before.as_ref().is_some_and(empty);
        let seen = before.as_ref().filter(|_| !ours);
        if let Err(fault) = holds(condition, seen) {
            self.take_back(path, held, ours).await;
            return Err(fault);
        }
        match self.send(path, source, before.is_some(), Some(held)).await {
            Ok(()) => self.check(path, source).await,
            Err(fault) if fault.unclear => self.settle(path, source, seen, held, fault).await,
            Err(fault) => {
                self.take_back(path, held, ours).await;
                Err(lost_lock(fault))
            }
        }
    }

    /// Removes the empty file that our lock made. Only the lock's token lets this happen.
    pub(super) async fn take_back(&self, path: &SyncPath, held: &Held, ours: bool) {
        if ours {
            let request = Request::new(Method::DELETE, self.client.url(path, false));
            let _ = self.client.send(request.header(IF, held.tagged())).await;
        }
    }

    /// Sends content to `path`, or moves it there.
    async fn send(
        &self,
        path: &SyncPath,
        source: &Source,
        replace: bool,
        held: Option<&Held>,
    ) -> Outcome<()> {
        let url = self.client.url(path, false);
        let request = match source {
            Source::Content(content, mtime) => {
                let request = dated(Request::new(Method::PUT, url), *mtime).body(content.clone());
                match held {
                    Some(held) => request.header(IF, held.tagged()),
                    None => request,
                }
            }
            Source::Scratch(scratch, _) => {
                let locks: Vec<_> = held.into_iter().collect();
                self.moving("MOVE", scratch, path, replace, &locks)
            }
        };
        self.go(request, path).await
    }

    /// Sends what makes something at `to`. Not all servers say that the folder is missing into which it should go: Apache answers 400 below
    /// a file and 500 to a MOVE, rclone 500 to everything.
    pub(super) async fn go(&self, request: Request, to: &SyncPath) -> Outcome<()> {
        let reply = self.client.send(request).await?;
        let vague = matches!(reply.status().as_u16(), 400 | 404 | 405 | 500..);
        let outcome = done(reply).await;
        if vague && outcome.is_err() && self.is_homeless(to).await.unwrap_or(false) {
            let reason = "the folder that should hold it is missing";
            return Err(StorageError::new(ErrorKind::NoParent, "write", reason).into());
        }
        outcome
    }

    /// A MOVE or COPY.
    pub(super) fn moving(
        &self,
        verb: &'static str,
        from: &SyncPath,
        to: &SyncPath,
        replace: bool,
        held: &[&Held],
    ) -> Request {
        let request = Request::new(method(verb), self.client.url(from, false))
            .header(DESTINATION, self.client.url(to, false))
            .header(OVERWRITE, if replace { "T" } else { "F" });
        if held.is_empty() {
            return request;
        }
        let tokens: Vec<_> = held.iter().map(|held| held.tagged()).collect();
        request.header(IF, tokens.join(" "))
    }

    /// What is there after a write that was acknowledged.
    async fn check(&self, path: &SyncPath, source: &Source) -> Outcome<Found> {
        let found = self.look(path, false).await.map_err(|fault| Fault {
            unclear: true,
            ..fault
        })?;
        match found {
            Some(found) if found.kind == Kind::File && found.size == source.size() => Ok(found),
            _ => Err(unclear(
                "the server took it, and then something else was there; look again",
            )),
        }
    }

    /// The answer to a write under a lock was lost: nobody else can have written, so what is there tells what happened.
    async fn settle(
        &self,
        path: &SyncPath,
        source: &Source,
        before: Option<&Found>,
        held: &Held,
        fault: Fault,
    ) -> Outcome<Found> {
        let now = self.look(path, false).await.map_err(|_| again(&fault))?;
        let same = match (before, &now) {
            (None, None) => true,
            (Some(before), Some(now)) => {
                now.size == before.size && now.tag == before.tag && now.modified == before.modified
            }
            _ => false,
        };
        match (source, now) {
            (Source::Scratch(scratch, size), now) => {
                if self
                    .look(scratch, false)
                    .await
                    .map_err(|_| again(&fault))?
                    .is_some()
                {
                    self.take_back(path, held, held.made && now.as_ref().is_some_and(empty))
                        .await;
                    return Err(Fault {
                        unclear: false,
                        ..fault
                    });
                }
                now.filter(|now| now.size == *size).ok_or(fault)
            }
            (Source::Content(content, _), Some(now))
                if !same && now.size == content.len() as u64 =>
            {
                Ok(now)
            }
            (Source::Content(..), _) if same => Err(Fault {
                unclear: false,
                ..fault
            }),
            // Half of it is there.
            (Source::Content(..), _) if before.is_none() => {
                let request = Request::new(Method::DELETE, self.client.url(path, false));
                let gone = self.client.send(request.header(IF, held.tagged())).await?;
                done(gone).await.map_err(|_| again(&fault))?;
                Err(Fault {
                    unclear: false,
                    ..fault
                })
            }
            // Half of it is there instead of what was: once more, while nobody else can come.
            (Source::Content(..), _) => {
                self.send(path, source, true, Some(held))
                    .await
                    .map_err(|_| fault)?;
                self.check(path, source).await
            }
        }
    }

    /// Removes a file. `None`: as it was looked at a moment ago.
    pub(super) async fn delete(&self, path: &SyncPath, condition: &Condition) -> Outcome<()> {
        let Some(before) = self.look(path, false).await? else {
            return Err(absent());
        };
        let request = Request::new(Method::DELETE, self.client.url(path, false));
        if *condition == Condition::None {
            // DELETE of a folder takes everything in it.
            no_folder(Some(&before))?;
            return done(self.client.send(request).await?).await;
        }
        holds(condition, Some(&before))?;
        let held = self.lock(path, false, false).await?;
        let outcome = self.delete_locked(path, condition, &held, request).await;
        self.release(&held).await;
        outcome
    }

    async fn delete_locked(
        &self,
        path: &SyncPath,
        condition: &Condition,
        held: &Held,
        request: Request,
    ) -> Outcome<()> {
        let now = self.look(path, false).await?;
        if let Err(fault) = holds(condition, now.as_ref()) {
            let ours = held.made && now.as_ref().is_some_and(empty);
            self.take_back(path, held, ours).await;
            return Err(if ours || now.is_none() {
                absent()
            } else {
                fault
            });
        }
        let outcome = match self.client.send(request.header(IF, held.tagged())).await {
            Ok(reply) => done(reply).await,
            Err(fault) => Err(fault),
        };
        match outcome {
            Err(fault) if fault.unclear => match self.look(path, false).await {
                Ok(None) => Ok(()),
                Ok(Some(_)) => Err(Fault {
                    unclear: false,
                    ..fault
                }),
                Err(_) => Err(fault),
            },
            outcome => outcome.map_err(lost_lock),
        }
    }
}

/// With the file's time, where a server takes it.
pub(super) fn dated(request: Request, mtime: Option<Timestamp>) -> Request {
    match mtime {
        Some(mtime) if mtime.secs > 0 => request.header(MTIME, mtime.secs.to_string()),
        _ => request,
    }
}

/// Whether what is there is what a condition says.
pub(super) fn holds(condition: &Condition, found: Option<&Found>) -> Outcome<()> {
    let fine = match (condition, found) {
        (Condition::None, _) | (Condition::Absent, None) => true,
        (Condition::Is(tag), Some(found)) => {
            found.kind == Kind::File && found.tag.as_ref() == Some(tag)
        }
        (Condition::Absent, Some(_)) | (Condition::Is(_), None) => false,
    };
    fine.then_some(())
        .ok_or_else(|| changed("what is there is not what was expected"))
}

pub(super) fn no_folder(found: Option<&Found>) -> Outcome<()> {
    match found {
        Some(found) if found.kind == Kind::Folder => Err(changed("a folder is there")),
        _ => Ok(()),
    }
}

pub(super) fn changed(reason: &str) -> Fault {
    StorageError::new(ErrorKind::Changed, "write", reason).into()
}

pub(super) fn absent() -> Fault {
    StorageError::new(ErrorKind::NotFound, "write", "nothing is there").into()
}

pub(super) fn empty(found: &Found) -> bool {
    found.kind == Kind::File && found.size == 0
}

/// A refusal of our token: the lock is gone, and the whole is begun again.
pub(super) fn lost_lock(fault: Fault) -> Fault {
    if fault.error.kind() != ErrorKind::Changed {
        return fault;
    }
    Fault {
        error: StorageError::new(
            ErrorKind::Temporary,
            "write",
            "the server took our lock away; try again",
        ),
        again: Again::After(None),
        unclear: false,
    }
}

pub(super) fn unclear(reason: &str) -> Fault {
    Fault {
        error: StorageError::new(ErrorKind::Temporary, "write", reason),
        again: Again::After(None),
        unclear: true,
    }
}

/// The same once more: errors cannot be cloned with their sources.
fn again(fault: &Fault) -> Fault {
    Fault {
        error: fault.error.repeat(),
        ..*fault
    }
}
