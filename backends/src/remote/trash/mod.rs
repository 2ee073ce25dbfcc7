//! Removed and replaced versions, below the reserved name.
//!
//! `.wl/trash/SINCE-RUN/N.STATE.HASH.ORIGINAL%2FPATH`, and `.wl/claimed/...` for what nobody agreed to give up. A name that would be too
//! long for that goes on as `N.STATE.HASH/ORIGINAL/PATH`: folders have to be made one by one, and servers that keep flat keys in
//! folders walk each of them in every listing. A path that is too long for either is not told.

pub(super) mod clean;

use std::collections::{HashSet, VecDeque};

use tokio_util::sync::CancellationToken;
use wl_core::model::{ContentHash, Kind, RESERVED, SyncPath};
use wl_core::storage::{ErrorKind, Result, StorageError, TrashId, TrashItem, TrashState};

use super::session::{changed, make_above, own_path, repeat};
use super::store::{Condition, Found, Outcome};
use super::{Remote, names};

/// A name in a folder is not longer than this.
const LONGEST_NAME: usize = 255;
/// Nor is a key than this.
const LONGEST_KEY: usize = 1000;

/// What the name of a version in the trash says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) since: i64,
    pub(super) run: String,
    pub(super) number: u64,
    pub(super) state: TrashState,
    pub(super) hash: Option<ContentHash>,
    pub(super) path: Option<SyncPath>,
}

fn state_name(state: TrashState) -> &'static str {
    match state {
        TrashState::Replaced => "replaced",
        TrashState::Removed => "removed",
        TrashState::Rescued => "rescued",
        TrashState::Late => "late",
    }
}

/// Where a version with this label is.
pub(super) fn place(label: &Label) -> Result<SyncPath> {
    let room = if label.state.is_claimed() {
        "claimed"
    } else {
        "trash"
    };
    let hash = label
        .hash
        .map_or_else(|| "-".to_owned(), |hash| hash.to_string());
    let Label {
        since, run, number, ..
    } = label;
    let name = format!("{number}.{}.{hash}", state_name(label.state));
    let folder = format!("{room}/{since:012}-{run}");
    let original = label.path.as_ref().map_or("", SyncPath::as_str);
    let short = format!(
        "{name}.{}",
        original.replace('%', "%25").replace('/', "%2F")
    );
    let long = format!("{folder}/{name}/{original}");
    if original.is_empty() {
        own_path(&format!("{folder}/{name}"))
    } else if short.len() <= LONGEST_NAME {
        own_path(&format!("{folder}/{short}"))
    } else if long.len() + RESERVED.len() < LONGEST_KEY {
        own_path(&long)
    } else {
        own_path(&format!("{folder}/{name}"))
    }
}

/// The version's name for people: what comes after the reserved name.
pub(super) fn id(at: &SyncPath) -> Option<TrashId> {
    let rest = at.as_str().strip_prefix(RESERVED)?.strip_prefix('/')?;
    Some(TrashId(rest.to_owned()))
}

/// Since when and by which run a folder in the trash is.
pub(super) fn run(name: &str) -> Option<(i64, &str)> {
    let (since, run) = name.split_once('-')?;
    Some((since.parse().ok()?, run))
}

/// Reads a name that [`place`] made.
pub(super) fn label(id: &str) -> Option<Label> {
    let (room, rest) = id.split_once('/')?;
    let (folder, rest) = rest.split_once('/')?;
    let (since, run) = run(folder)?;
    let (number, rest) = rest.split_once('.')?;
    let (state, rest) = rest.split_once('.')?;
    let state = match (room, state) {
        ("trash", "replaced") => TrashState::Replaced,
        ("trash", "removed") => TrashState::Removed,
        ("claimed", "rescued") => TrashState::Rescued,
        ("claimed", "late") => TrashState::Late,
        _ => return None,
    };
    let end = rest.find(['/', '.']).unwrap_or(rest.len());
    let path = match rest[end..].split_at_checked(1) {
        Some(("/", path)) => SyncPath::new(path).ok(),
        Some((".", path)) => SyncPath::new(path.replace("%2F", "/").replace("%25", "%")).ok(),
        _ => None,
    };
    Some(Label {
        since,
        run: run.to_owned(),
        number: number.parse().ok()?,
        state,
        hash: ContentHash::parse(&rest[..end]).ok(),
        path,
    })
}

/// All of it, oldest first.
pub(super) async fn list(remote: &Remote) -> Result<Vec<TrashItem>> {
    let mut found = Vec::new();
    for room in ["trash", "claimed"] {
        walk(remote, room, &mut found).await?;
    }
    Ok(in_order(found))
}

/// What nobody agreed to give up.
pub(super) async fn claimed(remote: &Remote) -> Result<Vec<TrashItem>> {
    let mut found = Vec::new();
    walk(remote, "claimed", &mut found).await?;
    Ok(in_order(found))
}

fn in_order(mut found: Vec<(Label, TrashItem)>) -> Vec<TrashItem> {
    found.sort_by(|(a, _), (b, _)| (a.since, &a.run, a.number).cmp(&(b.since, &b.run, b.number)));
    found.into_iter().map(|(_, item)| item).collect()
}

async fn walk(remote: &Remote, room: &str, items: &mut Vec<(Label, TrashItem)>) -> Result<()> {
    let flat = remote.wire.facts().flat;
    let mut folders = VecDeque::from([own_path(room)?]);
    while let Some(folder) = folders.pop_front() {
        let (mut inner, before) = (Vec::new(), items.len());
        clean::rows(&remote.wire, &folder, |rows| {
            let Some(rows) = rows else {
                inner.clear();
                items.truncate(before);
                return true;
            };
            for row in rows {
                let at = match flat {
                    true => SyncPath::new(row.name).ok(),
                    false => folder.join(&row.name).ok().filter(|_| !row.lossy),
                };
                match (at, row.found.kind) {
                    (Some(at), Kind::Folder) if !flat => inner.push(at),
                    (Some(at), Kind::File | Kind::Link) => items.extend(item(&at, &row.found)),
                    _ => {}
                }
            }
            true
        })
        .await?;
        folders.extend(inner);
    }
    Ok(())
}

fn item(at: &SyncPath, found: &Found) -> Option<(Label, TrashItem)> {
    let id = id(at)?;
    let label = label(&id.0)?;
    let item = TrashItem {
        id,
        path: label.path.clone(),
        kind: Some(found.kind),
        state: label.state,
        size: found.size,
        hash: label.hash,
        since: label.since,
    };
    Some((label, item))
}

/// Puts a version back where nothing is.
pub(super) async fn restore(remote: &Remote, id: &TrashId, to: &SyncPath) -> Result<()> {
    const WHAT: &str = "restore";
    names::usable(remote, WHAT, to)?;
    let from = label(&id.0).and_then(|_| own_path(&id.0).ok());
    let found = match &from {
        Some(from) => remote.wire.stat(from).await?,
        None => None,
    };
    let (Some(from), Some(found)) = (from, found.filter(|found| found.kind != Kind::Folder)) else {
        let reason = format!("the trash has no `{id}`; list the trash to see what it has");
        return Err(StorageError::new(ErrorKind::NotFound, WHAT, reason).on(&remote.location));
    };
    if to.is_root() || remote.wire.stat(to).await?.is_some() {
        return Err(changed(WHAT, to, "something is there").on(&remote.location));
    }
    for above in to.ancestors() {
        let found = remote.wire.stat(&above).await?;
        if found.is_some_and(|found| found.kind != Kind::Folder) {
            let reason = format!("{above} is no folder; restore to another path");
            let error = StorageError::new(ErrorKind::NoParent, WHAT, reason);
            return Err(error.at(to).on(&remote.location));
        }
    }
    if !remote.wire.facts().flat {
        let (mut made, cancel) = (HashSet::new(), CancellationToken::new());
        let made = make_above(&remote.wire, &mut made, to, &cancel).await;
        made.map_err(|fault| remote.wire.error(WHAT, to, fault))?;
    }
    move_back(remote, &from, &found, to).await
}

async fn move_back(remote: &Remote, from: &SyncPath, found: &Found, to: &SyncPath) -> Result<()> {
    let (store, facts) = (remote.wire.store(), remote.wire.facts());
    let cancel = CancellationToken::new();
    let done: Outcome<()> = if facts.renames {
        let back = || async { store.rename(from, &Condition::None, to).await.map(|_| ()) };
        repeat(&remote.wire, &cancel, 0, back).await
    } else {
        let tag = found.tag.as_deref();
        let back = || async { store.copy(from, tag, to, true).await.map(|_| ()) };
        repeat(&remote.wire, &cancel, 0, back).await
    };
    if let Err(fault) = done {
        // The reply may have been lost: then it is there, as large as it was.
        let there = remote.wire.stat(to).await?;
        let gone = facts.renames && remote.wire.stat(from).await?.is_none();
        if !gone || there.is_none_or(|there| there.size != found.size) {
            return Err(remote.wire.error("restore", to, fault));
        }
    }
    if !facts.renames {
        clean::remove(&remote.wire, from).await?;
    }
    // Folders that are empty now only take room.
    if let (false, Some(above)) = (facts.flat, from.parent()) {
        store.remove_folder(&above).await.ok();
    }
    Ok(())
}
