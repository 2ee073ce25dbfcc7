//! The store over an opendal operator.

use std::fmt;
use std::ops::Range;

use ::opendal::options::{CopyOptions, DeleteOptions, ReaderOptions, StatOptions, WriteOptions};
use ::opendal::{Buffer, Error, ErrorKind as Odal, Metadata, Operator};
use async_trait::async_trait;
use futures::StreamExt;
#[cfg(feature = "s3")]
use wl_core::model::ContentHash;
use wl_core::model::{Mode, SyncPath};
#[cfg(feature = "s3")]
use wl_core::storage::CopySource;
use wl_core::storage::ErrorKind;

use super::errors::{self, Doing};
use super::services::{Large, Service, Source, Tags};
use super::{found, listing, names, transport, upload};
#[cfg(feature = "s3")]
use crate::remote::store::CopyIn;
use crate::remote::store::{
    Condition, Facts, Fault, Found, List, Outcome, Pages, Put, Reading, Store, Upload,
    UploadRequest,
};

/// A remote storage that opendal reaches.
pub(super) struct OpendalStore {
    pub(super) operator: Operator,
    pub(super) service: &'static Service,
    pub(super) facts: Facts,
    /// What is in front of every key, for its length: `prefix/`, or nothing.
    pub(super) prefix: Box<str>,
    pub(super) location: Box<str>,
    pub(super) identity: Box<str>,
    pub(super) server: Box<str>,
    pub(super) budget: upload::Budget,
    /// What opendal does not offer.
    #[cfg(feature = "s3")]
    pub(super) direct: Option<super::s3::Direct>,
}

/// Where a store is.
#[derive(Debug)]
pub(super) struct Place {
    /// For people.
    pub(super) location: String,
    /// Endpoint and bucket.
    pub(super) server: String,
    /// What is in front of every key, without `/` at its ends.
    pub(super) prefix: String,
}

impl fmt::Debug for OpendalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpendalStore")
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

impl OpendalStore {
    /// The store of `type_name` at `place`.
    pub(super) fn new(
        type_name: &str,
        service: &'static Service,
        operator: Operator,
        place: Place,
    ) -> Result<Self, Error> {
        let prefix = place.prefix.trim_matches('/');
        let below = if prefix.is_empty() {
            place.server.clone()
        } else {
            format!("{}/{prefix}", place.server)
        };
        Ok(Self {
            operator: transport::with_patience(operator)?,
            service,
            facts: service.facts,
            prefix: if prefix.is_empty() {
                "".into()
            } else {
                format!("{prefix}/").into()
            },
            location: place.location.into(),
            identity: format!("{type_name}|{below}").into(),
            server: place.server.into(),
            budget: upload::Budget::default(),
            #[cfg(feature = "s3")]
            direct: None,
        })
    }

    /// The options of a write under `condition`.
    pub(super) fn writing(
        &self,
        attributes: &crate::remote::store::Attributes,
        condition: &Condition,
    ) -> WriteOptions {
        let mut options = WriteOptions::default();
        if self.facts.notes {
            options.user_metadata = Some(found::notes(self.service, attributes));
        }
        match (condition, self.service.tags) {
            (Condition::None, _) => {}
            (Condition::Absent, _) => options.if_not_exists = true,
            (Condition::Is(tag), Tags::Generation) => {
                options.if_version_match = Some(tag.to_string());
            }
            (Condition::Is(tag), _) => options.if_match = Some(tag.to_string()),
        }
        options
    }

    pub(super) async fn metadata(&self, key: &str) -> Outcome<Option<Metadata>> {
        match self
            .operator
            .stat_options(key, StatOptions::default())
            .await
        {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if error.kind() == Odal::NotFound => Ok(None),
            Err(error) => Err(errors::fault(&error, Doing::Looking)),
        }
    }

    /// What a write made: the reply tells it, or one look. A file that is gone again, or another, was replaced since.
    async fn told(&self, key: &str, written: Found) -> Outcome<Found> {
        if written.tag.is_some() && (written.modified.is_some() || self.facts.flat) {
            return Ok(written);
        }
        let looked = self.metadata(key).await;
        let metadata = looked.map_err(|fault| Fault {
            // The write itself was carried out.
            unclear: true,
            ..fault
        })?;
        Ok(match metadata {
            Some(metadata) => {
                let now = found::found(self.service, &metadata);
                match found::is_other(&written, &now) {
                    // Its tag must not be taken for ours: nobody would look at its content any more.
                    true => written,
                    false => Found {
                        tag: now.tag,
                        modified: now.modified,
                        ..written
                    },
                }
            }
            None => written,
        })
    }

    /// What `condition` says of the source of a copy, checked by a look.
    async fn source(&self, key: &str, tag: Option<&str>) -> Outcome<Found> {
        let Some(metadata) = self.metadata(key).await? else {
            return Err(errors::refusal(ErrorKind::NotFound, "nothing is there"));
        };
        let found = found::found(self.service, &metadata);
        if tag.is_some() && found.tag.as_deref() != tag {
            let reason = "it is another version now; run again";
            return Err(errors::refusal(ErrorKind::Changed, reason));
        }
        Ok(found)
    }

    /// Whether a copy is of the version that was meant: its source is still that version. Otherwise the copy is taken back.
    async fn copied_that(
        &self,
        from: &str,
        tag: Option<&str>,
        to: &str,
        copied: &Found,
    ) -> Outcome<()> {
        let Err(fault) = self.source(from, tag).await else {
            return Ok(());
        };
        let options = match &copied.tag {
            Some(tag) if self.facts.conditions.remove => self.removing(&Condition::Is(tag.clone())),
            _ => return Err(fault),
        };
        let removed = self.operator.delete_options(to, options).await;
        removed.map_err(|error| errors::fault(&error, Doing::Changing))?;
        Err(fault)
    }

    /// The options of a copy to a place that may have to be empty.
    pub(super) fn copying(&self, absent: bool) -> CopyOptions {
        let absent = absent && self.facts.conditions.create;
        match self.service.tags {
            // Google's word for it: generation 0 is there.
            Tags::Generation => CopyOptions {
                if_version_match: absent.then(|| "0".to_owned()),
                ..CopyOptions::default()
            },
            _ => CopyOptions {
                if_not_exists: absent,
                ..CopyOptions::default()
            },
        }
    }

    fn removing(&self, condition: &Condition) -> DeleteOptions {
        let mut options = DeleteOptions::default();
        match (condition, self.service.tags) {
            (Condition::Is(tag), Tags::Generation) => {
                options.if_version_match = Some(tag.to_string());
            }
            (Condition::Is(tag), _) => options.if_match = Some(tag.to_string()),
            (Condition::None | Condition::Absent, _) => {}
        }
        options
    }

    fn cannot<T>(&self, what: &str) -> Outcome<T> {
        let reason = format!("this storage has no {what}");
        Err(errors::refusal(ErrorKind::Unsupported, reason))
    }

    fn reading(&self, tag: Option<&str>, range: &Range<u64>) -> ReaderOptions {
        let mut options = ReaderOptions {
            content_length_hint: Some(range.end),
            ..ReaderOptions::default()
        };
        let capability = self.operator.info().capability();
        match self.service.tags {
            Tags::Etag if capability.read_with_if_match => {
                options.if_match = tag.map(str::to_owned);
            }
            Tags::Generation => options.if_version_match = tag.map(str::to_owned),
            _ => {}
        }
        options
    }
}

/// A condition on what is read means that it was written to meanwhile.
fn while_reading(error: &Error) -> Fault {
    let mut fault = errors::fault(error, Doing::Looking);
    if fault.error.kind() == ErrorKind::Changed {
        fault.error = fault.error.with_kind(ErrorKind::Busy);
    }
    fault
}

#[async_trait]
impl Store for OpendalStore {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn location(&self) -> &str {
        &self.location
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn server(&self) -> &str {
        &self.server
    }

    fn refuses(&self, path: &SyncPath) -> Option<String> {
        names::refusal(&self.service.names, &self.prefix, path.as_str())
    }

    async fn list(&self, list: List<'_>) -> Outcome<Box<dyn Pages>> {
        listing::list(&self.operator, self.service, list).await
    }

    async fn stat(&self, path: &SyncPath) -> Outcome<Option<Found>> {
        if path.is_root() {
            return self.stat_root().await;
        }
        let key = names::key(path)?;
        if let Some(metadata) = self.metadata(key).await? {
            return Ok(Some(found::found(self.service, &metadata)));
        }
        if self.facts.flat {
            let below = listing::anything_below(&self.operator, path).await?;
            return Ok(below.then(found::folder));
        }
        let folder = self.metadata(&names::folder_key(path)?).await?;
        Ok(folder.map(|metadata| found::found(self.service, &metadata)))
    }

    async fn file(&self, path: &SyncPath) -> Outcome<Option<Found>> {
        let found = self.metadata(names::key(path)?).await?;
        Ok(found.map(|metadata| found::found(self.service, &metadata)))
    }

    async fn exists(&self) -> Outcome<bool> {
        if self.facts.flat || self.prefix.is_empty() {
            return Ok(self.stat_root().await?.is_some());
        }
        // opendal takes the root of every service for there, and lists nothing in a folder that is missing.
        match listing::anything_in(&self.operator, "/").await {
            Err(fault) if fault.error.kind() == ErrorKind::NotFound => Ok(false),
            told => told,
        }
    }

    async fn read(
        &self,
        path: &SyncPath,
        range: Range<u64>,
        tag: Option<&str>,
    ) -> Outcome<Reading> {
        let key = names::key(path)?;
        if range.is_empty() {
            return self.read_nothing(key, tag).await;
        }
        let options = self.reading(tag, &range);
        let reader = self.operator.reader_options(key, options).await;
        let stream = reader.map_err(|error| while_reading(&error))?;
        let mut stream = stream
            .into_stream(range)
            .await
            .map_err(|error| while_reading(&error))?;
        // This sends the request. Services that tell nothing in the reply say so here, and the reply is kept.
        let found = match stream.metadata().await {
            Ok(metadata) => Some(found::found(self.service, &metadata)),
            Err(error) if error.kind() == Odal::Unsupported => None,
            Err(error) => return Err(while_reading(&error)),
        };
        if let (Some(found), Some(tag)) = (&found, tag)
            && found.tag.as_deref() != Some(tag)
        {
            return Err(errors::refusal(
                ErrorKind::Busy,
                "it is another version now; run again",
            ));
        }
        let pieces = stream.map(|piece| match piece {
            Ok(piece) => Ok(piece.to_bytes()),
            Err(error) => Err(while_reading(&error)),
        });
        Ok(Reading {
            found,
            pieces: pieces.boxed(),
        })
    }

    async fn put(&self, put: Put<'_>) -> Outcome<Found> {
        let key = names::key(put.path)?;
        let options = self.writing(put.attributes, put.condition);
        let size = put.content.len() as u64;
        if size == 0 && self.service.scheme == "ftp" {
            // The linked opendal sends nothing then and says that all went well: what was there before would still be there.
            let reason = "an empty file cannot be sent by FTP here; put something into it, or move it elsewhere";
            return Err(errors::refusal(ErrorKind::Unsupported, reason));
        }
        #[cfg(feature = "s3")]
        if let Some(direct) = &self.direct {
            let notes = found::notes(self.service, put.attributes);
            if let Some(written) = direct.put(key, &put, notes).await? {
                return self.told(key, written).await;
            }
        }
        let write = self
            .operator
            .write_options(key, Buffer::from(put.content), options);
        let metadata = write
            .await
            .map_err(|error| errors::fault(&error, Doing::Changing))?;
        let written = found::written(self.service, &metadata, size, put.attributes);
        self.told(key, written).await
    }

    async fn upload(&self, request: UploadRequest<'_>) -> Outcome<Box<dyn Upload>> {
        self.begin(&request).await
    }

    async fn put_link(&self, _: &SyncPath, _: &str) -> Outcome<Found> {
        self.cannot("symbolic links")
    }

    async fn remove(&self, path: &SyncPath, condition: &Condition) -> Outcome<()> {
        let key = names::key(path)?;
        let options = self.removing(condition);
        let removed = self.operator.delete_options(key, options).await;
        removed.map_err(|error| errors::fault(&error, Doing::Changing))
    }

    async fn copy(
        &self,
        from: &SyncPath,
        tag: Option<&str>,
        to: &SyncPath,
        absent: bool,
    ) -> Outcome<Found> {
        let (from, to) = (names::key(from)?, names::key(to)?);
        #[cfg(feature = "s3")]
        if let Some(copied) = self.copy_directly(from, tag, to, absent).await? {
            return Ok(copied);
        }
        let source = self.source(from, tag).await?;
        let options = self.copying(absent);
        let operator = match (self.service.source, tag) {
            (Source::Header(header), Some(tag)) => transport::guarded(&self.operator, header, tag),
            _ => self.operator.clone(),
        };
        let copied = operator.copy_options(from, to, options).await;
        let metadata = copied.map_err(|error| errors::fault(&error, Doing::Changing))?;
        let now = found::found(self.service, &metadata);
        let written = Found {
            tag: now.tag,
            modified: now.modified,
            ..source
        };
        let copied = self.told(to, written).await?;
        if self.service.source == Source::Looked && tag.is_some() {
            self.copied_that(from, tag, to, &copied).await?;
        }
        Ok(copied)
    }

    async fn rename(&self, from: &SyncPath, _: &Condition, to: &SyncPath) -> Outcome<Found> {
        let (from, to) = (names::key(from)?, names::key(to)?);
        if self.metadata(to).await?.is_some() {
            return Err(errors::refusal(
                ErrorKind::Changed,
                "something is there; run again",
            ));
        }
        let renamed = self.operator.rename(from, to).await;
        renamed.map_err(|error| errors::fault(&error, Doing::Changing))?;
        match self.metadata(to).await? {
            Some(metadata) => Ok(found::found(self.service, &metadata)),
            None => Err(errors::refusal(
                ErrorKind::Changed,
                "it was moved on at once; run again",
            )),
        }
    }

    async fn make_folder(&self, path: &SyncPath, _: Option<Mode>) -> Outcome<Found> {
        let key = names::folder_key(path)?;
        // opendal makes no difference between a folder that it made and one that was there.
        if self.stat(path).await?.is_some() {
            return Err(errors::refusal(
                ErrorKind::Changed,
                "something is there; run again",
            ));
        }
        let made = self.operator.create_dir(&key).await;
        made.map_err(|error| errors::fault(&error, Doing::Changing))?;
        Ok(found::folder())
    }

    async fn remove_folder(&self, path: &SyncPath) -> Outcome<()> {
        let key = names::folder_key(path)?;
        // Drives remove a folder with all that is in it; in flat storages only a marker would go.
        if listing::anything_in(&self.operator, &key).await? {
            return Err(errors::refusal(
                ErrorKind::NotEmpty,
                "the folder is not empty",
            ));
        }
        let removed = self.operator.delete(&key).await;
        removed.map_err(|error| errors::fault(&error, Doing::Changing))
    }

    async fn set_mode(&self, _: &SyncPath, _: Mode) -> Outcome<Found> {
        self.cannot("permission bits")
    }

    fn writes_large_apart(&self) -> bool {
        self.service.large != Large::Buffer
    }

    async fn put_as_large(&self, put: Put<'_>) -> Outcome<Found> {
        self.put_in_parts(put).await
    }

    #[cfg(feature = "s3")]
    fn verifies(&self) -> bool {
        self.direct.is_some()
    }

    #[cfg(feature = "s3")]
    async fn verified_hash(&self, path: &SyncPath, tag: &str) -> Outcome<Option<ContentHash>> {
        match &self.direct {
            Some(direct) => direct.sum(names::key(path)?, tag).await,
            None => Ok(None),
        }
    }

    /// SeaweedFS has the folders of a key that went for two minutes more. A folder that holds something survives that it is removed there.
    #[cfg(feature = "s3")]
    async fn clear_emptied(&self, path: &SyncPath) -> Outcome<bool> {
        let key = names::folder_key(path)?;
        let is_there = match &self.direct {
            Some(direct) => direct.has(&key).await?,
            None => false,
        };
        // Looked at last: where `q/` is a key like others it is listed now, and stays.
        if !is_there || self.stat(path).await?.is_some() {
            return Ok(false);
        }
        for folder in listing::folders(&self.operator, key).await? {
            let removed = self.operator.delete(&folder).await;
            removed.map_err(|error| errors::fault(&error, Doing::Changing))?;
        }
        Ok(true)
    }

    #[cfg(feature = "s3")]
    fn copy_source(&self) -> Option<CopySource> {
        Some(self.direct.as_ref()?.source(&self.identity))
    }

    #[cfg(feature = "s3")]
    fn copies_from(&self, source: &CopySource) -> bool {
        let direct = self.direct.as_ref();
        direct.is_some_and(|direct| direct.source(&self.identity).realm == source.realm)
    }

    #[cfg(feature = "s3")]
    async fn copy_in(&self, copy: CopyIn<'_>) -> Outcome<Found> {
        match &self.direct {
            Some(direct) => direct.copy(names::key(copy.to)?, copy).await,
            None => self.cannot("copies from other storages"),
        }
    }
}

impl OpendalStore {
    /// The root of a flat store is there if anything is below it.
    async fn stat_root(&self) -> Outcome<Option<Found>> {
        if self.facts.flat {
            let below = listing::anything_below(&self.operator, &SyncPath::root()).await?;
            // A bucket is there with nothing in it.
            return Ok((below || self.prefix.is_empty()).then(found::folder));
        }
        Ok(Some(found::folder()))
    }

    /// An empty range asks for nothing: one look tells whether the file is there.
    async fn read_nothing(&self, key: &str, tag: Option<&str>) -> Outcome<Reading> {
        let found = self.source(key, tag).await.map_err(|fault| {
            let busy = fault.error.kind() == ErrorKind::Changed;
            Fault {
                error: if busy {
                    fault.error.with_kind(ErrorKind::Busy)
                } else {
                    fault.error
                },
                ..fault
            }
        })?;
        Ok(Reading {
            found: Some(found),
            pieces: futures::stream::empty().boxed(),
        })
    }
}
