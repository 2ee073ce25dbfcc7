//! Permission bits, merged as a value of their own.

use super::look::{Base, Item, Policy};
use crate::model::{Kind, Mode, Side, Sides};
use crate::planted::{Bug, planted};

/// What happens to the permission bits at a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ModePlan {
    /// The bits that each side gets; `None`: they stay, or the storage keeps none.
    pub set: Sides<Option<Mode>>,
    /// Both sides changed them, differently.
    pub conflict: bool,
    /// The target changed them and nothing may be written for it.
    pub drift: bool,
}

impl ModePlan {
    /// An entry is made on `to` with these bits.
    pub(super) fn create(to: Side, mode: Option<Mode>) -> Self {
        let mut plan = Self::default();
        plan.set[to] = mode;
        plan
    }
}

/// Merges the permission bits of two entries of the same kind. One side's travel only if they differ from that side's own
/// baseline, so bits that a storage cannot keep never travel back. `content_to` is the side whose content is replaced, if one is.
pub fn merge_modes(
    policy: Policy,
    base: Option<&Base<'_>>,
    items: Sides<&Item<'_>>,
    content_to: Option<Side>,
) -> ModePlan {
    // A link has no bits of its own: what takes its place brings them, as something new does.
    if let Some(to) = content_to
        && items[to].kind == Kind::Link
    {
        return ModePlan::create(to, items[to.other()].mode);
    }
    let mut plan = ModePlan::default();
    let (Some(source), Some(target)) = (items.source.mode, items.target.mode) else {
        return plan;
    };
    let modes = Sides::new(source, target);
    let Some(base) = base else {
        // Equal content without a baseline: both are recorded as they are. A master's travel with its content.
        if let Some(to) = content_to {
            plan.set[to] = Some(modes[to.other()]);
        }
        return plan;
    };
    let moved = Sides::from_fn(|side| base.modes[side].is_some_and(|was| was != modes[side]));
    let mut travel = |to: Side, mode| {
        if mode != modes[to] && !planted(Bug::ModeIsDropped) {
            plan.set[to] = Some(mode);
        }
    };
    match (policy, moved.source, moved.target) {
        (_, false, false) => {}
        (Policy::Master(from), _, _) => {
            let to = from.other();
            match base.modes[to] {
                Some(was) if !moved[from] => travel(to, was),
                _ => travel(to, modes[from]),
            }
        }
        (_, true, true) if source == target => {}
        (_, true, true) => plan.conflict = true,
        (_, true, false) => travel(Side::Target, source),
        (Policy::OneWay, false, true) => plan.drift = true,
        (Policy::TwoWay, false, true) => travel(Side::Source, target),
    }
    plan
}
