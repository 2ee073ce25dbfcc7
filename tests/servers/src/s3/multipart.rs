//! Uploads in parts.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;
use s3s::dto::{CompletedPart, ETag};
use s3s::{S3Result, s3_error};

use super::condition::{Conditions, IfMatchOnAbsent};
use super::store::{Bucket, Object, Part, Upload, multipart_etag};

static UPLOADS: AtomicU64 = AtomicU64::new(1);

/// An id that no other upload of this process has.
pub(crate) fn new_id() -> String {
    format!("upload-{:08}", UPLOADS.fetch_add(1, Ordering::SeqCst))
}

pub(crate) fn find<'a>(bucket: &'a mut Bucket, key: &str, id: &str) -> S3Result<&'a mut Upload> {
    let name = (key.to_owned(), id.to_owned());
    let upload = bucket.uploads.get_mut(&name);
    upload.ok_or_else(|| s3_error!(NoSuchUpload))
}

/// What is asked for when an upload is completed.
pub(crate) struct Completion {
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) parts: Vec<CompletedPart>,
    pub(crate) conditions: Conditions,
    pub(crate) on_absent: IfMatchOnAbsent,
    /// The least size of a part that is not the last.
    pub(crate) least: usize,
}

impl Completion {
    /// Makes the object of the parts; the upload is gone then. Where it fails nothing is changed. Returns the ETag.
    pub(crate) fn perform(self, bucket: &mut Bucket) -> S3Result<String> {
        let current = bucket.current(&self.key);
        let upload = find(bucket, &self.key, &self.id)?;
        let parts = self.chosen(upload)?;
        self.conditions
            .allow_write(current.as_ref(), self.on_absent)?;
        let mut content = BytesMut::new();
        for part in &parts {
            content.extend_from_slice(&part.content);
        }
        let etag = multipart_etag(parts.iter());
        let mut object = Object::new(content.freeze(), etag.clone());
        object.metadata = upload.metadata.clone();
        object.headers = upload.headers.clone();
        bucket.uploads.remove(&(self.key.clone(), self.id));
        bucket.objects.insert(self.key, object);
        Ok(etag)
    }

    fn chosen(&self, upload: &Upload) -> S3Result<Vec<Part>> {
        if self.parts.is_empty() {
            return Err(s3_error!(MalformedXML, "There are no parts"));
        }
        let mut chosen: Vec<Part> = Vec::new();
        let mut before = 0;
        for wanted in &self.parts {
            let number = wanted.part_number.unwrap_or_default();
            if number <= before {
                return Err(s3_error!(InvalidPartOrder));
            }
            before = number;
            let part = upload.parts.get(&number);
            let part = part.filter(|part| {
                let etag = wanted.e_tag.as_ref().map(ETag::value);
                etag.is_none_or(|etag| etag == part.etag)
            });
            chosen.push(part.cloned().ok_or_else(|| s3_error!(InvalidPart))?);
        }
        let but_last = &chosen[..chosen.len() - 1];
        if but_last.iter().any(|part| part.content.len() < self.least) {
            return Err(s3_error!(EntityTooSmall));
        }
        Ok(chosen)
    }
}
