//! Publishing: replace, remove and rename as compare-and-swap.
//!
//! A batch goes: look at every expected version; write down, durably, what is about to be displaced; displace one after the
//! other, each verified in our hands and put back if it is not what was expected; note what was displaced in the trash's index;
//! move it there. All under the storage's lock, so that sessions that know of it never meet here; programs that do
//! not are what the verification is for.

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use rustix::fs::{self, AtFlags};
use rustix::io::Errno;
use wl_core::model::{Kind, Mode, SyncPath, Token};
use wl_core::storage::{
    ErrorKind, Expect, Expected, Published, RemoveRequest, RenameRequest, ReplaceRequest, Result,
    Staged, StorageError, StrandedVersion, TrashState,
};

use super::dir::{Folders, is_missing};
use super::lines::{Displacement, Intent, Operation, Ours};
use super::meta::file_token;
use super::reserved;
use super::session::Session;
use super::stage::{Stage, part, swap, unlink};
use super::sys::{self, At, Stamp, Stat};
use super::verify::Seen;

/// A version that is to be displaced.
pub(super) struct Job {
    /// The request's place in the batch.
    index: usize,
    /// Staged content's number, or one of its own.
    n: u64,
    path: SyncPath,
    parent: Rc<OwnedFd>,
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
        folder: Rc<OwnedFd>,
    },
}

impl Job {
    fn at(&self) -> At<'_> {
        (self.parent.as_fd(), self.path.name())
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
        displacement(self.n, Some(&self.path), stat, state, hash)
    }
}

/// A note for the trash's index.
pub(super) fn displacement(
    n: u64,
    path: Option<&SyncPath>,
    stat: &Stat,
    state: TrashState,
    hash: Option<wl_core::model::ContentHash>,
) -> Displacement {
    Displacement {
        n,
        path: path.cloned(),
        kind: stat.kind(),
        hash,
        state,
        size: stat.size,
        since: sys::now().secs,
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
    Done(Option<Published>),
}

const MISSING_PARENT: &str = "the folder that should hold it is missing; make it first";

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
            let lock = reserved::lock(stage.wl.as_fd())
                .map_err(|errno| sys::os_error(operation, errno).on(&self.root.location))?;
            Ok((stage, lock))
        });
        let (stage, _lock) = match locked {
            Ok(locked) => locked,
            Err(error) => return super::all_failed(count, &error),
        };
        let mut folders = Folders::new(self.root.fd.as_fd());
        let mut jobs = Vec::new();
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
            });
        }
        self.carry_out(&stage, &jobs, &mut slots);
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

    fn carry_out(&self, stage: &Stage, jobs: &[Job], slots: &mut Slots) {
        if jobs.is_empty() {
            return;
        }
        let intents: Vec<Intent> = jobs.iter().map(Job::intent).collect();
        if let Err(errno) = stage.note(&intents, self.durable(), &self.root) {
            for job in jobs {
                slots[job.index] = Some(Err(self.root.error(job.operation(), &job.path, errno)));
            }
            return;
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

    // ---- replace

    fn prepare_replace(
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
                let published = self.create(stage, staged, ours, path, &parent);
                return published.map(|published| Prepared::Done(Some(published)));
            }
            Expect::Is(expected) => expected,
        };
        if expected.kind == Kind::Folder {
            let reason = "a file or link never replaces a folder";
            return Err(self.root.refuse(ErrorKind::Changed, OP, path, reason));
        }
        let seen = match self.precheck((parent.as_fd(), path.name()), expected) {
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

    fn no_parent(&self, operation: &'static str, path: &SyncPath, errno: Errno) -> StorageError {
        match is_missing(errno) {
            true => self
                .root
                .refuse(ErrorKind::NoParent, operation, path, MISSING_PARENT),
            false => self.root.error(operation, path, errno),
        }
    }

    fn create(
        &self,
        stage: &Stage,
        staged: &Staged,
        ours: Stamp,
        path: &SyncPath,
        parent: &Rc<OwnedFd>,
    ) -> Result<Published> {
        let name = part(staged.number);
        let from = (stage.folder.as_fd(), &*name);
        let to = (parent.as_fd(), path.name());
        match stage.renames.move_new(from, to) {
            Ok(()) => Ok(self.published(staged.number, path, to, ours)),
            Err(Errno::EXIST) => {
                self.give_up(stage, &name, ours);
                let reason = "something is there; look again";
                Err(self
                    .root
                    .refuse(ErrorKind::Changed, "replace", path, reason))
            }
            Err(errno) => Err(self.no_parent("replace", path, errno)),
        }
    }

    /// Exchanges staged content with what is at the path, and takes it back if that was not what was expected.
    fn exchange(&self, stage: &Stage, job: &Job, ours: Stamp) -> Outcome {
        let name = swap(job.n);
        let in_stage = (stage.folder.as_fd(), &*name);
        let exchanged = fs::renameat(&stage.folder, part(job.n), &stage.folder, &name)
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
    fn move_aside(&self, stage: &Stage, job: &Job, ours: Stamp) -> Outcome {
        let (name, staged) = (swap(job.n), part(job.n));
        let in_stage = (stage.folder.as_fd(), &*name);
        if let Err(errno) = fs::renameat(job.at().0, job.at().1, in_stage.0, in_stage.1) {
            self.give_up(stage, &staged, ours);
            return (self.not_displaced(job, errno), None);
        }
        let Some(stat) = self.verify(in_stage, &job.seen, &job.expected) else {
            self.put_back(stage, job);
            self.give_up(stage, &staged, ours);
            return (self.changed(job), None);
        };
        let moved = stage
            .renames
            .move_new((stage.folder.as_fd(), &staged), job.at());
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

    // ---- remove

    fn prepare_remove(
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
        let seen = match self.precheck((parent.as_fd(), path.name()), expected) {
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

    fn remove_folder(&self, path: &SyncPath, parent: &Rc<OwnedFd>) -> Result<()> {
        const OP: &str = "remove";
        let refuse = |kind, reason| self.root.refuse(kind, OP, path, reason);
        match fs::unlinkat(parent, path.name(), AtFlags::REMOVEDIR) {
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

    fn take_away(&self, stage: &Stage, job: &Job) -> Outcome {
        let name = swap(job.n);
        let in_stage = (stage.folder.as_fd(), &*name);
        // The number is our own: nothing can be there to be replaced.
        if let Err(errno) = fs::renameat(job.at().0, job.at().1, in_stage.0, in_stage.1) {
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

    // ---- rename

    fn prepare_rename(
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
        let seen = match self.precheck((parent.as_fd(), from.name()), expected) {
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
        folder: &Rc<OwnedFd>,
    ) -> Result<Published> {
        let target = (folder.as_fd(), to.name());
        match stage.renames.move_new(job.at(), target) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let reason = "something is at the new path; look again";
                return Err(self.root.refuse(ErrorKind::Changed, "rename", to, reason));
            }
            Err(errno) => return self.not_moved(job, to, errno),
        }
        if self.verify(target, &job.seen, &job.expected).is_some() {
            return Ok(self.renamed(job, to, target));
        }
        // Back, unless yet another version is at either path by now.
        let ours_to_move = sys::stat_at(target.0, target.1);
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
    fn move_by_stage(
        &self,
        stage: &Stage,
        job: &Job,
        to: &SyncPath,
        folder: &Rc<OwnedFd>,
    ) -> Outcome {
        let name = swap(job.n);
        let in_stage = (stage.folder.as_fd(), &*name);
        let target = (folder.as_fd(), to.name());
        if let Err(errno) = fs::renameat(job.at().0, job.at().1, in_stage.0, in_stage.1) {
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

    // ---- what is shared

    /// What the storage holds now that `ours` was published at the path.
    fn published(&self, n: u64, path: &SyncPath, at: At<'_>, ours: Stamp) -> Published {
        self.dirty().published(n, path);
        let now = sys::now();
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
    pub(super) fn as_published(&self, stat: &Stat, settled: bool) -> Published {
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
    fn give_up(&self, stage: &Stage, name: &str, ours: Stamp) {
        let untouched = match sys::stat_at(stage.folder.as_fd(), name) {
            Ok(stat) => stat.stamp() == ours,
            Err(errno) => errno == Errno::NOENT,
        };
        if !untouched || unlink(&stage.folder, name).is_err() {
            stage.keep.store(true, Ordering::SeqCst);
        }
    }

    /// Puts a version back to where it was, if nothing is there now; else it is kept in the trash.
    fn put_back(&self, stage: &Stage, job: &Job) {
        let name = swap(job.n);
        let from = (stage.folder.as_fd(), &*name);
        if stage.renames.move_new(from, job.at()).is_err() {
            self.rescue(
                stage,
                job,
                "was caught in a race, and something new is at its path",
            );
        }
    }

    /// Keeps somebody's version that cannot be put back.
    fn rescue(&self, stage: &Stage, job: &Job, reason: &str) {
        let name = swap(job.n);
        let kept = sys::stat_at(stage.folder.as_fd(), &name)
            .and_then(|stat| {
                let state = TrashState::Rescued;
                let note = displacement(job.n, Some(&job.path), &stat, state, None);
                let trash = stage.trash()?;
                trash.note(&[note])?;
                trash.take(stage.renames, stage.folder.as_fd(), &name, job.n)
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
    fn to_trash(&self, stage: &Stage, displaced: &[Displacement]) {
        if displaced.is_empty() {
            return;
        }
        let moved = stage.trash().and_then(|trash| {
            trash.note(displaced)?;
            for record in displaced {
                let name = swap(record.n);
                trash.take(stage.renames, stage.folder.as_fd(), &name, record.n)?;
                self.displaced.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        });
        if moved.is_err() {
            stage.keep.store(true, Ordering::SeqCst);
        }
    }

    fn changed<T>(&self, job: &Job) -> Result<T> {
        // Told to stop while a version was read: it counts as another one and is back at its path.
        self.go_on(job.operation())?;
        let reason = "another version came in between and is kept; look again";
        let kind = ErrorKind::Changed;
        Err(self.root.refuse(kind, job.operation(), &job.path, reason))
    }

    /// The version at the path could not be taken out: nothing was changed.
    fn not_displaced<T>(&self, job: &Job, errno: Errno) -> Result<T> {
        let replacing = matches!(job.action, Action::Replace { .. });
        let kind = match (errno, replacing) {
            (Errno::NOENT, true) | (Errno::ISDIR | Errno::NOTDIR, _) => ErrorKind::Changed,
            (Errno::NOENT, false) => ErrorKind::NotFound,
            _ => return Err(self.root.error(job.operation(), &job.path, errno)),
        };
        let reason = "the expected version is gone; look again";
        Err(self.root.refuse(kind, job.operation(), &job.path, reason))
    }
}

/// What recovery needs to know staged content by.
fn identity(stage: &Stage, staged: &Staged, ours: Stamp) -> Ours {
    let link = (staged.kind == Kind::Link)
        .then(|| sys::read_link(stage.folder.as_fd(), &part(staged.number)).ok())
        .flatten()
        .and_then(|target| String::from_utf8(target).ok());
    Ours {
        ino: ours.ino,
        hash: (staged.kind == Kind::File).then_some(staged.hash),
        link,
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
