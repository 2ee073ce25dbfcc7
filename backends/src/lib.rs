//! Storage backends, one folder each. They know `wl-core` only, never each other; those of remote storages stand on `remote`.

#[cfg(feature = "http")]
pub mod http;
pub mod local;
pub mod memory;
#[cfg(feature = "_opendal")]
pub mod opendal;
#[cfg(any(
    feature = "_opendal",
    feature = "http",
    feature = "sftp",
    feature = "webdav"
))]
mod remote;
#[cfg(feature = "s3")]
mod s3;
#[cfg(feature = "sftp")]
mod sftp;
#[cfg(feature = "webdav")]
pub mod webdav;
