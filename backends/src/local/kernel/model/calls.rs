//! The calls, each told to the machine before and after.

use std::ffi::CString;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FileType, Mode as Bits, OFlags, RenameFlags};
use rustix::io::Errno;
use wl_core::model::Timestamp;

use super::Disk;
use super::durable::{Change, File};
use super::machine::Op;
use super::tree::{Content, Inode, ROOT, State};
use crate::local::kernel::Volume;
use crate::local::sys::{Stat, Sys};

/// A handle on an inode; it lives on when that has no name any more.
pub struct Open {
    disk: Disk,
    epoch: u64,
    number: u64,
    ino: u64,
    flags: OFlags,
    at: AtomicU64,
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").field("ino", &self.ino).finish()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        // A restart has let go of everything already.
        if state.epoch != self.epoch {
            return;
        }
        state.locks.retain(|_, holder| *holder != self.number);
        self.disk.locks_changed();
        if let Some(count) = state.open.get_mut(&self.ino) {
            *count -= 1;
            if *count == 0 {
                state.open.remove(&self.ino);
            }
        }
    }
}

impl Disk {
    /// Opens the root.
    pub(in crate::local) fn open_root(&self) -> Sys<Open> {
        let call = self.machine().enter(self.name(), Op::Open, "")?;
        let epoch = self.state().epoch;
        let open = Open::new(self, epoch, ROOT, OFlags::RDONLY);
        self.machine().leave(call)?;
        Ok(open)
    }
}

impl Open {
    fn new(disk: &Disk, epoch: u64, ino: u64, flags: OFlags) -> Self {
        let mut state = disk.state();
        state.handles += 1;
        *state.open.entry(ino).or_default() += 1;
        Self {
            disk: disk.clone(),
            epoch,
            number: state.handles,
            ino,
            flags,
            at: AtomicU64::new(0),
        }
    }

    fn call<T>(&self, op: Op, name: &str, work: impl FnOnce(&mut State) -> Sys<T>) -> Sys<T> {
        let machine = self.disk.machine();
        let alive = || match self.disk.state().epoch == self.epoch {
            true => Ok(()),
            false => Err(Errno::IO),
        };
        alive()?;
        let call = machine.enter(self.disk.name(), op, name)?;
        alive()?;
        let result = work(&mut self.disk.state());
        machine.leave(call)?;
        result
    }

    #[cfg(test)]
    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    fn child(&self, ino: u64, flags: OFlags) -> Self {
        Self::new(&self.disk, self.epoch, ino, flags)
    }

    fn time(&self) -> Timestamp {
        self.disk.machine().file_time()
    }

    pub(in crate::local) fn now(&self) -> Timestamp {
        self.disk.machine().now()
    }

    pub(in crate::local) fn open_at(&self, name: &str, flags: OFlags, bits: Bits) -> Sys<Self> {
        let now = self.time();
        let makes = flags.contains(OFlags::CREATE)
            && self.disk.state().find(self.ino, name) == Err(Errno::NOENT);
        let op = if makes { Op::Create } else { Op::Open };
        let ino = self.call(op, name, |state| {
            let found = match state.find(self.ino, name) {
                Err(Errno::NOENT) if flags.contains(OFlags::CREATE) => {
                    let file = Content::File(File::default());
                    return state.make(self.ino, name, file, bits.as_raw_mode(), now);
                }
                Ok(_) if flags.contains(OFlags::CREATE | OFlags::EXCL) => Err(Errno::EXIST),
                other => other,
            }?;
            may_open(state, found, flags)
        })?;
        Ok(self.child(ino, flags))
    }

    pub(in crate::local) fn open_beneath(&self, path: &str, flags: OFlags) -> Sys<Self> {
        let ino = self.call(Op::Open, path, |state| {
            let mut at = self.ino;
            for name in path.split('/') {
                if state.is_link(at) {
                    return Err(Errno::LOOP);
                }
                at = state.find(at, name)?;
            }
            // The system tells a link in the last place so.
            may_open(state, at, flags)
        })?;
        Ok(self.child(ino, flags))
    }

    pub(in crate::local) fn stat(&self) -> Sys<Stat> {
        self.call(Op::Look, "", |state| state.stat(self.ino))
    }

    pub(in crate::local) fn stat_at(&self, name: &str) -> Sys<Stat> {
        self.call(Op::Look, name, |state| {
            state.stat(state.find(self.ino, name)?)
        })
    }

    pub(in crate::local) fn read_link_at(&self, name: &str) -> Sys<Vec<u8>> {
        self.call(Op::Look, name, |state| {
            match &state.inode(state.find(self.ino, name)?)?.content {
                Content::Link(target) => Ok(target.clone().into_bytes()),
                _ => Err(Errno::INVAL),
            }
        })
    }

    /// As the system gives them: in the order of something like a hash of the name.
    pub(in crate::local) fn entries(&self) -> Vec<Sys<(CString, FileType)>> {
        let entries = self.call(Op::Look, "", |state| {
            let mut entries = Vec::new();
            for (name, ino) in state.folder(self.ino)? {
                let kind = FileType::from_raw_mode(state.inode(*ino)?.attributes.mode);
                entries.push((CString::new(name.as_str()).map_err(|_| Errno::IO)?, kind));
            }
            Ok(entries)
        });
        match entries {
            Err(errno) => vec![Err(errno)],
            Ok(mut entries) => {
                entries.sort_by_key(|(name, _)| scattered(name.as_bytes()));
                entries.into_iter().map(Ok).collect()
            }
        }
    }

    pub(in crate::local) fn magic(&self) -> Sys<i64> {
        self.call(Op::Look, "", |_| Ok(0xef53))
    }

    pub(in crate::local) fn volume(&self) -> Sys<Volume> {
        self.call(Op::Look, "", |state| {
            Ok(Volume {
                id: state.number,
                free: state
                    .capacity
                    .map_or(1 << 40, |most| most.saturating_sub(state.used())),
            })
        })
    }

    pub(in crate::local) fn read(&self, buffer: &mut [u8]) -> Sys<usize> {
        let at = self.at.load(Ordering::SeqCst) as usize;
        let read = self.call(Op::Read, "", |state| {
            let content = &state.file(self.ino)?.now;
            let rest = content.get(at..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        })?;
        self.at.fetch_add(read as u64, Ordering::SeqCst);
        Ok(read)
    }

    pub(in crate::local) fn read_more(&self, content: &mut Vec<u8>) -> Sys<usize> {
        let mut buffer = vec![0; content.capacity() - content.len()];
        let read = self.read(&mut buffer)?;
        content.extend_from_slice(&buffer[..read]);
        Ok(read)
    }

    pub(in crate::local) fn write(&self, content: &[u8]) -> Sys<usize> {
        let now = self.time();
        let appends = self.flags.contains(OFlags::APPEND);
        let (end, written) = self.call(Op::Write, "", |state| {
            let at = match appends {
                true => state.file(self.ino)?.now.len() as u64,
                false => self.at.load(Ordering::SeqCst),
            };
            let written = state.write(self.ino, content, at, now)?;
            Ok((at + written as u64, written))
        })?;
        self.at.store(end, Ordering::SeqCst);
        Ok(written)
    }

    pub(in crate::local) fn write_at(&self, content: &[u8], at: u64) -> Sys<usize> {
        let now = self.time();
        self.call(Op::Write, "", |state| {
            state.write(self.ino, content, at, now)
        })
    }

    pub(in crate::local) fn truncate(&self, size: u64) -> Sys<()> {
        let now = self.time();
        self.call(Op::Truncate, "", |state| {
            state.change(self.ino, Change::Size(size as usize), now)
        })
    }

    pub(in crate::local) fn make_dir_at(&self, name: &str, bits: Bits) -> Sys<()> {
        let now = self.time();
        self.call(Op::MakeDir, name, |state| {
            let folder = Content::Folder(Default::default());
            let made = state.make(self.ino, name, folder, bits.as_raw_mode(), now);
            made.map(drop)
        })
    }

    pub(in crate::local) fn symlink_at(&self, target: &str, name: &str) -> Sys<()> {
        let now = self.time();
        self.call(Op::Symlink, name, |state| {
            let link = Content::Link(target.to_owned());
            state.make(self.ino, name, link, 0o777, now).map(drop)
        })
    }

    pub(in crate::local) fn link_at(&self, name: &str, to: &Self, new: &str) -> Sys<()> {
        let now = self.time();
        self.same_disk(to)?;
        self.call(Op::Link, name, |state| {
            let ino = state.find(self.ino, name)?;
            if state.is_folder(ino) {
                return Err(Errno::PERM);
            }
            state.may_name(to.ino, new)?;
            state.rename_slots(vec![(to.ino, new.to_owned(), Some(ino))], now)
        })
    }

    pub(in crate::local) fn rename_at(
        &self,
        name: &str,
        to: &Self,
        new: &str,
        flags: RenameFlags,
    ) -> Sys<()> {
        let now = self.time();
        self.same_disk(to)?;
        let op = match flags {
            RenameFlags::EXCHANGE => Op::Exchange,
            RenameFlags::NOREPLACE => Op::MoveNew,
            _ => Op::Rename,
        };
        self.call(op, name, |state| {
            let ino = state.find(self.ino, name)?;
            let there = state.find(to.ino, new);
            if state.is_folder(ino) && is_under(state, to.ino, ino) {
                return Err(Errno::INVAL);
            }
            let slot = |value| (to.ino, new.to_owned(), value);
            match (op, there) {
                (Op::Exchange, there) => {
                    let own = (self.ino, name.to_owned(), Some(there?));
                    return state.rename_slots(vec![own, slot(Some(ino))], now);
                }
                (Op::MoveNew, Ok(_)) => return Err(Errno::EXIST),
                // Two names of one file: nothing is to be done.
                (_, Ok(there)) if there == ino => return Ok(()),
                (_, Ok(there)) => may_replace(state, ino, there)?,
                (_, Err(Errno::NOENT)) => state.may_name(to.ino, new)?,
                (_, Err(errno)) => return Err(errno),
            }
            let own = (self.ino, name.to_owned(), None);
            state.rename_slots(vec![own, slot(Some(ino))], now)
        })
    }

    pub(in crate::local) fn unlink_at(&self, name: &str) -> Sys<()> {
        let now = self.time();
        self.call(Op::Unlink, name, |state| {
            if state.is_folder(state.find(self.ino, name)?) {
                return Err(Errno::ISDIR);
            }
            state.rename_slots(vec![(self.ino, name.to_owned(), None)], now)
        })
    }

    pub(in crate::local) fn remove_dir_at(&self, name: &str) -> Sys<()> {
        let now = self.time();
        self.call(Op::RemoveDir, name, |state| {
            let entries = state.folder(state.find(self.ino, name)?)?;
            if !entries.is_empty() {
                return Err(Errno::NOTEMPTY);
            }
            state.rename_slots(vec![(self.ino, name.to_owned(), None)], now)
        })
    }

    pub(in crate::local) fn set_mtime(&self, mtime: Timestamp) -> Sys<()> {
        let now = self.time();
        self.call(Op::Attributes, "", |state| {
            state.touch(self.ino, now, |attributes| attributes.mtime = mtime)
        })
    }

    pub(in crate::local) fn set_mtime_at(&self, name: &str, mtime: Timestamp) -> Sys<()> {
        let now = self.time();
        self.call(Op::Attributes, name, |state| {
            let ino = state.find(self.ino, name)?;
            state.touch(ino, now, |attributes| attributes.mtime = mtime)
        })
    }

    pub(in crate::local) fn set_bits(&self, bits: u32) -> Sys<()> {
        let now = self.time();
        self.call(Op::Attributes, "", |state| {
            state.touch(self.ino, now, |attributes| {
                attributes.mode = Inode::with_bits(attributes.mode, bits);
            })
        })
    }

    pub(in crate::local) fn sync(&self) -> Sys<()> {
        self.durably(Op::Sync, |state| state.sync(self.ino, false))
    }

    pub(in crate::local) fn sync_data(&self) -> Sys<()> {
        self.durably(Op::SyncData, |state| state.sync(self.ino, true))
    }

    pub(in crate::local) fn sync_all(&self) -> Sys<()> {
        self.durably(Op::SyncAll, State::sync_all)
    }

    /// A sync that fails is not made up for by the next: the system forgets what it could not write.
    fn durably(&self, op: Op, work: impl FnOnce(&mut State)) -> Sys<()> {
        let mut done = false;
        let result = self.call(op, "", |state| {
            work(state);
            done = true;
            Ok(())
        });
        if result.is_err() && !done && !self.disk.machine().is_off() {
            let mut state = self.disk.state();
            if let Ok(Content::File(file)) = state.inode_mut(self.ino).map(|i| &mut i.content) {
                file.forsaken = true;
            }
        }
        result
    }

    /// Whoever waits here holds up a whole thread: where all runs on one, nobody could let go of the lock any more.
    pub(in crate::local) fn lock(&self, wait: bool) -> Sys<()> {
        loop {
            let taken = self.call(Op::Lock, "", |state| {
                let holder = state.locks.entry(self.ino).or_insert(self.number);
                match *holder == self.number {
                    true => Ok(()),
                    false => Err(Errno::WOULDBLOCK),
                }
            });
            match taken {
                Err(Errno::WOULDBLOCK) if wait => self.disk.wait_for_locks(self.ino)?,
                other => return other,
            }
        }
    }

    fn same_disk(&self, other: &Self) -> Sys<()> {
        match self.disk.is(&other.disk) {
            true => Ok(()),
            false => Err(Errno::XDEV),
        }
    }
}

/// Whether what was found can be opened so.
fn may_open(state: &State, ino: u64, flags: OFlags) -> Sys<u64> {
    if flags.contains(OFlags::DIRECTORY) && !state.is_folder(ino) {
        return Err(Errno::NOTDIR);
    }
    if state.is_link(ino) && !flags.contains(OFlags::PATH) {
        return Err(Errno::LOOP);
    }
    Ok(ino)
}

/// Whether a rename may replace what is there.
fn may_replace(state: &State, ino: u64, there: u64) -> Sys<()> {
    match (state.is_folder(ino), state.folder(there)) {
        (true, Ok(entries)) if !entries.is_empty() => Err(Errno::NOTEMPTY),
        (false, Ok(_)) => Err(Errno::ISDIR),
        (true, Err(_)) => Err(Errno::NOTDIR),
        _ => Ok(()),
    }
}

/// Whether the folder `at` is `above` or below it.
fn is_under(state: &State, at: u64, above: u64) -> bool {
    let mut at = at;
    loop {
        if at == above {
            return true;
        }
        match state.find(at, "..") {
            Ok(up) if up != at => at = up,
            _ => return false,
        }
    }
}

fn scattered(name: &[u8]) -> u64 {
    name.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
