//! A store in memory, for tests: it can be told what to be able to do, to lie about it, to fail, and to be changed between any two
//! calls.

mod store;
mod world;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use wl_core::storage::{ErrorKind, StorageError};

use super::order::Order;
use super::store::{Again, Conditions, Facts, Fault, Outcome};

pub(crate) use world::{Body, World};

/// What a fake is able to do. It offers `facts.conditions` and honours others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FakeSettings {
    pub(crate) facts: Facts,
    pub(crate) tags: bool,
    /// The answer to a write has no tag yet.
    pub(crate) late: bool,
    /// A missing root is made by who writes.
    pub(crate) makes_root: bool,
    pub(crate) honoured: Conditions,
    /// Rows that a listing sends at once.
    pub(crate) page: usize,
    /// How far its clock is ahead, in seconds.
    pub(crate) ahead: i64,
    /// The largest file that it takes in pieces.
    pub(crate) largest: u64,
    pub(crate) sums: Sums,
    /// The order of flat listings.
    pub(crate) order: Order,
}

/// What it does with hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sums {
    /// It has no such thing.
    None,
    /// It compares, and tells those of the version that is there.
    Kept,
    /// It keeps them without comparing.
    Believed,
    /// It compares, and goes on to tell the last one that it was given for a path.
    Stale,
}

/// All conditions.
pub(crate) const ALL: Conditions = Conditions {
    create: true,
    replace: true,
    remove: true,
};

/// No condition.
pub(crate) const NONE: Conditions = Conditions {
    create: false,
    replace: false,
    remove: false,
};

impl FakeSettings {
    /// Flat keys, conditions, notes.
    pub(crate) fn s3() -> Self {
        Self {
            facts: Facts {
                flat: true,
                start_after: true,
                conditions: ALL,
                probe: true,
                notes: true,
                mtime_resolution: None,
                clock: 0,
                modes: false,
                links: false,
                copies: true,
                renames: false,
                folds_case: false,
                writable: true,
                parallel: 8,
                range: 64 * 1024,
            },
            tags: true,
            late: false,
            makes_root: false,
            honoured: ALL,
            page: 700,
            ahead: 0,
            largest: u64::MAX,
            sums: Sums::None,
            order: Order::Bytes,
        }
    }

    /// Takes conditions and ignores them.
    pub(crate) fn lying_s3() -> Self {
        Self {
            honoured: NONE,
            ..Self::s3()
        }
    }

    /// Folders, tags, locks.
    pub(crate) fn webdav() -> Self {
        let mut settings = Self::s3();
        settings.facts.flat = false;
        settings.facts.notes = false;
        settings.facts.start_after = false;
        settings.facts.renames = true;
        settings
    }

    /// Folders, links, modes, times; no tags and no conditions but to create.
    pub(crate) fn sftp() -> Self {
        let mut settings = Self::ftp();
        settings.facts.links = true;
        settings.facts.modes = true;
        settings.facts.mtime_resolution = Some(1_000);
        settings.facts.renames = true;
        settings
    }

    /// Folders and nothing else.
    pub(crate) fn ftp() -> Self {
        let mut settings = Self::webdav();
        settings.facts.conditions = NONE;
        settings.facts.probe = false;
        settings.facts.copies = false;
        settings.facts.renames = false;
        settings.facts.clock = CLOCK;
        settings.honoured = NONE;
        settings.tags = false;
        settings
    }
}

/// How coarse times are where there are no tags, in nanoseconds.
pub(crate) const CLOCK: u64 = 5_000_000;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The server says that it is busy: clearly nothing was done.
    Busy,
    /// The request is lost on its way: nothing was done, and nobody knows.
    LostRequest,
    /// It is done, and the reply is lost.
    LostReply,
}

type Hook = Box<dyn FnOnce(&mut World) + Send>;

/// What happens at which call, counted from when it was planned.
#[derive(Default)]
pub(crate) struct Plan {
    calls: Vec<String>,
    trouble: Option<(usize, Trouble)>,
    hooks: Vec<(usize, Hook)>,
    fired: usize,
}

/// The store. Clones share what they hold.
#[derive(Clone)]
pub(crate) struct FakeStore {
    pub(crate) settings: FakeSettings,
    world: Arc<Mutex<World>>,
    plan: Arc<Mutex<Plan>>,
    location: Arc<str>,
}

impl std::fmt::Debug for FakeStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeStore")
    }
}

impl FakeStore {
    pub(crate) fn new(settings: FakeSettings) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        Self {
            settings,
            world: Arc::new(Mutex::new(World::new(settings))),
            plan: Arc::default(),
            location: format!("fake {number}").into(),
        }
    }

    /// Sets its clock.
    pub(crate) fn set_ahead(&mut self, seconds: i64) {
        self.settings.ahead = seconds;
        self.world().set_ahead(seconds);
    }

    /// What it holds, to look at and to change as an editor.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Plans trouble for a call, counted from the last [`quiet`](Self::quiet).
    pub(crate) fn trouble(&self, call: usize, trouble: Trouble) {
        self.plan.lock().unwrap().trouble = Some((call, trouble));
    }

    /// Plans an editor's change directly before a call.
    pub(crate) fn before(&self, call: usize, hook: impl FnOnce(&mut World) + Send + 'static) {
        let mut plan = self.plan.lock().unwrap();
        plan.hooks.push((call, Box::new(hook)));
    }

    /// Forgets the calls so far and all plans.
    pub(crate) fn quiet(&self) {
        *self.plan.lock().unwrap() = Plan::default();
    }

    /// The calls since then, and how much of what was planned has happened.
    pub(crate) fn calls(&self) -> (Vec<String>, usize) {
        let plan = self.plan.lock().unwrap();
        (plan.calls.clone(), plan.fired)
    }

    /// One call: whatever was planned for it happens, and `work` is done or not.
    async fn call<T>(
        &self,
        name: &str,
        path: &str,
        work: impl FnOnce(&mut World) -> Outcome<T>,
    ) -> Outcome<T> {
        tokio::task::yield_now().await;
        let (trouble, hook) = {
            let mut plan = self.plan.lock().unwrap();
            let number = plan.calls.len();
            plan.calls.push(format!("{name} {path}"));
            let trouble = plan.trouble.filter(|(at, _)| *at == number);
            let hook = plan.hooks.iter().position(|(at, _)| *at == number);
            let hook = hook.map(|at| plan.hooks.remove(at));
            plan.fired += usize::from(trouble.is_some()) + usize::from(hook.is_some());
            (trouble.map(|(_, trouble)| trouble), hook)
        };
        let mut world = self.world.lock().unwrap();
        if let Some((_, hook)) = hook {
            hook(&mut world);
        }
        match trouble {
            None => work(&mut world),
            Some(Trouble::Busy) => Err(temporary(false)),
            Some(Trouble::LostRequest) => Err(temporary(true)),
            Some(Trouble::LostReply) => {
                let _ = work(&mut world);
                Err(temporary(true))
            }
        }
    }
}

fn temporary(unclear: bool) -> Fault {
    Fault {
        error: StorageError::new(ErrorKind::Temporary, "", "trouble that was planned"),
        again: Again::After(None),
        unclear,
    }
}

/// A clear refusal.
pub(super) fn refuse(kind: ErrorKind) -> Fault {
    Fault::from(StorageError::new(kind, "", format!("{kind:?}")))
}
