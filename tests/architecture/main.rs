//! The architecture as tests: docs/architecture.md says it for people, these say it for the machine.
//!
//! Each rule is a function of paths and texts that returns what violates it, with a test that it finds a planted violation.

#![allow(clippy::unwrap_used, reason = "all of this is test code")]

mod code;
mod dependencies;
mod files;
mod plugins;
mod purity;
mod workspace;
