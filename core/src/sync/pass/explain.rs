//! Why a path is as it is: what both sides hold, what they last agreed on, and what follows. Nothing is changed.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::merge::is_too_large;
use super::node::{Found, Node};
use crate::machine;
use crate::model::{Conflict, ConflictSide, Kind, Meta, Side, Sides, SyncPath};
use crate::reconcile::{Conflicting, Verdict};
use crate::state::PairState;
use crate::storage::{Filter, ListRequest, RootChange, Row, Scope};
use crate::sync::exclude::filter_as_known;
use crate::sync::guard::{root_changed, root_changes, root_markers};
use crate::sync::{Group, SyncError, SyncJob};

/// What is known of a path, and what is decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The path.
    pub path: String,
    /// What each side holds.
    pub seen: Sides<Seen>,
    /// When that was looked at: seconds since 1970.
    pub seen_at: f64,
    /// What both last agreed on; `null` if they never did, or agreed that nothing is there.
    pub agreed: Option<ConflictSide>,
    /// What is decided: `agreed`, `update`, `remove`, ...
    pub decision: String,
    /// By which rule of the table in `docs/reconcile.md`.
    pub rule: String,
    /// What the next look does.
    pub next: String,
    /// The conflict that the last run left open here.
    pub conflict: Option<Conflict>,
}

/// What a side holds at a path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// `there`, `absent`, `left alone` or `unknown`.
    pub presence: String,
    /// What is there.
    pub entry: Option<ConflictSide>,
    /// Whether it differs from what was agreed on; `null` if there is nothing to compare, or reading it failed.
    pub changed: Option<bool>,
    /// Why it is left alone or unknown.
    pub why: Option<String>,
}

/// The conflict of a path, or of the group that it is part of; one of what both sides hold, if there is one.
fn conflict_at(path: &SyncPath, open: Vec<Conflict>) -> Option<Conflict> {
    let group = Group::by_name(path).map(|group| group.path);
    let here = |open: &Conflict| {
        open.path == path.as_str() || group.as_ref().is_some_and(|it| open.path == it.as_str())
    };
    let open = open.into_iter().filter(here);
    open.min_by_key(Conflict::is_about_trash)
}

/// Looks at `path` on both sides and says what follows. Files whose content decides are read.
pub async fn explain(job: &SyncJob, path: &SyncPath) -> Result<Explanation, SyncError> {
    let filter = filter_as_known(job).await?;
    let identities = job.storages.as_ref().map(|storage| storage.identity());
    let mut node = Node::new(path.clone(), job.options.checksum);
    let mut conflict = None;
    let mut refused = None;
    // A root that cannot be looked at is told by the look at the path.
    let markers = root_markers(job).await.ok();
    if let Some(mut state) = PairState::peek(&job.state_dir, identities)? {
        if let Some(markers) = &markers {
            state.read_announced(markers.as_ref().map(|marker| marker.start.clone()));
            let changes = root_changes(&state, markers)?;
            let changed = |side: &Side| changes[*side] != RootChange::Same;
            let changed = Side::BOTH.into_iter().find(changed);
            refused = changed.map(|side| root_changed(job, side, changes[side]).desc);
        }
        node.base = state.row_at(path)?;
        let announced = state.left_announced().get(path).cloned();
        node.announced = announced.unwrap_or_default();
        conflict = conflict_at(path, state.conflicts()?);
    }
    let (source, target) = tokio::join!(
        look(job, &filter, Side::Source, path),
        look(job, &filter, Side::Target, path)
    );
    let mut whys = Sides::<Option<String>>::default();
    for (side, (found, why)) in [(Side::Source, source), (Side::Target, target)] {
        node.found[side] = found;
        whys[side] = why;
    }
    let verdict = decide(job, &mut node, &mut whys).await;
    let (decision, rule, next) = words(verdict, &node);
    let next = in_group(job, path, conflict.as_ref(), next);
    let seen_at = machine::wall().duration_since(UNIX_EPOCH);
    let found = node.conflict(Conflicting::Content);
    let entries = Sides::new(found.source, found.target);
    Ok(Explanation {
        path: path.as_str().to_owned(),
        seen: Sides::from_fn(|side| Seen {
            presence: presence(&node.found[side]).to_owned(),
            entry: entries[side].clone(),
            changed: changed(&node, side),
            why: whys[side].clone(),
        }),
        seen_at: seen_at.unwrap_or_default().as_secs_f64(),
        agreed: found.ancestor,
        decision: decision.to_owned(),
        rule,
        next: refused.unwrap_or(next),
        conflict,
    })
}

/// What is to be done. Files whose content decides are read.
async fn decide(job: &SyncJob, node: &mut Node, whys: &mut Sides<Option<String>>) -> Verdict {
    let policy = job.options.direction.into();
    let mut verdict = node.decide(policy);
    // What one side holds may tell that the other has to be read, too.
    for _ in Side::BOTH {
        let Verdict::Read(sides) = verdict else { break };
        for side in Side::BOTH.into_iter().filter(|side| sides[*side]) {
            match job.storages[side].hash(&node.path, &job.cancel).await {
                Ok(hashed) => node.hashes[side] = Some(hashed.hash),
                Err(error) => whys[side] = Some(error.to_string()),
            }
        }
        verdict = node.decide(policy);
    }
    verdict
}

/// What a side holds, and why that is not known or left alone.
async fn look(
    job: &SyncJob,
    filter: &Arc<dyn Filter>,
    side: Side,
    path: &SyncPath,
) -> (Found, Option<String>) {
    let storage = &job.storages[side];
    let left_out = |at: SyncPath| Some((filter.reason(&at, true)?, at));
    if let Some((reason, folder)) = path.ancestors().find_map(left_out) {
        let why = format!("the folder {folder} is excluded by {reason}");
        return (Found::LeftAlone, Some(why));
    }
    let request = ListRequest {
        scope: Scope::Subtrees(vec![path.clone()]),
        filter: Arc::clone(filter),
        cancel: job.cancel.clone(),
        ..ListRequest::everything(&job.state_dir)
    };
    let first = async {
        let mut listing = storage.list(request).await?;
        while let Some(rows) = listing.next().await? {
            if let Some(row) = rows.into_iter().next() {
                return Ok(Some(row));
            }
        }
        Ok(None)
    };
    let row: crate::storage::Result<Option<Row>> = first.await;
    match row {
        Ok(Some(Row::Present(entry))) if entry.path == *path => there(job, entry.meta),
        Ok(Some(Row::Excluded(key))) => {
            let reason = filter.reason(&key.path, key.folder);
            let by = reason.map_or(String::new(), |reason| format!(" by {reason}"));
            (Found::LeftAlone, Some(format!("it is excluded{by}")))
        }
        Ok(Some(Row::Skipped(_))) => {
            let why = "it is a special file (a socket, device or pipe)";
            (Found::Special, Some(why.to_owned()))
        }
        Ok(Some(Row::Unknown { error, .. })) => (Found::Unknown, Some(error.to_string())),
        Ok(Some(Row::Unrepresentable { reason, .. })) => (Found::Unknown, Some(reason)),
        // A listing may be stale: what is not in it is looked for itself.
        Ok(_) => match storage.stat(path).await {
            Ok(None) => (Found::Absent, None),
            Ok(Some(meta)) => there(job, meta),
            Err(error) => (Found::Unknown, Some(error.to_string())),
        },
        Err(error) => (Found::Unknown, Some(error.to_string())),
    }
}

fn there(job: &SyncJob, meta: Meta) -> (Found, Option<String>) {
    match job.options.exclude.max_size {
        Some(max) if is_too_large(Some(max), &meta) => {
            let why = format!(
                "it is excluded: its {} bytes are more than --max-size {max}",
                meta.size
            );
            (Found::LeftAlone, Some(why))
        }
        _ => (Found::There(meta), None),
    }
}

/// What happens to a path in a group happens to all of the group.
fn in_group(job: &SyncJob, path: &SyncPath, conflict: Option<&Conflict>, next: String) -> String {
    match (Group::by_name(path), conflict) {
        (Some(group), Some(conflict)) if conflict.path == group.path.as_str() => format!(
            "nothing is changed until somebody ends the conflict of {} with `resolve`",
            group.path
        ),
        (Some(group), _) if next != "nothing" => {
            let max = job.options.exclude.max_size;
            let size = max.map_or(String::new(), |max| {
                format!(" and none of its files is larger than --max-size {max}")
            });
            let whole = group.path;
            format!("{next}; together with the rest of {whole}, when that is quiet{size}")
        }
        _ => next,
    }
}

fn presence(found: &Found) -> &'static str {
    match found {
        Found::Absent => "absent",
        Found::There(_) => "there",
        Found::Unknown => "unknown",
        Found::LeftAlone | Found::NoFolder | Found::Special => "left alone",
    }
}

fn changed(node: &Node, side: Side) -> Option<bool> {
    let base = node.base.as_ref();
    match (&node.found[side], base) {
        (Found::Absent, base) => Some(base.is_some()),
        (Found::There(_), None) => Some(true),
        (Found::There(meta), Some(base)) if meta.kind != base.kind => Some(true),
        (Found::There(meta), Some(base)) => match meta.kind {
            Kind::Folder => Some(false),
            Kind::Link => Some(meta.link != base.link),
            Kind::File => match node.hash(side) {
                Some(hash) => Some(Some(hash) != base.hash),
                None if meta.size != base.sides[side].size => Some(true),
                None => None,
            },
        },
        _ => None,
    }
}

/// The decision, its rule, and what the next look does.
fn words(verdict: Verdict, node: &Node) -> (&'static str, String, String) {
    let owned = |decision, rule: &str, next: &str| (decision, rule.to_owned(), next.to_owned());
    match verdict {
        Verdict::Nothing => owned("nothing", "nothing is there on either side", "nothing"),
        Verdict::Forget => owned("forget", "gone on both sides", "the baseline forgets it"),
        Verdict::Agreed(_) if node.is_untouched() => {
            owned("agreed", "both equal, and as recorded", "nothing")
        }
        Verdict::Agreed(_) => owned("agreed", "both equal", "it is recorded as agreed"),
        Verdict::Read(_) => owned(
            "unread",
            "the content decides, and it could not be read",
            "it is read; until then nothing is changed",
        ),
        Verdict::Update { to, .. } => {
            let from = to.other();
            let gone = matches!(node.found[to], Found::Absent) && node.base.is_some();
            let rule = match gone {
                true => format!("removed on the {to}, changed on the {from}: the edit wins"),
                false => format!("the {from}'s version goes to the {to}"),
            };
            let next = match &node.found[to] {
                Found::Absent => format!("the {to} gets the {from}'s version"),
                _ => format!("the {from}'s version replaces the {to}'s, which goes to the trash"),
            };
            ("update", rule, next)
        }
        Verdict::Remove { on } => (
            "remove",
            format!("removed on the {}, unchanged on the {on}", on.other()),
            format!(
                "it is removed on the {on} and goes to the trash there; a folder only if all in it goes"
            ),
        ),
        Verdict::Retype { from } => (
            "retype",
            format!("the {from} alone changed its type"),
            format!(
                "the {from}'s type goes to the {}, unless something in it was changed there",
                from.other()
            ),
        ),
        Verdict::Conflict(what) => {
            let rule = node.conflict(what).reason;
            (
                "conflict",
                rule,
                "nothing is changed until somebody ends the conflict with `resolve`".to_owned(),
            )
        }
        Verdict::Drift => owned(
            "drift",
            "the target changed, and changes go from source to target only",
            "the target is left alone, and that is reported",
        ),
        Verdict::Wait => owned(
            "wait",
            "unknown or left alone on one side",
            "nothing; the baseline keeps what it has",
        ),
    }
}
