//! Which syncer does a job.

use super::{Registry, SyncerPlugin};
use crate::sync::Needs;

/// No syncer can do the job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no syncer can sync `{source_type}` to `{target_type}` {needs}; the syncers are: {known}")]
pub struct SelectError {
    source_type: String,
    target_type: String,
    needs: String,
    known: String,
}

/// How many of the two types are accepted only by `"*"`; `None` if one is not accepted.
fn wildcards(syncer: &SyncerPlugin, source: &str, target: &str) -> Option<usize> {
    let accepts = |types: &[&str], wanted: &str| {
        if types.contains(&wanted) {
            Some(0)
        } else if types.contains(&"*") {
            Some(1)
        } else {
            None
        }
    };
    Some(accepts(syncer.source_types, source)? + accepts(syncer.target_types, target)?)
}

impl Registry {
    /// The syncer for a job: of those that can do what it needs and accept both types the one with the fewest `"*"`; ties go
    /// by name.
    pub fn select_syncer(
        &self,
        source_type: &str,
        target_type: &str,
        needs: Needs,
    ) -> Result<&SyncerPlugin, SelectError> {
        self.syncers
            .iter()
            .filter(|syncer| syncer.can(needs))
            .filter_map(|syncer| Some((wildcards(syncer, source_type, target_type)?, syncer)))
            .min_by_key(|(wildcards, syncer)| (*wildcards, syncer.name))
            .map(|(_, syncer)| syncer)
            .ok_or_else(|| SelectError {
                source_type: source_type.to_owned(),
                target_type: target_type.to_owned(),
                needs: needs.to_string(),
                known: self
                    .syncers
                    .iter()
                    .map(|s| s.name)
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }
}
