//! Emptying a storage's trash, and telling how much of a full storage it takes.

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::run::run_name;
use crate::storage::{Durability, Result, SessionOptions, StorageBackend, TrashItem, TrashKeep};

/// Versions in a trash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TrashSum {
    /// How many.
    pub versions: u64,
    /// Their content.
    pub bytes: u64,
}

impl TrashSum {
    fn of<'a>(items: impl Iterator<Item = &'a TrashItem>) -> Self {
        items.fold(Self::default(), |sum, item| Self {
            versions: sum.versions + 1,
            bytes: sum.bytes + item.size,
        })
    }
}

/// What became of a trash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Emptied {
    /// Given up for ever; in a dry run: what would be.
    pub removed: TrashSum,
    /// Younger than asked for.
    pub younger: TrashSum,
    /// Versions that nobody agreed to give up: they stay until somebody takes them out.
    pub claimed: TrashSum,
    /// What could not be removed, or was put there by a run that goes on.
    pub left: TrashSum,
}

/// Gives up what is in the trash of `storage` for longer than `keep`; with `dry_run` nothing, it is only told what that would be.
pub async fn empty_trash(
    storage: &dyn StorageBackend,
    keep: TrashKeep,
    now: i64,
    dry_run: bool,
) -> Result<Emptied> {
    let before = storage.trash_list().await?;
    let due = |item: &&TrashItem| match keep {
        TrashKeep::None => true,
        TrashKeep::For(time) => item.since.saturating_add_unsigned(time.as_secs()) <= now,
    };
    let (claimed, others): (Vec<_>, Vec<_>) = before.iter().partition(|it| it.state.is_claimed());
    let (wanted, younger): (Vec<_>, Vec<_>) = others.into_iter().partition(due);
    let mut emptied = Emptied {
        removed: TrashSum::of(wanted.iter().copied()),
        younger: TrashSum::of(younger.into_iter()),
        claimed: TrashSum::of(claimed.into_iter()),
        left: TrashSum::default(),
    };
    if dry_run || wanted.is_empty() {
        return Ok(emptied);
    }
    let options = SessionOptions {
        run: format!("{}-empty", run_name()),
        durability: Durability::None,
        trash_keep: keep,
        cancel: CancellationToken::new(),
    };
    storage.trash_empty(options).await?;
    let after: std::collections::HashSet<_> = storage
        .trash_list()
        .await?
        .into_iter()
        .map(|it| it.id)
        .collect();
    let (left, gone): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|it| after.contains(&it.id));
    emptied.removed = TrashSum::of(gone.into_iter());
    emptied.left = TrashSum::of(left.into_iter());
    Ok(emptied)
}

/// What to say of the trash where a storage is full; nothing if there is none worth a word.
pub(super) async fn advice(storage: &dyn StorageBackend) -> Option<String> {
    if !storage.capabilities().trash {
        return None;
    }
    // It is only advice: what is full is told with or without it.
    let items = storage.trash_list().await.ok()?;
    let sum = TrashSum::of(items.iter().filter(|item| !item.state.is_claimed()));
    told(sum.bytes, storage.location())
}

/// Less than a MiB is not what fills a storage, and what is told is never more than there is.
fn told(bytes: u64, location: &str) -> Option<String> {
    let mib = bytes >> 20;
    (mib > 0)
        .then(|| format!("; its trash holds {mib} MiB, which `wl trash empty {location}` gives up"))
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn a_trash_of_less_than_a_mebibyte_is_no_advice_and_a_larger_one_is_not_rounded_up() {
        assert_eq!(told(0, "/b"), None);
        assert_eq!(told(8 << 10, "/b"), None);
        assert_eq!(told((1 << 20) - 1, "/b"), None);
        assert!(told(1 << 20, "/b").unwrap().contains("holds 1 MiB"));
        assert!(told((2 << 20) - 1, "/b").unwrap().contains("holds 1 MiB"));
    }
}
