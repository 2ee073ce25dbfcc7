//! Notes about large uploads that may be carried on: one small object each, below the reserved name.

use std::collections::BTreeMap;

use http::Method;
use serde::{Deserialize, Serialize};
use wl_core::model::ContentHash;
use wl_core::storage::ErrorKind;

use super::client::{Ask, Client, refused};
use crate::remote::store::Outcome;

/// An upload that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// The server's name for it.
    pub(super) upload: String,
    /// Bytes of all.
    pub(super) size: u64,
    /// Bytes of a part.
    pub(super) part: u64,
    /// What the server will note beside the object, but for what names the write. It cannot be changed any more.
    #[serde(default)]
    pub(super) beside: BTreeMap<String, String>,
}

fn key(path: &str) -> String {
    format!(".wl/uploads/{}", ContentHash::of(path.as_bytes()))
}

impl Client {
    /// The note about `path`; `None` if there is none that can be read.
    pub(super) async fn note(&self, path: &str) -> Outcome<Option<Note>> {
        match self.send(Ask::new(Method::GET, &key(path))).await {
            Ok(answer) => Ok(serde_json::from_slice(&answer.body).ok()),
            Err(fault) if fault.error.kind() == ErrorKind::NotFound => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Writes the note about `path`.
    pub(super) async fn set_note(&self, path: &str, note: &Note) -> Outcome<()> {
        let key = key(path);
        let mut ask = Ask::new(Method::PUT, &key);
        ask.body = serde_json::to_vec(note)
            .map_err(|error| refused(ErrorKind::Other, error.to_string()))?
            .into();
        self.send(ask).await.map(drop)
    }

    /// Takes the note about `path` away.
    pub(super) async fn drop_note(&self, path: &str) -> Outcome<()> {
        self.send(Ask::new(Method::DELETE, &key(path)))
            .await
            .map(drop)
    }
}
