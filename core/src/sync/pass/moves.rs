//! Folders that got another name on one side: one rename on the other, however much is in them.
//!
//! The outcome is that of removing the old folder and making the new one, so it is done only where the other side holds what was agreed on, all of
//! it and nothing else. Where that is not so, or the storage cannot, the paths are decided one by one as ever.

use super::agreed::Agreed;
use super::context::Context;
use super::ground::request;
use super::publish::flush;
use crate::model::{FileId, Side, SyncPath};
use crate::storage::{Row, Scope};
use crate::sync::SyncError;

/// A folder that one side renamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sync) struct FolderMove {
    pub(in crate::sync) from: SyncPath,
    pub(in crate::sync) to: SyncPath,
    /// The side that has it at the old path.
    pub(in crate::sync) on: Side,
    /// The folder there.
    pub(in crate::sync) id: FileId,
}

/// Renames the folder on the other side too, and says whether that was done.
pub(in crate::sync) async fn follow(
    context: &Context,
    moved: &FolderMove,
) -> Result<bool, SyncError> {
    let FolderMove { from, to, on, id } = moved;
    let Ok(session) = context.session(*on) else {
        return Ok(false);
    };
    if !context.job.storages[*on].capabilities().rename || !is_as_agreed(context, *on, from).await?
    {
        return Ok(false);
    }
    if let Err(error) = session.rename_folder(from, *id, to).await {
        tracing::debug!(%error, "what is in the folder is moved instead");
        return Ok(false);
    }
    context.tally().changes[*on].renamed += 1;
    flush(context).await?;
    context.state().move_tree(from, to)?;
    Ok(true)
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
                Some(base) if base.path == entry.path && base.is_on(side, &entry.meta) => {}
                _ => return Ok(false),
            }
        }
    }
    Ok(agreed.next(context)?.is_none())
}
