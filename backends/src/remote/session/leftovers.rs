//! The first and the last of a session: the root, what was not published, what dead sessions left, what is too old for the trash.

use std::sync::atomic::Ordering::SeqCst;

use wl_core::model::SyncPath;
use wl_core::storage::{Durability, ErrorKind, Result, TrashKeep};

use super::stage::{Content, own_path};
use super::{Shared, lock};
use crate::remote::store::Found;
use crate::remote::token::now;
use crate::remote::trash::{self, clean};

/// Staged content of other runs is a leftover after this many seconds.
const STAGE_AGE: i64 = 24 * 3600;
/// What was left by trying a server out, too.
const PROBE_AGE: i64 = 3600;

/// Before the first change: the root is there.
pub(super) async fn open(session: &Shared) -> Result<()> {
    let (remote, root) = (&session.remote, SyncPath::root());
    if session.facts().flat || remote.wire.stat(&root).await?.is_some() {
        return Ok(());
    }
    let make = || session.store().make_folder(&root, None);
    match session.repeat_fault(0, make).await {
        Ok(_) => Ok(()),
        Err(fault) if fault.error.kind() == ErrorKind::Changed => Ok(()),
        Err(fault) => Err(session.error("make folder", &root, fault)),
    }
}

/// After the last change.
pub(super) async fn finish(session: &Shared) -> Result<()> {
    if session.ended.swap(true, SeqCst) {
        return Ok(());
    }
    let staged = std::mem::take(&mut *lock(&session.staged));
    for waiting in staged.into_values() {
        if let Content::Large(upload) = waiting.content {
            let _turn = session.remote.wire.turn(0).await;
            // What stays is not seen by anybody, and is given up by the storage or the next run.
            upload.lock().await.abort().await.ok();
        }
    }
    let wrote = session.opened.get().is_some();
    if wrote || session.options.trash_keep == TrashKeep::None {
        // What stays only takes room: the next run tries again.
        tidy(session).await.ok();
    }
    if !wrote {
        return Ok(());
    }
    if !session.facts().flat {
        let own = own_path(&format!("stage/{}", session.options.run))?;
        clean::folder(&session.remote.wire, &own, &session.options.cancel)
            .await
            .ok();
    }
    match session.options.durability {
        Durability::None => Ok(()),
        _ => session.flush().await,
    }
}

/// Gives up what is too old: what dead sessions left, and the trash. Versions of this run stay until the next has ended.
pub(super) async fn tidy(session: &Shared) -> Result<()> {
    let now = now().secs;
    let until = match session.options.trash_keep {
        TrashKeep::None => session.began,
        TrashKeep::For(time) => {
            let time = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
            session.began.min(now.saturating_sub(time))
        }
    };
    let own = session.options.run.as_str();
    let left = |name: &str, found: &Found, age: i64| {
        name != own
            && found
                .modified
                .is_some_and(|at| at.secs < now.saturating_sub(age))
    };
    let old = |room: &str, name: &str, found: &Found| match room {
        "stage" => left(name, found, STAGE_AGE),
        "probe" => left(name, found, PROBE_AGE),
        "trash" => trash::run(name).is_some_and(|(since, run)| since <= until && run != own),
        _ => false,
    };
    let (wire, cancel) = (&session.remote.wire, &session.options.cancel);
    let rooms = match session.remote.capabilities.trash {
        true => &["probe", "stage", "trash"][..],
        false => &["probe", "stage"],
    };
    clean::rooms(wire, rooms, old, cancel).await
}
