//! Which new files may be moves: they wait until all removals are known.

use std::collections::BTreeSet;

use super::context::Context;
use super::gives_up::Trait;
use super::ground::request;
use super::item::{Item, Progressed};
use super::work::is_copied;
use crate::model::{Kind, Side, SyncPath};
use crate::reconcile::Verdict;
use crate::state::BaselineRow;
use crate::storage::{Result, Row, Scope};
use crate::sync::SyncError;

/// A new file whose content the baseline knows at other paths.
struct Known {
    index: usize,
    from: Side,
    /// Those of them that this pass may give up.
    rows: Vec<BaselineRow>,
    /// There are more than were asked for.
    more: bool,
}

/// A new file whose content the baseline knows under another path may be a move, if that path may be given up.
pub(super) async fn set_moves_aside(
    context: &Context,
    items: &mut [Item],
) -> std::result::Result<(), SyncError> {
    if !context.may_move() {
        return Ok(());
    }
    let mut known = known_elsewhere(context, items)?;
    if context.gives_up.is_at_places() {
        for side in Side::BOTH {
            let there = those_still_there(context, side, &known).await;
            for one in known.iter_mut().filter(|one| one.from == side) {
                one.rows.retain(|row| !there.contains(&row.path));
            }
        }
    }
    for one in known {
        if one.more || !one.rows.is_empty() {
            items[one.index].contents = Default::default();
            items[one.index].progressed = Progressed::MaybeMoved;
        }
    }
    Ok(())
}

fn known_elsewhere(
    context: &Context,
    items: &mut [Item],
) -> std::result::Result<Vec<Known>, SyncError> {
    let most = context.places_of_content();
    let state = context.state();
    let _reading = state.reading()?;
    let mut all = Vec::new();
    for (index, item) in items.iter_mut().enumerate() {
        let Verdict::Update { to, .. } = item.verdict else {
            continue;
        };
        let movable = matches!(item.progressed, Progressed::Decided | Progressed::Staged(_));
        if !movable || !is_copied(item) || item.not_moved || item.node.base.is_some() {
            continue;
        }
        if item.node.found[to].meta().is_some() {
            continue;
        }
        let from = to.other();
        let Some(hash) = item.node.hash(from) else {
            continue;
        };
        item.not_moved = true;
        let content = Trait::Content(hash);
        if !context.gives_up.may_have(&state, &content)? {
            continue;
        }
        let mut rows = state.rows_with_hash(&hash, most)?;
        let more = rows.len() == most as usize;
        rows.retain(|row| context.gives_up.holds(&row.path));
        if more || !rows.is_empty() {
            all.push(Known {
                index,
                from,
                rows,
                more,
            });
        }
    }
    Ok(all)
}

/// Where `side` holds what was agreed on: nothing was moved from there. It is looked at only where that costs next to nothing.
async fn those_still_there(context: &Context, side: Side, known: &[Known]) -> BTreeSet<SyncPath> {
    let of_side = known.iter().filter(|one| one.from == side && !one.more);
    let rows: Vec<_> = of_side.flat_map(|one| &one.rows).collect();
    let cheap = context.job.storages[side]
        .capabilities()
        .listing_proves_absence;
    if !cheap || rows.is_empty() {
        return BTreeSet::new();
    }
    let paths: BTreeSet<_> = rows.iter().map(|row| row.path.clone()).collect();
    // Whoever cannot be looked at may be gone.
    let Ok(found) = rows_at(context, side, paths.into_iter().collect()).await else {
        return BTreeSet::new();
    };
    let is_file = |found: Row| match found {
        Row::Present(entry) if entry.meta.kind == Kind::File => Some(entry.path),
        _ => None,
    };
    found.into_iter().filter_map(is_file).collect()
}

async fn rows_at(context: &Context, side: Side, paths: Vec<SyncPath>) -> Result<Vec<Row>> {
    let request = request(context, Scope::Paths(paths));
    let mut listing = context.job.storages[side].list(request).await?;
    let mut rows = Vec::new();
    while let Some(mut batch) = listing.next().await? {
        rows.append(&mut batch);
    }
    Ok(rows)
}
