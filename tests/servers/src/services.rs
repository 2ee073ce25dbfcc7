//! Servers of others: what users have. They are for benchmarks and for odd behaviour, not for `cargo test`.
//!
//! `cargo xtask services install` installs them. Each has its own folder and ports, answers a real request before it is handed
//! out, and ends when it is dropped.

mod cloud;
mod ftp;
mod s3;
mod webdav;

pub use cloud::{Azurite, FakeGcs};
pub use ftp::Vsftpd;
pub use s3::{S3Service, rclone_s3, seaweedfs};
pub use webdav::{WebDavService, apache, rclone_webdav};

/// How to install what is missing.
const HOW: &str = "cargo xtask services install";
