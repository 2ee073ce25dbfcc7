//! The machine that model disks are part of: its power, its clock, the count of calls, and who is told of them.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rustix::io::Errno;
use wl_core::model::Timestamp;

use super::dice::Dice;
use super::{Disk, Rules};
use crate::local::sys::Sys;

/// A machine with model disks. Clones are the same machine.
#[derive(Clone, Default)]
pub struct Machine(Arc<Mutex<Inner>>);

/// Before or after a call has had its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// It was made and has done nothing yet.
    Before,
    /// It has done its work but not returned.
    After,
}

/// What is asked of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Opening, without making anything.
    Open,
    /// Making a file and opening it.
    Create,
    /// Reading attributes, a link, a folder or content.
    Look,
    /// Reading content.
    Read,
    /// Writing content.
    Write,
    /// Setting the size.
    Truncate,
    /// Making a folder.
    MakeDir,
    /// Making a symbolic link.
    Symlink,
    /// Giving a second name.
    Link,
    /// Renaming, plain.
    Rename,
    /// Renaming to where nothing may be.
    MoveNew,
    /// Exchanging two names.
    Exchange,
    /// Taking a name away.
    Unlink,
    /// Removing a folder.
    RemoveDir,
    /// Setting times or permission bits.
    Attributes,
    /// `fsync`.
    Sync,
    /// `fdatasync`.
    SyncData,
    /// `syncfs`.
    SyncAll,
    /// Taking a lock.
    Lock,
}

impl Op {
    /// Whether it can change what is on the disk, or what of it is durable. A crash between two others makes no difference.
    pub fn changes(self) -> bool {
        !matches!(self, Self::Open | Self::Look | Self::Read | Self::Lock)
    }
}

/// A call, for those who are told.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which one it is since the machine was made; the first is 1, and 0 is none that anybody is told of.
    pub number: u64,
    /// Before or after.
    pub when: When,
    /// What is asked.
    pub op: Op,
    /// The disk's name.
    pub disk: String,
    /// The name in a folder that it is about; empty where it is about what is open.
    pub name: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            when,
            op,
            disk,
            name,
        } = self;
        write!(f, "{number} {when:?} {op:?} {disk} {name}")
    }
}

/// What a crash takes.
#[derive(Clone, Copy, Debug)]
pub enum Loss {
    /// The process: its handles and locks.
    Process,
    /// The power: some of what was not made durable as well. The dice say what.
    Power(Dice),
}

type Hook = Box<dyn FnMut(&Call) + Send>;
type Snapshot = Box<dyn FnMut() + Send>;

struct Inner {
    now: Timestamp,
    tick: Duration,
    /// File times are kept to this many nanoseconds.
    grain: u32,
    calls: u64,
    off: bool,
    /// What is called now is nobody's business.
    unseen: bool,
    epoch: u64,
    plan: Vec<(u64, When, Fate)>,
    fired: usize,
    hook: Option<Hook>,
    snapshot: Option<Snapshot>,
    disks: Vec<Weak<super::Inner>>,
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Crash,
    Fail(Errno),
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            now: Timestamp {
                secs: 1_700_000_000,
                nanos: 0,
            },
            tick: Duration::from_micros(20),
            grain: 4_000_000,
            calls: 0,
            off: false,
            unseen: false,
            epoch: 0,
            plan: Vec::new(),
            fired: 0,
            hook: None,
            snapshot: None,
            disks: Vec::new(),
        }
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner();
        f.debug_struct("Machine")
            .field("calls", &inner.calls)
            .field("off", &inner.off)
            .finish()
    }
}

impl Machine {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an empty disk.
    pub fn disk(&self, name: &str, rules: Rules) -> Disk {
        let number = self.inner().disks.len() as u64 + 1;
        let disk = Disk::new(self.clone(), name, number, rules);
        self.inner().disks.push(disk.downgrade());
        disk
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.inner().calls
    }

    /// The clock.
    pub fn now(&self) -> Timestamp {
        self.inner().now
    }

    /// Puts the clock forward.
    pub fn advance(&self, by: Duration) {
        let mut inner = self.inner();
        inner.now = later(inner.now, by);
    }

    /// Sets the clock, how far each call moves it, and to how many nanoseconds (at most a second's) file times are kept.
    pub fn set_clock(&self, now: Timestamp, tick: Duration, grain: u32) {
        let mut inner = self.inner();
        inner.now = now;
        inner.tick = tick;
        inner.grain = grain.clamp(1, 1_000_000_000);
    }

    /// The time that is given to files.
    pub(super) fn file_time(&self) -> Timestamp {
        let inner = self.inner();
        let nanos = inner.now.nanos - inner.now.nanos % inner.grain;
        Timestamp {
            secs: inner.now.secs,
            nanos,
        }
    }

    /// The power goes at this call. Whatever is called from then on fails and does nothing.
    pub fn crash_at(&self, number: u64, when: When) {
        self.inner().plan.push((number, when, Fate::Crash));
    }

    /// This call fails: before it did anything, or though it has done its work.
    pub fn fail_at(&self, number: u64, when: When, errno: Errno) {
        self.inner().plan.push((number, when, Fate::Fail(errno)));
    }

    /// How many planned crashes and failures have happened.
    pub fn fired(&self) -> usize {
        self.inner().fired
    }

    /// Calls `hook` before and after every call, with the disks unlocked: it can edit them, or let the machine crash.
    pub fn on_call(&self, hook: impl FnMut(&Call) + Send + 'static) {
        self.inner().hook = Some(Box::new(hook));
    }

    /// Nobody is told of calls any more.
    pub fn forget_hook(&self) {
        self.inner().hook = None;
    }

    /// Calls `snapshot` in the moment of a crash, for what is kept elsewhere than on the model's disks.
    pub fn on_crash(&self, snapshot: impl FnMut() + Send + 'static) {
        self.inner().snapshot = Some(Box::new(snapshot));
    }

    /// The power goes now.
    pub fn crash(&self) {
        let mut inner = self.inner();
        if std::mem::replace(&mut inner.off, true) {
            return;
        }
        let snapshot = inner.snapshot.take();
        drop(inner);
        if let Some(mut snapshot) = snapshot {
            snapshot();
            self.inner().snapshot.get_or_insert(snapshot);
        }
    }

    /// Whether it has crashed.
    pub fn is_off(&self) -> bool {
        self.inner().off
    }

    /// Starts again after a crash (which comes now if there was none): every handle of before is dead, and what was lost is lost.
    pub fn restart(&self, loss: Loss) {
        self.crash();
        let mut inner = self.inner();
        inner.off = false;
        inner.epoch += 1;
        inner.plan.clear();
        let (disks, epoch) = (inner.disks.clone(), inner.epoch);
        drop(inner);
        let mut loss = loss;
        for disk in disks.iter().filter_map(Weak::upgrade).map(Disk) {
            disk.restart(epoch, &mut loss);
        }
    }

    /// Does `work`, whose calls nobody is told of: they are not counted, take no time, do not fail, and come through when the power is off.
    pub fn unseen<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = std::mem::replace(&mut self.inner().unseen, true);
        let done = work();
        self.inner().unseen = before;
        done
    }

    /// A call begins. `Err`: it comes to nothing.
    pub(super) fn enter(&self, disk: &str, op: Op, name: &str) -> Sys<Call> {
        let mut inner = self.inner();
        let seen = !inner.unseen;
        if inner.off && seen {
            return Err(Errno::IO);
        }
        if seen {
            inner.calls += 1;
            inner.now = later(inner.now, inner.tick);
        }
        let call = Call {
            number: if seen { inner.calls } else { 0 },
            when: When::Before,
            op,
            disk: disk.to_owned(),
            name: name.to_owned(),
        };
        drop(inner);
        self.meet(&call)?;
        Ok(call)
    }

    /// A call has had its effect. `Err`: nobody hears of it.
    pub(super) fn leave(&self, call: Call) -> Sys<()> {
        let call = Call {
            when: When::After,
            ..call
        };
        self.meet(&call)
    }

    /// Carries out what was planned for a call, and tells of it.
    fn meet(&self, call: &Call) -> Sys<()> {
        if call.number == 0 {
            return Ok(());
        }
        let hook = self.inner().hook.take();
        if let Some(mut hook) = hook {
            // Calls that it makes itself are nobody's business.
            hook(call);
            self.inner().hook.get_or_insert(hook);
        }
        let mut inner = self.inner();
        let planned = inner
            .plan
            .iter()
            .position(|(number, when, _)| (*number, *when) == (call.number, call.when));
        let fate = planned.map(|at| inner.plan.swap_remove(at).2);
        inner.fired += usize::from(fate.is_some());
        drop(inner);
        match fate {
            Some(Fate::Crash) => self.crash(),
            Some(Fate::Fail(errno)) => return Err(errno),
            None => {}
        }
        if self.is_off() {
            return Err(Errno::IO);
        }
        Ok(())
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    let nanos = u64::from(time.nanos) + u64::from(by.subsec_nanos());
    Timestamp {
        secs: time.secs + by.as_secs() as i64 + (nanos / 1_000_000_000) as i64,
        nanos: (nanos % 1_000_000_000) as u32,
    }
}
