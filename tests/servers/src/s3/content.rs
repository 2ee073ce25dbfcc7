//! Bodies and the sums that prove them.

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::dto::{Checksum, StreamingBlob};
use s3s::{S3Result, TrailingHeaders, s3_error};

use super::store::md5_base64;

/// The checksums of an input of s3s. They are fields of many types that have no trait in common.
macro_rules! checksums_of {
    ($input:expr) => {
        s3s::dto::Checksum {
            checksum_crc32: $input.checksum_crc32.take(),
            checksum_crc32c: $input.checksum_crc32c.take(),
            checksum_crc64nvme: $input.checksum_crc64nvme.take(),
            checksum_sha1: $input.checksum_sha1.take(),
            checksum_sha256: $input.checksum_sha256.take(),
            checksum_type: None,
        }
    };
}
pub(crate) use checksums_of;

/// What a server does with checksums of whole objects that is not what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sums {
    /// It neither compares nor keeps them.
    Ignored,
    /// It keeps and tells them without comparing.
    Believed,
}

/// A body with what it should be.
pub(crate) struct Incoming {
    pub(crate) body: Option<StreamingBlob>,
    pub(crate) md5: Option<String>,
    pub(crate) checksum: Checksum,
    pub(crate) trailing: Option<TrailingHeaders>,
    pub(crate) sums: Option<Sums>,
}

impl Incoming {
    /// The whole body, after every sum that came with it was checked.
    pub(crate) async fn read(mut self) -> S3Result<(Bytes, Checksum)> {
        let mut content = BytesMut::new();
        if let Some(mut body) = self.body.take() {
            while let Some(chunk) = body.try_next().await.map_err(unreadable)? {
                content.extend_from_slice(&chunk);
            }
        }
        let content = content.freeze();
        if self.md5.is_some_and(|md5| md5 != md5_base64(&content)) {
            return Err(s3_error!(
                BadDigest,
                "The Content-MD5 is that of another content"
            ));
        }
        if let Some(trailing) = &self.trailing {
            add_trailing(&mut self.checksum, trailing);
        }
        if self.sums == Some(Sums::Ignored) {
            self.checksum = Checksum::default();
        }
        let believed = self.sums == Some(Sums::Believed);
        if !believed && computed(&content, &self.checksum) != self.checksum {
            return Err(s3_error!(
                BadDigest,
                "A checksum is that of another content"
            ));
        }
        Ok((content, self.checksum))
    }
}

fn unreadable(error: s3s::StdError) -> s3s::S3Error {
    s3s::S3Error::with_source(s3s::S3ErrorCode::IncompleteBody, error)
}

fn add_trailing(checksum: &mut Checksum, trailing: &TrailingHeaders) {
    let value = |name: &str| {
        let read = |headers: &::http::HeaderMap| {
            let value = headers.get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        trailing.read(read).flatten()
    };
    let fill = |field: &mut Option<String>, name: &str| {
        if field.is_none() {
            *field = value(name);
        }
    };
    fill(&mut checksum.checksum_crc32, "x-amz-checksum-crc32");
    fill(&mut checksum.checksum_crc32c, "x-amz-checksum-crc32c");
    fill(&mut checksum.checksum_crc64nvme, "x-amz-checksum-crc64nvme");
    fill(&mut checksum.checksum_sha1, "x-amz-checksum-sha1");
    fill(&mut checksum.checksum_sha256, "x-amz-checksum-sha256");
}

/// The same kinds of checksums as `like`, of a content.
fn computed(content: &[u8], like: &Checksum) -> Checksum {
    let mut hasher = ChecksumHasher {
        crc32: like.checksum_crc32.as_ref().map(|_| Crc32::new()),
        crc32c: like.checksum_crc32c.as_ref().map(|_| Crc32c::new()),
        sha1: like.checksum_sha1.as_ref().map(|_| Sha1::new()),
        sha256: like.checksum_sha256.as_ref().map(|_| Sha256::new()),
        crc64nvme: like.checksum_crc64nvme.as_ref().map(|_| Crc64Nvme::new()),
    };
    hasher.update(content);
    hasher.finalize()
}
