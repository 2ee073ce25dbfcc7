//! One row a path: the baseline and both sides, joined.

use crate::model::{
    Conflict, ConflictSide, ContentHash, FileId, Hasher, Kind, Meta, Side, Sides, SyncPath, Token,
};
use crate::planted::{Bug, planted};
use crate::reconcile::{
    Announced, Base, Conflicting, Content, Item, Look, Policy, Verdict, is_arrival, reconcile,
};
use crate::state::{BaselineRow, SideRecord};
use crate::storage::{Expect, Expected};

/// What a side's listing showed at a path.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// Nothing, and the listing got past it.
    Absent,
    /// An entry.
    There(Meta),
    /// It could not be found out.
    Unknown,
    /// Something that is excluded, or too large.
    LeftAlone,
    /// Perhaps a folder: the storage has none that are empty.
    NoFolder,
    /// A socket, device or pipe.
    Special,
}

impl Found {
    pub(super) fn meta(&self) -> Option<&Meta> {
        match self {
            Found::There(meta) => Some(meta),
            _ => None,
        }
    }

    pub(super) fn is_folder(&self) -> bool {
        self.meta().is_some_and(|meta| meta.kind == Kind::Folder)
    }
}

/// A path with all that is known of it.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) path: SyncPath,
    pub(super) base: Option<BaselineRow>,
    /// What killed runs were about to do there, the latest last.
    pub(super) announced: Vec<Announced>,
    pub(super) found: Sides<Found>,
    /// Hashes that were read in this pass.
    pub(super) hashes: Sides<Option<ContentHash>>,
    /// Tokens are not believed.
    pub(super) checksum: bool,
    /// A side's file is too large, and left alone for that.
    pub(super) large: bool,
}

impl Node {
    pub(super) fn new(path: SyncPath, checksum: bool) -> Self {
        Self {
            path,
            base: None,
            announced: Vec::new(),
            found: Sides::new(Found::Absent, Found::Absent),
            hashes: Sides::default(),
            checksum,
            large: false,
        }
    }

    /// What killed runs are said to have brought here counts for nothing. That they removed something does.
    pub(super) fn forget_arrivals(&mut self) {
        self.announced.retain(|one| one.hash.is_none());
    }

    /// Whether what a killed run announced may be what tells which side changed its type. Then that has to be known before anything inside
    /// is decided.
    pub(super) fn may_be_retyped(&self) -> bool {
        let there = Side::BOTH.map(|side| self.found[side].meta());
        let kinds = there.map(|meta| meta.map(|meta| meta.kind == Kind::Folder));
        !self.announced.is_empty() && matches!(kinds, [Some(one), Some(two)] if one != two)
    }

    /// Adds what is at the path, as far as a change of it shows.
    pub(super) fn add_to(&self, print: &mut Hasher) {
        let mut text = format!("{:?}", self.path.as_str());
        for side in Side::BOTH {
            let found = &self.found[side];
            let there = found.meta();
            let there =
                there.map(|meta| (meta.kind, &meta.token, meta.size, &meta.link, meta.mode));
            let what = std::mem::discriminant(found);
            text.push_str(&format!(" {what:?} {there:?};"));
        }
        print.update(text.as_bytes());
    }

    /// Whether it is left out on a side.
    pub(super) fn is_left_out(&self) -> bool {
        let sides = Side::BOTH.into_iter();
        sides
            .map(|side| &self.found[side])
            .any(|found| matches!(found, Found::LeftAlone))
    }

    /// Whether it is left out on a side, or something special is there.
    pub(super) fn is_left_alone(&self) -> bool {
        let special = |&side: &Side| matches!(self.found[side], Found::Special);
        self.is_left_out() || Side::BOTH.iter().any(special)
    }

    /// Whether nobody knows what is in it, or it is left alone.
    pub(super) fn is_closed_to_us(&self) -> bool {
        let unknown = |&side: &Side| matches!(self.found[side], Found::Unknown);
        self.is_left_alone() || Side::BOTH.iter().any(unknown)
    }

    /// Whether both sides are there with the tokens and modes of the baseline: nothing needs to be decided.
    pub(super) fn is_untouched(&self) -> bool {
        let Some(base) = &self.base else { return false };
        !self.checksum
            && Side::BOTH.iter().all(|&side| {
                let meta = self.found[side].meta();
                meta.is_some_and(|meta| base.is_on(side, meta))
            })
    }

    /// Whether both sides seem to hold what was agreed on, and only the youth of a token keeps that from being known: a little later it can
    /// be found out once and for all.
    pub(super) fn is_to_be_confirmed(&self) -> bool {
        let Some(base) = &self.base else { return false };
        let looks_agreed = |side: Side| {
            let meta = self.found[side].meta();
            meta.is_some_and(|meta| base.looks_like(side, meta))
        };
        !self.checksum && base.kind == Kind::File && Side::BOTH.into_iter().all(looks_agreed)
    }

    /// Whether the baseline says already that `side` holds this very version; then it was made durable when that was recorded.
    pub(super) fn is_recorded_of(&self, side: Side, meta: &Meta) -> bool {
        self.base.as_ref().is_some_and(|base| {
            let agreed = meta.kind == base.kind && base.sides[side].token == meta.token;
            agreed && self.hash(side) == base.hash
        })
    }

    /// Whether a token is still too young to say anything.
    pub(super) fn is_young(&self) -> bool {
        let young = |side: Side| self.found[side].meta().is_some_and(|meta| !meta.settled);
        Side::BOTH.into_iter().any(young)
    }

    /// Whether on a side another folder took the place of the one that was agreed on, with the same name.
    pub(super) fn is_another_folder(&self) -> bool {
        let Some(base) = &self.base else { return false };
        base.kind == Kind::Folder
            && Side::BOTH.iter().any(|&side| {
                let now = self.found[side].meta();
                now.is_some_and(|now| {
                    now.kind == Kind::Folder && is_other(base.sides[side].file_id, now.file_id)
                })
            })
    }

    /// Whether it is a folder that both had, and that only one side has now.
    pub(super) fn is_folder_given_up(&self) -> bool {
        let was_folder = |base: &BaselineRow| base.kind == Kind::Folder;
        let has_none = |&side: &Side| match &self.found[side] {
            Found::Absent => true,
            found => found.meta().is_some_and(|meta| meta.kind != Kind::Folder),
        };
        self.base.as_ref().is_some_and(was_folder)
            && Side::BOTH.iter().any(has_none)
            && Side::BOTH.iter().any(|&side| self.found[side].is_folder())
    }

    /// What both sides have there, and what they last agreed on.
    pub(super) fn kinds(&self) -> impl Iterator<Item = Kind> {
        let metas = Side::BOTH.into_iter().map(|side| self.found[side].meta());
        let found = metas.flatten().map(|meta| meta.kind);
        found.chain(self.base.as_ref().map(|base| base.kind))
    }

    fn content(&self, side: Side, meta: &Meta) -> Content {
        if let Some(hash) = self.hashes[side].or(meta.hash) {
            return Content::Hash(hash);
        }
        match &self.base {
            Some(base)
                if !self.checksum
                    && base.kind == Kind::File
                    && base.hash.is_some()
                    && (base.sides[side].settled || planted(Bug::YoungTokenIsBelieved))
                    && base.sides[side].token == meta.token
                    && !planted(Bug::EchoIsEdit) =>
            {
                Content::Same
            }
            _ => Content::Unread,
        }
    }

    fn look(&self, side: Side) -> Look<'_> {
        match &self.found[side] {
            Found::Absent => Look::Absent,
            Found::Unknown if planted(Bug::UnknownIsAbsent) => Look::Absent,
            Found::Unknown => Look::Unknown,
            Found::LeftAlone if planted(Bug::LeftOutIsAbsent) => Look::Absent,
            Found::LeftAlone | Found::NoFolder | Found::Special => Look::LeftAlone,
            Found::There(meta) => Look::There(Item {
                kind: meta.kind,
                content: self.content(side, meta),
                size: meta.size,
                link: meta.link.as_deref(),
                mode: meta.mode,
            }),
        }
    }

    /// What is to be done here.
    pub(super) fn decide(&self, policy: Policy) -> Verdict {
        let looks = Sides::from_fn(|side| self.look(side));
        let base = self.agreed_base();
        reconcile(policy, base.as_ref(), &self.announced, looks.as_ref())
    }

    fn agreed_base(&self) -> Option<Base<'_>> {
        self.base.as_ref().map(|row| Base {
            kind: row.kind,
            hash: row.hash,
            link: row.link.as_deref(),
            sizes: row.sides.as_ref().map(|side| side.size),
            modes: row.sides.as_ref().map(|side| side.mode),
        })
    }

    /// The same in a group: there it has to be known, too, whether what only one side holds was brought there by a run.
    pub(super) fn decide_in_group(&self, policy: Policy) -> Verdict {
        let verdict = self.decide(policy);
        let unread = |&side: &Side| self.is_arrival(side).is_none();
        match Side::BOTH.into_iter().find(unread) {
            Some(side) if is_creation(verdict) => Verdict::Read(Sides::from_fn(|at| at == side)),
            _ => verdict,
        }
    }

    /// The side that alone holds something, as a run put it there that could not record it. Its own users changed nothing.
    pub(super) fn arrived(&self) -> Option<Side> {
        let arrived = |side: &Side| self.is_arrival(*side) == Some(true);
        Side::BOTH.into_iter().find(arrived)
    }

    fn is_arrival(&self, side: Side) -> Option<bool> {
        if self.announced.is_empty() {
            return Some(false);
        }
        let looks = Sides::from_fn(|side| self.look(side));
        let base = self.agreed_base();
        is_arrival(base.as_ref(), &self.announced, looks.as_ref(), side)
    }

    /// The hash of what `side` holds, if it is known.
    pub(super) fn hash(&self, side: Side) -> Option<ContentHash> {
        match self.content(side, self.found[side].meta()?) {
            Content::Hash(hash) => Some(hash),
            Content::Same => self.base.as_ref()?.hash,
            Content::Unread => None,
        }
    }

    /// What a change of `side` has to find there.
    pub(super) fn expect(&self, side: Side) -> Expect {
        match self.expected(side) {
            Some(expected) => Expect::Is(expected),
            None => Expect::Absent,
        }
    }

    /// The version on `side`; `None` if nothing is there.
    pub(super) fn expected(&self, side: Side) -> Option<Expected> {
        let meta = self.found[side].meta()?;
        let mut expected = Expected::of(meta, self.hash(side));
        if expected.hash.is_none() {
            // Nothing better is known: a master replaces what it need not read. It goes to the trash, whatever it is.
            expected.token = Some(meta.token.clone());
        }
        Some(expected)
    }

    /// The versions of both sides.
    pub(super) fn versions(&self) -> Sides<Option<Token>> {
        Sides::from_fn(|side| Some(self.found[side].meta()?.token.clone()))
    }

    /// The types of both sides differ in a way that their insides are concerned: the side whose type changed.
    pub(super) fn retyped(&self) -> Option<Side> {
        let folders = Sides::from_fn(|side| self.found[side].is_folder());
        let there = Sides::from_fn(|side| self.found[side].meta().is_some());
        if !(there.source && there.target) || folders.source == folders.target {
            return None;
        }
        let was_folder = self.base.as_ref()?.kind == Kind::Folder;
        Some(if folders.source == was_folder {
            Side::Target
        } else {
            Side::Source
        })
    }

    /// The row that records that both sides agree on what they hold now. `None` unless both are there and equal is known.
    pub(super) fn agreed_row(&self) -> Option<BaselineRow> {
        let (source, target) = (self.found.source.meta()?, self.found.target.meta()?);
        Some(BaselineRow {
            path: self.path.clone(),
            kind: source.kind,
            hash: self.hash(Side::Source).or_else(|| self.hash(Side::Target)),
            link: source.link.clone(),
            sides: Sides::new(SideRecord::of(source), SideRecord::of(target)),
        })
    }

    /// The conflict at this path, for the report.
    pub(super) fn conflict(&self, what: Conflicting) -> Conflict {
        let mode = |side: Side| {
            let mode = self.found[side].meta().and_then(|meta| meta.mode);
            mode.map_or_else(|| "none".to_owned(), |mode| format!("{:03o}", mode.bits()))
        };
        let reason = match (what, &self.base) {
            (Conflicting::Content, Some(_)) => "both sides changed it, differently".to_owned(),
            (Conflicting::Content, None) => "both sides made it, differently".to_owned(),
            (Conflicting::Types, _) => {
                "a folder on one side and a file on the other, and both sides changed it".to_owned()
            }
            (Conflicting::Modes, _) => format!(
                "both sides changed the permissions, differently (source {}, target {})",
                mode(Side::Source),
                mode(Side::Target)
            ),
        };
        Conflict {
            path: self.path.as_str().to_owned(),
            reason,
            source: self.conflict_side(Side::Source),
            target: self.conflict_side(Side::Target),
            ancestor: self.base.as_ref().map(|row| ConflictSide {
                kind: row.kind.name().to_owned(),
                size: (row.kind == Kind::File).then_some(row.sides.source.size),
                hash: row.hash.filter(|hash| !hash.is_by_copy()),
                link: row.link.as_deref().map(str::to_owned),
                mtime: row.sides.source.mtime.map(|time| time.secs),
            }),
        }
    }

    fn conflict_side(&self, side: Side) -> Option<ConflictSide> {
        let meta = self.found[side].meta()?;
        Some(ConflictSide {
            kind: meta.kind.name().to_owned(),
            size: (meta.kind == Kind::File).then_some(meta.size),
            hash: if meta.kind == Kind::File {
                self.hash(side).filter(|hash| !hash.is_by_copy())
            } else {
                None
            },
            link: meta.link.as_deref().map(str::to_owned),
            mtime: meta.mtime.map(|time| time.secs),
        })
    }
}

/// Whether it takes what only one side holds for something that this made.
pub(super) fn is_creation(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Update { .. } | Verdict::Drift)
}

/// Whether two ids are known to be of two things.
fn is_other(before: Option<FileId>, now: Option<FileId>) -> bool {
    matches!((before, now), (Some(before), Some(now)) if before != now)
}

impl BaselineRow {
    /// Whether what `side` holds is known to be what was agreed on, without reading.
    pub(super) fn is_on(&self, side: Side, meta: &Meta) -> bool {
        (self.sides[side].settled || planted(Bug::YoungTokenIsBelieved))
            && self.looks_like(side, meta)
    }

    /// The same, were all tokens as good as settled.
    pub(super) fn looks_like(&self, side: Side, meta: &Meta) -> bool {
        let was = &self.sides[side];
        meta.kind == self.kind
            && (was.token == meta.token || planted(Bug::EditIsEcho))
            && !planted(Bug::EchoIsEdit)
            && was.mode == meta.mode
            && (self.kind != Kind::File || (self.hash.is_some() && was.size == meta.size))
            && (self.kind != Kind::Link || self.link == meta.link)
    }
}
