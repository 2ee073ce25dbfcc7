//! Staging: content is written where no one sees it.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{self, AtFlags, Mode as Bits, OFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use wl_core::model::{ContentHash, Kind, Mode, SyncPath, Timestamp};
use wl_core::storage::{
    ContentWriter, Durability, ErrorKind, Payload, Result, StageRequest, Staged, StorageError,
};

use super::lines::{self, Intent};
use super::reserved;
use super::root::{Root, Spot};
use super::session::Session;
use super::sys::{self, Renames, Sys};
use super::trash::TrashRun;

/// A session's folder in `.wl/stage`, with its lock held.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) wl: OwnedFd,
    pub(super) folder: OwnedFd,
    pub(super) renames: Renames,
    /// Something is left in the folder that the next session has to take care of.
    pub(super) keep: AtomicBool,
    run: String,
    journal: Mutex<Option<OwnedFd>>,
    trash: Mutex<Option<Arc<TrashRun>>>,
    _lock: OwnedFd,
}

impl Stage {
    /// Makes the folder.
    pub(super) fn make(spot: &Spot, root: &Root, run: &str) -> Result<Self> {
        let failed = |errno| sys::os_error("make the staging folder", errno).on(&root.location);
        let wl = reserved::make(root)?;
        let _all = reserved::lock(wl.as_fd()).map_err(failed)?;
        let renames = spot.try_out(wl.as_fd(), run)?.renames;
        let stage = reserved::make_in(wl.as_fd(), "stage").map_err(failed)?;
        let used = super::dir::open_folder(wl.as_fd(), &format!("trash/{run}"), super::dir::PATH);
        let fresh = match used {
            Ok(_) => Err(Errno::EXIST),
            Err(_) => fs::mkdirat(&stage, run, Bits::RWXU),
        };
        fresh.map_err(|errno| match errno {
            Errno::EXIST => {
                let reason = format!("the run name `{run}` is taken; give each run its own");
                StorageError::new(ErrorKind::Config, "make the staging folder", reason)
                    .on(&root.location)
            }
            errno => failed(errno),
        })?;
        let folder = super::dir::open_step(stage.as_fd(), run, super::dir::READ).map_err(failed)?;
        let lock = reserved::try_lock(folder.as_fd())
            .and_then(|lock| lock.ok_or(Errno::BUSY))
            .map_err(failed)?;
        Ok(Self {
            wl,
            folder,
            renames,
            keep: AtomicBool::new(false),
            run: run.to_owned(),
            journal: Mutex::new(None),
            trash: Mutex::new(None),
            _lock: lock,
        })
    }

    /// Writes down what is about to be displaced; durable, if anything is, when this returns.
    pub(super) fn note(&self, intents: &[Intent], durable: bool, root: &Root) -> Sys<()> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match &*journal {
            Some(file) => file,
            None => {
                let file = reserved::open_lines(self.folder.as_fd(), "journal")?;
                if durable {
                    self.sync_names(root)?;
                }
                journal.insert(file)
            }
        };
        lines::append(file, intents)?;
        if durable { fs::fdatasync(file) } else { Ok(()) }
    }

    /// Makes the way to the journal durable.
    fn sync_names(&self, root: &Root) -> Sys<()> {
        fs::fsync(&self.folder)?;
        if let Some(stage) = reserved::open_in(self.wl.as_fd(), "stage")? {
            fs::fsync(&stage)?;
        }
        fs::fsync(&self.wl)?;
        fs::fsync(&root.fd)
    }

    /// This run's folder in the trash.
    pub(super) fn trash(&self) -> Sys<Arc<TrashRun>> {
        let mut trash = self.trash.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(run) = &*trash {
            return Ok(Arc::clone(run));
        }
        let run = Arc::new(TrashRun::make(self.wl.as_fd(), &self.run)?);
        Ok(Arc::clone(trash.insert(run)))
    }

    /// Makes the trash durable, gives up what was not published and takes the folder away, unless somebody's version is
    /// still in it.
    pub(super) fn clear(&self, durable: bool) -> Sys<()> {
        let trash = self.trash.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(trash) = &*trash
            && durable
        {
            trash.sync()?;
        }
        let mut swap_left = self.keep.load(Ordering::SeqCst);
        for name in reserved::names(&self.folder) {
            let name = name?;
            if name.ends_with(".part") {
                unlink(&self.folder, &name)?;
            }
            swap_left |= name.ends_with(".swap");
        }
        if !swap_left {
            remove_folder(&self.wl, &self.folder, &self.run)?;
        }
        Ok(())
    }
}

/// Takes a run's emptied staging folder away, and the folder of all runs after the last.
pub(super) fn remove_folder(wl: &OwnedFd, folder: &OwnedFd, run: &str) -> Sys<()> {
    unlink(folder, "journal")?;
    unlink(folder, "lock")?;
    if let Some(stage) = reserved::open_in(wl.as_fd(), "stage")? {
        match fs::unlinkat(&stage, run, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        // Fails as long as another run is in it.
        let _ = fs::unlinkat(wl, "stage", AtFlags::REMOVEDIR);
    }
    Ok(())
}

/// Unlinks a file that may be gone already.
pub(super) fn unlink(folder: &OwnedFd, name: &str) -> Sys<()> {
    match fs::unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// The name of content that is being staged or waits to be published.
pub(super) fn part(n: u64) -> String {
    format!("{n}.part")
}

/// The name of content that takes part in an exchange.
pub(super) fn swap(n: u64) -> String {
    format!("{n}.swap")
}

impl Session {
    pub(super) fn stage_batch(&self, requests: &[StageRequest]) -> Vec<Result<Staged>> {
        requests
            .iter()
            .map(|request| self.stage_one(request))
            .collect()
    }

    fn stage_one(&self, request: &StageRequest) -> Result<Staged> {
        self.go_on("stage")?;
        self.root.usable("stage", &request.path)?;
        let stage = self.stage()?;
        let n = self.number();
        let written = match &request.payload {
            Payload::Bytes(content) => self.stage_file(&stage, n, request, content),
            Payload::Link(target) => self.stage_link(&stage, n, request, target),
        };
        written.map_err(|errno| {
            // The session's end tries again.
            let _ = unlink(&stage.folder, &part(n));
            self.root.error("stage", &request.path, errno)
        })
    }

    fn stage_file(
        &self,
        stage: &Stage,
        n: u64,
        request: &StageRequest,
        content: &Bytes,
    ) -> Sys<Staged> {
        let file = create(stage, n, request.mode)?;
        sys::write_all(&file, content)?;
        self.close(&file, n, request.mode, request.mtime, request.hash)
    }

    fn stage_link(
        &self,
        stage: &Stage,
        n: u64,
        request: &StageRequest,
        target: &str,
    ) -> Sys<Staged> {
        let name = part(n);
        fs::symlinkat(target, &stage.folder, &name)?;
        if let Some(mtime) = request.mtime {
            fs::utimensat(
                &stage.folder,
                &name,
                &times(mtime),
                AtFlags::SYMLINK_NOFOLLOW,
            )?;
        }
        let stat = sys::stat_at(stage.folder.as_fd(), &name)?;
        Ok(Staged {
            number: n,
            kind: Kind::Link,
            hash: request.hash,
            size: 0,
            note: stat.stamp().to_note(),
        })
    }

    /// Gives a staged file its attributes and takes note of it.
    fn close(
        &self,
        file: &OwnedFd,
        n: u64,
        mode: Option<Mode>,
        mtime: Option<Timestamp>,
        hash: ContentHash,
    ) -> Sys<Staged> {
        if let Some(mtime) = mtime {
            fs::futimens(file, &times(mtime))?;
        }
        let mut stat = sys::stat_fd(file)?;
        if let Some(mode) = mode.filter(|mode| stat.mode & 0o7777 != mode.bits()) {
            // The umask took something away.
            fs::fchmod(file, Bits::from_raw_mode(mode.bits()))?;
            stat = sys::stat_fd(file)?;
        }
        match self.options.durability {
            Durability::Full => fs::fsync(file)?,
            Durability::Batch => self.dirty().staged(n),
            Durability::None => {}
        }
        Ok(Staged {
            number: n,
            kind: Kind::File,
            hash,
            size: stat.size,
            note: stat.stamp().to_note(),
        })
    }
}

/// Without a mode the system's default applies; nobody else can reach into the folder.
fn create(stage: &Stage, n: u64, mode: Option<Mode>) -> Sys<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let bits = mode.map_or(0o666, Mode::bits);
    fs::openat(&stage.folder, part(n), flags, Bits::from_raw_mode(bits))
}

fn times(mtime: Timestamp) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime.secs,
            tv_nsec: mtime.nanos.into(),
        },
    }
}

/// Pieces of this size that hold nothing but zeros become holes.
const HOLE: usize = 64 << 10;
static ZEROS: [u8; HOLE] = [0; HOLE];

/// Starts a large file.
pub(super) fn large(
    session: &Arc<Session>,
    request: StageRequest,
) -> Result<Box<dyn ContentWriter>> {
    session.go_on("stage")?;
    session.root.usable("stage", &request.path)?;
    let stage = session.stage()?;
    let n = session.number();
    let file = create(&stage, n, request.mode)
        .map_err(|errno| session.root.error("stage", &request.path, errno))?;
    Ok(Box::new(Writer {
        writing: Arc::new(Writing {
            session: Arc::clone(session),
            stage,
            n,
            file,
            path: request.path,
            mtime: request.mtime,
            mode: request.mode,
        }),
        at: 0,
        sound: true,
    }))
}

struct Writing {
    session: Arc<Session>,
    stage: Arc<Stage>,
    n: u64,
    file: OwnedFd,
    path: SyncPath,
    mtime: Option<Timestamp>,
    mode: Option<Mode>,
}

struct Writer {
    writing: Arc<Writing>,
    at: u64,
    /// False once a piece was lost: what follows would be at the wrong place.
    sound: bool,
}

impl Writing {
    fn put(&self, piece: &[u8], at: u64) -> Sys<()> {
        let mut at = at;
        for chunk in piece.chunks(HOLE) {
            let hole = chunk == &ZEROS[..] && at.is_multiple_of(HOLE as u64);
            if !hole {
                write_at(&self.file, chunk, at)?;
            }
            at += chunk.len() as u64;
        }
        Ok(())
    }

    fn give_up(&self) {
        // The session's end tries again.
        let _ = unlink(&self.stage.folder, &part(self.n));
    }
}

fn write_at(file: &OwnedFd, mut content: &[u8], mut at: u64) -> Sys<()> {
    while !content.is_empty() {
        match rustix::io::pwrite(file, content, at) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(written) => {
                content = &content[written..];
                at += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[async_trait]
impl ContentWriter for Writer {
    async fn write(&mut self, piece: Bytes) -> Result<()> {
        let writing = Arc::clone(&self.writing);
        writing.session.go_on("stage")?;
        if !std::mem::replace(&mut self.sound, false) {
            let reason = "a piece could not be written before; start again";
            let root = &writing.session.root;
            return Err(root.refuse(ErrorKind::Other, "stage", &writing.path, reason));
        }
        let at = self.at;
        let length = piece.len() as u64;
        super::blocking("stage", move || {
            writing.put(&piece, at).map_err(|errno| {
                writing.give_up();
                writing.session.root.error("stage", &writing.path, errno)
            })
        })
        .await??;
        self.at += length;
        self.sound = true;
        Ok(())
    }

    async fn finish(mut self: Box<Self>, hash: ContentHash) -> Result<Staged> {
        let writing = Arc::clone(&self.writing);
        if !std::mem::replace(&mut self.sound, false) {
            let reason = "a piece could not be written; start again";
            let root = &writing.session.root;
            return Err(root.refuse(ErrorKind::Other, "stage", &writing.path, reason));
        }
        let at = self.at;
        let staged = super::blocking("stage", move || {
            let Writing {
                file,
                n,
                mode,
                mtime,
                ..
            } = &*writing;
            fs::ftruncate(file, at)
                .and_then(|()| writing.session.close(file, *n, *mode, *mtime, hash))
                .map_err(|errno| writing.session.root.error("stage", &writing.path, errno))
        })
        .await??;
        self.at = DONE;
        Ok(staged)
    }
}

/// Marks a writer whose content was handed over.
const DONE: u64 = u64::MAX;

impl Drop for Writer {
    fn drop(&mut self) {
        if self.at != DONE {
            self.writing.give_up();
        }
    }
}
