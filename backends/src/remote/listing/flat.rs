//! Flat keys: folders are made of what the keys begin with.
//!
//! Keys in the order of their bytes are rows in the order of [`Key`], as the marker of a folder and all that is in it begin with its path and
//! `/`. A key `a` beside `a/b` gives both a file and a folder: whoever joins listings holds back what is there on account of that.

use wl_core::model::{Key, Kind, Meta, SyncPath, Timestamp};
use wl_core::storage::Row;

use super::super::store::{Found, Listed};
use super::super::{names, token};
use super::pager::Pager;
use super::{Seen, Step, Walk};

/// Lists all keys.
pub(super) async fn everything(walk: &mut Walk) -> Step {
    let after = walk.request.start_after.as_ref().map(Key::to_text);
    scan(walk, String::new(), after, SyncPath::root()).await
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
        let folder = match &seen {
            Seen::There(meta) => meta.kind == Kind::Folder,
            Seen::Excluded { folder } => *folder,
            Seen::Absent | Seen::Unknown(_) => false,
        };
        // A file can have a folder of its name beside it; that must be seen too.
        if let Seen::There(_) = &seen {
            parts.push((
                Key::folder(path.clone()),
                1,
                Part::Below { implied: !folder },
            ));
        }
        parts.push((Key { path, folder }, 0, Part::Row(seen)));
    }
    parts.sort_by(|(a, a_rank, _), (b, b_rank, _)| a.cmp(b).then(a_rank.cmp(b_rank)));
    for (key, _, part) in parts {
        match part {
            Part::Row(seen) => one(walk, key, seen).await?,
            Part::Below { implied } => below(walk, key.path, implied).await?,
        }
    }
    Ok(())
}

async fn one(walk: &mut Walk, key: Key, seen: Seen) -> Step {
    match seen {
        Seen::Absent => walk.row(Row::Absent(key.path)).await,
        Seen::Excluded { .. } => walk.row(Row::Excluded(key)).await,
        Seen::Unknown(error) => walk.unknown(key.path, false, error).await,
        Seen::There(meta) => walk.present(key.path, meta).await,
    }
}

async fn below(walk: &mut Walk, path: SyncPath, implied: bool) -> Step {
    if walk.is_before_start(&path) {
        return Ok(());
    }
    let prefix = format!("{}/", path.as_str());
    let after = walk.request.start_after.as_ref().map(Key::to_text);
    let after = after.filter(|after| after.starts_with(&prefix));
    let here = match implied {
        true => path.parent().unwrap_or_else(SyncPath::root),
        false => path,
    };
    scan(walk, prefix, after, here).await
}

/// Gives the rows of all keys that begin with `prefix`. The rows of `here` and the folders above it are not given.
async fn scan(walk: &mut Walk, prefix: String, after: Option<String>, here: SyncPath) -> Step {
    let remote = std::sync::Arc::clone(&walk.remote);
    let mut pager = Pager::new(&remote.wire, prefix, after);
    let mut scan = Scan {
        walk,
        here,
        counted: 0,
    };
    while let Some((listed, seen)) = pager.next().await? {
        if let Some(skip) = scan.key(listed, seen).await? {
            pager.skip(skip);
        }
    }
    Ok(())
}

/// Keys on their way to rows.
struct Scan<'a> {
    walk: &'a mut Walk,
    /// The innermost folder whose row was given.
    here: SyncPath,
    counted: usize,
}

/// The beginning of keys that are not wanted.
type Skip = Option<String>;

impl Scan<'_> {
    async fn key(&mut self, listed: Listed, seen: Timestamp) -> Step<Skip> {
        self.counted += 1;
        if self.counted.is_multiple_of(super::ROWS) {
            self.walk.go_on()?;
        }
        let Listed {
            name,
            found,
            lossy,
            special,
        } = listed;
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
        let folder = !special && (found.kind == Kind::Folder || (slash && found.size == 0));
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
            false => self.file(path, &found, seen).await?,
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

    async fn file(&mut self, path: SyncPath, found: &Found, seen: Timestamp) -> Step {
        if self.walk.request.filter.excludes(&path, false) {
            return self.walk.row(Row::Excluded(Key::file(path))).await;
        }
        if let Some(reason) = self.walk.remote.wire.store().refuses(&path) {
            let error = self.walk.refused(&path, &reason);
            return self.walk.unknown(path, false, error).await;
        }
        let meta = self.walk.remote.wire.meta(found, seen);
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

    /// Keys come in order and the listing began behind what is not wanted: the row is given wherever its place is.
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

fn reserved(path: &SyncPath, folder: bool) -> Skip {
    let first = path.as_str().split('/').next().unwrap_or_default();
    (folder || first.len() < path.as_str().len()).then(|| format!("{first}/"))
}
