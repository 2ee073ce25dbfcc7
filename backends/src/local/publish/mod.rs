//! Publishing: replace, remove and rename as compare-and-swap.
//!
//! A batch goes: look at every expected version; write down, durably, what is about to be published and displaced; displace one after the
//! other, each verified in our hands and put back if it is not what was expected; note what was displaced in the trash's index;
//! move it there. All under the storage's lock, so that sessions that know of it never meet here; programs that do
//! not are what the verification is for.

mod outcome;
mod remove;
mod rename;
mod rename_folder;
mod replace;

use std::rc::Rc;

use wl_core::model::{SyncPath, Timestamp};
use wl_core::storage::{
    ErrorKind, Expected, Published, RemoveRequest, RenameRequest, ReplaceRequest, Result,
    StorageError, TrashState,
};

use super::dir::Folders;
use super::kernel::Fd;
use super::lines::{Displacement, Intent, Operation, Ours};
use super::reserved;
use super::session::Session;
use super::stage::Stage;
use super::sys::{self, At, Stamp, Stat};
use super::verify::Seen;
use replace::Creation;

/// A version that is to be displaced.
pub(super) struct Job {
    /// The request's place in the batch.
    index: usize,
    /// Staged content's number, or one of its own.
    n: u64,
    path: SyncPath,
    parent: Rc<Fd>,
    expected: Expected,
    seen: Seen,
    action: Action,
}

enum Action {
    /// By staged content.
    Replace {
        ours: Stamp,
        staged: Ours,
    },
    Remove,
    /// By way of the staging folder, to here.
    Rename {
        to: SyncPath,
        folder: Rc<Fd>,
    },
}

impl Job {
    fn at(&self) -> At<'_> {
        (&self.parent, self.path.name())
    }

    fn operation(&self) -> &'static str {
        match self.action {
            Action::Replace { .. } => "replace",
            Action::Remove => "remove",
            Action::Rename { .. } => "rename",
        }
    }

    fn intent(&self) -> Intent {
        let (op, new, to) = match &self.action {
            Action::Replace { staged, .. } => (Operation::Replace, Some(staged.clone()), None),
            Action::Remove => (Operation::Remove, None, None),
            Action::Rename { to, .. } => (Operation::Rename, None, Some(to)),
        };
        Intent {
            new,
            to: to.cloned(),
            ..Intent::new(self.n, op, &self.path, &self.expected)
        }
    }

    /// The trash's note of the expected version (or of ours, taken back), as it was when it came out.
    fn displaced(&self, stat: &Stat, state: TrashState) -> Displacement {
        let hash = match &self.action {
            Action::Replace { ours, staged } if ours.ino == stat.ino => staged.hash,
            _ => self.expected.hash,
        };
        let now = self.parent.now();
        displacement(self.n, Some(&self.path), stat, state, hash, now)
    }
}

/// A note for the trash's index.
pub(super) fn displacement(
    n: u64,
    path: Option<&SyncPath>,
    stat: &Stat,
    state: TrashState,
    hash: Option<wl_core::model::ContentHash>,
    now: Timestamp,
) -> Displacement {
    Displacement {
        n,
        path: path.cloned(),
        kind: stat.kind(),
        hash,
        state,
        size: stat.size,
        since: now.secs,
        ino: stat.ino,
        secs: stat.mtime.secs,
        nanos: stat.mtime.nanos,
    }
}

/// What came of one job: its result, and the version that has to go to the trash.
type Outcome = (Result<Option<Published>>, Option<Displacement>);

/// How a batch's results are collected: by the place of their requests.
type Slots = Vec<Option<Result<Option<Published>>>>;

/// What a request needs first: a job, or it is done already.
enum Prepared {
    Job(Box<Job>),
    Create(Box<Creation>),
    Done(Option<Published>),
}

impl Session {
    pub(super) fn replace(&self, requests: &[ReplaceRequest]) -> Vec<Result<Published>> {
        let prepare = |stage: &Stage, folders: &mut Folders<'_>, index: usize| {
            self.prepare_replace(stage, folders, index, &requests[index])
        };
        only_published(self.batch("replace", requests.len(), &prepare))
    }

    pub(super) fn remove(&self, requests: &[RemoveRequest]) -> Vec<Result<()>> {
        let prepare = |_: &Stage, folders: &mut Folders<'_>, index: usize| {
            self.prepare_remove(folders, index, &requests[index])
        };
        let results = self.batch("remove", requests.len(), &prepare);
        results.into_iter().map(|result| result.map(drop)).collect()
    }

    pub(super) fn rename(&self, requests: &[RenameRequest]) -> Vec<Result<Published>> {
        let prepare = |stage: &Stage, folders: &mut Folders<'_>, index: usize| {
            self.prepare_rename(stage, folders, index, &requests[index])
        };
        only_published(self.batch("rename", requests.len(), &prepare))
    }

    fn batch(
        &self,
        operation: &'static str,
        count: usize,
        prepare: &dyn Fn(&Stage, &mut Folders<'_>, usize) -> Result<Prepared>,
    ) -> Vec<Result<Option<Published>>> {
        let locked = self.stage().and_then(|stage| {
            let lock = reserved::lock(&stage.wl)
                .map_err(|errno| sys::os_error(operation, errno).on(&self.root.location))?;
            Ok((stage, lock))
        });
        let (stage, _lock) = match locked {
            Ok(locked) => locked,
            Err(error) => return super::all_failed(count, &error),
        };
        let mut folders = Folders::new(&self.root.fd);
        let (mut jobs, mut creations) = (Vec::new(), Vec::new());
        let mut slots: Slots = Vec::with_capacity(count);
        for index in 0..count {
            let prepared = self
                .go_on(operation)
                .and_then(|()| prepare(&stage, &mut folders, index));
            slots.push(match prepared {
                Ok(Prepared::Done(published)) => Some(Ok(published)),
                Err(error) => Some(Err(error)),
                Ok(Prepared::Job(job)) => {
                    jobs.push(*job);
                    None
                }
                Ok(Prepared::Create(creation)) => {
                    creations.push(*creation);
                    None
                }
            });
        }
        self.carry_out(&stage, &creations, &jobs, &mut slots);
        self.make_durable(slots)
    }

    /// With full durability nothing counts before it is durable.
    fn make_durable(&self, slots: Slots) -> Vec<Result<Option<Published>>> {
        let flushed = self.flush_if_full();
        slots
            .into_iter()
            .flatten()
            .map(|result| match (&flushed, result) {
                (Err(error), Ok(_)) => Err(error.repeat()),
                (_, result) => result,
            })
            .collect()
    }

    fn carry_out(&self, stage: &Stage, creations: &[Creation], jobs: &[Job], slots: &mut Slots) {
        // Creations displace nothing: they are noted for who loses their names to a power cut.
        let noted = creations.iter().filter(|_| self.durable());
        let intents = noted
            .map(Creation::intent)
            .chain(jobs.iter().map(Job::intent));
        let intents: Vec<Intent> = intents.collect();
        if !intents.is_empty()
            && let Err(errno) = stage.note(&intents, self.durable(), &self.root)
        {
            for job in jobs {
                slots[job.index] = Some(Err(self.root.error(job.operation(), &job.path, errno)));
            }
            for creation in creations {
                let failed = self.root.error("replace", &creation.path, errno);
                slots[creation.index] = Some(Err(failed));
            }
            return;
        }
        for creation in creations {
            let created = self
                .go_on("replace")
                .and_then(|()| self.create(stage, creation));
            slots[creation.index] = Some(created.map(Some));
        }
        let mut displaced = Vec::new();
        for job in jobs {
            if let Err(error) = self.go_on(job.operation()) {
                slots[job.index] = Some(Err(error));
                continue;
            }
            let (result, out) = match &job.action {
                Action::Replace { ours, .. } if stage.renames.exchange => {
                    self.exchange(stage, job, *ours)
                }
                Action::Replace { ours, .. } => self.move_aside(stage, job, *ours),
                Action::Remove => self.take_away(stage, job),
                Action::Rename { to, folder } => self.move_by_stage(stage, job, to, folder),
            };
            slots[job.index] = Some(result);
            displaced.extend(out);
        }
        self.to_trash(stage, &displaced);
    }
}

fn only_published(results: Vec<Result<Option<Published>>>) -> Vec<Result<Published>> {
    results
        .into_iter()
        .map(|result| {
            result.and_then(|published| {
                published.ok_or_else(|| {
                    StorageError::new(ErrorKind::Other, "publish", "there was no result")
                })
            })
        })
        .collect()
}
