//! Real servers that tests start by themselves: on 127.0.0.1, on a free port, without root and without a download.
//!
//! - [`s3`]: an in-memory S3 server with real signatures and real conditions.
//! - [`faults`]: what can be made to go wrong between a client and a server of ours, and proof that it did.
//! - [`record`]: what a server was asked.
//!
//! Every server ends when it is dropped. Each has a runtime of its own, so that it answers whatever the test's runtime does:
//! `start().await` and `start_blocking()` differ in their spelling only.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this is test code: to stop with the reason is its purpose"
)]

pub mod faults;
mod http;
pub mod record;
pub mod s3;
