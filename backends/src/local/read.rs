//! Reading content: never through a link, never blocked by a pipe, and only the version that was asked for.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;
use wl_core::model::{ContentHash, Kind, SyncPath};
use wl_core::storage::{
    ContentReader, ErrorKind, Hashed, Noted, ReadRequest, Result, SmallRead, StorageError,
};

use super::dir::{Folders, is_missing};
use super::kernel::Fd;
use super::meta::file_token;
use super::root::Root;
use super::sys::{self, PIECE, Stat, Sys};

const CHANGED: &str = "the file changed while it was read; the next look reads it again";

/// Reads a batch of small files.
pub(super) fn read_small(root: &Root, requests: &[ReadRequest]) -> Vec<Result<SmallRead>> {
    let mut folders = Folders::new(&root.fd);
    requests
        .iter()
        .map(|request| read_one(root, &mut folders, request))
        .collect()
}

fn read_one(root: &Root, folders: &mut Folders<'_>, request: &ReadRequest) -> Result<SmallRead> {
    root.usable("read", &request.path)?;
    let file = open(root, folders, &request.path)?;
    let read = read_whole(&file, request.meta.size).and_then(|all| Ok((all, sys::stat_fd(&file)?)));
    let (content, stat) = read.map_err(|errno| match errno {
        Errno::ISDIR => root.refuse(ErrorKind::Busy, "read", &request.path, CHANGED),
        errno => root.error("read", &request.path, errno),
    })?;
    check(root, request, &stat)?;
    let hash = ContentHash::of(&content);
    Ok(SmallRead {
        noted: Noted::default(),
        content: content.into(),
        hash,
    })
}

fn read_whole(file: &Fd, size: u64) -> Sys<Vec<u8>> {
    let mut content = Vec::with_capacity(size as usize);
    while (content.len() as u64) < size {
        match file.read_more(&mut content) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(content)
}

fn open(root: &Root, folders: &mut Folders<'_>, path: &SyncPath) -> Result<Fd> {
    let parent = folders.parent_of(path);
    let opened = parent.and_then(|parent| {
        let file = sys::open_file(&parent, path.name());
        match file {
            // The path itself has become a link: something is there, but not the file.
            Err(Errno::LOOP) => Err(Errno::BUSY),
            other => other,
        }
    });
    opened.map_err(|errno| match errno {
        Errno::BUSY | Errno::NXIO => root.refuse(ErrorKind::Busy, "read", path, CHANGED),
        errno if is_missing(errno) => root.refuse(ErrorKind::NotFound, "read", path, "it is gone"),
        errno => root.error("read", path, errno),
    })
}

/// Whether the open file is the version that was asked for.
fn check(root: &Root, request: &ReadRequest, stat: &Stat) -> Result<()> {
    if stat.kind() == Some(Kind::File) && file_token(stat) == request.meta.token {
        return Ok(());
    }
    Err(root.refuse(ErrorKind::Busy, "read", &request.path, CHANGED))
}

/// Opens a file to be read in pieces.
pub(super) fn open_reader(root: Root, request: ReadRequest) -> Result<Box<dyn ContentReader>> {
    root.usable("read", &request.path)?;
    let file = open(&root, &mut Folders::new(&root.fd), &request.path)?;
    let stat = sys::stat_fd(&file).map_err(|errno| root.error("read", &request.path, errno))?;
    check(&root, &request, &stat)?;
    file.will_be_read();
    let inner = Arc::new(Reading {
        root,
        request,
        file,
    });
    Ok(Box::new(Reader {
        inner,
        ended: false,
    }))
}

struct Reading {
    root: Root,
    request: ReadRequest,
    file: Fd,
}

struct Reader {
    inner: Arc<Reading>,
    ended: bool,
}

#[async_trait]
impl ContentReader for Reader {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        let reading = Arc::clone(&self.inner);
        let piece =
            super::blocking(reading.root.fd.runs(), "read", move || reading.piece()).await??;
        self.ended = piece.is_none();
        Ok(piece)
    }
}

impl Reading {
    fn piece(&self) -> Result<Option<Bytes>> {
        let path = &self.request.path;
        let failed = |errno| self.root.error("read", path, errno);
        let mut piece = Vec::with_capacity(PIECE.min(self.request.meta.size as usize + 1));
        while piece.len() < piece.capacity() {
            match self.file.read_more(&mut piece) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        // After each piece: what changed meanwhile is not read on, all of it would be in vain.
        let stat = sys::stat_fd(&self.file).map_err(failed)?;
        check(&self.root, &self.request, &stat)?;
        Ok((!piece.is_empty()).then(|| piece.into()))
    }
}

/// The hash of the file at `path` and its attributes, equal before and after.
pub(super) fn hash(root: &Root, path: &SyncPath, cancel: &CancellationToken) -> Result<Hashed> {
    root.usable("hash", path)?;
    let now = root.fd.now();
    let parent = Folders::new(&root.fd)
        .parent_of(path)
        .map_err(|errno| missing(root, path, errno))?;
    let stat = sys::stat_at(&parent, path.name()).map_err(|errno| missing(root, path, errno))?;
    if stat.kind() != Some(Kind::File) {
        return Err(root.refuse(ErrorKind::Changed, "hash", path, "it is not a file"));
    }
    match sys::hash_at(&parent, path.name(), &|| !cancel.is_cancelled()) {
        Ok(Some((hash, stat))) => Ok(Hashed {
            hash,
            meta: root.facts.meta(Kind::File, &stat, now, file_token(&stat)),
        }),
        Ok(None) | Err(Errno::LOOP) => Err(root.refuse(ErrorKind::Busy, "hash", path, CHANGED)),
        Err(errno) => Err(missing(root, path, errno)),
    }
}

fn missing(root: &Root, path: &SyncPath, errno: Errno) -> StorageError {
    match is_missing(errno) {
        true => root.refuse(ErrorKind::NotFound, "hash", path, "it is gone"),
        false => root.error("hash", path, errno),
    }
}
