//! The buckets in memory. One lock is around all of them: what is checked and what is changed under it are one step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use md5::{Digest, Md5};
use s3s::dto::{Checksum, ChecksumType};

/// An object.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its bytes.
    pub content: Bytes,
    /// Without quotes: the MD5 in hex, or `md5-N` when it was uploaded in N parts.
    pub etag: String,
    /// User metadata, without the `x-amz-meta-`.
    pub metadata: BTreeMap<String, String>,
    /// When it was written.
    pub modified: SystemTime,
    /// Headers that are stored and given back: `content-type` and its like.
    pub(crate) headers: Headers,
    /// Checksums that came with it.
    pub(crate) checksum: Checksum,
}

impl Object {
    pub(crate) fn new(content: Bytes, etag: String) -> Self {
        Self {
            content,
            etag,
            metadata: BTreeMap::new(),
            modified: SystemTime::now(),
            headers: Headers::default(),
            checksum: Checksum::default(),
        }
    }
}

/// The headers that an object keeps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers {
    pub(crate) content_type: Option<String>,
    pub(crate) cache_control: Option<String>,
    pub(crate) content_disposition: Option<String>,
    pub(crate) content_encoding: Option<String>,
}

/// A multipart upload that is neither completed nor aborted.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Its id.
    pub id: String,
    /// Where its object shall be.
    pub key: String,
    /// When it was begun.
    pub started: SystemTime,
    /// Its parts, by number.
    pub parts: BTreeMap<i32, Part>,
    /// The metadata of the object to be.
    pub metadata: BTreeMap<String, String>,
    pub(crate) headers: Headers,
}

/// A part of an upload.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its bytes.
    pub content: Bytes,
    /// Without quotes.
    pub etag: String,
    /// When it was written.
    pub modified: SystemTime,
}

impl Part {
    pub(crate) fn new(content: Bytes) -> Self {
        let etag = md5_hex(&content);
        Self {
            content,
            etag,
            modified: SystemTime::now(),
        }
    }
}

pub(crate) type Objects = BTreeMap<String, Object>;

/// A bucket.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    pub(crate) created: SystemTime,
    pub(crate) objects: Objects,
    /// By key and id, as they are listed.
    pub(crate) uploads: BTreeMap<(String, String), Upload>,
    /// Folders that emptied and that no listing shows; `None`: this server has none.
    pub(crate) emptied: Option<BTreeSet<String>>,
}

impl Bucket {
    /// What conditions of a write compare with: an object, or a folder that emptied.
    pub(crate) fn current(&self, key: &str) -> Option<Object> {
        let object = self.objects.get(key).cloned();
        object.or_else(|| self.emptied(key))
    }

    /// The folder with this name, with or without a `/`, if it emptied.
    pub(crate) fn emptied(&self, key: &str) -> Option<Object> {
        let name = key.strip_suffix('/').unwrap_or(key);
        let has = self.emptied.as_ref().is_some_and(|all| all.contains(name));
        (has && !self.is_folder(name)).then(|| Object::new(Bytes::new(), md5_hex(b"")))
    }

    /// The folders directly below a prefix that emptied, as listings that cut at `/` tell them.
    pub(crate) fn emptied_in(&self, prefix: &str) -> Vec<String> {
        let all = self.emptied.iter().flatten();
        let here = all.filter(|name| {
            let name = name.strip_prefix(prefix);
            name.is_some_and(|name| !name.is_empty() && !name.contains('/'))
        });
        here.filter(|name| !self.is_folder(name))
            .map(|name| format!("{name}/"))
            .collect()
    }

    /// Whether anything is in the folder with this name.
    fn is_folder(&self, name: &str) -> bool {
        let inside = format!("{name}/");
        let first = self.objects.range(inside.clone()..).next();
        first.is_some_and(|(key, _)| key.starts_with(&inside))
    }

    /// Removes an object, or a folder that emptied; says whether an object was there.
    pub(crate) fn remove(&mut self, key: &str) -> bool {
        let was_there = self.objects.remove(key).is_some();
        let above = key.match_indices('/').map(|(at, _)| &key[..at]);
        let emptied: Vec<_> = above.filter(|name| !self.is_folder(name)).collect();
        let Some(all) = &mut self.emptied else {
            return was_there;
        };
        match key.strip_suffix('/') {
            // As long as another is in it, it stays.
            Some(_) if all.iter().any(|name| name.starts_with(key)) => {}
            Some(name) => drop(all.remove(name)),
            None if was_there => all.extend(emptied.into_iter().map(str::to_owned)),
            None => {}
        }
        was_there
    }
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            created: SystemTime::now(),
            objects: Objects::new(),
            uploads: BTreeMap::new(),
            emptied: None,
        }
    }
}

pub(crate) type Buckets = BTreeMap<String, Bucket>;

/// The content of a server: for editors that go past it, and for assertions. Clones are one content.
#[derive(Clone, Default)]
pub struct Store(Arc<Mutex<Buckets>>);

impl Store {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a bucket, if it is not there.
    pub fn create_bucket(&self, name: &str) {
        self.lock().entry(name.to_owned()).or_default();
    }

    /// From now on folders of this bucket stay when they empty.
    pub(crate) fn keep_emptied_folders(&self, name: &str) {
        if let Some(bucket) = self.lock().get_mut(name) {
            bucket.emptied = Some(BTreeSet::new());
        }
    }

    /// Removes a bucket and all that is in it.
    pub fn delete_bucket(&self, name: &str) {
        self.lock().remove(name);
    }

    /// Writes an object as another program would. The bucket is made if it is not there.
    ///
    /// Returns the ETag.
    pub fn put(&self, bucket: &str, key: &str, content: impl Into<Bytes>) -> String {
        self.put_with(bucket, key, content, &[])
    }

    /// [`Store::put`] with user metadata.
    pub fn put_with(
        &self,
        bucket: &str,
        key: &str,
        content: impl Into<Bytes>,
        metadata: &[(&str, &str)],
    ) -> String {
        let content = content.into();
        let etag = md5_hex(&content);
        let mut object = Object::new(content, etag.clone());
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        object.metadata = metadata.iter().map(owned).collect();
        let mut buckets = self.lock();
        let bucket = buckets.entry(bucket.to_owned()).or_default();
        bucket.objects.insert(key.to_owned(), object);
        etag
    }

    /// An object.
    #[must_use]
    pub fn get(&self, bucket: &str, key: &str) -> Option<Object> {
        self.lock().get(bucket)?.objects.get(key).cloned()
    }

    /// Removes an object; says whether it was there.
    pub fn delete(&self, bucket: &str, key: &str) -> bool {
        let mut buckets = self.lock();
        let bucket = buckets.get_mut(bucket);
        bucket.is_some_and(|bucket| bucket.remove(key))
    }

    /// All keys of a bucket, sorted by their bytes.
    #[must_use]
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let buckets = self.lock();
        let keys = buckets.get(bucket).map(|bucket| bucket.objects.keys());
        keys.into_iter().flatten().cloned().collect()
    }

    /// The multipart uploads of a bucket that are neither completed nor aborted.
    #[must_use]
    pub fn uploads(&self, bucket: &str) -> Vec<Upload> {
        let buckets = self.lock();
        let uploads = buckets.get(bucket).map(|bucket| bucket.uploads.values());
        uploads.into_iter().flatten().cloned().collect()
    }

    /// Sets what is told as the SHA-256 of an object, as text. Says whether it is there.
    pub fn set_sha256(&self, bucket: &str, key: &str, text: &str, composite: bool) -> bool {
        let kind = match composite {
            true => ChecksumType::COMPOSITE,
            false => ChecksumType::FULL_OBJECT,
        };
        let checksum = Checksum {
            checksum_sha256: Some(text.to_owned()),
            checksum_type: Some(ChecksumType::from_static(kind)),
            ..Checksum::default()
        };
        let mut buckets = self.lock();
        let bucket = buckets.get_mut(bucket);
        let object = bucket.and_then(|bucket| bucket.objects.get_mut(key));
        object.map(|object| object.checksum = checksum).is_some()
    }

    /// Sets when an object was written, for tests of old things. Says whether it is there.
    pub fn set_modified(&self, bucket: &str, key: &str, time: SystemTime) -> bool {
        let mut buckets = self.lock();
        let bucket = buckets.get_mut(bucket);
        let object = bucket.and_then(|bucket| bucket.objects.get_mut(key));
        object.map(|object| object.modified = time).is_some()
    }
}

pub(crate) fn md5_hex(content: &[u8]) -> String {
    hex(&Md5::digest(content))
}

/// The ETag of an object in parts: the MD5 of their MD5s, and how many there are.
pub(crate) fn multipart_etag<'a>(parts: impl Iterator<Item = &'a Part>) -> String {
    let (mut all, mut number) = (Md5::new(), 0);
    for part in parts {
        all.update(Md5::digest(&part.content));
        number += 1;
    }
    format!("{}-{number}", hex(&all.finalize()))
}

pub(crate) fn md5_base64(content: &[u8]) -> String {
    STANDARD.encode(Md5::digest(content))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
