//! Permission bits.

use serde::{Deserialize, Serialize};

/// The permission bits that travel: `0o777` and no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mode(u16);

impl Mode {
    /// The permission bits of `bits`; set-user-id, set-group-id and sticky are dropped.
    pub fn new(bits: u32) -> Self {
        Self((bits & 0o777) as u16)
    }

    /// The bits.
    pub fn bits(self) -> u32 {
        u32::from(self.0)
    }
}
