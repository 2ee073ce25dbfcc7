//! Reading, deciding again with what was read, staging: a chunk of paths at a time.

use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::copy::{name_versions, stage_copies, travels};
use super::item::{Item, Progressed};
use super::maybe_moved::set_moves_aside;
use super::node::Found;
use super::proof::look_at_links;
use super::recall::recall;
use crate::model::{Hasher, Kind, Meta, Side};
use crate::planted::{Bug, planted};
use crate::reconcile::Verdict;
use crate::storage::{
    ContentReader, ContentWriter, ErrorKind, Payload, ReadRequest, Result, SMALL_FILE,
    StageRequest, Staged, StorageError,
};
use crate::sync::SyncError;
use crate::sync::unrest::WORTH_WAITING;

/// After this long a local file's token can be believed: longer than the ticks of the system's clock for files.
const SETTLES: Duration = Duration::from_millis(25);

/// Takes a chunk of paths as far as it goes without the rest of the pass.
pub(super) async fn work_on(
    context: Arc<Context>,
    mut items: Vec<Item>,
) -> Result<Vec<Item>, SyncError> {
    // A decision asks for reading at most twice: first the sides that may have changed, then both to compare them.
    loop {
        context.check_going()?;
        name_versions(&context, &mut items);
        recall(&context, &mut items);
        let wanted = wanted_reads(&context, &items);
        if wanted.is_empty() {
            break;
        }
        read_all(&context, &mut items, wanted).await;
    }
    set_moves_aside(&context, &mut items).await?;
    look_at_links(&context, &mut items).await;
    stage_copies(&context, &mut items).await;
    stage_small(&context, &mut items).await;
    for item in &mut items {
        if needs_streaming(item) {
            stream(&context, item).await;
        }
    }
    // A large file's hash is known only now.
    set_moves_aside(&context, &mut items).await?;
    Ok(items)
}

pub(super) fn in_progress(item: &Item) -> bool {
    matches!(item.progressed, Progressed::Decided)
}

/// What belongs to a change of type or to a group is only read for its decision.
pub(super) fn is_copied(item: &Item) -> bool {
    item.place.group.is_none() && item.place.together.is_none()
}

fn is_small(meta: &Meta) -> bool {
    meta.size <= SMALL_FILE
}

/// Which sides of which items are to be read now: those a decision waits for, and small contents that will be copied.
fn wanted_reads(context: &Context, items: &[Item]) -> Vec<(usize, Side)> {
    let mut wanted = Vec::new();
    for (index, item) in items
        .iter()
        .enumerate()
        .filter(|(_, item)| in_progress(item))
    {
        let files = |side: Side| {
            item.node.found[side]
                .meta()
                .filter(|meta| meta.kind == Kind::File)
        };
        match item.verdict {
            Verdict::Read(sides) => {
                wanted.extend(
                    Side::BOTH
                        .into_iter()
                        .filter(|&s| sides[s])
                        .map(|s| (index, s)),
                );
            }
            Verdict::Update { to, .. } if is_copied(item) && !travels(context, item, to) => {
                let from = to.other();
                if item.contents[from].is_none() && files(from).is_some_and(is_small) {
                    wanted.push((index, from));
                }
            }
            _ => {}
        }
    }
    wanted
}

async fn read_all(context: &Context, items: &mut [Item], wanted: Vec<(usize, Side)>) {
    for side in Side::BOTH {
        let storage = &context.job.storages[side];
        let (mut small, mut requests) = (Vec::new(), Vec::new());
        for &(index, _) in wanted.iter().filter(|(_, at)| *at == side) {
            let node = &items[index].node;
            let Some(meta) = node.found[side].meta() else {
                continue;
            };
            if is_small(meta) {
                small.push(index);
                requests.push(ReadRequest {
                    path: node.path.clone(),
                    meta: meta.clone(),
                });
            } else {
                let hashed = storage.hash(&node.path, &context.job.cancel).await;
                let hashed = hashed.and_then(|hashed| {
                    if hashed.meta.token != meta.token {
                        return Err(changed("hash"));
                    }
                    is_whole("hash", meta, hashed.meta.size)?;
                    context.tally().bytes.read += meta.size;
                    Ok(hashed.hash)
                });
                learn(&mut items[index], side, hashed);
            }
        }
        if small.is_empty() {
            continue;
        }
        let mut results = storage.read_small(requests).await;
        if planted(Bug::RepliesAreMixedUp) {
            results.reverse();
        }
        for (index, result) in small.into_iter().zip(results) {
            let result = result.and_then(|read| {
                let length = read.content.len() as u64;
                context.tally().bytes.read += length;
                let node = &items[index].node;
                if let Some(meta) = node.found[side].meta() {
                    is_whole("read", meta, length)?;
                }
                items[index].contents[side] = Some(read.content);
                items[index].noted[side] = read.noted;
                Ok(read.hash)
            });
            learn(&mut items[index], side, result);
        }
    }
}

fn changed(operation: &'static str) -> StorageError {
    let reason = "the file changed since it was listed";
    StorageError::new(ErrorKind::Busy, operation, reason)
}

/// A token that several versions share does not tell them apart: content of another length is another version, and nothing may be recorded
/// of it with the size that was listed.
fn is_whole(operation: &'static str, listed: &Meta, length: u64) -> Result<()> {
    match length == listed.size {
        true => Ok(()),
        false => Err(changed(operation)),
    }
}

/// Notes a hash that was read and decides again.
fn learn(item: &mut Item, side: Side, hash: Result<crate::model::ContentHash>) {
    match hash {
        Ok(hash) => {
            item.node.hashes[side] = Some(hash);
            item.verdict = item.node.decide(item.policy);
        }
        Err(error) => item.progressed = Progressed::Failed(side, error),
    }
}

pub(super) fn stage_request(item: &Item, to: Side, payload: Payload) -> Option<StageRequest> {
    let from = item.node.found[to.other()].meta()?;
    let Verdict::Update { modes, .. } = item.verdict else {
        return None;
    };
    let noted = item.noted[to.other()];
    let there = item.node.found[to].meta();
    // A storage that keeps no permission bits may still have a note of them: it serves a file that is new here.
    let of_new = noted.mode.filter(|_| there.is_none());
    Some(StageRequest {
        path: item.node.path.clone(),
        payload,
        hash: item
            .node
            .hash(to.other())
            .unwrap_or(crate::model::ContentHash::from_bytes([0; 32])),
        mtime: noted.mtime.or(from.mtime),
        mode: modes.set[to]
            .or_else(|| there.and_then(|meta| meta.mode))
            .or(of_new),
    })
}

/// Small contents and links, all at once for a side.
async fn stage_small(context: &Context, items: &mut [Item]) {
    for side in Side::BOTH {
        let (mut indexes, mut requests) = (Vec::new(), Vec::new());
        for (index, item) in items.iter_mut().enumerate() {
            let Verdict::Update { to, .. } = item.verdict else {
                continue;
            };
            if to != side || !in_progress(item) || !is_copied(item) {
                continue;
            }
            let Some(from) = item.node.found[to.other()].meta() else {
                continue;
            };
            let payload = match from.kind {
                Kind::Link => from.link.clone().map(Payload::Link),
                Kind::File => item.contents[to.other()].take().map(Payload::Bytes),
                Kind::Folder => None,
            };
            if let Some(request) = payload.and_then(|payload| stage_request(item, to, payload)) {
                indexes.push(index);
                requests.push(request);
            }
        }
        if requests.is_empty() {
            continue;
        }
        match context.session(side) {
            Ok(session) => {
                let results = session.stage(requests).await;
                for (index, result) in indexes.into_iter().zip(results) {
                    items[index].progressed = staged(side, result);
                }
            }
            Err(error) => {
                for index in indexes {
                    items[index].progressed = Progressed::Failed(side, error.repeat());
                }
            }
        }
    }
}

/// Waits until the file's token can be believed, if that does not take long: otherwise all of it is read once more later.
async fn settle(context: &Context, item: &mut Item, side: Side, meta: Meta) -> Result<Meta> {
    tokio::time::sleep(SETTLES).await;
    match context.job.storages[side].stat(&item.node.path).await? {
        Some(now) if now.token == meta.token => {
            item.node.found[side] = Found::There(now.clone());
            Ok(now)
        }
        _ => {
            let reason = "it is being written to";
            Err(StorageError::new(ErrorKind::Busy, "read", reason).at(&item.node.path))
        }
    }
}

pub(super) fn staged(side: Side, result: Result<Staged>) -> Progressed {
    match result {
        Ok(staged) => Progressed::Staged(staged),
        Err(error) => Progressed::Failed(side, error),
    }
}

fn needs_streaming(item: &Item) -> bool {
    let Verdict::Update { to, .. } = item.verdict else {
        return false;
    };
    in_progress(item)
        && is_copied(item)
        && item.node.found[to.other()]
            .meta()
            .is_some_and(|meta| meta.kind == Kind::File)
}

/// A large file, piece by piece.
async fn stream(context: &Context, item: &mut Item) {
    let Verdict::Update { to, .. } = item.verdict else {
        return;
    };
    let from = to.other();
    item.progressed = match stream_content(context, item, from, to).await {
        Ok((hash, staged)) => {
            item.node.hashes[from] = Some(hash);
            Progressed::Staged(staged)
        }
        Err((side, error)) => Progressed::Failed(side, error),
    };
}

async fn stream_content(
    context: &Context,
    item: &mut Item,
    from: Side,
    to: Side,
) -> Result<(crate::model::ContentHash, Staged), (Side, StorageError)> {
    let Some(meta) = item.node.found[from].meta().cloned() else {
        return Err((
            from,
            StorageError::new(ErrorKind::NotFound, "read", "nothing is there"),
        ));
    };
    let at = |side| move |error| (side, error);
    let size = meta.size;
    let meta = match size >= WORTH_WAITING && !meta.settled {
        true => settle(context, item, from, meta).await.map_err(at(from))?,
        false => meta,
    };
    let request = ReadRequest {
        path: item.node.path.clone(),
        meta: meta.clone(),
    };
    let mut reader = context.job.storages[from]
        .read(request)
        .await
        .map_err(at(from))?;
    item.noted[from] = reader.noted();
    let Some(stage) = stage_request(item, to, Payload::Bytes(bytes::Bytes::new())) else {
        return Err((
            to,
            StorageError::new(ErrorKind::Other, "stage", "nothing to stage"),
        ));
    };
    let session = context.session(to).map_err(at(to))?;
    let mut writer = session
        .stage_large(stage, size, &item.node.expect(to))
        .await
        .map_err(at(to))?;
    let (hash, read) = pass_on(context, (from, &mut *reader), (to, &mut *writer)).await?;
    is_whole("read", &meta, read).map_err(at(from))?;
    let staged = writer.finish(hash).await.map_err(at(to))?;
    Ok((hash, staged))
}

/// Reads all that is left and writes it; returns its hash and its length.
async fn pass_on(
    context: &Context,
    (from, reader): (Side, &mut dyn ContentReader),
    (to, writer): (Side, &mut dyn ContentWriter),
) -> Result<(crate::model::ContentHash, u64), (Side, StorageError)> {
    let at = |side| move |error| (side, error);
    let (mut hasher, mut read) = (Hasher::new(), 0);
    while let Some(piece) = reader.next().await.map_err(at(from))? {
        if context.job.cancel.is_cancelled() {
            let error = StorageError::new(ErrorKind::Cancelled, "copy", "the run was stopped");
            return Err((from, error));
        }
        let length = piece.len() as u64;
        // The next piece could be read while this one is hashed and written; the writer does so.
        hasher.update(&piece);
        writer.write(piece).await.map_err(at(to))?;
        context.tally().bytes.read += length;
        context.job.progress.did(0, length);
        read += length;
    }
    Ok((hasher.finish(), read))
}
