//! Taking away what is ours and no longer of use.

use std::collections::BTreeSet;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, StreamExt};
use tokio_util::sync::CancellationToken;
use wl_core::model::SyncPath;
use wl_core::storage::{ErrorKind, Result, StorageError};

use crate::remote::session::{Rounds, own_path, repeat};
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

/// Removes what is `old` in these rooms below the reserved name, which are in the order of their names; `old` is asked with a room and
/// what is directly in it. In flat storages one listing tells of all of them.
pub(in crate::remote) async fn rooms(
    wire: &Wire,
    rooms: &[&str],
    old: impl Fn(&str, &str, &Found) -> bool + Send + Sync,
    cancel: &CancellationToken,
) -> Result<()> {
    for room in rooms {
        let folder = own_path(room)?;
        match folder.parent().filter(|_| wire.facts().flat) {
            Some(above) => return flat(wire, &above, old, cancel).await,
            None => {
                let old = |name: &str, found: &Found| old(room, name, found);
                children(wire, &folder, old, cancel).await?;
            }
        }
    }
    Ok(())
}

/// Removes those children of a folder that are `old`, with all in them.
async fn children(
    wire: &Wire,
    folder: &SyncPath,
    old: impl Fn(&str, &Found) -> bool + Send + Sync,
    cancel: &CancellationToken,
) -> Result<()> {
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

/// Removes those keys below a folder that are `old` by the first two parts of what follows. The trash comes last and is in order of age:
/// the first there that is not old ends the search.
async fn flat(
    wire: &Wire,
    folder: &SyncPath,
    old: impl Fn(&str, &str, &Found) -> bool + Send + Sync,
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
                let mut parts = row.name.get(skip..).unwrap_or_default().split('/');
                let (room, child) = (parts.next(), parts.next());
                let (room, child) = (room.unwrap_or_default(), child.unwrap_or_default());
                if old(room, child, &row.found) {
                    keys.extend(SyncPath::new(row.name).ok());
                } else if room == "trash" {
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
        match wire.facts().flat {
            true => flat(wire, at, |_, _, _| true, cancel).await?,
            false => children(wire, at, |_, _| true, cancel).await?,
        }
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
