//! What dead sessions left behind. Safe to be killed at any point and to run again.
//!
//! A storage may be full, and what is left behind may be what fills it. So what is of no use goes first, which needs no room. What there is still no
//! room for is left to the next session, with its folder, if it is nothing that a look at the tree would miss.

use std::collections::{BTreeMap, BTreeSet};

use rustix::io::Errno;
use wl_core::model::{ContentHash, Kind, SyncPath};
use wl_core::storage::{ErrorKind, Result, StorageError, StrandedVersion, TrashState};

use super::dir::{PATH, open_folder};
use super::kernel::{Fd, Locked};
use super::lines::{self, Displacement, Intent};
use super::meta::{file_token, token_stem};
use super::publish::displacement;
use super::reserved;
use super::root::{Root, Spot};
use super::stage::{part, remove_folder, swap, unlink};
use super::sys::{self, At, Renames, Stat, Sys};
use super::trash::{self, TrashRun};
use fate::{Caught, Fate, Whose};

mod fate;

const DOING: &str = "take care of a dead session's leftovers";

/// Takes care of every staging folder whose session is dead.
pub(super) fn recover(
    spot: &Spot,
    root: &Root,
    wl: &Fd,
    stranded: &mut Vec<StrandedVersion>,
) -> Result<()> {
    let failed = |errno| error(errno, root);
    let no_stage = |errno| reserved::error(DOING, reserved::STAGE, errno, &root.location);
    let Some(stage) = reserved::open_in(wl, "stage").map_err(no_stage)? else {
        return Ok(());
    };
    let _lock = reserved::lock(wl).map_err(failed)?;
    let mut dead = Vec::new();
    for run in stage.names() {
        let run = run.map_err(failed)?;
        if !reserved::is_run(&run) {
            continue;
        }
        let Some(leftovers) = Leftovers::of(root, wl, &stage, run).map_err(failed)? else {
            continue;
        };
        let found = leftovers.found().map_err(failed)?;
        dead.push((leftovers, found));
    }
    for (mut leftovers, found) in dead {
        if !found.is_empty() {
            match spot.try_out(wl, "recover") {
                Ok(tried) => leftovers.renames = tried.renames,
                Err(error) if error.kind() == ErrorKind::Full => {
                    leftovers.may_wait(&found, Errno::NOSPC).map_err(failed)?;
                    continue;
                }
                Err(error) => return Err(error),
            }
        }
        leftovers.settle_all(found, stranded).map_err(failed)?;
    }
    Ok(())
}

fn error(errno: Errno, root: &Root) -> StorageError {
    let error = sys::os_error(DOING, errno).on(&root.location);
    reserved::with_way_out(error, &root.location)
}

/// A dead session's staging folder, in our hands.
struct Leftovers<'a> {
    root: &'a Root,
    wl: &'a Fd,
    /// None at all until that is tried out, which needs room.
    renames: Renames,
    run: String,
    folder: Fd,
    _dead: Locked,
}

/// What is in it that has to be seen to.
struct Found {
    swaps: Vec<Caught>,
    parts: BTreeSet<u64>,
    /// Versions in the trash that its index does not name.
    unnamed: BTreeSet<u64>,
    intents: BTreeMap<u64, Intent>,
}

impl Found {
    fn is_empty(&self) -> bool {
        self.swaps.is_empty() && self.parts.is_empty() && self.unnamed.is_empty()
    }
}

/// Whether something had to be left for want of room.
fn is_short(done: Sys<()>, short: &mut Option<Errno>) -> Sys<bool> {
    match done {
        Err(errno) if sys::is_full(errno) => {
            *short = Some(errno);
            Ok(true)
        }
        other => other.map(|()| false),
    }
}

impl<'a> Leftovers<'a> {
    /// Those of a run; `None` if it lives, or left nothing.
    fn of(root: &'a Root, wl: &'a Fd, stage: &Fd, run: String) -> Sys<Option<Self>> {
        let Some(folder) = reserved::open_in(stage, &run)? else {
            return Ok(None);
        };
        let dead = match reserved::try_lock(&folder) {
            // Killed when all but the empty folder was away; there is no room for another lock in it.
            Err(errno) if sys::is_full(errno) && stage.remove_dir_at(&run).is_ok() => None,
            other => other?,
        };
        Ok(dead.map(|_dead| Self {
            root,
            wl,
            renames: Renames::NONE,
            run,
            folder,
            _dead,
        }))
    }

    /// What is in it, but for what is of no use to anybody, which goes at once: it needs no room for that, and makes some.
    fn found(&self) -> Sys<Found> {
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
        let mut found = Found {
            swaps: Vec::new(),
            parts: BTreeSet::new(),
            unnamed,
            intents,
        };
        for &n in &swaps {
            let caught = self.caught(n, found.intents.get(&n), parts.contains(&n))?;
            if caught.fate() != Fate::Goes || !self.went(&swap(n))? {
                found.swaps.push(caught);
            }
        }
        for n in parts {
            // It says how far the exchange with the swap of its number had come.
            let needed = swaps.contains(&n) || !self.is_ours(n, found.intents.get(&n))?;
            if needed || !self.went(&part(n))? {
                found.parts.insert(n);
            }
        }
        Ok(found)
    }

    /// Unlinks it, but for where even that needs room.
    fn went(&self, name: &str) -> Sys<bool> {
        Ok(!is_short(unlink(&self.folder, name), &mut None)?)
    }

    /// Settles all that there is room for, and takes the folder away if that is all.
    fn settle_all(&self, mut found: Found, stranded: &mut Vec<StrandedVersion>) -> Sys<()> {
        let mut short = None;
        is_short(self.name_in_trash(&found), &mut short)?;
        let mut waiting = Vec::new();
        for caught in std::mem::take(&mut found.swaps) {
            if is_short(self.settle(&caught, stranded), &mut short)? {
                found.parts.remove(&caught.n);
                waiting.push(caught);
            }
        }
        found.swaps = waiting;
        for n in std::mem::take(&mut found.parts) {
            let settled = self.settle_part(n, found.intents.get(&n), stranded);
            if is_short(settled, &mut short)? {
                found.parts.insert(n);
            }
        }
        if short.is_none() {
            let done = self.folder.sync_all();
            let done = done.and_then(|()| remove_folder(self.wl, &self.folder, &self.run));
            is_short(done, &mut short)?;
        }
        short.map_or(Ok(()), |errno| self.may_wait(&found, errno))
    }

    /// There is no room (`errno`) for what is left. What was agreed to be displaced may wait, and what is of no use. A version of somebody's may
    /// be at no path at all: a look would take that for its removal, and say that both sides agree.
    fn may_wait(&self, found: &Found, errno: Errno) -> Sys<()> {
        let mut may = found.swaps.iter().all(Caught::may_wait);
        for &n in &found.parts {
            may &= self.is_ours(n, found.intents.get(&n))?;
        }
        may.then_some(()).ok_or(errno)
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
    fn name_in_trash(&self, found: &Found) -> Sys<()> {
        if found.unnamed.is_empty() {
            return Ok(());
        }
        let trash = TrashRun::make(self.wl, &self.run)?;
        let mut notes = Vec::new();
        for &n in &found.unnamed {
            let stat = sys::stat_at(&trash.folder, &n.to_string())?;
            let intent = found.intents.get(&n);
            let name = n.to_string();
            let at = (&trash.folder, &*name);
            let (state, hash) = match intent {
                Some(intent) if self.whose(at, &stat, intent) == Whose::Expected => {
                    (fate::agreed(intent.op), intent.hash)
                }
                _ => (TrashState::Rescued, None),
            };
            let path = intent.map(|intent| &intent.path);
            notes.push(displacement(n, path, &stat, state, hash, self.folder.now()));
        }
        self.note(&trash, &notes)
    }

    fn caught(&self, n: u64, intent: Option<&Intent>, part: bool) -> Sys<Caught> {
        let name = swap(n);
        let at = (&self.folder, &*name);
        let stat = sys::stat_at(at.0, at.1)?;
        let is_elsewhere = self.is_in_trash(n, &stat)
            || intent.is_some_and(|intent| self.has_arrived(&stat, intent));
        let whose = match intent {
            Some(intent) if !is_elsewhere => self.whose(at, &stat, intent),
            _ => Whose::Somebodys,
        };
        Ok(Caught {
            n,
            stat,
            intent: intent.cloned(),
            part,
            is_elsewhere,
            whose,
        })
    }

    /// Carries out what becomes of a swap.
    fn settle(&self, caught: &Caught, stranded: &mut Vec<StrandedVersion>) -> Sys<()> {
        let name = swap(caught.n);
        let at = (&self.folder, &*name);
        let fate = caught.fate();
        if fate == Fate::Goes {
            return unlink(at.0, at.1);
        }
        let kept = (&*name, caught.n);
        let Some(intent) = &caught.intent else {
            let why = "was found in a dead session's hands without a record of its path";
            return self.rescue(kept, None, &caught.stat, why, stranded);
        };
        let path = &intent.path;
        match fate {
            Fate::Exchanged if self.exchange_back(at, caught.n, intent)? => {
                stranded.push(put_back(path, CAUGHT));
                return self.settle_returned(caught.n, intent, stranded);
            }
            Fate::Back { .. } if self.move_back(at, path)? => {
                if caught.whose != Whose::Expected {
                    stranded.push(put_back(path, CAUGHT));
                }
                return Ok(());
            }
            Fate::ToTrash(state) | Fate::Back { or: Some(state) } => {
                let now = self.folder.now();
                let (stat, hash) = (&caught.stat, intent.hash);
                let note = displacement(caught.n, Some(path), stat, state, hash, now);
                return self.to_trash(&name, note);
            }
            _ => {}
        }
        let why = "was caught in an exchange by a crash, and something else is at its path";
        self.rescue(kept, Some(path), &caught.stat, why, stranded)
    }

    /// Whether staged content is ours to give up: it never was at any path (and may be half written), it has its name there, or nobody wrote to it.
    fn is_ours(&self, n: u64, intent: Option<&Intent>) -> Sys<bool> {
        let Some(intent) = intent else {
            return Ok(true);
        };
        let name = part(n);
        let at = (&self.folder, &*name);
        let stat = sys::stat_at(at.0, at.1)?;
        Ok(self.is_at(&intent.path, &stat) || self.whose(at, &stat, intent) == Whose::Ours)
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
        let path = match intent {
            Some(intent) if !self.is_ours(n, Some(intent))? => &intent.path,
            _ => return unlink(at.0, at.1),
        };
        let stat = sys::stat_at(at.0, at.1)?;
        if self.move_back(at, path)? {
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

    /// Exchanges somebody's version with ours at its path; `false` if ours is not there. What comes out was seen at the path, so that a program
    /// may have it open: it goes to the trash even if it is ours, and is noted there first, while nothing has happened yet that needs room.
    fn exchange_back(&self, at: At<'_>, n: u64, intent: &Intent) -> Sys<bool> {
        let path = &intent.path;
        let Some(parent) = self.parent(path).filter(|_| self.renames.exchange) else {
            return Ok(false);
        };
        let there = (&parent, path.name());
        let Ok(stat) = sys::stat_at(there.0, there.1) else {
            return Ok(false);
        };
        if self.whose(there, &stat, intent) != Whose::Ours {
            return Ok(false);
        }
        let hash = intent.new.as_ref().and_then(|new| new.hash);
        let (state, now) = (TrashState::Replaced, self.folder.now());
        let note = displacement(n, Some(path), &stat, state, hash, now);
        self.note(&TrashRun::make(self.wl, &self.run)?, &[note])?;
        match sys::exchange(at, there) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// After a version was exchanged back.
    fn settle_returned(
        &self,
        n: u64,
        intent: &Intent,
        stranded: &mut Vec<StrandedVersion>,
    ) -> Sys<()> {
        let name = swap(n);
        let at = (&self.folder, &*name);
        let stat = sys::stat_at(at.0, at.1)?;
        if self.whose(at, &stat, intent) == Whose::Ours {
            let trash = TrashRun::make(self.wl, &self.run)?;
            return trash.take(self.renames, &self.folder, &name, n);
        }
        let why = "was written while an older one was put back after a crash";
        self.rescue((&name, n), Some(&intent.path), &stat, why, stranded)
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

    /// Moves a version to where nothing is; `false` if something is, or it cannot be there any more.
    fn move_back(&self, at: At<'_>, path: &SyncPath) -> Sys<bool> {
        let Some(parent) = self.parent(path) else {
            return Ok(false);
        };
        match self.renames.move_new(at, (&parent, path.name())) {
            // There will be room some day.
            Err(errno) if sys::is_full(errno) => Err(errno),
            moved => Ok(moved.is_ok()),
        }
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

    fn to_trash(&self, name: &str, note: Displacement) -> Sys<()> {
        let n = note.n;
        let trash = TrashRun::make(self.wl, &self.run)?;
        self.note(&trash, &[note])?;
        trash.take(self.renames, &self.folder, name, n)
    }

    /// Writes to the trash's index, durably. What was looked through before was so without this.
    fn note(&self, trash: &TrashRun, notes: &[Displacement]) -> Sys<()> {
        unlink(&trash.folder, "checked")?;
        trash.note(notes)?;
        trash.sync()
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
