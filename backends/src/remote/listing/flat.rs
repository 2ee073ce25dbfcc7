//! Flat keys: folders are made of what the keys begin with.
//!
//! Keys in the order of their bytes are rows in the order of [`Key`], as the marker of a folder and all that is in it begin with its path and
//! `/`. A key `a` beside `a/b` gives both a file and a folder: whoever joins listings holds back what is there on account of that.
//! Servers that are known to list in this order are passed on page by page; what others tell is sorted first.

use wl_core::model::{Key, Kind, Meta, SyncPath};
use wl_core::storage::{ErrorKind, Row, StorageError};

use super::super::order::Order;
use super::super::{names, token};
use super::pager::{Keyed, Pager, Told};
use super::{Seen, Step, Stop, Walk, sorted};

/// Lists all keys.
pub(super) async fn everything(walk: &mut Walk) -> Step {
    scan(walk, String::new(), SyncPath::root()).await
}

/// What a path of a scope needs.
enum Part {
    Row(Seen),
    /// What is below it. The folder's own row is given already, or (`implied`) comes with the first key.
    Below {
        implied: bool,
    },
}

/// Lists these paths and what is below them.
pub(super) async fn subtrees(walk: &mut Walk, paths: Vec<SyncPath>) -> Step {
    let mut parts = Vec::with_capacity(paths.len());
    for (path, seen) in walk.look_at(paths).await? {
        let key = seen.key(&path);
        // A file can have a folder of its name beside it; that must be seen too.
        if let Seen::There(_) = &seen {
            parts.push((
                Key::folder(path.clone()),
                1,
                Part::Below {
                    implied: !key.folder,
                },
            ));
        }
        parts.push((key, 0, Part::Row(seen)));
    }
    parts.sort_by(|(a, a_rank, _), (b, b_rank, _)| a.cmp(b).then(a_rank.cmp(b_rank)));
    for (key, _, part) in parts {
        match part {
            Part::Row(seen) => walk.seen(key, seen).await?,
            Part::Below { implied } => below(walk, key.path, implied).await?,
        }
    }
    Ok(())
}

async fn below(walk: &mut Walk, path: SyncPath, implied: bool) -> Step {
    if walk.is_before_start(&path) {
        return Ok(());
    }
    let prefix = format!("{}/", path.as_str());
    let here = match implied {
        true => path.parent().unwrap_or_else(SyncPath::root),
        false => path,
    };
    scan(walk, prefix, here).await
}

/// Gives the rows of all keys that begin with `prefix`. The rows of `here` and the folders above it are not given. It begins at the
/// first key: what comes behind a row is not the same for every server.
async fn scan(walk: &mut Walk, prefix: String, here: SyncPath) -> Step {
    let remote = std::sync::Arc::clone(&walk.remote);
    if remote.order.get() == Order::Bytes {
        let begun = walk.place();
        if pass_on(walk, &prefix, here.clone()).await? {
            return Ok(());
        }
        remote.order.distrust();
        if !walk.take_back(begun) {
            let reason = "the storage listed its keys in the order of their bytes, and does no longer; run again: they will be sorted here";
            let error = StorageError::new(ErrorKind::Temporary, "list", reason);
            return Err(Stop::Failed(error.on(&remote.location)));
        }
    }
    let mut sorted = loop {
        match sorted::gather(walk, &prefix, remote.order.get()).await? {
            Some(sorted) => break sorted,
            None => remote.order.distrust(),
        }
    };
    let mut scan = Scan::new(walk, here);
    while let Some(key) = sorted::next_of(&mut sorted, scan.walk)? {
        if let Some(skip) = scan.key(key).await? {
            sorted.skip(skip);
        }
    }
    Ok(())
}

/// Gives the rows as the keys come; false: they do not come in the order of their bytes.
async fn pass_on(walk: &mut Walk, prefix: &str, here: SyncPath) -> Step<bool> {
    let remote = std::sync::Arc::clone(&walk.remote);
    let mut pager = Pager::new(&remote.wire, Order::Bytes, prefix.to_owned());
    let mut scan = Scan::new(walk, here);
    loop {
        match pager.next().await? {
            Told::End => return Ok(true),
            Told::Disorder => return Ok(false),
            Told::Key(key) => {
                if let Some(skip) = scan.key(key).await? {
                    pager.skip(skip);
                }
            }
        }
    }
}

/// Keys on their way to rows.
struct Scan<'a> {
    walk: &'a mut Walk,
    /// The innermost folder whose row was given.
    here: SyncPath,
    counted: usize,
}

/// The beginning of keys that are not wanted.
pub(super) type Skip = Option<String>;

impl<'a> Scan<'a> {
    fn new(walk: &'a mut Walk, here: SyncPath) -> Self {
        Self {
            walk,
            here,
            counted: 0,
        }
    }

    async fn key(&mut self, key: Keyed) -> Step<Skip> {
        self.counted += 1;
        if self.counted.is_multiple_of(super::ROWS) {
            self.walk.go_on()?;
        }
        let Keyed {
            name,
            meta,
            lossy,
            special,
        } = key;
        if name.is_empty() {
            return Ok(None);
        }
        if lossy {
            let reason = "the name is not UTF-8; rename it";
            return self.no_path(&name, reason).await;
        }
        let (text, slash) = match name.strip_suffix('/') {
            Some(text) => (text, true),
            None => (name.as_str(), false),
        };
        let Ok(path) = SyncPath::new(text) else {
            let reason = "a key with an empty part, `.`, `..` or a NUL byte is no path; rename it";
            return self.no_path(&name, reason).await;
        };
        if path.is_root() {
            return self.no_path(&name, "a key `/` is no path; rename it").await;
        }
        if names::is_reserved(&self.walk.remote, &path) {
            return Ok(reserved(&path, slash));
        }
        let folder = !special && (meta.kind == Kind::Folder || (slash && meta.size == 0));
        if folder || slash {
            if let Some(skip) = self.enter(&path).await? {
                return Ok(Some(skip));
            }
            if !folder {
                let reason =
                    "a key that ends in `/` is a folder, but this one has content; rename it";
                self.problem(path, String::new(), reason).await?;
            }
            return Ok(None);
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.is_root())
            && let Some(skip) = self.enter(&parent).await?
        {
            return Ok(Some(skip));
        }
        match special {
            true => self.special(path).await?,
            false => self.file(path, meta).await?,
        }
        Ok(None)
    }

    async fn special(&mut self, path: SyncPath) -> Step {
        let key = Key::file(path);
        match self.walk.request.filter.excludes(&key.path, false) {
            true => self.walk.row(Row::Excluded(key)).await,
            false => self.walk.row(Row::Skipped(key.path)).await,
        }
    }

    async fn file(&mut self, path: SyncPath, meta: Meta) -> Step {
        if self.walk.request.filter.excludes(&path, false) {
            return self.walk.row(Row::Excluded(Key::file(path))).await;
        }
        if let Some(reason) = self.walk.remote.wire.store().refuses(&path) {
            let error = self.walk.refused(&path, &reason);
            return self.walk.unknown(path, false, error).await;
        }
        self.walk.present(path, meta).await
    }

    /// Gives the rows of the folder at `path` and those above it, as far as they are new. A folder whose inside is not wanted says what
    /// to skip.
    async fn enter(&mut self, path: &SyncPath) -> Step<Skip> {
        if self.here.is_within(path) {
            return Ok(None);
        }
        for folder in path.ancestors().chain([path.clone()]) {
            if self.here.is_within(&folder) {
                continue;
            }
            self.here = folder.clone();
            let below = format!("{}/", folder.as_str());
            if self.walk.request.filter.excludes(&folder, true) {
                self.walk.row(Row::Excluded(Key::folder(folder))).await?;
                return Ok(Some(below));
            }
            let refused = self.walk.remote.wire.store().refuses(&folder);
            let meta: Meta = token::implied_folder();
            self.walk.present(folder.clone(), meta).await?;
            if let Some(reason) = refused {
                let error = self.walk.refused(&folder, &reason);
                self.walk.unknown(folder, true, error).await?;
                return Ok(Some(below));
            }
        }
        Ok(None)
    }

    /// A key that is no path: the problem of the innermost folder that can be named.
    async fn no_path(&mut self, key: &str, reason: &str) -> Step<Skip> {
        let mut parent = SyncPath::root();
        let mut rest = key;
        while let Some((part, after)) = rest.split_once('/') {
            let Ok(child) = parent.join(part) else { break };
            parent = child;
            rest = after;
        }
        if names::is_reserved(&self.walk.remote, &parent) && !parent.is_root() {
            return Ok(reserved(&parent, true));
        }
        if !parent.is_root()
            && let Some(skip) = self.enter(&parent).await?
        {
            return Ok(Some(skip));
        }
        let name = match rest {
            "" => "/".to_owned(),
            rest => rest.chars().flat_map(readable).collect(),
        };
        self.problem(parent, name, reason).await?;
        Ok(None)
    }

    /// Keys come in order, rows of problems do not: the row is given wherever its place is.
    async fn problem(&mut self, parent: SyncPath, name: String, reason: &str) -> Step {
        let row = Row::Unrepresentable {
            parent,
            name,
            reason: reason.to_owned(),
        };
        self.walk.any_row(row).await
    }
}

fn readable(c: char) -> Box<dyn Iterator<Item = char> + Send> {
    match c.is_control() {
        true => Box::new(c.escape_default()),
        false => Box::new(std::iter::once(c)),
    }
}

/// What the keys in the reserved folder begin with, if `path` is in it.
pub(super) fn reserved(path: &SyncPath, folder: bool) -> Skip {
    let first = path.as_str().split('/').next().unwrap_or_default();
    (folder || first.len() < path.as_str().len()).then(|| format!("{first}/"))
}
