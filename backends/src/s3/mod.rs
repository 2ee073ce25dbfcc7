//! What S3 can do and opendal does not offer: large uploads that go on after a crash, and copies from another bucket.
//!
//! Everything else of S3 goes through opendal. The requests here are signed by the library that opendal signs its own with.

mod client;
mod copy;
mod multipart;
mod note;
#[cfg(test)]
mod tests;
mod xml;

pub(crate) use client::{Client, Endpoint, Keys};
#[cfg(test)]
pub(crate) use copy::Copies;
pub(crate) use copy::CopyRequest;
pub(crate) use multipart::{MultipartUpload, Parts};
