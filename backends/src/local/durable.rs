//! What others wrote and may never have synced: most programs save without. It is made durable before anybody relies on it.

use std::collections::BTreeSet;

use rustix::io::Errno;
use wl_core::model::{Meta, SyncPath, Timestamp};

use super::dir::{PATH, READ, is_missing, open_folder};
use super::kernel::Fd;
use super::meta::token_ctime;
use super::root::Root;
use super::sys::{self, Sys};

/// More than this many files and folders are synced with their whole file system.
pub(super) const FEW: usize = 16;

/// What was written longer ago than this many seconds the system has brought to the disk by itself: it begins with what is 30 seconds old, looks
/// every 5 seconds, and a journal waits for 30 at the most (`dirty_expire_centisecs`, `dirty_writeback_centisecs`; ext4 5, btrfs 30).
const WRITTEN_BACK: i64 = 60;

/// Whether a power cut could still take what a look showed. The ctime tells when it was written, renamed or brought here, whatever a program
/// set the mtime to; a folder tells only the latter, and where there is no true ctime it has to do too.
pub(super) fn may_be_lost(meta: &Meta, now: Timestamp) -> bool {
    let times = [token_ctime(meta.token.as_str()), meta.mtime];
    let is_young = |time: Timestamp| now.secs.saturating_sub(time.secs) < WRITTEN_BACK;
    times.into_iter().flatten().any(is_young)
}

/// Makes durable what is at `paths`, and their names.
pub(super) fn make_durable(root: &Root, paths: &[SyncPath]) -> Sys<()> {
    let parent = |path: &SyncPath| path.parent().unwrap_or_else(SyncPath::root);
    let folders: BTreeSet<SyncPath> = paths.iter().map(parent).collect();
    if paths.len() + folders.len() > FEW {
        return sync_file_systems(root, &folders);
    }
    for path in paths {
        let opened = open_folder(&root.fd, parent(path).as_str(), PATH)
            .and_then(|folder| sys::open_file(&folder, path.name()));
        as_far_as_possible(sync_one(root, opened))?;
    }
    for folder in &folders {
        let opened = open_folder(&root.fd, folder.as_str(), READ);
        as_far_as_possible(sync_one(root, opened))?;
    }
    Ok(())
}

/// Syncs the root's file system, and those that are mounted below it and hold one of the folders.
fn sync_file_systems(root: &Root, folders: &BTreeSet<SyncPath>) -> Sys<()> {
    as_far_as_possible(root.fd.sync_all())?;
    let mut synced = BTreeSet::from([root.facts.dev]);
    for folder in folders {
        let Ok(folder) = open_folder(&root.fd, folder.as_str(), READ) else {
            continue;
        };
        if synced.insert(sys::stat_fd(&folder)?.dev) {
            as_far_as_possible(folder.sync_all())?;
        }
    }
    Ok(())
}

/// Syncs what was opened. What is gone need not last; what may not be opened is synced with all the rest.
pub(super) fn sync_one(root: &Root, opened: Sys<Fd>) -> Sys<()> {
    match opened {
        Ok(file) => match file.sync() {
            Err(Errno::INVAL | Errno::NOTSUP) => root.fd.sync_all(),
            other => other,
        },
        Err(errno) if is_missing(errno) => Ok(()),
        Err(_) => root.fd.sync_all(),
    }
}

/// What is mounted read-only holds nothing that is not on its disk, and what cannot be synced at all is as durable as it ever will be.
fn as_far_as_possible(synced: Sys<()>) -> Sys<()> {
    match synced {
        Err(Errno::ROFS | Errno::INVAL | Errno::NOTSUP | Errno::NOSYS) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use wl_core::model::{Kind, Token};

    use super::*;

    #[test]
    fn what_was_written_renamed_or_brought_here_a_moment_ago_may_be_lost() {
        let at = |secs| Timestamp { secs, nanos: 0 };
        let file = |mtime: i64, ctime: i64| Meta {
            kind: Kind::File,
            size: 1,
            mtime: Some(at(mtime)),
            mode: None,
            token: Token::new(format!("1f-1-{mtime:x}.0-{ctime:x}.0")),
            settled: true,
            file_id: None,
            hash: None,
            link: None,
        };
        let folder = |mtime: i64, token: &str| Meta {
            kind: Kind::Folder,
            token: Token::new(token),
            ..file(mtime, 0)
        };
        let lost = |meta| may_be_lost(&meta, at(1000));
        assert!(lost(file(999, 999)));
        assert!(lost(file(1, 950)), "renamed, or copied with its time");
        assert!(lost(file(950, 1)), "where there is no true ctime");
        assert!(lost(file(1, 2000)), "the clock was put back");
        assert!(!lost(file(940, 940)));
        assert!(!lost(file(-5, 1)));
        for token in ["", "bind", "fs-3e8", "dev-3e8"] {
            assert!(lost(folder(999, token)) && !lost(folder(900, token)));
        }
    }
}
