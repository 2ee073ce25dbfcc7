//! What a store can be told to be unable to do.

use serde::Deserialize;
use wl_core::storage::{Capabilities, CasGrade, ListOrder};

/// The settings of a store. The default can do everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct MemorySettings {
    /// `a` and `A` are the same name.
    pub folds_case: bool,
    /// Keeps folders that hold nothing. If not, folders come with their first file and go with their last.
    pub empty_folders: bool,
    /// Keeps permission bits.
    pub modes: bool,
    /// Keeps symbolic links.
    pub links: bool,
    /// Nothing may be written.
    pub read_only: bool,
    /// A listing proves nothing: it may be stale.
    #[serde(skip)]
    pub stale_listings: bool,
    /// Every so many changes of the store share one token, which is unsettled until the next. 1: every change has its own.
    #[serde(skip)]
    pub changes_per_token: u64,
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self {
            folds_case: false,
            empty_folders: true,
            modes: true,
            links: true,
            read_only: false,
            stale_listings: false,
            changes_per_token: 1,
        }
    }
}

impl MemorySettings {
    /// The settings with `folds_case` as given.
    #[must_use]
    pub fn folds_case(self, folds_case: bool) -> Self {
        Self { folds_case, ..self }
    }

    /// The settings with `empty_folders` as given.
    #[must_use]
    pub fn empty_folders(self, empty_folders: bool) -> Self {
        Self {
            empty_folders,
            ..self
        }
    }

    /// The settings with `modes` as given.
    #[must_use]
    pub fn modes(self, modes: bool) -> Self {
        Self { modes, ..self }
    }

    /// The settings with `links` as given.
    #[must_use]
    pub fn links(self, links: bool) -> Self {
        Self { links, ..self }
    }

    /// The settings with `read_only` as given.
    #[must_use]
    pub fn read_only(self, read_only: bool) -> Self {
        Self { read_only, ..self }
    }

    /// The settings with `stale_listings` as given.
    #[must_use]
    pub fn stale_listings(self, stale_listings: bool) -> Self {
        Self {
            stale_listings,
            ..self
        }
    }

    /// The settings with so many changes to a token (at least 1).
    #[must_use]
    pub fn changes_per_token(self, changes: u64) -> Self {
        Self {
            changes_per_token: changes.max(1),
            ..self
        }
    }

    pub(super) fn capabilities(self) -> Capabilities {
        Capabilities {
            cas: CasGrade::Atomic,
            list_order: ListOrder::Key,
            listing_proves_absence: !self.stale_listings,
            empty_folders: self.empty_folders,
            links: self.links,
            modes: self.modes,
            mtime_resolution: Some(1),
            rename: true,
            trash: true,
            folds_case: self.folds_case,
            stages: true,
            writable: !self.read_only,
        }
    }
}
