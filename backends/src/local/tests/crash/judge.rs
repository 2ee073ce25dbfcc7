//! What has to be true after a crash.

use std::collections::{BTreeMap, BTreeSet};

use wl_core::model::{ContentHash, RunReport, Side, SyncPath};
use wl_core::storage::StorageBackend;

use super::world::World;
use crate::local::LocalBackend;
use crate::local::model::Node;

/// What users did, as far as it matters.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Every content that anybody wrote.
    written: BTreeSet<Vec<u8>>,
    paths: BTreeSet<String>,
    /// What each side's user has there last; `None`: removed.
    last: BTreeMap<(Side, String), Option<Vec<u8>>>,
    /// What users put there since the last run that finished; `None`: removed.
    since: BTreeMap<String, BTreeSet<Option<Vec<u8>>>>,
}

/// An edit of one side's user.
#[derive(Clone, Copy, Debug)]
pub enum Edit {
    /// A new file in place of the old one.
    Write(&'static str, &'static [u8]),
    /// The same file, written over.
    InPlace(&'static str, &'static [u8]),
    Remove(&'static str),
    Rename(&'static str, &'static str),
    MakeDir(&'static str),
    Link(&'static str, &'static str),
    /// Opens a file, for the following.
    Hold(&'static str),
    /// Writes to what was opened last, wherever that is by now.
    Late(&'static [u8]),
}

impl Edit {
    /// Does it, if that is possible at all.
    pub fn by(self, side: Side, world: &World, known: &mut Known) {
        let user = world.disks[side].user();
        let before = user.tree();
        match self {
            Self::Write(path, content) => {
                if user.write(path, content).is_ok() {
                    known.superseded(side, path, &before);
                    known.wrote(side, path, content);
                }
            }
            Self::InPlace(path, content) => {
                if user.write_in_place(path, content).is_ok() {
                    known.superseded(side, path, &before);
                    known.wrote(side, path, content);
                }
            }
            Self::Remove(path) => {
                if user.remove(path).is_ok() {
                    known.superseded(side, path, &before);
                    known.removed(side, path, &before);
                }
            }
            Self::Rename(from, to) => {
                if user.rename(from, to).is_err() {
                    return;
                }
                known.removed(side, from, &before);
                for (path, content) in files_under(from, &before) {
                    known.wrote(side, &format!("{to}{}", &path[from.len()..]), content);
                }
            }
            Self::MakeDir(path) => drop(user.make_dir(path)),
            Self::Link(path, target) => drop(user.link(path, target)),
            Self::Hold(path) => {
                if let Ok(held) = user.hold(path) {
                    world.held.lock().unwrap().push((side, path, held));
                }
            }
            Self::Late(content) => {
                if let Some((side, path, held)) = world.held.lock().unwrap().pop()
                    && let Ok(old) = held.write(content)
                {
                    known.replaced(side, &old);
                    // Its own user may have replaced it: what has no name any more nobody can keep.
                    let all = world.disks[side].user().everything();
                    if all
                        .values()
                        .any(|node| *node == Node::File(content.to_vec()))
                    {
                        known.wrote(side, path, content);
                        known.shows(content, &world.disks[side].user().tree());
                    }
                }
            }
        }
    }
}

/// The files at `path` or under it.
fn files_under<'t>(
    path: &str,
    tree: &'t BTreeMap<String, Node>,
) -> impl Iterator<Item = (&'t str, &'t [u8])> {
    let under = format!("{path}/");
    let here = path.to_owned();
    tree.iter().filter_map(move |(at, node)| match node {
        Node::File(content) if *at == here || at.starts_with(&under) => {
            Some((at.as_str(), content.as_slice()))
        }
        _ => None,
    })
}

impl Known {
    /// What a user finds at a path and replaces or removes there is superseded, whoever had brought it there.
    fn superseded(&mut self, side: Side, path: &str, before: &BTreeMap<String, Node>) {
        for (_, content) in files_under(path, before) {
            self.replaced(side, content);
        }
    }

    fn replaced(&mut self, side: Side, content: &[u8]) {
        for ((of, _), last) in &mut self.last {
            if *of == side && last.as_deref() == Some(content) {
                *last = None;
            }
        }
    }

    fn wrote(&mut self, side: Side, path: &str, content: &[u8]) {
        self.written.insert(content.to_vec());
        self.paths.insert(path.to_owned());
        let last = (side, path.to_owned());
        self.last.insert(last, Some(content.to_vec()));
        let since = self.since.entry(path.to_owned()).or_default();
        since.insert(Some(content.to_vec()));
    }

    /// What a user wrote to may be at another path by now.
    fn shows(&mut self, content: &[u8], tree: &BTreeMap<String, Node>) {
        for (path, node) in tree {
            if *node == Node::File(content.to_vec()) {
                let since = self.since.entry(path.clone()).or_default();
                since.insert(Some(content.to_vec()));
            }
        }
    }

    /// The user of a side removed what was at `path` or under it, whoever had brought it there.
    fn removed(&mut self, side: Side, path: &str, before: &BTreeMap<String, Node>) {
        let under = format!("{path}/");
        for ((of, at), last) in &mut self.last {
            if *of == side && (at == path || at.starts_with(&under)) {
                *last = None;
                self.since.entry(at.clone()).or_default().insert(None);
            }
        }
        for (at, _) in files_under(path, before) {
            self.since.entry(at.to_owned()).or_default().insert(None);
        }
    }

    /// What a finished run left is what both sides' users know.
    pub fn synced(&mut self, world: &World) {
        self.last.clear();
        for side in Side::BOTH {
            for (path, node) in world.disks[side].user().tree() {
                if let Node::File(content) = node {
                    self.wrote(side, &path, &content);
                }
            }
        }
        self.since.clear();
    }

    /// After a crash: nothing torn under a user's name, nothing lost, and the baseline says no more than is true.
    pub fn after_crash(&self, world: &World) -> Result<(), String> {
        self.nothing_torn(world)?;
        for side in Side::BOTH {
            let all = world.disks[side].user().everything();
            self.nothing_lost(side, |content| {
                all.values()
                    .any(|node| matches!(node, Node::File(found) if found == content))
            })?;
        }
        self.baseline_is_true(world)
    }

    fn nothing_torn(&self, world: &World) -> Result<(), String> {
        for side in Side::BOTH {
            for (path, node) in world.disks[side].user().tree() {
                let Node::File(content) = node else { continue };
                if !self.written.contains(&content) {
                    let text = String::from_utf8_lossy(&content).into_owned();
                    return Err(format!("{side}: {path} holds {text:?}, which nobody wrote"));
                }
            }
        }
        Ok(())
    }

    fn nothing_lost(&self, side: Side, is_kept: impl Fn(&[u8]) -> bool) -> Result<(), String> {
        for ((of, path), last) in &self.last {
            if let Some(content) = last
                && *of == side
                && !is_kept(content)
            {
                let text = String::from_utf8_lossy(content);
                return Err(format!("{side}: {text:?} of {path} is lost"));
            }
        }
        Ok(())
    }

    /// A row says that both sides agreed on a content: each has it, or what a user made of it since. What a run has brought about and not
    /// recorded yet is such a thing too; what it recorded has to be there.
    fn baseline_is_true(&self, world: &World) -> Result<(), String> {
        let Some(state) = world.baseline() else {
            return Ok(());
        };
        for path in &self.paths {
            let row = state.row_at(&SyncPath::new(path.as_str()).unwrap());
            let Some(hash) = row.unwrap().and_then(|row| row.hash) else {
                continue;
            };
            for side in Side::BOTH {
                let found = world.disks[side].user().read(path);
                let agreed = found.as_deref().map(ContentHash::of) == Some(hash);
                let later = self.since.get(path).is_some_and(|s| s.contains(&found));
                // Where names cannot be exchanged, nothing is at a path for a moment; the version is in the staging folder then.
                let aside = found.is_none() && !world.kind.renames.exchange;
                if !agreed && !later && !aside {
                    let found = found.as_deref().map(String::from_utf8_lossy);
                    return Err(format!(
                        "the baseline says that both agreed on {hash} at {path}, but {side} has {found:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// After the runs that follow: nothing is lost for good.
    pub async fn after_recovery(&self, world: &World) -> Result<(), String> {
        self.nothing_torn(world)?;
        for side in Side::BOTH {
            let disk = &world.disks[side];
            let backend = LocalBackend::on_model(disk).unwrap();
            let listed = backend
                .trash_list()
                .await
                .map_err(|error| error.to_string())?;
            let trash: Vec<_> = listed
                .iter()
                .filter_map(|item| disk.user().read(&format!(".wl/trash/{}", item.id)))
                .collect();
            let tree = disk.user().tree();
            self.nothing_lost(side, |content| {
                let at_a_path = |node: &Node| matches!(node, Node::File(found) if found == content);
                tree.values().any(at_a_path) || trash.iter().any(|kept| kept == content)
            })?;
            let staged = disk.user().everything();
            if let Some((path, _)) = staged
                .iter()
                .find(|(path, _)| path.starts_with(".wl/stage/"))
            {
                return Err(format!("{side}: {path} was left"));
            }
        }
        Ok(())
    }
}

/// Whether a run did nothing.
pub fn did_nothing(report: &RunReport) -> bool {
    Side::BOTH
        .iter()
        .all(|&side| report.changes[side].total() == 0)
        && report.bytes.written == 0
}
