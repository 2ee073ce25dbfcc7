//! Words, contracts and decisions of wl.
//!
//! [`model`] and [`reconcile`] are pure: no async, no I/O, no clock. [`storage`] is the contract with backends, [`sync`] the
//! contract with syncers and the pass they share, [`state`] the baseline on disk, [`plugin`] the registry. [`filter`] says what is
//! left out; it is pure too.

pub mod filter;
mod machine;
pub mod model;
pub mod planted;
pub mod plugin;
pub mod reconcile;
pub mod state;
pub mod storage;
pub mod sync;
#[cfg(feature = "testing")]
pub mod testing;
