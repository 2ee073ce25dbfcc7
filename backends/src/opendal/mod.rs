//! Storages that opendal reaches: S3, Azure, Google, FTP, drives, and others by their scheme.
//!
//! | room | what is in it |
//! |---|---|
//! | `services` | what is known of each service, in one table |
//! | `store` | the engine's operations, each done once |
//! | `listing`, `upload` | listings, large files |
//! | `found` | tags, times, and the notes beside the content |
//! | `names` | names that would not come back as they are |
//! | `errors` | what opendal's errors mean, and what to do |
//! | `transport` | patience with servers |
//! | `params` | credentials, addresses, and files with secrets |
//! | `plain` | types that need nothing but opendal |
//! | `s3`, ... | the registered types |
//!
//! *Deliberately absent:* opendal's retries, its limits, its caches. What is done, is done once.

use std::sync::Arc;

use ::opendal::{Error, Operator};
use serde::de::DeserializeOwned;
use serde_json::Value;
use wl_core::plugin::ConnectContext;
use wl_core::storage::{Capabilities, ErrorKind, Result, StorageBackend, StorageError};

use crate::remote::{self, RemoteBackend};

mod errors;
mod found;
mod listing;
mod names;
mod params;
mod services;
mod store;
#[cfg(test)]
mod tests;
mod transport;
mod upload;

#[cfg(feature = "opendal")]
mod any;
#[cfg(feature = "azblob")]
mod azblob;
#[cfg(any(feature = "onedrive", feature = "gdrive", feature = "dropbox"))]
mod drives;
#[cfg(feature = "ftp")]
mod ftp;
#[cfg(feature = "gcs")]
mod gcs;
#[cfg(any(
    feature = "azblob",
    feature = "ftp",
    feature = "gcs",
    feature = "onedrive",
    feature = "gdrive",
    feature = "dropbox"
))]
mod plain;
#[cfg(feature = "s3")]
mod s3;

#[cfg(feature = "s3")]
pub(crate) use errors::{about_credentials, unanswered};
use services::Service;
use store::{OpendalStore, Place};
#[cfg(all(test, feature = "s3"))]
pub(crate) use transport::patient;

/// The parameters of a type. What is wrong with them is told without their values: they may be secrets.
fn parsed<T: DeserializeOwned>(type_name: &str, params: &Value) -> Result<T> {
    T::deserialize(params).map_err(|_| {
        config(format!(
            "the parameters do not fit the schema; see `wl storage create {type_name} --help`"
        ))
    })
}

/// The configuration is wrong.
fn config(reason: impl Into<String>) -> StorageError {
    StorageError::new(ErrorKind::Config, "connect", reason)
}

/// The credentials cannot be used.
fn no_credentials(reason: impl Into<String>) -> StorageError {
    StorageError::new(ErrorKind::Credentials, "connect", reason)
}

/// The backend of `type_name` over `operator`.
async fn connect(
    type_name: &'static str,
    service: &'static Service,
    operator: std::result::Result<Operator, Error>,
    place: Place,
    context: &ConnectContext,
) -> Result<Arc<dyn StorageBackend>> {
    let store = store(type_name, service, operator, place)?;
    let backend = RemoteBackend::connect(type_name, Arc::new(store), context).await?;
    Ok(Arc::new(backend))
}

/// The store of `type_name` over `operator`.
fn store(
    type_name: &'static str,
    service: &'static Service,
    operator: std::result::Result<Operator, Error>,
    place: Place,
) -> Result<OpendalStore> {
    let location = place.location.clone();
    let told = |error: Error| {
        let fault = errors::fault(&error, errors::Doing::Looking);
        StorageError::new(fault.error.kind(), "connect", fault.error.reason()).on(&location)
    };
    let operator = operator.map_err(told)?;
    OpendalStore::new(type_name, service, operator, place).map_err(told)
}

/// The row of the table for a scheme of our own types.
fn service(scheme: &str) -> Result<&'static Service> {
    services::of(scheme).ok_or_else(|| {
        let known: Vec<_> = services::schemes().collect();
        config(format!(
            "`{scheme}` is not offered; choose one of: {}",
            known.join(", ")
        ))
    })
}

/// The most that a storage with opendal's name `scheme` can do.
fn at_best(scheme: &str) -> Capabilities {
    let facts = services::of(scheme).map_or(&services::NOTHING, |service| &service.facts);
    remote::at_best(facts)
}

/// The operator of a service with these options. opendal's own complaints name options, not values.
fn built(scheme: &str, options: Vec<(&str, String)>) -> std::result::Result<Operator, Error> {
    ::opendal::init_default_registry();
    let options = options
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    Operator::via_iter(scheme, options)
}
