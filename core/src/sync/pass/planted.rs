//! What some deliberate faults do ([`crate::planted`]); nobody else needs it.

use super::context::Context;
use super::item::Item;
use crate::model::{Kind, Side, Sides};
use crate::reconcile::Verdict;
use crate::state::{BaselineRow, RowChange, SideRecord};
use crate::storage::{Expect, Expected};

/// The row of an item that is on its way, as if both sides had it.
pub(super) fn as_if_done(item: &Item) -> Option<RowChange> {
    let Verdict::Update { to, .. } = item.verdict else {
        return None;
    };
    let meta = item.node.found[to.other()].meta()?;
    let hash = item.node.hash(to.other());
    Some(RowChange::Put(BaselineRow {
        path: item.node.path.clone(),
        kind: meta.kind,
        hash: hash.filter(|_| meta.kind == Kind::File),
        link: meta.link.clone(),
        sides: Sides::new(SideRecord::of(meta), SideRecord::of(meta)),
    }))
}

/// What is on `side` now, whatever was decided about.
pub(super) async fn as_it_is(context: &Context, side: Side, item: &Item) -> Expect {
    match context.job.storages[side].stat(&item.node.path).await {
        Ok(Some(now)) => Expect::Is(Expected::of(&now, None)),
        _ => item.node.expect(side),
    }
}
