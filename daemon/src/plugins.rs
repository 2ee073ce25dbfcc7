//! The one place that names the plug-in crates. A crate that is not linked registers nothing.

use wl_backends as _;
#[cfg(test)]
pub(crate) use wl_backends::memory;
use wl_core::plugin::{Registry, RegistryError};
use wl_syncers as _;

/// Every plug-in that is linked into this program.
pub fn registry() -> Result<Registry, RegistryError> {
    Registry::linked()
}
