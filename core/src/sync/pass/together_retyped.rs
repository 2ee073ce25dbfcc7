//! A database that becomes a folder: what lies beside it is no group any more.

use super::Pass;
use super::node::Node;
use super::together::Stop;
use crate::model::{Conflict, Side, SyncPath};
use crate::storage::{ErrorKind, StorageError};
use crate::sync::SyncError;
use crate::sync::groups::Group;

impl Pass {
    /// The side on which the database gives way to a folder in this pass: that is no step of its group's.
    pub(super) fn retypes(
        &self,
        group: &Group,
        on: Option<Side>,
    ) -> Result<Option<Side>, SyncError> {
        let written = |side: &Side| self.context.sessions[*side].is_some();
        let Some(side) = on.filter(written) else {
            return Ok(None);
        };
        let happen = self.context.state().groups(None)?;
        let is_it = |(_, report): &(Side, Conflict)| report.path == group.path.as_str();
        Ok(happen.iter().any(is_it).then_some(side))
    }

    /// What lies beside a folder is no group: the next pass decides at each path by itself.
    pub(super) fn decide_apart(&self, found: &Conflict) -> Stop {
        if let (Ok(path), false) = (
            SyncPath::new(&*found.path),
            self.context.job.options.dry_run,
        ) {
            let reason = "what it lies beside became a folder";
            let error = StorageError::new(ErrorKind::Changed, "sync", reason);
            self.context.tally().unfinished(&path, &error, "");
        }
        Stop::Told
    }
}

/// The side whose database is to give way to the other side's folder.
pub(super) fn gives_way(group: &Group, nodes: &[Node]) -> Option<Side> {
    let database = nodes.iter().find(|node| node.path == group.path)?;
    let from = database.retyped()?;
    database.found[from].is_folder().then(|| from.other())
}
