//! Renaming.

use std::rc::Rc;

use rustix::fs::RenameFlags;
use rustix::io::Errno;
use wl_core::model::{Kind, SyncPath};
use wl_core::storage::{ErrorKind, Published, RenameRequest, Result, StrandedVersion};

use super::{Action, Job, Outcome, Prepared};
use crate::local::dir::{Folders, is_missing};
use crate::local::kernel::Fd;
use crate::local::session::Session;
use crate::local::stage::{Stage, swap};
use crate::local::sys::{self, At};

impl Session {
    pub(super) fn prepare_rename(
        &self,
        stage: &Stage,
        folders: &mut Folders<'_>,
        index: usize,
        request: &RenameRequest,
    ) -> Result<Prepared> {
        const OP: &str = "rename";
        let RenameRequest { from, expected, to } = request;
        self.root.usable(OP, from)?;
        self.root.usable(OP, to)?;
        if expected.kind == Kind::Folder {
            let reason = "folders are not renamed; make the new one and move what is in it";
            return Err(self.root.refuse(ErrorKind::Unsupported, OP, from, reason));
        }
        let parent = folders.parent_of(from).map_err(|errno| match errno {
            errno if is_missing(errno) => {
                let reason = "nothing is there any more";
                self.root.refuse(ErrorKind::NotFound, OP, from, reason)
            }
            errno => self.root.error(OP, from, errno),
        })?;
        let folder = folders
            .parent_of(to)
            .map_err(|errno| self.no_parent(OP, to, errno))?;
        let seen = match self.precheck((&parent, from.name()), expected) {
            Ok(seen) => seen,
            Err(miss) => return self.missed(OP, from, miss, ErrorKind::NotFound),
        };
        if from == to {
            let reason = "the old path is the new one";
            return Err(self.root.refuse(ErrorKind::Changed, OP, to, reason));
        }
        let job = Job {
            index,
            n: self.number(),
            path: from.clone(),
            parent,
            expected: expected.clone(),
            seen,
            action: Action::Remove,
        };
        if stage.renames.no_replace {
            // Nothing is displaced by this, so nothing has to be written down.
            return self
                .move_directly(stage, &job, to, &folder)
                .map(|published| Prepared::Done(Some(published)));
        }
        Ok(Prepared::Job(Box::new(Job {
            action: Action::Rename {
                to: to.clone(),
                folder,
            },
            ..job
        })))
    }

    fn move_directly(
        &self,
        stage: &Stage,
        job: &Job,
        to: &SyncPath,
        folder: &Rc<Fd>,
    ) -> Result<Published> {
        let target: At<'_> = (folder, to.name());
        match stage.renames.move_new(job.at(), target) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let reason = "something is at the new path; look again";
                return Err(self.root.refuse(ErrorKind::Changed, "rename", to, reason));
            }
            Err(errno) => return self.not_moved(job, to, errno),
        }
        let moved = sys::stat_at(target.0, target.1);
        if self.verify(target, &job.seen, &job.expected).is_some() {
            return Ok(self.renamed(job, to, target));
        }
        let ours_to_move = sys::stat_at(target.0, target.1);
        if let (Ok(moved), Ok(now)) = (&moved, &ours_to_move)
            && moved.same_version(&job.seen.stat)
            && !now.same_version(moved)
        {
            // The right one was moved, and who put or wrote another there since meant this path.
            return self.changed(job);
        }
        // Back, unless yet another version is at either path by now.
        let back = stage.renames.move_new(target, job.at());
        if back.is_err() && ours_to_move.is_ok() {
            self.strand(StrandedVersion {
                path: Some(job.path.clone()),
                kept: format!("left at {to}"),
                reason: format!("it replaced {} while that was renamed", job.path),
            });
        }
        self.changed(job)
    }

    fn not_moved<T>(&self, job: &Job, to: &SyncPath, errno: Errno) -> Result<T> {
        let gone = errno == Errno::NOENT;
        if gone && sys::stat_at(job.at().0, job.at().1).is_ok() {
            // The open folder was removed meanwhile.
            return Err(self.no_parent("rename", to, errno));
        }
        match gone {
            true => {
                let reason = "nothing is there any more";
                let kind = ErrorKind::NotFound;
                Err(self.root.refuse(kind, "rename", &job.path, reason))
            }
            false => Err(self.root.error("rename", to, errno)),
        }
    }

    /// Where no rename refuses to replace: into our hands, verified, and to the new path by a hard link, which does.
    pub(super) fn move_by_stage(
        &self,
        stage: &Stage,
        job: &Job,
        to: &SyncPath,
        folder: &Rc<Fd>,
    ) -> Outcome {
        let name = swap(job.n);
        let in_stage = (&stage.folder, &*name);
        let target: At<'_> = (folder, to.name());
        if let Err(errno) =
            job.at()
                .0
                .rename_at(job.at().1, in_stage.0, in_stage.1, RenameFlags::empty())
        {
            return (self.not_displaced(job, errno), None);
        }
        if self.verify(in_stage, &job.seen, &job.expected).is_none() {
            self.put_back(stage, job);
            return (self.changed(job), None);
        }
        match stage.renames.move_new(in_stage, target) {
            Ok(()) => (Ok(Some(self.renamed(job, to, target))), None),
            Err(errno) => {
                self.put_back(stage, job);
                let error = match errno {
                    Errno::EXIST => self.root.refuse(
                        ErrorKind::Changed,
                        "rename",
                        to,
                        "something is at the new path; look again",
                    ),
                    errno => self.no_parent("rename", to, errno),
                };
                (Err(error), None)
            }
        }
    }

    fn renamed(&self, job: &Job, to: &SyncPath, target: At<'_>) -> Published {
        self.dirty().folder_of(&job.path);
        self.published(job.n, to, target, job.seen.stat.stamp())
    }
}
