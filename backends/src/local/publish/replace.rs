//! Replacing and creating.

use std::rc::Rc;

use rustix::fs::RenameFlags;
use rustix::io::Errno;
use wl_core::model::{Kind, SyncPath};
use wl_core::planted::{Bug, planted};
use wl_core::storage::{ErrorKind, Expect, Published, ReplaceRequest, Result, Staged, TrashState};

use super::{Action, Job, Outcome, Prepared};
use crate::local::dir::Folders;
use crate::local::kernel::Fd;
use crate::local::lines::{Intent, Ours};
use crate::local::session::Session;
use crate::local::stage::{Stage, part, swap};
use crate::local::sys::{self, At, Stamp};

/// Staged content that goes where nothing is.
pub(super) struct Creation {
    /// The request's place in the batch.
    pub(super) index: usize,
    pub(super) path: SyncPath,
    n: u64,
    parent: Rc<Fd>,
    ours: Stamp,
    kind: Kind,
    staged: Ours,
}

impl Creation {
    pub(super) fn intent(&self) -> Intent {
        Intent::create(self.n, &self.path, self.kind, self.staged.clone())
    }
}

impl Session {
    pub(super) fn prepare_replace(
        &self,
        stage: &Stage,
        folders: &mut Folders<'_>,
        index: usize,
        request: &ReplaceRequest,
    ) -> Result<Prepared> {
        const OP: &str = "replace";
        let ReplaceRequest {
            path,
            staged,
            expect,
            ..
        } = request;
        self.root.usable(OP, path)?;
        let ours = Stamp::from_note(&staged.note).ok_or_else(|| {
            let reason = "the staged content is not of this session; stage it again";
            self.root.refuse(ErrorKind::Other, OP, path, reason)
        })?;
        let parent = folders
            .parent_of(path)
            .map_err(|errno| self.no_parent(OP, path, errno))?;
        let expected = match expect {
            Expect::Absent => {
                return Ok(Prepared::Create(Box::new(Creation {
                    index,
                    path: path.clone(),
                    n: staged.number,
                    parent,
                    ours,
                    kind: staged.kind,
                    staged: identity(stage, staged, ours),
                })));
            }
            Expect::Is(expected) => expected,
        };
        if expected.kind == Kind::Folder {
            let reason = "a file or link never replaces a folder";
            return Err(self.root.refuse(ErrorKind::Changed, OP, path, reason));
        }
        let seen = match self.precheck((&parent, path.name()), expected) {
            Ok(seen) => seen,
            Err(miss) => {
                self.give_up(stage, &part(staged.number), ours);
                return self.missed(OP, path, miss, ErrorKind::Changed);
            }
        };
        Ok(Prepared::Job(Box::new(Job {
            index,
            n: staged.number,
            path: path.clone(),
            parent,
            expected: expected.clone(),
            seen,
            action: Action::Replace {
                ours,
                staged: identity(stage, staged, ours),
            },
        })))
    }

    pub(super) fn create(&self, stage: &Stage, creation: &Creation) -> Result<Published> {
        let Creation { path, n, ours, .. } = creation;
        let name = part(*n);
        let from = (&stage.folder, &*name);
        let to: At<'_> = (&creation.parent, path.name());
        match stage.renames.move_new(from, to) {
            Ok(()) => Ok(self.published(*n, path, to, *ours)),
            Err(Errno::EXIST) => {
                self.give_up(stage, &name, *ours);
                let reason = "something is there; look again";
                Err(self
                    .root
                    .refuse(ErrorKind::Changed, "replace", path, reason))
            }
            Err(errno) => Err(self.no_parent("replace", path, errno)),
        }
    }

    /// Exchanges staged content with what is at the path, and takes it back if that was not what was expected.
    pub(super) fn exchange(&self, stage: &Stage, job: &Job, ours: Stamp) -> Outcome {
        let name = swap(job.n);
        let in_stage = (&stage.folder, &*name);
        let exchanged = stage
            .folder
            .rename_at(&part(job.n), &stage.folder, &name, RenameFlags::empty())
            .and_then(|()| sys::exchange(in_stage, job.at()));
        if let Err(errno) = exchanged {
            self.give_up(stage, &name, ours);
            return (self.not_displaced(job, errno), None);
        }
        if let Some(stat) = self.verify(in_stage, &job.seen, &job.expected) {
            let published = self.published(job.n, &job.path, job.at(), ours);
            return (
                Ok(Some(published)),
                Some(job.displaced(&stat, TrashState::Replaced)),
            );
        }
        if planted(Bug::PutBackIsSkipped) {
            let caught = sys::stat_at(in_stage.0, in_stage.1).ok();
            let caught = caught.map(|stat| job.displaced(&stat, TrashState::Replaced));
            return (self.changed(job), caught);
        }
        match sys::exchange(in_stage, job.at()) {
            Ok(()) => match sys::stat_at(in_stage.0, in_stage.1) {
                // It was seen at the path, and a program may have it open: it is not unlinked but watched in the trash.
                Ok(stat) if stat.stamp() == ours => {
                    self.to_trash(stage, &[job.displaced(&stat, TrashState::Replaced)]);
                }
                _ => self.rescue(
                    stage,
                    job,
                    "was written here while a racing version was put back",
                ),
            },
            Err(_) => self.put_back(stage, job),
        }
        (self.changed(job), None)
    }

    /// Without an exchange: the version is moved aside, verified, and ours moved in where nothing may be. Nothing is lost this way
    /// either, but for a moment nothing is at the path; that is why the grade is only *checked*.
    pub(super) fn move_aside(&self, stage: &Stage, job: &Job, ours: Stamp) -> Outcome {
        let (name, staged) = (swap(job.n), part(job.n));
        let in_stage = (&stage.folder, &*name);
        if let Err(errno) =
            job.at()
                .0
                .rename_at(job.at().1, in_stage.0, in_stage.1, RenameFlags::empty())
        {
            self.give_up(stage, &staged, ours);
            return (self.not_displaced(job, errno), None);
        }
        let Some(stat) = self.verify(in_stage, &job.seen, &job.expected) else {
            self.put_back(stage, job);
            self.give_up(stage, &staged, ours);
            return (self.changed(job), None);
        };
        let moved = stage.renames.move_new((&stage.folder, &staged), job.at());
        let displaced = Some(job.displaced(&stat, TrashState::Replaced));
        match moved {
            Ok(()) => {
                let published = self.published(job.n, &job.path, job.at(), ours);
                (Ok(Some(published)), displaced)
            }
            // Somebody replaced the expected version while it was aside.
            Err(Errno::EXIST) => {
                self.give_up(stage, &staged, ours);
                (self.changed(job), displaced)
            }
            Err(errno) => {
                self.put_back(stage, job);
                self.give_up(stage, &staged, ours);
                (Err(self.root.error("replace", &job.path, errno)), None)
            }
        }
    }
}

/// What recovery needs to know staged content by.
fn identity(stage: &Stage, staged: &Staged, ours: Stamp) -> Ours {
    let link = (staged.kind == Kind::Link)
        .then(|| sys::read_link(&stage.folder, &part(staged.number)).ok())
        .flatten()
        .and_then(|target| String::from_utf8(target).ok());
    Ours {
        ino: ours.ino,
        hash: (staged.kind == Kind::File).then_some(staged.hash),
        link,
    }
}
