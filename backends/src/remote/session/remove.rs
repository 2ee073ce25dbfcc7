//! Removing: the version that was named goes to the trash, by a move where the storage has one.

use wl_core::model::{Kind, SyncPath};
use wl_core::storage::{ErrorKind, Expected, RemoveRequest, Result, StorageError, TrashState};

use super::judge::Look;
use super::keep::{Keeping, Kept, Version, refused};
use super::{Rounds, Shared};
use crate::remote::store::{Again, Condition, Fault, Outcome};

const WHAT: &str = "remove";

/// A removal on its way.
struct Removal<'a> {
    operation: &'static str,
    path: &'a SyncPath,
    state: TrashState,
    kept: Option<Kept>,
    /// Where it was moved to, if the reply said so or none came.
    place: Option<SyncPath>,
    /// The version that the last request named.
    version: Version,
    /// A request may have been carried out.
    sent: bool,
}

impl Shared {
    pub(super) async fn remove(&self, request: RemoveRequest) -> Result<()> {
        let RemoveRequest { path, expected } = request;
        self.check(WHAT, &path)?;
        self.open().await?;
        if expected.kind == Kind::Folder {
            return self.remove_folder(&path).await;
        }
        match self.check_above(WHAT, &path).await {
            // Nothing is where no folder is.
            Err(error) if error.kind() == ErrorKind::NoParent => {
                return Err(error.with_kind(ErrorKind::NotFound));
            }
            other => other?,
        }
        let taken = self.take_away(WHAT, &path, &expected, TrashState::Removed);
        let place = taken.await?;
        self.count_displaced(place.is_some());
        Ok(())
    }

    /// Takes a file or link away and tells where it is kept.
    pub(super) async fn take_away(
        &self,
        operation: &'static str,
        path: &SyncPath,
        expected: &Expected,
        state: TrashState,
    ) -> Result<Option<SyncPath>> {
        let mut rounds = Rounds::default();
        let mut look = false;
        let mut removal = Removal {
            operation,
            path,
            state,
            kept: None,
            place: None,
            version: Version::default(),
            sent: false,
        };
        loop {
            let trusted = self.trusted(expected, self.remote.conditions.remove);
            removal.version = match trusted.filter(|_| !look) {
                Some(version) => version,
                None => match self.look(path, expected).await? {
                    Look::Same(found) => Version {
                        tag: found.tag.clone(),
                        hash: expected.hash,
                        found: Some(found),
                    },
                    Look::Absent if removal.sent => return self.is_gone(removal).await,
                    other => return Err(self.not_removed(removal, other).await),
                },
            };
            let fault = match self.try_away(&mut removal).await {
                Ok(()) => return Ok(removal.place.or(removal.kept.map(|kept| kept.at))),
                Err(fault) => fault,
            };
            removal.sent |= fault.unclear;
            // Whatever the storage compared, the next look tells.
            let (refused, fresh) = (refused(&fault), !look);
            look = true;
            if refused && fresh {
                continue;
            }
            let fault = match refused {
                true => Fault {
                    again: Again::After(None),
                    ..fault
                },
                false => fault,
            };
            if let Err(fault) = rounds.pause(fault, &self.options.cancel).await {
                let fault = Fault {
                    unclear: fault.unclear || removal.sent,
                    ..fault
                };
                let error = self.error(operation, path, fault);
                if !removal.sent {
                    self.unkeep(removal.kept).await;
                }
                return Err(error);
            }
        }
    }

    async fn not_removed(&self, removal: Removal<'_>, look: Look) -> StorageError {
        // A copy of what may have been removed, before somebody else wrote, is all there is of it.
        if !removal.sent {
            self.unkeep(removal.kept).await;
        }
        match look {
            Look::Absent => {
                let reason = "nothing is there (any more)";
                let error = StorageError::new(ErrorKind::NotFound, removal.operation, reason);
                self.named(error, removal.path)
            }
            _ => self.changed(removal.operation, removal.path, "another version is there"),
        }
    }

    /// It is gone after a request whose reply was lost.
    async fn is_gone(&self, removal: Removal<'_>) -> Result<Option<SyncPath>> {
        let Some(place) = &removal.place else {
            return Ok(removal.kept.map(|kept| kept.at));
        };
        let enforced = self.remote.conditions.remove && removal.version.tag.is_some();
        match self.remote.wire.stat(place).await? {
            Some(moved)
                if !enforced && !self.is_version(place, &moved, &removal.version).await? =>
            {
                self.give_back(removal.path, place).await;
                Err(self.changed(removal.operation, removal.path, "another version was there"))
            }
            Some(_) => Ok(removal.place),
            None => Ok(None),
        }
    }

    async fn try_away(&self, removal: &mut Removal<'_>) -> Outcome<()> {
        let enforced = self.remote.conditions.remove;
        let condition = match enforced {
            true => self.is(removal.path, &removal.version)?,
            false => Condition::None,
        };
        if self.facts().renames && self.remote.capabilities.trash {
            return self.move_away(removal, &condition).await;
        }
        let known = removal
            .kept
            .as_ref()
            .is_some_and(|kept| kept.is(&removal.version));
        if self.remote.capabilities.trash && !known {
            self.unkeep(removal.kept.take()).await;
            let (what, state) = (removal.operation, removal.state);
            let enforced = condition != Condition::None;
            let keep = self.keep(what, removal.path, &removal.version, enforced, state);
            match keep.await? {
                Keeping::Kept(kept) => removal.kept = Some(kept),
                Keeping::No => {}
                Keeping::Changed => return Err(self.moved_on()),
            }
        }
        let _turn = self.remote.wire.turn(0).await;
        self.store().remove(removal.path, &condition).await
    }

    /// Moves the version into the trash. Where the storage does not compare, what was moved is compared afterwards, and goes back
    /// if it is another.
    async fn move_away(&self, removal: &mut Removal<'_>, condition: &Condition) -> Outcome<()> {
        let version = removal.version.clone();
        let place = self.trash_place(removal.path, removal.state, version.hash)?;
        self.parents.make_above(self, &place).await?;
        removal.place = Some(place.clone());
        let turn = self.remote.wire.turn(0).await;
        let moved = self.store().rename(removal.path, condition, &place).await;
        drop(turn);
        let moved = match moved {
            Ok(moved) => moved,
            Err(fault) => {
                if !fault.unclear {
                    removal.place = None;
                }
                if fault.error.kind() == ErrorKind::NoParent {
                    // Another run has tidied the folder away.
                    self.parents.forget_made().await;
                    return Err(Fault {
                        again: Again::After(None),
                        ..fault
                    });
                }
                return Err(fault);
            }
        };
        if *condition == Condition::None && !self.is_version(&place, &moved, &version).await? {
            self.give_back(removal.path, &place).await;
            removal.place = None;
            return Err(self.moved_on());
        }
        Ok(())
    }

    async fn remove_folder(&self, path: &SyncPath) -> Result<()> {
        let mut rounds = Rounds::default();
        let mut sent = false;
        loop {
            let found = self.remote.wire.stat(path).await?;
            match found.map(|found| found.kind) {
                None if sent => return Ok(()),
                None => {
                    let error = StorageError::new(ErrorKind::NotFound, WHAT, "nothing is there");
                    return Err(self.named(error, path));
                }
                Some(Kind::Folder) if !path.is_root() => {}
                Some(_) => return Err(self.changed(WHAT, path, "no folder of ours is there")),
            }
            self.parents.forget(path);
            let turn = self.remote.wire.turn(0).await;
            let removed = self.store().remove_folder(path).await;
            drop(turn);
            match removed {
                Ok(()) => return Ok(()),
                Err(fault) => {
                    sent |= fault.unclear;
                    let paused = rounds.pause(fault, &self.options.cancel).await;
                    paused.map_err(|fault| self.error(WHAT, path, fault))?;
                }
            }
        }
    }
}
