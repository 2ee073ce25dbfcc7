//! Removing.

use std::rc::Rc;

use rustix::fs::RenameFlags;
use rustix::io::Errno;
use wl_core::model::{Kind, SyncPath};
use wl_core::storage::{ErrorKind, RemoveRequest, Result, TrashState};

use super::{Action, Job, Outcome, Prepared};
use crate::local::dir::{Folders, is_missing};
use crate::local::kernel::Fd;
use crate::local::session::Session;
use crate::local::stage::{Stage, swap};

impl Session {
    pub(super) fn prepare_remove(
        &self,
        folders: &mut Folders<'_>,
        index: usize,
        request: &RemoveRequest,
    ) -> Result<Prepared> {
        const OP: &str = "remove";
        let RemoveRequest { path, expected } = request;
        self.root.usable(OP, path)?;
        let parent = folders.parent_of(path).map_err(|errno| match errno {
            errno if is_missing(errno) => {
                let reason = "nothing is there any more";
                self.root.refuse(ErrorKind::NotFound, OP, path, reason)
            }
            errno => self.root.error(OP, path, errno),
        })?;
        let seen = match self.precheck((&parent, path.name()), expected) {
            Ok(seen) => seen,
            Err(miss) => return self.missed(OP, path, miss, ErrorKind::NotFound),
        };
        if expected.kind == Kind::Folder {
            self.remove_folder(path, &parent)?;
            return Ok(Prepared::Done(None));
        }
        Ok(Prepared::Job(Box::new(Job {
            index,
            n: self.number(),
            path: path.clone(),
            parent,
            expected: expected.clone(),
            seen,
            action: Action::Remove,
        })))
    }

    fn remove_folder(&self, path: &SyncPath, parent: &Rc<Fd>) -> Result<()> {
        const OP: &str = "remove";
        let refuse = |kind, reason| self.root.refuse(kind, OP, path, reason);
        match parent.remove_dir_at(path.name()) {
            Ok(()) => {
                self.dirty().folder_of(path);
                Ok(())
            }
            Err(Errno::NOTEMPTY | Errno::EXIST) => Err(refuse(
                ErrorKind::NotEmpty,
                "the folder is not empty; what is in it stays",
            )),
            Err(Errno::NOENT) => Err(refuse(ErrorKind::NotFound, "nothing is there any more")),
            Err(Errno::NOTDIR) => Err(refuse(ErrorKind::Changed, "it is no folder any more")),
            Err(Errno::BUSY) => Err(refuse(
                ErrorKind::Other,
                "the folder is in use as a mount point; unmount it first",
            )),
            Err(errno) => Err(self.root.error(OP, path, errno)),
        }
    }

    pub(super) fn take_away(&self, stage: &Stage, job: &Job) -> Outcome {
        let name = swap(job.n);
        let in_stage = (&stage.folder, &*name);
        // The number is our own: nothing can be there to be replaced.
        if let Err(errno) =
            job.at()
                .0
                .rename_at(job.at().1, in_stage.0, in_stage.1, RenameFlags::empty())
        {
            return (self.not_displaced(job, errno), None);
        }
        match self.verify(in_stage, &job.seen, &job.expected) {
            Some(stat) => {
                self.dirty().folder_of(&job.path);
                (Ok(None), Some(job.displaced(&stat, TrashState::Removed)))
            }
            None => {
                self.put_back(stage, job);
                (self.changed(job), None)
            }
        }
    }
}
