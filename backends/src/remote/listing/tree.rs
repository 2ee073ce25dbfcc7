//! Folders that are listed one by one: depth first, each folder sorted, the next ones asked for ahead.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use wl_core::model::{Key, Kind, Meta, SyncPath};
use wl_core::storage::{ErrorKind, IoResultExt, Result, Row, StorageError};

use super::super::store::{Fault, List, Listed, Outcome};
use super::super::{Remote, names, token};
use super::children::{Child, Children, Gathered};
use super::{Seen, Step, Stop, Task, Walk};

/// A folder of more entries than this is sorted on disk; one that is asked for ahead of more than [`IN_MEMORY_AHEAD`].
const IN_MEMORY: usize = 50_000;
const IN_MEMORY_AHEAD: usize = 2_000;
/// So many folders in one are asked for ahead, and so many in all open folders together.
const AHEAD: usize = 8;
const AHEAD_IN_ALL: usize = 64;
/// So many names of a folder that cannot be told are told one by one.
const PROBLEMS: usize = 1000;
/// After so many folders in a row that could not be listed for trouble that should pass, the storage itself is in trouble.
const TROUBLED: usize = 3;

/// Lists all folders. A root that is not there is an empty one: it comes into being with the first file.
pub(super) async fn everything(walk: &mut Walk) -> Step {
    let root = SyncPath::root();
    match gather(&walk.remote, &root, &walk.request.spill_dir, IN_MEMORY).await {
        Ok(inside) => {
            let mut tree = Tree::new(walk);
            tree.open(root, inside).await?;
            tree.descend().await
        }
        // Where nothing can be written nothing comes into being: the address is wrong.
        Err(error) if error.kind() == ErrorKind::NotFound && !walk.remote.capabilities.writable => {
            let error = error.with_kind(ErrorKind::Unavailable);
            Err(Stop::Failed(error.with_advice("check the address")))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Lists these paths and what is below them.
pub(super) async fn subtrees(walk: &mut Walk, paths: Vec<SyncPath>) -> Step {
    let mut seen = walk.look_at(paths).await?;
    seen.sort_by_cached_key(|(path, seen)| seen.key(path));
    for (path, seen) in seen {
        match seen {
            Seen::There(meta) if meta.kind == Kind::Folder => {
                let mut tree = Tree::new(walk);
                tree.folder(path, meta, true).await?;
                tree.descend().await?;
            }
            seen => {
                let key = seen.key(&path);
                walk.seen(key, seen).await?;
            }
        }
    }
    Ok(())
}

/// What is in a folder.
struct Inside {
    children: Children,
    /// Names that cannot be told, and why.
    problems: Vec<(String, String)>,
    more_problems: usize,
}

/// Lists a folder, whole; tried again while trouble is temporary.
async fn gather(
    remote: &Remote,
    path: &SyncPath,
    spill_dir: &Path,
    in_memory: usize,
) -> Result<Inside> {
    let attempt = || gather_once(remote, path, spill_dir, in_memory);
    remote.wire.patiently("list", path, attempt).await
}

async fn gather_once(
    remote: &Remote,
    path: &SyncPath,
    spill_dir: &Path,
    in_memory: usize,
) -> Outcome<Inside> {
    let mut all = Gathered::new(spill_dir, in_memory);
    let mut problems = Vec::new();
    let mut more_problems = 0;
    let spilled = |result: std::io::Result<()>| {
        result
            .during("sort the listing on disk")
            .map_err(Fault::from)
    };
    let mut turn = Some(remote.wire.turn(0).await);
    let mut seen = token::now();
    let mut pages = remote.wire.store().list(List::Folder(path)).await?;
    loop {
        let _turn = match turn.take() {
            Some(turn) => turn,
            None => remote.wire.turn(0).await,
        };
        let Some(page) = pages.next().await? else {
            break;
        };
        drop(_turn);
        for listed in page {
            match child(remote, path, listed, seen) {
                Ok(Some(child)) => spilled(all.push(child))?,
                Ok(None) => {}
                Err(_) if problems.len() >= PROBLEMS => more_problems += 1,
                Err(problem) => problems.push(problem),
            }
        }
        seen = token::now();
    }
    let children = all.finish().during("sort the listing on disk")?;
    Ok(Inside {
        children,
        problems,
        more_problems,
    })
}

/// The entry of a row; the name and why it is none; nothing for what is never listed.
fn child(
    remote: &Remote,
    parent: &SyncPath,
    listed: Listed,
    seen: wl_core::model::Timestamp,
) -> std::result::Result<Option<Child>, (String, String)> {
    let Listed {
        name,
        mut found,
        lossy,
        special,
    } = listed;
    if special {
        // Its place is that of a file.
        found.kind = Kind::File;
    }
    if lossy {
        return Err((name, "the name is not UTF-8; rename it".to_owned()));
    }
    let path = match parent.join(&name) {
        Ok(path) => path,
        Err(_) if name == "." || name == ".." => return Ok(None),
        Err(error) => return Err((name.escape_debug().to_string(), error.to_string())),
    };
    if names::is_reserved(remote, &path) {
        return Ok(None);
    }
    Ok(Some(Child {
        refused: remote.wire.store().refuses(&path).map(Into::into),
        meta: remote.wire.meta(&found, seen),
        name: name.into(),
        special,
    }))
}

/// A folder on the way down.
struct Frame {
    path: SyncPath,
    rest: Children,
    /// So many of the entries still to come were looked at for folders to ask for ahead.
    looked: usize,
    coming: HashMap<Box<str>, Task<Result<Inside>>>,
}

struct Tree<'a> {
    walk: &'a mut Walk,
    frames: Vec<Frame>,
    coming: usize,
    troubled: usize,
}

impl<'a> Tree<'a> {
    fn new(walk: &'a mut Walk) -> Self {
        Self {
            walk,
            frames: Vec::new(),
            coming: 0,
            troubled: 0,
        }
    }

    /// Works through the open folders until none is left.
    async fn descend(&mut self) -> Step {
        while let Some(frame) = self.frames.last_mut() {
            let next = frame.rest.next();
            let next = next.during("sort the listing on disk").map_err(|error| {
                Stop::Failed(error.at(&frame.path).on(&self.walk.remote.location))
            })?;
            let Some((child, twice)) = next else {
                self.coming -= frame.coming.len();
                self.frames.pop();
                continue;
            };
            // Those of the same name went with it.
            frame.looked = frame.looked.saturating_sub(1);
            let path = frame.path.join(&child.name).map_err(|error| {
                Stop::Failed(self.walk.refused(&frame.path, &error.to_string()))
            })?;
            self.child(path, child, twice).await?;
        }
        Ok(())
    }

    async fn child(&mut self, path: SyncPath, child: Child, twice: bool) -> Step {
        let folder = child.is_folder();
        if self.walk.request.filter.excludes(&path, folder) {
            return self.walk.row(Row::Excluded(Key { path, folder })).await;
        }
        let twice = twice.then_some("two entries have this name; rename one of them");
        if let Some(reason) = twice.or(child.refused.as_deref()) {
            let error = self.walk.refused(&path, reason);
            if folder {
                self.walk.present(path.clone(), child.meta).await?;
            }
            return self.walk.unknown(path, folder, error).await;
        }
        if child.special {
            return self.walk.row(Row::Skipped(path)).await;
        }
        match folder {
            _ if child.special => self.walk.row(Row::Skipped(path)).await,
            true => self.folder(path, child.meta, false).await,
            false => self.walk.present(path, child.meta).await,
        }
    }

    /// Lists a folder and gives its row. `named`: it is a path of the scope.
    async fn folder(&mut self, path: SyncPath, meta: Meta, named: bool) -> Step {
        self.walk.go_on()?;
        if self.walk.is_before_start(&path) {
            return Ok(());
        }
        match self.inside(&path).await {
            Ok(inside) => {
                self.troubled = 0;
                self.walk.present(path.clone(), meta).await?;
                self.open(path, inside).await
            }
            // It went away after the folder above was listed.
            Err(error) if error.kind() == ErrorKind::NotFound && !named => Ok(()),
            Err(error) => {
                self.judge(&error)?;
                self.walk.present(path.clone(), meta).await?;
                self.walk.unknown(path, true, error).await
            }
        }
    }

    /// Whether the trouble is more than that of one folder.
    fn judge(&mut self, error: &StorageError) -> Step {
        self.troubled = match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Config | ErrorKind::Cancelled => TROUBLED,
            ErrorKind::Temporary => self.troubled + 1,
            _ => 0,
        };
        match self.troubled >= TROUBLED {
            true => Err(Stop::Failed(error.repeat())),
            false => Ok(()),
        }
    }

    async fn inside(&mut self, path: &SyncPath) -> Result<Inside> {
        let frame = self.frames.last_mut();
        let coming = frame.and_then(|frame| frame.coming.remove(path.name()));
        let Some(mut task) = coming else {
            let request = &self.walk.request;
            return gather(&self.walk.remote, path, &request.spill_dir, IN_MEMORY).await;
        };
        self.coming -= 1;
        match (&mut task.0).await {
            Ok(inside) => inside,
            Err(_) => {
                let reason = "the listing broke off; run again";
                let error = StorageError::new(ErrorKind::Other, "list", reason);
                Err(error.at(path).on(&self.walk.remote.location))
            }
        }
    }

    /// Makes a folder the topmost.
    async fn open(&mut self, path: SyncPath, inside: Inside) -> Step {
        let more = inside.more_problems;
        let more = (more > 0).then(|| {
            let name = format!("{more} more");
            (name, "their names cannot be told; rename them".to_owned())
        });
        for (name, reason) in inside.problems.into_iter().chain(more) {
            let parent = path.clone();
            let row = Row::Unrepresentable {
                parent,
                name,
                reason,
            };
            self.walk.row(row).await?;
        }
        self.frames.push(Frame {
            path,
            rest: inside.children,
            looked: 0,
            coming: HashMap::new(),
        });
        self.ask_ahead();
        Ok(())
    }

    /// Asks for the folders that come next: those in the innermost folder that has any, and those further up while there are few.
    fn ask_ahead(&mut self) {
        let mut most = AHEAD_IN_ALL;
        for at in (0..self.frames.len()).rev() {
            while self.coming < most && self.frames[at].coming.len() < AHEAD {
                let Some(path) = self.next_folder(at) else {
                    break;
                };
                let name: Box<str> = path.name().into();
                let remote: Arc<Remote> = Arc::clone(&self.walk.remote);
                let request = Arc::clone(&self.walk.request);
                let task = tokio::spawn(async move {
                    gather(&remote, &path, &request.spill_dir, IN_MEMORY_AHEAD).await
                });
                self.frames[at].coming.insert(name, Task(task));
                self.coming += 1;
            }
            if !self.frames[at].coming.is_empty() {
                most = AHEAD;
            }
        }
    }

    /// The next folder in an open one that will be listed.
    fn next_folder(&mut self, at: usize) -> Option<SyncPath> {
        let frame = &mut self.frames[at];
        while let Some(child) = frame.rest.ahead(frame.looked) {
            frame.looked += 1;
            if !child.is_folder() || child.refused.is_some() {
                continue;
            }
            let path = frame.path.join(&child.name).ok()?;
            if !frame.coming.contains_key(path.name())
                && !self.walk.request.filter.excludes(&path, true)
                && !self.walk.is_before_start(&path)
            {
                return Some(path);
            }
        }
        None
    }
}
