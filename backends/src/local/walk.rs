//! Listing: depth first, each folder sorted, one `statx` an entry.
//!
//! A folder is read whole and every entry looked at before it is sorted: an entry that turns from file to folder between
//! reading and sorting would otherwise have no place in the order. Memory grows with depth times folder size; beyond
//! [`IN_MEMORY`] entries a folder is sorted on disk.

use std::ffi::CStr;
use std::mem::MaybeUninit;

use async_trait::async_trait;
use rustix::fs::FileType;
use rustix::io::Errno;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_util::sync::CancellationToken;
use wl_core::model::{Entry, Key, Kind, RESERVED, SyncPath, Timestamp, Token};
use wl_core::storage::{ErrorKind, ListRequest, Listing, Result, Row, Scope, StorageError};

use super::dir::{self, is_missing, open_folder, open_step};
use super::entries::{Children, Found, Gathered};
use super::kernel::{self, Fd, Runs};
use super::meta::file_token;
use super::root::{Root, file_system};
use super::sys::{self, Stat, Sys};

/// A folder of more entries than this is sorted on disk.
pub(super) const IN_MEMORY: usize = 20_000;
/// So many folders are held open at most; those further up are opened again on the way back.
const OPEN: usize = 64;
/// A batch ends with this many rows, or bytes of paths.
const ROWS: usize = 1024;
const PATH_BYTES: usize = 1 << 20;

type Message = Result<Option<Vec<Row>>>;

/// The receiving end of a walk. Dropping it stops the walk.
struct Walking {
    rows: Receiver<Message>,
    ended: bool,
    cancel: CancellationToken,
    location: Box<str>,
}

#[async_trait]
impl Listing for Walking {
    async fn next(&mut self) -> Result<Option<Vec<Row>>> {
        if self.ended {
            return Ok(None);
        }
        // The walk may have been done before it was told to stop; who stops it wants no end mark.
        if self.cancel.is_cancelled() {
            let error = StorageError::new(ErrorKind::Cancelled, "list", "told to stop");
            return Err(error.on(&self.location));
        }
        match self.rows.recv().await {
            Some(Ok(None)) => {
                self.ended = true;
                Ok(None)
            }
            Some(message) => message,
            None => {
                let reason = "the listing broke off; run again";
                Err(StorageError::new(ErrorKind::Other, "list", reason).on(&self.location))
            }
        }
    }
}

/// Starts to list.
pub(super) fn list(root: Root, request: ListRequest) -> Result<Box<dyn Listing>> {
    for path in request.scope.named() {
        if path.is_reserved() {
            root.usable("list", path)?;
        }
    }
    let runs = root.fd.runs();
    let (sender, rows) = channel(match runs {
        Runs::Elsewhere => 4,
        // Nobody listens before all has been said.
        Runs::Here => 1 << 16,
    });
    let location = root.location.clone();
    let cancel = request.cancel.clone();
    let walk = move || {
        let mut walk = Walk::new(&root, &request, sender);
        let last = match walk.run().and_then(|()| walk.send_rows()) {
            Ok(()) => Ok(None),
            Err(Stop::Dropped) => return,
            Err(Stop::Failed(error)) => Err(error),
        };
        // If nobody listens any more there is nobody to tell.
        let _ = walk.send(last);
    };
    match runs {
        Runs::Elsewhere => drop(tokio::task::spawn_blocking(walk)),
        Runs::Here => walk(),
    }
    Ok(Box::new(Walking {
        rows,
        ended: false,
        cancel,
        location,
    }))
}

/// Why a walk ends early.
enum Stop {
    Dropped,
    Failed(StorageError),
}

type Step<T = ()> = std::result::Result<T, Stop>;

/// A folder on the way down.
struct Frame {
    /// `None` while too many others are open, or when the way back was lost.
    fd: Option<Fd>,
    stat: Stat,
    /// The clock before the folder was read.
    seen: Timestamp,
    rest: Children,
}

struct Walk<'a> {
    root: &'a Root,
    request: &'a ListRequest,
    sender: Sender<Message>,
    batch: Vec<Row>,
    path_bytes: usize,
    /// The folder of the topmost frame.
    here: SyncPath,
    frames: Vec<Frame>,
    buffer: Vec<MaybeUninit<u8>>,
}

impl<'a> Walk<'a> {
    fn new(root: &'a Root, request: &'a ListRequest, sender: Sender<Message>) -> Self {
        Self {
            root,
            request,
            sender,
            batch: Vec::with_capacity(ROWS),
            path_bytes: 0,
            here: SyncPath::root(),
            frames: Vec::new(),
            buffer: kernel::buffer(32 * 1024),
        }
    }

    fn run(&mut self) -> Step {
        match &self.request.scope {
            Scope::Subtrees(paths) if !paths.iter().any(SyncPath::is_root) => {
                let seen = self.root.fd.now();
                for (path, found) in self.look_at(paths)? {
                    self.visit(path, found, seen, true)?;
                    self.descend()?;
                }
                Ok(())
            }
            Scope::Paths(paths) => {
                let seen = self.root.fd.now();
                for (path, found) in self.look_at(paths)? {
                    self.look_alone(path, found, seen)?;
                }
                Ok(())
            }
            _ => {
                let opened = open_folder(&self.root.fd, "", dir::READ)
                    .and_then(|fd| Ok((sys::stat_fd(&fd)?, fd)));
                match opened {
                    Ok((stat, fd)) => self.enter(SyncPath::root(), stat, fd)?,
                    Err(errno) => self.unknown(SyncPath::root(), true, errno)?,
                }
                self.descend()
            }
        }
    }

    /// What is at each path of a scope, in the order of keys.
    fn look_at(&self, paths: &[SyncPath]) -> Step<Vec<(SyncPath, Found)>> {
        let mut found = Vec::with_capacity(paths.len());
        // Many are in the same folder: it is opened once for those that follow each other.
        let mut folder = None;
        for path in paths {
            self.go_on()?;
            found.push((path.clone(), self.look_at_one(path, &mut folder)));
        }
        found.sort_by_cached_key(|(path, found)| Key {
            path: path.clone(),
            folder: found.is_folder(),
        });
        Ok(found)
    }

    fn look_at_one(&self, path: &SyncPath, folder: &mut Option<(SyncPath, Fd)>) -> Found {
        let filter = &self.request.filter;
        if path.ancestors().any(|above| filter.excludes(&above, true)) {
            return Found::Excluded { folder: false };
        }
        let parent = path.parent().unwrap_or_else(SyncPath::root);
        if folder.as_ref().is_none_or(|(open, _)| *open != parent) {
            match open_folder(&self.root.fd, parent.as_str(), dir::PATH) {
                Ok(fd) => *folder = Some((parent, fd)),
                Err(errno) if is_missing(errno) => return Found::Absent,
                Err(errno) => return Found::Unknown(errno),
            }
        }
        let Some((_, folder)) = folder else {
            return Found::Absent;
        };
        let stat = match sys::stat_at(folder, path.name()) {
            Ok(stat) => stat,
            Err(errno) if is_missing(errno) => return Found::Absent,
            Err(errno) => return Found::Unknown(errno),
        };
        let is_folder = stat.kind() == Some(Kind::Folder);
        if filter.excludes(path, is_folder) {
            return Found::Excluded { folder: is_folder };
        }
        if stat.kind() != Some(Kind::Link) {
            return Found::Entry(stat);
        }
        match sys::read_link(folder, path.name()).map(String::from_utf8) {
            Ok(Ok(target)) => Found::Link(stat, target.into()),
            Ok(Err(_)) => Found::Unknown(Errno::ILSEQ),
            Err(errno) => Found::Unknown(errno),
        }
    }

    /// Works through the open folders until none is left.
    fn descend(&mut self) -> Step {
        while let Some(frame) = self.frames.last_mut() {
            let seen = frame.seen;
            match frame.rest.next() {
                None => self.leave(),
                Some(Err(error)) => {
                    let error = StorageError::io("list", error);
                    return Err(Stop::Failed(error.at(&self.here).on(&self.root.location)));
                }
                Some(Ok((name, found))) => {
                    let path = self.child(&name)?;
                    self.visit(path, found, seen, false)?;
                }
            }
        }
        Ok(())
    }

    fn child(&self, name: &str) -> Step<SyncPath> {
        self.here.join(name).map_err(|error| {
            let error = StorageError::new(ErrorKind::Other, "list", error.to_string());
            Stop::Failed(error.at(&self.here).on(&self.root.location))
        })
    }

    /// The rows of one entry; a folder is entered. `named`: it is a path of the scope, not the child of an open folder.
    fn visit(&mut self, path: SyncPath, found: Found, seen: Timestamp, named: bool) -> Step {
        let (stat, link) = match found {
            Found::Excluded { folder } => return self.row(Row::Excluded(Key { path, folder })),
            Found::Absent => return self.row(Row::Absent(path)),
            Found::Unknown(errno) => return self.unknown(path, false, errno),
            Found::Entry(stat) => (stat, None),
            Found::Link(stat, target) => (stat, Some(target)),
        };
        let kind = match stat.kind() {
            None => return self.row(Row::Skipped(path)),
            Some(Kind::Folder) => return self.folder(path, stat, named),
            Some(kind) => kind,
        };
        let mut meta = self.root.facts.meta(kind, &stat, seen, file_token(&stat));
        meta.link = link;
        self.row(Row::Present(Entry { path, meta }))
    }

    /// The row of an entry by itself; of a folder also whether one may look into it, as nobody would if it is as it was.
    fn look_alone(&mut self, path: SyncPath, found: Found, seen: Timestamp) -> Step {
        match found {
            Found::Entry(stat) if stat.kind() == Some(Kind::Folder) => {
                let opened = self.open(&path, true);
                let token = self.folder_token(&stat, opened.as_ref().ok());
                self.folder_row(path.clone(), &stat, token)?;
                // To be listed it has to be readable, and what is in it can only be looked at where it may be searched.
                let searched = opened.and_then(|fd| sys::stat_at(&fd, "."));
                match searched {
                    Err(errno @ (Errno::ACCESS | Errno::PERM)) => self.unknown(path, true, errno),
                    _ => Ok(()),
                }
            }
            found => self.visit(path, found, seen, true),
        }
    }

    /// As [`folder_token`](super::meta::folder_token), for a folder that is open already.
    fn folder_token(&self, stat: &Stat, fd: Option<&Fd>) -> Token {
        if let Some(token) = self.root.facts.near_token(stat) {
            return token;
        }
        let told = fd.and_then(|fd| file_system(fd, stat.dev).ok());
        Token::new(told.unwrap_or_else(|| format!("dev-{:x}", stat.dev)))
    }

    fn folder(&mut self, path: SyncPath, stat: Stat, named: bool) -> Step {
        self.go_on()?;
        if let Some(after) = &self.request.start_after
            && !after.path.is_within(&path)
            && Key::folder(path.clone()) <= *after
        {
            return Ok(());
        }
        let opened = self
            .open(&path, named)
            .and_then(|fd| Ok((sys::stat_fd(&fd)?, fd)));
        match opened {
            Err(errno) => {
                // What its parent showed a moment ago may have another name by now, in a place that the walk has passed.
                let moved = errno == Errno::NOENT && !named;
                let errno = if moved { Errno::STALE } else { errno };
                let token = self.folder_token(&stat, None);
                self.folder_row(path.clone(), &stat, token)?;
                self.unknown(path, true, errno)
            }
            Ok((stat, fd)) => {
                let token = self.folder_token(&stat, Some(&fd));
                self.folder_row(path.clone(), &stat, token)?;
                self.enter(path, stat, fd)
            }
        }
    }

    fn open(&self, path: &SyncPath, named: bool) -> Sys<Fd> {
        match self.frames.last() {
            Some(frame) if !named => {
                // Without a way back the folder was moved while it was walked.
                let parent = frame.fd.as_ref().ok_or(Errno::STALE)?;
                open_step(parent, path.name(), dir::READ)
            }
            _ => open_folder(&self.root.fd, path.as_str(), dir::READ),
        }
    }

    fn folder_row(&mut self, path: SyncPath, stat: &Stat, token: Token) -> Step {
        let meta = self.root.facts.meta(Kind::Folder, stat, stat.mtime, token);
        self.row(Row::Present(Entry { path, meta }))
    }

    /// Reads a folder and makes it the topmost.
    fn enter(&mut self, path: SyncPath, stat: Stat, fd: Fd) -> Step {
        let seen = fd.now();
        self.here = path;
        match self.gather(&fd)? {
            Err(errno) => {
                self.unknown(self.here.clone(), true, errno)?;
                self.here = self.here.parent().unwrap_or_else(SyncPath::root);
            }
            Ok(rest) => {
                self.frames.push(Frame {
                    fd: Some(fd),
                    stat,
                    seen,
                    rest,
                });
                if let Some(far) = self.frames.len().checked_sub(OPEN + 1) {
                    self.frames[far].fd = None;
                }
            }
        }
        Ok(())
    }

    /// Ends the topmost folder; the one above is opened again if it had to be closed.
    fn leave(&mut self) {
        let Some(done) = self.frames.pop() else {
            return;
        };
        self.here = self.here.parent().unwrap_or_else(SyncPath::root);
        let Some(above) = self.frames.last_mut() else {
            return;
        };
        if above.fd.is_some() || !above.rest.may_hold_folder() {
            return;
        }
        let same = |fd: Fd| {
            let stat = sys::stat_fd(&fd).ok()?;
            (stat.ino == above.stat.ino && stat.dev == above.stat.dev).then_some(fd)
        };
        let up = done
            .fd
            .and_then(|fd| fd.open_at("..", UP, rustix::fs::Mode::empty()).ok())
            .and_then(same);
        above.fd = up.or_else(|| {
            open_folder(&self.root.fd, self.here.as_str(), dir::READ)
                .ok()
                .and_then(same)
        });
    }

    /// All entries of the folder `here`. The outer error stops the walk, the inner one makes this folder unknown.
    fn gather(&mut self, fd: &Fd) -> Step<Sys<Children>> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let gathered = self.gather_into(fd, &mut buffer);
        self.buffer = buffer;
        gathered
    }

    fn gather_into(&mut self, fd: &Fd, buffer: &mut [MaybeUninit<u8>]) -> Step<Sys<Children>> {
        let request = self.request;
        let mut all = Gathered::new(&request.spill_dir, IN_MEMORY);
        let mut entries = fd.entries(buffer);
        let mut count = 0_usize;
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(Errno::INTR) => continue,
                Err(errno) => return Ok(Err(errno)),
            };
            count += 1;
            if count.is_multiple_of(ROWS) {
                self.go_on()?;
            }
            let raw = entry.file_name();
            if self.is_no_entry(raw) {
                continue;
            }
            let Ok(name) = raw.to_str() else {
                self.unrepresentable(raw, "the name is not UTF-8; rename it")?;
                continue;
            };
            let Some(found) = self.look(fd, raw, name, entry.file_type())? else {
                continue;
            };
            all.push(name, found).map_err(|error| self.spill(error))?;
        }
        Ok(Ok(all.finish().map_err(|error| self.spill(error))?))
    }

    fn is_no_entry(&self, name: &CStr) -> bool {
        match name.to_bytes() {
            b"." | b".." => true,
            name => self.here.is_root() && name == RESERVED.as_bytes(),
        }
    }

    /// Looks at the entry `name` of the folder `here`. `None`: it is gone, or its row has been given already.
    fn look(&mut self, fd: &Fd, raw: &CStr, name: &str, told: FileType) -> Step<Option<Found>> {
        let path = self.child(name)?;
        let excluded = |folder| self.request.filter.excludes(&path, folder);
        let hint = (told != FileType::Unknown).then_some(told == FileType::Directory);
        // What is excluded is not even looked at: it may be a dead mount.
        if let Some(folder) = hint
            && excluded(folder)
        {
            return Ok(Some(Found::Excluded { folder }));
        }
        let stat = match fd.stat_raw(raw) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Ok(Some(Found::Unknown(errno))),
        };
        let folder = stat.kind() == Some(Kind::Folder);
        if hint != Some(folder) && excluded(folder) {
            return Ok(Some(Found::Excluded { folder }));
        }
        if stat.kind() != Some(Kind::Link) {
            return Ok(Some(Found::Entry(stat)));
        }
        match sys::read_link(fd, name).map(String::from_utf8) {
            Ok(Ok(target)) => Ok(Some(Found::Link(stat, target.into()))),
            // Something is at the path, so that nobody may take it for removed.
            Ok(Err(_)) => Ok(Some(Found::Unknown(Errno::ILSEQ))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Ok(Some(Found::Unknown(errno))),
        }
    }

    fn unrepresentable(&mut self, raw: &CStr, reason: &str) -> Step {
        self.row(Row::Unrepresentable {
            parent: self.here.clone(),
            name: raw.to_bytes().escape_ascii().to_string(),
            reason: reason.to_owned(),
        })
    }

    fn unknown(&mut self, path: SyncPath, subtree: bool, errno: Errno) -> Step {
        let error = match errno {
            Errno::STALE => self.root.refuse(
                ErrorKind::Busy,
                "list",
                &path,
                "the folder was moved while it was listed; the next look finds it",
            ),
            Errno::ILSEQ => self.root.refuse(
                ErrorKind::Unrepresentable,
                "list",
                &path,
                "where the link points is not UTF-8; make it anew",
            ),
            _ => self.root.error("list", &path, errno),
        };
        self.row(Row::Unknown {
            path,
            subtree,
            error,
        })
    }

    fn spill(&self, error: std::io::Error) -> Stop {
        let error = StorageError::io("sort the listing on disk", error);
        Stop::Failed(error.at(&self.here).on(&self.root.location))
    }

    fn row(&mut self, row: Row) -> Step {
        if let Some(after) = &self.request.start_after
            && row.key() <= *after
        {
            return Ok(());
        }
        self.path_bytes += match &row {
            Row::Present(entry) => entry.path.as_str().len(),
            Row::Absent(path) | Row::Skipped(path) | Row::Unknown { path, .. } => {
                path.as_str().len()
            }
            Row::Excluded(key) => key.path.as_str().len(),
            Row::Unrepresentable { parent, .. } => parent.as_str().len(),
        };
        self.batch.push(row);
        if self.batch.len() == ROWS || self.path_bytes >= PATH_BYTES {
            self.send_rows()?;
        }
        Ok(())
    }

    fn send_rows(&mut self) -> Step {
        self.go_on()?;
        self.path_bytes = 0;
        if self.batch.is_empty() {
            return Ok(());
        }
        let rows = std::mem::replace(&mut self.batch, Vec::with_capacity(ROWS));
        self.send(Ok(Some(rows)))
    }

    fn send(&self, message: Message) -> Step {
        let sent = match self.root.fd.runs() {
            Runs::Elsewhere => self.sender.blocking_send(message).is_ok(),
            Runs::Here => self.sender.try_send(message).is_ok(),
        };
        if sent { Ok(()) } else { Err(Stop::Dropped) }
    }

    fn go_on(&self) -> Step {
        if self.sender.is_closed() {
            return Err(Stop::Dropped);
        }
        if self.request.cancel.is_cancelled() {
            let error = StorageError::new(ErrorKind::Cancelled, "list", "told to stop");
            return Err(Stop::Failed(error.on(&self.root.location)));
        }
        Ok(())
    }
}

const UP: rustix::fs::OFlags = dir::READ.union(rustix::fs::OFlags::DIRECTORY);
