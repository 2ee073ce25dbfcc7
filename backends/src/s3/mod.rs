//! What S3 can do and opendal does not offer: large uploads that go on after a crash, copies from another bucket, and
//! hashes that the server compares.
//!
//! Everything else of S3 goes through opendal. The requests here are signed by the library that opendal signs its own with.

mod client;
mod copy;
mod multipart;
mod note;
mod put;
#[cfg(test)]
mod tests;
mod xml;

pub(crate) use client::{Client, Endpoint, Keys};
#[cfg(test)]
pub(crate) use copy::Copies;
pub(crate) use copy::CopyRequest;
pub(crate) use multipart::{MultipartUpload, Parts};
pub(crate) use put::{OnePut, PutRequest};
