//! What becomes of a version: published, put back, kept in the trash, or refused.

use std::sync::atomic::Ordering;

use rustix::io::Errno;
use wl_core::model::{Kind, Mode, SyncPath, Token};
use wl_core::storage::{ErrorKind, Published, Result, StorageError, StrandedVersion, TrashState};

use super::{Action, Job, displacement};
use crate::local::dir::is_missing;
use crate::local::lines::Displacement;
use crate::local::meta::file_token;
use crate::local::session::Session;
use crate::local::stage::{Stage, swap, unlink};
use crate::local::sys::{self, At, Stamp, Stat};

const MISSING_PARENT: &str = "the folder that should hold it is missing; make it first";

impl Session {
    /// What the storage holds now that `ours` was published at the path.
    pub(super) fn published(&self, n: u64, path: &SyncPath, at: At<'_>, ours: Stamp) -> Published {
        self.dirty().published(n, path);
        let now = at.0.now();
        match sys::stat_at(at.0, at.1) {
            Ok(stat) if stat.stamp() == ours => {
                self.as_published(&stat, self.root.facts.settled(&stat, now))
            }
            // Somebody was here already. It was published all the same; the token matches nothing, so the next look reads.
            _ => Published {
                token: Token::new(format!("{}-touched", ours.to_note())),
                settled: false,
                file_id: None,
                mode: None,
                mtime: Some(ours.mtime),
            },
        }
    }

    /// An entry's attributes as those of a change of ours.
    pub(in crate::local) fn as_published(&self, stat: &Stat, settled: bool) -> Published {
        let folder = stat.kind() == Some(Kind::Folder);
        Published {
            token: if folder {
                Token::new("")
            } else {
                file_token(stat)
            },
            settled: settled || folder,
            file_id: stat.file_id(),
            mode: (stat.kind() != Some(Kind::Link)).then(|| Mode::new(stat.mode)),
            mtime: Some(stat.mtime),
        }
    }

    /// Unlinks staged content of ours that nobody touched; anything else is left to the next session's care.
    pub(super) fn give_up(&self, stage: &Stage, name: &str, ours: Stamp) {
        let untouched = match sys::stat_at(&stage.folder, name) {
            Ok(stat) => stat.stamp() == ours,
            Err(errno) => errno == Errno::NOENT,
        };
        if !untouched || unlink(&stage.folder, name).is_err() {
            stage.keep.store(true, Ordering::SeqCst);
        }
    }

    /// Puts a version back to where it was, if nothing is there now; else it is kept in the trash.
    pub(super) fn put_back(&self, stage: &Stage, job: &Job) {
        let name = swap(job.n);
        let from = (&stage.folder, &*name);
        if stage.renames.move_new(from, job.at()).is_err() {
            self.rescue(
                stage,
                job,
                "was caught in a race, and something new is at its path",
            );
        }
    }

    /// Keeps somebody's version that cannot be put back.
    pub(super) fn rescue(&self, stage: &Stage, job: &Job, reason: &str) {
        let name = swap(job.n);
        let kept = sys::stat_at(&stage.folder, &name)
            .and_then(|stat| {
                let state = TrashState::Rescued;
                let now = stage.folder.now();
                let note = displacement(job.n, Some(&job.path), &stat, state, None, now);
                let trash = stage.trash()?;
                trash.note(&[note])?;
                trash.take(stage.renames, &stage.folder, &name, job.n)
            })
            .map(|()| format!("in the trash as {}/{}", self.options.run, job.n));
        let kept = kept.unwrap_or_else(|_| {
            stage.keep.store(true, Ordering::SeqCst);
            format!("in .wl/stage/{}/{name}", self.options.run)
        });
        self.strand(StrandedVersion {
            path: Some(job.path.clone()),
            kept,
            reason: format!("a version that nobody had seen {reason}"),
        });
    }

    /// Moves displaced versions to the trash. What cannot be moved stays where it is and is seen to by the next session.
    pub(super) fn to_trash(&self, stage: &Stage, displaced: &[Displacement]) {
        if displaced.is_empty() {
            return;
        }
        let moved = stage.trash().and_then(|trash| {
            trash.note(displaced)?;
            for record in displaced {
                let name = swap(record.n);
                trash.take(stage.renames, &stage.folder, &name, record.n)?;
                self.displaced.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        });
        if moved.is_err() {
            stage.keep.store(true, Ordering::SeqCst);
        }
    }

    pub(super) fn changed<T>(&self, job: &Job) -> Result<T> {
        // Told to stop while a version was read: it counts as another one and is back at its path.
        self.go_on(job.operation())?;
        let reason = "another version came in between and is kept; look again";
        let kind = ErrorKind::Changed;
        Err(self.root.refuse(kind, job.operation(), &job.path, reason))
    }

    /// The version at the path could not be taken out: nothing was changed.
    pub(super) fn not_displaced<T>(&self, job: &Job, errno: Errno) -> Result<T> {
        let replacing = matches!(job.action, Action::Replace { .. });
        let kind = match (errno, replacing) {
            (Errno::NOENT, true) | (Errno::ISDIR | Errno::NOTDIR, _) => ErrorKind::Changed,
            (Errno::NOENT, false) => ErrorKind::NotFound,
            _ => return Err(self.root.error(job.operation(), &job.path, errno)),
        };
        let reason = "the expected version is gone; look again";
        Err(self.root.refuse(kind, job.operation(), &job.path, reason))
    }

    pub(super) fn no_parent(
        &self,
        operation: &'static str,
        path: &SyncPath,
        errno: Errno,
    ) -> StorageError {
        match is_missing(errno) {
            true => self
                .root
                .refuse(ErrorKind::NoParent, operation, path, MISSING_PARENT),
            false => self.root.error(operation, path, errno),
        }
    }
}
