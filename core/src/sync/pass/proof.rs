//! Proof of absence where a listing is none: a look at every path whose removal rests on a listing that may be stale or cut short
//! without saying so.

use futures::{FutureExt, StreamExt};

use super::Pass;
use super::context::Context;
use super::finish::Pages;
use super::item::{Item, Progressed};
use super::work::in_progress;
use crate::model::{Kind, Side};
use crate::planted::{Bug, planted};
use crate::reconcile::Verdict;
use crate::state::{GroupEnd, Pending, PendingStage};
use crate::storage::{ErrorKind, StorageError};
use crate::sync::SyncError;

/// Looks at once.
const LOOKS_AT_ONCE: usize = 32;

impl Pass {
    /// Drops the removals whose reason does not hold: the listing did not show what a look finds.
    pub(super) async fn prove_absences(&self) -> Result<(), SyncError> {
        let context = &*self.context;
        let doubtful = |side: &Side| {
            let storage = &context.job.storages[side.other()];
            !storage.capabilities().listing_proves_absence
        };
        if !Side::BOTH.iter().any(doubtful) || planted(Bug::AbsenceIsNotProven) {
            return Ok(());
        }
        for stage in [
            PendingStage::RemoveFiles,
            PendingStage::RemoveFolders,
            PendingStage::RemoveTogether,
        ] {
            let mut pages = Pages::of(stage);
            while let Some(mut page) = pages.next(context)? {
                page.retain(|removal| doubtful(&removal.side) && is_for_absence(removal));
                let looks = page.iter().map(|removal| look(context, removal).boxed());
                let looks: Vec<_> = looks.collect();
                let looks = futures::stream::iter(looks).buffered(LOOKS_AT_ONCE);
                let errors: Vec<_> = looks.collect().await;
                for (removal, error) in page.iter().zip(errors) {
                    if let Some(error) = error {
                        keep(context, removal, &error)?;
                    }
                }
            }
        }
        context.state().drop_ended_groups()?;
        Ok(())
    }
}

/// Links are carried over as a listing tells them, and nobody reads them. Where that listing may be stale it may tell of one that is no
/// more, which must not take the place of the one there is.
pub(super) async fn look_at_links(context: &Context, items: &mut [Item]) {
    for item in items.iter_mut().filter(|item| in_progress(item)) {
        let Verdict::Update { to, .. } = item.verdict else {
            continue;
        };
        let from = to.other();
        let storage = &context.job.storages[from];
        let Some(listed) = item.node.found[from].meta() else {
            continue;
        };
        if listed.kind != Kind::Link || storage.capabilities().listing_proves_absence {
            continue;
        }
        let error = match storage.stat(&item.node.path).await {
            Ok(Some(now)) if now.kind == Kind::Link && now.link == listed.link => continue,
            Ok(_) => StorageError::new(
                ErrorKind::Busy,
                "look",
                "the link changed since it was listed",
            ),
            Err(error) => error,
        };
        item.progressed = Progressed::Failed(from, error);
    }
}

/// At the top of a change of type the other side does hold something: of the other type.
fn is_for_absence(removal: &Pending) -> bool {
    removal.group.as_ref() != Some(&removal.path)
}

/// Why the removal must not be carried out; `None` if nothing is there.
async fn look(context: &Context, removal: &Pending) -> Option<StorageError> {
    let storage = &context.job.storages[removal.side.other()];
    // Nothing is below a file, and some servers answer such a question oddly. Where folders are only implied, both can be there.
    if let Some(group) = &removal.group
        && storage.capabilities().empty_folders
        && let Ok(Some(meta)) = storage.stat(group).await
        && meta.kind != Kind::Folder
    {
        return None;
    }
    match storage.stat(&removal.path).await {
        Ok(None) => None,
        Ok(Some(_)) => {
            let error = StorageError::new(
                ErrorKind::Changed,
                "list",
                "the listing did not show it, a look at it did: nothing was removed; run again when the storage's listings are up to date",
            );
            Some(error.at(&removal.path).on(storage.location()))
        }
        Err(error) => Some(error),
    }
}

fn keep(context: &Context, removal: &Pending, error: &StorageError) -> Result<(), SyncError> {
    context.file_error(removal.side.other(), &removal.path, error);
    let state = context.state();
    state.drop_pending(removal.id)?;
    state.keep_folders(&removal.path)?;
    if let Some(group) = &removal.group {
        state.end_group(group, GroupEnd::Wait)?;
    }
    Ok(())
}
