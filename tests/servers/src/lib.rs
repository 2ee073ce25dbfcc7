//! Real servers that tests start by themselves: on 127.0.0.1, on a free port, without root and without a download.
//!
//! - [`s3`]: an in-memory S3 server with real signatures and real conditions.
//! - [`webdav`]: an in-memory WebDAV server with locks.
//! - [`sftp`]: the `sshd` of the system, for the user who runs the test.
//! - [`faults`]: what can be made to go wrong between a client and a server of ours, and proof that it did.
//! - [`record`]: what a server was asked.
//! - [`services`]: servers of others, for benchmarks and for their odd behaviour.
//! - [`process`]: child processes that end with their handle.
//! - [`sign`]: requests to S3 by hand.
//!
//! Every server ends when it is dropped. Each of ours has a runtime of its own, so that it answers whatever the test's runtime
//! does: `start().await` and `start_blocking()` differ in their spelling only.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this is test code: to stop with the reason is its purpose"
)]

pub mod faults;
mod http;
pub mod process;
pub mod record;
pub mod s3;
pub mod services;
pub mod sftp;
pub mod sign;
pub mod webdav;
