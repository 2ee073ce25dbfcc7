//! Opens what is known of a pair of storages, with its lock.

use super::guard::{check_pair, check_roots, root_changes, root_markers};
use super::{SyncError, SyncJob, pass};
use crate::model::{Conflict, Sides};
use crate::planted::{Bug, planted};
use crate::state::PairState;
use crate::storage::RootMarker;

/// A pair whose lock is held, with the storages that belong to it.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) state: PairState,
    /// What is behind the roots.
    pub(super) markers: Sides<RootMarker>,
    /// Other roots were accepted: the baseline speaks of those that are gone.
    pub(super) of_others: bool,
}

impl Opened {
    /// Takes the lock, refuses what must not be worked on, and ends what an earlier run left in the middle. A dry run is a rehearsal
    /// from here on.
    pub(super) async fn open(job: &SyncJob) -> Result<Self, SyncError> {
        check_pair(job).await?;
        let markers = root_markers(job).await?;
        let mut state = PairState::open(&job.state_dir, identities(job))?;
        state.read_announced(markers.as_ref().map(|marker| marker.start.clone()));
        let changes = root_changes(&state, &markers)?;
        let has_baseline = !state.is_empty()? || state.has_sure_arrivals();
        let of_others = check_roots(job, changes, has_baseline).await?;
        if job.options.dry_run {
            state.begin_rehearsal()?;
        }
        let mut this = Self {
            state,
            markers,
            of_others,
        };
        this.settle_move(job).await?;
        Ok(this)
    }

    /// The rename of a folder that a run did not live to record: the baseline follows it now, if it was done.
    async fn settle_move(&mut self, job: &SyncJob) -> Result<(), SyncError> {
        // What is known of other roots is forgotten, with this.
        let Some(moved) = self.state.move_under_way()?.filter(|_| !self.of_others) else {
            return Ok(());
        };
        // An older wl, which knows nothing of this, may have decided the paths one by one meanwhile.
        let is_known = self.state.row_at(&moved.from)?.is_some();
        let done = !planted(Bug::MoveIsNotRecovered)
            && is_known
            && pass::is_move_done(&*job.storages[moved.on], &moved).await?;
        tracing::debug!(?moved, done, "a rename that was under way");
        Ok(self.state.end_move(&moved, done)?)
    }

    /// Whether nothing is known of the pair yet.
    pub(super) fn is_new(&self) -> Result<bool, SyncError> {
        Ok(self.state.is_empty()?)
    }

    /// Whether what is known is worth nothing for a look at some places.
    pub(super) fn needs_all(&self) -> Result<bool, SyncError> {
        Ok(self.of_others || self.is_new()?)
    }
}

/// The conflicts that the last pass over the pair left open.
pub fn stored_conflicts(job: &SyncJob) -> Result<Vec<Conflict>, SyncError> {
    Ok(match PairState::peek(&job.state_dir, identities(job))? {
        Some(state) => state.conflicts()?,
        None => Vec::new(),
    })
}

pub(super) fn identities(job: &SyncJob) -> Sides<&str> {
    job.storages.as_ref().map(|storage| storage.identity())
}
