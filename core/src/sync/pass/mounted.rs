//! Folders that another file system is, or was, mounted at.

use super::Pass;
use super::node::{Found, Node};
use crate::model::{Kind, Side};
use crate::state::BaselineRow;
use crate::storage::{ErrorKind, StorageError};
use crate::sync::SyncError;

impl Pass {
    /// A folder that lies on another file system than when both sides agreed is unknown, with all that is in it.
    /// So is one that another file system was mounted at and that went away with it.
    /// If it is meant to be so, what is missing in it was never removed.
    pub(super) fn check_filesystem(&mut self, node: &mut Node) -> Result<(), SyncError> {
        let Some(base) = &node.base else {
            return Ok(());
        };
        if base.kind != Kind::Folder {
            return Ok(());
        }
        for side in Side::BOTH {
            let as_before = match &node.found[side] {
                Found::There(meta) => {
                    meta.kind != Kind::Folder || meta.token == base.sides[side].token
                }
                Found::Absent => !self.was_mounted(base, side)?,
                Found::Unknown | Found::LeftAlone | Found::NoFolder | Found::Special => true,
            };
            if as_before {
                continue;
            }
            if self.context.job.options.accept_new_filesystem {
                self.context.forget_tree(&node.path)?;
                self.accepted = Some(node.path.clone());
                node.base = None;
                return Ok(());
            }
            let error = StorageError::new(
                ErrorKind::Unavailable,
                "list",
                "another file system is mounted here than at the last run (or none any more); mount it, or run with \
                 --accept-new-filesystem if it is meant to be so",
            );
            self.context.tally().problem(
                &node.path,
                &error,
                self.context.job.storages[side].location(),
            );
            node.found[side] = Found::Unknown;
        }
        Ok(())
    }

    /// Whether the folder lay on another file system than the folder above it.
    fn was_mounted(&self, base: &BaselineRow, side: Side) -> Result<bool, SyncError> {
        let token = &base.sides[side].token;
        if token.as_str().is_empty() {
            return Ok(false);
        }
        let above = match base.path.parent().filter(|above| !above.is_root()) {
            Some(above) => self.context.state().row_at(&above)?,
            None => None,
        };
        Ok(above.is_none_or(|above| above.sides[side].token != *token))
    }
}
