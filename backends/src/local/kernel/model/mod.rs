//! A file system in memory that knows what a crash may take.
//!
//! It holds everything twice: as programs see it (the cache), and what of that is durable. [`Machine::crash_at`] takes the power before or after
//! any call; from then on nothing has an effect any more, and [`Machine::restart`] leaves what was durable and, as the dice fall, any part
//! of what was not. A crash *during* a call is one after it whose effect may be lost: the dice know of that, as nothing of a call is durable
//! when it returns, but for the syncs, where a part of the effect is what a crash before them may have written anyway.
//!
//! # What is promised, and by whom
//!
//! | What | Promised here | Because |
//! |---|---|---|
//! | content | stays after `fsync`, `fdatasync`, `syncfs` of it; until then each block, and the size, is as it was at some time since, each at its own; what never reached the disk is zeros | ext4 (`data=writeback`), XFS and btrfs (`nodatacow`) write blocks back in any order, and the size with the journal; `data=ordered` is stronger |
//! | attributes | stay after `fsync`, `syncfs`; until then as at some time since | they are in the journal, the content is not |
//! | a change of one name, a rename, an exchange | done or not done, nothing between | each is one transaction everywhere |
//! | the order of changes of names | [`Rules::Journal`]: what is lost is the end. [`Rules::Loose`]: any part, but what builds on something lost is lost too | ext4 and XFS commit their log in order; btrfs and F2FS log single inodes out of order, and take care of what those need |
//! | names after `fsync` | [`Rules::Journal`]: all changes of before, whatever was synced. [`Rules::Loose`]: those in the folder that was synced, and what they need | the former is what ext4 and XFS do, the latter what POSIX says |
//! | names after `fdatasync` | none | true of none in every case, promised by none |
//! | a failed `fsync` | the content may be lost though the next one succeeds | Linux marks the pages clean |
//! | inode numbers | the lowest free one is taken, also that of a file just deleted | ext4 does so |
//!
//! Not promised, and so not done: the courtesy of ext4 and btrfs to write content back before a rename over an old file is committed.
//!
//! Permissions are not modelled (everything is allowed), nor are names that are no text, special files and other file systems mounted below.
//!
//! # Users
//!
//! [`Disk::user`] is who works on the same disk: edits of theirs are no calls, happen also from within a hook, and are durable when they return,
//! as those of an editor that takes care; [`User::hasty`] takes none.

mod calls;
mod dice;
mod durable;
mod machine;
#[cfg(test)]
mod tests;
mod tree;
mod user;

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

pub use calls::Open;
pub use dice::Dice;
pub use machine::{Call, Loss, Machine, Op, When};
pub use user::{Held, Node, User};

use rustix::io::Errno;

use crate::local::sys::Sys;
use tree::State;

/// Which file systems are modelled: see the table above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rules {
    /// One journal, committed in order: ext4, XFS.
    Journal,
    /// The least that POSIX and btrfs promise.
    Loose,
}

/// A disk of a [`Machine`]. Clones are the same disk.
#[derive(Clone)]
pub struct Disk(Arc<Inner>);

struct Inner {
    machine: Machine,
    name: String,
    state: Mutex<State>,
    /// A lock was let go of.
    unlocked: Condvar,
}

/// Who waits for a lock this long waits for himself.
const DEADLOCK: Duration = Duration::from_secs(120);

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("name", &self.0.name).finish()
    }
}

impl Disk {
    fn new(machine: Machine, name: &str, number: u64, rules: Rules) -> Self {
        let state = State::new(rules, number, machine.now());
        Self(Arc::new(Inner {
            machine,
            name: name.to_owned(),
            state: Mutex::new(state),
            unlocked: Condvar::new(),
        }))
    }

    /// Its name, which tells it from the machine's others.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The machine that it is part of.
    pub fn machine(&self) -> &Machine {
        &self.0.machine
    }

    /// Whoever else works on it.
    pub fn user(&self) -> User<'_> {
        User::of(self)
    }

    /// How many bytes of content fit on it; no limit to begin with.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Content reaches the disk in pieces of this size; 4096 bytes to begin with. Small ones tear small files.
    pub fn set_block(&self, bytes: usize) {
        self.state().block = bytes.max(1);
    }

    /// From now on syncs of programs do nothing, as on hardware that lies. For proving that a test would notice.
    pub fn ignore_syncs(&self, ignore: bool) {
        self.state().lies = ignore;
    }

    /// The machine does not keep its disks alive, as they do it.
    fn downgrade(&self) -> Weak<Inner> {
        Arc::downgrade(&self.0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn locks_changed(&self) {
        self.0.unlocked.notify_all();
    }

    fn wait_for_locks(&self, ino: u64) -> Sys<()> {
        let held = |state: &mut State| state.locks.contains_key(&ino);
        let waited = self
            .0
            .unlocked
            .wait_timeout_while(self.state(), DEADLOCK, held);
        match waited.unwrap_or_else(PoisonError::into_inner).1 {
            timeout if timeout.timed_out() => Err(Errno::DEADLK),
            _ => Ok(()),
        }
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn restart(&self, epoch: u64, loss: &mut Loss) {
        let dice = match loss {
            Loss::Process => None,
            Loss::Power(dice) => Some(dice),
        };
        self.state().restart(epoch, dice);
    }
}
