//! The first and the last of a session: what dead sessions left, what is too old for the trash, what was not published.

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

/// Before the first change: the root is there, leftovers are not.
pub(super) async fn open(session: &Shared) -> Result<()> {
    let (remote, root) = (&session.remote, SyncPath::root());
    if !session.facts().flat && remote.wire.stat(&root).await?.is_none() {
        let make = || session.store().make_folder(&root, None);
        match session.repeat_fault(0, make).await {
            Ok(_) => {}
            Err(fault) if fault.error.kind() == ErrorKind::Changed => {}
            Err(fault) => return Err(session.error("make folder", &root, fault)),
        }
    }
    for (folder, age) in [("stage", STAGE_AGE), ("probe", PROBE_AGE)] {
        let own = session.options.run.as_str();
        let old = |name: &str, found: &Found| {
            let until = now().secs.saturating_sub(age);
            name != own && found.modified.is_some_and(|at| at.secs < until)
        };
        // Leftovers only take room: the next run tries again.
        clean::children(
            &remote.wire,
            &own_path(folder)?,
            old,
            &session.options.cancel,
        )
        .await
        .ok();
    }
    Ok(())
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
    let keep = session.options.trash_keep;
    if session.remote.capabilities.trash && (wrote || keep == TrashKeep::None) {
        expire(session, keep).await;
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

/// Gives up what is too old. Versions of this run stay until the next has ended.
async fn expire(session: &Shared, keep: TrashKeep) {
    let until = match keep {
        TrashKeep::None => session.began,
        TrashKeep::For(time) => {
            let time = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
            session.began.min(now().secs.saturating_sub(time))
        }
    };
    let Ok(folder) = own_path("trash") else {
        return;
    };
    let old = |name: &str, _: &Found| {
        trash::run(name).is_some_and(|(since, run)| since <= until && run != session.options.run)
    };
    // What is kept too long is given up by the next run.
    clean::children(&session.remote.wire, &folder, old, &session.options.cancel)
        .await
        .ok();
}
