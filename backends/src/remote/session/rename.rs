//! Renaming: by a move of the storage's own, or by a copy and a removal that both are conditional.

use wl_core::model::{Kind, SyncPath};
use wl_core::storage::{ErrorKind, Expected, Published, RenameRequest, Result, StorageError};

use super::judge::Look;
use super::keep::{Version, refused};
use super::{Rounds, Shared};
use crate::remote::store::{Again, Condition, Fault, Found, Outcome};

const WHAT: &str = "rename";

/// What the last request was about, if it may have been carried out.
#[derive(Default)]
struct Sent {
    moved: bool,
    copied: bool,
    /// The copy at the new path, once a reply told of it.
    copy: Option<Found>,
}

impl Shared {
    pub(super) async fn rename(&self, request: RenameRequest) -> Result<Published> {
        let RenameRequest { from, expected, to } = request;
        self.check(WHAT, &to)?;
        self.check(WHAT, &from)?;
        if !self.remote.capabilities.rename || expected.kind == Kind::Folder {
            let reason =
                "the storage cannot rename this safely; write it anew and remove the old one";
            let error = StorageError::new(ErrorKind::Unsupported, WHAT, reason);
            return Err(self.named(error, &from));
        }
        if from == to {
            return Err(self.changed(WHAT, &from, "the new path is the old one"));
        }
        self.open().await?;
        self.check_above(WHAT, &from).await?;
        self.check_new(WHAT, &to).await?;
        self.move_to(&from, &expected, &to).await
    }

    async fn move_to(
        &self,
        from: &SyncPath,
        expected: &Expected,
        to: &SyncPath,
    ) -> Result<Published> {
        let mut rounds = Rounds::default();
        let (mut look, mut sent) = (false, Sent::default());
        loop {
            let trusted = self.trusted(expected, self.remote.conditions.remove);
            let version = match trusted.filter(|_| !look) {
                Some(version) => version,
                None => match self.look(from, expected).await? {
                    Look::Same(found) => Version {
                        tag: found.tag.clone(),
                        hash: expected.hash,
                        found: Some(found),
                    },
                    other => return self.not_at_old(from, expected, to, other, &sent).await,
                },
            };
            let moved = match self.facts().renames {
                true => self.try_move(from, &version, to, &mut sent).await,
                false => self.copy_and_remove(from, &version, to, &mut sent).await,
            };
            let fault = match moved {
                Ok(found) => return Ok(self.published(&found, true)),
                Err(fault) => fault,
            };
            let fresh = !look;
            look = true;
            if refused(&fault) && (fresh || sent.moved) {
                let there = self.remote.wire.stat(to).await?.is_some();
                // Something at the new path, and it is not ours.
                if there && !sent.moved && sent.copy.is_none() && !sent.copied {
                    return Err(self.changed(WHAT, from, "something is at the new path"));
                }
                continue_round(&mut rounds, self, from, fault).await?;
                continue;
            }
            let paused = rounds.pause(fault, &self.options.cancel).await;
            paused.map_err(|fault| self.error(WHAT, from, fault))?;
        }
    }

    /// The version is not at its old path: was it us?
    async fn not_at_old(
        &self,
        from: &SyncPath,
        expected: &Expected,
        to: &SyncPath,
        look: Look,
        sent: &Sent,
    ) -> Result<Published> {
        if let (Look::Absent, true) = (&look, sent.moved)
            && let Some(found) = self.remote.wire.stat(to).await?
            && (sent.copy.is_some() || self.arrived(to, &found, expected).await?)
        {
            return Ok(self.published(&found, true));
        }
        if let Some(copy) = &sent.copy {
            self.take_back(to, copy).await;
        }
        match look {
            Look::Absent if !sent.moved => {
                let error = StorageError::new(ErrorKind::NotFound, WHAT, "nothing is there");
                Err(self.named(error, from))
            }
            _ => Err(self.changed(WHAT, from, "another version is there")),
        }
    }

    /// Whether what is at the new path is what was to come there.
    async fn arrived(&self, to: &SyncPath, found: &Found, expected: &Expected) -> Result<bool> {
        if expected.hash.is_none() && found.kind == Kind::File {
            // Nobody knows more than that it went from there and came here.
            return Ok(expected.kind == Kind::File);
        }
        self.is_expected(to, found, expected).await
    }

    async fn try_move(
        &self,
        from: &SyncPath,
        version: &Version,
        to: &SyncPath,
        sent: &mut Sent,
    ) -> Outcome<Found> {
        let condition = match self.remote.conditions.remove {
            true => self.is(from, version)?,
            false => Condition::None,
        };
        let turn = self.remote.wire.turn(0).await;
        let moved = self.store().rename(from, &condition, to).await;
        drop(turn);
        let moved = moved.inspect_err(|fault| sent.moved |= fault.unclear)?;
        if condition == Condition::None && !self.is_version(to, &moved, version).await? {
            self.give_back(from, to).await;
            sent.moved = false;
            return Err(self.moved_on());
        }
        Ok(moved)
    }

    async fn copy_and_remove(
        &self,
        from: &SyncPath,
        version: &Version,
        to: &SyncPath,
        sent: &mut Sent,
    ) -> Outcome<Found> {
        let condition = self.is(from, version)?;
        let copy = match sent.copy.take() {
            Some(copy) => copy,
            None => self.copy(from, version, to, sent).await?,
        };
        sent.copy = Some(copy.clone());
        let turn = self.remote.wire.turn(0).await;
        let removed = self.store().remove(from, &condition).await;
        drop(turn);
        match removed {
            Ok(()) => Ok(copy),
            Err(fault) => {
                sent.moved |= fault.unclear;
                if refused(&fault) && !sent.moved {
                    self.take_back(to, &copy).await;
                    sent.copy = None;
                }
                Err(fault)
            }
        }
    }

    async fn copy(
        &self,
        from: &SyncPath,
        version: &Version,
        to: &SyncPath,
        sent: &mut Sent,
    ) -> Outcome<Found> {
        if sent.copied
            && let Some(found) = self.remote.wire.stat(to).await?
        {
            // Is it the copy whose reply was lost?
            let same = match &version.found {
                Some(before) => super::judge::alike(before, &found),
                None => false,
            };
            let hash = version.hash.filter(|_| !same);
            let same = same || hash.is_some() && self.hash(to, &found).await? == hash;
            return match same {
                true => Ok(found),
                false => Err(self.moved_on()),
            };
        }
        let copied = match self.copy_once(from, version, to).await {
            Err(fault) if refused(&fault) && self.clears_emptied(to).await => {
                self.copy_once(from, version, to).await
            }
            copied => copied,
        };
        copied.inspect_err(|fault| sent.copied |= fault.unclear)
    }

    async fn copy_once(&self, from: &SyncPath, version: &Version, to: &SyncPath) -> Outcome<Found> {
        let _turn = self.remote.wire.turn(0).await;
        let tag = version.tag.as_deref();
        self.store().copy(from, tag, to, true).await
    }

    /// The copy at the new path goes again, if it still is the one that we made.
    async fn take_back(&self, to: &SyncPath, copy: &Found) {
        let Some(tag) = &copy.tag else {
            return;
        };
        let condition = Condition::Is(tag.clone());
        let remove = || self.store().remove(to, &condition);
        // If it stays, a file too many is told by the next listing.
        self.repeat_fault(0, remove).await.ok();
    }
}

async fn continue_round(
    rounds: &mut Rounds,
    session: &Shared,
    from: &SyncPath,
    fault: Fault,
) -> Result<()> {
    let fault = Fault {
        again: Again::After(None),
        ..fault
    };
    let paused = rounds.pause(fault, &session.options.cancel).await;
    paused.map_err(|fault| session.error(WHAT, from, fault))
}
