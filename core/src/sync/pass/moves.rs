//! Folders that got another name on one side: one rename on the other, however much is in them.
//!
//! The outcome is that of removing the old folder and making the new one, so it is done only where the other side holds what was agreed on, all of
//! it and nothing else. Where that is not so, or the storage cannot, the paths are decided one by one as ever.

use super::agreed::Agreed;
use super::context::Context;
use super::ground::request;
use super::publish::flush;
use crate::model::{Kind, Side, SyncPath};
use crate::planted::{Bug, planted};
use crate::state::FolderMove;
use crate::storage::{ErrorKind, Row, Scope, StorageBackend};
use crate::sync::SyncError;

/// Renames the folder on the other side too, and says whether that was done.
pub(in crate::sync) async fn follow(
    context: &Context,
    moved: &FolderMove,
) -> Result<bool, SyncError> {
    let FolderMove { from, to, on, id } = moved;
    // Nobody is told meanwhile that both are in sync.
    context.job.progress.stir();
    let Ok(session) = context.session(*on) else {
        return Ok(false);
    };
    if !context.job.storages[*on].capabilities().rename || !is_as_agreed(context, *on, from).await?
    {
        return Ok(false);
    }
    // From here on until the record of it the baseline has the folder under a name that may be gone.
    if !planted(Bug::MoveIsNotAnnounced) {
        context.state().begin_move(moved)?;
    }
    if let Err(error) = session.rename_folder(from, *id, to).await {
        tracing::debug!(%error, "a folder was not renamed");
        // Or it was, and only the answer was lost.
        if !is_done(&*context.job.storages[*on], moved).await? {
            context.state().end_move(moved, false)?;
            return Ok(false);
        }
    }
    context.tally().changes[*on].renamed += 1;
    flush(context).await?;
    context.state().end_move(moved, true)?;
    Ok(true)
}

/// Whether the folder is where it was to be renamed to.
///
/// `Err`: the storage cannot tell now. Where only the path cannot be looked at it is not known to be done: the paths are decided one by
/// one, as ever.
pub(in crate::sync) async fn is_done(
    storage: &dyn StorageBackend,
    moved: &FolderMove,
) -> Result<bool, SyncError> {
    Ok(is_at(storage, moved, &moved.to).await? && !is_at(storage, moved, &moved.from).await?)
}

async fn is_at(
    storage: &dyn StorageBackend,
    moved: &FolderMove,
    path: &SyncPath,
) -> Result<bool, SyncError> {
    match storage.stat(path).await {
        Ok(meta) => Ok(
            meta.is_some_and(|meta| meta.kind == Kind::Folder && meta.file_id == Some(moved.id))
        ),
        Err(error)
            if error.kind().is_of_storage()
                || matches!(error.kind(), ErrorKind::Temporary | ErrorKind::Cancelled) =>
        {
            Err(error.on(storage.location()).into())
        }
        Err(_) => Ok(false),
    }
}

/// Whether all that `side` holds at and below `path` is what was agreed on, and nothing of that is missing.
async fn is_as_agreed(context: &Context, side: Side, path: &SyncPath) -> Result<bool, SyncError> {
    if context.job.options.checksum {
        return Ok(false);
    }
    let mut agreed = Agreed::below(path);
    let scope = Scope::Subtrees(vec![path.clone()]);
    let storage = &context.job.storages[side];
    let mut listing = storage.list(request(context, scope)).await?;
    while let Some(rows) = listing.next().await? {
        for row in rows {
            let Row::Present(entry) = row else {
                return Ok(false);
            };
            match agreed.next(context)? {
                // What is too young to be sure of moves along and is read there.
                Some(base) if base.path == entry.path && base.looks_like(side, &entry.meta) => {}
                _ => return Ok(false),
            }
        }
    }
    Ok(agreed.next(context)?.is_none())
}
