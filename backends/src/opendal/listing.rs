//! Listings: flat keys page by page, or what is in a folder.

use std::collections::VecDeque;

use ::opendal::options::ListOptions;
use ::opendal::{Entry, Error, Lister, Operator};
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::ReadyChunks;
use wl_core::model::{Kind, SyncPath};
use wl_core::storage::ErrorKind;

use super::errors::{self, Doing};
use super::found;
use super::names;
use super::services::Service;
use super::transport;
use crate::remote::store::{Found, List, Listed, Outcome, Pages};

/// Rows that are handed on at once: what a server sends in a page.
const PAGE: usize = 1000;

/// The MD5 of nothing, which is the entity tag of an empty object that was written in one piece and in the clear.
const EMPTY: &str = "\"d41d8cd98f00b204e9800998ecf8427e\"";

/// Starts a listing.
pub(super) async fn list(
    operator: &Operator,
    service: &'static Service,
    list: List<'_>,
) -> Outcome<Box<dyn Pages>> {
    let (prefix, options, flat) = match list {
        List::Keys { prefix, after } => (keys_prefix(prefix)?, keys(after), true),
        List::Folder(path) if path.is_root() => ("/".to_owned(), ListOptions::default(), false),
        List::Folder(path) => (names::folder_key(path)?, ListOptions::default(), false),
    };
    let lister = operator.lister_options(&prefix, options).await;
    let lister = lister.map_err(|error| errors::fault(&error, Doing::Looking))?;
    Ok(Box::new(Rows {
        operator: operator.clone(),
        service,
        flat,
        folder: if prefix == "/" { String::new() } else { prefix },
        chunks: lister.ready_chunks(PAGE),
        fault: None,
    }))
}

fn keys(after: Option<&str>) -> ListOptions {
    ListOptions {
        recursive: true,
        start_after: after.map(str::to_owned),
        ..ListOptions::default()
    }
}

/// opendal takes a folder to list, and `/` for everything. It would trim white space.
fn keys_prefix(prefix: &str) -> Outcome<String> {
    if prefix.is_empty() {
        return Ok("/".to_owned());
    }
    if prefix.trim() != prefix {
        let reason = "the folder begins with white space, which is cut off on the way; rename it";
        return Err(errors::refusal(ErrorKind::Unrepresentable, reason));
    }
    Ok(prefix.to_owned())
}

struct Rows {
    operator: Operator,
    service: &'static Service,
    flat: bool,
    /// What is listed, with a `/` at its end; empty for the root.
    folder: String,
    chunks: ReadyChunks<Lister>,
    /// Came with rows that were handed on first.
    fault: Option<Error>,
}

#[async_trait]
impl Pages for Rows {
    async fn next(&mut self) -> Outcome<Option<Vec<Listed>>> {
        loop {
            if let Some(error) = self.fault.take() {
                return Err(errors::fault(&error, Doing::Looking));
            }
            let Some(chunk) = self.chunks.next().await else {
                return Ok(None);
            };
            let rows = self.rows(chunk.into()).await?;
            if !rows.is_empty() {
                return Ok(Some(rows));
            }
        }
    }
}

impl Rows {
    async fn rows(&mut self, mut chunk: VecDeque<Result<Entry, Error>>) -> Outcome<Vec<Listed>> {
        let mut rows = Vec::with_capacity(chunk.len());
        while let Some(entry) = chunk.pop_front() {
            match entry {
                Ok(entry) => rows.extend(self.row(&entry).await?),
                Err(error) => {
                    self.fault = Some(error);
                    break;
                }
            }
        }
        Ok(rows)
    }

    /// A row; `None` for what is listed itself.
    async fn row(&self, entry: &Entry) -> Outcome<Option<Listed>> {
        let path = entry.path();
        if path == "/" || (!self.flat && path == self.folder) {
            return Ok(None);
        }
        let mut found = found::found(self.service, entry.metadata());
        let name = if self.flat {
            if found.kind == Kind::Folder {
                found = self.marker(path, found).await?;
            }
            path
        } else {
            path.strip_prefix(&self.folder)
                .unwrap_or(path)
                .trim_end_matches('/')
        };
        Ok(Some(Listed {
            name: name.to_owned(),
            found,
            lossy: name.contains('\u{fffd}'),
            special: false,
        }))
    }

    /// A key that ends in `/`. opendal does not tell its size; one with content is no folder.
    async fn marker(&self, key: &str, found: Found) -> Outcome<Found> {
        if found.tag.as_deref().is_none_or(|tag| tag == EMPTY) {
            return Ok(found);
        }
        let length = transport::length(&self.operator, key).await;
        let length = length.map_err(|error| errors::fault(&error, Doing::Looking))?;
        Ok(match length {
            None | Some(0) => found,
            Some(size) => Found {
                kind: Kind::File,
                size,
                ..found
            },
        })
    }
}

/// Whether anything is below the folder at `path`.
pub(super) async fn anything_below(operator: &Operator, path: &SyncPath) -> Outcome<bool> {
    let prefix = if path.is_root() {
        "/".to_owned()
    } else {
        names::folder_key(path)?
    };
    let options = ListOptions {
        recursive: true,
        limit: Some(1),
        ..ListOptions::default()
    };
    let looking = |error: Error| errors::fault(&error, Doing::Looking);
    let mut lister = operator
        .lister_options(&prefix, options)
        .await
        .map_err(looking)?;
    Ok(lister.next().await.transpose().map_err(looking)?.is_some())
}

/// Whether anything is in the folder with this key.
pub(super) async fn anything_in(operator: &Operator, key: &str) -> Outcome<bool> {
    let looking = |error: Error| errors::fault(&error, Doing::Looking);
    let lister = operator.lister_options(key, ListOptions::default()).await;
    let mut lister = lister.map_err(looking)?;
    while let Some(entry) = lister.next().await.transpose().map_err(looking)? {
        if entry.path() != key {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The folder with this key and those in it, each before the one that it is in.
#[cfg(feature = "s3")]
pub(super) async fn folders(operator: &Operator, key: String) -> Outcome<Vec<String>> {
    let looking = |error: Error| errors::fault(&error, Doing::Looking);
    let (mut found, mut at) = (vec![key], 0);
    while at < found.len() {
        let key = found[at].clone();
        let inside = operator.list(&key).await.map_err(looking)?;
        let inside = inside.iter().map(Entry::path);
        let inside = inside.filter(|path| path.ends_with('/') && *path != key);
        found.extend(inside.map(str::to_owned));
        at += 1;
    }
    found.reverse();
    Ok(found)
}
