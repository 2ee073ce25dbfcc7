//! A tree that changes between any two things that the watcher does: whatever the order, at rest all of it is watched where it is.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::inotify::ReadFlags;
use wl_core::model::SyncPath;
use wl_core::storage::NoFilter;

use super::storm::Dice;
use crate::local::watch::machine::Watches;
use crate::local::watch::words::{Event, Looked, Step};

type Id = u32;
const ROOT: Id = 0;
/// The parent of folders that were moved out of the tree.
const OUTSIDE: Id = u32::MAX;
const NAMES: [&str; 3] = ["a", "b", "c"];

/// How the system tells events, as far as the watcher can notice a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Only of folders that are watched by then; the watch of a folder that is gone ends with an event.
    Watches,
    /// Of all folders; whose number is asked for when they are taken in. Nothing tells that a number is of no use any more.
    Marks,
}

/// An event on its way: the folder rather than its watch.
#[derive(Debug)]
struct Sent {
    folder: Id,
    wd: Option<i32>,
    mask: ReadFlags,
    cookie: u32,
    name: &'static str,
}

#[derive(Debug)]
struct World {
    kind: Kind,
    dice: Dice,
    folders: BTreeMap<Id, (Id, &'static str)>,
    next: Id,
    numbers: HashMap<Id, i32>,
    last: i32,
    cookie: u32,
    /// Done, but not told yet.
    late: VecDeque<Sent>,
    queue: VecDeque<Sent>,
}

impl World {
    fn new(kind: Kind, seed: u64) -> Self {
        Self {
            kind,
            dice: Dice::new(seed),
            folders: BTreeMap::new(),
            next: 1,
            numbers: HashMap::from([(ROOT, 1)]),
            last: 1,
            cookie: 0,
            late: VecDeque::new(),
            queue: VecDeque::new(),
        }
    }

    fn at(&self, parent: Id, name: &str) -> Option<Id> {
        let mut all = self.folders.iter();
        let found = all.find(|(_, (above, one))| *above == parent && *one == name);
        found.map(|(id, _)| *id)
    }

    fn resolve(&self, path: &SyncPath) -> Option<Id> {
        let mut names = path.as_str().split('/').filter(|name| !name.is_empty());
        names.try_fold(ROOT, |at, name| self.at(at, name))
    }

    fn is_within(&self, id: Id, above: Id) -> bool {
        let mut at = id;
        while at != above {
            match self.folders.get(&at) {
                Some((parent, _)) => at = *parent,
                None => return false,
            }
        }
        true
    }

    fn names(&self, id: Id) -> Vec<Box<str>> {
        let all = self.folders.values();
        all.filter(|(parent, _)| *parent == id)
            .map(|(_, name)| (*name).into())
            .collect()
    }

    fn send(&mut self, folder: Id, mask: ReadFlags, name: &'static str) {
        let wd = self.numbers.get(&folder).copied();
        if self.kind == Kind::Marks || wd.is_some() {
            let cookie = self.cookie;
            self.late.push_back(Sent {
                folder,
                wd,
                mask,
                cookie,
                name,
            });
        }
    }

    /// It is no more.
    fn end(&mut self, id: Id) {
        for below in self.names(id) {
            let below = self.at(id, &below).unwrap();
            self.remove(below);
        }
        self.folders.remove(&id);
        if self.kind == Kind::Watches {
            self.send(id, ReadFlags::DELETE_SELF, "");
            self.send(id, ReadFlags::IGNORED, "");
            self.numbers.remove(&id);
        }
    }

    fn remove(&mut self, id: Id) {
        let (parent, name) = self.folders[&id];
        self.end(id);
        self.send(parent, ReadFlags::DELETE | ReadFlags::ISDIR, name);
    }

    /// Some folder, the root or outside, and a name there.
    fn place(&mut self) -> (Id, &'static str) {
        let all = self.folders.len() as u64;
        let parent = match self.dice.roll(all + 2) {
            0 => ROOT,
            1 => OUTSIDE,
            at => *self.folders.keys().nth(at as usize - 2).unwrap(),
        };
        (parent, NAMES[self.dice.roll(NAMES.len() as u64) as usize])
    }

    fn edit(&mut self) {
        let (from, to) = (self.place(), self.place());
        let there = self.at(from.0, from.1);
        match (self.dice.roll(8), there) {
            (0..3, None) => {
                self.folders.insert(self.next, from);
                self.next += 1;
                self.send(from.0, ReadFlags::CREATE | ReadFlags::ISDIR, from.1);
            }
            (0, Some(id)) => self.remove(id),
            (1..6, Some(id)) => self.rename(id, to),
            (_, Some(id)) => self.exchange(id, to),
            (_, None) => {}
        }
    }

    fn rename(&mut self, id: Id, to: (Id, &'static str)) {
        let over = self.at(to.0, to.1);
        let is_full = over.is_some_and(|over| !self.names(over).is_empty());
        if is_full || over == Some(id) || self.is_within(to.0, id) {
            return;
        }
        let from = self.folders.insert(id, to).unwrap();
        self.moved(from, to);
        if let Some(over) = over {
            self.end(over);
        }
    }

    fn moved(&mut self, from: (Id, &'static str), to: (Id, &'static str)) {
        self.cookie += 1;
        self.send(from.0, ReadFlags::MOVED_FROM | ReadFlags::ISDIR, from.1);
        self.send(to.0, ReadFlags::MOVED_TO | ReadFlags::ISDIR, to.1);
    }

    fn exchange(&mut self, id: Id, to: (Id, &'static str)) {
        let Some(other) = self.at(to.0, to.1) else {
            return;
        };
        if self.is_within(id, other) || self.is_within(other, id) {
            return;
        }
        let from = self.folders.insert(id, to).unwrap();
        self.folders.insert(other, from);
        self.moved(from, to);
        self.moved(to, from);
    }

    fn look(&mut self, path: &SyncPath) -> Looked {
        let Some(id) = self.resolve(path) else {
            return Looked::Nothing;
        };
        // Between any two calls something may happen; the folder that was opened stays the same.
        self.meanwhile();
        let is_there = id == ROOT || self.folders.contains_key(&id);
        if !is_there {
            return Looked::Nothing;
        }
        let wd = *self.numbers.entry(id).or_insert_with(|| {
            self.last += 1;
            self.last
        });
        self.meanwhile();
        let folders = self.names(id);
        self.meanwhile();
        Looked::Folder { wd, folders }
    }

    fn meanwhile(&mut self) {
        if self.dice.roll(8) == 0 && self.next < MOST {
            self.edit();
        }
    }

    fn forget(&mut self, wd: i32) {
        let found = self.numbers.iter().find(|(_, one)| **one == wd);
        let Some((&id, _)) = found else { return };
        if self.kind == Kind::Watches {
            self.send(id, ReadFlags::IGNORED, "");
        }
        self.numbers.remove(&id);
    }

    fn arrive(&mut self, most: u64) {
        for _ in 0..most {
            self.queue.extend(self.late.pop_front());
        }
    }

    /// More came than the queue holds.
    fn overflow(&mut self) {
        self.queue.clear();
        self.queue.push_back(Sent {
            folder: OUTSIDE,
            wd: None,
            mask: ReadFlags::QUEUE_OVERFLOW,
            cookie: 0,
            name: "",
        });
    }

    fn event(&mut self) -> Option<Event> {
        let sent = self.queue.pop_front()?;
        let is_end = sent.mask.contains(ReadFlags::IGNORED);
        let wd = match self.kind {
            Kind::Marks if !is_end => self.numbers.get(&sent.folder).copied(),
            _ => sent.wd,
        };
        Some(Event {
            wd: wd.unwrap_or(-1),
            mask: sent.mask,
            cookie: sent.cookie,
            name: sent.name.as_bytes().to_vec(),
        })
    }

    /// Every folder in the tree, with its number.
    fn places(&self) -> BTreeMap<SyncPath, i32> {
        let mut places = BTreeMap::new();
        let mut rest = vec![(ROOT, SyncPath::root())];
        while let Some((id, path)) = rest.pop() {
            for name in self.names(id) {
                rest.push((self.at(id, &name).unwrap(), path.join(&name).unwrap()));
            }
            places.insert(path, self.numbers.get(&id).copied().unwrap_or(-1));
        }
        places
    }
}

/// So many folders are made in one history.
const MOST: Id = 40;

fn step(world: &mut World, watches: &mut Watches) -> bool {
    match watches.step() {
        None => return false,
        Some(Step::Forget(wd)) => world.forget(wd),
        Some(Step::Look { path, deep }) => {
            let looked = world.look(&path);
            watches.looked(&path, deep, looked);
        }
        Some(Step::Count { .. }) => {}
    }
    true
}

fn history(kind: Kind, seed: u64) {
    let mut world = World::new(kind, seed);
    let mut watches = Watches::new(1, Arc::new(NoFilter));
    while world.next < MOST {
        let most = world.dice.roll(4);
        match world.dice.roll(49) {
            48 => world.overflow(),
            0..12 => world.edit(),
            12..24 => world.arrive(most),
            24..36 => (0..most).for_each(|_| {
                if let Some(event) = world.event() {
                    watches.event(&event);
                }
            }),
            36..44 => (0..most).for_each(|_| {
                step(&mut world, &mut watches);
            }),
            _ => watches.age_halves(),
        }
    }
    let mut rounds = 0;
    loop {
        world.arrive(u64::from(MOST) * 100);
        while let Some(event) = world.event() {
            watches.event(&event);
        }
        while step(&mut world, &mut watches) {
            rounds += 1;
            assert!(rounds < 100_000, "{kind:?} {seed}: no end to it");
        }
        if watches.waits_for_half() {
            watches.age_halves();
        } else if !watches.is_busy() && world.late.is_empty() {
            break;
        }
    }
    let polled = watches.polled();
    assert!(polled.is_empty(), "{kind:?} {seed}: {polled:?}");
    assert_eq!(watches.places(), world.places(), "{kind:?} {seed}");
}

/// So many histories are tried each time.
const TRIED: u64 = 2000;

#[test]
fn with_a_watch_a_folder_all_is_watched_in_the_end() {
    (1..=TRIED).for_each(|seed| history(Kind::Watches, seed));
}

#[test]
fn with_a_mark_for_all_all_is_watched_in_the_end() {
    (1..=TRIED).for_each(|seed| history(Kind::Marks, seed));
}

/// Histories for as many minutes as `WL_SOAK_MINUTES` says.
#[test]
#[ignore = "takes minutes: cargo xtask soak"]
fn soak_interleaved() {
    let minutes = std::env::var("WL_SOAK_MINUTES").ok();
    let minutes = minutes
        .and_then(|minutes| minutes.parse().ok())
        .unwrap_or(1);
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let mut seed = TRIED;
    while Instant::now() < end {
        seed += 1;
        history(Kind::Watches, seed);
        history(Kind::Marks, seed);
    }
    println!("{} histories", 2 * (seed - TRIED));
}
