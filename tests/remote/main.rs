//! Whole runs between local folders and real servers that misbehave: S3, WebDAV and SFTP, in this process and with the built `wl`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

mod binary;
mod changing;
mod histories;
mod killed;
mod lying;
mod metadata;
mod odd;
mod order;
mod places;
mod requests;
mod rivals;
mod said;
mod sftp;
mod trouble;
mod world;

use wl_test_trees::folders as trees;
