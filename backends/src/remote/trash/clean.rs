//! Taking away what is ours and no longer of use.

use std::collections::BTreeSet;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, StreamExt};
use tokio_util::sync::CancellationToken;
use wl_core::model::SyncPath;
use wl_core::storage::{ErrorKind, Result, StorageError};

use crate::remote::session::{Rounds, repeat};
use crate::remote::store::{Condition, Found, List, Listed, Outcome};
use crate::remote::wire::Wire;

/// So many keys are collected before they are removed.
const BATCH: usize = 1000;

/// What is directly in a folder, or the keys below a flat one, page by page until `each` says that it is enough. A folder that is
/// not there has nothing in it. When a listing breaks off it starts anew, and `each` is told so by `None`.
pub(super) async fn rows(
    wire: &Wire,
    folder: &SyncPath,
    mut each: impl FnMut(Option<Vec<Listed>>) -> bool + Send,
) -> Result<()> {
    let (mut rounds, cancel) = (Rounds::default(), CancellationToken::new());
    loop {
        each(None);
        match rows_once(wire, folder, &mut each).await {
            Ok(()) => return Ok(()),
            Err(fault) if fault.error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(fault) => {
                let fault = rounds.pause(fault, &cancel).await;
                fault.map_err(|fault| wire.error("list", folder, fault))?;
            }
        }
    }
}

async fn rows_once(
    wire: &Wire,
    folder: &SyncPath,
    each: &mut (impl FnMut(Option<Vec<Listed>>) -> bool + Send),
) -> Outcome<()> {
    let prefix = format!("{}/", folder.as_str());
    let list = match wire.facts().flat {
        true => List::Keys {
            prefix: &prefix,
            after: None,
        },
        false => List::Folder(folder),
    };
    let turn = wire.turn(0).await;
    let mut pages = wire.store().list(list).await?;
    drop(turn);
    loop {
        let turn = wire.turn(0).await;
        let page = pages.next().await;
        drop(turn);
        let rows = page?;
        if rows.is_none() || !each(rows) {
            return Ok(());
        }
    }
}

/// Removes those children of `folder` that are `old`, with all in them. Flat storages are asked by key, whose first part below the
/// folder is the child; they are in order, and the first that is not old ends the search where all are numbered by age.
pub(in crate::remote) async fn children(
    wire: &Wire,
    folder: &SyncPath,
    old: impl Fn(&str, &Found) -> bool + Send + Sync,
    cancel: &CancellationToken,
) -> Result<()> {
    if wire.facts().flat {
        return flat_children(wire, folder, old, cancel).await;
    }
    let mut names = BTreeSet::new();
    rows(wire, folder, |rows| {
        let rows = rows.into_iter().flatten();
        let old = rows.filter(|row| !row.lossy && old(&row.name, &row.found));
        names.extend(old.map(|row| (row.name, row.found.kind)));
        true
    })
    .await?;
    for (name, kind) in names {
        stop(cancel)?;
        let Ok(child) = folder.join(&name) else {
            continue;
        };
        match kind {
            wl_core::model::Kind::Folder => self::folder(wire, &child, cancel).await?,
            _ => remove(wire, &child).await?,
        }
    }
    Ok(())
}

async fn flat_children(
    wire: &Wire,
    folder: &SyncPath,
    old: impl Fn(&str, &Found) -> bool + Send + Sync,
    cancel: &CancellationToken,
) -> Result<()> {
    let skip = folder.as_str().len() + 1;
    loop {
        stop(cancel)?;
        let mut keys = Vec::new();
        rows(wire, folder, |rows| {
            let Some(rows) = rows else {
                keys.clear();
                return true;
            };
            for row in rows {
                let child = row.name.get(skip..).and_then(|rest| rest.split('/').next());
                if child.is_some_and(|child| old(child, &row.found)) {
                    keys.extend(SyncPath::new(row.name).ok());
                } else if folder.as_str().ends_with("/trash") {
                    return false;
                }
            }
            keys.len() < BATCH
        })
        .await?;
        let more = keys.len() >= BATCH;
        remove_all(wire, keys).await?;
        if !more {
            return Ok(());
        }
    }
}

async fn remove_all(wire: &Wire, keys: Vec<SyncPath>) -> Result<()> {
    let parallel = wire.facts().parallel.max(1);
    let tasks: Vec<_> = keys.iter().map(|key| remove(wire, key).boxed()).collect();
    let mut done = stream::iter(tasks).buffer_unordered(parallel);
    while let Some(removed) = done.next().await {
        removed?;
    }
    Ok(())
}

/// Removes a folder with all in it; nothing if it is not there.
pub(in crate::remote) fn folder<'a>(
    wire: &'a Wire,
    at: &'a SyncPath,
    cancel: &'a CancellationToken,
) -> BoxFuture<'a, Result<()>> {
    async move {
        children(wire, at, |_, _| true, cancel).await?;
        let remove = || wire.store().remove_folder(at);
        gone(wire, at, repeat(wire, cancel, 0, remove).await)
    }
    .boxed()
}

pub(super) async fn remove(wire: &Wire, at: &SyncPath) -> Result<()> {
    let cancel = CancellationToken::new();
    let remove = || wire.store().remove(at, &Condition::None);
    gone(wire, at, repeat(wire, &cancel, 0, remove).await)
}

fn gone(wire: &Wire, at: &SyncPath, removed: Outcome<()>) -> Result<()> {
    match removed {
        Err(fault) if fault.error.kind() != ErrorKind::NotFound => {
            Err(wire.error("tidy", at, fault))
        }
        _ => Ok(()),
    }
}

fn stop(cancel: &CancellationToken) -> Result<()> {
    match cancel.is_cancelled() {
        true => Err(StorageError::new(
            ErrorKind::Cancelled,
            "tidy",
            "told to stop",
        )),
        false => Ok(()),
    }
}
