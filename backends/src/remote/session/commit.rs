//! Publishing: look (unless the storage compares), keep what is displaced, write, and know what happened.

use bytes::Bytes;
use wl_core::model::{Kind, SyncPath, Timestamp};
use wl_core::storage::{
    ErrorKind, Expect, Expected, Published, ReplaceRequest, Result, StorageError, TrashState,
};

use super::judge::Look;
use super::keep::{Keeping, Kept, Version, refused};
use super::stage::{Content, Waiting};
use super::{Rounds, Shared};
use crate::remote::store::{
    Again, Attributes, Condition, Conditions, CopyIn, Fault, Found, Outcome, Put,
};
use crate::remote::token;

const WHAT: &str = "replace";

/// What a change is built on.
pub(super) enum Base {
    Absent,
    Version(Version),
}

impl Shared {
    pub(super) async fn replace(&self, request: ReplaceRequest) -> Result<Published> {
        let ReplaceRequest {
            path,
            staged,
            expect,
            listed,
        } = request;
        self.check(WHAT, &path)?;
        let waiting = self.take_staged(&staged);
        let waiting = waiting.map_err(|error| self.named(error, &path))?;
        if path.is_root() {
            return Err(self.changed(WHAT, &path, "the root is a folder"));
        }
        self.open().await?;
        match &expect {
            // The listing has told already what a look would.
            Expect::Absent if listed && self.facts().flat => {}
            Expect::Absent => self.check_new(WHAT, &path).await?,
            Expect::Is(expected) if expected.kind == Kind::Folder => {
                return Err(self.changed(WHAT, &path, "a folder is never replaced by a file"));
            }
            Expect::Is(_) => self.check_above(WHAT, &path).await?,
        }
        match (&expect, &waiting.content) {
            (Expect::Is(expected), Content::Link(_)) => {
                self.replace_by_link(&path, &waiting, expected).await
            }
            _ => self.publish(&path, &waiting, &expect).await,
        }
    }

    /// A link takes nothing's place: what is there has to go first.
    async fn replace_by_link(
        &self,
        path: &SyncPath,
        waiting: &Waiting,
        expected: &Expected,
    ) -> Result<Published> {
        let taken = self
            .take_away(WHAT, path, expected, TrashState::Replaced)
            .await;
        let place = taken.map_err(|error| match error.kind() {
            ErrorKind::NotFound => error.with_kind(ErrorKind::Changed),
            _ => error,
        })?;
        let published = self.publish(path, waiting, &Expect::Absent).await;
        match (&published, place) {
            (Ok(_), place) => self.count_displaced(place.is_some()),
            (Err(_), Some(place)) => self.give_back(path, &place).await,
            (Err(_), None) => {}
        }
        published
    }

    async fn publish(
        &self,
        path: &SyncPath,
        waiting: &Waiting,
        expect: &Expect,
    ) -> Result<Published> {
        let conditions = self.conditions(waiting);
        let mut rounds = Rounds::default();
        let (mut kept, mut look, mut sent) = (None, false, false);
        loop {
            if sent && let Some(found) = self.ours(path, waiting).await? {
                return self.done(path, &found, kept, conditions).await;
            }
            let base = match self.base(path, expect, conditions, look).await {
                Ok(base) => self.with_condition(path, base, conditions),
                Err(error) => match self.is_away(path, conditions, sent).await? {
                    true => Err(Fault::from(error)),
                    false => return self.not_done(error, kept, sent).await,
                },
            };
            let (base, condition) = match base {
                Ok(found) => found,
                Err(fault) => {
                    let again = Again::After(None);
                    self.pause(&mut rounds, Fault { again, ..fault }, path, &mut kept, sent)
                        .await?;
                    look = true;
                    continue;
                }
            };
            let written = match self.keep_base(path, &base, &condition, &mut kept).await? {
                true => self.write(path, waiting, &base, &condition).await,
                false => Err(self.moved_on()),
            };
            let fault = match written {
                Ok(found) => return self.done(path, &found, kept, conditions).await,
                Err(fault) => fault,
            };
            sent |= fault.unclear;
            // An upload's condition cannot be changed any more.
            if refused(&fault) && !sent && matches!(waiting.content, Content::Large(_)) {
                return self
                    .not_done(self.error(WHAT, path, fault), kept, sent)
                    .await;
            }
            let fresh = !look;
            look = true;
            // The token of the caller said nothing: the hash may.
            if refused(&fault) && fresh && matches!(expect, Expect::Is(_)) {
                continue;
            }
            let fault = match refused(&fault) && (sent || matches!(base, Base::Version(_))) {
                true => Fault {
                    again: Again::After(None),
                    ..fault
                },
                false => fault,
            };
            self.pause(&mut rounds, fault, path, &mut kept, sent)
                .await?;
        }
    }

    /// What the storage was told to expect is not there any more.
    pub(super) fn moved_on(&self) -> Fault {
        let reason = "another version is there; nothing was changed, look again";
        Fault::from(StorageError::new(ErrorKind::Changed, WHAT, reason))
    }

    /// Waits for the next round. At the end of all rounds what was kept is given up, unless it may have been displaced.
    async fn pause(
        &self,
        rounds: &mut Rounds,
        fault: Fault,
        path: &SyncPath,
        kept: &mut Option<Kept>,
        sent: bool,
    ) -> Result<()> {
        match rounds.pause(fault, &self.options.cancel).await {
            Ok(()) => Ok(()),
            Err(fault) => {
                let fault = Fault {
                    unclear: fault.unclear || sent,
                    ..fault
                };
                let error = self.error(WHAT, path, fault);
                self.not_done(error, kept.take(), sent).await
            }
        }
    }

    async fn not_done<T>(&self, error: StorageError, kept: Option<Kept>, sent: bool) -> Result<T> {
        if !sent {
            self.unkeep(kept).await;
        }
        Err(error)
    }

    /// The conditions that hold for such content.
    fn conditions(&self, waiting: &Waiting) -> Conditions {
        match waiting.content {
            Content::Large(_) => self.remote.large,
            _ => self.remote.conditions,
        }
    }

    /// What is there, looked at only if the storage does not compare by itself.
    async fn base(
        &self,
        path: &SyncPath,
        expect: &Expect,
        conditions: Conditions,
        look: bool,
    ) -> Result<Base> {
        let expected = match expect {
            Expect::Absent if conditions.create && !look => return Ok(Base::Absent),
            Expect::Absent => {
                return match self.remote.wire.stat(path).await? {
                    None => Ok(Base::Absent),
                    Some(_) => Err(self.changed(WHAT, path, "something is there")),
                };
            }
            Expect::Is(expected) => expected,
        };
        if !look && let Some(version) = self.trusted(expected, conditions.replace) {
            return Ok(Base::Version(version));
        }
        match self.look(path, expected).await? {
            Look::Same(found) => Ok(Base::Version(Version {
                tag: found.tag.clone(),
                hash: expected.hash,
                found: Some(found),
            })),
            Look::Absent => Err(self.changed(WHAT, path, "nothing is there any more")),
            Look::Other => Err(self.changed(WHAT, path, "another version is there")),
        }
    }

    /// The version as the caller's token names it, where the storage compares (`enforced`) and so nobody has to look.
    pub(super) fn trusted(&self, expected: &Expected, enforced: bool) -> Option<Version> {
        let tag = expected.token.as_ref().and_then(token::tag)?;
        (enforced && expected.kind == Kind::File).then(|| Version {
            tag: Some(tag.into()),
            hash: expected.hash,
            found: None,
        })
    }

    /// Whether what we wrote may have been moved aside for a moment: whoever did that, because nobody compares there, sees that it is not
    /// what was meant, and puts it back.
    async fn is_away(&self, path: &SyncPath, conditions: Conditions, sent: bool) -> Result<bool> {
        Ok(sent && !conditions.replace && self.remote.wire.stat(path).await?.is_none())
    }

    /// With what the storage is told to compare.
    fn with_condition(
        &self,
        path: &SyncPath,
        base: Base,
        conditions: Conditions,
    ) -> Outcome<(Base, Condition)> {
        let condition = match &base {
            Base::Absent if conditions.create => Condition::Absent,
            Base::Version(version) if conditions.replace => self.is(path, version)?,
            _ => Condition::None,
        };
        Ok((base, condition))
    }

    /// The condition that this version is there. A version that has no tag yet will have one soon.
    pub(super) fn is(&self, path: &SyncPath, version: &Version) -> Outcome<Condition> {
        let link = version
            .found
            .as_ref()
            .is_some_and(|found| found.kind == Kind::Link);
        match &version.tag {
            Some(tag) => Ok(Condition::Is(tag.clone())),
            None if link => Ok(Condition::None),
            None => {
                let reason = "the storage has no tag for this version yet";
                let error = StorageError::new(ErrorKind::Busy, WHAT, reason).at(path);
                Err(Fault {
                    again: Again::After(None),
                    ..Fault::from(error)
                })
            }
        }
    }

    /// Puts the version that is to be displaced into the trash; false if it is not there any more.
    async fn keep_base(
        &self,
        path: &SyncPath,
        base: &Base,
        condition: &Condition,
        kept: &mut Option<Kept>,
    ) -> Result<bool> {
        let Base::Version(version) = base else {
            return Ok(true);
        };
        if !self.remote.capabilities.trash || kept.as_ref().is_some_and(|kept| kept.is(version)) {
            return Ok(true);
        }
        self.unkeep(kept.take()).await;
        let enforced = *condition != Condition::None;
        let state = TrashState::Replaced;
        match self.keep(WHAT, path, version, enforced, state).await? {
            Keeping::Kept(new) => *kept = Some(new),
            Keeping::No => {}
            Keeping::Changed => return Ok(false),
        }
        Ok(true)
    }

    /// Writes once; and once more if only a folder that has emptied was in the way.
    async fn write(
        &self,
        path: &SyncPath,
        waiting: &Waiting,
        base: &Base,
        condition: &Condition,
    ) -> Outcome<Found> {
        match self.write_once(path, waiting, base, condition).await {
            Err(fault)
                if refused(&fault)
                    && *condition == Condition::Absent
                    && self.clears_emptied(path).await =>
            {
                self.write_once(path, waiting, base, condition).await
            }
            written => written,
        }
    }

    /// Whether a folder that has emptied, and that the server still had, was cleared away from `path`.
    pub(super) async fn clears_emptied(&self, path: &SyncPath) -> bool {
        if !self.facts().flat {
            return false;
        }
        let _turn = self.remote.wire.turn(0).await;
        // What cannot be cleared away is in the way, and that has been said.
        self.store().clear_emptied(path).await.unwrap_or(false)
    }

    async fn write_once(
        &self,
        path: &SyncPath,
        waiting: &Waiting,
        base: &Base,
        condition: &Condition,
    ) -> Outcome<Found> {
        match &waiting.content {
            Content::Small(content) => {
                let mut attributes = waiting.attributes.clone();
                let was = match base {
                    Base::Version(version) => version.found.as_ref(),
                    Base::Absent => None,
                };
                if let Some(was) = was {
                    attributes.mtime = self.own_time(attributes.mtime, waiting.size, was);
                }
                let seen = was.filter(|_| *condition == Condition::None);
                self.put(path, content, &attributes, condition, seen).await
            }
            Content::Link(target) => {
                let _turn = self.remote.wire.turn(0).await;
                self.store().put_link(path, target).await
            }
            Content::Large(upload) => {
                let mut upload = upload.lock().await;
                let _turn = self.remote.wire.turn(0).await;
                upload.commit().await
            }
            Content::Copy(from) => {
                let copy = CopyIn {
                    source: &from.source,
                    from: &from.path,
                    tag: token::tag(&from.meta.token).unwrap_or_default(),
                    size: from.meta.size,
                    to: path,
                    condition,
                };
                let _turn = self.remote.wire.turn(0).await;
                self.store().copy_in(copy).await
            }
        }
    }

    /// The time that goes with content that takes the place of `was`.
    pub(super) fn own_time(
        &self,
        mtime: Option<Timestamp>,
        size: u64,
        was: &Found,
    ) -> Option<Timestamp> {
        match self.facts().mtime_resolution {
            Some(_) => token::own_time(mtime, size, was),
            None => mtime,
        }
    }

    async fn put(
        &self,
        path: &SyncPath,
        content: &Bytes,
        attributes: &Attributes,
        condition: &Condition,
        seen: Option<&Found>,
    ) -> Outcome<Found> {
        let scratch = self.scratch()?;
        let put = Put {
            path,
            content: content.clone(),
            attributes,
            condition,
            seen,
            scratch: &scratch,
        };
        let _turn = self.remote.wire.turn(content.len() as u64).await;
        self.store().put(put).await
    }

    async fn done(
        &self,
        path: &SyncPath,
        found: &Found,
        kept: Option<Kept>,
        conditions: Conditions,
    ) -> Result<Published> {
        self.count_displaced(kept.is_some());
        if conditions.create && conditions.replace {
            return Ok(self.published(found, true));
        }
        // Nobody but us compares: what is there now may be somebody else's, who wrote at the same time.
        let after = self.remote.wire.stat(path).await.ok().flatten();
        let alone = after.is_some_and(|after| token::token(&after) == token::token(found));
        // A time that the storage gave is that of whoever wrote last, and what we were told of may be theirs already: it is read again.
        let named = found.tag.is_some() || self.facts().mtime_resolution.is_some();
        Ok(self.published(found, alone && named))
    }
}
