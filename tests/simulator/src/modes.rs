//! What becomes of permission bits that both sides agreed on, and that somebody sets on one of them.

use std::collections::BTreeMap;

use wl_core::model::{Direction, Sides};

use crate::judge::is_at_or_around;
use crate::plan::Edit;
use crate::site::{Modes, Tree};

/// Bits that both sides have, and what somebody set since, on one side.
type Agreement = BTreeMap<String, (u32, Option<(usize, u32)>)>;

/// The bits of two sides that keep them. With more jobs than one, nothing is said here.
#[derive(Debug)]
pub(crate) struct ModesAgreed {
    sites: Option<Sides<usize>>,
    direction: Direction,
    held: Agreement,
}

impl ModesAgreed {
    pub fn new(direction: Direction, jobs: &[Sides<usize>], kept: impl Fn(usize) -> bool) -> Self {
        let one = jobs.first().copied().filter(|_| jobs.len() == 1);
        Self {
            sites: one.filter(|sites| kept(sites.source) && kept(sites.target)),
            direction,
            held: Agreement::new(),
        }
    }

    /// Nobody knows any more.
    pub fn forget(&mut self) {
        self.held.clear();
    }

    /// Somebody edited a side; these are its bits now.
    pub fn edited(&mut self, site: usize, edit: &Edit, touched: &[String], modes: &Modes) {
        if let Edit::Chmod(path, mode) = edit {
            let both = match self.held.get_mut(path) {
                Some((_, by)) if modes.get(path) == Some(mode) => match by {
                    Some((other, _)) if *other != site => true,
                    by => {
                        *by = Some((site, *mode));
                        false
                    }
                },
                _ => false,
            };
            if both {
                self.held.remove(path);
            }
            return;
        }
        let far = |path: &String| !touched.iter().any(|at| is_at_or_around(path, at));
        self.held.retain(|path, _| far(path));
    }

    /// wl changed a side: these are its bits now.
    pub fn changed(&self, site: usize, before: &Modes, after: &Modes) -> Result<(), String> {
        for (path, (agreed, by)) in &self.held {
            let (Some(was), Some(is)) = (before.get(path), after.get(path)) else {
                continue;
            };
            let set = by.map(|(_, mode)| mode);
            let put_back = self.direction == Direction::Mirror;
            let undone = by.is_some_and(|(by, _)| by == site) && !put_back;
            if was != is && (undone || (*is != *agreed && Some(*is) != set)) {
                return Err(format!(
                    "the permission bits of {path} in storage {site} were {was:o} and are {is:o}, and nobody set those"
                ));
            }
        }
        Ok(())
    }

    /// A run says that all is well, but for what `excused` says.
    pub fn said(
        &mut self,
        modes: &[Modes],
        trees: &[Tree],
        excused: impl Fn(&str) -> bool,
    ) -> Result<(), String> {
        let Some(Sides { source, target }) = self.sites else {
            return Ok(());
        };
        for (path, (_, by)) in &self.held {
            let Some((site, mode)) = by else { continue };
            let (s, t) = (modes[source].get(path), modes[target].get(path));
            let there = s.is_some() && t.is_some();
            let travels = self.direction == Direction::TwoWay || *site == source;
            if there && travels && !excused(path) && (s != Some(mode) || t != Some(mode)) {
                return Err(format!(
                    "said to be in sync, but the permission bits of {path} were set to {mode:o} in storage {site} and are {:o} and {:o}",
                    s.copied().unwrap_or_default(),
                    t.copied().unwrap_or_default(),
                ));
            }
        }
        self.forget();
        for (path, mode) in &modes[source] {
            let same = trees[source].get(path) == trees[target].get(path);
            if same && modes[target].get(path) == Some(mode) && !excused(path) {
                self.held.insert(path.clone(), (*mode, None));
            }
        }
        Ok(())
    }
}
