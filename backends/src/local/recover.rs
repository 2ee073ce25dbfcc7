//! What dead sessions left behind. Safe to be killed at any point and to run again.

use std::collections::{BTreeMap, BTreeSet};

use rustix::io::Errno;
use wl_core::model::{ContentHash, Kind, SyncPath};
use wl_core::storage::{Result, StrandedVersion, TrashState};

use super::dir::{PATH, open_folder};
use super::kernel::Fd;
use super::lines::{self, Intent, Operation};
use super::meta::{file_token, token_stem};
use super::publish::displacement;
use super::reserved;
use super::root::{Root, Spot};
use super::stage::{part, remove_folder, swap, unlink};
use super::sys::{self, At, Renames, Stat, Sys};
use super::trash::{self, TrashRun};

/// Takes care of every staging folder whose session is dead.
pub(super) fn recover(
    spot: &Spot,
    root: &Root,
    wl: &Fd,
    stranded: &mut Vec<StrandedVersion>,
) -> Result<()> {
    let doing = "take care of a dead session's leftovers";
    let failed = |errno| sys::os_error(doing, errno).on(&root.location);
    let no_stage = |errno| reserved::error(doing, reserved::STAGE, errno, &root.location);
    let Some(stage) = reserved::open_in(wl, "stage").map_err(no_stage)? else {
        return Ok(());
    };
    let _lock = reserved::lock(wl).map_err(failed)?;
    let renames = spot.try_out(wl, "recover")?.renames;
    for run in stage.names() {
        let run = run.map_err(failed)?;
        if !reserved::is_run(&run) {
            continue;
        }
        let Some(folder) = reserved::open_in(&stage, &run).map_err(failed)? else {
            continue;
        };
        let Some(_dead) = reserved::try_lock(&folder).map_err(failed)? else {
            continue;
        };
        let leftovers = Leftovers {
            root,
            wl,
            renames,
            run,
            folder,
        };
        leftovers.tidy_up(stranded).map_err(failed)?;
    }
    Ok(())
}

/// A dead session's staging folder, in our hands.
struct Leftovers<'a> {
    root: &'a Root,
    wl: &'a Fd,
    renames: Renames,
    run: String,
    folder: Fd,
}

/// What a version in a swap is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// Our own content: the source has it.
    Ours,
    /// What was agreed to be displaced.
    Expected,
    /// Somebody's, or it cannot be told.
    Somebodys,
}

impl Leftovers<'_> {
    fn tidy_up(&self, stranded: &mut Vec<StrandedVersion>) -> Sys<()> {
        let (mut swaps, mut parts) = (BTreeSet::<u64>::new(), BTreeSet::<u64>::new());
        for name in self.folder.names() {
            let name = name?;
            match name.split_once('.') {
                Some((n, "swap")) => swaps.extend(n.parse::<u64>()),
                Some((n, "part")) => parts.extend(n.parse::<u64>()),
                _ => {}
            }
        }
        let unnamed = self.unnamed_in_trash()?;
        let wanted = [&swaps, &parts, &unnamed];
        let mut intents = BTreeMap::new();
        for intent in lines::read::<Intent>(&self.folder, "journal")? {
            let intent = intent?;
            if wanted.iter().any(|numbers| numbers.contains(&intent.n)) {
                intents.insert(intent.n, intent);
            }
        }
        self.name_in_trash(&unnamed, &intents)?;
        for &n in &swaps {
            self.settle(n, intents.get(&n), parts.contains(&n), stranded)?;
        }
        for &n in &parts {
            self.settle_part(n, intents.get(&n), stranded)?;
        }
        self.folder.sync_all()?;
        remove_folder(self.wl, &self.folder, &self.run)
    }

    fn unnamed_in_trash(&self) -> Sys<BTreeSet<u64>> {
        let path = format!("trash/{}", self.run);
        match open_folder(self.wl, &path, super::dir::READ) {
            Ok(folder) => trash::unnamed(&folder),
            Err(Errno::NOENT) => Ok(BTreeSet::new()),
            Err(errno) => Err(errno),
        }
    }

    /// Writes the index lines that a power cut took.
    fn name_in_trash(&self, unnamed: &BTreeSet<u64>, intents: &BTreeMap<u64, Intent>) -> Sys<()> {
        if unnamed.is_empty() {
            return Ok(());
        }
        let trash = TrashRun::make(self.wl, &self.run)?;
        let mut notes = Vec::new();
        for &n in unnamed {
            let stat = sys::stat_at(&trash.folder, &n.to_string())?;
            let intent = intents.get(&n);
            let name = n.to_string();
            let at = (&trash.folder, &*name);
            let (state, hash) = match intent {
                Some(intent) if self.whose(at, &stat, intent) == Whose::Expected => {
                    (agreed(intent.op), intent.hash)
                }
                _ => (TrashState::Rescued, None),
            };
            let path = intent.map(|intent| &intent.path);
            notes.push(displacement(n, path, &stat, state, hash, self.folder.now()));
        }
        trash.note(&notes)?;
        trash.sync()
    }

    /// Decides what becomes of a swap. `part` is still there only where the version was moved aside and ours not yet moved in.
    fn settle(
        &self,
        n: u64,
        intent: Option<&Intent>,
        part: bool,
        stranded: &mut Vec<StrandedVersion>,
    ) -> Sys<()> {
        let name = swap(n);
        let at = (&self.folder, &*name);
        let stat = sys::stat_at(at.0, at.1)?;
        if self.is_in_trash(n, &stat) {
            // By a second link, and the first was not taken away yet.
            return unlink(&self.folder, &name);
        }
        let Some(intent) = intent else {
            let why = "was found in a dead session's hands without a record of its path";
            return self.rescue((&name, n), None, &stat, why, stranded);
        };
        let path = &intent.path;
        if self.has_arrived(&stat, intent) {
            return unlink(&self.folder, &name);
        }
        let whose = self.whose(at, &stat, intent);
        let aside = part || intent.op == Operation::Rename;
        match (whose, intent.op) {
            (Whose::Ours, Operation::Replace) if !part => return unlink(&self.folder, &name),
            (Whose::Expected, op) if !aside => {
                let note = displacement(
                    n,
                    Some(path),
                    &stat,
                    agreed(op),
                    intent.hash,
                    self.folder.now(),
                );
                return self.to_trash(&name, note);
            }
            (Whose::Somebodys, Operation::Replace) if !part => {
                if self.exchange_back(at, path, intent)? {
                    stranded.push(put_back(path, CAUGHT));
                    return self.settle_returned(n, path, intent, stranded);
                }
            }
            _ => {
                if self.move_back(at, path) {
                    if whose != Whose::Expected {
                        stranded.push(put_back(path, CAUGHT));
                    }
                    return Ok(());
                }
                if whose == Whose::Expected && intent.op == Operation::Replace {
                    let note = displacement(
                        n,
                        Some(path),
                        &stat,
                        TrashState::Replaced,
                        intent.hash,
                        self.folder.now(),
                    );
                    return self.to_trash(&name, note);
                }
            }
        }
        let why = "was caught in an exchange by a crash, and something else is at its path";
        self.rescue((&name, n), Some(path), &stat, why, stranded)
    }

    /// Decides what becomes of staged content. It is ours to give up, unless somebody wrote to it at its path, and a power cut took that name
    /// back: what was written is durable then, by whoever's care, and is nowhere else.
    fn settle_part(
        &self,
        n: u64,
        intent: Option<&Intent>,
        stranded: &mut Vec<StrandedVersion>,
    ) -> Sys<()> {
        let name = part(n);
        let at = (&self.folder, &*name);
        let Some(intent) = intent else {
            // It never was at any path, and may be half written.
            return unlink(at.0, at.1);
        };
        let path = &intent.path;
        let stat = sys::stat_at(at.0, at.1)?;
        let is_there = self.is_at(path, &stat);
        if is_there || self.whose(at, &stat, intent) == Whose::Ours {
            return unlink(at.0, at.1);
        }
        if self.move_back(at, path) {
            stranded.push(put_back(path, UNNAMED));
            return Ok(());
        }
        let n = self.number_in_trash(n, &stat)?;
        let why = format!("{UNNAMED}, and something else is at its path");
        self.rescue((&name, n), Some(path), &stat, &why, stranded)
    }

    /// A number that nothing else has in the trash; the first one from `n` on, which a swap may have taken.
    fn number_in_trash(&self, n: u64, stat: &Stat) -> Sys<u64> {
        let trash = TrashRun::make(self.wl, &self.run)?;
        let mut free = n;
        loop {
            match sys::stat_at(&trash.folder, &free.to_string()) {
                Err(Errno::NOENT) => return Ok(free),
                Err(errno) => return Err(errno),
                // Taken there before, by a second link.
                Ok(there) if (there.ino, there.dev) == (stat.ino, stat.dev) => return Ok(free),
                Ok(_) => free += 1,
            }
        }
    }

    /// After a version was exchanged back: what came out was seen at the path, so that a program may have it open. It goes to
    /// the trash even if it is ours.
    fn settle_returned(
        &self,
        n: u64,
        path: &SyncPath,
        intent: &Intent,
        stranded: &mut Vec<StrandedVersion>,
    ) -> Sys<()> {
        let name = swap(n);
        let at = (&self.folder, &*name);
        let stat = sys::stat_at(at.0, at.1)?;
        if self.whose(at, &stat, intent) == Whose::Ours {
            let hash = intent.new.as_ref().and_then(|new| new.hash);
            return self.to_trash(
                &name,
                displacement(
                    n,
                    Some(path),
                    &stat,
                    TrashState::Replaced,
                    hash,
                    self.folder.now(),
                ),
            );
        }
        let why = "was written while an older one was put back after a crash";
        self.rescue((&name, n), Some(path), &stat, why, stranded)
    }

    /// Exchanges somebody's version with ours at its path; `false` if ours is not there.
    fn exchange_back(&self, at: At<'_>, path: &SyncPath, intent: &Intent) -> Sys<bool> {
        if !self.renames.exchange {
            return Ok(false);
        }
        let Some(parent) = self.parent(path) else {
            return Ok(false);
        };
        let there = (&parent, path.name());
        let Ok(stat) = sys::stat_at(there.0, there.1) else {
            return Ok(false);
        };
        if self.whose(there, &stat, intent) != Whose::Ours {
            return Ok(false);
        }
        match sys::exchange(at, there) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Whether a file on its way to another path has its name there already, as a second hard link.
    fn has_arrived(&self, stat: &Stat, intent: &Intent) -> bool {
        intent.to.as_ref().is_some_and(|to| self.is_at(to, stat))
    }

    /// Whether this file has its name at `path`.
    fn is_at(&self, path: &SyncPath, stat: &Stat) -> bool {
        self.parent(path)
            .is_some_and(|parent| is_same(&parent, path.name(), stat))
    }

    /// Whether this file has its name in the trash already.
    fn is_in_trash(&self, n: u64, stat: &Stat) -> bool {
        let path = format!("trash/{}", self.run);
        open_folder(self.wl, &path, PATH).is_ok_and(|trash| is_same(&trash, &n.to_string(), stat))
    }

    fn move_back(&self, at: At<'_>, path: &SyncPath) -> bool {
        self.parent(path).is_some_and(|parent| {
            let there = (&parent, path.name());
            self.renames.move_new(at, there).is_ok()
        })
    }

    fn parent(&self, path: &SyncPath) -> Option<Fd> {
        if path.is_reserved() {
            return None;
        }
        let parent = path.parent()?;
        open_folder(&self.root.fd, parent.as_str(), PATH).ok()
    }

    /// Whose version it is, by content. What cannot be read is somebody's.
    fn whose(&self, at: At<'_>, stat: &Stat, intent: &Intent) -> Whose {
        let hash = match stat.kind() {
            Some(Kind::File) => content(at),
            _ => None,
        };
        let link = match stat.kind() {
            Some(Kind::Link) => target(at),
            _ => None,
        };
        let same = |known_hash: Option<ContentHash>, known_link: Option<&str>| match stat.kind() {
            Some(Kind::File) => hash.is_some() && hash == known_hash,
            Some(Kind::Link) => link.is_some() && link.as_deref() == known_link,
            _ => false,
        };
        if let Some(new) = &intent.new
            && same(new.hash, new.link.as_deref())
        {
            return Whose::Ours;
        }
        if stat.kind() != Some(intent.kind) {
            return Whose::Somebodys;
        }
        let known = intent.hash.is_some() || intent.link.is_some();
        let same_token = intent
            .token
            .as_deref()
            .is_some_and(|token| token_stem(token) == token_stem(file_token(stat).as_str()));
        let expected = match known {
            true => same(intent.hash, intent.link.as_deref()),
            false => same_token,
        };
        if expected {
            Whose::Expected
        } else {
            Whose::Somebodys
        }
    }

    fn rescue(
        &self,
        (name, n): (&str, u64),
        path: Option<&SyncPath>,
        stat: &Stat,
        why: &str,
        stranded: &mut Vec<StrandedVersion>,
    ) -> Sys<()> {
        self.to_trash(
            name,
            displacement(n, path, stat, TrashState::Rescued, None, self.folder.now()),
        )?;
        stranded.push(StrandedVersion {
            path: path.cloned(),
            kept: format!("in the trash as {}/{n}", self.run),
            reason: format!("a version {why}"),
        });
        Ok(())
    }

    fn to_trash(&self, name: &str, note: super::lines::Displacement) -> Sys<()> {
        let n = note.n;
        let trash = TrashRun::make(self.wl, &self.run)?;
        trash.note(&[note])?;
        trash.sync()?;
        trash.take(self.renames, &self.folder, name, n)
    }
}

/// Whether the entry `name` is this file.
fn is_same(folder: &Fd, name: &str, stat: &Stat) -> bool {
    sys::stat_at(folder, name).is_ok_and(|there| (there.ino, there.dev) == (stat.ino, stat.dev))
}

fn content(at: At<'_>) -> Option<ContentHash> {
    let read = sys::hash_at(at.0, at.1, &|| true).ok()??;
    Some(read.0)
}

fn target(at: At<'_>) -> Option<String> {
    String::from_utf8(sys::read_link(at.0, at.1).ok()?).ok()
}

fn agreed(op: Operation) -> TrashState {
    match op {
        Operation::Replace | Operation::Create => TrashState::Replaced,
        Operation::Remove | Operation::Rename => TrashState::Removed,
    }
}

/// What happened to versions that are put back.
const CAUGHT: &str = "that nobody had seen was caught in an exchange by a crash";
const UNNAMED: &str =
    "was written to a file that had just come, and a power cut took the file's name";

fn put_back(path: &SyncPath, what: &str) -> StrandedVersion {
    StrandedVersion {
        path: Some(path.clone()),
        kept: format!("put back at {path}"),
        reason: format!("a version {what}"),
    }
}
