//! The table.

use super::look::{Announced, Base, Content, Item, Look, Policy};
use super::modes::{ModePlan, merge_modes};
use crate::model::{ContentHash, Kind, Side, Sides};
use crate::planted::{Bug, planted};

/// Why two changes cannot both be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Conflicting {
    /// Both sides made or changed the content, differently.
    Content,
    /// A folder on one side, a file or link on the other, and no change of one side alone explains it.
    Types,
    /// Both sides changed the permission bits, differently; the content is equal.
    Modes,
}

/// What is to be done at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Nothing is there on either side and nothing was agreed on.
    Nothing,
    /// Gone on both sides: the baseline forgets it.
    Forget,
    /// Equal content: recorded, and permission bits are set where they travel.
    Agreed(ModePlan),
    /// The content of these sides must be read first.
    Read(Sides<bool>),
    /// `to` gets what the other side holds, replacing what it holds now.
    Update {
        /// The side that is written.
        to: Side,
        /// The permission bits that go with it.
        modes: ModePlan,
    },
    /// What `on` holds is removed.
    Remove {
        /// The side that is written.
        on: Side,
    },
    /// The type changed on `from` alone, as far as this path can tell: if the other side changed nothing below, all of it gives way.
    Retype {
        /// The side whose type wins.
        from: Side,
    },
    /// Both changed, differently: nothing is touched.
    Conflict(Conflicting),
    /// The target differs and is left alone.
    Drift,
    /// One side is unknown, or left alone: nothing is decided, the baseline keeps its row.
    Wait,
}

/// Whether a side differs from the baseline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Changed {
    No,
    Yes,
    /// Only reading tells.
    Maybe,
}

/// Decides what is to be done at a path. `announced` is what killed runs were about to do there, the latest last.
pub fn reconcile(
    policy: Policy,
    base: Option<&Base<'_>>,
    announced: &[Announced],
    looks: Sides<&Look<'_>>,
) -> Verdict {
    let items = match (looks.source, looks.target) {
        (Look::Unknown | Look::LeftAlone, _) | (_, Look::Unknown | Look::LeftAlone) => {
            return Verdict::Wait;
        }
        (source, target) => Sides::new(source, target).map(|look| match look {
            Look::There(item) => Some(*item),
            _ => None,
        }),
    };
    if items == Sides::default() {
        return match base {
            Some(_) => Verdict::Forget,
            None => Verdict::Nothing,
        };
    }
    // A master does not ask what was agreed on.
    let done = match policy {
        Policy::Master(_) => Ok(None),
        _ => last_done(base, announced, items.as_ref().map(Option::as_ref)),
    };
    match done {
        Ok(None) => decide(policy, base, items.as_ref().map(Option::as_ref)),
        Ok(Some(one)) => {
            let items = items.map(|item| item.map(|item| with_hash(base, item)));
            let recorded = as_recorded(&one, items[one.to].as_ref());
            let items = items.as_ref().map(Option::as_ref);
            decide(policy, recorded.as_ref(), items)
        }
        Err(unread) => Verdict::Read(with_the_other(base, &items, unread)),
    }
}

fn decide(policy: Policy, base: Option<&Base<'_>>, items: Sides<Option<&Item<'_>>>) -> Verdict {
    match (items.source, items.target) {
        (None, None) => Verdict::Nothing,
        (Some(source), Some(target)) => both_there(policy, base, Sides::new(source, target)),
        (Some(item), None) => one_there(policy, base, Side::Source, item),
        (None, Some(item)) => one_there(policy, base, Side::Target, item),
    }
}

fn is_folder(kind: Kind) -> bool {
    kind == Kind::Folder
}

/// The hash of a side's content, if it is known.
fn known(base: Option<&Base<'_>>, item: &Item<'_>) -> Option<ContentHash> {
    match item.content {
        Content::Hash(hash) => Some(hash),
        Content::Same => base.and_then(|base| base.hash),
        Content::Unread => None,
    }
}

fn changed(base: Option<&Base<'_>>, side: Side, item: &Item<'_>) -> Changed {
    let Some(base) = base else {
        return Changed::Yes;
    };
    let differs = |differs| if differs { Changed::Yes } else { Changed::No };
    if base.kind != item.kind {
        return Changed::Yes;
    }
    match item.kind {
        Kind::Folder => Changed::No,
        Kind::Link => differs(base.link != item.link),
        Kind::File => match item.content {
            Content::Same => Changed::No,
            Content::Hash(hash) => differs(base.hash != Some(hash)),
            Content::Unread if base.sizes[side] != item.size => Changed::Yes,
            Content::Unread => Changed::Maybe,
        },
    }
}

/// Whether both hold the same; `None` if only reading tells.
fn equal(base: Option<&Base<'_>>, items: Sides<&Item<'_>>) -> Option<bool> {
    let Sides { source, target } = items;
    if source.kind != target.kind {
        return Some(false);
    }
    match source.kind {
        Kind::Folder => Some(true),
        Kind::Link => Some(source.link == target.link || planted(Bug::LinkIsNotCompared)),
        Kind::File => match (known(base, source), known(base, target)) {
            (Some(source), Some(target)) => Some(source == target),
            _ if source.size != target.size => Some(false),
            _ if planted(Bug::SizeIsContent) => Some(true),
            _ => None,
        },
    }
}

fn unread(item: &Item<'_>) -> bool {
    item.kind == Kind::File && item.content == Content::Unread
}

/// Only `side` holds something.
fn one_there(policy: Policy, base: Option<&Base<'_>>, side: Side, item: &Item<'_>) -> Verdict {
    let to = side.other();
    let update = Verdict::Update {
        to,
        modes: ModePlan::create(to, item.mode),
    };
    if let Policy::Master(master) = policy {
        return if master == side {
            update
        } else {
            Verdict::Remove { on: side }
        };
    }
    let one_way = policy == Policy::OneWay;
    if base.is_none() {
        return if one_way && side == Side::Target {
            Verdict::Drift
        } else {
            update
        };
    }
    match (changed(base, side, item), side) {
        (Changed::Maybe, _) => Verdict::Read(Sides::from_fn(|at| at == side)),
        // The edit wins over the removal, but a one-way run never writes to the source.
        (Changed::Yes, Side::Target) if one_way => Verdict::Drift,
        (Changed::Yes, _) if planted(Bug::RemovalBeatsEdit) => Verdict::Remove { on: side },
        (Changed::Yes, _) => update,
        // Removed on the target alone: that is the target's own change.
        (Changed::No, Side::Source) if one_way => Verdict::Drift,
        (Changed::No, _) => Verdict::Remove { on: side },
    }
}

/// Whether `one` is what its side shows; `None` if only reading tells.
fn is_done(
    base: Option<&Base<'_>>,
    items: Sides<Option<&Item<'_>>>,
    one: &Announced,
) -> Option<bool> {
    let was = base.and_then(|base| Announced::content(base.kind, base.hash.as_ref(), base.link));
    if was != one.was {
        return Some(false);
    }
    let (Some(item), Some(wanted)) = (items[one.to], one.hash) else {
        // A removal that is done asks for nothing to be removed: what is there anew is somebody's.
        return Some(items[one.to].is_none() && one.hash.is_none());
    };
    // That the other side has not got it any more means something only if it cannot have lost it.
    let still = |other: &Item<'_>| is_folder(other.kind) == is_folder(item.kind);
    if !one.sure && !items[one.to.other()].is_some_and(still) {
        return Some(false);
    }
    if item.kind != Kind::File {
        return Some(Announced::content(item.kind, None, item.link) == Some(wanted));
    }
    match known(base, item) {
        _ if planted(Bug::NoteIsBelieved) => Some(true),
        Some(hash) => Some(hash == wanted),
        None if item.size != one.size => Some(false),
        None => None,
    }
}

/// The last of what was announced that is done. `Err`: the side that has to be read to tell.
fn last_done(
    base: Option<&Base<'_>>,
    announced: &[Announced],
    items: Sides<Option<&Item<'_>>>,
) -> Result<Option<Announced>, Side> {
    for one in announced.iter().rev() {
        match is_done(base, items, one) {
            None => return Err(one.to),
            Some(true) => return Ok(Some(*one)),
            Some(false) => {}
        }
    }
    Ok(None)
}

/// Whether `side` holds just what a run announced that it would put there, while the other side holds nothing, and whether or not that
/// can have lost it. `None` if only reading tells.
pub fn is_arrival(
    base: Option<&Base<'_>>,
    announced: &[Announced],
    looks: Sides<&Look<'_>>,
    side: Side,
) -> Option<bool> {
    let (Look::There(item), Look::Absent) = (looks[side], looks[side.other()]) else {
        return Some(false);
    };
    let mut items = Sides::default();
    items[side] = Some(item);
    let brought = announced.iter().filter(|one| one.to == side);
    let brought: Vec<_> = brought
        .map(|one| Announced { sure: true, ..*one })
        .collect();
    let done = last_done(base, &brought, items).ok()?;
    Some(done.is_some())
}

/// The baseline that the run would have recorded, had it lived. `item` is what the side shows that it was done on.
fn as_recorded<'i>(one: &Announced, item: Option<&Item<'i>>) -> Option<Base<'i>> {
    let item = item?;
    let mut modes = Sides::new(one.mode, one.mode);
    modes[one.to] = item.mode;
    let hash = match item.content {
        Content::Hash(hash) => Some(hash),
        Content::Same | Content::Unread => one.hash,
    };
    Some(Base {
        kind: item.kind,
        hash: hash.filter(|_| item.kind == Kind::File),
        link: item.link,
        sizes: Sides::new(one.size, one.size),
        modes,
    })
}

/// What is known of it by the baseline, told without it.
fn with_hash<'i>(base: Option<&Base<'_>>, mut item: Item<'i>) -> Item<'i> {
    if let (Kind::File, Some(hash)) = (item.kind, known(base, &item)) {
        item.content = Content::Hash(hash);
    }
    item
}

/// What is read besides `side`: where both are alike so far, both have to be.
fn with_the_other(
    base: Option<&Base<'_>>,
    items: &Sides<Option<Item<'_>>>,
    side: Side,
) -> Sides<bool> {
    if let (Some(source), Some(target)) = (&items.source, &items.target) {
        let items = Sides::new(source, target);
        if equal(base, items).is_none() {
            return items.map(unread);
        }
    }
    Sides::from_fn(|at| at == side)
}

fn both_there(policy: Policy, base: Option<&Base<'_>>, items: Sides<&Item<'_>>) -> Verdict {
    if is_folder(items.source.kind) != is_folder(items.target.kind) {
        return types_differ(policy, base, items);
    }
    let read_all = || Verdict::Read(items.map(unread));
    let update = |to: Side| Verdict::Update {
        to,
        modes: merge_modes(policy, base, items, Some(to)),
    };
    match equal(base, items) {
        Some(true) => return agreed(policy, base, items),
        None => return read_all(),
        Some(false) => {}
    }
    if let Policy::Master(master) = policy {
        return update(master.other());
    }
    let changes = Sides::from_fn(|side| changed(base, side, items[side]));
    match (policy, changes.source, changes.target) {
        (_, Changed::Maybe, Changed::Maybe) => read_all(),
        (_, Changed::Maybe, _) => Verdict::Read(Sides::new(true, false)),
        (_, _, Changed::Maybe) => Verdict::Read(Sides::new(false, true)),
        (_, Changed::Yes, Changed::No) if planted(Bug::OldVersionWins) => update(Side::Source),
        (Policy::OneWay, Changed::Yes, Changed::No) if planted(Bug::SecondEditIsDrift) => {
            Verdict::Drift
        }
        (_, Changed::Yes, Changed::No) => update(Side::Target),
        (Policy::OneWay, Changed::No, Changed::Yes) if !planted(Bug::OneWayWritesBack) => {
            Verdict::Drift
        }
        (_, Changed::No, Changed::Yes) => update(Side::Source),
        (_, Changed::Yes, Changed::Yes) if planted(Bug::ConflictIsUpdate) => update(Side::Target),
        (_, Changed::Yes, Changed::Yes) => Verdict::Conflict(Conflicting::Content),
        // Unequal but both as in the baseline: only a baseline that nobody wrote says so.
        (_, Changed::No, Changed::No) => Verdict::Conflict(Conflicting::Content),
    }
}

fn agreed(policy: Policy, base: Option<&Base<'_>>, items: Sides<&Item<'_>>) -> Verdict {
    let modes = merge_modes(policy, base, items, None);
    if modes.conflict {
        return Verdict::Conflict(Conflicting::Modes);
    }
    if modes.drift {
        return Verdict::Drift;
    }
    Verdict::Agreed(modes)
}

/// A folder on one side, a file or link on the other.
fn types_differ(policy: Policy, base: Option<&Base<'_>>, items: Sides<&Item<'_>>) -> Verdict {
    if let Policy::Master(from) = policy {
        return Verdict::Retype { from };
    }
    let Some(base) = base else {
        return Verdict::Conflict(Conflicting::Types);
    };
    let retyped = if is_folder(base.kind) == is_folder(items.target.kind) {
        Side::Source
    } else {
        Side::Target
    };
    let other = retyped.other();
    match changed(Some(base), other, items[other]) {
        Changed::Yes => Verdict::Conflict(Conflicting::Types),
        Changed::Maybe => Verdict::Read(Sides::from_fn(|side| side == other)),
        Changed::No => Verdict::Retype { from: retyped },
    }
}
