//! Whole runs between local folders and real servers that misbehave: S3, WebDAV and SFTP, in this process and with the built `wl`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

// The oracle is shared with a suite that sees the core itself.
extern crate wl_daemon as wl_core;

mod binary;
mod changing;
mod histories;
mod killed;
mod lying;
mod metadata;
mod odd;
#[path = "../sync/oracle.rs"]
mod oracle;
mod places;
mod requests;
mod rivals;
mod said;
mod sftp;
#[path = "../real/trees.rs"]
mod trees;
mod trouble;
mod world;
