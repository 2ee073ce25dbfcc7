//! The store against a real server, and what is decided without one.

#[cfg(feature = "s3")]
mod conformance;
#[cfg(feature = "ftp")]
mod empty;
mod errors;
mod kit;
#[cfg(all(feature = "azblob", feature = "s3"))]
mod real;
#[cfg(feature = "s3")]
mod s3;
mod table;
#[cfg(all(feature = "azblob", feature = "gcs", feature = "s3"))]
mod tried;
