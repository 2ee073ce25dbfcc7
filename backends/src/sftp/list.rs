//! What is in a folder: names and attributes in one go.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future;
use wl_core::model::Kind;
use wl_core::storage::{ErrorKind, Noted};

use super::client::{clear, fault, found, is_folder, is_link};
use super::connection::{Answer, Connection, Handle, Trouble, strange};
use super::packet::{self, Attrs, Body, Name};
use super::site::Site;
use crate::remote::store::{Found, Listed, Outcome, Pages};

/// Pages that are asked for ahead.
const AHEAD: usize = 4;

#[derive(Debug)]
struct Folder {
    connection: Arc<Connection>,
    path: String,
    /// `None` at the end.
    handle: Option<Handle>,
    asked: VecDeque<Answer>,
}

/// Starts to list a folder.
pub(super) async fn list(site: &Site, path: String) -> Outcome<Box<dyn Pages>> {
    let connection = site.connection("list").await?;
    let there = connection.lstat(&path).await;
    match there.map_err(|trouble| fault("list", trouble))? {
        Some(attrs) if is_folder(attrs) => {}
        Some(_) => return Err(clear("list", ErrorKind::NotFound, "it is no folder")),
        None => return Err(clear("list", ErrorKind::NotFound, "nothing is there")),
    }
    let opened = connection.path(packet::OPENDIR, &path).handle().await;
    Ok(Box::new(Folder {
        handle: Some(opened.map_err(|trouble| fault("list", trouble))?),
        connection,
        path,
        asked: VecDeque::new(),
    }))
}

#[async_trait]
impl Pages for Folder {
    async fn next(&mut self) -> Outcome<Option<Vec<Listed>>> {
        let Some(handle) = &self.handle else {
            return Ok(None);
        };
        while self.asked.len() < AHEAD {
            let answer = self.connection.on_handle(packet::READDIR, handle);
            self.asked.push_back(answer);
        }
        let Some(answer) = self.asked.pop_front() else {
            return Ok(None);
        };
        let names = match answer.body().await {
            Ok(Body::Names(names)) => names,
            Ok(_) => return Err(fault("list", strange())),
            Err(trouble) if trouble.is(packet::EOF) => {
                self.handle = None;
                self.asked.clear();
                return Ok(None);
            }
            Err(trouble) => return Err(fault("list", trouble)),
        };
        let names = names
            .into_iter()
            .filter(|name| !matches!(&name.name[..], b"." | b".."));
        let rows = future::try_join_all(names.map(|name| self.row(name))).await;
        let rows = rows.map_err(|trouble| fault("list", trouble))?;
        Ok(Some(rows.into_iter().flatten().collect()))
    }
}

impl Folder {
    /// A row; `None` if it has gone in the meantime.
    async fn row(&self, name: Name) -> Result<Option<Listed>, Trouble> {
        let text = match std::str::from_utf8(&name.name) {
            Ok(text) if !text.is_empty() && !text.contains(['/', '\0']) => text.to_owned(),
            _ => {
                let text = String::from_utf8_lossy(&name.name).replace(['/', '\0'], "\u{fffd}");
                return Ok(Some(unusable(text, name.attrs, true)));
            }
        };
        let path = format!("{}/{text}", self.path.trim_end_matches('/'));
        let mut attrs = name.attrs;
        if attrs.kind().is_none() || attrs.mtime.is_none() {
            match self.connection.lstat(&path).await? {
                Some(told) => attrs = told,
                None => return Ok(None),
            }
        }
        let mut link = None;
        if is_link(attrs) {
            match self.connection.readlink(&path).await {
                Ok(Some(target)) => link = Some(target),
                Ok(None) => return Ok(Some(unusable(text, attrs, false))),
                Err(trouble) if trouble.is(packet::NO_SUCH_FILE) => return Ok(None),
                Err(trouble @ Trouble::Broken(_)) => return Err(trouble),
                Err(_) => return Ok(Some(unusable(text, attrs, false))),
            }
        }
        Ok(Some(match found(attrs, link) {
            Some(found) => Listed {
                name: text,
                found,
                lossy: false,
                special: false,
            },
            // Devices, sockets and pipes.
            None => unusable(text, attrs, false),
        }))
    }
}

/// What cannot be synced, and is only told.
fn unusable(name: String, attrs: Attrs, lossy: bool) -> Listed {
    let found = found(attrs, None).unwrap_or(Found {
        kind: Kind::File,
        size: 0,
        tag: None,
        modified: None,
        mode: None,
        link: None,
        file_id: None,
        noted: Noted::default(),
        operation: None,
    });
    Listed {
        name,
        found,
        lossy,
        special: !lossy,
    }
}
