//! The trash: displaced versions, kept on the same file system so that a move is all it takes.

use std::collections::{BTreeSet, HashMap};

use rustix::fs::{Mode as Bits, OFlags, RenameFlags};
use rustix::io::Errno;
use wl_core::model::{Kind, SyncPath};
use wl_core::storage::{
    ErrorKind, Result, SessionOptions, StorageError, StrandedVersion, TrashId, TrashItem,
    TrashKeep, TrashState,
};

use super::dir::{READ, open_folder};
use super::kernel::Fd;
use super::lines::{self, Displacement};
use super::reserved;
use super::root::Root;
use super::sys::{self, Renames, Sys};

/// A run's folder in the trash.
#[derive(Debug)]
pub(super) struct TrashRun {
    pub(super) folder: Fd,
    index: Fd,
}

impl TrashRun {
    /// Opens it; it is made if need be.
    pub(super) fn make(wl: &Fd, run: &str) -> Sys<Self> {
        let trash = reserved::make_in(wl, "trash")?;
        let folder = reserved::make_in(&trash, run)?;
        let index = reserved::open_lines(&folder, "index")?;
        Ok(Self { folder, index })
    }

    /// Writes to the index, before the versions are moved here.
    pub(super) fn note(&self, records: &[Displacement]) -> Sys<()> {
        lines::append(&self.index, records)
    }

    /// Moves a version here. It keeps its number.
    pub(super) fn take(&self, renames: Renames, from: &Fd, name: &str, n: u64) -> Sys<()> {
        let to = n.to_string();
        match renames.move_new((from, name), (&self.folder, &to)) {
            // No hard links to folders: numbers are never used twice, so nothing is there to be replaced.
            Err(Errno::PERM | Errno::OPNOTSUPP) => {
                from.rename_at(name, &self.folder, &to, RenameFlags::empty())
            }
            // A crash between making the second link and taking away the first.
            Err(Errno::EXIST) if self.is_same(from, name, &to) => from.unlink_at(name),
            other => other,
        }
    }

    fn is_same(&self, from: &Fd, name: &str, to: &str) -> bool {
        let one = sys::stat_at(from, name).map(|stat| stat.ino);
        one.is_ok() && one == sys::stat_at(&self.folder, to).map(|stat| stat.ino)
    }

    /// Makes index and names durable.
    pub(super) fn sync(&self) -> Sys<()> {
        self.index.sync()?;
        self.folder.sync()
    }
}

/// Calls `each` with the record that counts of every number, line by line. Numbers come in ascending order but for what was
/// told again; only those are held in memory.
pub(super) fn for_each(run: &Fd, mut each: impl FnMut(Displacement) -> Sys<bool>) -> Sys<()> {
    let mut again: HashMap<u64, usize> = HashMap::new();
    let mut highest = None;
    for (line, record) in lines::read::<Displacement>(run, "index")?.enumerate() {
        let n = record?.n;
        if highest >= Some(n) {
            again.insert(n, line);
        }
        highest = highest.max(Some(n));
    }
    for (line, record) in lines::read::<Displacement>(run, "index")?.enumerate() {
        let record = record?;
        let counts = again.get(&record.n).is_none_or(|&last| last == line);
        if counts && !each(record)? {
            break;
        }
    }
    Ok(())
}

/// The versions in the trash that are `wanted`, oldest first.
pub(super) fn list(root: &Root, wanted: fn(TrashState) -> bool) -> Result<Vec<TrashItem>> {
    let mut items = Vec::new();
    let Some(wl) = reserved::open(root)? else {
        return Ok(items);
    };
    collect(&wl, wanted, &mut items).map_err(|errno| {
        reserved::error("list the trash", reserved::TRASH, errno, &root.location)
    })?;
    items.sort_by(|a, b| (a.since, &a.id).cmp(&(b.since, &b.id)));
    Ok(items)
}

fn collect(wl: &Fd, wanted: fn(TrashState) -> bool, items: &mut Vec<TrashItem>) -> Sys<()> {
    let Some(trash) = reserved::open_in(wl, "trash")? else {
        return Ok(());
    };
    for run in trash.names() {
        let run = run?;
        let Ok(Some(folder)) = reserved::open_in(&trash, &run) else {
            continue;
        };
        for_each(&folder, |record| {
            if !wanted(record.state) {
                return Ok(true);
            }
            match sys::stat_at(&folder, &record.n.to_string()) {
                Ok(stat) => items.push(item(&run, record, stat.size)),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
            Ok(true)
        })?;
    }
    Ok(())
}

fn item(run: &str, record: Displacement, size: u64) -> TrashItem {
    TrashItem {
        id: TrashId(format!("{run}/{}", record.n)),
        path: record.path,
        kind: record.kind,
        state: record.state,
        size,
        hash: record.hash,
        since: record.since,
    }
}

/// Moves a version back to where nothing is.
pub(super) fn restore(root: &Root, renames: Renames, id: &TrashId, to: &SyncPath) -> Result<()> {
    const OP: &str = "restore";
    root.usable(OP, to)?;
    let unknown = || {
        let reason = format!("there is no `{id}` in the trash; list the trash to see what is");
        root.refuse(ErrorKind::NotFound, OP, to, &reason)
    };
    let (run, n) = id.0.split_once('/').ok_or_else(unknown)?;
    if !reserved::is_run(run) || n.is_empty() || !n.bytes().all(|b| b.is_ascii_digit()) {
        return Err(unknown());
    }
    let failed = |errno| root.error(OP, to, errno);
    let wl = reserved::open(root)?.ok_or_else(unknown)?;
    let _lock = reserved::lock(&wl).map_err(failed)?;
    let run = open_folder(&wl, &format!("trash/{run}"), READ).map_err(|_| unknown())?;
    sys::stat_at(&run, n).map_err(|_| unknown())?;
    let parent = make_parents(root, to).map_err(failed)?;
    match renames.move_new((&run, n), (&parent, to.name())) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            let reason = "something is there; give another path to restore to";
            return Err(root.refuse(ErrorKind::Changed, OP, to, reason));
        }
        Err(errno) => return Err(failed(errno)),
    }
    run.sync()
        .and_then(|()| sync_folder(&parent))
        .map_err(failed)
}

fn sync_folder(folder: &Fd) -> Sys<()> {
    folder.sync()
}

fn make_parents(root: &Root, path: &SyncPath) -> Sys<Fd> {
    for above in path.ancestors() {
        let holder = above.parent().unwrap_or_else(SyncPath::root);
        let holder = open_folder(&root.fd, holder.as_str(), READ)?;
        match holder.make_dir_at(above.name(), Bits::from_raw_mode(0o777)) {
            Ok(()) => holder.sync()?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    let parent = path.parent().unwrap_or_else(SyncPath::root);
    open_folder(&root.fd, parent.as_str(), READ)
}

/// Looks through what earlier sessions displaced: versions written to since become `Late`, others that are old enough go.
/// The storage's lock is held.
pub(super) fn look_through(
    wl: &Fd,
    own_run: &str,
    keep: TrashKeep,
    found: &mut Vec<StrandedVersion>,
) -> Sys<()> {
    let Some(trash) = reserved::open_in(wl, "trash")? else {
        return Ok(());
    };
    let now = wl.now().secs;
    let due = |record: &Displacement| match (record.state, keep) {
        (TrashState::Rescued | TrashState::Late, _) => false,
        (_, TrashKeep::None) => true,
        (_, TrashKeep::For(time)) => record.since.saturating_add_unsigned(time.as_secs()) <= now,
    };
    let mut short = None;
    for run in trash.names() {
        let run = run?;
        if run == own_run || !reserved::is_run(&run) || reserved::is_live(wl, &run)? {
            continue;
        }
        if let Some(folder) = reserved::open_in(&trash, &run)? {
            match look_through_run(&folder, &run, &due, found) {
                // What is given up in the next one may make some.
                Err(errno) if sys::is_full(errno) => short = Some(errno),
                looked => looked?,
            }
            // Fails as long as something is in it.
            let _ = trash.remove_dir_at(&run);
        }
    }
    short.map_or(Ok(()), Err)
}

/// Gives up what is in the trash for longer than asked, without a session: what dead ones left behind may need room, of which there may be none
/// before. What was written to since it was displaced stays, and is told by the next session.
pub(super) fn empty(root: &Root, options: &SessionOptions) -> Result<()> {
    let failed = |errno| error(&root.location, "empty the trash", errno);
    let Some(wl) = reserved::open(root)? else {
        return Ok(());
    };
    let _lock = reserved::lock(&wl).map_err(failed)?;
    if reserved::open_in(&wl, "stage").map_err(failed)?.is_some() {
        // What took the place of a version that goes now may not be durable yet, if its session was killed.
        root.fd.sync_all().map_err(failed)?;
    }
    match look_through(&wl, &options.run, options.trash_keep, &mut Vec::new()) {
        Err(errno) if !sys::is_full(errno) => Err(reserved::error(
            "empty the trash",
            reserved::TRASH,
            errno,
            &root.location,
        )),
        _ => Ok(()),
    }
}

fn look_through_run(
    folder: &Fd,
    run: &str,
    due: &dyn Fn(&Displacement) -> bool,
    found: &mut Vec<StrandedVersion>,
) -> Sys<()> {
    let checked = sys::stat_at(folder, "checked").is_ok();
    let mut late = Vec::new();
    let mut left = 0_u64;
    for_each(folder, |mut record| {
        let is_due = due(&record);
        if checked && !is_due && matches!(record.state, TrashState::Replaced | TrashState::Removed)
        {
            // The index is in the order of time: what follows is younger and was looked at before.
            left += 1;
            return Ok(false);
        }
        let name = record.n.to_string();
        let stat = match sys::stat_at(folder, &name) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(true),
            Err(errno) => return Err(errno),
        };
        let touched = stat.kind() != Some(Kind::Folder) && stat.stamp() != record.stamp();
        let settled = matches!(record.state, TrashState::Rescued | TrashState::Late);
        if touched && !settled {
            found.push(late_version(run, &record));
            record.state = TrashState::Late;
            record.hash = None;
            record.set_stamp(stat.stamp());
            late.push(record);
            left += 1;
        } else if is_due {
            folder.unlink_at(&name)?;
        } else {
            left += 1;
        }
        Ok(true)
    })?;
    if !late.is_empty() {
        let index = reserved::open_lines(folder, "index")?;
        lines::append(&index, &late)?;
        index.sync()?;
    }
    if left > 0 || !only_notes(folder)? {
        if checked {
            // Older ones may not be opened for writing, not even by who made them.
            return Ok(());
        }
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW;
        let bits = Bits::RUSR | Bits::WUSR;
        return match folder.open_at("checked", flags, bits) {
            // It spares the next one some work, and no more.
            Err(errno) if !sys::is_full(errno) => Err(errno),
            _ => Ok(()),
        };
    }
    for name in ["checked", "index"] {
        match folder.unlink_at(name) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Whether nothing but our notes is in a run's folder.
fn only_notes(folder: &Fd) -> Sys<bool> {
    for name in folder.names() {
        if !matches!(name?.as_str(), "checked" | "index") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn late_version(run: &str, record: &Displacement) -> StrandedVersion {
    StrandedVersion {
        path: record.path.clone(),
        kept: format!("in the trash as {run}/{}", record.n),
        reason: "a program that still had the old version open wrote to it after it was displaced"
            .to_owned(),
    }
}

/// The numbers of versions in a run's folder that its index does not name.
pub(super) fn unnamed(folder: &Fd) -> Sys<BTreeSet<u64>> {
    let mut numbers = BTreeSet::new();
    for name in folder.names() {
        if let Ok(n) = name?.parse() {
            numbers.insert(n);
        }
    }
    if !numbers.is_empty() {
        for record in lines::read::<Displacement>(folder, "index")? {
            numbers.remove(&record?.n);
        }
    }
    Ok(numbers)
}

/// An error of the whole trash.
pub(super) fn error(location: &str, operation: &'static str, errno: Errno) -> StorageError {
    sys::os_error(operation, errno).on(location)
}
