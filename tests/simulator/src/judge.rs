//! Says whether anything was lost, or claimed that was not so. It knows what editors did and what people see, and nothing of how wl works.

use std::collections::{BTreeMap, BTreeSet};

use wl_core::model::{ContentHash, Direction, Drift, Kind, Outcome, RunReport, Sides};
use wl_core::state::BaselineRow;
use wl_core::sync::Keep;
use wl_core::testing::{Call, Operation};

use crate::agreed::{Agreed, Renamed};
use crate::ended::{Choice, Ended};
use crate::groups::{Groups, beside};
use crate::left_out::LeftOut;
use crate::modes::ModesAgreed;
use crate::plan::{Content, Edit, IGNORE, Plan};
use crate::site::{Modes, Shown, Tree};

/// A version that is not in the tree, and not lost either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its content.
    pub content: ContentHash,
    /// Nobody agreed to give it up: it does not expire, and is told as a conflict.
    pub claimed: bool,
}

/// What was ever true at each path.
pub(crate) type History = BTreeMap<String, BTreeSet<Shown>>;

#[derive(Debug)]
pub(crate) struct Judge {
    direction: Direction,
    /// What only an edit may change.
    pub agreed: Agreed,
    /// What may be seen at a path, on any side: what was written or moved there.
    known: History,
    /// What each side has shown.
    held: Vec<History>,
    trees: Vec<Tree>,
    /// Who wrote each version first.
    written: BTreeMap<ContentHash, usize>,
    /// Versions that somebody overwrote or removed who had them.
    given_up: BTreeSet<ContentHash>,
    /// The paths that each edit touched.
    pub touched: Vec<BTreeSet<String>>,
    /// What each edit by an editor did, where.
    by_editors: Vec<(usize, Edit, BTreeSet<String>)>,
    /// Bytes that editors wrote.
    bytes: u64,
    /// Where somebody ended conflicts.
    ended: Ended,
    /// The end that somebody asks for just now.
    choice: Option<Choice>,
    /// How often somebody did something.
    people: usize,
    /// There is one job, and its storages keep their promises.
    sure: bool,
    /// How many faults had fired when both sides agreed last.
    fired: u64,
    /// Every storage keeps folders by themselves, and permission bits.
    keeps: (bool, bool),
    /// What lost is not kept for long.
    expires: bool,
    /// What contents are called.
    names: BTreeMap<ContentHash, String>,
    pub left_out: LeftOut,
    /// Larger files are left out.
    max_size: Option<u64>,
    groups: Groups,
    modes_agreed: ModesAgreed,
    modes: Vec<Modes>,
}

/// Whether `inner` is `outer` or below it.
pub(crate) fn is_within(inner: &str, outer: &str) -> bool {
    inner
        .strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub(crate) fn is_at_or_around(path: &str, other: &str) -> bool {
    is_within(path, other) || is_within(other, path)
}

/// What is renamed takes its earlier versions along: the other side, and the baseline, may have the rename before they have the last edit.
fn along(history: &mut History, from: &str, to: &str) {
    let moved = history.iter().filter_map(|(path, shown)| {
        let rest = path.strip_prefix(from)?;
        let within = rest.is_empty() || rest.starts_with('/');
        within.then(|| (format!("{to}{rest}"), shown.clone()))
    });
    for (path, shown) in moved.collect::<Vec<_>>() {
        history.entry(path).or_default().extend(shown);
    }
}

impl Judge {
    /// `sure`: the storages lose nothing by themselves, and say so.
    pub fn new(plan: &Plan, jobs: &[Sides<usize>], trees: Vec<Tree>, sure: bool) -> Self {
        let folders = plan.sites.iter().map(|site| site.empty_folders).collect();
        let direction = plan.direction;
        let stale = plan.sites.iter().any(|site| site.stale);
        let notes = sure && !stale && !plan.extras.server_copy;
        // A folder that is only implied has no bits of its own.
        let kept = |site: usize| plan.sites[site].modes && plan.sites[site].empty_folders;
        Self {
            modes_agreed: ModesAgreed::new(direction, jobs, kept),
            modes: trees.iter().map(|_| Modes::new()).collect(),
            expires: plan.extras.expires,
            max_size: plan.extras.max_size,
            left_out: LeftOut::default(),
            groups: Groups::default(),
            direction,
            agreed: Agreed::new(direction, jobs, folders, notes),
            known: History::new(),
            held: trees.iter().map(|_| History::new()).collect(),
            trees,
            written: BTreeMap::new(),
            given_up: BTreeSet::new(),
            touched: Vec::new(),
            by_editors: Vec::new(),
            bytes: 0,
            ended: Ended::default(),
            choice: None,
            people: 0,
            fired: 0,
            sure: notes && jobs.len() == 1,
            keeps: (
                plan.sites.iter().all(|site| site.empty_folders),
                (0..plan.sites.len()).all(kept),
            ),
            names: BTreeMap::new(),
        }
    }

    /// What the last edit touched.
    pub fn touched_last(&self) -> Vec<String> {
        let last = self.touched.last();
        last.map(|last| last.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// What a side showed when it was looked at last.
    pub fn shows(&self, site: usize) -> &Tree {
        &self.trees[site]
    }

    /// How many edits there were.
    pub fn edits(&self) -> usize {
        self.touched.len()
    }

    /// Somebody edited a side; this is what it shows now, and what it keeps.
    pub fn edited(
        &mut self,
        site: usize,
        edit: &Edit,
        (after, modes): (Tree, Modes),
        [before, kept]: [&[Kept]; 2],
    ) {
        self.people += 1;
        // What was in the trash and was written over there.
        let is_gone = |old: &&Kept| !kept.iter().any(|kept| kept.content == old.content);
        let gone = before.iter().filter(is_gone).map(|old| old.content);
        self.given_up.extend(gone);
        let files = edit.files().into_iter().flatten();
        let bytes: usize = files.filter_map(|(_, content)| Some(content?.len())).sum();
        self.bytes += bytes as u64;
        for content in edit.contents() {
            self.wrote(site, content, &after, kept);
        }
        self.groups.edited(edit);
        if let Edit::Rename(from, to) = edit {
            along(&mut self.known, from, to);
            along(&mut self.held[site], from, to);
        }
        let before = std::mem::take(&mut self.trees[site]);
        let mut touched = BTreeSet::new();
        for (path, shown) in &after {
            if before.get(path) != Some(shown) {
                touched.insert(path.clone());
                self.known
                    .entry(path.clone())
                    .or_default()
                    .insert(shown.clone());
                self.hold(site, path, shown);
            }
        }
        for (path, shown) in &before {
            if after.get(path) == Some(shown) {
                continue;
            }
            touched.insert(path.clone());
            let moved = after
                .iter()
                .any(|(to, now)| now == shown && before.get(to) != Some(now));
            if let Shown::File(content) = shown
                && !moved
            {
                self.given_up.insert(*content);
            }
        }
        if !touched.is_empty() {
            self.by_editors.push((site, edit.clone(), touched.clone()));
        }
        touched.extend(edit.paths());
        let paths: Vec<_> = touched.iter().cloned().collect();
        if edit.is_of_content() {
            self.agreed.edited(site, &paths);
        }
        self.modes_agreed.edited(site, edit, &paths, &modes);
        self.touched.push(touched);
        self.trees[site] = after;
        self.modes[site] = modes;
        self.left_out.edited(edit, &self.trees);
        self.ended.look(&self.trees);
    }

    /// The baseline is lost: nobody knows any more what was agreed on.
    pub fn forget(&mut self) {
        self.agreed.forget();
        self.modes_agreed.forget();
    }

    /// The one run there is begins, or ends.
    pub fn runs(&mut self, runs: bool) {
        self.left_out.runs(runs, &self.trees);
    }

    /// What runs lists something.
    pub fn lists(&mut self) {
        self.left_out.lists(&self.trees);
    }

    /// What is left out is not even read.
    pub fn may_ask(&self, call: &Call) -> Result<(), String> {
        use Operation as O;
        let reads = matches!(
            call.operation,
            O::Hash | O::Read | O::ReadNext | O::ReadSmall
        );
        match &call.path {
            Some(path) if reads && self.left_out.hides(path.as_str()) => {
                Err(format!("{path} is to be left out, and is read"))
            }
            _ => Ok(()),
        }
    }

    /// From now on what lost the conflict at `path` may be in the trash. So many faults have fired.
    pub fn ends_conflict(&mut self, path: &str, keep: Keep, fired: u64) {
        self.ended.begins(path, &self.trees);
        self.choice = Some(Choice {
            path: path.to_owned(),
            keep,
            trees: self.trees.clone(),
            modes: self.modes.clone(),
            world: (self.people, fired),
        });
        self.forget();
    }

    /// The run that was to end it is over.
    pub fn ended_conflict(&mut self) {
        self.ended.is_over();
        self.choice = None;
    }

    /// That run says that nothing was in its way.
    pub fn is_as_chosen(
        &self,
        sites: Sides<usize>,
        report: &RunReport,
        fired: u64,
    ) -> Result<(), String> {
        let Some(choice) = &self.choice else {
            return Ok(());
        };
        let before = choice.trees.iter().chain(&self.trees).collect::<Vec<_>>();
        let left_out = self.left_out.of(&before, &self.trees);
        let conflicts = report.conflicts.iter();
        let conflicts = conflicts.filter(|conflict| !conflict.is_about_trash());
        let mut open = conflicts.map(|conflict| &conflict.path).chain(&left_out);
        let disturbed = choice.world != (self.people, fired)
            || open.any(|path| is_at_or_around(path, &choice.path));
        if !self.sure || disturbed {
            return Ok(());
        }
        let now = (&self.trees[..], &self.modes[..]);
        choice.is_followed(sites, now, self.keeps.0, self.keeps.1)
    }

    /// What a report says in one word is what it says in full.
    pub fn result_is_right(report: &RunReport) -> Result<(), String> {
        let failed = report.error.is_some() || !report.problems.is_empty();
        let right = match report.result {
            Outcome::Failed => failed,
            Outcome::Conflicts => !failed && !report.conflicts.is_empty(),
            Outcome::Synced => !failed && report.conflicts.is_empty(),
        };
        match right {
            true => Ok(()),
            false => Err(format!(
                "a report says {:?}, and lists {} conflicts and {} problems",
                report.result,
                report.conflicts.len(),
                report.problems.len()
            )),
        }
    }

    /// A run moves no more than a few times what there is.
    pub fn is_bounded(&self, report: &RunReport) -> Result<(), String> {
        let (moved, most) = (report.bytes.written, 8 * self.bytes);
        match moved > most {
            true => Err(format!(
                "a run wrote {moved} bytes, and there are {}",
                self.bytes
            )),
            false => Ok(()),
        }
    }

    fn wrote(&mut self, site: usize, content: Content, after: &Tree, kept: &[Kept]) {
        let bytes = content.bytes();
        self.bytes += bytes.len() as u64;
        let hash = ContentHash::of(&bytes);
        self.names.insert(hash, format!("v{:04}", content.number));
        if self.max_size.is_some_and(|max| bytes.len() as u64 > max) {
            self.left_out.is_large(hash);
        }
        let there = after.values().any(|shown| *shown == Shown::File(hash));
        if there || kept.iter().any(|kept| kept.content == hash) {
            self.written.entry(hash).or_insert(site);
        }
    }

    fn hold(&mut self, site: usize, path: &str, shown: &Shown) {
        let held = self.held[site].entry(path.to_owned()).or_default();
        if !held.contains(shown) {
            held.insert(shown.clone());
        }
    }

    /// wl did something to a side; this is what it shows now. With `others` there is another job, to which this is an edit like any.
    pub fn changed(
        &mut self,
        site: usize,
        after: Tree,
        modes: Modes,
        others: bool,
    ) -> Result<(), String> {
        if others && self.trees[site] != after {
            let before = &self.trees[site];
            let paths = before.keys().chain(after.keys());
            let touched = paths.filter(|path| before.get(*path) != after.get(*path));
            self.touched.push(touched.cloned().collect());
        }
        self.groups.are_usable(site, &after)?;
        let bits = self.modes_agreed.changed(site, &self.modes[site], &modes);
        self.modes[site] = modes;
        bits?;
        let paths = self.trees[site].keys().chain(after.keys());
        let left = |path: &&String| match after.contains_key(*path) {
            true => self.left_out.surely(path),
            false => self.left_out.stays(path),
        };
        let mut left = paths.filter(left);
        if let Some(path) = left.find(|path| self.trees[site].get(*path) != after.get(*path)) {
            return Err(format!(
                "{path} in storage {site} is to be left out, and was changed"
            ));
        }
        if let Some(renamed) = self.agreed.renamed(site, &self.trees[site], &after) {
            self.moved(renamed);
        }
        for (path, shown) in &after {
            if self.trees[site].get(path) == Some(shown) {
                continue;
            }
            if matches!(shown, Shown::File(_) | Shown::Link(_)) && !self.may_show(path, shown) {
                return Err(format!(
                    "storage {site} shows {} at {path}, which nobody wrote or moved there",
                    self.name(shown)
                ));
            }
            self.hold(site, path, shown);
        }
        let before = &self.trees[site];
        let verdict = self.agreed.changed(site, before, &after, &self.trees);
        self.trees[site] = after;
        self.left_out.look(&self.trees);
        self.ended.look(&self.trees);
        verdict
    }

    /// What is in a folder moves with it, and so does what was agreed on, whatever the sides have there by now: an edit may strike between
    /// the look at a folder and its rename.
    fn moved(&mut self, (from, to, inside): Renamed) {
        let held = self.held.iter_mut();
        held.for_each(|held| along(held, &from, &to));
        for (rest, shown) in inside {
            let now = format!("{to}/{rest}");
            self.known.entry(now).or_default().insert(shown);
        }
    }

    fn may_show(&self, path: &str, shown: &Shown) -> bool {
        let mut known = self.known.iter();
        let may = |at: &str| at == path || self.ended.may_lie_beside(path, at);
        known.any(|(at, known)| may(at) && known.contains(shown))
    }

    /// What a baseline says was so on both sides.
    pub fn recorded(&self, sites: Sides<usize>, rows: &[BaselineRow]) -> Result<(), String> {
        for row in rows {
            let shown = match (row.kind, row.hash, &row.link) {
                (Kind::File, Some(hash), _) if !hash.is_by_copy() => Shown::File(hash),
                (Kind::Link, _, Some(target)) => Shown::Link(target.to_string()),
                _ => continue,
            };
            for site in [sites.source, sites.target] {
                let held = self.held[site].get(row.path.as_str());
                if !held.is_some_and(|held| held.contains(&shown)) {
                    return Err(format!(
                        "the baseline says that both have {} at {}, and storage {site} never had",
                        self.name(&shown),
                        row.path
                    ));
                }
            }
        }
        Ok(())
    }

    /// A run between two sides says that all is well, but for what its report lists and the edits that it could not know of.
    pub fn said(
        &self,
        sites: Sides<usize>,
        report: &RunReport,
        unknown: &[bool],
        folders: bool,
    ) -> Result<(), String> {
        let (source, target) = (&self.trees[sites.source], &self.trees[sites.target]);
        let left_out = self.left_out.of(&[source, target], &self.trees);
        if self.rules_are_new(unknown) {
            return Ok(());
        }
        let excused = |path: &str| {
            let conflicts = report.conflicts.iter().map(|conflict| &conflict.path);
            let groups = conflicts.clone().filter_map(|path| beside(path));
            let conflicts = conflicts.chain(groups);
            let drift = report.drift.iter().map(|drift| &drift.path);
            let since = self.touched.iter().zip(unknown);
            let since = since.filter(|(_, unknown)| **unknown);
            let since = since.flat_map(|(touched, _)| touched);
            let mut all = conflicts.chain(drift).chain(since).chain(&left_out);
            all.any(|other| is_at_or_around(path, other))
        };
        for path in source.keys().chain(target.keys()) {
            let (s, t) = (source.get(path), target.get(path));
            let is_folder = |shown: Option<&Shown>| matches!(shown, None | Some(Shown::Folder));
            let folder = is_folder(s) && is_folder(t);
            if s != t && !excused(path) && (folders || !folder) {
                let show = |shown: Option<&Shown>| shown.map_or("nothing".into(), |s| self.name(s));
                return Err(format!(
                    "said to be in sync, but {path} is {} in storage {} and {} in storage {}",
                    show(s),
                    sites.source,
                    show(t),
                    sites.target
                ));
            }
        }
        Ok(())
    }

    /// A target that nobody edited since both sides agreed differs in nothing that is to be left alone: what the source has there now is
    /// carried to it. Only where nothing failed since.
    fn drift_is_of_the_target(&self, target: usize, report: &RunReport) -> Result<(), String> {
        let of_bits = |drift: &&Drift| drift.reason.contains("permissions");
        let of_group = |path: &str| {
            let database = path.strip_suffix("-wal").unwrap_or(path);
            beside(database).is_some()
        };
        let drift = report.drift.iter().filter(|drift| !of_bits(drift));
        let mut drift = drift.filter(|drift| !of_group(&drift.path));
        match drift.find(|drift| self.agreed.is_as_agreed_on(&drift.path, target)) {
            Some(Drift { path, reason }) => Err(format!(
                "{path} is told as drift ({reason}), and since both sides agreed on it nobody had edited it in storage {target}"
            )),
            None => Ok(()),
        }
    }

    /// The same, for what only an edit may change from now on. So many faults have fired. With `stale` listings nobody can know what a run can have seen.
    pub fn agree(
        &mut self,
        target: usize,
        fired: u64,
        report: &RunReport,
        unknown: &[bool],
        stale: bool,
    ) -> Result<(), String> {
        let touched = self.touched.iter().zip(unknown);
        let touched = touched.filter(|(_, unknown)| **unknown);
        let mut touched: Vec<_> = touched.flat_map(|(touched, _)| touched).collect();
        let trees: Vec<_> = self.trees.iter().collect();
        let left_out = self.left_out.of(&trees, &self.trees);
        touched.extend(&left_out);
        let near = |path: &str| touched.iter().any(|other| is_at_or_around(path, other));
        if self.rules_are_new(unknown) {
            self.forget();
            return Ok(());
        }
        if self.sure && self.keeps.0 && !stale && fired == self.fired {
            self.drift_is_of_the_target(target, report)?;
        }
        self.fired = fired;
        self.agreed.said(report, &self.trees, near, stale)?;
        let listed = report.conflicts.iter().map(|conflict| &conflict.path);
        let listed = listed.chain(report.drift.iter().map(|drift| &drift.path));
        let listed: Vec<_> = listed.collect();
        let excused =
            |path: &str| stale || near(path) || listed.iter().any(|at| is_at_or_around(path, at));
        self.modes_agreed.said(&self.modes, &self.trees, excused)
    }

    /// Somebody changed the rules of what is left out, and nobody can know of it yet.
    fn rules_are_new(&self, unknown: &[bool]) -> bool {
        let edits = self.touched.iter().zip(unknown);
        let mut edits = edits.filter(|(_, unknown)| **unknown);
        edits.any(|(touched, _)| touched.contains(IGNORE))
    }

    /// All is quiet. Nothing may be lost.
    pub fn nothing_is_lost(
        &self,
        kept: &[Kept],
        excused: &[ContentHash],
        source: usize,
    ) -> Result<(), String> {
        let seen: BTreeSet<_> = self.trees.iter().flat_map(Tree::values).collect();
        for (content, by) in &self.written {
            let put_back = self.direction == Direction::Mirror && *by != source;
            let replaced = put_back || self.ended.lost(&self.known, content);
            let is_kept = kept
                .iter()
                .any(|kept| kept.content == *content && (kept.claimed || replaced));
            let may_go = self.expires && replaced;
            let lost = !may_go
                && !self.given_up.contains(content)
                && !excused.contains(content)
                && !seen.contains(&Shown::File(*content))
                && !is_kept;
            if lost {
                let in_trash = kept.iter().any(|kept| kept.content == *content);
                return Err(format!(
                    "{}, written in storage {by}, was given up by nobody and is {}",
                    self.name(&Shown::File(*content)),
                    match in_trash {
                        true => "in the trash as if somebody had",
                        false => "gone",
                    }
                ));
            }
        }
        Ok(())
    }

    /// All is quiet. What only one edit was ever about is as that left it, everywhere that it should be; where nothing but edits
    /// happened (`calm`) that holds for removals of what was there, too.
    pub fn nothing_else_happened(&self, source: usize, calm: bool) -> Result<(), String> {
        let trees: Vec<_> = self.trees.iter().collect();
        let left_out = self.left_out.of(&trees, &self.trees);
        let paths: BTreeSet<_> = self.by_editors.iter().flat_map(|edit| &edit.2).collect();
        for path in paths {
            let about = |edit: &&(usize, Edit, BTreeSet<String>)| {
                edit.2.iter().any(|other| is_at_or_around(path, other))
            };
            let about: Vec<_> = self.by_editors.iter().filter(about).collect();
            let wanted = match *about {
                [(by, Edit::Write(at, content), _)] if at == path => {
                    Some((*by, Some(Shown::File(ContentHash::of(&content.bytes())))))
                }
                [
                    (_, Edit::Write(at, _), _),
                    (by, Edit::Remove(gone), touched),
                ] if calm && at == path && gone == path && touched.len() == 1 => Some((*by, None)),
                _ => None,
            };
            let Some((by, wanted)) = wanted else {
                continue;
            };
            let everywhere = by == source || self.direction == Direction::TwoWay;
            let chosen = self.ended.is_about(path);
            if !everywhere || chosen || left_out.iter().any(|at| is_at_or_around(path, at)) {
                continue;
            }
            for (site, tree) in self.trees.iter().enumerate() {
                if tree.get(path) != wanted.as_ref() {
                    let show = |shown: Option<&Shown>| {
                        shown.map_or("nothing".to_owned(), |shown| self.name(shown))
                    };
                    return Err(format!(
                        "nobody else touched {path}; it should be {} everywhere and is {} in storage {site}",
                        show(wanted.as_ref()),
                        show(tree.get(path))
                    ));
                }
            }
        }
        Ok(())
    }

    /// All is quiet. What belongs together is of one version. `calm`: no run broke off. Where one did, in a version that was not too large,
    /// and a later one is, nobody carries on.
    pub fn groups_are_whole(&self, calm: bool) -> Result<(), String> {
        let waits = !calm && self.left_out.is_database_large(&self.trees);
        let begun = |of: &[ContentHash; 2]| waits && !self.left_out.is_one_large(of);
        let trees = self.trees.iter().enumerate();
        let mut trees = trees.map(|(site, tree)| self.groups.are_whole(site, tree, begun));
        trees.find(Result::is_err).unwrap_or(Ok(()))
    }

    fn name(&self, shown: &Shown) -> String {
        match shown {
            Shown::File(hash) => match self.names.get(hash) {
                Some(name) => name.clone(),
                None => format!("the content {hash}"),
            },
            Shown::Folder => "a folder".to_owned(),
            Shown::Link(target) => format!("a link to {target}"),
        }
    }

    /// What a side shows, for people.
    pub fn show(&self, site: usize) -> String {
        let tree = self.trees[site].iter();
        let tree: Vec<_> = tree
            .map(|(path, shown)| format!("{path}={}", self.name(shown)))
            .collect();
        tree.join(" ")
    }
}
