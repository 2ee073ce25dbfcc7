//! Which sides changed something in a group, and whether that is a conflict.

use super::item::Item;
use super::node::is_creation;
use crate::model::report::TAKEN_WHOLE;
use crate::model::{Conflict, Side, Sides};
use crate::reconcile::{Conflicting, Policy, Verdict};
use crate::sync::groups::Group;

/// What only one side holds, and only because a run brought it there, goes where the other side changed the group: it has a state without
/// it. Whether that side changed nothing else is asked later. The source of a one-way run is never written to: there it stays, as what the
/// target changed does.
pub(super) fn give_way(items: &mut [Item], policy: Policy) {
    let arrived = |item: &Item| item.node.arrived().filter(|_| is_creation(item.verdict));
    let others = items.iter().filter(|item| arrived(item).is_none());
    let changed = changes(others);
    for item in items {
        if let Some(on) = arrived(item).filter(|on| changed[on.other()]) {
            item.verdict = match (policy, on) {
                (Policy::OneWay, Side::Source) => Verdict::Drift,
                _ => Verdict::Remove { on },
            };
        }
    }
}

/// Which sides changed something.
fn changes<'i>(items: impl Iterator<Item = &'i Item>) -> Sides<bool> {
    let mut changed = Sides::new(false, false);
    for item in items {
        match item.verdict {
            Verdict::Update { to, modes } => {
                changed[to.other()] = true;
                // That the other side removed it changes nothing: the edit wins, and with it all that this side holds.
                changed[to] |= modes.conflict;
            }
            Verdict::Remove { on } => changed[on.other()] = true,
            Verdict::Retype { from } => changed[from] = true,
            Verdict::Agreed(plan) => {
                Side::BOTH
                    .iter()
                    .for_each(|&side| changed[side] |= plan.set[side.other()].is_some());
            }
            Verdict::Drift => changed.target = true,
            Verdict::Conflict(_)
            | Verdict::Nothing
            | Verdict::Forget
            | Verdict::Read(_)
            | Verdict::Wait => {}
        }
    }
    changed
}

/// The group's conflict, if both sides changed something in it, or something is in conflict.
pub(super) fn conflict<'i>(
    group: &Group,
    items: impl Iterator<Item = &'i Item> + Clone,
    policy: Policy,
) -> Option<Conflict> {
    if matches!(policy, Policy::Master(_)) {
        return None;
    }
    let changed = changes(items.clone());
    let clashes = |item: &&Item| matches!(item.verdict, Verdict::Conflict(_));
    let clash = items.clone().find(clashes);
    if clash.is_none() && !(changed.source && changed.target) {
        return None;
    }
    let there = |item: &&Item| {
        Side::BOTH
            .iter()
            .any(|&side| item.node.found[side].meta().is_some())
    };
    let at_path = items.clone().find(|item| item.node.path == group.path);
    let shown = at_path
        .filter(there)
        .or(clash)
        .or(items.clone().find(there))?;
    let mut conflict = shown.node.conflict(Conflicting::Content);
    // What lies beside a folder is told by itself.
    let told = at_path.map_or(&shown.node.path, |_| &group.path);
    conflict.path = told.as_str().to_owned();
    conflict.reason = match clash {
        Some(item) if item.node.path != group.path => format!(
            "both sides changed {}, {TAKEN_WHOLE} (first: {})",
            group.what(),
            item.node.path
        ),
        _ => format!("both sides changed {}, {TAKEN_WHOLE}", group.what()),
    };
    Some(conflict)
}
