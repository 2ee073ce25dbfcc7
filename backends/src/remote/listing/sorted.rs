//! All keys of a prefix, gathered first and sorted on disk: for servers that list them in another order than that of their bytes.

use std::iter::Peekable;

use wl_core::model::SyncPath;
use wl_core::storage::{IoResultExt, SortedSpill, SpillSorter};

use super::super::names;
use super::super::order::Order;
use super::flat::reserved;
use super::pager::{Keyed, Pager, Told};
use super::{Step, Stop, Walk};

/// What the sort may hold in memory.
const SORT_MEMORY: usize = 8 << 20;
const SORTING: &str = "sort the listing on disk";

/// The keys in the order of their bytes, each once.
pub(super) struct Sorted {
    rest: Peekable<SortedSpill>,
    skip: Option<String>,
}

/// Gathers all keys that begin with `prefix`; `None`: the server does not keep to the order, and it has to be begun anew without one.
pub(super) async fn gather(walk: &Walk, prefix: &str, order: Order) -> Step<Option<Sorted>> {
    let mut sorter = SpillSorter::new(&walk.request.spill_dir, SORT_MEMORY);
    let mut prefix = prefix.to_owned();
    loop {
        let Some(end) = drain(walk, &mut sorter, &prefix, order).await? else {
            return Ok(None);
        };
        // SeaweedFS says that a page is the last one if it ends with a file that has a folder of its name, and only that folder follows.
        let Some(below) = end.below(walk).filter(|below| *below != prefix) else {
            break;
        };
        prefix = below;
    }
    let sorted = sorter.finish().during(SORTING);
    let sorted = sorted.map_err(|error| error.on(&walk.remote.location))?;
    Ok(Some(Sorted {
        rest: sorted.peekable(),
        skip: None,
    }))
}

/// The last key of a listing that ended; `None` if there was none.
struct End(Option<String>);

impl End {
    /// What the keys in the folder of its name begin with, where there can be such a folder.
    fn below(self, walk: &Walk) -> Option<String> {
        let path = SyncPath::new(self.0?.trim_end_matches('/')).ok()?;
        let usable = names::usable(&walk.remote, "list", &path).is_ok() && !path.is_root();
        usable.then(|| format!("{}/", path.as_str()))
    }
}

/// Puts all keys that begin with `prefix` into the sorter; `None`: they are in no such order.
async fn drain(
    walk: &Walk,
    sorter: &mut SpillSorter,
    prefix: &str,
    order: Order,
) -> Step<Option<End>> {
    let mut pager = Pager::new(&walk.remote.wire, order, prefix.to_owned());
    let mut wanted = Wanted { walk, within: None };
    let mut counted: usize = 0;
    loop {
        let key = match pager.next().await? {
            Told::Key(key) => key,
            Told::End => return Ok(Some(End(pager.told().map(str::to_owned)))),
            Told::Disorder => return Ok(None),
        };
        counted += 1;
        if counted.is_multiple_of(super::ROWS) {
            walk.go_on()?;
        }
        let pushed = serde_json::to_vec(&key)
            .map_err(std::io::Error::from)
            .and_then(|value| sorter.push(key.name.as_bytes(), &value));
        let pushed = pushed.during(SORTING);
        pushed.map_err(|error| error.on(&walk.remote.location))?;
        // The first key of a folder that is left out is needed: it says that the folder is there.
        if let Some(skip) = wanted.skip(&key) {
            pager.skip(skip);
        }
    }
}

/// Which folders are left out.
struct Wanted<'a> {
    walk: &'a Walk,
    /// The folder of the last key, which is not left out.
    within: Option<SyncPath>,
}

impl Wanted<'_> {
    /// What the keys of the folder around `key` begin with, if it is left out.
    fn skip(&mut self, key: &Keyed) -> Option<String> {
        let (text, slash) = match key.name.strip_suffix('/') {
            Some(text) => (text, true),
            None => (key.name.as_str(), false),
        };
        let path = SyncPath::new(text).ok().filter(|_| !key.lossy)?;
        if names::is_reserved(&self.walk.remote, &path) {
            return reserved(&path, slash);
        }
        let folder = match slash {
            true => Some(path),
            false => path.parent(),
        };
        if self.within == folder {
            return None;
        }
        let filter = &self.walk.request.filter;
        let above = folder.iter().flat_map(SyncPath::ancestors);
        let mut folders = above.chain(folder.clone());
        let left_out = folders.find(|at| !at.is_root() && filter.excludes(at, true));
        drop(folders);
        if left_out.is_none() {
            self.within = folder;
        }
        left_out.map(|at| format!("{}/", at.as_str()))
    }
}

impl Sorted {
    pub(super) fn next(&mut self) -> std::io::Result<Option<Keyed>> {
        while let Some(pair) = self.rest.next() {
            let (name, mut value) = pair?;
            // What was told twice: the later one is newer.
            while let Some(Ok((_, newer))) = self.rest.next_if(|next| same(next, &name)) {
                value = newer;
            }
            let key: Keyed = serde_json::from_slice(&value)?;
            let skipped = self.skip.as_ref();
            if !skipped.is_some_and(|skip| key.name.starts_with(skip)) {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    pub(super) fn skip(&mut self, prefix: String) {
        self.skip = Some(prefix);
    }
}

fn same(next: &std::io::Result<(Vec<u8>, Vec<u8>)>, name: &[u8]) -> bool {
    matches!(next, Ok((other, _)) if other == name)
}

/// Reads the next key in the name of a walk.
pub(super) fn next_of(sorted: &mut Sorted, walk: &Walk) -> Step<Option<Keyed>> {
    let next = sorted.next().during(SORTING);
    next.map_err(|error| Stop::Failed(error.on(&walk.remote.location)))
}
