//! Content that the storages copy among themselves: it is neither read nor staged here.
//!
//! What was never read has no SHA-256. It is known as the copy of a version ([`ContentHash::by_copy`]): an edit is a new version, so
//! it shows; a version that was only touched is copied once more, which is cheap. Where more than that has to be known, because both
//! sides changed or one was removed, or because the token of what was copied was too young to be believed, the content is read like any other.

use super::context::Context;
use super::item::Item;
use super::work::{in_progress, is_copied, staged};
use crate::model::{ContentHash, Kind, Meta, Side, Sides};
use crate::reconcile::Verdict;
use crate::storage::{CopyFrom, ErrorKind, Payload};

fn file(item: &Item, side: Side) -> Option<&Meta> {
    let meta = item.node.found[side].meta()?;
    (meta.kind == Kind::File).then_some(meta)
}

/// Whether the content travels to `to` by itself.
pub(super) fn travels(context: &Context, item: &Item, to: Side) -> bool {
    context.copies[to].is_some()
        && is_copied(item)
        && !item.passes
        && file(item, to.other()).is_some()
}

/// Names versions that differ from the baseline on one side only, instead of reading them.
pub(super) fn name_versions(context: &Context, items: &mut [Item]) {
    for item in items.iter_mut().filter(|item| in_progress(item)) {
        let Verdict::Read(sides) = item.verdict else {
            continue;
        };
        let Some(side) = Side::BOTH
            .into_iter()
            .find(|&side| sides[side] && !sides[side.other()])
        else {
            continue;
        };
        let (Some(base), Some(meta), Some(_)) =
            (&item.node.base, file(item, side), file(item, side.other()))
        else {
            continue;
        };
        if base.sides[side].token == meta.token {
            // By a token that was too young to tell. As a new version it would be copied back, which makes another one on the other side,
            // and so on: it has to be compared, with the other side where nobody ever read what was agreed on.
            if base.hash.is_some_and(|hash| hash.is_by_copy()) {
                item.verdict = Verdict::Read(Sides::new(true, true));
            }
            continue;
        }
        if travels(context, item, side.other())
            && let Some(version) = version(context, item, side)
        {
            item.node.hashes[side] = Some(version);
            item.verdict = item.node.decide(item.policy);
        }
    }
}

/// The version that `side` holds, as a copy of it is known.
fn version(context: &Context, item: &Item, side: Side) -> Option<ContentHash> {
    let meta = file(item, side)?;
    let storage = context.job.storages[side].identity();
    // A token that says nothing yet names no version.
    meta.settled
        .then(|| ContentHash::by_copy(storage, &item.node.path, &meta.token))
}

/// Stages copies.
pub(super) async fn stage_copies(context: &Context, items: &mut [Item]) {
    for item in items.iter_mut().filter(|item| in_progress(item)) {
        let Verdict::Update { to, .. } = item.verdict else {
            continue;
        };
        let from = to.other();
        if !travels(context, item, to) {
            continue;
        }
        let (Some(source), Some(meta)) = (context.copies[to].clone(), file(item, from).cloned())
        else {
            continue;
        };
        // By a token that another version may have, too, nobody knows which one is copied.
        if !meta.settled {
            continue;
        }
        if item.node.hash(from).is_none() {
            item.node.hashes[from] = version(context, item, from);
        }
        // A version that cannot be named is read like any other.
        let Some(hash) = item.node.hash(from) else {
            continue;
        };
        let payload = Payload::Bytes(bytes::Bytes::new());
        let Some(mut request) = super::work::stage_request(item, to, payload) else {
            continue;
        };
        request.hash = hash;
        let copy = CopyFrom {
            source,
            path: item.node.path.clone(),
            meta,
        };
        let result = match context.session(to) {
            Ok(session) => session.stage_copy(request, copy).await,
            Err(error) => Err(error),
        };
        // This one cannot be copied (too large, say): it is read like any other.
        if !result
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::Unsupported)
        {
            item.progressed = staged(to, result);
            item.travels = true;
        }
    }
}
