//! What was read and did not become agreed on is not read again while its token stays: a conflict is looked at by every pass.

use super::context::Context;
use super::item::{Item, Progressed};
use super::node::Node;
use super::work::in_progress;
use crate::model::{ContentHash, Kind, Meta, Side};
use crate::reconcile::Verdict;
use crate::sync::SyncError;

/// A file whose token proves its content.
fn settled_file(node: &Node, side: Side) -> Option<&Meta> {
    let meta = node.found[side].meta()?;
    (meta.kind == Kind::File && meta.settled).then_some(meta)
}

/// The content of `side`, if an earlier pass read it.
pub(super) fn recalled(context: &Context, node: &Node, side: Side) -> Option<ContentHash> {
    if !context.has_learnt {
        return None;
    }
    let token = &settled_file(node, side)?.token;
    // It only saves reading: without it the file is read.
    let learnt = context.state().learnt(&node.path, side, token);
    learnt.ok().flatten()
}

/// Decides with what earlier passes read, as far as that goes.
pub(super) fn recall(context: &Context, items: &mut [Item]) {
    for item in items.iter_mut().filter(|item| in_progress(item)) {
        while let Verdict::Read(sides) = item.verdict {
            let mut nothing_new = true;
            for side in Side::BOTH.into_iter().filter(|&side| sides[side]) {
                if let Some(hash) = recalled(context, &item.node, side) {
                    item.node.hashes[side] = Some(hash);
                    nothing_new = false;
                }
            }
            if nothing_new {
                break;
            }
            item.verdict = item.node.decide(item.policy);
        }
    }
}

/// Notes what was read of a path for which the baseline gets no row in this pass.
pub(super) fn remember(context: &Context, item: &Item) -> Result<(), SyncError> {
    let undecided = matches!(
        item.verdict,
        Verdict::Conflict(_)
            | Verdict::Drift
            | Verdict::Wait
            | Verdict::Read(_)
            // What lies below may keep it from happening, and one-way it may be the target's own affair.
            | Verdict::Retype { .. }
    );
    let failed = matches!(item.progressed, Progressed::Failed(..));
    let decided_only = !super::work::is_copied(item);
    if !undecided && !failed && !decided_only {
        return Ok(());
    }
    for side in Side::BOTH {
        let hash = item.node.hashes[side].filter(|hash| !hash.is_by_copy());
        if let (Some(hash), Some(meta)) = (hash, settled_file(&item.node, side)) {
            let state = context.state();
            state.learn(&item.node.path, side, &meta.token, &hash)?;
        }
    }
    Ok(())
}
