//! Between what is stored and what s3s reads and writes.

use bytes::Bytes;
use s3s::dto::*;
use s3s::{S3Result, s3_error};

use super::list::{Page, url_encoded};
use super::store;

/// An ETag as a header has it.
pub(crate) fn strong(etag: &str) -> Option<ETag> {
    Some(ETag::Strong(etag.to_owned()))
}

/// The headers of an input that an object keeps, and its metadata.
macro_rules! kept_of {
    ($input:expr) => {
        (
            store::Headers {
                content_type: $input.content_type.take(),
                cache_control: $input.cache_control.take(),
                content_disposition: $input.content_disposition.take(),
                content_encoding: $input.content_encoding.take(),
            },
            $input
                .metadata
                .take()
                .into_iter()
                .flatten()
                .collect::<std::collections::BTreeMap<String, String>>(),
        )
    };
}
pub(crate) use kept_of;

/// The output for a read, which HEAD and GET have in common.
macro_rules! described {
    ($output:ident, $object:expr, $with_sums:expr) => {{
        let sums = if $with_sums {
            $object.checksum.clone()
        } else {
            Checksum::default()
        };
        $output {
            accept_ranges: Some("bytes".into()),
            cache_control: $object.headers.cache_control.clone(),
            checksum_crc32: sums.checksum_crc32,
            checksum_crc32c: sums.checksum_crc32c,
            checksum_crc64nvme: sums.checksum_crc64nvme,
            checksum_sha1: sums.checksum_sha1,
            checksum_sha256: sums.checksum_sha256,
            checksum_type: sums.checksum_type,
            content_disposition: $object.headers.content_disposition.clone(),
            content_encoding: $object.headers.content_encoding.clone(),
            content_type: $object.headers.content_type.clone(),
            e_tag: strong(&$object.etag),
            last_modified: Some($object.modified.into()),
            metadata: Some($object.metadata.clone().into_iter().collect()),
            ..Default::default()
        }
    }};
}
pub(crate) use described;

/// The part of a content that a range names, and the header that says so.
pub(crate) fn ranged(content: &Bytes, range: Option<Range>) -> S3Result<(Bytes, Option<String>)> {
    let Some(range) = range else {
        return Ok((content.clone(), None));
    };
    let all = content.len() as u64;
    let part = range.check(all).map_err(|_| s3_error!(InvalidRange))?;
    let header = format!("bytes {}-{}/{all}", part.start, part.end - 1);
    let slice = content.slice(part.start as usize..part.end as usize);
    Ok((slice, Some(header)))
}

/// The bucket and the key of what is copied.
pub(crate) fn source_of(source: &CopySource) -> S3Result<(&str, &str)> {
    match source {
        CopySource::Bucket { bucket, key, .. } => Ok((bucket, key)),
        _ => Err(s3_error!(NotImplemented, "A copy from an access point")),
    }
}

/// The objects of a page as the two kinds of listings write them.
pub(crate) fn listed(
    page: &Page,
    encoding: Option<&EncodingType>,
) -> (Vec<Object>, Vec<CommonPrefix>) {
    let is_url = encoding.is_some_and(|encoding| encoding.as_str() == EncodingType::URL);
    let name = |text: &str| match is_url {
        true => url_encoded(text),
        false => text.to_owned(),
    };
    let object = |(key, object): &(String, store::Object)| Object {
        key: Some(name(key)),
        e_tag: strong(&object.etag),
        size: Some(object.content.len() as i64),
        last_modified: Some(object.modified.into()),
        storage_class: Some(ObjectStorageClass::from_static(
            ObjectStorageClass::STANDARD,
        )),
        ..Default::default()
    };
    let prefix = |prefix: &String| CommonPrefix {
        prefix: Some(name(prefix)),
    };
    (
        page.objects.iter().map(object).collect(),
        page.prefixes.iter().map(prefix).collect(),
    )
}
