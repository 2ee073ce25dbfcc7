//! How much may be asked of a storage.

use std::num::{NonZeroU32, NonZeroU64};

/// Limits that the user set. A storage on this machine takes no notice of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of content a second, each way; `None`: no limit.
    pub bytes_per_second: Option<NonZeroU64>,
    /// Requests a second; `None`: no limit.
    pub requests_per_second: Option<NonZeroU32>,
}
