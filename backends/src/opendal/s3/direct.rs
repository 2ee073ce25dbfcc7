//! What opendal does not offer of S3: uploads that are carried on after a crash, copies from another bucket, hashes that
//! the server compares.

use std::collections::HashMap;

use ::opendal::HttpTransporter;
use wl_core::model::{ContentHash, Kind};
use wl_core::storage::{CopySource, ErrorKind, Noted};

use super::{AMAZON, Settings};
use crate::opendal::found::{self, found};
use crate::opendal::store::OpendalStore;
use crate::opendal::{errors, params};
use crate::remote::store::{
    Attributes, Condition, CopyIn, Fault, Found, Outcome, Put, Upload, UploadRequest,
};
use crate::s3::{Client, CopyRequest, Endpoint, Keys, MultipartUpload, OnePut, Parts, PutRequest};

/// Parts in memory at once, of all uploads to a bucket: 24 MiB while files are below 70 GiB.
const PARTS: usize = 3;
/// What S3 takes as a part at the least.
const PART_MIN: u64 = 5 << 20;

/// Whether a file of this size is worth parts of our own: less than one is a plain write.
pub(in crate::opendal) fn wants(size: u64) -> bool {
    size > PART_MIN
}

/// What speaks to the bucket beside opendal.
#[derive(Clone, Debug)]
pub(in crate::opendal) struct Direct {
    client: Client,
    parts: Parts,
    realm: Box<str>,
}

impl Direct {
    /// Over the connections of opendal's own.
    pub(super) fn new(settings: &Settings, http: HttpTransporter) -> Self {
        let url = params::text(&settings.endpoint);
        let url = match url == AMAZON {
            true => format!("https://s3.{}.amazonaws.com", settings.region),
            false => url,
        };
        let slash = if settings.prefix.is_empty() { "" } else { "/" };
        let endpoint = Endpoint {
            bucket: settings.bucket.clone(),
            prefix: format!("{}{slash}", settings.prefix),
            virtual_host: !settings.path_style,
            region: settings.region.clone(),
            url,
        };
        let keys = match &settings.credentials {
            _ if settings.anonymous => Keys::Anonymous,
            Some(credentials) => Keys::Fixed {
                access: credentials.access_key.clone(),
                secret: credentials.secret_key.clone(),
                session: credentials.session_token.clone(),
            },
            None => Keys::Usual {
                profile: settings.profile.clone(),
            },
        };
        let who = match &keys {
            Keys::Fixed { access, .. } => ContentHash::of(access.as_bytes()).to_string(),
            Keys::Usual { profile } => format!("profile {}", profile.as_deref().unwrap_or("-")),
            Keys::Anonymous => "anonymous".to_owned(),
        };
        Self {
            realm: format!("s3|{}|{who}", endpoint.url).into(),
            client: Client::new(endpoint, keys, http),
            parts: Parts::new(PARTS),
        }
    }

    /// With smaller copies than servers take.
    #[cfg(test)]
    pub(super) fn copying(mut self, copies: crate::s3::Copies) -> Self {
        self.client = self.client.copying(copies);
        self
    }

    pub(in crate::opendal) async fn upload(
        &self,
        key: &str,
        request: &UploadRequest<'_>,
        notes: HashMap<String, String>,
    ) -> Outcome<Box<dyn Upload>> {
        let notes: Vec<_> = notes.into_iter().collect();
        let upload = MultipartUpload::begin(
            self.client.clone(),
            key,
            request.size,
            request.attributes,
            &notes,
            request.condition.clone(),
            self.parts.clone(),
        );
        Ok(Box::new(upload.await?))
    }

    /// Puts content whose hash is known, if the server is to compare that. `None`: this goes the usual way.
    pub(in crate::opendal) async fn put(
        &self,
        key: &str,
        put: &Put<'_>,
        notes: HashMap<String, String>,
    ) -> Outcome<Option<Found>> {
        let Some(hash) = put.attributes.hash.filter(|_| put.attributes.verify) else {
            return Ok(None);
        };
        let request = request(key, put.attributes, put.condition, notes);
        let found = self.client.put(&request, put.content.clone(), hash).await?;
        Ok(Some(normal(found)))
    }

    /// A file for one request. Its hash is known when it is whole.
    pub(in crate::opendal) fn one_put(
        &self,
        key: &str,
        upload: &UploadRequest<'_>,
        notes: HashMap<String, String>,
    ) -> Box<dyn Upload> {
        let request = request(key, upload.attributes, upload.condition, notes);
        Box::new(OnePut::new(self.client.clone(), request, upload.size))
    }

    /// Whether the server has something at this very key, listed or not.
    pub(in crate::opendal) async fn has(&self, key: &str) -> Outcome<bool> {
        self.client.has(key).await
    }

    /// The hash that the server keeps of the version with this tag.
    pub(in crate::opendal) async fn sum(
        &self,
        key: &str,
        tag: &str,
    ) -> Outcome<Option<ContentHash>> {
        let told = self.client.sum(key).await?;
        let same = told.filter(|(_, now)| found::normal(now).as_deref() == Some(tag));
        Ok(same.map(|(hash, _)| hash))
    }

    /// What others copy from this bucket with.
    pub(in crate::opendal) fn source(&self, identity: &str) -> CopySource {
        let Endpoint { bucket, prefix, .. } = self.client.endpoint();
        CopySource {
            realm: self.realm.clone(),
            address: format!("{bucket}/{prefix}").into(),
            identity: identity.into(),
        }
    }

    /// Copies a version inside the bucket. Of what was found only the tag is known.
    pub(in crate::opendal) async fn copy_within(
        &self,
        from: &str,
        tag: Option<&str>,
        to: &str,
        absent: bool,
    ) -> Outcome<Found> {
        let condition = match absent {
            true => Condition::Absent,
            false => Condition::None,
        };
        let tag = self.client.copy_within(from, tag, to, &condition).await?;
        Ok(copied(tag, 0))
    }

    pub(in crate::opendal) async fn copy(&self, key: &str, copy: CopyIn<'_>) -> Outcome<Found> {
        let Some((bucket, prefix)) = copy.source.address.split_once('/') else {
            let reason = "the source is no bucket of S3";
            return Err(errors::refusal(ErrorKind::Unsupported, reason));
        };
        let request = CopyRequest {
            bucket,
            key: &format!("{prefix}{}", copy.from),
            tag: Some(copy.tag),
            size: copy.size,
            to: key,
            condition: copy.condition,
        };
        let size = copy.size;
        let tag = self.client.copy_from(request).await.map_err(|mut fault| {
            // The version to copy is another now; a condition on what is here gives `Changed` as well: look again.
            if fault.error.kind() == ErrorKind::NotFound {
                fault.error = fault.error.with_kind(ErrorKind::Busy);
            }
            fault
        })?;
        Ok(copied(tag, size))
    }
}

fn request(
    key: &str,
    attributes: &Attributes,
    condition: &Condition,
    notes: HashMap<String, String>,
) -> PutRequest {
    PutRequest {
        key: key.to_owned(),
        notes: notes.into_iter().collect(),
        attributes: attributes.clone(),
        condition: condition.clone(),
    }
}

/// With the tag as listings tell it.
fn normal(found: Found) -> Found {
    let tag = found.tag.as_deref().and_then(found::normal);
    Found { tag, ..found }
}

fn copied(tag: Box<str>, size: u64) -> Found {
    Found {
        kind: Kind::File,
        size,
        tag: Some(tag),
        modified: None,
        mode: None,
        link: None,
        file_id: None,
        noted: Noted::default(),
        operation: None,
    }
}

impl OpendalStore {
    /// A copy that names the version in every request. `None`: this has to go the long way.
    pub(in crate::opendal) async fn copy_directly(
        &self,
        from: &str,
        tag: Option<&str>,
        to: &str,
        absent: bool,
    ) -> Outcome<Option<Found>> {
        let Some(direct) = &self.direct else {
            return Ok(None);
        };
        let copied = match direct.copy_within(from, tag, to, absent).await {
            Ok(copied) => copied,
            // A server with reasons of its own.
            Err(fault) if matches!(fault.error.kind(), ErrorKind::Full | ErrorKind::Other) => {
                return Ok(None);
            }
            Err(fault) => return Err(fault),
        };
        // What is only kept need not be looked at.
        if !absent {
            return Ok(Some(copied));
        }
        let metadata = self.metadata(to).await.map_err(|fault| Fault {
            unclear: true,
            ..fault
        })?;
        Ok(Some(match metadata {
            Some(metadata) => Found {
                tag: copied.tag,
                ..found(self.service, &metadata)
            },
            None => copied,
        }))
    }
}
