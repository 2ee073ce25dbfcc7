//! Staging: content is written where no one sees it.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{Mode as Bits, OFlags};
use rustix::io::Errno;
use wl_core::model::{ContentHash, Kind, Mode, SyncPath, Timestamp};
use wl_core::storage::{
    ContentWriter, Durability, ErrorKind, Payload, Result, StageRequest, Staged, StorageError,
};

use super::kernel::{Fd, Locked};
use super::lines::{self, Intent};
use super::reserved;
use super::root::{Root, Spot};
use super::session::Session;
use super::sys::{self, Renames, Sys};
use super::trash::TrashRun;

/// A session's folder in `.wl/stage`, with its lock held.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) wl: Fd,
    pub(super) folder: Fd,
    pub(super) renames: Renames,
    /// Something is left in the folder that the next session has to take care of.
    pub(super) keep: AtomicBool,
    run: String,
    journal: Mutex<Fd>,
    /// The names of the folder, of those above it and of the journal are durable.
    is_named: AtomicBool,
    trash: Mutex<Option<Arc<TrashRun>>>,
    _lock: Locked,
}

impl Stage {
    /// Makes the folder.
    pub(super) fn make(spot: &Spot, root: &Root, run: &str) -> Result<Self> {
        let failed = |errno| sys::os_error("make the staging folder", errno).on(&root.location);
        let wl = reserved::make(root)?;
        let _all = reserved::lock(&wl).map_err(failed)?;
        let renames = spot.try_out(&wl, run)?.renames;
        let stage = reserved::make_in(&wl, "stage").map_err(|errno| {
            reserved::error(
                "make the staging folder",
                reserved::STAGE,
                errno,
                &root.location,
            )
        })?;
        let used = super::dir::open_folder(&wl, &format!("trash/{run}"), super::dir::PATH);
        let fresh = match used {
            Ok(_) => Err(Errno::EXIST),
            Err(_) => stage.make_dir_at(run, Bits::RWXU),
        };
        fresh.map_err(|errno| match errno {
            Errno::EXIST => {
                let reason = format!("the run name `{run}` is taken; give each run its own");
                StorageError::new(ErrorKind::Config, "make the staging folder", reason)
                    .on(&root.location)
            }
            errno => failed(errno),
        })?;
        let folder = super::dir::open_step(&stage, run, super::dir::READ).map_err(failed)?;
        let opened = || -> Sys<(Locked, Fd)> {
            let lock = reserved::try_lock(&folder)?.ok_or(Errno::BUSY)?;
            Ok((lock, reserved::open_lines(&folder, "journal")?))
        };
        let (lock, journal) = opened().map_err(|errno| {
            // The next try finds its name free. What cannot be taken away is a dead session's.
            let _ = remove_folder(&wl, &folder, run);
            failed(errno)
        })?;
        Ok(Self {
            wl,
            folder,
            renames,
            keep: AtomicBool::new(false),
            run: run.to_owned(),
            journal: Mutex::new(journal),
            is_named: AtomicBool::new(false),
            trash: Mutex::new(None),
            _lock: lock,
        })
    }

    /// Writes down what is about to be published or displaced; durable, if anything is, when this returns.
    pub(super) fn note(&self, intents: &[Intent], durable: bool, root: &Root) -> Sys<()> {
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        if durable && !self.is_named.load(SeqCst) {
            self.sync_names(root)?;
        }
        lines::append(&journal, intents)?;
        if durable { journal.sync_data() } else { Ok(()) }
    }

    /// Makes the names in the folder durable, and the first time the way to it. Without its name in here, staged content that somebody
    /// writes to as soon as it is published has no durable name at all until its folder is synced.
    pub(super) fn sync_names(&self, root: &Root) -> Sys<()> {
        match self.sync_folders(root) {
            // Not every file system syncs folders by themselves.
            Err(Errno::INVAL | Errno::NOTSUP) => root.fd.sync_all(),
            other => other,
        }
    }

    fn sync_folders(&self, root: &Root) -> Sys<()> {
        self.folder.sync()?;
        if self.is_named.load(SeqCst) {
            return Ok(());
        }
        if let Some(stage) = reserved::open_in(&self.wl, "stage")? {
            stage.sync()?;
        }
        self.wl.sync()?;
        root.fd.sync()?;
        self.all_is_durable();
        Ok(())
    }

    /// The whole file system was synced.
    pub(super) fn all_is_durable(&self) {
        self.is_named.store(true, SeqCst);
    }

    /// This run's folder in the trash.
    pub(super) fn trash(&self) -> Sys<Arc<TrashRun>> {
        let mut trash = self.trash.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(run) = &*trash {
            return Ok(Arc::clone(run));
        }
        let run = Arc::new(TrashRun::make(&self.wl, &self.run)?);
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
        let mut swap_left = self.keep.load(SeqCst);
        for name in self.folder.names() {
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
pub(super) fn remove_folder(wl: &Fd, folder: &Fd, run: &str) -> Sys<()> {
    unlink(folder, "journal")?;
    unlink(folder, "lock")?;
    if let Some(stage) = reserved::open_in(wl, "stage")? {
        match stage.remove_dir_at(run) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        // Fails as long as another run is in it.
        let _ = wl.remove_dir_at("stage");
    }
    Ok(())
}

/// Unlinks a file that may be gone already.
pub(super) fn unlink(folder: &Fd, name: &str) -> Sys<()> {
    match folder.unlink_at(name) {
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
        stage.folder.symlink_at(target, &name)?;
        if let Some(mtime) = request.mtime {
            stage.folder.set_mtime_at(&name, mtime)?;
        }
        let stat = sys::stat_at(&stage.folder, &name)?;
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
        file: &Fd,
        n: u64,
        mode: Option<Mode>,
        mtime: Option<Timestamp>,
        hash: ContentHash,
    ) -> Sys<Staged> {
        if let Some(mtime) = mtime {
            file.set_mtime(mtime)?;
        }
        let mut stat = sys::stat_fd(file)?;
        if let Some(mode) = mode.filter(|mode| stat.mode & 0o7777 != mode.bits()) {
            // The umask took something away.
            file.set_bits(mode.bits())?;
            stat = sys::stat_fd(file)?;
        }
        match self.options.durability {
            Durability::Full => {
                file.sync()?;
                self.dirty().part();
            }
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
fn create(stage: &Stage, n: u64, mode: Option<Mode>) -> Sys<Fd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
    let bits = mode.map_or(0o666, Mode::bits);
    stage
        .folder
        .open_at(&part(n), flags, Bits::from_raw_mode(bits))
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
    file: Fd,
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

fn write_at(file: &Fd, mut content: &[u8], mut at: u64) -> Sys<()> {
    while !content.is_empty() {
        match file.write_at(content, at) {
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
        super::blocking(writing.session.spot.runs(), "stage", move || {
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
        let staged = super::blocking(writing.session.spot.runs(), "stage", move || {
            let Writing {
                file,
                n,
                mode,
                mtime,
                ..
            } = &*writing;
            file.truncate(at)
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
