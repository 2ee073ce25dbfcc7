//! What two sides agreed on, as far as a run said so: from then on only an edit is a reason to change it.

use std::collections::BTreeMap;

use wl_core::model::{Direction, RunReport, Sides};

use crate::judge::is_at_or_around;
use crate::site::{Shown, Tree};

/// What both sides held, and which of them edited it since.
type Agreement = BTreeMap<String, (Shown, Vec<usize>)>;

/// The agreements of the two sides of one job. With more jobs than one, each is an editor to the others, and nothing is said here.
#[derive(Debug)]
pub(crate) struct Agreed {
    sites: Option<Sides<usize>>,
    direction: Direction,
    held: Agreement,
    /// The listings of a side may be stale: what is there may have seemed not to be.
    stale: bool,
}

impl Agreed {
    pub fn new(direction: Direction, jobs: &[Sides<usize>]) -> Self {
        Self {
            sites: jobs.first().copied().filter(|_| jobs.len() == 1),
            direction,
            held: Agreement::new(),
            stale: false,
        }
    }

    /// The baseline is lost: nobody knows any more.
    pub fn forget(&mut self) {
        self.held.clear();
    }

    /// Somebody edited a side at these paths.
    pub fn edited(&mut self, site: usize, touched: &[String]) {
        for (path, (_, by)) in &mut self.held {
            if !by.contains(&site) && touched.iter().any(|at| is_at_or_around(path, at)) {
                by.push(site);
            }
        }
    }

    /// wl changed a side.
    pub fn changed(&self, site: usize, before: &Tree, after: &Tree) -> Result<(), String> {
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
            let of_both = conflict.source.is_some() && conflict.target.is_some();
            if of_both && !self.stale && !stale && held.is_some_and(|(_, by)| by.len() < 2) {
                return Err(format!(
                    "{} is told as a conflict, and since both sides agreed on it only one had edited it",
                    conflict.path
                ));
            }
        }
        self.stale = stale;
        self.held.clear();
        for (path, shown) in &trees[source] {
            let agreed = trees[target].get(path) == Some(shown) && *shown != Shown::Folder;
            if agreed && !touched(path) {
                self.held.insert(path.clone(), (shown.clone(), Vec::new()));
            }
        }
        Ok(())
    }
}
