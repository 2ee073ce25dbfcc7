//! What tests of backends and syncers are made of; behind the feature `testing`.
//!
//! - [`conformance`]: the contract of [`crate::storage`] as code. Every promise is a function that tries to break it;
//!   [`conformance_tests!`](crate::conformance_tests) makes a test of each.
//! - [`Faults`]: fails the calls that are planned, and says whether every planned fault fired.
//! - [`Recording`]: counts what a storage was asked to do.
//! - [`Strict`]: panics when a caller breaks its side of the contract.
//! - [`Machine`] and [`MemoryStates`]: clock, dice and baselines that depend on nothing but the test.
//! - [`Tree`] and [`tree!`](crate::tree): whole storages as literals.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this is test code: to stop with the reason is its purpose"
)]

pub mod conformance;
mod faulty;
mod observed;
mod observer;
mod recording;
mod strict;
mod tree;

pub use crate::machine::{InPlace, Machine};
pub use crate::state::MemoryStates;
pub use faulty::{Fault, Faults, When};
pub use observed::observe;
pub use observer::{Call, Observer, Operation};
pub use recording::Recording;
pub use strict::Strict;
pub use tree::{Node, Tree};
