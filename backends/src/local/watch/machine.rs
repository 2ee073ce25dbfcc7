//! What is watched, and what events say: pure. It says which folders to look at, and is told what was found there.
//!
//! An event names a path; that goes into the area as it is. For the watches an event is only a reason to look: what is found at
//! a path says whether a folder there is new, known, or known from elsewhere (the system gives the same number to the same
//! folder). So no order of events, and none that is missing or late, can leave a watch at a wrong path for good. A folder that is
//! not found where it was is kept for as long as its new place may turn up, then forgotten.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use rustix::fs::inotify::ReadFlags;
use wl_core::model::SyncPath;
use wl_core::storage::{Area, Filter};

use super::tree::{Node, Tree, Wd};
use super::words::{Event, Looked, Step, Why};

/// More unwatched subtrees than this are told as everything.
pub(super) const MOST_POLLED: usize = 1024;

/// A subtree that is not watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Polled {
    pub(super) why: Why,
    /// As many folders are known in it.
    pub(super) folders: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Watches {
    tree: Tree,
    filter: Arc<dyn Filter>,
    polled: BTreeMap<SyncPath, Polled>,
    todo: Vec<Step>,
    /// All of the tree is being walked through.
    walking: bool,
    /// And has to be once more after that: events were dropped meanwhile.
    again: bool,
    /// Places of folders that are known from elsewhere too, each with the folder and whether it was found elsewhere since: it may have
    /// moved between two looks, and then an event says so later.
    twins: BTreeMap<SyncPath, (Node, bool)>,
    /// What is tried again at this moment; what comes after it has its turn then.
    retried: Option<SyncPath>,
    /// First halves of renames, by cookie.
    halves: HashMap<u32, Half>,
    area: Area,
    /// What the last event named, if that is in the area: of a new file there are three events in a row.
    last: Option<(Wd, Vec<u8>)>,
    gap: bool,
    lost: Option<String>,
    events: u64,
    version: u64,
}

/// The first half of a rename.
#[derive(Debug)]
struct Half {
    /// `None` where there is nothing to say of it.
    path: Option<SyncPath>,
    /// Whether it has waited for a while.
    waited: bool,
}

/// What there is to say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) area: Area,
    /// Events were lost.
    pub(super) gap: bool,
    /// The root is no longer watched, and why.
    pub(super) lost: Option<String>,
    /// As many events were told.
    pub(super) events: u64,
}

impl Watches {
    /// Begins with the root, which is watched by `wd`.
    pub(super) fn new(wd: Wd, filter: Arc<dyn Filter>) -> Self {
        let mut new = Self {
            tree: Tree::new(wd),
            filter,
            polled: BTreeMap::new(),
            todo: Vec::new(),
            walking: false,
            again: false,
            twins: BTreeMap::new(),
            retried: None,
            halves: HashMap::new(),
            area: Area::default(),
            last: None,
            gap: false,
            lost: None,
            events: 0,
            version: 0,
        };
        new.walk();
        new
    }

    /// How many folders are watched.
    pub(super) fn watched(&self) -> usize {
        self.tree.len()
    }

    /// What is not watched: none of them within another.
    pub(super) fn polled(&self) -> &BTreeMap<SyncPath, Polled> {
        &self.polled
    }

    /// Another number when [`Self::polled`] is another.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Every watched folder and its watch.
    #[cfg(test)]
    pub(super) fn places(&self) -> BTreeMap<SyncPath, Wd> {
        self.tree.places()
    }

    /// Whether there is something to do.
    pub(super) fn is_busy(&self) -> bool {
        !self.todo.is_empty() || self.again
    }

    /// Whether the second half of a rename is waited for.
    pub(super) fn waits_for_half(&self) -> bool {
        !self.halves.is_empty()
    }

    /// What there is to say, once.
    pub(super) fn take(&mut self) -> Said {
        self.last = None;
        Said {
            area: std::mem::take(&mut self.area),
            gap: std::mem::take(&mut self.gap),
            lost: self.lost.take(),
            events: std::mem::take(&mut self.events),
        }
    }

    /// What is to be done next; its result has to be told before the next is asked for.
    pub(super) fn step(&mut self) -> Option<Step> {
        loop {
            if self.todo.is_empty() {
                self.twins.clear();
                self.walking = false;
                if std::mem::take(&mut self.again) {
                    self.walk();
                }
                // While half a rename is out the other half may say where a lost folder is.
                if self.halves.is_empty() {
                    self.forget_lost();
                }
            }
            let step = self.todo.pop()?;
            // One that was found again by its old number meanwhile is not to be forgotten.
            if !matches!(step, Step::Forget(wd) if self.tree.by_wd(wd).is_some()) {
                return Some(step);
            }
        }
    }

    /// A while went by. The second halves of the renames that were waited for already do not come: they lead out of what is watched.
    pub(super) fn age_halves(&mut self) {
        let area = &mut self.area;
        self.halves.retain(|_, half| {
            let keep = !std::mem::replace(&mut half.waited, true);
            if let Some(path) = half.path.take_if(|_| !keep) {
                area.add_path(path);
            }
            keep
        });
        if self.todo.is_empty() && self.halves.is_empty() {
            self.forget_lost();
        }
    }

    /// Looks whether the root is still the folder that is watched.
    pub(super) fn check_root(&mut self) {
        self.look(SyncPath::root(), false);
    }

    /// Something was mounted or unmounted there.
    pub(super) fn mounted(&mut self, path: SyncPath) {
        if self.is_wanted(&path, true) {
            // What was covered for a while was not found.
            self.look(path, true);
        }
    }

    /// Tries again to watch what could not be watched.
    pub(super) fn retry(&mut self) {
        if self.polled.contains_key(&SyncPath::root()) {
            self.unpoll(&SyncPath::root());
            self.look(SyncPath::root(), true);
        } else {
            self.retried = None;
            self.retry_next();
        }
    }

    /// One that goes on being refused must not be in the way of those after it.
    fn retry_next(&mut self) {
        let worth = |polled: &Polled| !matches!(polled.why, Why::Silent(_));
        let after = self.retried.take().map_or(Unbounded, Excluded);
        let mut later = self.polled.range((after, Unbounded));
        let next = later.find(|(_, polled)| worth(polled));
        self.retried = next.map(|(path, _)| path.clone());
        if let Some(path) = self.retried.clone() {
            self.look(path, true);
        }
    }

    /// What came of trying again: without room for more watches the others need not be tried.
    fn retried(&mut self, looked: &Looked) {
        match looked {
            Looked::Unwatched {
                why: Why::Limit, ..
            } => self.retried = None,
            _ => self.retry_next(),
        }
    }

    fn look(&mut self, path: SyncPath, deep: bool) {
        self.todo.push(Step::Look { path, deep });
    }

    fn forget_lost(&mut self) {
        for node in self.tree.take_lost() {
            self.forget(node);
        }
    }

    fn forget(&mut self, node: Node) {
        self.twins.clear();
        let wds = self.tree.forget(node);
        self.todo.extend(wds.into_iter().map(Step::Forget));
    }

    /// Takes an event in.
    pub(super) fn event(&mut self, event: &Event) {
        self.events += 1;
        self.twins.clear();
        let mask = event.mask;
        let same = |(wd, name): &(Wd, Vec<u8>)| *wd == event.wd && *name == event.name;
        if of_content(mask) && self.last.as_ref().is_some_and(same) {
            return;
        }
        self.last = None;
        if mask.contains(ReadFlags::QUEUE_OVERFLOW) {
            return self.overflow();
        }
        let gone = ReadFlags::IGNORED | ReadFlags::UNMOUNT;
        if self.tree.is_root(event.wd) {
            let moved = ReadFlags::MOVE_SELF | ReadFlags::DELETE_SELF;
            if mask.intersects(gone | moved) {
                self.lost = Some(root_reason(mask).to_owned());
                return;
            }
        }
        let Some(node) = self.tree.by_wd(event.wd) else {
            return;
        };
        let folder = self.tree.path(node);
        if mask.contains(ReadFlags::IGNORED) {
            self.forget(node);
            if let Some(path) = folder {
                self.area.add_path(path.clone());
                self.look(path, false);
            }
        } else if !event.name.is_empty() {
            self.named(event, folder);
        }
    }

    fn overflow(&mut self) {
        self.gap = true;
        self.area = Area::Everything;
        self.halves.clear();
        self.walk();
    }

    /// Looks at all of the tree; one walk after the other, however often that is asked for meanwhile.
    fn walk(&mut self) {
        self.again = self.walking;
        if !std::mem::replace(&mut self.walking, true) {
            self.look(SyncPath::root(), true);
        }
    }

    /// An event of `event.name` in `folder`; `None` if nobody knows where that is.
    fn named(&mut self, event: &Event, folder: Option<SyncPath>) {
        let mask = event.mask;
        let told = folder.and_then(|folder| self.told(event, &folder));
        if mask.contains(ReadFlags::MOVED_FROM) {
            let path = told.clone();
            let waited = false;
            self.halves.insert(event.cookie, Half { path, waited });
        }
        if mask.contains(ReadFlags::MOVED_TO)
            && let Some(half) = self.halves.remove(&event.cookie)
            && let Some(from) = half.path
        {
            self.area.add_path(from);
        }
        let Some(path) = told else { return };
        if !mask.contains(ReadFlags::MOVED_FROM) {
            self.area.add_path(path.clone());
            self.last = Some((event.wd, event.name.clone()));
        }
        if !mask.contains(ReadFlags::ISDIR) {
            return;
        }
        if mask.contains(ReadFlags::MOVED_TO) {
            // It may have come over a folder that both sides know: then nothing but this says to look into it.
            self.area.add_subtree(path.clone());
        }
        let names = ReadFlags::CREATE | ReadFlags::DELETE | ReadFlags::MOVED_TO;
        let new = mask.contains(ReadFlags::ATTRIB) && self.tree.at(&path).is_none();
        if mask.intersects(names | ReadFlags::MOVED_FROM) || new {
            // While it was away nothing was found below it.
            self.look(path, mask.contains(ReadFlags::MOVED_TO));
        }
    }

    /// The path that an event names, if it is to be spoken of.
    fn told(&mut self, event: &Event, folder: &SyncPath) -> Option<SyncPath> {
        let name = std::str::from_utf8(&event.name).ok();
        let Some(path) = name.and_then(|name| folder.join(name).ok()) else {
            // A name that is no text is a problem that a listing of its folder reports.
            if !event
                .mask
                .intersects(ReadFlags::MODIFY | ReadFlags::CLOSE_WRITE | ReadFlags::ATTRIB)
            {
                self.area.add_subtree(folder.clone());
            }
            return None;
        };
        self.is_wanted(&path, event.mask.contains(ReadFlags::ISDIR))
            .then_some(path)
    }

    fn is_wanted(&self, path: &SyncPath, folder: bool) -> bool {
        !path.is_reserved() && !self.filter.excludes(path, folder)
    }

    /// What came of [`Step::Look`].
    pub(super) fn looked(&mut self, path: &SyncPath, deep: bool, looked: Looked) {
        if path.is_root() {
            return self.looked_at_root(deep, looked);
        }
        if self.retried.as_ref() == Some(path) {
            self.retried(&looked);
        }
        let known = self.tree.at(path);
        let found = match &looked {
            Looked::Folder { wd, .. } => self.tree.by_wd(*wd),
            _ => None,
        };
        if let Some(known) = known
            && found != Some(known)
        {
            self.tree.lose(known);
        }
        let parent = path.parent().and_then(|parent| self.tree.at(&parent));
        match (looked, parent) {
            (Looked::Folder { wd, folders }, Some(parent)) => {
                self.found(path, deep, wd, found, parent, &folders);
            }
            // Nobody knows the folder that it is in any more; whoever finds that again finds this too.
            (Looked::Folder { wd, .. }, None) if found.is_none() => {
                self.todo.push(Step::Forget(wd));
            }
            (Looked::Folder { .. }, None) | (Looked::Unreadable, _) => {}
            (Looked::Nothing, _) => self.unpoll(path),
            (Looked::Unwatched { why, folders }, _) => self.poll(path, why, folders),
        }
    }

    fn looked_at_root(&mut self, deep: bool, looked: Looked) {
        match looked {
            Looked::Folder { wd, folders } if self.tree.is_root(wd) => {
                if let Some(root) = self.tree.at(&SyncPath::root()) {
                    self.is_here(root);
                    self.below(root, &SyncPath::root(), deep, &folders);
                }
            }
            Looked::Folder { .. } => {
                self.lost = Some("another folder is at the place of the root".to_owned());
            }
            Looked::Unwatched { why, .. } => {
                self.lost = Some(format!("the root cannot be watched any more ({why})"));
            }
            Looked::Nothing | Looked::Unreadable => {
                self.lost = Some("the root is not there or cannot be read".to_owned());
            }
        }
    }

    fn found(
        &mut self,
        path: &SyncPath,
        deep: bool,
        wd: Wd,
        found: Option<Node>,
        parent: Node,
        folders: &[Box<str>],
    ) {
        let polled = self.polled.remove(path);
        self.version += u64::from(polled.is_some());
        let Some(node) = found else {
            let node = self.tree.insert(parent, path.name(), wd);
            // What was made in it before it was watched made no event.
            self.area.add_subtree(path.clone());
            return self.below(node, path, true, folders);
        };
        if self.tree.at(path) == Some(node) {
            self.is_here(node);
            return self.below(node, path, deep, folders);
        }
        match self.tree.path(node) {
            Some(elsewhere) => self.twin(path, deep, node, elsewhere),
            None => {
                self.tree.lose(node);
                self.tree.find(node, parent, path.name());
                // What happened in it meanwhile was told by its old path, or not at all.
                self.area.add_subtree(path.clone());
                // By its new name other things may be left out below it.
                self.below(node, path, true, folders);
            }
        }
    }

    /// It was found where it is known to be.
    fn is_here(&mut self, node: Node) {
        for (twin, is_here) in self.twins.values_mut() {
            *is_here |= *twin == node;
        }
    }

    /// The folder that was found at `path` is known from `elsewhere`: it is there no longer, or in both places.
    fn twin(&mut self, path: &SyncPath, deep: bool, node: Node, elsewhere: SyncPath) {
        if self.twins.get(path) == Some(&(node, true)) {
            return self.poll(path, Why::Twice, Vec::new());
        }
        self.twins.insert(path.clone(), (node, false));
        self.look(path.clone(), deep);
        self.look(elsewhere, false);
    }

    /// Goes on with the folders in a folder that is watched.
    fn below(&mut self, node: Node, path: &SyncPath, deep: bool, folders: &[Box<str>]) {
        let names: BTreeSet<&str> = folders.iter().map(|name| &**name).collect();
        let known = self.tree.children(node);
        for (name, child) in &known {
            let gone = !names.contains(&**name);
            if gone
                || path
                    .join(name)
                    .is_ok_and(|path| !self.is_wanted(&path, true))
            {
                self.tree.lose(*child);
            }
        }
        for name in folders {
            let Ok(path) = path.join(name) else { continue };
            let is_known = known.binary_search_by(|(known, _)| known.cmp(name)).is_ok();
            if (deep || !is_known) && self.is_wanted(&path, true) {
                self.look(path, deep);
            }
        }
    }

    /// The folder at `path` cannot be watched.
    fn poll(&mut self, path: &SyncPath, why: Why, folders: Vec<Box<str>>) {
        let is_told = self.polled.contains_key(path)
            || path
                .ancestors()
                .any(|above| self.polled.contains_key(&above));
        if is_told {
            return;
        }
        // Nothing is known of what was there before it was polled.
        self.area.add_subtree(path.clone());
        self.unpoll(path);
        self.version += 1;
        self.polled.insert(path.clone(), Polled { why, folders: 1 });
        self.counted(path, path, folders);
        if self.polled.len() > MOST_POLLED {
            let folders = self.polled.values().map(|polled| polled.folders).sum();
            self.polled.clear();
            let why = Why::Limit;
            self.polled
                .insert(SyncPath::root(), Polled { why, folders });
        }
    }

    /// Nothing at `path` or below is polled any more.
    fn unpoll(&mut self, path: &SyncPath) {
        let before = self.polled.len();
        self.polled.retain(|one, _| !one.is_within(path));
        self.version += u64::from(self.polled.len() != before);
    }

    /// What came of [`Step::Count`].
    pub(super) fn counted(&mut self, top: &SyncPath, path: &SyncPath, folders: Vec<Box<str>>) {
        for name in folders {
            let Ok(path) = path.join(&name) else { continue };
            if !self.is_wanted(&path, true) {
                continue;
            }
            let root = SyncPath::root();
            let top = if self.polled.contains_key(top) {
                top
            } else {
                &root
            };
            if let Some(polled) = self.polled.get_mut(top) {
                polled.folders += 1;
                self.version += 1;
                let top = top.clone();
                self.todo.push(Step::Count { path, top });
            }
        }
    }
}

/// Whether an event says nothing but that a file is new or other than before.
fn of_content(mask: ReadFlags) -> bool {
    let of_content = ReadFlags::MODIFY | ReadFlags::CLOSE_WRITE | ReadFlags::ATTRIB;
    (of_content | ReadFlags::CREATE).contains(mask)
}

fn root_reason(mask: ReadFlags) -> &'static str {
    if mask.contains(ReadFlags::UNMOUNT) {
        "what was mounted at the root was unmounted"
    } else if mask.contains(ReadFlags::MOVE_SELF) {
        "the root was moved away"
    } else {
        "the root was removed"
    }
}
