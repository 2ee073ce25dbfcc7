//! What two sides agreed on, as far as a run said so: from then on only an edit is a reason to change it.

use std::collections::BTreeMap;

use wl_core::model::{Direction, RunReport, Sides};

use crate::judge::is_at_or_around;
use crate::site::{Shown, Tree};

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// What both sides held, and which of them edited it since.
type Agreement = BTreeMap<String, (Shown, Vec<usize>)>;

/// See [`Agreed::renamed`].
pub(crate) type Renamed = (String, String, Vec<(String, Shown)>);

/// The agreements of the two sides of one job. With more jobs than one, each is an editor to the others, and nothing is said here.
#[derive(Debug)]
pub(crate) struct Agreed {
    sites: Option<Sides<usize>>,
    direction: Direction,
    held: Agreement,
    /// Folders that wl renamed as one, since they were agreed on: what is in them still is.
    renamed: Vec<String>,
    /// Which storages keep folders by themselves: the others rename files only.
    folders: Vec<bool>,
    /// The listings of a side may be stale: what is there may have seemed not to be.
    stale: bool,
    /// What wl made equal on both sides since the last report: what both show, the side that got it, and which of them edited it since.
    published: BTreeMap<String, (Shown, usize, Vec<usize>)>,
    /// A run that is killed leaves word of it.
    notes: bool,
}

impl Agreed {
    pub fn new(
        direction: Direction,
        jobs: &[Sides<usize>],
        folders: Vec<bool>,
        notes: bool,
    ) -> Self {
        Self {
            sites: jobs.first().copied().filter(|_| jobs.len() == 1),
            direction,
            held: Agreement::new(),
            renamed: Vec::new(),
            folders,
            stale: false,
            published: BTreeMap::new(),
            notes,
        }
    }

    /// The baseline is lost: nobody knows any more.
    pub fn forget(&mut self) {
        self.held.clear();
        self.renamed.clear();
        self.published.clear();
    }

    /// A run came to its end, well or not: what it made equal is recorded, or nobody says so.
    pub fn reported(&mut self) {
        self.published.clear();
    }

    /// A request failed: nobody can know any more what was done that a process did not live to record.
    pub fn doubt(&mut self) {
        self.published.clear();
        self.doubt_renames();
    }

    fn doubt_renames(&mut self) {
        for folder in std::mem::take(&mut self.renamed) {
            self.held.retain(|path, _| !is_below(path, &folder));
        }
    }

    /// Somebody edited a side at these paths.
    pub fn edited(&mut self, site: usize, touched: &[String]) {
        let moved = |folder: &String| {
            touched
                .iter()
                .any(|at| at == folder || is_below(folder, at))
        };
        if self.renamed.iter().any(moved) {
            self.doubt_renames();
        }
        for (path, (.., by)) in &mut self.published {
            if !by.contains(&site) && touched.iter().any(|at| is_at_or_around(path, at)) {
                by.push(site);
            }
        }
        for (path, (_, by)) in &mut self.held {
            if !by.contains(&site) && touched.iter().any(|at| is_at_or_around(path, at)) {
                by.push(site);
            }
        }
    }

    /// wl changed a side, of all these.
    pub fn changed(
        &mut self,
        site: usize,
        before: &Tree,
        after: &Tree,
        trees: &[Tree],
    ) -> Result<(), String> {
        if let Some(renamed) = self.renamed(site, before, after) {
            self.follow(site, renamed, trees);
        }
        self.published_stays(site, before, after)?;
        self.publish(site, before, after, trees);
        for (path, (agreed, by)) in &self.held {
            let (was, is) = (
                before.get(path) == Some(agreed),
                after.get(path) == Some(agreed),
            );
            if was && !is && by.is_empty() {
                return Err(format!(
                    "{path} was changed in storage {site}, and since both sides agreed on it nobody had edited it on either"
                ));
            }
            let mirror = self.direction == Direction::Mirror;
            if !was && is && !mirror && !self.stale && by[..] == [site] {
                return Err(format!(
                    "what storage {site} had given up at {path} came back, and nobody had edited it on the other side"
                ));
            }
        }
        Ok(())
    }

    /// What wl brought to one side, and only the other gave up, does not come back there, whether wl lived to record it or not.
    fn published_stays(&self, site: usize, before: &Tree, after: &Tree) -> Result<(), String> {
        if self.direction == Direction::Mirror {
            return Ok(());
        }
        for (path, (shown, to, by)) in &self.published {
            let came = before.get(path) != Some(shown) && after.get(path) == Some(shown);
            // A folder that is only implied was never brought: nobody knows that it was not there before.
            if !self.folders[*to] && path.contains('/') {
                continue;
            }
            if came && site != *to && by[..] == [site] {
                return Err(format!(
                    "what storage {site} had given up at {path} came back, and storage {to} had only been given it"
                ));
            }
        }
        Ok(())
    }

    /// Notes what wl made equal on both sides.
    fn publish(&mut self, site: usize, before: &Tree, after: &Tree, trees: &[Tree]) {
        let Some(sites) = self.sites.filter(|_| self.notes) else {
            return;
        };
        let other = match site == sites.source {
            true => sites.target,
            false => sites.source,
        };
        for (path, shown) in after {
            if before.get(path) == Some(shown) {
                continue;
            }
            self.published.remove(path);
            if *shown != Shown::Folder && trees[other].get(path) == Some(shown) {
                let published = (shown.clone(), site, Vec::new());
                self.published.insert(path.clone(), published);
            }
        }
    }

    /// A folder that wl renamed as one, with all that is in it: from where, to where, and the paths in it with what they show.
    pub fn renamed(&self, site: usize, before: &Tree, after: &Tree) -> Option<Renamed> {
        let new = |one: &Tree, two: &Tree| {
            let mut new = one.iter().filter(|(path, _)| !two.contains_key(*path));
            // A folder comes before what is in it.
            new.find(|(_, shown)| **shown == Shown::Folder)
                .map(|(path, _)| path.clone())
        };
        let (from, to) = (new(before, after)?, new(after, before)?);
        let inside = |tree: &Tree, folder: &str| -> Vec<(String, Shown)> {
            let inside = tree.iter().filter_map(|(path, shown)| {
                let rest = path.strip_prefix(folder)?.strip_prefix('/')?;
                Some((rest.to_owned(), shown.clone()))
            });
            inside.collect()
        };
        let inside_now = inside(after, &to);
        let same = !inside_now.is_empty() && inside(before, &from) == inside_now;
        (same && self.folders[site]).then_some((from, to, inside_now))
    }

    /// A folder that was renamed as one is the one that was agreed on, with what is in it.
    fn follow(&mut self, site: usize, (from, to, inside): Renamed, trees: &[Tree]) {
        let Some(sites) = self.sites else { return };
        let other = match site == sites.source {
            true => sites.target,
            false => sites.source,
        };
        for (rest, shown) in inside {
            let (was, now) = (format!("{from}/{rest}"), format!("{to}/{rest}"));
            let agreed = self.held.get(&was);
            let agreed = agreed.is_some_and(|(agreed, _)| *agreed == shown);
            if agreed && trees[other].get(&now) == Some(&shown) {
                self.held.insert(now, (shown, Vec::new()));
            }
        }
        self.renamed.push(to);
    }

    /// Whether both sides agreed on what is at the path, and nobody edited it on `side` since.
    pub fn is_as_agreed_on(&self, path: &str, side: usize) -> bool {
        let held = self.held.get(path);
        held.is_some_and(|(_, by)| !by.contains(&side))
    }

    /// A run says that all is well but for what its report lists; paths that were touched since it began are left aside.
    pub fn said(
        &mut self,
        report: &RunReport,
        trees: &[Tree],
        touched: impl Fn(&str) -> bool,
        stale: bool,
    ) -> Result<(), String> {
        let Some(Sides { source, target }) = self.sites else {
            return Ok(());
        };
        for conflict in &report.conflicts {
            let held = self.held.get(&conflict.path);
            // What both hold alike is a conflict about permission bits.
            let of_modes = conflict.reason.contains("changed the permissions");
            let of_both = match (&conflict.source, &conflict.target) {
                (Some(source), Some(target)) if !of_modes => {
                    (&source.kind, &source.hash, &source.link)
                        != (&target.kind, &target.hash, &target.link)
                }
                _ => false,
            };
            let published = self.published.get(&conflict.path);
            if of_both && published.is_some_and(|(_, to, by)| !by.contains(to)) {
                return Err(format!(
                    "{} is told as a conflict, and only the side that it was brought from had edited it since",
                    conflict.path
                ));
            }
            if of_both && !self.stale && !stale && held.is_some_and(|(_, by)| by.len() < 2) {
                return Err(format!(
                    "{} is told as a conflict, and since both sides agreed on it only one had edited it",
                    conflict.path
                ));
            }
        }
        self.stale = stale;
        self.forget();
        for (path, shown) in &trees[source] {
            let agreed = trees[target].get(path) == Some(shown) && *shown != Shown::Folder;
            if agreed && !touched(path) {
                self.held.insert(path.clone(), (shown.clone(), Vec::new()));
            }
        }
        Ok(())
    }
}
